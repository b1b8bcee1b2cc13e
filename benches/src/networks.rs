//! Networks of images: a forward pass, the same with a tangent, and a whole training step.
//!
//! Passes run in tiles of a few samples each, in parallel, as training and sampling run them.
//! The step is flow matching on three quarters of the batch and LSD on the rest ([`default_terms`]), with AdamW.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use flowmap_core::Linear;
use flowmap_dual::{Dual, PackedWeights};
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::{FlowMatching, Lsd, LsdStop, Objective};
use flowmap_nn::net::{
    DataSpec, DdpmPpSize, DdpmPpUNetConfig, DitConfig, DitSize, Edm2Size, Edm2UNetConfig, NetworkConfig,
    SecondTime, UNetConfig,
};
use flowmap_nn::optim::{AdamW, Optimizer};
use flowmap_nn::{
    AverageVelocity, Batch, Condition, ParamBuilder, Params, StepKey, loss_and_gradient, tile_rows,
};
use rayon::prelude::*;

use crate::random::normal;

/// Learning rate; small, so that nothing diverges.
const LR: f64 = 1e-4;
/// Weight decay per unit of learning rate.
const WEIGHT_DECAY: f64 = 1e-2;
/// Classes of the labels.
const N_CLASSES: usize = 10;

/// A network with the samples it is for.
pub struct NetworkSpec {
    /// The name in ids.
    pub name: &'static str,
    /// Shape of a sample.
    pub shape: [usize; 3],
    /// Samples of a pass.
    pub batch: usize,
    /// Which network.
    pub config: fn() -> NetworkConfig,
}

/// All networks.
pub const NETWORKS: &[NetworkSpec] = &[
    NetworkSpec {
        name: "unet",
        shape: [1, 28, 28],
        batch: 64,
        config: || NetworkConfig::UNet(UNetConfig::default()),
    },
    NetworkSpec {
        name: "unet_everywhere",
        shape: [1, 28, 28],
        batch: 64,
        config: || {
            let second_time = SecondTime::Everywhere;
            NetworkConfig::UNet(UNetConfig { second_time, ..UNetConfig::default() })
        },
    },
    NetworkSpec {
        name: "dit",
        shape: [4, 16, 16],
        batch: 32,
        config: || NetworkConfig::Dit(DitConfig { depth: 2, ..DitConfig::new(DitSize::S, 2) }),
    },
    NetworkSpec {
        name: "edm2_unet",
        shape: [1, 28, 28],
        batch: 32,
        config: || NetworkConfig::Edm2UNet(Edm2UNetConfig::new(Edm2Size::Tiny)),
    },
    NetworkSpec {
        name: "ddpmpp_unet",
        shape: [1, 28, 28],
        batch: 32,
        config: || NetworkConfig::DdpmPpUNet(DdpmPpUNetConfig::new(DdpmPpSize::Tiny)),
    },
];

/// Which derivative a pass carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// None.
    Plain,
    /// ∂_t.
    End,
    /// ∂_s.
    Start,
    /// In space.
    Point,
}

impl Direction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::End, Self::Start, Self::Point];

    /// The name in ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "forward",
            Self::End => "dt",
            Self::Start => "ds",
            Self::Point => "dx",
        }
    }
}

/// The objective of the presets of images.
pub fn default_terms() -> Vec<Term> {
    vec![
        Term::new(Objective::FlowMatching(FlowMatching {}), 0.75),
        Term::new(Objective::Lsd(Lsd { stop: LsdStop::Target }), 0.25),
    ]
}

/// A network, its optimizer and a batch.
pub struct NetworkBench {
    model: Box<dyn AverageVelocity>,
    teacher: Box<dyn AverageVelocity>,
    params: Params,
    optimizer: AdamW,
    combination: Combination,
    x0: Tensor,
    x1: Tensor,
    labels: Tensor,
    times: [Tensor; 2],
    n_steps: u64,
    flop: f64,
}

