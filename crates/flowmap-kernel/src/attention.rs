//! Softmax attention as one operation, with its tangent and its backward pass.
//!
//! s = c q kᵀ, c = 1/√d;  ṡ = c (q̇ kᵀ + q k̇ᵀ)                                  (1)
//! p = softmax(s) by rows, μ_i = Σ_j p_ij ṡ_ij;  ṗ = p ⊙ (ṡ − μ)                (2)
//! y = p v,  ẏ = ṗ v + p v̇
//!
//! backward, with ȳ and ẏ̄ the gradients of y and ẏ:
//! a = ȳ vᵀ + ẏ̄ v̇ᵀ,  b = ẏ̄ vᵀ, the gradients of p and ṗ                        (3)
//! β = Σ_j p b = ẏ̄ · y,  δ = Σ_j (p a + ṗ b) = ȳ · y + ẏ̄ · ẏ, both for each row;
//! s̄ = p ⊙ (a − δ) + ṗ ⊙ (b − β),  ṡ̄ = p ⊙ (b − β)                             (4)
//! q̄ = c (s̄ k + ṡ̄ k̇),  q̇̄ = c ṡ̄ k,  k̄ = c (s̄ᵀ q + ṡ̄ᵀ q̇),  k̇̄ = c ṡ̄ᵀ q,
//! v̄ = pᵀ ȳ + ṗᵀ ẏ̄,  v̇̄ = pᵀ ẏ̄                                                 (5)
//!
//! (1) and y: Vaswani and others 2017, arXiv:1706.03762, eq. (1); the sums over rows of (4) as products with y:
//! Dao and others 2022, arXiv:2205.14135, appendix B.2.
//! From (2) follow p̄ = a + b ⊙ (ṡ − μ) − β ṡ and ṡ̄ = p ⊙ (b − β); s̄ = p ⊙ (p̄ − Σ_j p p̄) is then (4),
//! since p ⊙ (ṡ − μ) = ṗ and Σ_j p p̄ = Σ_j (p a + ṗ b) − β μ.
//!
//! Cost: 2 products forward and 5 backward, with a tangent 6 and 15; one of them (3) is the scores made again.
//! Nothing of size N x M outlives a block of query rows; for backward max s, 1/Σ e^{s − max} and μ of each row are kept.
//! A task is one head of one sample, f32 on the CPU.

mod layout;
mod one_head;
mod operation;
mod softmax;

use std::sync::OnceLock;

use candle_core::{CpuStorage, Layout, Result, Storage, bail};
use rayon::prelude::*;

use layout::{Part, Place, Scattered, Sink};
use one_head::{BackwardScratch, ForwardScratch, Sizes, Tape};
use softmax::RowStatistics;

/// Attention of q `(B, heads, N, d)` over k `(B, heads, M, d)` and v `(B, heads, M, e)`.
///
/// Each is plain or stacked `(2, B, ...)`; the result is stacked if one of them is.
/// Rows may lie anywhere, the numbers of a row side by side.
#[derive(Default)]
pub struct Attention {
    statistics: OnceLock<Vec<RowStatistics>>,
}

/// Attention of the rows of one sample over themselves, from q, k and v in one tensor.
///
/// Contiguous `(B, N, 3 · heads · d)`, plain or stacked `(2, B, ...)`, to `(B, N, heads · d)`, likewise;
/// number i of part p (of q, k, v) and head h is at (p · heads + h) d + i.
pub struct SelfAttention {
    heads: usize,
    statistics: OnceLock<Vec<RowStatistics>>,
}

impl SelfAttention {
    /// With that many heads.
    pub fn new(heads: usize) -> Self {
        Self { heads, statistics: OnceLock::new() }
    }
}

/// The numbers of a buffer on the CPU.
fn floats(storage: &CpuStorage) -> Result<&[f32]> {
    match storage {
        CpuStorage::F32(values) => Ok(values),
        _ => bail!("the fused attention takes f32 only"),
    }
}

/// The numbers of any buffer.
fn floats_of(storage: &Storage) -> Result<&[f32]> {
    match storage {
        Storage::Cpu(storage) => floats(storage),
        _ => bail!("the fused attention runs on the CPU only"),
    }
}

