//! The exact velocity of a mixture of Gaussians by operations of tensors, where the points are.
//!
//! With C_k = V_k diag(λ_k) V_kᵀ, y_k = V_kᵀ (x − β_t m_k), var_k = α_t² σ0² + β_t² λ_k and
//! κ_k = α_t α̇_t σ0² + β_t β̇_t λ_k, component by component:
//!
//! r_k(x) ∝ w_k exp(−½ Σ_i [ y_{k,i}² / var_{k,i} + ln var_{k,i} ])       (1)
//! b_t(x) = Σ_k r_k(x) [ β̇_t m_k + V_k (κ_k y_k / var_k) ]                 (2)
//!
//! as derived in [`flowmap_core::exact`], whose [`MixtureFlow`] computes the same on the host.
//! In f64, on Metal in f32. Nothing is read from a device and nothing is sent to it, except the times if the
//! interpolant belongs to another crate.
//! Cost: about 25 operations on tensors of (components, samples, dimensions).

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use candle_core::{D, DType, Device, Tensor};
use flowmap_core::exact::{Component, Covariance, MixtureFlow};
use flowmap_core::{Interpolant, InterpolantKind};
use flowmap_dual::host;

use crate::{Condition, Error, Result, VelocityField};

/// The velocity of the flow from N(0, σ0² I) to a mixture of Gaussians, for [`crate::Teacher::Field`].
///
/// Samples of any shape with as many numbers as the mixture has dimensions; the condition is ignored.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use flowmap_core::InterpolantKind;
/// use flowmap_core::exact::{Component, Covariance};
/// use flowmap_nn::{Condition, MixtureField, VelocityField};
///
/// let part = |x: f64| Component { weight: 1.0, mean: vec![x], covariance: Covariance::Isotropic(0.5) };
/// let field = MixtureField::new(InterpolantKind::Linear, 1.0, &[part(-1.0), part(3.0)], &Device::Cpu)?;
/// let (t, x) = (Tensor::new(&[0.0f64], &Device::Cpu)?, Tensor::new(&[[0.0f64]], &Device::Cpu)?);
/// let b_t = field.velocity(&t, &x, Condition::default())?;
/// assert_eq!(b_t.to_vec2::<f64>()?, [[1.0]]); // all noise at 0 goes to the mean of the parts
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MixtureField {
    interpolant: InterpolantKind,
    /// σ0².
    base: f64,
    /// ln w_k, `(K, 1)`.
    log_weights: Tensor,
    /// m_k, `(K, 1, D)`.
    means: Tensor,
    /// λ_k, `(K, 1, D)`.
    variances: Tensor,
    /// V_k, `(K, D, D)`, unless the axes of all are the coordinates'.
    axes: Option<Tensor>,
}

impl MixtureField {
    /// The field for this interpolant, standard deviation σ0 of the base, and components of the target, on a device.
    ///
    /// # Errors
    /// As [`MixtureFlow::new`]; [`Error::OutOfRange`] for a covariance that is singular, which leaves the velocity of
    /// data undefined; as the device.
    pub fn new(
        interpolant: InterpolantKind,
        sigma0: f64,
        components: &[Component],
        device: &Device,
    ) -> Result<Self> {
        MixtureFlow::new(interpolant.clone(), sigma0, components)?;
        let (k, dim) = (components.len(), components.first().map_or(0, |component| component.mean.len()));
        let has_axes = components.iter().any(|c| matches!(c.covariance, Covariance::Full(_)));
        let (mut variances, mut axes) = (Vec::with_capacity(k * dim), Vec::new());
        for component in components {
            let own = component.covariance.axes(dim)?;
            if let Some(variance) = own.variances.iter().find(|variance| **variance <= 0.0) {
                let expected = "a positive number";
                return Err(Error::OutOfRange { key: "variance of a component", expected, found: *variance });
            }
            variances.extend(own.variances);
            if has_axes {
                // The directions are rows there and columns here.
                let entry = |i: usize| match &own.directions {
                    Some(rows) => rows[(i % dim) * dim + i / dim],
                    None => f64::from(u8::from(i / dim == i % dim)),
                };
                axes.extend((0..dim * dim).map(entry));
            }
        }
        let dtype = if device.is_metal() { DType::F32 } else { DType::F64 };
        let log_weights = components.iter().map(|component| component.weight.ln()).collect();
        let means = components.iter().flat_map(|component| component.mean.clone()).collect();
        Ok(Self {
            interpolant,
            base: sigma0 * sigma0,
            log_weights: host::send(log_weights, (k, 1), dtype, device)?,
            means: host::send(means, (k, 1, dim), dtype, device)?,
            variances: host::send(variances, (k, 1, dim), dtype, device)?,
            axes: has_axes.then(|| host::send(axes, (k, dim, dim), dtype, device)).transpose()?,
        })
    }

