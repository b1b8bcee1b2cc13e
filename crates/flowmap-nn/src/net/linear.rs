//! A linear layer under its name in PyTorch: `{name}.weight` `(out, in)` and `{name}.bias` `(out,)`.

use candle_core::Tensor;
use flowmap_dual::{Activation, Dual};

use crate::{Init, ParamBuilder, Result};

/// A linear layer, W x + b.
#[derive(Clone, Debug)]
pub struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Linear {
    /// A layer from `d_in` to `d_out` numbers, its bias zero at first.
    ///
    /// # Errors
    /// What `builder` finds wrong with a checkpoint.
    pub fn new(
        name: &str,
        d_in: usize,
        d_out: usize,
        init: Init,
        builder: &mut ParamBuilder,
    ) -> Result<Self> {
        Ok(Self {
            weight: builder.param(&format!("{name}.weight"), (d_out, d_in), init)?,
            bias: builder.param(&format!("{name}.bias"), d_out, Init::Zeros)?,
        })
    }

    /// W x + b of `x` `(..., in)`, `(..., out)`.
    ///
    /// # Errors
    /// If the last dimension of `x` is another one.
    pub fn forward(&self, x: &Dual) -> Result<Dual> {
        Ok(x.linear(&self.weight, Some(&self.bias))?)
    }

    /// f(W x + b), in one operation on the CPU.
    ///
    /// # Errors
    /// If the last dimension of `x` is another one.
    pub fn activated(&self, x: &Dual, activation: Activation) -> Result<Dual> {
        Ok(x.linear_activation(&self.weight, &self.bias, activation)?)
    }

    /// Multiplications of one row.
    pub fn products(&self) -> usize {
        self.weight.elem_count()
    }
}

/// Normal with variance 2/(in + out), Glorot and Bengio 2010.
pub(super) fn glorot(d_in: usize, d_out: usize) -> Init {
    Init::Normal((2.0 / (d_in + d_out).max(1) as f64).sqrt())
}
