//! Methods that are another one with other choices, or the same derivative by other means.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, MiddleTime, NoiseStream, Stream, TimeDistribution};
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::{
    Context, Emd, Esd, EsdStop, Fmm, ImprovedMeanFlow, Lmd, LmdStop, Lsd, LsdStop, MeanFlow, Method,
    Objective, Pass, Psd, SoFlow, SplitMeanFlow, Tvm,
};
use flowmap_nn::net::Mlp;
use flowmap_nn::{Batch, Condition, Derivative, FlowMap, ParamBuilder, Params, StepKey, Teacher, Times};

use crate::support::mlps::{Case, cases, normals};

/// Rounding of two orders of operations.
const ROUNDING: f64 = 1e-10;
/// ε² of central differences, and what the third derivative of the network multiplies it by.
const CENTRAL: f64 = 2e-3;
const N: usize = 16;
const SEED: u64 = 3;

struct Setting {
    model: Mlp,
    params: Params,
    frozen: Arc<Mlp>,
    x0: Tensor,
    x1: Tensor,
    times: Times,
}

fn case() -> Case {
    cases().into_iter().find(|case| case.name == "x features").unwrap()
}

impl Setting {
    fn new() -> Self {
        let (model, params) = case().fresh(DType::F64);
        let frozen = case().build(ParamBuilder::frozen(params.tensors(), DType::F64, &Device::Cpu)).0;
        let triple = |i| {
            let mut noise = NoiseStream::new(SEED, Stream::Times).at(i);
            let jump = TimeDistribution::Uniform {}.draw(&mut noise);
            MiddleTime::Uniform.draw(jump, &mut noise)
        };
        let triples: Vec<_> = (0..N as u64).map(triple).collect();
        Self {
            model,
            params,
            frozen: Arc::new(frozen),
            x0: normals(Stream::Base, N, DType::F64),
            x1: normals(Stream::Data, N, DType::F64),
            times: Times::new(&triples, DType::F64, &Device::Cpu).unwrap(),
        }
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            x0: &self.x0,
            x1: &self.x1,
            condition: Condition::default(),
            interpolant: &InterpolantKind::Linear,
            unit: 1.0,
        }
    }

    /// The losses of a method, with the frozen model for a teacher too.
    fn losses(&self, method: &impl Method) -> Tensor {
        let teacher = Teacher::Map(self.frozen.clone());
        let context = Context { teacher: Some(&teacher), ..Context::default() };
        let (model, frozen, batch) =
            (FlowMap::new(&self.model), FlowMap::new(self.frozen.as_ref()), self.batch());
        let pass = Pass::new(model, frozen, &batch, &self.times).within(context);
        method.loss(&pass).unwrap().tensor().clone()
    }

    /// The largest difference of two gradients of a parameter, relative to the largest component.
    fn gradients_differ(&self, found: &Tensor, expected: &Tensor) -> f64 {
        let gradients = |losses: &Tensor| losses.sum_all().unwrap().backward().unwrap();
        let (found, expected) = (gradients(found), gradients(expected));
        let differ = |var: &Tensor| relative(found.get(var).unwrap(), expected.get(var).unwrap());
        self.params.vars().values().map(|var| differ(var)).fold(0.0, f64::max)
    }
}

fn max_abs(x: &Tensor) -> f64 {
    x.abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    max_abs(&(found - expected).unwrap()) / max_abs(expected)
}

/// Holds values and gradients of two methods against each other.
#[track_caller]
fn are_the_same(setting: &Setting, a: &impl Method, b: &impl Method) {
    let (found, expected) = (setting.losses(a), setting.losses(b));
    assert!(relative(&found, &expected) < ROUNDING, "{a:?}, {b:?}: {:e}", relative(&found, &expected));
    let error = setting.gradients_differ(&found, &expected);
    assert!(error < ROUNDING, "{a:?}, {b:?}: gradients differ by {error:e}");
}

