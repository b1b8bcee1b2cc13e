//! Networks and objectives: the same parameters in f64 on the CPU, and in f32 and as `precision = "bf16"` on the device.
//!
//! A network gives X_{s,t}, ∂_t X_{s,t} and ∇X_{s,t}·w, and the gradients of a random sum of them in all parameters;
//! an objective its loss and the gradients of that.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use flowmap_benches::random::normal;
use flowmap_core::InterpolantKind;
use flowmap_core::exact::{Component, Covariance, MixtureFlow};
use flowmap_nn::loss::Combination;
use flowmap_nn::method::{Card, METHODS, Method};
use flowmap_nn::net::DataSpec;
use flowmap_nn::net::Precision;
use flowmap_nn::{
    AverageVelocity, Batch, Condition, ExactField, FlowMap, MixtureField, ParamBuilder, Params, StepKey,
    Teacher, VelocityField, loss_and_gradient,
};
use flowmap_train::{Config, ConfigSource, Recipe, resolve};

use crate::distance::{BF16, F32, Results};
use crate::report::Report;

/// Samples, a multiple of nothing.
const N: usize = 101;
/// Classes of the networks that take labels.
const N_CLASSES: usize = 3;

/// A network by name: the preset and the changes that make it, and the shape of a sample.
struct Case {
    name: &'static str,
    preset: &'static str,
    sets: &'static [&'static str],
    shape: &'static [usize],
    n_classes: usize,
}

const PLANE: &[usize] = &[2];

/// What networks compute in, with parameters, times, statistics and losses in f32: its name, and how far off it may be.
const PRECISIONS: [(Precision, &str, f64); 2] =
    [(Precision::F32, "", F32), (Precision::Bf16, ", bf16", BF16)];

const NETWORKS: &[Case] = &[
    Case {
        name: "mlp, the paper's form",
        preset: "checkerboard",
        sets: &["network.width=61", "network.x_features=0", "network.time_features=0"],
        shape: PLANE,
        n_classes: 0,
    },
    Case {
        name: "mlp, features, residual, silu",
        preset: "checkerboard",
        sets: &[
            "network.width=61",
            "network.x_features=7",
            "network.time_features=5",
            "network.residual=true",
            "network.activation=silu",
        ],
        shape: PLANE,
        n_classes: 0,
    },
    Case {
        name: "mlp, images with labels, gelu_erf",
        preset: "digits",
        sets: &["network.width=61", "network.activation=gelu_erf"],
        shape: &[1, 8, 8],
        n_classes: N_CLASSES,
    },
    Case {
        name: "dit, rope, qk-norm",
        preset: "imagenet-latent-meanflow-b4",
        sets: &[
            "network.patch=2",
            "network.depth=2",
            "network.width=36",
            "network.heads=3",
            "network.positions=rope",
            "network.qk_norm=rms",
        ],
        shape: &[4, 8, 8],
        n_classes: N_CLASSES,
    },
    Case {
        name: "edm2 unet",
        preset: "cifar10",
        sets: &[
            "network.channels=12",
            "network.channel_mult=[1,2]",
            "network.blocks=1",
            "network.attention=[4]",
            "network.head_channels=6",
        ],
        shape: &[3, 8, 8],
        n_classes: N_CLASSES,
    },
    Case {
        name: "ddpm++ unet",
        preset: "cifar10-meanflow",
        sets: &[
            "network.channels=12",
            "network.channel_mult=[1,2]",
            "network.blocks=1",
            "network.attention=[4]",
        ],
        shape: &[3, 8, 8],
        n_classes: N_CLASSES,
    },
    Case {
        name: "compact unet",
        preset: "digits-unet",
        sets: &["network.channels=[16,24]", "network.patch=1"],
        shape: &[1, 8, 8],
        n_classes: N_CLASSES,
    },
];

/// Checks every network on `device`.
pub fn check_networks(device: &Device, report: &mut Report) {
    for case in NETWORKS {
        for (precision, suffix, tolerance) in PRECISIONS {
            let name = format!("{}{suffix}", case.name);
            report.add_error("network", name, case.distance(precision, device), tolerance);
        }
    }
}

/// Checks every objective on `device`.
pub fn check_objectives(device: &Device, report: &mut Report) {
    for card in METHODS {
        for (precision, suffix, tolerance) in PRECISIONS {
            let name = format!("{}{suffix}", card.name);
            report.add_error("objective", name, distance_of(card, precision, device), tolerance);
        }
    }
    for interpolant in InterpolantKind::ALL {
        let name = format!("exact velocity, {interpolant}");
        report.add_error("objective", name, distance_of_exact(interpolant, device), F32);
    }
}

