//! Convolution of images and its gradients, on slices.
//!
//! y\[o, p\] = Σ_{c, i, j} K\[o, c, i, j\] x\[c, p s + (i, j) − padding\] + b\[o\]                   (1)
//! x̄\[c, q\] = Σ_{o, i, j} K\[o, c, i, j\] ȳ\[o, (q + padding − (i, j)) / s\], where that is whole    (2)
//! K̄\[o, c, i, j\] = Σ_p ȳ\[o, p\] x\[c, p s + (i, j) − padding\],  b̄\[o\] = Σ_p ȳ\[o, p\]            (3)
//!
//! Each is a product with columns that `columns` locates and `correlate` reads in place; (2) is one for each phase of
//! the stride, over the grid of ȳ. Nothing is saved for the backward pass but x.
//! Cost: 2 O C kh kw flops for a pixel of the output, in each of (1), (2) and (3).

use rayon::prelude::*;

use super::columns::{Axis, Cover, Grid, Item, Split};
use super::correlate::{Columns, PackedRows, correlate, correlate_weights, correlation_len, gradient_len};
use super::lanes::lanes;

/// Parts that the gradient of the kernel is summed from, at most.
const PARTS: usize = 16;
/// Numbers in all these parts together, about.
const PARTS_LEN: usize = 16 << 20;

/// Sizes of a convolution of `(images, inputs, rows, columns)` with kernels `(outputs, inputs, kh, kw)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    images: usize,
    inputs: usize,
    outputs: usize,
    vertical: Axis,
    horizontal: Axis,
    height: usize,
    width: usize,
}

/// Buffers that a thread uses for one task after the other.
#[derive(Default)]
struct Buffers {
    grid: Vec<f32>,
    vectors: Vec<f32>,
}

impl Sizes {
    /// `None` where the window does not fit into the padded images.
    pub(super) fn new(
        images: usize,
        inputs: usize,
        outputs: usize,
        vertical: Axis,
        horizontal: Axis,
    ) -> Option<Self> {
        let (height, width) = (vertical.output()?, horizontal.output()?);
        Some(Self { images, inputs, outputs, vertical, horizontal, height, width })
    }

    /// Sizes of the output: channels, height and width.
    pub(super) fn output(&self) -> [usize; 3] {
        [self.outputs, self.height, self.width]
    }

    fn input_plane(&self) -> usize {
        self.vertical.size * self.horizontal.size
    }

    fn output_plane(&self) -> usize {
        self.height * self.width
    }

    fn window(&self) -> usize {
        self.vertical.kernel * self.horizontal.kernel
    }

    /// Every (c, i, j) of the kernel, in its order.
    fn kernel_places(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (kh, kw) = (self.vertical.kernel, self.horizontal.kernel);
        (0..self.inputs * kh * kw).map(move |t| (t / (kh * kw), t / kw % kh, t % kw))
    }

    /// The grid of the padded input under some rows of the output.
    fn input_grid(&self, rows: usize) -> Grid {
        let Self { vertical, horizontal, .. } = self;
        Grid {
            height: rows - 1 + vertical.reach(),
            width: self.width - 1 + horizontal.reach(),
            planes: self.inputs * vertical.phases() * horizontal.phases(),
        }
    }

    /// Lays out the input under a task's pixels of the output, and says where its columns are.
    fn fill_input_grid(&self, x: &[f32], item: &Item, buffer: &mut Vec<f32>) -> (Vec<usize>, Cover) {
        let Self { vertical, horizontal, .. } = self;
        let grid = self.input_grid(item.rows.len());
        let (a_count, b_count) = (vertical.phases(), horizontal.phases());
        let room = grid.room(item.images.len(), buffer);
        let channels =
            x[item.images.start * self.inputs * self.input_plane()..].chunks_exact(self.input_plane());
        let planes = room.chunks_exact_mut(grid.plane_len() * a_count * b_count);
        for (pixels, planes) in channels.zip(planes).take(item.images.len() * self.inputs) {
            for (phase, plane) in planes.chunks_exact_mut(grid.plane_len()).enumerate() {
                let (a, b) = (phase / b_count, phase % b_count);
                let top = signed(item.rows.start * vertical.stride + a) - signed(vertical.padding);
                let left = signed(b) - signed(horizontal.padding);
                grid.fill(plane, pixels, horizontal.size, (top, left), vertical.stride);
            }
        }
        let taps = self.kernel_places().map(|(c, i, j)| {
            let plane = (c * a_count + i % vertical.stride) * b_count + j % horizontal.stride;
            plane * grid.plane_len() + i / vertical.stride * grid.width + j / horizontal.stride
        });
        let cover = Cover::new(&grid, item.images.len(), &(0..item.rows.len()), &(0..self.width));
        (taps.collect(), cover)
    }

