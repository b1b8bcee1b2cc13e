//! Vectors of numbers for loops whose sums must stay in registers, chosen when the program runs.
//!
//! Where a plain loop is enough, `dispatch::dispatch` has less to say; here the compiler does not find the registers by itself.

pub(crate) mod dispatch;
mod plain;
pub(crate) mod reduce;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

pub(crate) use plain::Plain;

/// A few numbers that the processor handles at once.
///
/// # Safety
/// Every method needs the instructions of its implementation, and pointers to `N` numbers.
#[expect(unsafe_code, reason = "vector instructions take pointers")]
pub(crate) trait Lanes: Copy {
    /// How many numbers.
    const N: usize;
    /// Vectors that the processor holds at once.
    const REGISTERS: usize;
    /// All zero.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn zero() -> Self;
    /// All the same.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn splat(x: f32) -> Self;
    /// The `N` numbers at `from`.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn load(from: *const f32) -> Self;
    /// The `n` numbers at `from`, at most `N`, and zeros behind them.
    ///
    /// # Safety
    /// As the trait says, of `n` numbers.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    /// Puts the `N` numbers at `to`.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn store(self, to: *mut f32);
    /// a b + self
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum of the `N` numbers.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn sum(self) -> f32;
    /// Number i is the one at the place, below `N`, that the bits of number i of `places` say.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn pick(self, places: Self) -> Self;
    /// Both in turns: the first `N` of a₀ b₀ a₁ b₁ …, and the others.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn interleave(self, b: Self) -> [Self; 2];
    /// The numbers at even places of both, one after the other, and those at odd ones.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn deinterleave(self, b: Self) -> [Self; 2];
}

/// A loop over vectors, compiled once for each kind of them.
pub(crate) trait VectorKernel {
    /// Runs the loop; must be `#[inline(always)]` for the instructions to reach it.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[expect(unsafe_code, reason = "needs the instructions of its vectors")]
    unsafe fn run<V: Lanes>(self);
}

/// Numbers in the vectors that [`dispatch_lanes`] takes.
pub(crate) fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        return 16;
    }
    8
}

/// AVX-512F with its shorter vectors, without which half of the registers cannot take part in sums.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
}

/// Runs `kernel` with the widest vectors of this processor, of [`lanes`] numbers.
#[expect(unsafe_code, reason = "calls functions compiled for other instructions")]
pub(crate) fn dispatch_lanes(kernel: impl VectorKernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the processor has AVX-512F and AVX-512VL, as just detected.
            return unsafe { avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, as just detected.
            return unsafe { avx2(kernel) };
        }
    }
    // SAFETY: these vectors need no instructions of their own.
    unsafe { kernel.run::<Plain<8>>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn avx512(kernel: impl VectorKernel) {
    #[expect(unsafe_code, reason = "runs a loop of vector instructions")]
    // SAFETY: the processor has AVX-512F, as this function's caller vouches.
    unsafe {
        kernel.run::<__m512>();
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(kernel: impl VectorKernel) {
    #[expect(unsafe_code, reason = "runs a loop of vector instructions")]
    // SAFETY: the processor has AVX2 and FMA, as this function's caller vouches.
    unsafe {
        kernel.run::<__m256>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every method of `V` on whole numbers.
    #[expect(unsafe_code, reason = "vector instructions take pointers")]
    #[inline(always)]
    fn check<V: Lanes>() {
        let numbers: Vec<f32> = (1..=2 * V::N as u16).map(f32::from).collect();
        let (first, second) = numbers.split_at(V::N);
        let stored = |v: V| {
            let mut numbers = vec![0f32; V::N];
            // SAFETY: the caller has found the instructions of V, and there is room for its numbers.
            unsafe { v.store(numbers.as_mut_ptr()) };
            numbers
        };
        let both = |[low, high]: [V; 2]| [stored(low), stored(high)].concat();
        // SAFETY: the caller has found the instructions of V; both slices have `V::N` numbers, and `load_first` reads
        // no more than it is told.
        unsafe {
            let (a, b) = (V::load(first.as_ptr()), V::load(second.as_ptr()));
            assert_eq!(both([a, b]), numbers);
            assert_eq!(stored(V::zero()), vec![0.0; V::N]);
            assert_eq!(
                stored(V::splat(7.0).add_product(a, V::splat(2.0)))[V::N - 1],
                7.0 + 2.0 * V::N as f32
            );
            assert_eq!(a.sum(), first.iter().sum::<f32>());
            for n in 0..=V::N {
                let expected: Vec<_> =
                    first.iter().enumerate().map(|(i, x)| if i < n { *x } else { 0.0 }).collect();
                assert_eq!(stored(V::load_first(first[..n].as_ptr(), n)), expected);
            }
            let places: Vec<_> =
                (0..V::N as u32).map(|i| f32::from_bits((3 * i + 1) % V::N as u32)).collect();
            let picked: Vec<_> = places.iter().map(|place| first[place.to_bits() as usize]).collect();
            assert_eq!(stored(a.pick(V::load(places.as_ptr()))), picked);
            let turns: Vec<_> = first.iter().zip(second).flat_map(|(a, b)| [*a, *b]).collect();
            assert_eq!(both(a.interleave(b)), turns);
            let [even, odd] = [0, 1].map(|i| numbers.iter().skip(i).step_by(2).copied().collect::<Vec<_>>());
            assert_eq!(both(a.deinterleave(b)), [even, odd].concat());
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn check_avx512() {
        check::<__m512>();
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn check_avx2() {
        check::<__m256>();
    }

    #[test]
    #[expect(unsafe_code, reason = "calls functions compiled for other instructions")]
    fn every_vector_does_what_plain_arithmetic_does() {
        check::<Plain<4>>();
        check::<Plain<8>>();
        check::<Plain<16>>();
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                // SAFETY: the processor has AVX-512F and AVX-512VL, as just detected.
                unsafe { check_avx512() };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the processor has AVX2 and FMA, as just detected.
                unsafe { check_avx2() };
            }
        }
    }
}
