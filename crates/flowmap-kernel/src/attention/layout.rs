//! Where the matrices of the heads lie in a buffer, and how a task reads and writes its own.
//!
//! Heads are read by strides, in place or into scratch that fits the cache; so no tensor is ever permuted.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::matmul::gemm::Matrix;

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
    pub(super) fn contiguous(
        batch: usize,
        heads: usize,
        rows: usize,
        width: usize,
        is_stacked: bool,
    ) -> Self {
        let (head, sample) = (rows * width, heads * rows * width);
        Self { start: 0, sample, head, row: width, tangent: is_stacked.then_some(batch * sample) }
    }

    /// Heads of `width` side by side in a contiguous `(B, rows, parts · heads · width)`: the heads of part `part`.
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

impl<'a> Part<'a> {
    /// The first `n` rows of a head, in place.
    pub(super) fn values(&self, task: (usize, usize), n: usize) -> Matrix<'a> {
        Matrix::strided(&self.data[self.place.of(task)..], n, self.width, self.place.row)
    }

    /// Their tangents, if there are any.
    pub(super) fn tangents(&self, task: (usize, usize), n: usize) -> Option<Matrix<'a>> {
        let start = self.place.of(task) + self.place.tangent?;
        Some(Matrix::strided(&self.data[start..], n, self.width, self.place.row))
    }

    /// Copies rows of a head from `first` on, as many as `out` takes: values and, if `is_dual`, below them the tangents.
    ///
    /// Zeros stand in for a missing tangent.
    pub(super) fn gather(&self, task: (usize, usize), first: usize, is_dual: bool, out: &mut [f32]) {
        let half = if is_dual { out.len() / 2 } else { out.len() };
        let (values, tangents) = out.split_at_mut(half);
        let start = self.place.of(task) + first * self.place.row;
        let copy = |start: usize, out: &mut [f32]| {
            for (i, out) in out.chunks_exact_mut(self.width).enumerate() {
                out.copy_from_slice(&self.data[start + i * self.place.row..][..self.width]);
            }
        };
        copy(start, values);
        match self.place.tangent {
            Some(further) if is_dual => copy(start + further, tangents),
            _ => tangents.fill(0.0),
        }
    }
}

/// A new buffer, every number of which a task is to write once: nothing is spent on zeros.
pub(super) struct Scattered {
    /// Owns the memory; its length is zero until all of it is written.
    memory: Vec<f32>,
    start: *mut f32,
    len: usize,
    written: AtomicUsize,
}

#[expect(unsafe_code, reason = "tasks write one buffer")]
// SAFETY: shared, the memory is touched only by `Scattered::write`, whose callers promise to write each number once.
unsafe impl Sync for Scattered {}

impl Scattered {
    /// Room for `len` numbers.
    pub(super) fn new(len: usize) -> Self {
        let mut memory = Vec::with_capacity(len);
        let start = memory.as_mut_ptr();
        Self { memory, start, len, written: AtomicUsize::new(0) }
    }

    /// Writes `values` from `start` on.
    ///
    /// # Safety
    /// Nothing else ever writes these numbers.
    #[expect(unsafe_code, reason = "tasks write one buffer")]
    unsafe fn write(&self, start: usize, values: &[f32]) {
        assert!(start <= self.len && values.len() <= self.len - start, "a head leaves its buffer");
        // SAFETY: the numbers lie inside the memory, as asserted; the buffer owns it, so `values` is no part of it;
        // that nobody else writes them is the caller's promise, and nobody reads them before `into_vec`.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(start), values.len()) };
    }

    /// The numbers, once the tasks have written them all.
    pub(super) fn into_vec(mut self) -> Vec<f32> {
        assert_eq!(*self.written.get_mut(), self.len, "numbers written");
        #[expect(unsafe_code, reason = "the tasks initialized the memory")]
        // SAFETY: the capacity is `len` or more; writes are disjoint and inside, so `len` numbers written are all of them.
        unsafe {
            self.memory.set_len(self.len);
        }
        self.memory
    }
}

/// One result, to be written: its place must not put two rows on the same numbers.
#[derive(Clone, Copy)]
pub(super) struct Sink<'a> {
    /// The buffer it goes to.
    pub(super) buffer: &'a Scattered,
    /// Where in the buffer.
    pub(super) place: Place,
    /// Numbers in a row.
    pub(super) width: usize,
}

impl Sink<'_> {
    /// Writes rows of a head from `first` on: values and, if `is_dual`, below them tangents.
    ///
    /// Each row goes out once. Tangents without a place are dropped.
    pub(super) fn scatter(&self, task: (usize, usize), first: usize, is_dual: bool, rows: &[f32]) {
        let half = if is_dual { rows.len() / 2 } else { rows.len() };
        let start = self.place.of(task) + first * self.place.row;
        let starts = [Some(start), self.place.tangent.map(|further| start + further)];
        for (start, rows) in starts.into_iter().zip([&rows[..half], &rows[half..]]) {
            let Some(start) = start else { continue };
            for (i, row) in rows.chunks_exact(self.width).enumerate() {
                #[expect(unsafe_code, reason = "tasks write one buffer")]
                // SAFETY: the places of sinks put no two rows on the same numbers; each head is one task,
                // which writes each row once.
                unsafe {
                    self.buffer.write(start + i * self.place.row, row);
                }
            }
            self.buffer.written.fetch_add(rows.len(), Ordering::Relaxed);
        }
    }
}
