//! Scaled dot-product attention.
//!
//! softmax(q kᵀ / √d) v, Vaswani and others 2017, arXiv:1706.03762, eq. (1)
//!
//! In f32 on a CPU one fused operation does it, and never holds the scores of more than a block of rows;
//! elsewhere the composed operations run.

use candle_core::{DType, Tensor};
use flowmap_kernel::{Attention, SelfAttention};

use crate::gradient::{apply1, apply3};
use crate::{Dual, Error, Result};

impl Dual {
    /// Attention of queries `self` `(B, heads, N, d)` over keys `(B, heads, M, d)` and values `(B, heads, M, e)`.
    ///
    /// # Errors
    /// [`Error::Attention`] where the shapes do not fit.
    pub fn attention(&self, keys: &Self, values: &Self) -> Result<Self> {
        let fits = match (self.dims(), keys.dims(), values.dims()) {
            ([batch, heads, _, d], of_keys @ [_, _, m, _], [vb, vh, vm, _]) => {
                of_keys == [*batch, *heads, *m, *d] && [vb, vh, vm] == [batch, heads, m] && *d > 0 && *m > 0
            }
            _ => false,
        };
        if !fits {
            return Err(Error::Attention {
                queries: self.shape().clone(),
                keys: keys.shape().clone(),
                values: values.shape().clone(),
            });
        }
        if self.is_half_on_cpu() {
            let (keys, values) = (keys.to_dtype(DType::F32)?, values.to_dtype(DType::F32)?);
            return self.in_single(|queries| queries.attention(&keys, &values));
        }
        if ![self, keys, values].into_iter().all(Self::has_fused_attention) {
            return self.composed_attention(keys, values);
        }
        // One with a tangent goes in stacked; the operation itself fills in zeros for the others.
        let operand = |x: &Self| -> Result<Tensor> {
            let x = x.stacked()?.unwrap_or_else(|| x.primal().clone());
            Ok(if x.stride().last() == Some(&1) { x } else { x.contiguous()? })
        };
        let y = apply3(&operand(self)?, &operand(keys)?, &operand(values)?, Attention::default())?;
        if y.rank() == 4 { Ok(Self::constant(y)) } else { Self::from_stacked(y) }
    }

    /// Attention of the rows of each sample over themselves: packed projections `(B, N, 3 · heads · d)` to `(B, N, heads · d)`.
    ///
    /// Number i of head h is at h d + i for the queries, (heads + h) d + i for the keys and
    /// (2 heads + h) d + i for the values, as in the transformers of PyTorch and timm.
    /// The fused operation reads and writes the heads where they are.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use flowmap_dual::Dual;
    ///
    /// let projections = Tensor::ones((2, 5, 3 * 4 * 8), DType::F32, &Device::Cpu)?;
    /// let y = Dual::constant(projections).self_attention(4)?;
    /// assert_eq!(y.dims(), [2, 5, 4 * 8]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PackedHeads`] where the shape does not fit.
    pub fn self_attention(&self, heads: usize) -> Result<Self> {
        let head_width = match self.dims() {
            [_, _, width] if heads > 0 && *width > 0 && width.is_multiple_of(3 * heads) => {
                width / (3 * heads)
            }
            _ => return Err(Error::PackedHeads { heads, found: self.shape().clone() }),
        };
        if self.is_half_on_cpu() {
            return self.in_single(|x| x.self_attention(heads));
        }
        if !self.has_fused_attention() {
            return self.composed_self_attention(heads, head_width);
        }
        let attention = SelfAttention::new(heads);
        match self.stacked()? {
            None => Ok(Self::constant(apply1(&self.primal().contiguous()?, attention)?)),
            Some(stacked) => Self::from_stacked(apply1(&stacked.contiguous()?, attention)?),
        }
    }

    /// Whether there is a fused operation for this type and device.
    fn has_fused_attention(&self) -> bool {
        self.dtype() == DType::F32 && self.device().is_cpu()
    }

    fn composed_attention(&self, keys: &Self, values: &Self) -> Result<Self> {
        let rank = self.dims().len();
        let d = self.dims()[rank - 1] as f64;
        let scores = self.matmul(&keys.t()?)?.scale(d.sqrt().recip())?;
        let weights = match scores.is_half() {
            true => scores.in_single(|scores| scores.softmax(rank - 1))?,
            false => scores.softmax(rank - 1)?,
        };
        weights.matmul(values)
    }

    fn composed_self_attention(&self, heads: usize, head_width: usize) -> Result<Self> {
        let (batch, n) = (self.dims()[0], self.dims()[1]);
        let parts = self.reshape(&[batch, n, 3, heads, head_width])?.permute(&[2, 0, 3, 1, 4])?;
        let part = |i: usize| parts.narrow(0, i, 1)?.reshape(&[batch, heads, n, head_width]);
        let y = part(0)?.composed_attention(&part(1)?, &part(2)?)?;
        y.transpose(1, 2)?.reshape(&[batch, n, heads * head_width])
    }
}
