//! The gated residual of a transformer block.
//!
//! o = x + gate ⊙ y, ȯ = ẋ + ġate ⊙ y + gate ⊙ ẏ;
//! adaLN-Zero of Peebles and Xie 2022, arXiv:2212.09748, where the gate begins at zero.

use candle_core::DType;
use flowmap_kernel::{Gate, Parts};

use super::modulate::{Channels, check, input, output};
use crate::gradient::apply3;
use crate::{Dual, Result};

impl Dual {
    /// x + gate ⊙ y, for x and y `(B, ..., C)` and a gate `(B, C)` that all positions of a sample share.
    ///
    /// In f32 on a CPU one fused pass; elsewhere the composed operations run.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use flowmap_dual::Dual;
    ///
    /// let x = Dual::constant(Tensor::new(&[[[1f32], [2.0]]], &Device::Cpu)?); // one sample, two tokens
    /// let gate = Dual::variable(Tensor::new(&[[0.5f32]], &Device::Cpu)?)?;
    /// let out = x.add_gated(&x, &gate)?;
    /// assert_eq!(out.primal().flatten_all()?.to_vec1::<f32>()?, [1.5, 3.0]);
    /// assert_eq!(out.tangent_or_zeros()?.flatten_all()?.to_vec1::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) for an x without a sample and a channel dimension,
    /// [`Error::OperandShape`](crate::Error::OperandShape) for a y or a gate that does not fit x.
    pub fn add_gated(&self, y: &Self, gate: &Self) -> Result<Self> {
        let dims = self.dims();
        // A tensor (B, C, ...) has at least the two dimensions needed; the channels are last all the same.
        Channels::Second.sizes(dims)?;
        let (batch, channels) = Channels::Last.sizes(dims)?;
        check("summand", y.dims(), dims)?;
        check("gate", gate.dims(), &[batch, channels])?;
        let is_fused = [self, y, gate].iter().all(|x| x.dtype() == DType::F32 && x.device().is_cpu());
        if !is_fused {
            let mut spread = vec![1; dims.len()];
            (spread[0], spread[dims.len() - 1]) = (batch, channels);
            return self.add(&gate.reshape(&spread)?.mul(y)?);
        }
        let tokens = self.primal().elem_count() / (batch * channels).max(1);
        let ((x, x_parts), (y, y_parts), (gate, gate_parts)) = (input(self)?, input(y)?, input(gate)?);
        let parts: [Parts; 3] = [x_parts, y_parts, gate_parts];
        output(
            apply3(&x, &y, &gate, Gate::new(batch, tokens, channels, parts))?,
            x_parts.or(y_parts).or(gate_parts),
        )
    }
}
