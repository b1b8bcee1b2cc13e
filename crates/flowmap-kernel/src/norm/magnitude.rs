//! Division by the magnitude, with tangent and backward.
//!
//! With ⟨·⟩ the mean over a vector and c the magnitude that it gets:
//! m = √⟨x²⟩,  M = m + eps,  y = c x/M                                                   (1)
//! k = c/M²,  p = ⟨x ẋ⟩/m,  ẏ = c ẋ/M − k p x                                            (2)
//!
//! backward, with ȳ and ẏ̄ the gradients of y and ẏ, and w = ⟨x ȳ⟩/m, q = ⟨ẋ ẏ̄⟩/m, s = ⟨x ẏ̄⟩/m:
//! ẋ̄ = c ẏ̄/M − k s x                                                                    (3)
//! x̄ = c ȳ/M − k (p ẏ̄ + s ẋ) − k (w + q − s p (1/m + 2/M)) x                             (4)
//!
//! A vector of zeros stays one, and 1/m counts as zero there. (2) and (3) are one symmetric Jacobian.
//! f32 on the CPU, vectors along the middle of `(outer, n, inner)`; backward computes the means again.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::lanes::dispatch::{Kernel, dispatch};
use crate::memory::slices::{Pair, Parts, floats, with_floats};
use crate::memory::uninit::{Blank, written};

/// Vectors side by side, or numbers of one vector, that are taken at once.
const LANES: usize = 64;
/// Numbers in a task, about.
const CHUNK: usize = 16 * 1024;

/// The operation.
#[derive(Clone, Copy)]
pub struct Magnitude {
    /// Numbers of a vector.
    pub n: usize,
    /// Numbers from one number of a vector to the next.
    pub inner: usize,
    /// c
    pub magnitude: f32,
    /// Added to the magnitude of the vector.
    pub eps: f32,
    /// Whether the tangent is stacked below.
    pub parts: Parts,
}

/// One number for each of the vectors side by side; all the same for the lanes of one vector.
type Lanes = [f32; LANES];

/// Vectors side by side, or one alone, as lines of numbers.
#[derive(Clone, Copy)]
struct Block {
    /// Where the first line begins, and where no line is any more.
    first: usize,
    end: usize,
    /// From one line to the next.
    step: usize,
    /// Numbers of a line; the last of one vector may be shorter.
    len: usize,
    /// Numbers of a vector.
    n: usize,
    /// Whether all lines are one vector.
    is_one: bool,
}

impl Block {
    #[inline(always)]
    fn lines(self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let Self { first, end, step, len, .. } = self;
        (first..end).step_by(step).map(move |at| at..(at + len).min(end))
    }

    /// ⟨u v⟩
    #[inline(always)]
    fn mean(self, u: &[f32], v: &[f32]) -> Lanes {
        let mut sums = [0f32; LANES];
        for line in self.lines() {
            for ((sum, u), v) in sums.iter_mut().zip(&u[line.clone()]).zip(&v[line]) {
                *sum += u * v;
            }
        }
        if self.is_one {
            sums = [sums.iter().sum(); LANES];
        }
        sums.map(|sum| sum / self.n as f32)
    }

    /// Σ_i a_i x_i, into `out`.
    #[inline(always)]
    fn combine<const T: usize>(self, terms: [(&Lanes, &[f32]); T], out: &mut [f32]) {
        for line in self.lines() {
            let out = &mut out[line.clone()];
            for (i, (a, x)) in terms.into_iter().enumerate() {
                for ((out, a), x) in out.iter_mut().zip(a).zip(&x[line.clone()]) {
                    *out = if i == 0 { a * x } else { *out + a * x };
                }
            }
        }
    }
}

/// What (1) to (4) need of the vectors of a block.
struct Factors {
    /// 1/m
    of_m: Lanes,
    /// 1/m + 2/M
    curvature: Lanes,
    /// c/M
    a: Lanes,
    /// k
    k: Lanes,
}

/// a b
#[inline(always)]
fn times(a: &Lanes, b: &Lanes) -> Lanes {
    let mut product = *a;
    product.iter_mut().zip(b).for_each(|(a, b)| *a *= b);
    product
}

/// −a b
#[inline(always)]
fn minus(a: &Lanes, b: &Lanes) -> Lanes {
    times(a, b).map(|x| -x)
}

impl Magnitude {
    /// The blocks of some whole vectors, `len` numbers.
    #[inline(always)]
    fn blocks(self, len: usize) -> impl Iterator<Item = Block> {
        let Self { n, inner, .. } = self;
        (0..len).step_by(n * inner).flat_map(move |start| {
            let end = start + n * inner;
            (0..inner).step_by(LANES).map(move |column| match inner {
                1 => Block { first: start, end, step: LANES, len: LANES, n, is_one: true },
                _ => {
                    let len = LANES.min(inner - column);
                    Block { first: start + column, end, step: inner, len, n, is_one: false }
                }
            })
        })
    }

