//! Where the columns of a convolution lie, so that a product can read them without anyone writing them.
//!
//! Images are laid out on a grid with their padding, one grid for each phase of the stride:
//! grid\[a, b\]\[g, h\] = x\[g s + a, h s + b\].
//! On it the pixel under place (i, j) of the window is the output's own place moved by (i / s, j / s) in phase
//! (i mod s, j mod s): a fixed distance, whatever the stride.
//! Cost: one copy of the padded images into a buffer that stays in the cache; columns would take kh kw copies.

use std::ops::Range;

use crate::lanes::lanes;
use crate::memory::pool::Buffer;
use crate::memory::uninit::Blank;

/// Pixels that one task takes: enough to share the kernel among, few enough to stay in the cache.
pub(crate) const PIXELS: usize = 1024;
/// The fewest pixels worth a task.
const MIN_PIXELS: usize = 128;
/// Tasks that a small batch is split into.
const TASKS: usize = 8;
/// Numbers in a line of the cache.
const LINE: usize = 16;

/// One direction, vertical or horizontal, of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// Pixels of the input.
    pub(crate) size: usize,
    /// Pixels of the window.
    pub(crate) kernel: usize,
    /// Pixels from one window to the next.
    pub(crate) stride: usize,
    /// Zeros before the first pixel and after the last.
    pub(crate) padding: usize,
}

impl Axis {
    /// Pixels of the output; `None` for a window or stride of zero, or where the window does not fit.
    pub(crate) fn output(self) -> Option<usize> {
        let Self { size, kernel, stride, padding } = self;
        let room = size.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?;
        (kernel > 0).then_some(room)?.checked_div(stride).map(|steps| steps + 1)
    }

    /// Places of the window that lie in one phase, at most.
    pub(crate) fn reach(self) -> usize {
        self.kernel.div_ceil(self.stride)
    }

    /// Phases of the stride that the window touches.
    pub(crate) fn phases(self) -> usize {
        self.stride.min(self.kernel)
    }

    /// Places of the window in `phase`.
    pub(crate) fn places(self, phase: usize) -> usize {
        self.kernel.saturating_sub(phase).div_ceil(self.stride)
    }

    /// The places of `phase` on the grid that hold the pixels `pixels` of the input.
    pub(crate) fn grid_places(self, phase: usize, pixels: &Range<usize>) -> Range<usize> {
        let first = (pixels.start + self.padding).saturating_sub(phase).div_ceil(self.stride);
        let end = (pixels.end + self.padding).saturating_sub(phase).div_ceil(self.stride);
        first..end.max(first)
    }

    /// The pixel of the input at place `at` of `phase`.
    pub(crate) fn pixel(self, phase: usize, at: usize) -> usize {
        at * self.stride + phase - self.padding
    }
}

/// What one task takes: some whole images, or some rows of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) images: Range<usize>,
    pub(crate) rows: Range<usize>,
}

/// How images of `height` x `width` pixels are split into tasks, by their sizes alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    images: usize,
    height: usize,
    images_each: usize,
    rows_each: usize,
}

impl Split {
    /// Tasks small enough that there are some of them.
    pub(crate) fn new(images: usize, height: usize, width: usize) -> Self {
        Self::of(images, height, width, (images * height * width / TASKS).clamp(MIN_PIXELS, PIXELS))
    }

    /// Tasks as large as they should be, and if that is only one.
    pub(crate) fn large(images: usize, height: usize, width: usize) -> Self {
        Self::of(images, height, width, PIXELS)
    }

    /// Tasks of about as many pixels.
    pub(crate) fn of(images: usize, height: usize, width: usize, pixels: usize) -> Self {
        let images_each = (pixels / (height * width).max(1)).clamp(1, images.max(1));
        let blocks = (height * width).div_ceil(pixels).clamp(1, height.max(1));
        Self { images, height, images_each, rows_each: height.div_ceil(blocks).max(1) }
    }

    /// The tasks, image after image.
    pub(crate) fn items(self) -> Vec<Item> {
        let ranges = |n: usize, each: usize| (0..n).step_by(each).map(move |i| i..n.min(i + each));
        ranges(self.images, self.images_each)
            .flat_map(|images| {
                ranges(self.height, self.rows_each).map(move |rows| Item { images: images.clone(), rows })
            })
            .collect()
    }

