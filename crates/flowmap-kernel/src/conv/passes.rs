//! Convolution of images and its gradients, on slices.
//!
//! y\[o, p\] = Σ_{c, i, j} K\[o, c, i, j\] x\[c, p s + (i, j) − padding\] + b\[o\]                   (1)
//! x̄\[c, q\] = Σ_{o, i, j} K\[o, c, i, j\] ȳ\[o, (q + padding − (i, j)) / s\], where that is whole    (2)
//! K̄\[o, c, i, j\] = Σ_p ȳ\[o, p\] x\[c, p s + (i, j) − padding\],  b̄\[o\] = Σ_p ȳ\[o, p\]            (3)
//!
//! Each is a product with columns that `columns` locates and `correlate` reads in place; (2) is one for each phase of
//! the stride, over the grid of ȳ. Nothing is saved for the backward pass but x. Where `winograd` makes (1) and (2) of
//! fewer products, it does.
//! Cost: 2 O C kh kw flops for a pixel of the output, in each of (1), (2) and (3).

use std::ops::Range;
use std::sync::Arc;

use candle_core::Result;
use rayon::prelude::*;

use super::columns::{Axis, Cover, Grid, Item, PIXELS, Split, copy_short};
use super::correlate::{
    Columns, PackedRows, correlate, correlate_weights, correlation_len, gradient_len, gradient_row_len,
};
use super::winograd::Winograd;
use crate::lanes::lanes;
use crate::memory::pool::Buffer;
use crate::memory::uninit::{Blank, written};
use crate::shared::Product;

/// Parts that the gradient of the kernel is summed from, at most.
const PARTS: usize = 16;
/// Numbers in all these parts together, about.
const PARTS_LEN: usize = 16 << 20;
/// Tasks that the gradient of the kernel is split into, if there are not as many parts.
const TASKS: usize = 8;
/// Rows of the kernel that are worth laying out the input for once more.
const BLOCK_ROWS: usize = 64;

/// Sizes of a convolution of `(images, inputs, rows, columns)` with kernels `(outputs, inputs, kh, kw)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    images: usize,
    inputs: usize,
    outputs: usize,
    vertical: Axis,
    horizontal: Axis,
    height: usize,
    width: usize,
}

