//! Ordinary differential equations to a stated tolerance: Dormand–Prince 8(5,3), adaptive, in f64.
//!
//! ẋ = f(t, x) from time s to time t in either direction.
//! The step is accepted when the estimated error per coordinate, measured in atol + rtol |x|, is at most 1
//! in root mean square; estimate and step control follow Hairer, Nørsett, Wanner 1993,
//! Solving Ordinary Differential Equations I, sections II.4 and II.10.
//! Cost: 12 evaluations of f a step, rejected steps included, and 2 to begin with.

mod tableau;

use crate::{Error, Result};
use tableau::{A, B, C, E3, E5, N_STAGES};

/// One over the order that the step control counts with.
const EXPONENT: f64 = 1.0 / 8.0;
/// Aim a little below the largest step that would do.
const SAFETY: f64 = 0.9;
/// Bounds on how much one step may differ from the one before.
const SHRINK: f64 = 0.2;
const GROW: f64 = 6.0;

/// The adaptive integrator with its tolerances.
///
/// ```
/// use flowmap_core::Dop853;
/// let oscillator = |_t: f64, x: &[f64], x_dot: &mut [f64]| {
///     (x_dot[0], x_dot[1]) = (x[1], -x[0]);
///     Ok(())
/// };
/// let x = Dop853::new(1e-10, 1e-12)?.integrate(oscillator, 0.0, 1.0, &[0.0, 1.0])?;
/// assert!((x[0] - 1f64.sin()).abs() < 1e-9);
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dop853 {
    rtol: f64,
    atol: f64,
    max_steps: u32,
}

impl Default for Dop853 {
    /// rtol 1e-10, atol 1e-12, at most 100 000 steps.
    fn default() -> Self {
        Self { rtol: 1e-10, atol: 1e-12, max_steps: 100_000 }
    }
}

impl Dop853 {
    /// The integrator for coordinates of size `scale`, with an absolute tolerance that is `scale` times as large.
    pub(crate) fn at_scale(self, scale: f64) -> Self {
        Self { atol: self.atol * scale, ..self }
    }

    /// An integrator with these relative and absolute tolerances per step and at most 100 000 steps.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless rtol is in [1e-15, 1] and atol is positive and finite.
    pub fn new(rtol: f64, atol: f64) -> Result<Self> {
        if !(1e-15..=1.0).contains(&rtol) {
            return Err(Error::Parameter { name: "rtol", expected: "between 1e-15 and 1", found: rtol });
        }
        if !(atol.is_finite() && atol > 0.0) {
            return Err(Error::Parameter { name: "atol", expected: "positive and finite", found: atol });
        }
        Ok(Self { rtol, atol, ..Self::default() })
    }

    /// This solver with another bound on the number of steps, rejected ones included.
    pub fn with_max_steps(self, max_steps: u32) -> Self {
        Self { max_steps, ..self }
    }

    /// The solution at time t of ẋ = f(t, x) that is x at time s; f writes ẋ into its last argument.
    ///
    /// # Errors
    /// The errors of f, [`Error::StepTooSmall`] if the step falls below the resolution of the times
    /// (a singularity, or values that are not finite), [`Error::TooManySteps`].
    pub fn integrate(
        &self,
        mut f: impl FnMut(f64, &[f64], &mut [f64]) -> Result<()>,
        s: f64,
        t: f64,
        x: &[f64],
    ) -> Result<Vec<f64>> {
        let mut x = x.to_vec();
        if s == t {
            return Ok(x);
        }
        let mut now = s;
        let mut stages = Stages::new(x.len());
        f(now, &x, &mut stages.k[0])?;
        let mut width = self.first_width(&mut f, s, t, &x, &stages.k[0])?;
        let mut may_grow = true;
        for _ in 0..self.max_steps {
            let is_last = width.abs() >= (t - now).abs();
            let h = if is_last { t - now } else { width };
            let resolution = 4.0 * f64::EPSILON * now.abs().max(t.abs());
            if (h.abs() <= resolution && !is_last) || !h.is_finite() {
                return Err(Error::StepTooSmall { t: now, width: h });
            }
            stages.advance(&mut f, now, h, &x)?;
            let error = self.error(&stages, h, &x);
            if error <= 1.0 {
                let largest = if may_grow { GROW } else { 1.0 };
                width = h * (SAFETY * error.powf(-EXPONENT)).clamp(SHRINK, largest);
                may_grow = true;
                x.copy_from_slice(&stages.x_next);
                if is_last {
                    return Ok(x);
                }
                now += h;
                f(now, &x, &mut stages.k[0])?;
            } else {
                // An error that is not a number also lands here, as f64::max skips it.
                width = h * (SAFETY * error.powf(-EXPONENT)).max(SHRINK);
                may_grow = false;
            }
        }
        Err(Error::TooManySteps { max_steps: self.max_steps, t: now })
    }

