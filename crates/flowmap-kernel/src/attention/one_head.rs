//! One head of one sample, forward and backward, in blocks of query rows.
//!
//! Value and tangent are stacked in the scratch, so that one product serves both where possible.

use super::layout::{Part, Sink};
use super::softmax::{Backward, DualBackward, DualForward, Forward, RowStatistics};
use crate::lanes::dispatch::dispatch;
use crate::matmul::gemm::{Matrix, Output, Write, matmul_to};

/// Scores in a block, about: what a block needs stays in the second level of the cache.
const BLOCK: usize = 16 * 1024;

/// The sizes of every head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Samples.
    pub(super) batch: usize,
    /// Heads of a sample.
    pub(super) heads: usize,
    /// N, rows of queries.
    pub(super) n: usize,
    /// M, rows of keys and values.
    pub(super) m: usize,
    /// Width of queries and keys.
    pub(super) d: usize,
    /// Width of values.
    pub(super) e: usize,
    /// Whether any operand has a tangent.
    pub(super) is_dual: bool,
}

impl Sizes {
    /// Rows of queries in a block.
    fn block(&self) -> usize {
        (BLOCK / self.m.max(1)).clamp(16, 64).min(self.n)
    }

    /// Matrices for each operand: its value, and its tangent.
    fn parts(&self) -> usize {
        1 + usize::from(self.is_dual)
    }

    /// c = 1/√d
    fn scale(&self) -> f32 {
        (self.d as f32).sqrt().recip()
    }

    /// Whether there is nothing to compute.
    pub(super) fn is_empty(&self) -> bool {
        self.batch * self.heads * self.n * self.e == 0
    }

    /// The sample and the head of a task.
    pub(super) fn task(&self, i: usize) -> (usize, usize) {
        (i / self.heads, i % self.heads)
    }
}

/// Scratch of the forward pass; each matrix is followed by the matrix of the tangents.
pub(super) struct ForwardScratch {
    v: Vec<f32>,
    q: Vec<f32>,
    s: Vec<f32>,
    y: Vec<f32>,
}

impl ForwardScratch {
    /// Scratch for any head of these sizes.
    pub(super) fn new(sizes: &Sizes) -> Self {
        let zeros = |rows: usize, columns: usize| vec![0f32; sizes.parts() * rows * columns];
        let (Sizes { m, d, e, .. }, block) = (*sizes, sizes.block());
        Self { v: zeros(m, e), q: zeros(block, d), s: zeros(block, m), y: zeros(block, e) }
    }
}

/// (1): c q kᵀ, and below it c (q̇ kᵀ + q k̇ᵀ), of q with q̇ below it.
fn scores(sizes: &Sizes, task: (usize, usize), q: &[f32], k: &Part<'_>, s: &mut [f32]) {
    let (Sizes { m, d, .. }, c) = (*sizes, sizes.scale());
    matmul_to(Matrix::rows(q, d), k.values(task, m).t(), c, Write::Set, Output::rows(s, m));
    if let Some(dk) = k.tangents(task, m) {
        let (q, (_, ds)) = (&q[..q.len() / 2], s.split_at_mut(s.len() / 2));
        matmul_to(Matrix::rows(q, d), dk.t(), c, Write::Add, Output::rows(ds, m));
    }
}