impl Sizes {
    /// The window must fit into the padded images.
    pub(crate) fn new(
        images: usize,
        inputs: usize,
        outputs: usize,
        vertical: Axis,
        horizontal: Axis,
    ) -> Self {
        let (vertical, horizontal) = flattened(vertical, horizontal);
        let (height, width) = (vertical.output().unwrap_or(0), horizontal.output().unwrap_or(0));
        Self { images, inputs, outputs, vertical, horizontal, height, width }
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

    /// This convolution by fewer products, if that is faster.
    fn winograd(&self) -> Option<Winograd> {
        let is_fit =
            |axis: Axis| axis.kernel == 3 && axis.stride == 1 && axis.padding == self.vertical.padding;
        let Self { images, inputs, outputs, vertical, horizontal, .. } = *self;
        let size = (vertical.size, horizontal.size);
        let winograd = Winograd { images, inputs, outputs, size, padding: vertical.padding };
        let is_possible = is_fit(vertical) && is_fit(horizontal) && vertical.padding <= 2;
        (is_possible && winograd.is_worthwhile()).then_some(winograd)
    }

    /// Every (c, i, j) of the kernel, in its order.
    fn kernel_places(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (kh, kw) = (self.vertical.kernel, self.horizontal.kernel);
        (0..self.inputs * kh * kw).map(move |t| (t / (kh * kw), t / kw % kh, t % kw))
    }

    /// The grid of the padded input under some rows of the output.
    fn input_grid(&self, images: usize, rows: usize) -> Grid {
        let Self { vertical, horizontal, .. } = self;
        Grid {
            images,
            height: rows - 1 + vertical.reach(),
            width: self.width - 1 + horizontal.reach(),
            planes: self.inputs * vertical.phases() * horizontal.phases(),
        }
    }

    /// Lays out the input under a task's pixels of the output, and says where its columns are.
    fn fill_input_grid(&self, x: &[f32], item: &Item) -> (Buffer, Vec<usize>, Cover) {
        let Self { vertical, horizontal, .. } = self;
        let grid = self.input_grid(item.images.len(), item.rows.len());
        let (a_count, b_count) = (vertical.phases(), horizontal.phases());
        let mut room = grid.room();
        for (i, pixels) in planes(x, self.input_plane(), &item.images, self.inputs) {
            let (image, channel) = (i / self.inputs, i % self.inputs);
            for phase in 0..a_count * b_count {
                let (a, b) = (phase / b_count, phase % b_count);
                let top = signed(item.rows.start * vertical.stride + a) - signed(vertical.padding);
                let left = signed(b) - signed(horizontal.padding);
                let place = grid.place(channel * a_count * b_count + phase, image);
                grid.fill(&mut room[place], pixels, horizontal.size, (top, left), vertical.stride);
            }
        }
        let taps = self.kernel_places().map(|(c, i, j)| {
            let plane = (c * a_count + i % vertical.stride) * b_count + j % horizontal.stride;
            plane * grid.plane_len() + i / vertical.stride * grid.width + j / horizontal.stride
        });
        let cover = Cover::new(&grid, &(0..item.rows.len()), &(0..self.width));
        (room, taps.collect(), cover)
    }

    /// The kernels in the layout of [`forward`](Self::forward), and what that is.
    pub(crate) fn packing(&self) -> (Product, impl Fn(&[f32]) -> Vec<PackedRows>) {
        let (sizes, winograd) = (*self, self.winograd());
        let product = winograd.map_or(Product::Sums, |_| Product::Places);
        let pack = move |kernel: &[f32]| match winograd {
            Some(winograd) => winograd.packed(kernel),
            None => {
                let n_taps = sizes.inputs * sizes.window();
                let taps: Vec<_> = (0..n_taps).collect();
                vec![PackedRows::new(kernel, sizes.outputs, n_taps, &taps)]
            }
        };
        (product, pack)
    }

    /// (1) with kernels as [`packing`](Self::packing) lays them out; the bias is added to the first `biased` images.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        kernels: &[PackedRows],
        bias: Option<&[f32]>,
        biased: usize,
    ) -> Vec<f32> {
        let len = self.images * self.outputs * self.output_plane();
        if len == 0 {
            return Vec::new();
        }
        if let Some(winograd) = self.winograd() {
            return winograd.forward(x, kernels, bias, biased);
        }
        let [packed] = kernels else { unreachable!("`packing` makes one matrix for the sums") };
        let split = Split::new(self.images, self.height, self.width);
        let convolve = |(item, y): (Item, Vec<Blank<'_>>)| {
            let (data, taps, cover) = self.fill_input_grid(x, &item);
            let mut vectors = Buffer::new(correlation_len(self.outputs, cover.bases.len()));
            correlate(packed, &Columns { data: &data, taps: &taps, bases: &cover.bases }, &mut vectors);
            let row_len = cover.bases.len() * lanes();
            for (i, plane) in y.into_iter().map(Blank::clear).enumerate() {
                let (image, o) = (i / self.outputs, i % self.outputs);
                let bias = bias.filter(|_| item.images.start + image < biased).map_or(0.0, |bias| bias[o]);
                let vectors = &vectors[o * row_len..][..row_len];
                for run in cover.runs_of(image) {
                    let to = &mut plane[run.row * self.width + run.column..][..run.len];
                    to.iter_mut().zip(&vectors[run.from..]).for_each(|(y, z)| *y = z + bias);
                }
            }
        };
        written(len, |y| {
            let shares = split.share(y, self.outputs, self.output_plane(), self.width);
            shares.into_par_iter().for_each(convolve);
        })
    }