/// A network with its parameters.
type Built = (Box<dyn AverageVelocity>, Params);

impl Case {
    fn config(&self) -> Result<Config> {
        let mut layers = vec![ConfigSource::preset(self.preset)?];
        for set in self.sets {
            layers.push(ConfigSource::set(set)?);
        }
        Ok(resolve(&layers)?)
    }

    fn distance(&self, precision: Precision, device: &Device) -> Result<f64> {
        let config = self.config()?;
        let build = |mut builder: ParamBuilder| -> Result<Built> {
            let net = config
                .network
                .build(&DataSpec::of(self.shape).given(self.n_classes).with_sigma(0.7), &mut builder)?;
            Ok((net, builder.finish()?))
        };
        let (_, fresh) = build(ParamBuilder::fresh(1, DType::F32, &Device::Cpu))?;
        // Some networks begin with layers of zeros, behind which every gradient is zero.
        for (var, key) in fresh.vars().values().zip(9..) {
            var.set(
                &(normal(key, var.dims().to_vec(), 0.05)?.to_dtype(DType::F32)? + var.as_detached_tensor())?,
            )?;
        }
        let results = |precision, dtype: DType, device: &Device| -> Result<Results> {
            let builder = ParamBuilder::trainable(on(&fresh, dtype, device)?, dtype, device);
            let (net, params) = build(builder.with_precision(precision))?;
            self.results(net.as_ref(), &params, config.network.augment_dim(), dtype, device)
        };
        let oracle = results(Precision::F32, DType::F64, &Device::Cpu)?;
        results(precision, DType::F32, device)?.distance(&oracle)
    }

