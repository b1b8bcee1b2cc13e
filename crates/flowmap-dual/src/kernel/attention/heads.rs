//! Where the matrices of the heads lie in a buffer, and how a task reads and writes its own.
//!
//! Heads are read by strides into scratch that fits the cache, value above tangent; so no tensor is ever permuted.

use std::marker::PhantomData;

/// Row i of the head h of sample b starts at `start` + b `sample` + h `head` + i `row`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Where everything starts.
    pub(super) start: usize,
    /// From one sample to the next.
    pub(super) sample: usize,
    /// From one head to the next.
    pub(super) head: usize,
    /// From one row to the next.
    pub(super) row: usize,
    /// From a value to its tangent, if there is one.
    pub(super) tangent: Option<usize>,
}

impl Place {
    /// A contiguous `(B, heads, rows, width)`, or stacked `(2, B, heads, rows, width)`.
    pub(super) fn contiguous(batch: usize, heads: usize, rows: usize, width: usize, is_stacked: bool) -> Self {
        let (head, sample) = (rows * width, heads * rows * width);
        Self { start: 0, sample, head, row: width, tangent: is_stacked.then_some(batch * sample) }
    }

    /// Heads of `width` side by side in a contiguous `(B, rows, parts · heads · width)`: those of part `part`.
    pub(super) fn packed(
        (batch, rows): (usize, usize),
        (heads, width): (usize, usize),
        (part, parts): (usize, usize),
        is_stacked: bool,
    ) -> Self {
        let row = parts * heads * width;
        let (start, sample) = (part * heads * width, rows * row);
        Self { start, sample, head: width, row, tangent: is_stacked.then_some(batch * sample) }
    }

    /// The start of the rows of one head.
    fn of(&self, (sample, head): (usize, usize)) -> usize {
        self.start + sample * self.sample + head * self.head
    }
}

/// One operand, to be read.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// The buffer it lies in.
    pub(super) data: &'a [f32],
    /// Where in the buffer.
    pub(super) place: Place,
    /// Numbers in a row.
    pub(super) width: usize,
}

impl Part<'_> {
    /// Copies rows of a head from `first` on, as many as `out` takes: values and, if `is_dual`, below them the tangents.
    ///
    /// Zeros stand in for a missing tangent.
    pub(super) fn gather(&self, task: (usize, usize), first: usize, is_dual: bool, out: &mut [f32]) {
        self.parts(task, first, is_dual, out, |rows, row_stride, out| {
            for (i, out) in out.chunks_exact_mut(self.width).enumerate() {
                out.copy_from_slice(&rows[i * row_stride..][..self.width]);
            }
        });
    }

    /// The same transposed: `width` rows of values and below them as many rows of tangents.
    pub(super) fn gather_transposed(&self, task: (usize, usize), is_dual: bool, out: &mut [f32]) {
        /// Rows that are turned at once: they fill one line of the cache.
        const TILE: usize = 16;
        self.parts(task, 0, is_dual, out, |rows, row_stride, out| {
            let n = out.len() / self.width;
            for first in (0..n).step_by(TILE) {
                let tile = TILE.min(n - first);
                let rows = &rows[first * row_stride..];
                for (i, out) in out.chunks_exact_mut(n).enumerate() {
                    for (j, out) in out[first..first + tile].iter_mut().enumerate() {
                        *out = rows[j * row_stride + i];
                    }
                }
            }
        });
    }

    /// Calls `copy` for the values and for the tangents, with where they are read and written.
    fn parts(
        &self,
        task: (usize, usize),
        first: usize,
        is_dual: bool,
        out: &mut [f32],
        copy: impl Fn(&[f32], usize, &mut [f32]),
    ) {
        if out.is_empty() {
            return;
        }
        let start = self.place.of(task) + first * self.place.row;
        let half = if is_dual { out.len() / 2 } else { out.len() };
        let (values, tangents) = out.split_at_mut(half);
        copy(&self.data[start..], self.place.row, values);
        match self.place.tangent {
            _ if tangents.is_empty() => (),
            Some(further) => copy(&self.data[start + further..], self.place.row, tangents),
            None => tangents.fill(0.0),
        }
    }
}

/// A buffer that tasks write disjoint numbers of.
pub(super) struct Buffer<'a> {
    data: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "tasks write one buffer")]
// SAFETY: the only access is `Buffer::write`, whose callers promise that no two threads write the same numbers.
unsafe impl Sync for Buffer<'_> {}

impl<'a> Buffer<'a> {
    /// Takes the buffer for as long as the tasks run.
    pub(super) fn new(data: &'a mut [f32]) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len(), borrow: PhantomData }
    }

    /// Writes `values` from `start` on.
    ///
    /// # Safety
    /// No other thread writes these numbers at the same time.
    #[expect(unsafe_code, reason = "tasks write one buffer")]
    unsafe fn write(&self, start: usize, values: &[f32]) {
        assert!(start <= self.len && values.len() <= self.len - start, "a head leaves its buffer");
        // SAFETY: the numbers lie inside the buffer, as asserted; the buffer is borrowed mutably for 'a, so `values`
        // is no part of it; that no other thread writes them is the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.data.add(start), values.len()) };
    }
}

/// One result, to be written: its place must not put two rows on the same numbers.
#[derive(Clone, Copy)]
pub(super) struct Sink<'a> {
    /// The buffer it goes to.
    pub(super) buffer: &'a Buffer<'a>,
    /// Where in the buffer.
    pub(super) place: Place,
    /// Numbers in a row.
    pub(super) width: usize,
}

impl Sink<'_> {
    /// Writes rows of a head from `first` on: values and, if `is_dual`, below them tangents.
    ///
    /// Only one thread at a time may have a task. Tangents without a place are dropped.
    pub(super) fn scatter(&self, task: (usize, usize), first: usize, is_dual: bool, rows: &[f32]) {
        let half = if is_dual { rows.len() / 2 } else { rows.len() };
        let start = self.place.of(task) + first * self.place.row;
        let starts = [Some(start), self.place.tangent.map(|further| start + further)];
        for (start, rows) in starts.into_iter().zip([&rows[..half], &rows[half..]]) {
            let Some(start) = start else { continue };
            for (i, row) in rows.chunks_exact(self.width.max(1)).enumerate() {
                #[expect(unsafe_code, reason = "tasks write one buffer")]
                // SAFETY: the places of sinks put no two rows on the same numbers, and each head is one task,
                // which one thread runs.
                unsafe {
                    self.buffer.write(start + i * self.place.row, row);
                }
            }
        }
    }
}