    /// b_t(x) of `(1, B, D)` at times `(1, B, 1)` as `(B, D)`.
    fn rows(&self, t: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        let [alpha, beta, alpha_dot, beta_dot] = coefficients(&self.interpolant, t)?;
        let of_data = |c: &Tensor| c.broadcast_mul(&self.variances);
        let variance = of_data(&beta.sqr()?)?.broadcast_add(&(alpha.sqr()? * self.base)?)?;
        let kappa = of_data(&(&beta * &beta_dot)?)?.broadcast_add(&((alpha * alpha_dot)? * self.base)?)?;
        let offset = x.broadcast_sub(&beta.broadcast_mul(&self.means)?)?; // x − β_t m_k
        let y = self.axes.as_ref().map_or(Ok(offset.clone()), |axes| offset.matmul(axes))?;
        let scaled = (&y / &variance)?;

        let exponent = ((y * &scaled)? + variance.log()?)?.sum(D::Minus1)?;
        let log_r = (exponent * -0.5)?.broadcast_add(&self.log_weights)?; // (1), up to a constant
        let r = log_r.broadcast_sub(&log_r.detach().max_keepdim(0)?)?.exp()?;
        let r = r.broadcast_div(&r.sum_keepdim(0)?)?;

        let along = (kappa * scaled)?;
        let along = match &self.axes {
            Some(axes) => along.matmul(&axes.transpose(1, 2)?.contiguous()?)?,
            None => along,
        };
        let b_k = along.broadcast_add(&beta_dot.broadcast_mul(&self.means)?)?;
        r.unsqueeze(D::Minus1)?.broadcast_mul(&b_k)?.sum(0) // (2)
    }
}

impl VelocityField for MixtureField {
    fn velocity(&self, t: &Tensor, x: &Tensor, _condition: Condition<'_>) -> Result<Tensor> {
        let (n, dim, dtype) = (x.dim(0)?, self.means.dim(D::Minus1)?, self.means.dtype());
        let times = t.detach().to_dtype(dtype)?.reshape((1, n, 1))?;
        let velocity = self.rows(&times, &x.to_dtype(dtype)?.reshape((1, n, dim))?)?;
        Ok(velocity.reshape(x.shape())?.to_dtype(x.dtype())?)
    }
}

/// The coefficients of an interpolant of another crate, which only the processor can compute.
fn on_host(interpolant: &dyn Interpolant, t: &Tensor) -> candle_core::Result<[Tensor; 4]> {
    let times = host::numbers(t).map_err(candle_core::Error::wrap)?;
    let column = |of: fn(&dyn Interpolant, f64) -> f64| {
        let values: Vec<f64> = times.iter().map(|&t| of(interpolant, t)).collect();
        host::send(values, t.shape(), t.dtype(), t.device()).map_err(candle_core::Error::wrap)
    };
    Ok([
        column(|interpolant, t| interpolant.alpha(t))?,
        column(|interpolant, t| interpolant.beta(t))?,
        column(|interpolant, t| interpolant.alpha_dot(t))?,
        column(|interpolant, t| interpolant.beta_dot(t))?,
    ])
}

/// α_t, β_t, α̇_t and β̇_t, each like `t`.
fn coefficients(interpolant: &InterpolantKind, t: &Tensor) -> candle_core::Result<[Tensor; 4]> {
    // cos θ and sin θ with their derivatives.
    let turned = |theta: Tensor, theta_dot: Tensor| -> candle_core::Result<[Tensor; 4]> {
        let (alpha, beta) = (theta.cos()?, theta.sin()?);
        let dots = [(&beta * &theta_dot)?.neg()?, (&alpha * &theta_dot)?];
        let [alpha_dot, beta_dot] = dots;
        Ok([alpha, beta, alpha_dot, beta_dot])
    };
    // 1 − (1 − σ_min) t and t.
    let straight = |sigma_min: f64| -> candle_core::Result<[Tensor; 4]> {
        let one = t.ones_like()?;
        Ok([t.affine(sigma_min - 1.0, 1.0)?, t.clone(), (&one * (sigma_min - 1.0))?, one])
    };
    match interpolant {
        InterpolantKind::Own(own) => on_host(own, t),
        InterpolantKind::Linear => straight(0.0),
        InterpolantKind::NoisyLinear(noisy) => straight(noisy.sigma_min()),
        InterpolantKind::Trigonometric => turned((t * FRAC_PI_2)?, (t.ones_like()? * FRAC_PI_2)?),
        InterpolantKind::VariancePreserving => {
            let turn = (t * PI)?;
            let theta = turn.cos()?.affine(-FRAC_PI_4, FRAC_PI_4)?;
            turned(theta, (turn.sin()? * (PI * FRAC_PI_4))?)
        }
    }
}
