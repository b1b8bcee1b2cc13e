//! Lanes of plain arithmetic.

use super::Lanes;

/// Lanes of plain arithmetic, for processors without the instructions below.
#[derive(Clone, Copy)]
pub(crate) struct Plain<const LANES: usize>([f32; LANES]);

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl<const LANES: usize> Lanes for Plain<LANES> {
    const N: usize = LANES;
    const REGISTERS: usize = 16;

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; LANES])
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; LANES])
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for as many numbers.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let mut numbers = [0.0; LANES];
        // SAFETY: the caller vouches for as many numbers; no more than there is room for are copied.
        unsafe { from.copy_to_nonoverlapping(numbers.as_mut_ptr(), n.min(LANES)) };
        Self(numbers)
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for room for as many numbers.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for ((sum, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
            // A fused multiply-add is a function call where the processor may lack it.
            *sum = if cfg!(target_arch = "aarch64") { a.mul_add(b, *sum) } else { *sum + a * b };
        }
        self
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        Self(places.0.map(|place| self.0[place.to_bits() as usize % LANES]))
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn interleave(self, b: Self) -> [Self; 2] {
        let mut both = [self, b];
        for (pair, (a, b)) in
            both.iter_mut().flat_map(|v| v.0.as_chunks_mut::<2>().0).zip(self.0.iter().zip(b.0))
        {
            *pair = [*a, b];
        }
        both
    }

    // SAFETY: plain arithmetic needs no instructions of its own.
    #[inline(always)]
    unsafe fn deinterleave(self, b: Self) -> [Self; 2] {
        let [mut even, mut odd] = [self; 2];
        let pairs = [&self, &b].into_iter().flat_map(|v| v.0.as_chunks::<2>().0);
        for (pair, (even, odd)) in pairs.zip(even.0.iter_mut().zip(&mut odd.0)) {
            [*even, *odd] = *pair;
        }
        [even, odd]
    }
}
