//! A model, its frozen copy, a flow to distill from and a batch, for methods that are held against one another.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, NoiseStream, Stream, TimeDistribution};
use flowmap_dual::Dual;
use flowmap_nn::method::{Context, Method, Pass};
use flowmap_nn::net::Mlp;
use flowmap_nn::{Batch, Condition, FlowMap, ParamBuilder, Params, Teacher, Times};

use crate::support::mlps::{Case, cases, normals};

/// Two orders of the same operations.
pub const ROUNDING: f64 = 1e-11;
pub const N: usize = 12;
/// Seed of parameters that stand for a moving average of others.
const AVERAGE_SEED: u64 = 8;

/// A model, the same off the tape, another one as the flow to distill from, and a batch.
pub struct Setting {
    pub model: Mlp,
    pub params: Params,
    pub frozen: Mlp,
    pub known: Teacher,
    pub x0: Tensor,
    pub x1: Tensor,
    pub interpolant: InterpolantKind,
    pub times: Times,
}

pub fn case() -> Case {
    cases().into_iter().find(|case| case.name == "x features").unwrap()
}

/// The network whose parameters are drawn anew and moved a little from those of [`Case::fresh`].
pub fn other_network() -> Mlp {
    let (_, params) = case().fresh(DType::F64);
    let moved = |t: &Tensor| (t * 0.8).unwrap();
    let tensors = params.tensors().iter().map(|(name, t)| (name.clone(), moved(t))).collect();
    case().build(ParamBuilder::frozen(tensors, DType::F64, &Device::Cpu)).0
}

impl Setting {
    pub fn new(interpolant: InterpolantKind, times: &TimeDistribution) -> Self {
        let (model, params) = case().fresh(DType::F64);
        let frozen = case().build(ParamBuilder::frozen(params.tensors(), DType::F64, &Device::Cpu)).0;
        let triple = |i| {
            let jump = times.draw(&mut NoiseStream::new(3, Stream::Times).at(i));
            let u = jump.s() + 0.5 * jump.width();
            flowmap_core::Times::forward(jump.s(), u, jump.t()).unwrap()
        };
        let triples: Vec<_> = (0..N as u64).map(triple).collect();
        Self {
            model,
            params,
            frozen,
            known: Teacher::Map(Arc::new(other_network())),
            x0: normals(Stream::Base, N, DType::F64),
            x1: normals(Stream::Data, N, DType::F64),
            interpolant,
            times: Times::new(&triples, DType::F64, &Device::Cpu).unwrap(),
        }
    }

    pub fn both() -> [Self; 2] {
        [InterpolantKind::Linear, InterpolantKind::Trigonometric]
            .map(|interpolant| Self::new(interpolant, &TimeDistribution::Uniform {}))
    }

    /// The same with other parameters off the tape, as a moving average has them.
    pub fn with_another_average(self) -> Self {
        let (frozen, _) = case().build(ParamBuilder::fresh(AVERAGE_SEED, DType::F64, &Device::Cpu));
        Self { frozen, ..self }
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch {
            x0: &self.x0,
            x1: &self.x1,
            condition: Condition::default(),
            interpolant: &self.interpolant,
            unit: 1.0,
        }
    }

    pub fn losses(&self, method: impl Method) -> Tensor {
        self.losses_with(method, &self.known, 0)
    }

    pub fn losses_with(&self, method: impl Method, known: &Teacher, step: u64) -> Tensor {
        let context = Context { teacher: Some(known), step, null_label: None };
        let (model, frozen) = (FlowMap::new(&self.model), FlowMap::new(&self.frozen));
        let losses = method.loss(&Pass::new(model, frozen, &self.batch(), &self.times).within(context));
        losses.unwrap().tensor().clone()
    }

    /// The model off the tape as the flow to distill from.
    pub fn itself(&self) -> Teacher {
        let tensors = self.params.tensors();
        Teacher::Map(Arc::new(case().build(ParamBuilder::frozen(tensors, DType::F64, &Device::Cpu)).0))
    }

    /// The sum of the losses as a function whose gradient is −2 sg[R]·X_{s,t}/(t − s), or with weights instead.
    ///
    /// R = ∂_s X + ∇X ṽ is the residual of the Eulerian equation along ṽ.
    pub fn semigradient(&self, velocity: &Tensor, weights: Option<Tensor>) -> Tensor {
        let (s, t) = (self.times.s.tensor(), self.times.t.tensor());
        let i_s = self.batch().i(&self.times.s).unwrap();
        let along = Dual::new(i_s.clone(), velocity.detach()).unwrap();
        let ds = Dual::variable(s.clone()).unwrap();
        let residual = FlowMap::new(&self.frozen).jump_dual(&ds, &t.into(), &along).unwrap();
        let residual = residual.tangent_or_zeros().unwrap().detach(); // sg[R]
        let x_st = FlowMap::new(&self.model).jump(s, t, &i_s).unwrap();
        let products = (residual * x_st).unwrap().sum(1).unwrap();
        let weights = weights.unwrap_or_else(|| ((t - s).unwrap().recip().unwrap() * -2.0).unwrap());
        (products * weights).unwrap()
    }

    pub fn assert_same_gradients(&self, found: &Tensor, expected: &Tensor, what: &str) {
        let gradients = |losses: &Tensor| losses.sum_all().unwrap().backward().unwrap();
        let (found, expected) = (gradients(found), gradients(expected));
        for (name, var) in self.params.vars() {
            let missing = || panic!("{what}: no gradient of {name}");
            let found = found.get(var).unwrap_or_else(missing);
            let expected = expected.get(var).unwrap_or_else(missing);
            let error = max_abs(&(found - expected).unwrap()) / max_abs(expected);
            assert!(error < ROUNDING, "{what}: gradient of {name} is off by {error:e}");
        }
    }

    pub fn assert_same(&self, found: &Tensor, expected: &Tensor, what: &str) {
        let error = max_abs(&(found - expected).unwrap()) / max_abs(expected);
        assert!(error < ROUNDING, "{what}: loss is off by {error:e}");
        self.assert_same_gradients(found, expected, what);
    }
}

pub fn max_abs(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}