/// An operand `(B, heads, rows, width)` or stacked `(2, ...)`, and its first three sizes.
fn operand<'a>(data: &'a [f32], layout: &Layout) -> Result<(Part<'a>, [usize; 3])> {
    let (dims, strides) = (layout.dims(), layout.stride());
    let (stacked, strides) = strides.split_at(dims.len().saturating_sub(4));
    match (dims, strides) {
        ([batch, heads, rows, width] | [2, batch, heads, rows, width], [sample, head, row, column])
            if *column == 1 || *width == 1 =>
        {
            let (sample, head, row) = (*sample, *head, *row);
            let start = layout.start_offset();
            let place = Place { start, sample, head, row, tangent: stacked.first().copied() };
            Ok((Part { data, place, width: *width }, [*batch, *heads, *rows]))
        }
        _ => bail!("expected heads (B, heads, rows, width) with whole rows, found {layout:?}"),
    }
}

/// The three operands of attention and their sizes.
fn operands<'a>(data: [&'a [f32]; 3], layouts: [&Layout; 3]) -> Result<([Part<'a>; 3], Sizes)> {
    let (q, [batch, heads, n]) = operand(data[0], layouts[0])?;
    let (k, of_k) = operand(data[1], layouts[1])?;
    let (v, of_v) = operand(data[2], layouts[2])?;
    let m = of_k[2];
    if of_k != of_v || of_k != [batch, heads, m] || k.width != q.width || m == 0 || q.width == 0 {
        bail!("attention does not take {:?}, {:?} and {:?}", layouts[0], layouts[1], layouts[2]);
    }
    let is_dual = [&q, &k, &v].iter().any(|part| part.place.tangent.is_some());
    let sizes = Sizes { batch, heads, n, m, d: q.width, e: v.width, is_dual };
    Ok(([q, k, v], sizes))
}

/// q, k and v in one tensor, and their sizes.
fn packed_operands<'a>(data: &'a [f32], layout: &Layout, heads: usize) -> Result<([Part<'a>; 3], Sizes)> {
    let (batch, n, width, is_dual) = match layout.dims() {
        [batch, n, width] => (*batch, *n, *width, false),
        [2, batch, n, width] => (*batch, *n, *width, true),
        other => bail!("expected rows (B, N, 3 · heads · d), found {other:?}"),
    };
    let d = width.checked_div(3 * heads).unwrap_or(0);
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("expected contiguous rows") };
    if d == 0 || width != 3 * heads * d {
        bail!("expected rows of 3 · {heads} · d, found {width}");
    }
    let data = &data[start..end];
    let part = |part: usize| {
        let place = Place::packed((batch, n), (heads, d), (part, 3), is_dual);
        Part { data, place, width: d }
    };
    Ok(([part(0), part(1), part(2)], Sizes { batch, heads, n, m: n, d, e: d, is_dual }))
}

/// y into a new buffer at `place`, and what backward needs.
fn forward(sizes: &Sizes, inputs: &[Part<'_>; 3], place: Place) -> (Vec<f32>, Vec<RowStatistics>) {
    let Sizes { batch, heads, n, e, is_dual, .. } = *sizes;
    let len = batch * heads * n * e * if is_dual { 2 } else { 1 };
    let mut statistics = vec![RowStatistics::default(); batch * heads * n];
    if sizes.is_empty() {
        return (Vec::new(), statistics);
    }
    let buffer = Scattered::new(len);
    let sink = Sink { buffer: &buffer, place, width: e };
    statistics.par_chunks_mut(n).enumerate().for_each_init(
        || ForwardScratch::new(sizes),
        |scratch, (i, rows)| one_head::forward(sizes, sizes.task(i), inputs, sink, rows, scratch),
    );
    (buffer.into_vec(), statistics)
}

/// The gradients of the inputs into their sinks.
fn backward(
    sizes: &Sizes,
    tape: &Tape<'_>,
    sinks: &[Option<Sink<'_>>; 3],
    statistics: Option<&Vec<RowStatistics>>,
) -> Result<()> {
    let Some(statistics) = statistics else { bail!("attention went backward before it went forward") };
    statistics.par_chunks(sizes.n).enumerate().for_each_init(
        || BackwardScratch::new(sizes),
        |scratch, (i, rows)| one_head::backward(sizes, sizes.task(i), tape, sinks, rows, scratch),
    );
    Ok(())
}
