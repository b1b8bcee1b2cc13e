//! Methods that come to rest at something else than the flow map, and at what.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, NoiseStream, Stream, TimeDistribution};
use flowmap_dual::Dual;
use flowmap_nn::method::{AlignYourFlow, Context, Method, Objective, Pass, Psd, PsdForm, PsdStop, Shortcut};
use flowmap_nn::{AverageVelocity, Batch, Condition, FlowMap, Result, Teacher, Times};

use crate::support::measure::{SEED, inner_times, max_abs};

/// Residuals are some 1e-14 of rounding; this is their square with room to spare.
const ZERO_LOSS: f64 = 1e-20;
const N: usize = 64;

/// Losses of random pairs, the model being its own frozen copy.
fn losses(objective: Objective, model: &dyn AverageVelocity, known: Option<&Teacher>, times: &Times) -> f64 {
    let points = |stream| {
        let mut values = vec![0.0; N * 2];
        NoiseStream::new(SEED, stream).at(0).fill_normal(&mut values);
        Tensor::from_vec(values, (N, 2), &Device::Cpu).unwrap()
    };
    let (x0, x1) = (points(Stream::Base), points(Stream::Data));
    let batch = Batch {
        x0: &x0,
        x1: &x1,
        condition: Condition::default(),
        interpolant: &InterpolantKind::Linear,
        unit: 1.0,
    };
    let context = Context { teacher: known, ..Context::default() };
    let model = FlowMap::new(model);
    max_abs(objective.loss(&Pass::new(model, model, &batch, times).within(context)).unwrap().tensor())
}

/// b_t(x) = sin(x + t), not the velocity of the pairs, for a residual knows no data.
fn slope(t: f64, x: f64) -> f64 {
    (x + t).sin()
}

/// The average velocity of Euler's method along [`slope`] in steps of one length; the velocity itself on the diagonal.
struct EulersMethod {
    steps_in_one: f64,
}

impl AverageVelocity for EulersMethod {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        let (s, t) = (s.primal().to_vec1::<f64>()?, t.primal().to_vec1::<f64>()?);
        let mut rows = x.primal().to_vec2::<f64>()?;
        for (row, (s, t)) in rows.iter_mut().zip(s.iter().zip(&t)) {
            let n_steps = ((t - s) * self.steps_in_one).round();
            for x in row {
                if n_steps == 0.0 {
                    *x = slope(*s, *x);
                    continue;
                }
                let (start, h) = (*x, (t - s) / n_steps);
                for step in 0..n_steps as u32 {
                    *x += h * slope(s + f64::from(step) * h, *x);
                }
                *x = (*x - start) / (t - s);
            }
        }
        Ok(Dual::constant(Tensor::new(rows, &Device::Cpu)?))
    }
}

#[test]
fn shortcut_is_at_rest_at_eulers_method_in_twice_its_steps() {
    const N_STEPS: u32 = 8;
    let dyadic = TimeDistribution::dyadic(N_STEPS);
    let triple = |i| {
        let jump = dyadic.draw(&mut NoiseStream::new(SEED, Stream::Times).at(i));
        flowmap_core::Times::forward(jump.s(), jump.s() + 0.5 * jump.width(), jump.t()).unwrap()
    };
    let triples: Vec<_> = (0..N as u64).map(triple).collect();
    let times = Times::new(&triples, DType::F64, &Device::Cpu).unwrap();
    let shortcut = Objective::Shortcut(Shortcut { n_steps: N_STEPS, ..Shortcut::PAPER });
    let of = |steps_in_one| losses(shortcut.clone(), &EulersMethod { steps_in_one }, None, &times);
    let at_rest = of(f64::from(2 * N_STEPS));
    assert!(at_rest < ZERO_LOSS, "loss {at_rest:e}");
    // Smaller steps, nearer to the flow map, are not.
    for steps_in_one in [f64::from(4 * N_STEPS), f64::from(64 * N_STEPS)] {
        assert!(of(steps_in_one) > 1e-8, "{steps_in_one}: loss {:e}", of(steps_in_one));
    }
    // All its jumps agree with one another, so PSD on the same grid finds no fault: it would take shorter jumps.
    let psd = Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target });
    let found = losses(psd, &EulersMethod { steps_in_one: f64::from(2 * N_STEPS) }, None, &times);
    assert!(found < ZERO_LOSS, "PSD: loss {found:e}");
}

/// v_{s,t} = t² − 2th/(1 + r) + h²/(1 + 2r), h = t − s: the mean of q_τ = τ² with the weight η^(1/r − 1), η = t − τ.
struct LeaningMean {
    r: f64,
}

impl AverageVelocity for LeaningMean {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> Result<Dual> {
        let (s, t) = (s.column(2)?, t.column(2)?);
        let h = t.sub(&s)?;
        let linear = t.mul(&h)?.scale(-2.0 / (1.0 + self.r))?;
        let mean = t.sqr()?.add(&linear)?.add(&h.sqr()?.scale(1.0 / (1.0 + 2.0 * self.r))?)?;
        Ok(mean.add(&x.scale(0.0)?)?)
    }
}

#[test]
fn share_of_the_derivative_in_align_your_flow_leans_toward_the_start() {
    // The velocity τ², by any of the maps, whose diagonals agree.
    let known = Teacher::Map(Arc::new(LeaningMean { r: 1.0 }));
    let times = inner_times(N);
    for r in [1.0, 0.99, 0.5, 0.1] {
        let objective = Objective::AlignYourFlow(AlignYourFlow { r, ..AlignYourFlow::BARE });
        let of = |r| losses(objective.clone(), &LeaningMean { r }, Some(&known), &times);
        assert!(of(r) < ZERO_LOSS, "r = {r}: loss {:e}", of(r));
        assert!(r == 1.0 || of(1.0) > 1e-6, "r = {r}: the flow map has the loss {:e}", of(1.0));
    }
}