    /// Each task with its rows of `out` `(images, channels, plane)`, image after image; a row has `row_len` numbers, the
    /// last of a plane perhaps fewer.
    pub(crate) fn share(
        self,
        out: Blank<'_>,
        channels: usize,
        plane: usize,
        row_len: usize,
    ) -> Vec<(Item, Vec<Blank<'_>>)> {
        let mut shares: Vec<_> = self.items().into_iter().map(|item| (item, Vec::new())).collect();
        let blocks = self.height.div_ceil(self.rows_each);
        for (i, rows) in out.pieces(plane, self.rows_each * row_len).into_iter().enumerate() {
            let (image, block) = (i / (channels * blocks), i % blocks);
            shares[image / self.images_each * blocks + block].1.push(rows);
        }
        shares
    }
}

/// Grids for the phases of some images, `(channels and phases, images, height, width)`.
///
/// The images of a plane lie next to each other, so that the vectors of small images do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Channels times phases.
    pub(crate) planes: usize,
}

impl Grid {
    /// Numbers from one plane to the next: an odd number of cache lines, so that planes do not contend for the same sets.
    pub(crate) fn plane_len(&self) -> usize {
        ((self.images * self.image_len()).div_ceil(LINE) | 1) * LINE
    }

    /// Numbers from one image to the next.
    fn image_len(&self) -> usize {
        self.height * self.width
    }

    /// Makes room for the planes, with zeros if they have no images, and for a vector that ends behind the last.
    pub(crate) fn room(&self) -> Buffer {
        let mut room = Buffer::new(self.planes * self.plane_len() + lanes());
        let mut planes = room.chunks_exact_mut(self.plane_len());
        planes.by_ref().for_each(|plane| plane[self.images * self.image_len()..].fill(0.0));
        planes.into_remainder().fill(0.0);
        room
    }

    /// Where an image lies in the room of its plane.
    pub(crate) fn place(&self, plane: usize, image: usize) -> Range<usize> {
        let first = plane * self.plane_len() + image * self.image_len();
        first..first + self.image_len()
    }

    /// Fills the place of one image: (g, h) is `pixels` at (`rows` + g `stride`, `columns` + h `stride`), zero outside.
    pub(crate) fn fill(
        &self,
        place: &mut [f32],
        pixels: &[f32],
        width: usize,
        (top, left): (isize, isize),
        stride: usize,
    ) {
        // Places of the grid before the first column and after the last.
        let before = left.min(0).unsigned_abs().div_ceil(stride).min(self.width);
        let first = left.saturating_add_unsigned(before * stride).max(0).unsigned_abs();
        let n = width.saturating_sub(first).div_ceil(stride).min(self.width - before);
        let is_padded = n < self.width;
        if is_padded {
            place.fill(0.0);
        }
        for (g, row) in place.chunks_exact_mut(self.width).enumerate() {
            let source = usize::try_from(top.saturating_add_unsigned(g * stride)).ok();
            let source = source.and_then(|y| pixels.get(y * width..(y + 1) * width));
            let Some(source) = source.filter(|_| n > 0) else {
                if !is_padded {
                    row.fill(0.0);
                }
                continue;
            };
            let row = &mut row[before..before + n];
            match stride {
                1 => copy_short(row, &source[first..first + n]),
                _ => row
                    .iter_mut()
                    .zip(source[first..].iter().step_by(stride))
                    .for_each(|(to, from)| *to = *from),
            }
        }
    }
}

/// Neighboring pixels of one row: their place among the vectors, and their place in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) from: usize,
    pub(crate) image: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) len: usize,
}

/// Copies a few numbers, the rows of a small image, without a call to the library's copy of any length.
#[inline(always)]
pub(crate) fn copy_short(to: &mut [f32], from: &[f32]) {
    let n = to.len().min(from.len());
    match n {
        8..=64 => copy_in::<8>(&mut to[..n], &from[..n]),
        4..8 => copy_in::<4>(&mut to[..n], &from[..n]),
        _ => to[..n].copy_from_slice(&from[..n]),
    }
}

/// Copies at least `N` numbers in groups of `N`, the last of which may overlap the one before it.
#[inline(always)]
fn copy_in<const N: usize>(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.as_chunks_mut::<N>().0.iter_mut().zip(from.as_chunks::<N>().0) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}

