//! The linear interpolant that leaves a little noise in the data, I_t = (1 − (1 − σ_min) t) x_0 + t x_1.
//!
//! The optimal transport path of flow matching (Lipman et al. 2022, arXiv:2210.02747, eq. 20 to 23),
//! İ_t = x_1 − (1 − σ_min) x_0.
//! I_1 is x_1 with noise of σ_min times the base, so that its density is smooth whatever the data are,
//! and the velocity of a flow to points stays bounded as t → 1.

use serde::{Deserialize, Serialize};

use super::Interpolant;
use crate::{Error, Result};

/// α_t = 1 − (1 − σ_min) t, β_t = t.
///
/// In a file it is a table with the key `sigma_min`, which is checked.
///
/// ```
/// use flowmap_core::{Interpolant, NoisyLinear};
/// let noisy = NoisyLinear::new(0.1)?;
/// assert_eq!((noisy.alpha(0.5), noisy.beta(0.5)), (0.55, 0.5));
/// assert_eq!((noisy.alpha(1.0), noisy.alpha_dot(0.5)), (0.1, -0.9));
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct NoisyLinear {
    sigma_min: f64,
}

/// The keys of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    sigma_min: f64,
}

impl NoisyLinear {
    /// The path that ends at the data with `sigma_min` times the noise.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless it is above 0 and below 1.
    pub fn new(sigma_min: f64) -> Result<Self> {
        if sigma_min > 0.0 && sigma_min < 1.0 {
            return Ok(Self { sigma_min });
        }
        Err(Error::Parameter { name: "sigma_min", expected: "above 0 and below 1", found: sigma_min })
    }

    /// σ_min.
    pub fn sigma_min(&self) -> f64 {
        self.sigma_min
    }
}

impl TryFrom<Keys> for NoisyLinear {
    type Error = Error;

    fn try_from(keys: Keys) -> Result<Self> {
        Self::new(keys.sigma_min)
    }
}

impl From<NoisyLinear> for Keys {
    fn from(noisy: NoisyLinear) -> Self {
        Self { sigma_min: noisy.sigma_min }
    }
}

impl Interpolant for NoisyLinear {
    /// 1 − t + σ_min t, which is σ_min to the last bit at t = 1.
    fn alpha(&self, t: f64) -> f64 {
        1.0 - t + self.sigma_min * t
    }

    fn beta(&self, t: f64) -> f64 {
        t
    }

    fn alpha_dot(&self, _t: f64) -> f64 {
        self.sigma_min - 1.0
    }

    fn beta_dot(&self, _t: f64) -> f64 {
        1.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::laws;
    use super::*;

    #[test]
    fn noisy_linear_joins_noise_with_data_up_to_sigma_min() {
        for sigma_min in [1e-5, 0.1, 0.5] {
            let noisy = NoisyLinear::new(sigma_min).unwrap();
            assert_eq!((noisy.alpha(0.0), noisy.beta(0.0)), (1.0, 0.0));
            assert_eq!((noisy.alpha(1.0), noisy.beta(1.0)), (sigma_min, 1.0));
            laws::derivatives_are_finite_differences(&noisy);
            laws::moves_from_noise_to_data(&noisy);
        }
    }

    #[test]
    fn velocity_of_the_path_is_the_data_less_what_goes_of_the_noise() {
        let (noisy, x0, x1) = (NoisyLinear::new(1e-5).unwrap(), 0.7, -1.3);
        let di = noisy.alpha_dot(0.3) * x0 + noisy.beta_dot(0.3) * x1;
        assert!((di - (x1 - (1.0 - 1e-5) * x0)).abs() <= f64::EPSILON);
    }

    #[test]
    fn noise_that_is_no_part_of_the_base_is_refused() {
        for bad in [0.0, -0.1, 1.0, f64::NAN, f64::INFINITY] {
            assert!(NoisyLinear::new(bad).is_err());
        }
        let error = NoisyLinear::new(1.5).unwrap_err();
        assert_eq!(error.to_string(), "`sigma_min` must be above 0 and below 1, found 1.5");
    }
}