    /// A first width that makes an explicit Euler step small and fits the size of the second derivative.
    fn first_width(
        &self,
        f: &mut impl FnMut(f64, &[f64], &mut [f64]) -> Result<()>,
        s: f64,
        t: f64,
        x: &[f64],
        x_dot: &[f64],
    ) -> Result<f64> {
        let size = |v: &[f64]| root_mean_square(v.iter().zip(x).map(|(v, x)| v / self.scale(*x, *x)));
        let (d0, d1) = (size(x), size(x_dot));
        let h0 = if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 };
        let h0 = h0.min((t - s).abs()).copysign(t - s);
        let euler: Vec<f64> = x.iter().zip(x_dot).map(|(x, x_dot)| x + h0 * x_dot).collect();
        let mut curvature = vec![0.0; x.len()];
        f(s + h0, &euler, &mut curvature)?;
        curvature.iter_mut().zip(x_dot).for_each(|(c, x_dot)| *c -= x_dot);
        let d2 = size(&curvature) / h0.abs();
        let steepest = d1.max(d2);
        let h1 =
            if steepest <= 1e-15 { (1e-3 * h0.abs()).max(1e-6) } else { (0.01 / steepest).powf(EXPONENT) };
        Ok(h1.min(100.0 * h0.abs()).copysign(t - s))
    }

    /// Unit of the error of a coordinate.
    fn scale(&self, before: f64, after: f64) -> f64 {
        self.atol + self.rtol * before.abs().max(after.abs())
    }

    /// |h| ‖e₅‖² / √(n (‖e₅‖² + ‖e₃‖² / 100)), the estimate of order 7 made of the estimates of orders 5 and 3.
    fn error(&self, stages: &Stages, h: f64, x: &[f64]) -> f64 {
        let (mut e5_squared, mut e3_squared) = (0.0, 0.0);
        for (i, (before, after)) in x.iter().zip(&stages.x_next).enumerate() {
            let scale = self.scale(*before, *after);
            e5_squared += (stages.weighted(&E5, i) / scale).powi(2);
            e3_squared += (stages.weighted(&E3, i) / scale).powi(2);
        }
        if e5_squared == 0.0 {
            return 0.0;
        }
        h.abs() * e5_squared / ((e5_squared + 0.01 * e3_squared) * x.len() as f64).sqrt()
    }
}

/// The stages of one step.
struct Stages {
    k: [Vec<f64>; N_STAGES],
    x_stage: Vec<f64>,
    x_next: Vec<f64>,
}

impl Stages {
    fn new(dim: usize) -> Self {
        let zeros = || vec![0.0; dim];
        Self { k: std::array::from_fn(|_| zeros()), x_stage: zeros(), x_next: zeros() }
    }

    /// All stages but the first, which is there already, and the new point.
    fn advance(
        &mut self,
        f: &mut impl FnMut(f64, &[f64], &mut [f64]) -> Result<()>,
        now: f64,
        h: f64,
        x: &[f64],
    ) -> Result<()> {
        for (stage, (row, c)) in A.iter().zip(&C[1..]).enumerate() {
            for (i, x) in x.iter().enumerate() {
                self.x_stage[i] = x + h * self.weighted(row, i);
            }
            f(now + c * h, &self.x_stage, &mut self.k[stage + 1])?;
        }
        for (i, x) in x.iter().enumerate() {
            self.x_next[i] = x + h * self.weighted(&B, i);
        }
        Ok(())
    }

