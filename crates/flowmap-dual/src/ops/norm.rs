//! Normalizations, alone and with what follows them.
//!
//! n = (x − mean x) / √(var x + eps), the variance over n (not n − 1);  y = f(z), z by [`Modulation`]
//!
//! The methods without modulation are composed of Candle's own operations, which is the oracle of the fused kernels;
//! those with it are fused in f32 on a CPU or a CUDA device, with a hand-written backward pass through value and tangent,
//! and take half types in f32, rounding the result.

use candle_core::DType;
use flowmap_kernel::cuda::MAX_NORM_CHANNELS;
use flowmap_kernel::{Center, Gains, Geometry, Groups, Magnitude, Norm, Rows, Scaled};

use super::modulate::{Channels, GainShift, Modulation, input, output};
use crate::gradient::{apply1, apply3};
use crate::{Activation, Dual, Error, Result};

impl Dual {
    /// Layer normalization over the last dimension, Ba and others 2016, arXiv:1607.06450.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn layer_norm(&self, eps: f64) -> Result<Self> {
        let last = self.dims().len().saturating_sub(1);
        self.sub(&self.mean_keepdim(last)?)?.rms_norm(eps)
    }

    /// x / √(mean x² + eps) over the last dimension, Zhang and Sennrich 2019, arXiv:1910.07467.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn rms_norm(&self, eps: f64) -> Result<Self> {
        let last = self.dims().len().saturating_sub(1);
        self.div(&self.sqr()?.mean_keepdim(last)?.shift(eps)?.sqrt()?)
    }

    /// x / (√mean x² + eps) over dimension `dim`: the magnitude of a vector becomes one,
    /// as magnitude-preserving networks have it (EDM2, Karras and others 2023, arXiv:2312.02696).
    ///
    /// # Errors
    /// Where the dimension does not exist.
    pub fn unit_magnitude(&self, dim: usize, eps: f64) -> Result<Self> {
        self.with_magnitude(1.0, dim, eps)
    }

    /// [`Dual::unit_magnitude`] times `magnitude`; fused in f32 on a CPU.
    ///
    /// # Errors
    /// Where the dimension does not exist.
    pub fn with_magnitude(&self, magnitude: f64, dim: usize, eps: f64) -> Result<Self> {
        if self.is_half() {
            return self.in_single(|x| x.with_magnitude(magnitude, dim, eps));
        }
        if self.dtype() == DType::F32 && self.device().is_cpu() {
            let n = self.primal().dim(dim)?;
            let inner = self.dims()[dim + 1..].iter().product();
            let (x, parts) = input(self)?;
            let (magnitude, eps) = (magnitude as f32, eps as f32);
            return output(apply1(&x, Magnitude { n, inner, magnitude, eps, parts })?, parts);
        }
        self.div(&self.sqr()?.mean_keepdim(dim)?.sqrt()?.shift(eps)?)?.scale(magnitude)
    }

    /// Group normalization of `(B, C, ...)`: each sample over each of `groups` groups of channels,
    /// Wu and He 2018, arXiv:1803.08494.
    ///
    /// # Errors
    /// [`Error::Groups`] where the groups do not divide the channels.
    pub fn group_norm(&self, groups: usize, eps: f64) -> Result<Self> {
        let dims = self.dims().to_vec();
        let size = |dim: usize| dims.get(dim).copied().unwrap_or(1);
        let (batch, channels) = (size(0), size(1));
        if groups == 0 || channels % groups != 0 {
            return Err(Error::Groups { groups, channels });
        }
        let per_group = self.primal().elem_count() / (batch * groups).max(1);
        self.reshape(&[batch, groups, per_group])?.layer_norm(eps)?.reshape(&dims)
    }

    /// [`Dual::layer_norm`] of `(..., C)` or, modulated by sample, `(B, ..., C)`,
    /// with what follows it: `modulation`, then `activation`.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use flowmap_dual::{Dual, Modulation};
    ///
    /// // adaLN: 2 samples of 5 tokens; scale and shift move with time, the tokens do not.
    /// let x = Tensor::arange(0f32, 30.0, &Device::Cpu)?.reshape((2, 5, 3))?;
    /// let scale = Dual::variable(Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?)?;
    /// let modulation = Modulation::PerSample { scale: &scale, shift: &scale };
    /// let y = Dual::constant(x).layer_norm_with(1e-6, modulation, None)?;
    /// assert_eq!(y.dims(), [2, 5, 3]);
    /// assert!(y.tangent().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OperandShape`] or [`Error::Rank`] where `modulation` does not fit x.
    pub fn layer_norm_with(
        &self,
        eps: f64,
        modulation: Modulation<'_>,
        activation: Option<Activation>,
    ) -> Result<Self> {
        if self.is_half() {
            return modulation
                .in_single(|modulation| self.in_single(|x| x.layer_norm_with(eps, modulation, activation)));
        }
        match self.fused_rows(Center::Mean, eps, modulation, activation)? {
            Some(y) => Ok(y),
            None => composed(&self.layer_norm(eps)?, Channels::Last, modulation, activation),
        }
    }

    /// [`Dual::rms_norm`] with what follows it, shapes as in [`Dual::layer_norm_with`].
    ///
    /// # Errors
    /// [`Error::OperandShape`] or [`Error::Rank`] where `modulation` does not fit x.
    pub fn rms_norm_with(
        &self,
        eps: f64,
        modulation: Modulation<'_>,
        activation: Option<Activation>,
    ) -> Result<Self> {
        if self.is_half() {
            return modulation
                .in_single(|modulation| self.in_single(|x| x.rms_norm_with(eps, modulation, activation)));
        }
        match self.fused_rows(Center::Origin, eps, modulation, activation)? {
            Some(y) => Ok(y),
            None => composed(&self.rms_norm(eps)?, Channels::Last, modulation, activation),
        }
    }

    /// [`Dual::group_norm`] of `(B, C, ...)` with what follows it: `modulation`, then `activation`.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use flowmap_dual::{Activation, Dual, Modulation};
    ///
    /// let x = Dual::constant(Tensor::arange(0f32, 32.0, &Device::Cpu)?.reshape((1, 4, 2, 4))?);
    /// let weight = Tensor::ones(4, DType::F32, &Device::Cpu)?;
    /// let modulation = Modulation::Affine { weight: &weight, bias: None };
    /// let y = x.group_norm_with(2, 1e-5, modulation, Some(Activation::Silu))?;
    /// assert_eq!(y.dims(), [1, 4, 2, 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Groups`] where the groups do not divide the channels,
    /// [`Error::OperandShape`] or [`Error::Rank`] where `modulation` does not fit x.
    pub fn group_norm_with(
        &self,
        groups: usize,
        eps: f64,
        modulation: Modulation<'_>,
        activation: Option<Activation>,
    ) -> Result<Self> {
        if self.is_half() {
            return modulation.in_single(|modulation| {
                self.in_single(|x| x.group_norm_with(groups, eps, modulation, activation))
            });
        }
        let (batch, channels) = Channels::Second.sizes(self.dims())?;
        if groups == 0 || channels % groups != 0 {
            return Err(Error::Groups { groups, channels });
        }
        modulation.check(Channels::Second, self.dims())?;
        if !self.fits_norm_kernel(modulation) {
            return composed(&self.group_norm(groups, eps)?, Channels::Second, modulation, activation);
        }
        let after = modulation.gain_shift(channels, self.primal())?;
        let gains = if after.is_per_sample { Gains::PerSample } else { Gains::Shared };
        let area = self.primal().elem_count() / (batch * channels).max(1);
        let geometry =
            Geometry::Groups(Groups { batch, channels, groups, area, gains, scaled: Scaled::ToUnit });
        self.fused(geometry, eps, &after, activation)
    }

    /// f(modulation(x)) of `(B, C, ...)`, without a normalization: y = f(x ⊙ gain + shift).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use flowmap_dual::{Activation, Dual, Modulation};
    ///
    /// let x = Dual::constant(Tensor::ones((1, 4, 2, 4), DType::F32, &Device::Cpu)?);
    /// let y = x.modulated(Modulation::Identity, Some(Activation::Silu))?;
    /// assert_eq!(y.dims(), [1, 4, 2, 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OperandShape`] or [`Error::Rank`] where `modulation` does not fit x.
    pub fn modulated(&self, modulation: Modulation<'_>, activation: Option<Activation>) -> Result<Self> {
        if self.is_half() {
            return modulation
                .in_single(|modulation| self.in_single(|x| x.modulated(modulation, activation)));
        }
        let (batch, channels) = Channels::Second.sizes(self.dims())?;
        modulation.check(Channels::Second, self.dims())?;
        if !self.fits_norm_kernel(modulation) {
            return composed(self, Channels::Second, modulation, activation);
        }
        let after = modulation.gain_shift(channels, self.primal())?;
        let gains = if after.is_per_sample { Gains::PerSample } else { Gains::Shared };
        let area = self.primal().elem_count() / (batch * channels).max(1);
        let scaled = Scaled::No;
        let geometry = Geometry::Groups(Groups { batch, channels, groups: channels, area, gains, scaled });
        self.fused(geometry, 0.0, &after, activation)
    }

    /// The fused kernel over rows, if there is one for this type and device.
    fn fused_rows(
        &self,
        center: Center,
        eps: f64,
        modulation: Modulation<'_>,
        activation: Option<Activation>,
    ) -> Result<Option<Self>> {
        let (batch, channels) = Channels::Last.sizes(self.dims())?;
        modulation.check(Channels::Last, self.dims())?;
        // On a CUDA device the sums of all channels share the fast memory of one block.
        let is_wide = self.device().is_cuda() && channels > MAX_NORM_CHANNELS;
        if !self.fits_norm_kernel(modulation) || is_wide {
            return Ok(None);
        }
        let after = modulation.gain_shift(channels, self.primal())?;
        let runs = if after.is_per_sample { batch } else { 1 };
        let tokens = self.primal().elem_count() / (runs * channels).max(1);
        let geometry = Geometry::Rows(Rows { runs, tokens, channels, center });
        self.fused(geometry, eps, &after, activation).map(Some)
    }

    fn fits_norm_kernel(&self, modulation: Modulation<'_>) -> bool {
        let is_f32 = |x: &candle_core::Tensor| {
            let is_there = x.device().is_cpu() || (x.device().is_cuda() && x.elem_count() > 0);
            x.dtype() == DType::F32 && is_there
        };
        is_f32(self.primal()) && modulation.all(is_f32)
    }

    fn fused(
        &self,
        geometry: Geometry,
        eps: f64,
        after: &GainShift,
        activation: Option<Activation>,
    ) -> Result<Self> {
        let ((x, x_parts), (gain, gain_parts), (shift, shift_parts)) =
            (input(self)?, input(&after.gain)?, input(&after.shift)?);
        let parts = [x_parts, gain_parts, shift_parts];
        let norm = Norm::new(geometry, eps, after.counts, activation, parts);
        output(apply3(&x, &gain, &shift, norm)?, x_parts.or(gain_parts).or(shift_parts))
    }
}

/// What follows n, by composed operations.
fn composed(
    n: &Dual,
    channels: Channels,
    modulation: Modulation<'_>,
    activation: Option<Activation>,
) -> Result<Dual> {
    let z = modulation.apply(n, channels)?;
    activation.map_or(Ok(z.clone()), |activation| z.activate(activation))
}
