//! The transforms of F(2x2, 3x3), a vector of neighboring tiles at a time.
//!
//! Bᵀ d B: a window of 4x4 pixels at 16 places; Aᵀ m A: the sums at 16 places as a tile of 2x2 pixels.
//! The pixels of a channel are first laid out in four phases, phase (a, b) holding the pixels (2 g + a, 2 h + b): there
//! the tiles to the right of a tile are the numbers to the right of a number, for every pixel of the window.
//! Additions only: 32 and 24 for a tile.

use super::matrix::{Matrix, Sums, Window};
use crate::conv::columns::Item;
use crate::lanes::{Lanes, VectorKernel, lanes};
use crate::memory::uninit::Blank;

/// Places of a tile, 4x4, where its products are made.
pub(super) const PLACES: usize = 16;
/// Numbers of the widest vectors.
const WIDEST: usize = 16;

/// Planes of images `(images, channels, height, width)`.
pub(super) struct Planes<'a> {
    pub(super) data: &'a [f32],
    pub(super) channels: usize,
    pub(super) size: (usize, usize),
    /// Zeros around each plane.
    pub(super) padding: usize,
}

/// The tiles of one task, image after image and row after row.
pub(super) struct Tiles {
    pub(super) item: Item,
    /// Tiles of a row.
    pub(super) columns: usize,
}

impl Tiles {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.item.images.len() * self.item.rows.len() * self.columns
    }

    /// Vectors that hold them.
    pub(super) fn vectors(&self) -> usize {
        self.len().div_ceil(lanes())
    }

    /// The vectors of a phase that hold the upper left pixels of all tiles.
    ///
    /// A vector may go on into the next row: each starts at the first tile that the one before it left out.
    fn in_phase(&self) -> Vec<PhaseVector> {
        let mut vectors: Vec<PhaseVector> = Vec::new();
        for row in 0..self.item.images.len() * self.item.rows.len() {
            let (image, row) = (row / self.item.rows.len(), row % self.item.rows.len());
            for column in 0..self.columns {
                let at = image * self.image_len() + row * self.row_len() + column;
                let lane = match vectors.last() {
                    Some(last) if at < last.from + lanes() => at - last.from,
                    _ => {
                        vectors.push(PhaseVector { from: at, len: 0, lanes: [0; WIDEST] });
                        0
                    }
                };
                if let Some(vector) = vectors.last_mut() {
                    vector.lanes[vector.len] = lane as u32;
                    vector.len += 1;
                }
            }
        }
        vectors
    }

    /// Numbers of a row of one phase: one more than tiles, for the rest of the window.
    fn row_len(&self) -> usize {
        self.columns + 1
    }

    /// Numbers of one image in one phase: a row more than tiles.
    fn image_len(&self) -> usize {
        (self.item.rows.len() + 1) * self.row_len()
    }

    /// Numbers of one phase, whole vectors with room for one that ends behind the last.
    fn phase_len(&self) -> usize {
        (self.item.images.len() * self.image_len()).next_multiple_of(lanes()) + lanes()
    }

    /// Numbers of the four phases of a channel.
    pub(super) fn phases_len(&self) -> usize {
        4 * self.phase_len()
    }

    /// The rows of pixels under the tiles, image after image from above to below.
    fn rows(&self, planes: &Planes<'_>) -> Vec<PixelRow> {
        let ((height, width), padding) = (planes.size, planes.padding);
        let mut rows = Vec::new();
        for (i, image) in self.item.images.clone().enumerate() {
            for row in 0..2 * (self.item.rows.len() + 1) {
                let y = (2 * self.item.rows.start + row).wrapping_sub(padding);
                if y < height {
                    let from = image * planes.channels * height * width + y * width;
                    let at = row % 2 * 2 * self.phase_len() + i * self.image_len() + row / 2 * self.row_len();
                    let place = |column: usize| at + column % 2 * self.phase_len() + column / 2;
                    rows.push(PixelRow { from, even: place(padding), odd: place(padding + 1) });
                }
            }
        }
        rows
    }
}

/// A row of pixels.
struct PixelRow {
    /// Where it lies in the first channel.
    from: usize,
    /// Where its even pixels go in the phases.
    even: usize,
    /// Where its odd ones go.
    odd: usize,
}

/// A vector of a phase.
struct PhaseVector {
    from: usize,
    /// How many tiles it holds.
    len: usize,
    /// Where in it they are, tile after tile.
    lanes: [u32; WIDEST],
}

