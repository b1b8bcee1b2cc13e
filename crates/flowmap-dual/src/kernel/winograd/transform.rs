//! The transforms of F(2x2, 3x3), a vector of neighboring tiles at a time.
//!
//! Bᵀ d B: a window of 4x4 pixels at 16 places; Aᵀ m A: the sums at 16 places as a tile of 2x2 pixels.
//! The pixels of a channel are first laid out in four phases, phase (a, b) holding the pixels (2 g + a, 2 h + b): there
//! the tiles to the right of a tile are the numbers to the right of a number, for every pixel of the window.
//! Additions only: 32 and 24 for a tile.

use super::super::blank::Blank;
use super::super::columns::{Item, copy_short};
use super::super::lanes::{Lanes, VectorKernel, lanes};
use super::matrix::{Matrix, Sums, Window};

/// Places of a tile, 4x4, where its products are made.
pub(super) const PLACES: usize = 16;

/// Planes of images `(images, channels, height, width)`.
pub(super) struct Planes<'a> {
    pub(super) data: &'a [f32],
    pub(super) channels: usize,
    pub(super) size: (usize, usize),
    /// Zeros around each plane.
    pub(super) padding: usize,
}

impl Planes<'_> {
    fn of(&self, image: usize, channel: usize) -> &[f32] {
        let len = self.size.0 * self.size.1;
        &self.data[(image * self.channels + channel) * len..][..len]
    }
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

    /// Numbers of a row of one phase: one more than tiles, for the rest of the window.
    fn row_len(&self) -> usize {
        self.columns + 1
    }

    /// Numbers of one image in one phase: a row more than tiles.
    fn image_len(&self) -> usize {
        (self.item.rows.len() + 1) * self.row_len()
    }

    /// Numbers of one phase, with room for a vector that ends behind the last.
    fn phase_len(&self) -> usize {
        self.item.images.len() * self.image_len() + lanes()
    }

    /// Numbers that [`ToPlaces`] lays a channel out in: rows with their padding, then the four phases.
    pub(super) fn phases_len(&self) -> usize {
        8 * self.phase_len()
    }

    /// Lays out one channel in a buffer of zeros, or over another channel of the same planes.
    #[inline(always)]
    fn fill(&self, planes: &Planes<'_>, channel: usize, padded: &mut [f32], phases: &mut [f32]) {
        let ((height, width), padding) = (planes.size, planes.padding);
        for (i, image) in self.item.images.clone().enumerate() {
            let plane = planes.of(image, channel);
            for row in 0..2 * (self.item.rows.len() + 1) {
                let y = (2 * self.item.rows.start + row).wrapping_sub(padding);
                if y < height {
                    let at = row % 2 * self.phase_len() + i * self.image_len() + row / 2 * self.row_len();
                    copy_short(&mut padded[2 * at + padding..][..width], &plane[y * width..][..width]);
                }
            }
        }
        let rows = padded.chunks_exact(2 * self.phase_len());
        for (rows, phases) in rows.zip(phases.chunks_exact_mut(2 * self.phase_len())) {
            let (even, odd) = phases.split_at_mut(self.phase_len());
            for (pair, (even, odd)) in rows.as_chunks::<2>().0.iter().zip(even.iter_mut().zip(odd)) {
                [*even, *odd] = *pair;
            }
        }
    }
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
        let (width, phase_len) = (tiles.row_len(), tiles.phase_len());
        assert_eq!(phases.len(), tiles.phases_len(), "room for phases");
        let (padded, phases) = phases.split_at_mut(4 * phase_len);
        let end = (PLACES - 1) * place_len + (planes.channels - 1) * row_len + tiles.len() + V::N;
        assert!(end <= places.len() && V::N <= lanes(), "room for places");
        // SAFETY: the caller vouches for the instructions. A vector of a phase starts at a tile's own place or one row
        // and column further, which the phase has, and ends in its room for a vector more; the last vector of
        // the places ends where the assertion says.
        unsafe {
            for channel in 0..planes.channels {
                tiles.fill(&planes, channel, padded, phases);
                let mut to = places.as_mut_ptr().wrapping_add(channel * row_len);
                for image in 0..tiles.item.images.len() {
                    for row in 0..tiles.item.rows.len() {
                        let from = phases.as_ptr().wrapping_add(image * tiles.image_len() + row * width);
                        for column in (0..tiles.columns).step_by(V::N) {
                            let mut d = [[V::zero(); 4]; 4];
                            for (i, d) in d.iter_mut().enumerate() {
                                for (j, d) in d.iter_mut().enumerate() {
                                    let phase = (i % 2 * 2 + j % 2) * phase_len;
                                    *d = V::load(from.wrapping_add(phase + i / 2 * width + j / 2 + column));
                                }
                            }
                            for (place, d) in Window::both(d).as_flattened().iter().enumerate() {
                                d.store(to.wrapping_add(place * place_len + column));
                            }
                        }
                        to = to.wrapping_add(tiles.columns);
                    }
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
        let columns = tiles.columns;
        // The four phases of one row of tiles.
        let phase_len = columns + V::N;
        let mut phases = vec![0f32; 4 * phase_len];
        for (i, plane) in planes.into_iter().map(Blank::clear).enumerate() {
            let (image, channel) = (i / channels, i % channels);
            let bias = bias.0.get(channel).filter(|_| image < bias.1).copied().unwrap_or(0.0);
            for (row, pixels) in plane.chunks_mut(2 * width).enumerate() {
                let tile = (image * tiles.item.rows.len() + row) * columns;
                let from = places[channel * row_len + tile..].as_ptr();
                // SAFETY: the caller vouches for the instructions; the last vector ends where the assertion says,
                // and each phase has room for one that starts in the last column.
                unsafe {
                    for column in (0..columns).step_by(V::N) {
                        let mut m = [[V::zero(); 4]; 4];
                        for (place, m) in m.as_flattened_mut().iter_mut().enumerate() {
                            *m = V::load(from.wrapping_add(place * place_len + column));
                        }
                        let y = Sums::both(m);
                        for (phase, y) in y.as_flattened().iter().enumerate() {
                            y.store(phases.as_mut_ptr().wrapping_add(phase * phase_len + column));
                        }
                    }
                }
                for (pixels, phases) in pixels.chunks_mut(width).zip(phases.chunks_exact(2 * phase_len)) {
                    let (even, odd) = phases.split_at(phase_len);
                    let (pairs, last) = pixels.as_chunks_mut::<2>();
                    for (pair, (even, odd)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
                        *pair = [even + bias, odd + bias];
                    }
                    if let [last] = last {
                        *last = even[pairs.len()] + bias;
                    }
                }
            }
        }
    }
}