    /// (1); the bias is added to the first `biased` images.
    pub(super) fn forward(&self, x: &[f32], kernel: &[f32], bias: Option<&[f32]>, biased: usize) -> Vec<f32> {
        let mut y = vec![0f32; self.images * self.outputs * self.output_plane()];
        if y.is_empty() {
            return y;
        }
        let n_taps = self.inputs * self.window();
        let packed = PackedRows::new(self.outputs, n_taps, |o, t| kernel[o * n_taps + t]);
        let shares = Split::new(self.images, self.height, self.width).share(&mut y, self.outputs, self.width);
        shares.into_par_iter().for_each_init(Buffers::default, |buffers, (item, mut y)| {
            let (taps, cover) = self.fill_input_grid(x, &item, &mut buffers.grid);
            buffers.vectors.resize(correlation_len(self.outputs, cover.bases.len()), 0.0);
            let columns = Columns { data: &buffers.grid, taps: &taps, bases: &cover.bases };
            correlate(&packed, &columns, &mut buffers.vectors);
            let row_len = cover.bases.len() * lanes();
            for run in &cover.runs {
                let is_biased = item.images.start + run.image < biased;
                let to = run.row * self.width + run.column;
                let planes = &mut y[run.image * self.outputs..][..self.outputs];
                for (o, (plane, row)) in
                    planes.iter_mut().zip(buffers.vectors.chunks_exact(row_len)).enumerate()
                {
                    let (to, from) = (&mut plane[to..to + run.len], &row[run.from..run.from + run.len]);
                    match bias.filter(|_| is_biased) {
                        Some(bias) => to.iter_mut().zip(from).for_each(|(y, z)| *y = z + bias[o]),
                        None => to.copy_from_slice(from),
                    }
                }
            }
        });
        y
    }

