//! Convolution with kernels of 3x3 pixels and stride 1 in four products for a pixel instead of nine: F(2x2, 3x3).
//!
//! Y\[o\] = Aᵀ \[Σ_c (G K\[o, c\] Gᵀ) ⊙ (Bᵀ d\[c\] B)\] A                                                (1)
//!
//! ```text
//!      ⎡1  0 −1  0⎤      ⎡ 1   0   0⎤
//! Bᵀ = ⎢0  1  1  0⎥, G = ⎢ ½   ½   ½⎥, Aᵀ = ⎡1  1  1  0⎤
//!      ⎢0 −1  1  0⎥      ⎢ ½  −½   ½⎥       ⎣0  1 −1 −1⎦
//!      ⎣0  1  0 −1⎦      ⎣ 0   0   1⎦
//! ```
//!
//! Y is a tile of 2x2 pixels of the output, d the window of 4x4 pixels of the padded input under it. The gradient of
//! the input is (1) with the kernels turned by half a turn, inputs and outputs exchanged and a padding of 2 − p.
//! Lavin & Gray 2015, arXiv:1509.09308, eq. 8 and 12.
//! The gradient of the kernels is not made this way: its sums over tiles read more than they multiply.
//! Cost: 8 O C flops for a pixel, and 8 additions for it in each input channel, 6 in each output channel.

mod matrix;
mod transform;

use rayon::prelude::*;

use super::columns::{Item, Split};
use super::correlate::{Columns, PackedRows, ROWS, correlate, correlation_len};
use crate::lanes::{dispatch_lanes, lanes};
use crate::memory::pool::Buffer;
use crate::memory::uninit::{Blank, written};
use matrix::{Kernel, Matrix};
use transform::{FromPlaces, PLACES, Planes, Tiles, ToPlaces};

/// Channels on either side that are worth the transforms, at least.
const CHANNELS: usize = 24;
/// Tiles that are worth transforming the kernels, at least.
const MIN_TILES: usize = 64;
/// Tiles of one task, at most.
const TILES: usize = 112;
/// Numbers that a task has at all places, about: they stay in the cache.
const NUMBERS: usize = 448 << 10;
/// Tasks that a small batch is split into.
const TASKS: usize = 8;
/// Numbers in a line of the cache.
const LINE: usize = 16;

/// Sizes of a convolution of `(images, inputs, height, width)` with kernels `(outputs, inputs, 3, 3)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winograd {
    pub(crate) images: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Height and width of the input.
    pub(crate) size: (usize, usize),
    /// Zeros on each side, 0 to 2.
    pub(crate) padding: usize,
}

impl Winograd {
    /// Whether this is faster than the sums themselves.
    pub(crate) fn is_worthwhile(&self) -> bool {
        let ((height, width), (rows, columns)) = (self.output(), self.tiles());
        // Tiles that reach over the edge hold pixels that nobody asked for.
        let is_whole = 8 * rows * columns <= 3 * height * width;
        is_whole && self.inputs.min(self.outputs) >= CHANNELS && self.images * rows * columns >= MIN_TILES
    }

    fn output(&self) -> (usize, usize) {
        (self.size.0 + 2 * self.padding - 2, self.size.1 + 2 * self.padding - 2)
    }

    /// Rows and columns of tiles.
    fn tiles(&self) -> (usize, usize) {
        let (height, width) = self.output();
        (height.div_ceil(2), width.div_ceil(2))
    }

    /// The kernels at each place, for [`forward`](Self::forward).
    pub(crate) fn packed(&self, kernel: &[f32]) -> Vec<PackedRows> {
        let kernel = kernel.as_chunks::<9>().0;
        packed(self.outputs, self.inputs, |o, c| kernel[o * self.inputs + c])
    }

    /// The kernels turned, at each place, for [`input_gradient`](Self::input_gradient).
    pub(crate) fn packed_turned(&self, kernel: &[f32]) -> Vec<PackedRows> {
        let kernel = kernel.as_chunks::<9>().0;
        packed(self.inputs, self.outputs, |c, o| {
            let mut kernel = kernel[o * self.inputs + c];
            kernel.reverse();
            kernel
        })
    }