    /// Σ_j w_j k_j in one coordinate.
    fn weighted(&self, weights: &[f64], i: usize) -> f64 {
        weights.iter().zip(&self.k).map(|(w, k)| w * k[i]).sum()
    }
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    (values.map(|v| v * v).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Two bodies on an ellipse of eccentricity ½, period 2π.
    fn kepler(_t: f64, x: &[f64], x_dot: &mut [f64]) -> Result<()> {
        let r3 = x[0].hypot(x[1]).powi(3);
        x_dot.copy_from_slice(&[x[2], x[3], -x[0] / r3, -x[1] / r3]);
        Ok(())
    }

    const PERIHELION: [f64; 4] = [0.5, 0.0, 0.0, 1.732_050_807_568_877_2];

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn orbit_closes_within_a_multiple_of_the_tolerance() {
        for rtol in [1e-6, 1e-8, 1e-10, 1e-12] {
            let solver = Dop853::new(rtol, rtol).unwrap();
            let x = solver.integrate(kepler, 0.0, std::f64::consts::TAU, &PERIHELION).unwrap();
            let error = distance(&x, &PERIHELION);
            // Local errors add up and are stretched along the orbit: SciPy's DOP853 has 6 to 134 times rtol.
            assert!(error < 200.0 * rtol, "rtol {rtol:e}: error {error:e}");
        }
    }

    #[test]
    fn backwards_undoes_forwards() {
        let solver = Dop853::default();
        let there = solver.integrate(kepler, 0.0, 2.0, &PERIHELION).unwrap();
        let back = solver.integrate(kepler, 2.0, 0.0, &there).unwrap();
        assert!(distance(&back, &PERIHELION) < 1e-9);
    }

    #[test]
    fn explicit_time_is_followed() {
        let f = |t: f64, x: &[f64], x_dot: &mut [f64]| {
            x_dot[0] = 2.0 * t * x[0];
            Ok(())
        };
        let x = Dop853::default().integrate(f, -0.5, 1.5, &[1.0]).unwrap();
        assert!((x[0] - 2f64.exp()).abs() < 1e-9 * x[0]);
    }

    #[test]
    fn single_step_has_local_error_of_order_9() {
        let error = |h: f64| {
            let mut stages = Stages::new(4);
            kepler(0.0, &PERIHELION, &mut stages.k[0]).unwrap();
            stages.advance(&mut kepler, 0.0, h, &PERIHELION).unwrap();
            let exact = Dop853::new(1e-15, 1e-15).unwrap();
            let exact = exact.integrate(kepler, 0.0, h, &PERIHELION).unwrap();
            distance(&stages.x_next, &exact)
        };
        let slope = (error(0.2) / error(0.1)).log2();
        assert!((slope - 9.0).abs() < 0.7, "slope {slope}");
    }

    #[test]
    fn work_grows_with_the_eighth_root_of_the_tolerance() {
        let n_evaluations = |rtol: f64| {
            let count = Cell::new(0u32);
            let counted = |t: f64, x: &[f64], x_dot: &mut [f64]| {
                count.set(count.get() + 1);
                kepler(t, x, x_dot)
            };
            Dop853::new(rtol, rtol).unwrap().integrate(counted, 0.0, 20.0, &PERIHELION).unwrap();
            f64::from(count.get())
        };
        let ratio = n_evaluations(1e-12) / n_evaluations(1e-4);
        assert!(ratio < 15.0, "1e8 times the accuracy costs {ratio} times the work, about 10 expected");
    }

    #[test]
    fn standing_still_and_no_coordinates_are_no_special_cases() {
        let solver = Dop853::default();
        assert_eq!(solver.integrate(kepler, 0.3, 0.3, &PERIHELION).unwrap(), PERIHELION);
        let nothing = |_: f64, _: &[f64], _: &mut [f64]| Ok(());
        assert_eq!(solver.integrate(nothing, 0.0, 1.0, &[]).unwrap(), [0.0; 0]);
        assert_eq!(solver.integrate(nothing, 0.0, 1.0, &[3.0]).unwrap(), [3.0]);
    }

    #[test]
    fn singularity_is_a_vanishing_step() {
        let f = |_: f64, x: &[f64], x_dot: &mut [f64]| {
            x_dot[0] = x[0] * x[0]; // x = 1 / (1 − t)
            Ok(())
        };
        let error = Dop853::default().integrate(f, 0.0, 2.0, &[1.0]).unwrap_err();
        assert!(matches!(error, Error::StepTooSmall { t, .. } if (t - 1.0).abs() < 1e-3), "{error}");
        let nan = |_: f64, _: &[f64], x_dot: &mut [f64]| {
            x_dot[0] = f64::NAN;
            Ok(())
        };
        let error = Dop853::default().integrate(nan, 0.0, 2.0, &[1.0]).unwrap_err();
        assert!(matches!(error, Error::StepTooSmall { t: 0.0, .. }), "{error}");
    }

    #[test]
    fn step_count_is_bounded_and_errors_of_f_come_back() {
        let error = Dop853::default().with_max_steps(3).integrate(kepler, 0.0, 100.0, &PERIHELION);
        assert!(matches!(error, Err(Error::TooManySteps { max_steps: 3, .. })));
        let refuse = |t: f64, _: &[f64], _: &mut [f64]| Err(Error::TimeOutOfRange { name: "t", found: t });
        let error = Dop853::default().integrate(refuse, 0.0, 1.0, &[1.0]);
        assert_eq!(error, Err(Error::TimeOutOfRange { name: "t", found: 0.0 }));
    }

    #[test]
    fn meaningless_tolerances_are_refused() {
        for (rtol, atol) in [(0.0, 1e-9), (-1.0, 1e-9), (f64::NAN, 1e-9), (1e-9, 0.0), (1e-9, f64::NAN)] {
            assert!(Dop853::new(rtol, atol).is_err());
        }
    }
}
