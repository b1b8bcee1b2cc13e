//! Sine and cosine of the same angles in one pass, with tangent and backward.
//!
//! y = [sin x, cos x],  ẏ = [cos x ẋ, −sin x ẋ]                                              (1)
//! x̄ = cos x (ȳ_s − ẋ ẏ̄_c) − sin x (ȳ_c + ẋ ẏ̄_s),  ẋ̄ = cos x ẏ̄_s − sin x ẏ̄_c            (2)
//!
//! f32 on the CPU, rows of angles `(..., n)` to `(..., 2 n)`, stacked ones likewise; (2) reads sines and cosines
//! from the output.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::lanes::dispatch::{Kernel, dispatch};
use crate::memory::slices::{Parts, floats, with_floats};

/// Angles in a chunk, about.
const CHUNK: usize = 8 * 1024;
/// Up to here the reduction to a quarter turn below is exact to f32; larger angles go to the library.
const MAX_ANGLE: f32 = 8192.0;

/// The operation; its input is `(..., n)` or, stacked, `(2, ..., n)`.
pub struct SinCos(pub Parts);

/// sin x and cos x within 2 ulp for |x| <= [`MAX_ANGLE`].
#[inline(always)]
fn sin_cos(x: f32) -> (f32, f32) {
    // π/2 in three parts, so that n times the first two is exact.
    const PARTS: [f32; 3] = [1.570_312_5, 4.837_513e-4, 7.549_79e-8];
    // Adding 1.5 · 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::FRAC_2_PI + ROUND;
    let (n, quarter) = (shifted - ROUND, shifted.to_bits());
    let r = x - n * PARTS[0] - n * PARTS[1] - n * PARTS[2];
    let q = r * r;
    // Minimax polynomials on |r| <= π/4, from Cephes.
    let sin = r + r * q * (-1.666_665_5e-1 + q * (8.332_161e-3 - 1.951_529_6e-4 * q));
    let cos = 1.0 - 0.5 * q + q * q * (4.166_664_6e-2 + q * (-1.388_731_6e-3 + 2.443_315_7e-5 * q));
    // Odd quarters swap the two; the sine changes its sign at half turns, the cosine a quarter before.
    let is_odd = (quarter & 1).wrapping_neg();
    let select = |a: f32, b: f32| f32::from_bits((a.to_bits() & !is_odd) | (b.to_bits() & is_odd));
    let sign = |x: f32, quarter: u32| f32::from_bits(x.to_bits() ^ ((quarter & 2) << 30));
    (sign(select(sin, cos), quarter), sign(select(cos, sin), quarter.wrapping_add(1)))
}

/// (1) for rows without a tangent.
struct Forward<'a> {
    n: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        for (x, y) in self.x.chunks_exact(self.n).zip(self.y.chunks_exact_mut(2 * self.n)) {
            let (sines, cosines) = y.split_at_mut(self.n);
            for ((x, s), c) in x.iter().zip(sines).zip(cosines) {
                (*s, *c) = sin_cos(*x);
            }
        }
    }
}

/// The tangent of (1).
struct Tangent<'a> {
    n: usize,
    y: &'a [f32],
    dx: &'a [f32],
    dy: &'a mut [f32],
}

impl Kernel for Tangent<'_> {
    #[inline(always)]
    fn run(self) {
        let rows = self.y.chunks_exact(2 * self.n).zip(self.dx.chunks_exact(self.n));
        for ((y, dx), dy) in rows.zip(self.dy.chunks_exact_mut(2 * self.n)) {
            let ((s, c), (ds, dc)) = (y.split_at(self.n), dy.split_at_mut(self.n));
            for ((((s, c), dx), ds), dc) in s.iter().zip(c).zip(dx).zip(ds).zip(dc) {
                (*ds, *dc) = (c * dx, -s * dx);
            }
        }
    }
}

/// a = cos x g_s − sin x g_c, what both lines of (2) have in common.
struct Turned<'a> {
    n: usize,
    y: &'a [f32],
    gradient: &'a [f32],
    a: &'a mut [f32],
}

impl Kernel for Turned<'_> {
    #[inline(always)]
    fn run(self) {
        let rows = self.y.chunks_exact(2 * self.n).zip(self.gradient.chunks_exact(2 * self.n));
        for ((y, gradient), a) in rows.zip(self.a.chunks_exact_mut(self.n)) {
            let ((s, c), (gs, gc)) = (y.split_at(self.n), gradient.split_at(self.n));
            for ((((s, c), gs), gc), a) in s.iter().zip(c).zip(gs).zip(gc).zip(a) {
                *a = c * gs - s * gc;
            }
        }
    }
}