/// (1) and (2) for one head.
pub(super) fn forward(
    sizes: &Sizes,
    task: (usize, usize),
    [q, k, v]: &[Part<'_>; 3],
    y: Sink<'_>,
    statistics: &mut [RowStatistics],
    scratch: &mut ForwardScratch,
) {
    let Sizes { m, d, e, is_dual, .. } = *sizes;
    v.gather(task, 0, is_dual, &mut scratch.v);
    let (values, tangents) = scratch.v.split_at(m * e);
    for (i, statistics) in statistics.chunks_mut(sizes.block()).enumerate() {
        let (first, n) = (i * sizes.block(), statistics.len());
        let rows = sizes.parts() * n;
        let (q_block, s, y_block) =
            (&mut scratch.q[..rows * d], &mut scratch.s[..rows * m], &mut scratch.y[..rows * e]);
        q.gather(task, first, is_dual, q_block);
        scores(sizes, task, q_block, k, s);
        if is_dual {
            let (s, ds) = s.split_at_mut(n * m);
            dispatch(DualForward { s, ds, statistics });
        } else {
            dispatch(Forward { s, statistics });
        }
        matmul_to(Matrix::rows(s, m), Matrix::rows(values, e), 1.0, Write::Set, Output::rows(y_block, e));
        if v.place.tangent.is_some() {
            let (p, dy) = (Matrix::rows(&s[..n * m], m), Output::rows(&mut y_block[n * e..], e));
            matmul_to(p, Matrix::rows(tangents, e), 1.0, Write::Add, dy);
        }
        y.scatter(task, first, is_dual, y_block);
    }
}

/// Scratch of the backward pass; each matrix is followed by the matrix of the tangents.
pub(super) struct BackwardScratch {
    k: Vec<f32>,
    q: Vec<f32>,
    s: Vec<f32>,
    /// Gradients of weights, then of scores.
    a: Vec<f32>,
    y: Vec<f32>,
    gy: Vec<f32>,
    gq: Vec<f32>,
    gk: Vec<f32>,
    gv: Vec<f32>,
}

impl BackwardScratch {
    /// Scratch for any head of these sizes.
    pub(super) fn new(sizes: &Sizes) -> Self {
        let zeros = |rows: usize, columns: usize| vec![0f32; sizes.parts() * rows * columns];
        let (Sizes { m, d, e, .. }, block) = (*sizes, sizes.block());
        Self {
            k: zeros(m, d),
            q: zeros(block, d),
            s: zeros(block, m),
            a: zeros(block, m),
            y: zeros(block, e),
            gy: zeros(block, e),
            gq: zeros(block, d),
            gk: zeros(m, d),
            gv: zeros(m, e),
        }
    }
}

/// What the backward pass reads.
pub(super) struct Tape<'a> {
    /// q, k, v.
    pub(super) inputs: [Part<'a>; 3],
    /// y.
    pub(super) output: Part<'a>,
    /// The gradient of y.
    pub(super) gradient: Part<'a>,
}

/// (3), (4) and (5) for one head; the gradients that have a sink are written to it.
pub(super) fn backward(
    sizes: &Sizes,
    task: (usize, usize),
    tape: &Tape<'_>,
    [to_q, to_k, to_v]: &[Option<Sink<'_>>; 3],
    statistics: &[RowStatistics],
    scratch: &mut BackwardScratch,
) {
    let Sizes { m, d, e, is_dual, .. } = *sizes;
    let [q, k, v] = &tape.inputs;
    k.gather(task, 0, is_dual, &mut scratch.k);
    for (i, statistics) in statistics.chunks(sizes.block()).enumerate() {
        let (first, n) = (i * sizes.block(), statistics.len());
        let rows = sizes.parts() * n;
        let BackwardScratch { k: k_rows, q: q_block, s, a, y, gy, gq, gk, gv } = scratch;
        let (q_block, s, a) = (&mut q_block[..rows * d], &mut s[..rows * m], &mut a[..rows * m]);
        let (y, gy, gq) = (&mut y[..rows * e], &mut gy[..rows * e], &mut gq[..rows * d]);
        q.gather(task, first, is_dual, q_block);
        tape.output.gather(task, first, is_dual, y);
        tape.gradient.gather(task, first, is_dual, gy);
        scores(sizes, task, q_block, k, s);
        // (3)
        matmul_to(Matrix::rows(gy, e), v.values(task, m).t(), 1.0, Write::Set, Output::rows(a, m));
        if let Some(dv) = v.tangents(task, m) {
            let gdy = Matrix::rows(&gy[n * e..], e);
            matmul_to(gdy, dv.t(), 1.0, Write::Add, Output::rows(&mut a[..n * m], m));
        }
        // (4)
        if is_dual {
            let ((s, ds), (a, b)) = (s.split_at_mut(n * m), a.split_at_mut(n * m));
            dispatch(DualBackward { s, ds, a, b, statistics, gradients: gy, outputs: y });
        } else {
            dispatch(Backward { s, a, statistics, gradients: gy, outputs: y });
        }
        // (5)
        let write = if i == 0 { Write::Set } else { Write::Add };
        if let Some(sink) = to_q {
            let (values, tangents) = k_rows.split_at(m * d);
            let gs = Matrix::rows(a, m);
            matmul_to(gs, Matrix::rows(values, d), sizes.scale(), Write::Set, Output::rows(gq, d));
            if k.place.tangent.is_some() {
                let (gs, gq) = (Matrix::rows(&a[n * m..], m), Output::rows(&mut gq[..n * d], d));
                matmul_to(gs, Matrix::rows(tangents, d), sizes.scale(), Write::Add, gq);
            }
            sink.scatter(task, first, is_dual, gq);
        }
        if to_k.is_some() {
            let (c, q, gs) = (sizes.scale(), Matrix::rows(q_block, d), Matrix::rows(a, m));
            matmul_to(gs.t(), q, c, write, Output::rows(&mut gk[..m * d], d));
            if is_dual {
                let (q, gds) = (Matrix::rows(&q_block[..n * d], d), Matrix::rows(&a[n * m..], m));
                matmul_to(gds.t(), q, c, write, Output::rows(&mut gk[m * d..], d));
            }
        }
        if to_v.is_some() {
            let (p, gy_all) = (Matrix::rows(s, m), Matrix::rows(gy, e));
            matmul_to(p.t(), gy_all, 1.0, write, Output::rows(&mut gv[..m * e], e));
            if is_dual {
                let (p, gdy) = (Matrix::rows(&s[..n * m], m), Matrix::rows(&gy[n * e..], e));
                matmul_to(p.t(), gdy, 1.0, write, Output::rows(&mut gv[m * e..], e));
            }
        }
    }
    if let Some(sink) = to_k {
        sink.scatter(task, 0, is_dual, &scratch.gk);
    }
    if let Some(sink) = to_v {
        sink.scatter(task, 0, is_dual, &scratch.gv);
    }
}
