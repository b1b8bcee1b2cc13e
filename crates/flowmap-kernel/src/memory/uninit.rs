//! Memory for results that many threads write, which each task clears just before it writes.
//!
//! `vec![0.0; n]` has one thread clear (or the kernel fault in) all of a large vector, which costs as much as
//! a whole pass of a normalization; here each task clears its own piece, which then is in its cache.

use std::convert::Infallible;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A piece of a vector that holds no numbers yet.
pub(crate) struct Blank<'a> {
    memory: &'a mut [MaybeUninit<f32>],
    n_cleared: &'a AtomicUsize,
}

impl<'a> Blank<'a> {
    /// How many numbers there is room for.
    pub(crate) fn len(&self) -> usize {
        self.memory.len()
    }

    /// The first `mid` numbers, and the others.
    pub(crate) fn split_at(self, mid: usize) -> (Self, Self) {
        let (left, right) = self.memory.split_at_mut(mid);
        let n_cleared = self.n_cleared;
        (Self { memory: left, n_cleared }, Self { memory: right, n_cleared })
    }

    /// Pieces of `piece` numbers; after every `run` numbers a new piece begins, and the one before it is shorter.
    pub(crate) fn pieces(self, run: usize, piece: usize) -> Vec<Self> {
        let n_cleared = self.n_cleared;
        let runs = self.memory.chunks_mut(run);
        runs.flat_map(|run| run.chunks_mut(piece)).map(|memory| Self { memory, n_cleared }).collect()
    }

    /// Zeros.
    pub(crate) fn clear(self) -> &'a mut [f32] {
        self.memory.fill(MaybeUninit::new(0.0));
        self.n_cleared.fetch_add(self.memory.len(), Ordering::Relaxed);
        #[expect(unsafe_code, reason = "the memory has just been written")]
        // SAFETY: every element was initialized above.
        unsafe {
            self.memory.assume_init_mut()
        }
    }
}

/// A vector of `len` numbers, which `write` clears and fills, in as many pieces and threads as it wants.
pub(crate) fn written(len: usize, write: impl FnOnce(Blank<'_>)) -> Vec<f32> {
    let Ok(values) = try_written::<Infallible>(len, |blank| {
        write(blank);
        Ok(())
    });
    values
}

/// A result of tasks of which `write` may fail.
pub(crate) fn try_written<E>(
    len: usize,
    write: impl FnOnce(Blank<'_>) -> Result<(), E>,
) -> Result<Vec<f32>, E> {
    let mut values = Vec::with_capacity(len);
    let n_cleared = AtomicUsize::new(0);
    write(Blank { memory: &mut values.spare_capacity_mut()[..len], n_cleared: &n_cleared })?;
    assert_eq!(n_cleared.into_inner(), len, "numbers written of a new vector");
    #[expect(unsafe_code, reason = "the vector was written through its spare capacity")]
    // SAFETY: pieces are disjoint and clearing one consumes it, so that no number is counted twice;
    // as many were cleared as there are, hence all of them.
    unsafe {
        values.set_len(len);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_vector_in_order() {
        let values = written(10, |blank| {
            for (i, piece) in blank.pieces(5, 2).into_iter().enumerate() {
                piece.clear().fill(i as f32);
            }
        });
        assert_eq!(values, [0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0]);
    }
}
