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
use flowmap_core::{Interpolant, InterpolantKind, MiddleTime, TimeDistribution};
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::align_your_flow::toward;
use super::{Card, Evaluations, LearnsGuidance, Method, Needs, Pass, TeacherNeed, Trains};
use crate::batch::as_column;
use crate::times::{At, Column, TimeFunction};
use crate::{Error, PerSample, Result, Times};

/// What there is to know of it.
pub(super) const CARD: Card = Card {
    name: "scm",
    title: "Continuous-time consistency models",
    arxiv: "2410.11081",
    on_tape: Evaluations::plain(1),
    off_tape: Evaluations::dual(1),
    trains: Trains::JumpsToData,
    guidance: LearnsGuidance::No,
    when: "jumps to the data only, trigonometric interpolant",
    recipe: include_str!("../../recipes/scm.toml"),
    distilling: include_str!("../../recipes/scm.distill.toml"),
};

/// How far an interpolant may be from the trigonometric one.
const INTERPOLANT_TOLERANCE: f64 = 1e-6;

/// Whose velocity the tangent is taken along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScmVelocity {
    /// The velocity of the pair: consistency training, sCT.
    #[default]
    Data,
    /// The velocity of the known flow: consistency distillation, sCD.
    Teacher,
}

/// The choices of sCM, by default those of the paper.
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
    /// r at a step.
    fn r_at(&self, step: u64) -> f64 {
        if self.warmup == 0 { 1.0 } else { (step as f64 / self.warmup as f64).min(1.0) }
    }
}

/// cos τ.
const COS: TimeFunction = TimeFunction::new("scm.cos", [0.0; 2], |s, _, _| tau(s).cos());
/// c_v of (1).
const C_V: TimeFunction = TimeFunction::new("scm.c_v", [0.0; 2], |s, _, _| match tau(s) {
    tau if tau > 0.0 => tau / FRAC_PI_2 / tau.sin(),
    _ => 1.0 / FRAC_PI_2,
});
/// c_x of (1).
const C_X: TimeFunction = TimeFunction::new("scm.c_x", [0.0; 2], |s, _, _| (0.5 * tau(s)).tan());

/// The angle τ at a time s.
fn tau(s: f64) -> f64 {
    FRAC_PI_2 * (1.0 - s)
}

impl Method for Scm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn needs(&self) -> Needs {
        Needs {
            teacher: (self.velocity == ScmVelocity::Teacher).then_some(TeacherNeed::Velocity),
            interpolant: Some(InterpolantKind::Trigonometric),
            ..Needs::NOTHING
        }
    }

    fn times(&self) -> TimeDistribution {
        TimeDistribution::LogTangent { mean: -0.3, std: 1.4 }
    }

    fn columns(&self, _step: u64) -> Vec<Column> {
        let trig = [COS, C_V, C_X].map(|f| Column::Of(At::S, f));
        match self.velocity {
            ScmVelocity::Data => [&Column::i(At::S)[..], &Column::di(At::S), &trig].concat(),
            ScmVelocity::Teacher => [&Column::i(At::S)[..], &trig].concat(),
        }
    }

    fn validate(&self, _times: &TimeDistribution, _middle: &MiddleTime) -> Result<()> {
        if self.norm_offset >= 0.0 && self.norm_offset.is_finite() {
            return Ok(());
        }
        let expected = "a number of at least 0";
        Err(Error::OutOfRange { key: "norm_offset", expected, found: self.norm_offset })
    }

    fn loss(&self, p: &Pass<'_>) -> Result<PerSample> {
        let &Pass { model, frozen, batch, times, .. } = p;
        refuse_other_interpolants(batch.interpolant, times)?;
        let s = times.s.tensor();
        let one = s.ones_like()?;
        let i_s = batch.i(&times.s)?;
        let dim: usize = i_s.dims().iter().skip(1).product();
        let column = |f| as_column(&times.s.map(f, batch.interpolant)?, i_s.rank());
        let cos = column(COS)?;
        let big_f = |v_s1: &Tensor| -> Result<Tensor> {
            let (c_v, c_x) = (column(C_V)?, column(C_X)?);
            Ok((v_s1.broadcast_mul(&c_v)? + i_s.broadcast_mul(&c_x)?)?.neg()?) // (1)
        };
        let velocity = match self.velocity {
            ScmVelocity::Data => batch.di(&times.s)?,
            ScmVelocity::Teacher => p.q(s, &i_s)?.detach(),
        };
        let rate = -1.0 / FRAC_PI_2; // ds/dτ
        let dx = (velocity * rate)?; // dx/dτ
        let along = Dual::new(s.clone(), (&one * rate)?)?;
        let x = Dual::new(i_s.clone(), dx.clone())?;
        let v_s1 = frozen.average_velocity_dual(&along, &one.clone().into(), &x)?;
        let df = {
            // f = x + (1 − s) v, and its derivative along τ.
            let width = Dual::from(&one).sub(&along)?.column(i_s.rank())?;
            x.add(&width.mul(&v_s1)?)?.tangent_or_zeros()?
        };
        let f_minus = big_f(v_s1.primal())?; // F⁻
        let first = (&f_minus - dx)?.broadcast_mul(&cos.sqr()?)?.neg()?; // −cos² τ (F⁻ − dx/dτ)
        let all = df.broadcast_mul(&cos)?; // cos τ df⁻/dτ
        let second = (all - &first)?; // −(cos τ sin τ x + sin τ cos τ dF⁻/dτ)
        let g = (first + (second * self.r_at(p.step()))?)?; // (2)
        let f_s = big_f(&model.average_velocity(s, &one, &i_s)?)?;
        toward(batch, &f_s, &f_minus, &g, self.norm_offset)?.scale(1.0 / dim.max(1) as f64) // (3)
    }
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
