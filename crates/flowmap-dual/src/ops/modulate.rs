//! What a normalization is followed by: a gain and a shift, learned or made from the condition of each sample.
//!
//! z = n ⊙ weight + bias                          learned, one value for each channel
//! z = n ⊙ (1 + scale) + shift                    one value for each sample and channel: adaLN of
//!                                                Peebles and Xie 2022, arXiv:2212.09748, scale-shift norm of U-Nets
//! z = (n ⊙ weight + bias) ⊙ (1 + scale) + shift  both

use candle_core::Tensor;
use flowmap_kernel::{Gain, Parts};

use crate::{Dual, Error, Result};

/// What a normalized tensor n is multiplied by, and what is added to it.
///
/// Weights and biases are constant in the direction of the tangent;
/// scales and shifts may depend on time and so be dual.
#[derive(Clone, Copy, Debug, Default)]
pub enum Modulation<'a> {
    /// n as it is.
    #[default]
    Identity,
    /// n ⊙ weight + bias, both `(C,)`.
    Affine {
        /// One factor for each channel.
        weight: &'a Tensor,
        /// One summand for each channel.
        bias: Option<&'a Tensor>,
    },
    /// n ⊙ (1 + scale) + shift, both `(B, C)`, the same for all positions of a sample.
    PerSample {
        /// One factor for each sample and channel, less one.
        scale: &'a Dual,
        /// One summand for each sample and channel.
        shift: &'a Dual,
    },
    /// (n ⊙ weight + bias) ⊙ (1 + scale) + shift.
    AffinePerSample {
        /// One factor for each channel, `(C,)`.
        weight: &'a Tensor,
        /// One summand for each channel, `(C,)`.
        bias: Option<&'a Tensor>,
        /// One factor for each sample and channel, less one, `(B, C)`.
        scale: &'a Dual,
        /// One summand for each sample and channel, `(B, C)`.
        shift: &'a Dual,
    },
}

/// Where the channels of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    /// `(B, ..., C)`
    Last,
    /// `(B, C, ...)`
    Second,
}

impl Channels {
    /// Samples and channels of a tensor of these sizes; a tensor `(C,)` has no samples.
    pub(super) fn sizes(self, dims: &[usize]) -> Result<(usize, usize)> {
        match (self, dims) {
            (Self::Last, [channels]) => Ok((1, *channels)),
            (Self::Last, [batch, .., channels]) | (Self::Second, [batch, channels, ..]) => {
                Ok((*batch, *channels))
            }
            (Self::Last, []) => Err(Error::Rank { at_least: 1, shape: dims.into() }),
            (Self::Second, _) => Err(Error::Rank { at_least: 2, shape: dims.into() }),
        }
    }

    /// The sizes under which `(C,)` or `(B, C)` broadcasts to a tensor of `dims`.
    fn broadcast(self, dims: &[usize], operand: &[usize]) -> Vec<usize> {
        let mut out = vec![1; dims.len()];
        let place = if self == Self::Last { dims.len() - 1 } else { 1 };
        out[place] = operand.last().copied().unwrap_or(1);
        if let [batch, _] = operand {
            out[0] = *batch;
        }
        out
    }
}

/// Refuses an operand of another shape.
pub(super) fn check(name: &'static str, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::OperandShape { name, expected: expected.into(), found: found.into() })
}

/// Gain and shift as the fused kernels take them.
pub(super) struct GainShift {
    pub(super) gain: Dual,
    pub(super) shift: Dual,
    pub(super) counts: Gain,
    pub(super) is_per_sample: bool,
}

