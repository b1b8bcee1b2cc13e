//! The three matrices of F(2x2, 3x3), each as what it does to a column of vectors.
#![expect(unsafe_code, reason = "vector instructions")]

use crate::lanes::{Lanes, Plain};

/// A matrix of `N` rows and `M` columns.
pub(super) trait Matrix<const M: usize, const N: usize> {
    /// The product with a column.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn times<V: Lanes>(d: [V; M]) -> [V; N];

    /// F d Fᵀ of this matrix F.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn both<V: Lanes>(d: [[V; M]; M]) -> [[V; N]; N] {
        // SAFETY: the caller vouches for the instructions of `V`, which is all that its methods need without pointers.
        unsafe {
            let mut columns = [[V::zero(); N]; M];
            for (j, to) in columns.iter_mut().enumerate() {
                let mut column = [V::zero(); M];
                for (to, row) in column.iter_mut().zip(&d) {
                    *to = row[j];
                }
                *to = Self::times(column);
            }
            let mut rows = [[V::zero(); N]; N];
            for (i, to) in rows.iter_mut().enumerate() {
                let mut row = [V::zero(); M];
                for (to, column) in row.iter_mut().zip(&columns) {
                    *to = column[i];
                }
                *to = Self::times(row);
            }
            rows
        }
    }

    /// F d Fᵀ for `S` matrices d at once, with plain arithmetic.
    fn arrays<const S: usize>(d: &[[[f32; S]; M]; M]) -> [[[f32; S]; N]; N] {
        let mut found = [[[0f32; S]; N]; N];
        // SAFETY: plain arithmetic needs no instructions of its own; each array has the numbers of its vector.
        unsafe {
            let mut vectors = [[Plain::<S>::zero(); M]; M];
            for (to, from) in vectors.as_flattened_mut().iter_mut().zip(d.as_flattened()) {
                *to = Plain::load(from.as_ptr());
            }
            for (to, from) in found.as_flattened_mut().iter_mut().zip(Self::both(vectors).as_flattened()) {
                from.store(to.as_mut_ptr());
            }
        }
        found
    }
}

/// Bᵀ, for windows of the input.
pub(super) struct Window;

impl Matrix<4, 4> for Window {
    // SAFETY: the caller vouches for the instructions of `V`.
    #[inline(always)]
    unsafe fn times<V: Lanes>([d0, d1, d2, d3]: [V; 4]) -> [V; 4] {
        // SAFETY: the caller vouches for the instructions of `V`; no pointer is read or written.
        unsafe { [less(d0, d2), plus(d1, d2), less(d2, d1), less(d1, d3)] }
    }
}

/// Aᵀ, for the sums at the places of a tile.
pub(super) struct Sums;

impl Matrix<4, 2> for Sums {
    // SAFETY: the caller vouches for the instructions of `V`.
    #[inline(always)]
    unsafe fn times<V: Lanes>([m0, m1, m2, m3]: [V; 4]) -> [V; 2] {
        // SAFETY: the caller vouches for the instructions of `V`; no pointer is read or written.
        unsafe { [plus(m0, plus(m1, m2)), less(less(m1, m2), m3)] }
    }
}

/// G, for kernels.
pub(super) struct Kernel;

impl Matrix<3, 4> for Kernel {
    // SAFETY: the caller vouches for the instructions of `V`.
    #[inline(always)]
    unsafe fn times<V: Lanes>([g0, g1, g2]: [V; 3]) -> [V; 4] {
        // SAFETY: the caller vouches for the instructions of `V`; no pointer is read or written.
        unsafe {
            let (outer, middle) = (half(plus(g0, g2)), half(g1));
            [g0, plus(outer, middle), less(outer, middle), g2]
        }
    }
}

// SAFETY: the caller vouches for the instructions of `V`.
#[inline(always)]
unsafe fn plus<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: the caller vouches for the instructions of `V`; no pointer is read or written.
    unsafe { a.add_product(b, V::splat(1.0)) }
}

// SAFETY: the caller vouches for the instructions of `V`.
#[inline(always)]
unsafe fn less<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: the caller vouches for the instructions of `V`; no pointer is read or written.
    unsafe { a.add_product(b, V::splat(-1.0)) }
}

// SAFETY: the caller vouches for the instructions of `V`.
#[inline(always)]
unsafe fn half<V: Lanes>(a: V) -> V {
    // SAFETY: the caller vouches for the instructions of `V`; no pointer is read or written.
    unsafe { V::zero().add_product(a, V::splat(0.5)) }
}
