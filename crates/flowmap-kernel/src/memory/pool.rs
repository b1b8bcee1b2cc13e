//! Memory that kernels take and give back, with whatever numbers it last held.
//!
//! What a kernel overwrites as a whole need not be zeroed first, and pages that stay need not be asked for again.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Buffers of more numbers are kept for all threads, since it may be another one that drops them.
const LARGE: usize = 1 << 16;
/// Buffers that a thread keeps at most, and numbers in them.
const KEPT_BY_THREAD: (usize, usize) = (512, 1 << 22);
/// The bounds of the buffers that all threads share.
const KEPT_FOR_ALL: (usize, usize) = (512, 1 << 25);

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
}

static LARGE_ONES: Mutex<Kept> = Mutex::new(Kept(Vec::new()));

/// Memory to use again.
struct Kept(Vec<Vec<f32>>);

impl Kept {
    /// Memory for `n` numbers.
    fn take(&mut self, n: usize) -> Option<Vec<f32>> {
        let fits = |v: &Vec<f32>| (n..=2 * n).contains(&v.capacity());
        self.0.iter().position(fits).map(|i| self.0.swap_remove(i))
    }

    /// Keeps memory unless there is too much of it.
    fn keep(&mut self, values: Vec<f32>, (most, most_numbers): (usize, usize)) {
        let numbers: usize = self.0.iter().map(Vec::capacity).sum();
        if self.0.len() < most && numbers + values.capacity() <= most_numbers {
            self.0.push(values);
        }
    }
}

/// A slice of numbers to overwrite; its memory is kept for the next.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<f32>);

impl Buffer {
    /// `n` numbers of any value.
    pub(crate) fn new(n: usize) -> Self {
        if n == 0 {
            return Self::default();
        }
        // What is kept is whole whatever thread panicked with it.
        let kept = match n < LARGE {
            true => KEPT.with_borrow_mut(|kept| kept.take(n)),
            false => LARGE_ONES.lock().unwrap_or_else(PoisonError::into_inner).take(n),
        };
        let mut values = kept.unwrap_or_default();
        values.resize(n, 0.0);
        Self(values)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.0);
        match values.capacity() {
            0 => {}
            // While a thread ends there is nowhere to keep it.
            1..LARGE => drop(KEPT.try_with(|kept| kept.borrow_mut().keep(values, KEPT_BY_THREAD))),
            _ => LARGE_ONES.lock().unwrap_or_else(PoisonError::into_inner).keep(values, KEPT_FOR_ALL),
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}
