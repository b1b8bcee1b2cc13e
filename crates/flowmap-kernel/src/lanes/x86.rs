//! Lanes of AVX2 and of AVX-512.

use std::arch::x86_64::{
    __m256, __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_castpd_ps,
    _mm256_castps_pd, _mm256_castps_si256, _mm256_castps256_ps128, _mm256_cmpgt_epi32, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_maskload_ps, _mm256_permute2f128_ps, _mm256_permute4x64_pd,
    _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_castps_si512,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_permutex2var_ps, _mm512_permutexvar_ps,
    _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::Lanes;

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl Lanes for __m256 {
    const N: usize = 8;
    const REGISTERS: usize = 16;

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX2; it reads registers alone.
        unsafe { _mm256_setzero_ps() }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller vouches for AVX2; it reads registers alone.
        unsafe { _mm256_set1_ps(x) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX and for eight numbers from here on.
        unsafe { _mm256_loadu_ps(from) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller vouches for AVX2 and for `n` numbers from here on; the mask hides the others.
        unsafe {
            let is_first =
                _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
            _mm256_maskload_ps(from, is_first)
        }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for AVX and for room for eight numbers.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller vouches for FMA; it reads registers alone.
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller vouches for AVX2; it reads registers alone.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        // SAFETY: the caller vouches for AVX2; it reads registers alone.
        unsafe { _mm256_permutevar8x32_ps(self, _mm256_castps_si256(places)) }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn interleave(self, b: Self) -> [Self; 2] {
        // SAFETY: the caller vouches for AVX2; it reads registers alone.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(self, b), _mm256_unpackhi_ps(self, b));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }

    // SAFETY: the caller vouches for AVX2 and FMA.
    #[inline(always)]
    unsafe fn deinterleave(self, b: Self) -> [Self; 2] {
        // SAFETY: the caller vouches for AVX2; it reads registers alone.
        // The first half of each vector gives pairs 0 and 2 of the result, the other 1 and 3.
        unsafe {
            let halves =
                [_mm256_shuffle_ps::<0b10_00_10_00>(self, b), _mm256_shuffle_ps::<0b11_01_11_01>(self, b)];
            halves.map(|v| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v))))
        }
    }
}

#[expect(unsafe_code, reason = "vector instructions take pointers")]
impl Lanes for __m512 {
    const N: usize = 16;
    const REGISTERS: usize = 32;

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX-512F; it reads registers alone.
        unsafe { _mm512_setzero_ps() }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller vouches for AVX-512F; it reads registers alone.
        unsafe { _mm512_set1_ps(x) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX-512F and for sixteen numbers from here on.
        unsafe { _mm512_loadu_ps(from) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller vouches for AVX-512F and for `n` numbers from here on; the mask hides the others.
        unsafe { _mm512_maskz_loadu_ps(!(u32::MAX << n) as u16, from) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for AVX-512F and for room for sixteen numbers.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512F; it reads registers alone.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller vouches for AVX-512F; it reads registers alone.
        unsafe { _mm512_reduce_add_ps(self) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512F; it reads registers alone.
        unsafe { _mm512_permutexvar_ps(_mm512_castps_si512(places), self) }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn interleave(self, b: Self) -> [Self; 2] {
        // SAFETY: the caller vouches for AVX-512F; it reads registers alone. Places from 16 on are those of b.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            [_mm512_permutex2var_ps(self, low, b), _mm512_permutex2var_ps(self, high, b)]
        }
    }

    // SAFETY: the caller vouches for AVX-512F.
    #[inline(always)]
    unsafe fn deinterleave(self, b: Self) -> [Self; 2] {
        // SAFETY: the caller vouches for AVX-512F; it reads registers alone. Places from 16 on are those of b.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            [_mm512_permutex2var_ps(self, even, b), _mm512_permutex2var_ps(self, odd, b)]
        }
    }
}
