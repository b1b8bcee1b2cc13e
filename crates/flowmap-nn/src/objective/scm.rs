//! Continuous-time consistency models in TrigFlow (sCM): training (sCT) or distillation (sCD).
//!
//! TrigFlow's angle is τ = π/2 (1 − s): x_τ = cos τ x_1 + sin τ x_0 is the trigonometric interpolant.
//! f(x, τ) = cos τ x − sin τ F(x, τ) = X_{s,1}(x), so that F = −(c_v v_{s,1} + c_x x),
//! c_v = (1 − s)/sin τ,  c_x = (1 − cos τ)/sin τ = tan(τ/2)        (1)
//! g = −cos² τ (F⁻ − dx/dτ) − r (cos τ sin τ x + sin τ cos τ dF⁻/dτ),  which is cos τ df⁻/dτ for r = 1        (2)
//! L(θ) = E_s (1/D) | F(I_s, τ) − sg[ F⁻ + g/(|g| + c) ] |²        (3)
//!
//! Lu, Song 2024, arXiv:2410.11081, algorithm 1, with F in units of the data (their σ_d F).
//! dx/dτ is −(2/π) İ_s for training and −(2/π) q_s(I_s) for distillation. c = 0.1 in the unit of the batch, and r grows
//! from 0 to 1. F⁻ is the network off the tape, in the target as in g: the present parameters, or their average.
//! Precondition: the trigonometric interpolant; the end time is 1 whatever the times say.
//! Cost: one plain forward, and one dual forward off the tape.
//! The paper's prior weight is in (2) already: with 1/(σ_d tan τ) the sin τ of its tangent becomes this cos τ.
//! Differs from the paper: the learned weight is the combination's; the network is v, not F, so nothing is said here about its preconditioning.

use std::f64::consts::FRAC_PI_2;

use candle_core::Tensor;
use flowmap_core::Interpolant;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::align_your_flow::toward;
use crate::batch::as_column;
use crate::times::TimeFn;
use crate::{AverageVelocity, Batch, Context, Error, FlowMap, PerSample, Result, Times};

/// How far an interpolant may be from the trigonometric one.
const INTERPOLANT_TOLERANCE: f64 = 1e-6;

/// Whose velocity the tangent is taken along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScmVelocity {
    /// That of the pair: consistency training, sCT.
    #[default]
    Data,
    /// That of the known flow: consistency distillation, sCD.
    Teacher,
}

/// Choices of [`scm`], by default those of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scm {
    /// Whose velocity the tangent is taken along.
    pub velocity: ScmVelocity,
    /// Number of steps over which r grows from 0 to 1; 0 for r = 1.
    pub warmup: u64,
    /// c of the tangent's normalization; 0 for none.
    pub norm_offset: f64,
}

impl Default for Scm {
    fn default() -> Self {
        Self { velocity: ScmVelocity::Data, warmup: 10_000, norm_offset: 0.1 }
    }
}

impl Scm {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        if self.norm_offset >= 0.0 && self.norm_offset.is_finite() {
            return Ok(());
        }
        let expected = "a number of at least 0";
        Err(Error::OutOfRange { key: "norm_offset", expected, found: self.norm_offset })
    }

    /// r at a step.
    fn r_at(&self, step: u64) -> f64 {
        if self.warmup == 0 { 1.0 } else { (step as f64 / self.warmup as f64).min(1.0) }
    }
}

/// A coefficient of (1) and (2), a function of s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrigFlow {
    /// cos τ.
    Cos,
    /// c_v.
    Velocity,
    /// c_x.
    Point,
}

impl TrigFlow {
    pub(super) const ALL: [Self; 3] = [Self::Cos, Self::Velocity, Self::Point];

    /// Its value at a time s.
    pub(crate) fn at(self, s: f64) -> f64 {
        let tau = FRAC_PI_2 * (1.0 - s);
        match self {
            Self::Cos => tau.cos(),
            Self::Velocity if tau > 0.0 => tau / FRAC_PI_2 / tau.sin(),
            Self::Velocity => 1.0 / FRAC_PI_2,
            Self::Point => (0.5 * tau).tan(),
        }
    }
}

/// The sCM loss of each sample; `teacher` is the model off the tape.
///
/// # Errors
/// [`Error::NeedsInterpolant`] for another interpolant, [`Error::NoTeacher`]; as the network and the teacher.
pub fn scm<M, T>(
    model: FlowMap<'_, M>,
    teacher: FlowMap<'_, T>,
    batch: &Batch<'_>,
    times: &Times,
    context: &Context<'_>,
    choices: &Scm,
) -> Result<PerSample>
where
    M: AverageVelocity + ?Sized,
    T: AverageVelocity + ?Sized,
{
    refuse_other_interpolants(batch.interpolant, times)?;
    let s = times.s.tensor();
    let one = s.ones_like()?;
    let i_s = batch.i(&times.s)?;
    let dim: usize = i_s.dims().iter().skip(1).product();
    let column = |f| as_column(&times.s.map(TimeFn::TrigFlow(f), batch.interpolant)?, i_s.rank());
    let cos = column(TrigFlow::Cos)?;
    let big_f = |v_s1: &Tensor| -> Result<Tensor> {
        let (c_v, c_x) = (column(TrigFlow::Velocity)?, column(TrigFlow::Point)?);
        Ok((v_s1.broadcast_mul(&c_v)? + i_s.broadcast_mul(&c_x)?)?.neg()?) // (1)
    };
    let velocity = match choices.velocity {
        ScmVelocity::Data => batch.di(&times.s)?,
        ScmVelocity::Teacher => context.known()?.velocity(s, &i_s, model.condition())?.detach(),
    };
    let rate = -1.0 / FRAC_PI_2; // ds/dτ
    let dx = (velocity * rate)?; // dx/dτ
    let along = Dual::new(s.clone(), (&one * rate)?)?;
    let x = Dual::new(i_s.clone(), dx.clone())?;
    let v_s1 = teacher.average_velocity_dual(&along, &one.clone().into(), &x)?;
    let df = {
        // f = x + (1 − s) v, and its derivative along τ.
        let width = Dual::from(&one).sub(&along)?.column(i_s.rank())?;
        x.add(&width.mul(&v_s1)?)?.tangent_or_zeros()?
    };
    let f_minus = big_f(v_s1.primal())?; // F⁻
    let first = (&f_minus - dx)?.broadcast_mul(&cos.sqr()?)?.neg()?; // −cos² τ (F⁻ − dx/dτ)
    let all = df.broadcast_mul(&cos)?; // cos τ df⁻/dτ
    let second = (all - &first)?; // −(cos τ sin τ x + sin τ cos τ dF⁻/dτ)
    let g = (first + (second * choices.r_at(context.step))?)?; // (2)
    let f_s = big_f(&model.average_velocity(s, &one, &i_s)?)?;
    toward(batch, &f_s, &f_minus, &g, choices.norm_offset)?.scale(1.0 / dim.max(1) as f64) // (3)
}

/// TrigFlow is the trigonometric interpolant and no other.
fn refuse_other_interpolants(interpolant: &dyn Interpolant, times: &Times) -> Result<()> {
    for &s in times.s.host() {
        let (expected, found) = ((FRAC_PI_2 * s).sin(), interpolant.beta(s));
        if (expected - found).abs() > INTERPOLANT_TOLERANCE {
            return Err(Error::NeedsInterpolant { expected: "trigonometric", t: s, beta: found });
        }
    }
    Ok(())
}