    #[inline(always)]
    fn factors(self, block: Block, x: &[f32]) -> Factors {
        let (c, eps) = (self.magnitude, self.eps);
        let m = block.mean(x, x).map(f32::sqrt);
        let of_m = m.map(|m| if m > 0.0 { 1.0 / m } else { 0.0 });
        let a = m.map(|m| c / (m + eps));
        let k = m.map(|m| c / ((m + eps) * (m + eps)));
        let mut curvature = m.map(|m| 2.0 / (m + eps));
        curvature.iter_mut().zip(&of_m).for_each(|(sum, of_m)| *sum += of_m);
        Factors { of_m, curvature, a, k }
    }

    /// Numbers of a value, and of whole vectors in a task.
    fn sizes(self, shape: &Shape) -> (usize, usize) {
        let plane = (self.n * self.inner).max(1);
        (shape.elem_count() / self.parts.count(), (CHUNK / plane).max(1) * plane)
    }
}

/// (1) and (2).
struct Forward<'a> {
    of: Magnitude,
    x: &'a [f32],
    dx: Option<&'a [f32]>,
    y: &'a mut [f32],
    dy: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { of, x, dx, y, dy } = self;
        for block in of.blocks(x.len()) {
            let Factors { of_m, a, k, .. } = of.factors(block, x);
            block.combine([(&a, x)], y);
            if let Some(dx) = dx {
                let p = times(&block.mean(x, dx), &of_m);
                block.combine([(&a, dx), (&minus(&k, &p), x)], dy);
            }
        }
    }
}

/// (3) and (4).
struct Backward<'a> {
    of: Magnitude,
    x: Pair<'a>,
    gy: Pair<'a>,
    gx: &'a mut [f32],
    gdx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { of, x: Pair { primal: x, tangent: dx }, gy: Pair { primal: gy, tangent: gdy }, gx, gdx } =
            self;
        for block in of.blocks(x.len()) {
            let Factors { of_m, curvature, a, k } = of.factors(block, x);
            let w = times(&block.mean(x, gy), &of_m);
            let (Some(dx), Some(gdy)) = (dx, gdy) else {
                block.combine([(&a, gy), (&minus(&k, &w), x)], gx);
                continue;
            };
            let [p, q, s] = [(x, dx), (dx, gdy), (x, gdy)].map(|(u, v)| times(&block.mean(u, v), &of_m));
            let mut of_x = times(&times(&s, &p), &curvature);
            for ((of_x, w), q) in of_x.iter_mut().zip(&w).zip(&q) {
                *of_x -= w + q;
            }
            let terms = [(&a, gy), (&minus(&k, &p), gdy), (&minus(&k, &s), dx), (&times(&k, &of_x), x)];
            block.combine(terms, gx);
            block.combine([(&a, gdy), (&minus(&k, &s), x)], gdx);
        }
    }
}

/// Pieces of two outputs for each task, the second of them empty if there is no tangent.
fn tasks<'a>(out: Blank<'a>, n_values: usize, len: usize) -> Vec<(Blank<'a>, Option<Blank<'a>>)> {
    let (values, tangents) = out.split_at(n_values);
    let mut tangents = tangents.pieces(n_values.max(1), len).into_iter();
    let values = values.pieces(n_values.max(1), len).into_iter();
    values.map(|value| (value, tangents.next())).collect()
}

impl CustomOp1 for Magnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let (n_values, len) = self.sizes(layout.shape());
        let x = Pair::new(x, self.parts, n_values)?;
        let y = written(n_values * x.count(), |y| {
            tasks(y, n_values, len).into_par_iter().enumerate().for_each(|(i, (y, dy))| {
                let range = i * len..i * len + y.len();
                let dx = x.tangent.map(|dx| &dx[range.clone()]);
                let dy = dy.map(Blank::clear).unwrap_or_default();
                dispatch(Forward { of: *self, x: &x.primal[range], dx, y: y.clear(), dy });
            });
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (n_values, len) = self.sizes(x.shape());
        let gx = with_floats(x, |numbers| {
            let x = Pair::new(numbers, self.parts, n_values)?;
            with_floats(&gradient.contiguous()?, |gy| {
                let gy = Pair::new(gy, self.parts, n_values)?;
                Ok(written(n_values * x.count(), |gx| {
                    tasks(gx, n_values, len).into_par_iter().enumerate().for_each(|(i, (gx, gdx))| {
                        let range = i * len..i * len + gx.len();
                        let [x, gy] = [x, gy].map(|Pair { primal, tangent }| Pair {
                            primal: &primal[range.clone()],
                            tangent: tangent.map(|tangent| &tangent[range.clone()]),
                        });
                        let gdx = gdx.map(Blank::clear).unwrap_or_default();
                        dispatch(Backward { of: *self, x, gy, gx: gx.clear(), gdx });
                    });
                }))
            })
        })?;
        Ok(Some(Tensor::from_vec(gx, x.shape(), &Device::Cpu)?))
    }
}