    fn results(
        &self,
        net: &dyn AverageVelocity,
        params: &Params,
        augment_dim: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Results> {
        let dims: Vec<usize> = [N].iter().chain(self.shape).copied().collect();
        let draw = |key: u64| -> Result<Tensor> {
            Ok(normal(key, dims.clone(), 1.0)?.to_dtype(dtype)?.to_device(device)?)
        };
        let (s, t) = times(dtype, device)?;
        let labels = labels(self.n_classes, device)?;
        // Not every driver gives a device a tensor without numbers.
        let augment = match augment_dim {
            0 => None,
            _ => Some(normal(7, (N, augment_dim), 1.0)?.to_dtype(dtype)?.to_device(device)?),
        };
        let condition =
            Condition { labels: labels.as_ref(), augment: augment.as_ref(), ..Condition::default() };
        let map = FlowMap::given(net, condition);
        let (x, w) = (draw(1)?, draw(2)?);
        let (x_st, dt_x_st) = map.jump_dt(&s, &t, &x)?;
        let (_, jvp) = map.jvp(&s, &t, &x, &w)?;
        let values = [x_st, dt_x_st, jvp];
        let mut loss = Tensor::zeros((), dtype, device)?;
        for (key, value) in (3..).zip(&values) {
            loss = (loss + (value * draw(key)?)?.sum_all()?)?;
        }
        let store = loss.backward()?;
        let gradients = params.vars().values().filter_map(|var| store.get(var)).map(Tensor::detach).collect();
        Ok(Results { values: values.iter().map(Tensor::detach).collect(), gradients })
    }
}

/// The distance of the loss of a method, and of its gradients, from the oracle.
fn distance_of(card: &Card, precision: Precision, device: &Device) -> Result<f64> {
    let recipe = Recipe::of(card.name)?;
    let mut layers = vec![ConfigSource::preset("checkerboard")?];
    if let Some(interpolant) = recipe.terms().iter().find_map(|term| term.objective.needs().interpolant) {
        layers.push(ConfigSource::set(&format!("interpolant=\"{interpolant}\""))?);
    }
    if recipe.needs_teacher() {
        // Names where a run would find the teacher; here it is made below, and no file is read.
        layers.push(ConfigSource::set("teacher={kind=\"model\",path=\"teacher\"}")?);
    }
    for set in ["network.width=61", "network.x_features=0", "network.time_features=0"] {
        layers.push(ConfigSource::set(set)?);
    }
    layers.push(recipe.layer()?);
    let config = resolve(&layers)?;
    let plane = DataSpec::of(PLANE).given(N_CLASSES);
    let fresh = |seed| -> Result<Params> {
        let mut builder = ParamBuilder::fresh(seed, DType::F32, &Device::Cpu);
        config.network.build(&plane, &mut builder)?;
        Combination::new(config.objective.clone())?.with_learned_weights(&mut builder)?;
        Ok(builder.finish()?)
    };
    let (student, known) = (fresh(1)?, fresh(2)?);
    let results = |precision, dtype: DType, device: &Device| -> Result<Results> {
        let network = |builder: &mut ParamBuilder| config.network.build(&plane, builder);
        let mut builder =
            ParamBuilder::trainable(on(&student, dtype, device)?, dtype, device).with_precision(precision);
        let net = network(&mut builder)?;
        let mut objective = Combination::new(config.objective.clone())?.with_learned_weights(&mut builder)?;
        let params = builder.finish()?;
        let stopped = |tensors| ParamBuilder::frozen(tensors, dtype, device).with_precision(precision);
        let live = network(&mut stopped(params.tensors()))?;
        let frozen = network(&mut stopped(on(&known, dtype, device)?))?;
        objective = objective.with_null_label(N_CLASSES as u32).with_teacher(Teacher::Map(Arc::from(frozen)));
        let draw = |key: u64| -> Result<Tensor> {
            Ok(normal(key, (N, 2), 1.0)?.to_dtype(dtype)?.to_device(device)?)
        };
        let (x0, x1, labels) = (draw(1)?, draw(2)?, labels(N_CLASSES, device)?);
        let condition: Condition<'_> = labels.as_ref().into();
        let batch = Batch { x0: &x0, x1: &x1, condition, interpolant: &config.interpolant, unit: 1.0 };
        let key = StepKey { seed: 3, ..StepKey::default() };
        let found = loss_and_gradient(&objective, &*net, &*live, &params, &batch, key)?;
        let gradients =
            params.vars().values().filter_map(|var| found.gradients.get(var)).map(Tensor::detach).collect();
        Ok(Results { values: vec![Tensor::new(found.losses.read()?.loss, &Device::Cpu)?], gradients })
    };
    let oracle = results(Precision::F32, DType::F64, &Device::Cpu)?;
    results(precision, DType::F32, device)?.distance(&oracle)
}

/// The distance of the exact velocity of a mixture, and of its gradient in the points, from flowmap-core's.
fn distance_of_exact(interpolant: InterpolantKind, device: &Device) -> Result<f64> {
    let part = |x: f64, std: f64| Component {
        weight: std,
        mean: vec![x, 0.5 * x],
        covariance: Covariance::Isotropic(std),
    };
    let parts = [part(-1.0, 0.2), part(0.1, 0.5), part(1.0, 0.3)];
    let results = |field: &dyn VelocityField, dtype: DType, device: &Device| -> Result<Results> {
        let (_, t) = times(dtype, device)?;
        let x = Var::from_tensor(&normal(1, (N, 2), 1.0)?.to_dtype(dtype)?.to_device(device)?)?;
        let b_t = field.velocity(&t, &x, Condition::default())?;
        let gradients = b_t.sqr()?.sum_all()?.backward()?.remove(&x).into_iter().collect();
        Ok(Results { values: vec![b_t.detach()], gradients })
    };
    let exact = ExactField::new(MixtureFlow::new(interpolant.clone(), 1.0, &parts)?);
    let field = MixtureField::new(interpolant, 1.0, &parts, device)?;
    results(&field, DType::F32, device)?.distance(&results(&exact, DType::F64, &Device::Cpu)?)
}

/// All tensors in another type on another device.
pub fn on(params: &Params, dtype: DType, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let moved = |(name, x): (String, Tensor)| Ok((name, x.to_dtype(dtype)?.to_device(device)?));
    params.tensors().into_iter().map(moved).collect()
}

/// Pairs s <= t, the last one on the diagonal.
fn times(dtype: DType, device: &Device) -> Result<(Tensor, Tensor)> {
    let s: Vec<f32> = (0..N).map(|i| i as f32 / N as f32 * 0.5).collect();
    let t: Vec<f32> = (0..N).map(|i| if i + 1 == N { s[i] } else { s[i] + 0.4 }).collect();
    let column = |x: &[f32]| Tensor::new(x, device)?.to_dtype(dtype);
    Ok((column(&s)?, column(&t)?))
}

fn labels(n_classes: usize, device: &Device) -> Result<Option<Tensor>> {
    let labels = (0..N as u32).map(|i| i % n_classes as u32);
    Ok(match n_classes {
        0 => None,
        _ => Some(Tensor::from_iter(labels, device)?),
    })
}