impl NetworkBench {
    /// Makes the network of `spec` and a batch of `batch` samples, to be trained by `terms`.
    ///
    /// # Errors
    /// As the networks.
    pub fn new(spec: &NetworkSpec, batch: usize, terms: Vec<Term>) -> Result<Self> {
        let config = (spec.config)();
        let build = |mut builder: ParamBuilder| -> Result<_> {
            let net =
                config.build(&DataSpec::of(&spec.shape).given(N_CLASSES).with_sigma(0.5), &mut builder)?;
            Ok((net, builder.finish()?))
        };
        // What begins at zero gets numbers, so that nothing is skipped for being zero.
        let (_, fresh) = build(ParamBuilder::fresh(1, DType::F32, &Device::Cpu))?;
        let moved = |(i, (name, tensor)): (usize, (String, Tensor))| -> Result<_> {
            Ok((name, (&tensor + normal(i as u64, tensor.dims(), 0.02)?)?))
        };
        let tensors = fresh.copied_tensors()?.into_iter().enumerate().map(moved).collect::<Result<_>>()?;
        let (model, params) = build(ParamBuilder::trainable(tensors, DType::F32, &Device::Cpu))?;
        let (teacher, _) = build(ParamBuilder::frozen(params.tensors(), DType::F32, &Device::Cpu))?;
        let dims = [&[batch][..], &spec.shape].concat();
        let labels = (0..batch as u32).map(|i| i % N_CLASSES as u32).collect::<Vec<_>>();
        let time = |at: f32| Tensor::full(at, batch, &Device::Cpu);
        Ok(Self {
            model,
            teacher,
            optimizer: AdamW::new(&params, 0.9, 0.999, 1e-8, WEIGHT_DECAY)?,
            params,
            combination: Combination::new(terms)?,
            x0: normal(1, &dims[..], 0.5)?,
            x1: normal(2, &dims[..], 0.5)?,
            labels: Tensor::from_vec(labels, batch, &Device::Cpu)?,
            times: [time(0.3)?, time(0.8)?],
            n_steps: 0,
            flop: config.outline(&DataSpec::of(&spec.shape).given(N_CLASSES))?.cost.flop(),
        })
    }

    /// Floating-point operations of a plain forward pass of one sample.
    pub fn flop_per_sample(&self) -> f64 {
        self.flop
    }

    /// A pass off the tape.
    ///
    /// # Errors
    /// As the network.
    pub fn pass(&self, direction: Direction) -> Result<()> {
        let n = self.x0.dim(0)?;
        let rows = tile_rows(self.x0.elem_count() / n.max(1));
        let packed = PackedWeights::default();
        (0..n.div_ceil(rows)).into_par_iter().try_for_each(|tile| -> Result<()> {
            let (start, len) = (tile * rows, rows.min(n - tile * rows));
            let part = |x: &Tensor| x.narrow(0, start, len);
            let dual = |x: &Tensor, along: &Tensor, is_moved: bool| -> Result<Dual> {
                let (x, along) = (part(x)?, part(along)?);
                Ok(if is_moved { Dual::new(x, along)? } else { Dual::constant(x) })
            };
            let ones = self.times[0].ones_like()?;
            let s = dual(&self.times[0], &ones, direction == Direction::Start)?;
            let t = dual(&self.times[1], &ones, direction == Direction::End)?;
            let x = dual(&self.x0, &self.x1, direction == Direction::Point)?;
            let labels = part(&self.labels)?;
            packed.share(|| self.teacher.average_velocity(&s, &t, &x, Condition::labels(&labels)))?;
            Ok(())
        })
    }

    /// A training step.
    ///
    /// # Errors
    /// As the networks.
    pub fn step(&mut self) -> Result<()> {
        let condition = Condition::labels(&self.labels);
        let batch = Batch { x0: &self.x0, x1: &self.x1, condition, interpolant: &Linear, unit: 1.0 };
        let key = StepKey::of_step(1, self.n_steps, self.x0.dim(0)?);
        let result =
            loss_and_gradient(&self.combination, &*self.model, &*self.teacher, &self.params, &batch, key)?;
        self.optimizer.step(&result.gradients, LR, 1.0)?;
        self.params.project()?;
        self.n_steps += 1;
        Ok(())
    }
}