impl Modulation<'_> {
    /// Refuses weights, biases, scales and shifts that do not fit an input of `dims`.
    pub(super) fn check(&self, channels: Channels, dims: &[usize]) -> Result<()> {
        let (batch, n) = channels.sizes(dims)?;
        if let Self::Affine { weight, bias } | Self::AffinePerSample { weight, bias, .. } = self {
            check("weight", weight.dims(), &[n])?;
            bias.map_or(Ok(()), |bias| check("bias", bias.dims(), &[n]))?;
        }
        if let Self::PerSample { scale, shift } | Self::AffinePerSample { scale, shift, .. } = self {
            if dims.len() < 2 {
                return Err(Error::Rank { at_least: 2, shape: dims.into() });
            }
            check("scale", scale.dims(), &[batch, n])?;
            check("shift", shift.dims(), &[batch, n])?;
        }
        Ok(())
    }

    /// Whether `holds` is true of all tensors.
    pub(super) fn all(&self, holds: impl Fn(&Tensor) -> bool) -> bool {
        let affine = |weight: &Tensor, bias: &Option<&Tensor>| holds(weight) && bias.is_none_or(&holds);
        let per_sample = |scale: &Dual, shift: &Dual| holds(scale.primal()) && holds(shift.primal());
        match self {
            Self::Identity => true,
            Self::Affine { weight, bias } => affine(weight, bias),
            Self::PerSample { scale, shift } => per_sample(scale, shift),
            Self::AffinePerSample { weight, bias, scale, shift } => {
                affine(weight, bias) && per_sample(scale, shift)
            }
        }
    }

    /// One gain and one shift for each channel of `like`, or for each sample and channel.
    pub(super) fn gain_shift(&self, n_channels: usize, like: &Tensor) -> Result<GainShift> {
        let zeros = || Tensor::zeros(n_channels, like.dtype(), like.device());
        let (gain, shift, counts, is_per_sample) = match self {
            Self::Identity => (zeros()?.into(), zeros()?.into(), Gain::OnePlus, false),
            Self::Affine { weight, bias } => {
                let bias = bias.map_or_else(zeros, |bias| Ok(bias.clone()))?;
                (Dual::from(*weight), bias.into(), Gain::Whole, false)
            }
            Self::PerSample { scale, shift } => ((*scale).clone(), (*shift).clone(), Gain::OnePlus, true),
            // n ⊙ weight (1 + scale) + (bias (1 + scale) + shift): two small tensors.
            Self::AffinePerSample { weight, bias, scale, shift } => {
                let gain = scale.shift(1.0)?;
                let shift = match bias {
                    Some(bias) => gain.mul(&Dual::from(*bias))?.add(shift)?,
                    None => (*shift).clone(),
                };
                (gain.mul(&Dual::from(*weight))?, shift, Gain::Whole, true)
            }
        };
        Ok(GainShift { gain, shift, counts, is_per_sample })
    }

    /// The composed operations on n.
    pub(super) fn apply(&self, n: &Dual, channels: Channels) -> Result<Dual> {
        let dims = n.dims().to_vec();
        let spread = |x: &Dual| x.reshape(&channels.broadcast(&dims, x.dims()));
        let affine = |weight: &Tensor, bias: Option<&Tensor>| -> Result<Dual> {
            let z = n.mul(&spread(&weight.into())?)?;
            bias.map_or(Ok(z.clone()), |bias| z.add(&spread(&bias.into())?))
        };
        let per_sample = |z: &Dual, scale: &Dual, shift: &Dual| -> Result<Dual> {
            z.mul(&spread(&scale.shift(1.0)?)?)?.add(&spread(shift)?)
        };
        match self {
            Self::Identity => Ok(n.clone()),
            Self::Affine { weight, bias } => affine(weight, *bias),
            Self::PerSample { scale, shift } => per_sample(n, scale, shift),
            Self::AffinePerSample { weight, bias, scale, shift } => {
                per_sample(&affine(weight, *bias)?, scale, shift)
            }
        }
    }
}

/// An input of a fused kernel: contiguous, the value alone or with its tangent below it.
pub(super) fn input(x: &Dual) -> Result<(Tensor, Parts)> {
    Ok(match x.stacked()? {
        Some(stacked) => (stacked.contiguous()?, Parts::Stacked),
        None => (x.primal().contiguous()?, Parts::Plain),
    })
}

/// The output of a fused kernel.
pub(super) fn output(y: Tensor, parts: Parts) -> Result<Dual> {
    match parts {
        Parts::Stacked => Dual::from_stacked(y),
        Parts::Plain => Ok(Dual::constant(y)),
    }
}
