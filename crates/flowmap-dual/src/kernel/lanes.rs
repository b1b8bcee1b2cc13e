//! Vectors of numbers for loops whose sums must stay in registers, chosen when the program runs.
//!
//! Where a plain loop is enough, `simd::dispatch` has less to say; here the compiler does not find the registers by itself.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_reduce_add_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

/// A few numbers that the processor handles at once.
///
/// # Safety
/// Every method needs the instructions of its implementation, and pointers to `N` numbers.
#[expect(unsafe_code, reason = "vector instructions take pointers")]
pub(super) trait Lanes: Copy {
    /// How many numbers.
    const N: usize;
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
}

/// Lanes of plain arithmetic, for processors without the instructions below.
#[derive(Clone, Copy)]
pub(super) struct Plain<const LANES: usize>([f32; LANES]);

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl<const LANES: usize> Lanes for Plain<LANES> {
    const N: usize = LANES;

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
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl Lanes for __m256 {
    const N: usize = 8;

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX2, here and below.
        unsafe { _mm256_setzero_ps() }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(x) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and for eight numbers.
        unsafe { _mm256_loadu_ps(from) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for room for eight numbers.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as above, and for FMA.
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl Lanes for __m512 {
    const N: usize = 16;

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX-512F, here and below.
        unsafe { _mm512_setzero_ps() }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(x) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and for sixteen numbers.
        unsafe { _mm512_loadu_ps(from) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and for room for sixteen numbers.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_add_ps(self) }
    }
}

/// A loop over vectors, compiled once for each kind of them.
pub(super) trait VectorKernel {
    /// Runs the loop; must be `#[inline(always)]` for the instructions to reach it.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[expect(unsafe_code, reason = "needs the instructions of its vectors")]
    unsafe fn run<V: Lanes>(self);
}

/// Numbers in the vectors that [`dispatch_lanes`] takes.
pub(super) fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        return 16;
    }
    8
}

/// Runs `kernel` with the widest vectors that this processor has: those of [`lanes`] numbers.
#[expect(unsafe_code, reason = "calls functions compiled for other instructions")]
pub(super) fn dispatch_lanes(kernel: impl VectorKernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, as just detected.
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
#[target_feature(enable = "avx512f")]
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