/// Bᵀ d B of every channel.
///
/// Tile t of channel c at place ξ is number ξ `place_len` + c `row_len` + t; what follows the last tile is of no use.
pub(super) struct ToPlaces<'a> {
    pub(super) planes: Planes<'a>,
    pub(super) tiles: &'a Tiles,
    /// Zeros, [`Tiles::phases_len`] of them.
    pub(super) phases: &'a mut [f32],
    pub(super) places: &'a mut [f32],
    pub(super) place_len: usize,
    pub(super) row_len: usize,
}

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl VectorKernel for ToPlaces<'_> {
    // SAFETY: the dispatcher vouches for the instructions of `V`.
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let Self { planes, tiles, phases, places, place_len, row_len } = self;
        let phase_len = tiles.phase_len();
        assert_eq!(phases.len(), tiles.phases_len(), "room for phases");
        let (height, width) = planes.size;
        let rows = tiles.rows(&planes);
        let last = |place: fn(&PixelRow) -> usize| rows.iter().map(place).max().unwrap_or(0);
        let planes_len = last(|row| row.from) + (planes.channels - 1) * height * width + width;
        let phases_len = last(|row| row.even.max(row.odd)) + width / 2 + V::N;
        assert!(planes_len <= planes.data.len() && phases_len <= phases.len(), "rows of pixels");
        let end = (PLACES - 1) * place_len + (planes.channels - 1) * row_len + tiles.len() + V::N;
        assert!(end <= places.len() && V::N == lanes(), "room for places");
        let vectors = tiles.in_phase();
        // SAFETY: the caller vouches for the instructions, the assertion for the rows of pixels; the zeros behind a row
        // go if there are zeros or the next row of the phase will be. A vector of a phase starts at a tile's own
        // place or one row and column further, which the phase has, and ends in its room for a vector more; a vector
        // of the places starts at one of the tiles, and the last ends where the assertion says.
        unsafe {
            for channel in 0..planes.channels {
                let plane = planes.data.as_ptr().wrapping_add(channel * height * width);
                for PixelRow { from, even, odd } in &rows {
                    for x in (0..width).step_by(2 * V::N) {
                        let load = |x: usize| {
                            V::load_first(plane.wrapping_add(from + x), width.saturating_sub(x).min(V::N))
                        };
                        let pixels = load(x).deinterleave(load(x + V::N));
                        for (pixels, to) in pixels.into_iter().zip([even, odd]) {
                            pixels.store(phases.as_mut_ptr().wrapping_add(to + x / 2));
                        }
                    }
                }
                let mut to = places.as_mut_ptr().wrapping_add(channel * row_len);
                for vector in &vectors {
                    let from = phases.as_ptr().wrapping_add(vector.from);
                    let mut d = [[V::zero(); 4]; 4];
                    for (i, d) in d.iter_mut().enumerate() {
                        for (j, d) in d.iter_mut().enumerate() {
                            let phase = (i % 2 * 2 + j % 2) * phase_len;
                            *d = V::load(from.wrapping_add(phase + i / 2 * tiles.row_len() + j / 2));
                        }
                    }
                    let lanes = V::load(vector.lanes.as_ptr().cast());
                    for (place, d) in Window::both(d).as_flattened().iter().enumerate() {
                        d.pick(lanes).store(to.wrapping_add(place * place_len));
                    }
                    to = to.wrapping_add(vector.len);
                }
            }
        }
    }
}

/// Aᵀ m A of every channel, as pixels.
pub(super) struct FromPlaces<'a> {
    /// Tile t of channel c at place ξ is number ξ `place_len` + c `row_len` + t; room for a vector behind the last.
    pub(super) places: &'a [f32],
    pub(super) place_len: usize,
    pub(super) row_len: usize,
    pub(super) tiles: &'a Tiles,
    /// The task's rows of each plane, image after image.
    pub(super) planes: Vec<Blank<'a>>,
    pub(super) channels: usize,
    /// Pixels of a row.
    pub(super) width: usize,
    /// What is added to each channel of the task's first images, and how many these are.
    pub(super) bias: (&'a [f32], usize),
}

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl VectorKernel for FromPlaces<'_> {
    // SAFETY: the dispatcher vouches for the instructions of `V`.
    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let Self { places, place_len, row_len, tiles, planes, channels, width, bias } = self;
        let end = (PLACES - 1) * place_len + (channels - 1) * row_len + tiles.len() + V::N;
        assert!(end <= places.len(), "numbers at places");
        let mut planes: Vec<_> = planes.into_iter().map(Blank::clear).collect();
        // The even rows of pixels of all tiles, and the odd ones.
        let pixels_len = 2 * (tiles.len() + V::N);
        let mut pixels = vec![0f32; 2 * pixels_len];
        for channel in 0..channels {
            let from = places.as_ptr().wrapping_add(channel * row_len);
            // SAFETY: the caller vouches for the instructions; the last vector ends where the assertion says, and
            // its pixels in the room for a vector more.
            unsafe {
                for tile in (0..tiles.len()).step_by(V::N) {
                    let mut m = [[V::zero(); 4]; 4];
                    for (place, m) in m.as_flattened_mut().iter_mut().enumerate() {
                        *m = V::load(from.wrapping_add(place * place_len + tile));
                    }
                    for (i, [even, odd]) in Sums::both(m).into_iter().enumerate() {
                        let to = pixels.as_mut_ptr().wrapping_add(i * pixels_len + 2 * tile);
                        let [low, high] = even.interleave(odd);
                        low.store(to);
                        high.store(to.wrapping_add(V::N));
                    }
                }
            }
            let bias = bias.0.get(channel).copied().map(|at| (at, bias.1));
            for (image, plane) in planes.iter_mut().skip(channel).step_by(channels).enumerate() {
                let bias = bias.filter(|(_, biased)| image < *biased).map_or(0.0, |(bias, _)| bias);
                for (y, row) in plane.chunks_mut(width).enumerate() {
                    let tile = (image * tiles.item.rows.len() + y / 2) * tiles.columns;
                    let from = &pixels[y % 2 * pixels_len + 2 * tile..][..row.len()];
                    row.iter_mut().zip(from).for_each(|(to, from)| *to = from + bias);
                }
            }
        }
    }
}