    /// (2).
    pub(super) fn input_gradient(&self, gradient: &[f32], kernel: &[f32]) -> Vec<f32> {
        let Self { vertical, horizontal, .. } = *self;
        let mut gx = vec![0f32; self.images * self.inputs * self.input_plane()];
        if gx.is_empty() || gradient.is_empty() {
            return gx;
        }
        let phases: Vec<_> = (0..vertical.phases())
            .flat_map(|a| (0..horizontal.phases()).map(move |b| (a, b)))
            .map(|(a, b)| (a, b, self.packed_phase(kernel, a, b)))
            .collect();
        let split = Split::new(self.images, vertical.size, horizontal.size);
        let shares = split.share(&mut gx, self.inputs, horizontal.size);
        shares.into_par_iter().for_each_init(Buffers::default, |buffers, (item, mut gx)| {
            let (grid, origin) = self.fill_gradient_grid(gradient, &item, &mut buffers.grid);
            for (a, b, packed) in &phases {
                let (rows, columns) =
                    (vertical.grid_places(*a, &item.rows), horizontal.grid_places(*b, &(0..horizontal.size)));
                let places = (
                    rows.start - origin.0..rows.end - origin.0,
                    columns.start - origin.1..columns.end - origin.1,
                );
                let cover = Cover::new(&grid, item.images.len(), &places.0, &places.1);
                if cover.bases.is_empty() {
                    continue;
                }
                let taps = self.phase_taps(&grid, *a, *b);
                buffers.vectors.resize(correlation_len(self.inputs, cover.bases.len()), 0.0);
                correlate(
                    packed,
                    &Columns { data: &buffers.grid, taps: &taps, bases: &cover.bases },
                    &mut buffers.vectors,
                );
                let row_len = cover.bases.len() * lanes();
                for run in &cover.runs {
                    let row = vertical.pixel(*a, rows.start + run.row) - item.rows.start;
                    let first = row * horizontal.size + horizontal.pixel(*b, columns.start + run.column);
                    let planes = &mut gx[run.image * self.inputs..][..self.inputs];
                    for (plane, vectors) in planes.iter_mut().zip(buffers.vectors.chunks_exact(row_len)) {
                        let (to, from) = (&mut plane[first..], &vectors[run.from..run.from + run.len]);
                        match horizontal.stride {
                            1 => to[..run.len].copy_from_slice(from),
                            stride => {
                                to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to = *from)
                            }
                        }
                    }
                }
            }
        });
        gx
    }

    /// The kernels that meet the pixels of one phase, with inputs and outputs exchanged.
    fn packed_phase(&self, kernel: &[f32], a: usize, b: usize) -> PackedRows {
        let Self { vertical, horizontal, .. } = self;
        let (rows, columns) = (vertical.places(a), horizontal.places(b));
        PackedRows::new(self.inputs, self.outputs * rows * columns, |c, t| {
            let (o, i, j) = (t / (rows * columns), t / columns % rows, t % columns);
            let (i, j) = (i * vertical.stride + a, j * horizontal.stride + b);
            kernel[(o * self.inputs + c) * self.window() + i * horizontal.kernel + j]
        })
    }

    /// Where these kernels' columns lie, in the same order.
    fn phase_taps(&self, grid: &Grid, a: usize, b: usize) -> Vec<usize> {
        let Self { vertical, horizontal, .. } = self;
        let (rows, columns) = (vertical.places(a), horizontal.places(b));
        let taps = (0..self.outputs * rows * columns).map(|t| {
            let (o, i, j) = (t / (rows * columns), t / columns % rows, t % columns);
            o * grid.plane_len() + (vertical.reach() - 1 - i) * grid.width + horizontal.reach() - 1 - j
        });
        taps.collect()
    }

    /// Lays out the ȳ that reaches a task's pixels of the input; also the place where its outputs begin.
    fn fill_gradient_grid(
        &self,
        gradient: &[f32],
        item: &Item,
        buffer: &mut Vec<f32>,
    ) -> (Grid, (usize, usize)) {
        let Self { vertical, horizontal, .. } = self;
        let places = |axis: &Axis, first: usize, end: usize| {
            ((first + axis.padding) / axis.stride, (end - 1 + axis.padding) / axis.stride)
        };
        let (top, bottom) = places(vertical, item.rows.start, item.rows.end);
        let (left, right) = places(horizontal, 0, horizontal.size);
        let grid = Grid {
            height: bottom - top + vertical.reach(),
            width: right - left + horizontal.reach(),
            planes: self.outputs,
        };
        let corner =
            (signed(top + 1) - signed(vertical.reach()), signed(left + 1) - signed(horizontal.reach()));
        let room = grid.room(item.images.len(), buffer);
        let channels = gradient[item.images.start * self.outputs * self.output_plane()..]
            .chunks_exact(self.output_plane());
        for (pixels, plane) in
            channels.zip(room.chunks_exact_mut(grid.plane_len())).take(item.images.len() * self.outputs)
        {
            grid.fill(plane, pixels, self.width, corner, 1);
        }
        (grid, (top, left))
    }

    /// (3) for the kernel, summed in parts of whole tasks, and the parts in their order.
    pub(super) fn kernel_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let len = self.outputs * self.inputs * self.window();
        let items = Split::new(self.images, self.height, self.width).items();
        if len == 0 || items.is_empty() || gradient.is_empty() {
            return vec![0.0; len];
        }
        let parts = (PARTS_LEN / len).clamp(2, PARTS);
        let each = items.len().div_ceil(parts);
        let partial: Vec<Vec<f32>> = items
            .par_chunks(each)
            .map_init(Buffers::default, |buffers, items| {
                let mut sum = vec![0f32; len];
                items.iter().for_each(|item| self.add_kernel_gradient(x, gradient, item, buffers, &mut sum));
                sum
            })
            .collect();
        let mut parts = partial.into_iter();
        let mut sum = parts.next().unwrap_or_else(|| vec![0.0; len]);
        parts.for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
        sum
    }

    /// (3) for the pixels of one task.
    fn add_kernel_gradient(
        &self,
        x: &[f32],
        gradient: &[f32],
        item: &Item,
        buffers: &mut Buffers,
        sum: &mut [f32],
    ) {
        let (taps, cover) = self.fill_input_grid(x, item, &mut buffers.grid);
        buffers.vectors.clear();
        buffers.vectors.resize(gradient_len(self.outputs, cover.bases.len()), 0.0);
        let row_len = cover.bases.len() * lanes();
        for run in &cover.runs {
            let first = (item.images.start + run.image) * self.outputs * self.output_plane()
                + (item.rows.start + run.row) * self.width
                + run.column;
            let planes = buffers.vectors.chunks_exact_mut(row_len).take(self.outputs).enumerate();
            for (o, vectors) in planes {
                let from = &gradient[first + o * self.output_plane()..][..run.len];
                vectors[run.from..run.from + run.len].copy_from_slice(from);
            }
        }
        let columns = Columns { data: &buffers.grid, taps: &taps, bases: &cover.bases };
        correlate_weights(&buffers.vectors, &columns, sum);
    }

    /// (3) for the bias of the first `biased` images.
    pub(super) fn bias_gradient(&self, gradient: &[f32], biased: usize) -> Vec<f32> {
        let plane = self.output_plane();
        let of_channel = |o: usize| -> f32 {
            let planes = (0..biased).map(|image| &gradient[(image * self.outputs + o) * plane..][..plane]);
            planes.map(sum).sum()
        };
        (0..self.outputs).into_par_iter().map(of_channel).collect()
    }
}

fn signed(n: usize) -> isize {
    isize::try_from(n).expect("sizes of a tensor in memory are below isize::MAX")
}

/// A sum in sixteen parts, which the compiler can keep in vectors.
fn sum(numbers: &[f32]) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}
