//! Vectors of numbers for loops whose sums must stay in registers, chosen when the program runs.
//!
//! Where a plain loop is enough, `simd::dispatch` has less to say; here the compiler does not find the registers by itself.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_castpd_ps,
    _mm256_castps_pd, _mm256_castps_si256, _mm256_castps256_ps128, _mm256_cmpgt_epi32, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_maskload_ps, _mm256_permute2f128_ps, _mm256_permute4x64_pd,
    _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_castps_si512,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_permutex2var_ps, _mm512_permutexvar_ps,
    _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

/// A few numbers that the processor handles at once.
///
/// # Safety
/// Every method needs the instructions of its implementation, and pointers to `N` numbers.
#[expect(unsafe_code, reason = "vector instructions take pointers")]
pub(super) trait Lanes: Copy {
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

/// Lanes of plain arithmetic, for processors without the instructions below.
#[derive(Clone, Copy)]
pub(super) struct Plain<const LANES: usize>([f32; LANES]);

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

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl Lanes for __m256 {
    const N: usize = 8;
    const REGISTERS: usize = 16;

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
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: as above, and for the numbers below `n`; the others are not read.
        unsafe {
            let is_first =
                _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
            _mm256_maskload_ps(from, is_first)
        }
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

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_permutevar8x32_ps(self, _mm256_castps_si256(places)) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn interleave(self, b: Self) -> [Self; 2] {
        // SAFETY: as above.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(self, b), _mm256_unpackhi_ps(self, b));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn deinterleave(self, b: Self) -> [Self; 2] {
        // SAFETY: as above. The first half of each vector gives pairs 0 and 2 of the result, the other 1 and 3.
        unsafe {
            let halves =
                [_mm256_shuffle_ps::<0b10_00_10_00>(self, b), _mm256_shuffle_ps::<0b11_01_11_01>(self, b)];
            halves.map(|v| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v))))
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl Lanes for __m512 {
    const N: usize = 16;
    const REGISTERS: usize = 32;

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
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: as above, and for the numbers below `n`; the others are not read.
        unsafe { _mm512_maskz_loadu_ps(!(u32::MAX << n) as u16, from) }
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

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_permutexvar_ps(_mm512_castps_si512(places), self) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn interleave(self, b: Self) -> [Self; 2] {
        // SAFETY: as above. Places from 16 on are those of b.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            [_mm512_permutex2var_ps(self, low, b), _mm512_permutex2var_ps(self, high, b)]
        }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn deinterleave(self, b: Self) -> [Self; 2] {
        // SAFETY: as above. Places from 16 on are those of b.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            [_mm512_permutex2var_ps(self, even, b), _mm512_permutex2var_ps(self, odd, b)]
        }
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

/// Runs `kernel` with the widest vectors that this processor has: those of [`lanes`] numbers.
#[expect(unsafe_code, reason = "calls functions compiled for other instructions")]
pub(super) fn dispatch_lanes(kernel: impl VectorKernel) {
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