    /// (2); `turned` gives the packed form of the kernels that Winograd's method takes, from that method.
    pub(crate) fn input_gradient(
        &self,
        gradient: &[f32],
        kernel: &[f32],
        turned: impl FnOnce(&Winograd) -> Result<Arc<Vec<PackedRows>>>,
    ) -> Result<Vec<f32>> {
        let Self { vertical, horizontal, .. } = *self;
        let len = self.images * self.inputs * self.input_plane();
        if len == 0 || gradient.is_empty() {
            return Ok(vec![0.0; len]);
        }
        if let Some(winograd) = self.winograd() {
            return Ok(winograd.input_gradient(gradient, &turned(&winograd)?));
        }
        let phases: Vec<_> = (0..vertical.phases())
            .flat_map(|a| (0..horizontal.phases()).map(move |b| (a, b)))
            .map(|(a, b)| (a, b, self.packed_phase(kernel, a, b)))
            .collect();
        let split = Split::new(self.images, vertical.size, horizontal.size);
        let convolve = |(item, gx): (Item, Vec<Blank<'_>>)| {
            let mut gx: Vec<_> = gx.into_iter().map(Blank::clear).collect();
            let (data, grid, origin) = self.fill_gradient_grid(gradient, &item);
            for (a, b, packed) in &phases {
                let (rows, columns) =
                    (vertical.grid_places(*a, &item.rows), horizontal.grid_places(*b, &(0..horizontal.size)));
                let places = (
                    rows.start - origin.0..rows.end - origin.0,
                    columns.start - origin.1..columns.end - origin.1,
                );
                let cover = Cover::new(&grid, &places.0, &places.1);
                if cover.bases.is_empty() {
                    continue;
                }
                let taps = self.phase_taps(&grid, *a, *b);
                let mut vectors = Buffer::new(correlation_len(self.inputs, cover.bases.len()));
                correlate(packed, &Columns { data: &data, taps: &taps, bases: &cover.bases }, &mut vectors);
                let row_len = cover.bases.len() * lanes();
                for (i, plane) in gx.iter_mut().enumerate() {
                    let vectors = &vectors[i % self.inputs * row_len..][..row_len];
                    for run in cover.runs_of(i / self.inputs) {
                        let row = vertical.pixel(*a, rows.start + run.row) - item.rows.start;
                        let first = row * horizontal.size + horizontal.pixel(*b, columns.start + run.column);
                        let (to, from) = (&mut plane[first..], &vectors[run.from..][..run.len]);
                        match horizontal.stride {
                            1 => copy_short(&mut to[..run.len], from),
                            stride => {
                                to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to = *from)
                            }
                        }
                    }
                }
            }
        };
        Ok(written(len, |gx| {
            let shares = split.share(gx, self.inputs, self.input_plane(), horizontal.size);
            shares.into_par_iter().for_each(convolve);
        }))
    }

    /// The kernels that meet the pixels of one phase, with inputs and outputs exchanged.
    fn packed_phase(&self, kernel: &[f32], a: usize, b: usize) -> PackedRows {
        let Self { vertical, horizontal, .. } = self;
        let (rows, columns) = (vertical.places(a), horizontal.places(b));
        let taps = (0..self.outputs * rows * columns).map(|t| {
            let (o, i, j) = (t / (rows * columns), t / columns % rows, t % columns);
            let place = (i * vertical.stride + a) * horizontal.kernel + j * horizontal.stride + b;
            o * self.inputs * self.window() + place
        });
        PackedRows::new(kernel, self.inputs, self.window(), &taps.collect::<Vec<_>>())
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
    fn fill_gradient_grid(&self, gradient: &[f32], item: &Item) -> (Buffer, Grid, (usize, usize)) {
        let Self { vertical, horizontal, .. } = self;
        let places = |axis: &Axis, first: usize, end: usize| {
            ((first + axis.padding) / axis.stride, (end - 1 + axis.padding) / axis.stride)
        };
        let (top, bottom) = places(vertical, item.rows.start, item.rows.end);
        let (left, right) = places(horizontal, 0, horizontal.size);
        let grid = Grid {
            images: item.images.len(),
            height: bottom - top + vertical.reach(),
            width: right - left + horizontal.reach(),
            planes: self.outputs,
        };
        let corner =
            (signed(top + 1) - signed(vertical.reach()), signed(left + 1) - signed(horizontal.reach()));
        let mut room = grid.room();
        for (i, pixels) in planes(gradient, self.output_plane(), &item.images, self.outputs) {
            let place = grid.place(i % self.outputs, i / self.outputs);
            grid.fill(&mut room[place], pixels, self.width, corner, 1);
        }
        (room, grid, (top, left))
    }

    /// (3) for the kernel: blocks of its rows, each summed in parts of whole tasks, the parts in their order.
    pub(crate) fn kernel_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let row_len = self.inputs * self.window();
        let mut sum = vec![0f32; self.outputs * row_len];
        let items = Split::large(self.images, self.height, self.width).items();
        if sum.is_empty() || gradient.is_empty() {
            return sum;
        }
        let each = items.len().div_ceil((PARTS_LEN / sum.len()).clamp(2, PARTS));
        let parts = items.len().div_ceil(each);
        let blocks = TASKS.div_ceil(parts).min(self.outputs / BLOCK_ROWS).max(1);
        let rows_each = self.outputs.div_ceil(blocks);
        let tasks: Vec<_> = (0..self.outputs)
            .step_by(rows_each)
            .flat_map(|first| {
                items.chunks(each).map(move |items| (first..self.outputs.min(first + rows_each), items))
            })
            .collect();
        let add = |(rows, items): (Range<usize>, &[Item])| {
            let mut sum = vec![0f32; rows.len() * row_len];
            items.iter().for_each(|item| self.add_kernel_gradient(x, gradient, item, &rows, &mut sum));
            (rows, sum)
        };
        let partial: Vec<_> = tasks.into_par_iter().map(add).collect();
        for (rows, part) in partial {
            let sum = &mut sum[rows.start * row_len..][..part.len()];
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        sum
    }

    /// (3) for some rows of the kernel and the pixels of one task.
    fn add_kernel_gradient(
        &self,
        x: &[f32],
        gradient: &[f32],
        item: &Item,
        rows: &Range<usize>,
        sum: &mut [f32],
    ) {
        let (data, taps, cover) = self.fill_input_grid(x, item);
        let mut vectors = Buffer::new(gradient_len(rows.len(), cover.bases.len()));
        vectors.fill(0.0);
        let row_len = gradient_row_len(cover.bases.len());
        for (o, vectors) in rows.clone().zip(vectors.chunks_exact_mut(row_len)) {
            for run in &cover.runs {
                let plane = ((item.images.start + run.image) * self.outputs + o) * self.output_plane();
                let from =
                    &gradient[plane + (item.rows.start + run.row) * self.width + run.column..][..run.len];
                copy_short(&mut vectors[run.from..run.from + run.len], from);
            }
        }
        correlate_weights(&vectors, &Columns { data: &data, taps: &taps, bases: &cover.bases }, sum);
    }

    /// (3) for the bias of the first `biased` images.
    pub(crate) fn bias_gradient(&self, gradient: &[f32], biased: usize) -> Vec<f32> {
        let plane = self.output_plane();
        let of_channel = |o: usize| -> f32 {
            let planes = (0..biased).map(|image| &gradient[(image * self.outputs + o) * plane..][..plane]);
            planes.map(sum).sum()
        };
        (0..self.outputs).into_par_iter().map(of_channel).collect()
    }
}

/// Where each window is one pixel, rows do not matter: images with rows as long as a task likes them.
fn flattened(vertical: Axis, horizontal: Axis) -> (Axis, Axis) {
    let is_pointwise = |axis: Axis| (axis.kernel, axis.stride, axis.padding) == (1, 1, 0);
    if !is_pointwise(vertical) || !is_pointwise(horizontal) {
        return (vertical, horizontal);
    }
    let fits = |rows: &usize| vertical.size.is_multiple_of(*rows) && rows * horizontal.size <= PIXELS;
    let rows = (1..=vertical.size).rev().find(fits).unwrap_or(1);
    let size = |axis: Axis, size: usize| Axis { size, ..axis };
    (size(vertical, vertical.size / rows), size(horizontal, horizontal.size * rows))
}

/// The planes of some of the images, numbered.
fn planes<'a>(
    all: &'a [f32],
    len: usize,
    images: &Range<usize>,
    channels: usize,
) -> impl Iterator<Item = (usize, &'a [f32])> {
    all[images.start * channels * len..images.end * channels * len].chunks_exact(len).enumerate()
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
