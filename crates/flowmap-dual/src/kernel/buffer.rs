//! Memory that a thread takes and gives back, with whatever numbers it last held.
//!
//! What a kernel overwrites as a whole need not be zeroed first, and pages that stay need not be asked for again.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Buffers that a thread keeps at most.
const MAX_KEPT: usize = 512;
/// Numbers that a thread keeps at most.
const MAX_KEPT_NUMBERS: usize = 1 << 24;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A slice of numbers to overwrite; its memory goes back to the thread that drops it.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// `n` numbers of any value.
    pub(super) fn new(n: usize) -> Self {
        if n == 0 {
            return Self::default();
        }
        let fits = |v: &Vec<f32>| (n..=2 * n).contains(&v.capacity());
        let kept = KEPT.with_borrow_mut(|kept| kept.iter().position(fits).map(|i| kept.swap_remove(i)));
        let mut values = kept.unwrap_or_default();
        values.resize(n, 0.0);
        Self(values)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.0);
        // While a thread ends there is nowhere to keep it.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let numbers: usize = kept.iter().map(Vec::capacity).sum();
            if values.capacity() > 0
                && kept.len() < MAX_KEPT
                && numbers + values.capacity() <= MAX_KEPT_NUMBERS
            {
                kept.push(values);
            }
        });
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