/// The loss is computed in velocities; the paper has it in maps, over both widths.
#[test]
fn soflow_compares_maps_over_the_widths_of_step_and_jump() {
    let r = 0.07;
    let setting = Setting::new();
    let soflow = setting.losses(&SoFlow { first: r, last: r, end: 1 });
    let by_hand = {
        let (s, t) = (setting.times.s.tensor(), setting.times.t.tensor());
        let width = (t - s).unwrap();
        let u = (s + (&width * r).unwrap()).unwrap();
        let (i_s, di_s) = (setting.batch().i(&setting.times.s), setting.batch().di(&setting.times.s));
        let (i_s, di_s) = (i_s.unwrap(), di_s.unwrap());
        let step = di_s.broadcast_mul(&(&u - s).unwrap().unsqueeze(1).unwrap()).unwrap();
        let x_ut = FlowMap::new(setting.frozen.as_ref()).jump(&u, t, &(&i_s + step).unwrap()).unwrap();
        let residual = (FlowMap::new(&setting.model).jump(s, t, &i_s).unwrap() - x_ut.detach()).unwrap();
        let weight = ((&u - s).unwrap() * &width).unwrap();
        (residual.sqr().unwrap().sum(1).unwrap() / weight).unwrap()
    };
    assert!(relative(&soflow, &by_hand) < ROUNDING, "{:e}", relative(&soflow, &by_hand));
    assert!(setting.gradients_differ(&soflow, &by_hand) < ROUNDING);
}

#[test]
fn split_mean_flow_is_progressive_self_distillation() {
    are_the_same(&Setting::new(), &SplitMeanFlow {}, &Psd::default());
    assert_eq!(SplitMeanFlow {}.middle(), MiddleTime::Uniform);
}

#[test]
fn minimal_stop_of_lsd_is_distillation_from_the_frozen_model() {
    let setting = Setting::new();
    are_the_same(&setting, &Lsd { stop: LsdStop::Parameters }, &Lmd { stop: LmdStop::None });
    // The argument carries a gradient that the whole stop cuts.
    let [minimal, whole] = [LsdStop::Parameters, LsdStop::Target].map(|stop| setting.losses(&Lsd { stop }));
    assert!(relative(&minimal, &whole) < ROUNDING);
    assert!(setting.gradients_differ(&minimal, &whole) > 1e-3);
}

#[test]
fn mean_flow_along_the_model_alone_has_the_gradient_of_improved_mean_flow() {
    let setting = Setting::new();
    are_the_same(&setting, &MeanFlow { beta: 0.0, ..MeanFlow::default() }, &ImprovedMeanFlow {});
}

/// A combination of one term whose derivatives are taken so.
fn taken(derivative: Derivative, objective: &Objective, setting: &Setting) -> Tensor {
    let term = Term { derivative, ..Term::new(objective.clone(), 1.0) };
    let teacher = Teacher::Map(setting.frozen.clone());
    let combination = Combination::new(vec![term]).unwrap().with_teacher(teacher);
    let key = StepKey { seed: SEED, ..StepKey::default() };
    combination.loss(&setting.model, setting.frozen.as_ref(), &setting.batch(), key).unwrap().total
}

#[test]
fn central_differences_give_the_losses_and_gradients_of_duals() {
    let setting = Setting::new();
    for objective in [
        Objective::Lsd(Lsd::default()),
        Objective::Lsd(Lsd { stop: LsdStop::Parameters }),
        Objective::Esd(Esd { stop: EsdStop::Velocity }),
        Objective::Esd(Esd { stop: EsdStop::None }),
        Objective::MeanFlow(MeanFlow::default()),
        Objective::ImprovedMeanFlow(ImprovedMeanFlow {}),
        Objective::Tvm(Tvm {}),
        Objective::Fmm(Fmm::default()),
        Objective::Lmd(Lmd::default()),
        Objective::Emd(Emd::default()),
    ] {
        let [dual, central] =
            [Derivative::Dual, Derivative::Central].map(|how| taken(how, &objective, &setting));
        let error = relative(&central, &dual);
        assert!(error < CENTRAL, "{objective:?}: {error:e}");
        let error = setting.gradients_differ(&central, &dual);
        assert!(error < 10.0 * CENTRAL, "{objective:?}: gradients differ by {error:e}");
        assert!(error > 0.0, "{objective:?} takes no derivative");
    }
}