/// x̄ ← x̄ − ẋ (sin x ẏ̄_s + cos x ẏ̄_c); ẏ = [cos x ẋ, −sin x ẋ] gives ẋ times both.
struct ThroughTangent<'a> {
    n: usize,
    dy: &'a [f32],
    gradient: &'a [f32],
    gx: &'a mut [f32],
}

impl Kernel for ThroughTangent<'_> {
    #[inline(always)]
    fn run(self) {
        let rows = self.dy.chunks_exact(2 * self.n).zip(self.gradient.chunks_exact(2 * self.n));
        for ((dy, gradient), gx) in rows.zip(self.gx.chunks_exact_mut(self.n)) {
            let ((ds, dc), (gs, gc)) = (dy.split_at(self.n), gradient.split_at(self.n));
            for ((((ds, dc), gs), gc), gx) in ds.iter().zip(dc).zip(gs).zip(gc).zip(gx) {
                *gx += dc * gs - ds * gc;
            }
        }
    }
}

impl SinCos {
    /// Angles of a row, and the start of the tangents: the length of the slice if there are none.
    fn sizes(&self, shape: &Shape) -> Result<(usize, usize)> {
        match shape.dims() {
            [.., n] => Ok((*n, shape.elem_count() / self.0.count())),
            [] => bail!("expected rows of angles, found a number"),
        }
    }
}

impl CustomOp1 for SinCos {
    fn name(&self) -> &'static str {
        "sin-cos"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let (n, n_values) = self.sizes(layout.shape())?;
        let mut dims = layout.shape().dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last *= 2;
        }
        let mut y = vec![0f32; 2 * x.len()];
        if n_values > 0 {
            let len = (CHUNK / n).max(1) * n;
            let (x, dx) = x.split_at(n_values);
            let (y, dy) = y.split_at_mut(2 * n_values);
            x.par_chunks(len).zip(y.par_chunks_mut(2 * len)).for_each(|(x, y)| {
                if x.iter().all(|x| x.abs() <= MAX_ANGLE) {
                    return dispatch(Forward { n, x, y });
                }
                for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(2 * n)) {
                    x.iter().enumerate().for_each(|(i, x)| (y[i], y[n + i]) = x.sin_cos());
                }
            });
            let tangents = dx.par_chunks(len).zip(y.par_chunks(2 * len)).zip(dy.par_chunks_mut(2 * len));
            tangents.for_each(|((dx, y), dy)| dispatch(Tangent { n, y, dx, dy }));
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (n, n_values) = self.sizes(x.shape())?;
        let mut gx = vec![0f32; x.elem_count()];
        let gradient = gradient.contiguous()?;
        with_floats(y, |y| {
            with_floats(&gradient, |gradient| {
                if n_values == 0 {
                    return Ok(());
                }
                let len = (CHUNK / n).max(1) * n;
                let ((y, dy), (gy, gdy)) = (y.split_at(2 * n_values), gradient.split_at(2 * n_values));
                let (gx, gdx) = gx.split_at_mut(n_values);
                let turn = |gradient: &[f32], a: &mut [f32]| {
                    let chunks = y.par_chunks(2 * len).zip(gradient.par_chunks(2 * len));
                    chunks
                        .zip(a.par_chunks_mut(len))
                        .for_each(|((y, gradient), a)| dispatch(Turned { n, y, gradient, a }));
                };
                turn(gy, gx);
                turn(gdy, gdx);
                let chunks = dy.par_chunks(2 * len).zip(gdy.par_chunks(2 * len)).zip(gx.par_chunks_mut(len));
                chunks.for_each(|((dy, gradient), gx)| dispatch(ThroughTangent { n, dy, gradient, gx }));
                Ok(())
            })
        })?;
        Ok(Some(Tensor::from_vec(gx, x.shape(), &Device::Cpu)?))
    }
}

#[cfg(test)]
mod tests {
    use super::sin_cos;

    #[test]
    fn sine_and_cosine_are_right_to_a_few_units_in_the_last_place() {
        for i in -80_000..=80_000 {
            let x = i as f32 * 0.1013;
            let (s, c) = sin_cos(x);
            let (exact_s, exact_c) = f64::from(x).sin_cos();
            assert!((f64::from(s) - exact_s).abs() < 3e-7, "sin({x}) = {s}, not {exact_s}");
            assert!((f64::from(c) - exact_c).abs() < 3e-7, "cos({x}) = {c}, not {exact_c}");
        }
    }
}