    /// The gradient of x.
    pub(crate) fn input_gradient(&self, gradient: &[f32], kernels: &[PackedRows]) -> Vec<f32> {
        let Self { images, inputs, outputs, padding, .. } = *self;
        let turned =
            Self { images, inputs: outputs, outputs: inputs, size: self.output(), padding: 2 - padding };
        turned.forward(gradient, kernels, None, 0)
    }

    /// (1) with kernels as [`packed`](Self::packed) lays them out; the bias is added to the first `biased` images.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        kernels: &[PackedRows],
        bias: Option<&[f32]>,
        biased: usize,
    ) -> Vec<f32> {
        let bias = bias.unwrap_or_default();
        let Self { inputs, outputs, .. } = *self;
        let (height, width) = self.output();
        let plane = height * width;
        let convolve = |(item, planes): (Item, Vec<Blank<'_>>)| {
            let tiles = Tiles { item, columns: self.tiles().1 };
            let row_len = odd_lines(tiles.len() + lanes());
            let place_len = odd_lines(inputs * row_len);
            let windows = self.windows(x, &tiles, place_len, row_len);
            let taps: Vec<_> = (0..inputs).map(|c| c * row_len).collect();
            let bases: Vec<_> = (0..tiles.vectors()).map(|v| v * lanes()).collect();
            let sums_len = correlation_len(outputs, bases.len());
            let sums_place_len = odd_lines(sums_len + lanes());
            let mut sums = Buffer::new(PLACES * sums_place_len);
            let places = windows.chunks_exact(place_len).zip(sums.chunks_exact_mut(sums_place_len));
            for (kernel, (data, sums)) in kernels.iter().zip(places) {
                correlate(kernel, &Columns { data, taps: &taps, bases: &bases }, &mut sums[..sums_len]);
            }
            dispatch_lanes(FromPlaces {
                places: &sums,
                place_len: sums_place_len,
                row_len: bases.len() * lanes(),
                tiles: &tiles,
                planes,
                channels: outputs,
                width,
                bias: (bias, biased.saturating_sub(tiles.item.images.start)),
            });
        };
        written(self.images * outputs * plane, |y| {
            let (rows, columns) = self.tiles();
            let each = (self.images * rows * columns / TASKS).min(NUMBERS / (PLACES * (inputs + outputs)));
            let split = Split::of(self.images, rows, columns, each.clamp(MIN_TILES / 2, TILES));
            let shares = split.share(y, outputs, plane, 2 * width);
            shares.into_par_iter().for_each(convolve);
        })
    }

    /// Bᵀ d B of all inputs.
    fn windows(&self, x: &[f32], tiles: &Tiles, place_len: usize, row_len: usize) -> Buffer {
        let Self { inputs, size, padding, .. } = *self;
        let (mut places, mut phases) = (Buffer::new(PLACES * place_len), Buffer::new(tiles.phases_len()));
        phases.fill(0.0);
        let planes = Planes { data: x, channels: inputs, size, padding };
        dispatch_lanes(ToPlaces {
            planes,
            tiles,
            phases: &mut phases,
            places: &mut places,
            place_len,
            row_len,
        });
        places
    }
}

/// At least `len`, in an odd number of cache lines: rows and places so far apart do not contend for the same sets.
fn odd_lines(len: usize) -> usize {
    (len.div_ceil(LINE) | 1) * LINE
}

/// G g Gᵀ of every kernel, one matrix for each place; `kernel` gives the pixels of the kernel of a row and a tap.
fn packed(rows: usize, taps: usize, kernel: impl Fn(usize, usize) -> [f32; 9]) -> Vec<PackedRows> {
    let mut packed: Vec<_> = (0..PLACES).map(|_| PackedRows::blank(rows, taps)).collect();
    for block in 0..rows.div_ceil(ROWS) {
        for tap in 0..taps {
            let mut g = [[[0f32; ROWS]; 3]; 3];
            for row in 0..ROWS.min(rows - block * ROWS) {
                let pixels = kernel(block * ROWS + row, tap);
                g.as_flattened_mut().iter_mut().zip(pixels).for_each(|(g, pixel)| g[row] = pixel);
            }
            for (packed, u) in packed.iter_mut().zip(Kernel::arrays(&g).as_flattened()) {
                packed.set(block, tap, *u);
            }
        }
    }
    packed
}