/// Vectors of neighboring places of a grid that cover a rectangle of each image.
pub(crate) struct Cover {
    /// Where each vector starts.
    pub(crate) bases: Vec<usize>,
    /// The pixels in them; the other lanes hold nothing of use.
    pub(crate) runs: Vec<Run>,
    /// The first run of each image.
    of_image: Vec<usize>,
}

impl Cover {
    /// Covers `rows` x `columns` places of each image, the first at (`top`, `left`).
    ///
    /// A vector may go on into the next row: each starts at the first place that the one before it left out.
    pub(crate) fn new(grid: &Grid, rows: &Range<usize>, columns: &Range<usize>) -> Self {
        let mut cover = Self { bases: Vec::new(), runs: Vec::new(), of_image: Vec::new() };
        // The first place that no vector has reached.
        let mut reached = 0;
        for image in 0..grid.images {
            cover.of_image.push(cover.runs.len());
            let first = image * grid.image_len();
            for row in 0..rows.len() {
                let mut column = 0;
                while column < columns.len() {
                    let at = first + (rows.start + row) * grid.width + columns.start + column;
                    if at >= reached {
                        cover.bases.push(at);
                        reached = at + lanes();
                    }
                    let len = (reached - at).min(columns.len() - column);
                    let from = cover.bases.len() * lanes() - (reached - at);
                    cover.push(Run { from, image, row, column, len });
                    column += len;
                }
            }
        }
        cover
    }

    /// The runs of one image.
    pub(crate) fn runs_of(&self, image: usize) -> &[Run] {
        let end = self.of_image.get(image + 1).copied().unwrap_or(self.runs.len());
        &self.runs[self.of_image[image]..end]
    }

    /// Adds a run, or extends the last one if the run continues it.
    fn push(&mut self, run: Run) {
        if let Some(last) = self.runs.last_mut()
            && (last.image, last.row, last.column + last.len, last.from + last.len)
                == (run.image, run.row, run.column, run.from)
        {
            last.len += run.len;
        } else {
            self.runs.push(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::uninit::written;

    #[test]
    fn tasks_take_every_row_of_every_image_once() {
        for (images, height, width) in [(1, 1, 1), (64, 28, 28), (3, 100, 41), (500, 4, 4), (7, 5, 300)] {
            let split = Split::new(images, height, width);
            let mut taken = 0;
            let out = written(images * 2 * height * width, |out| {
                for (item, rows) in split.share(out, 2, height * width, width) {
                    assert_eq!(rows.len(), item.images.len() * 2, "planes of a task");
                    rows.into_iter().flat_map(Blank::clear).for_each(|x| *x += 1.0);
                    taken += item.images.len() * item.rows.len();
                }
            });
            assert!(out.iter().all(|x| *x == 1.0));
            assert_eq!(taken, images * height);
        }
    }

    #[test]
    fn vectors_cover_each_pixel_once() {
        let grid = Grid { images: 2, height: 9, width: 30, planes: 3 };
        let cover = Cover::new(&grid, &(1..7), &(2..29));
        let mut seen = vec![0; 2 * 6 * 27];
        for run in &cover.runs {
            for i in 0..run.len {
                seen[(run.image * 6 + run.row) * 27 + run.column + i] += 1;
                let (vector, lane) = ((run.from + i) / lanes(), (run.from + i) % lanes());
                let place = run.image * grid.image_len() + (run.row + 1) * 30 + run.column + i + 2;
                assert_eq!(cover.bases[vector] + lane, place);
            }
        }
        assert!(seen.iter().all(|n| *n == 1));
    }

    #[test]
    fn grid_holds_the_padded_pixels_of_its_phase() {
        let pixels: Vec<f32> = (1..=12).map(|x| x as f32).collect(); // 3x4
        let grid = Grid { images: 1, height: 3, width: 4, planes: 1 };
        let mut plane = [9f32; 12];
        grid.fill(&mut plane, &pixels, 4, (-1, -3), 2);
        // Rows -1, 1, 3 and columns -3, -1, 1, 3.
        assert_eq!(plane, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0, 0.0, 0.0]);
        grid.fill(&mut plane, &pixels, 4, (1, 2), 1);
        assert_eq!(plane, [7.0, 8.0, 0.0, 0.0, 11.0, 12.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
