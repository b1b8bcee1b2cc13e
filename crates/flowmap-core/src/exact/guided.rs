//! The flow of classifier-free guidance between two flows that are known exactly.
//!
//! b^w_t(x) = b_t(x | ∅) + w (b_t(x | c) − b_t(x | ∅))        (1)
//!
//! Ho and Salimans 2022, arXiv:2207.12598, eq. (6) for velocities, with w = 1 the flow of the class.
//! For w > 1 it has no density of a known form, so this is no [`ExactFlow`]: it knows its velocity and its map,
//! which solves ẋ = b^w_t(x) by [`Dop853`] to the tolerance of that solver.

use super::ExactFlow;
use crate::{Dop853, Result};

/// The flow to all data and the flow to one class of them, guided to the class with scale w.
///
/// ```
/// use flowmap_core::Linear;
/// use flowmap_core::exact::{Covariance, GaussianFlow, GuidedFlow};
/// let gaussian = |mean: f64, sd: f64| GaussianFlow::new(Linear, 1.0, vec![mean], &Covariance::Isotropic(sd));
/// let guided = GuidedFlow::new(gaussian(0.0, 1.0)?, gaussian(1.0, 0.5)?, 3.0);
/// let x1 = guided.flow_map(0.0, 1.0, &[0.0])?;
/// assert!(x1[0] > 1.0); // beyond the mean of the class, away from the rest
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GuidedFlow<A, C> {
    all: A,
    class: C,
    scale: f64,
    solver: Dop853,
}

impl<A: ExactFlow, C: ExactFlow> GuidedFlow<A, C> {
    /// From `all` towards `class` and beyond, with scale w; both have the same base, interpolant and dimension.
    pub fn new(all: A, class: C, scale: f64) -> Self {
        Self { all, class, scale, solver: Dop853::default() }
    }

    /// b^w_t(x), (1).
    ///
    /// # Errors
    /// As the two flows.
    pub fn velocity(&self, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let (all, class) = (self.all.velocity(t, x)?, self.class.velocity(t, x)?);
        Ok(all.iter().zip(class).map(|(all, class)| all + self.scale * (class - all)).collect())
    }

    /// X_{s,t}(x): where the point that is x at time s is at time t.
    ///
    /// # Errors
    /// As the two flows and the integrator.
    pub fn flow_map(&self, s: f64, t: f64, x: &[f64]) -> Result<Vec<f64>> {
        let b = |time: f64, x: &[f64], x_dot: &mut [f64]| {
            // The last stage may round to a hair outside [0, 1].
            x_dot.copy_from_slice(&self.velocity(time.clamp(0.0, 1.0), x)?);
            Ok(())
        };
        self.solver.integrate(b, s, t, x)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Component, Covariance, GaussianFlow, MixtureFlow};
    use super::*;
    use crate::Linear;

    /// Tolerance of the integrator, with room for how the flow stretches.
    const TOLERANCE: f64 = 1e-8;

    fn gaussian(mean: f64, sd: f64) -> GaussianFlow {
        GaussianFlow::new(Linear, 0.8, vec![mean], &Covariance::Isotropic(sd)).unwrap()
    }

    #[test]
    fn scale_of_one_is_the_class_and_of_zero_all_data() {
        let component =
            |mean: f64| Component { weight: 1.0, mean: vec![mean], covariance: Covariance::Isotropic(0.4) };
        let all = MixtureFlow::new(Linear, 0.8, &[component(-1.0), component(1.0)]).unwrap();
        let class = gaussian(1.0, 0.4);
        for x in [-1.5, 0.1, 0.9] {
            let jump = |scale| GuidedFlow::new(all.clone(), class.clone(), scale).flow_map(0.0, 1.0, &[x]);
            let error = |found: Vec<f64>, expected: Vec<f64>| (found[0] - expected[0]).abs();
            assert!(error(jump(1.0).unwrap(), class.flow_map(0.0, 1.0, &[x]).unwrap()) < TOLERANCE);
            assert!(error(jump(0.0).unwrap(), all.flow_map(0.0, 1.0, &[x]).unwrap()) < TOLERANCE);
        }
    }

    /// Between Gaussians of one deviation the difference of the fields is that of Gaussians at the guided mean:
    /// b(x|c) − b(x|∅) does not depend on x, so b^w is the field to the mean m_∅ + w (m_c − m_∅).
    #[test]
    fn guided_flow_between_gaussians_of_one_deviation_is_that_of_the_extrapolated_mean() {
        let guided = GuidedFlow::new(gaussian(0.2, 0.5), gaussian(1.0, 0.5), 2.5);
        let expected = gaussian(0.2 + 2.5 * 0.8, 0.5);
        for x in [-1.0, 0.0, 0.7] {
            let (found, expected) = (guided.flow_map(0.0, 1.0, &[x]), expected.flow_map(0.0, 1.0, &[x]));
            assert!((found.unwrap()[0] - expected.unwrap()[0]).abs() < TOLERANCE);
        }
    }
}
