//! Losses and parameter gradients against numbers from an independent implementation, in f64.
//!
//! Reads every file of `FLOWMAP_GOLDEN_DIR`, by default `tests/golden/`; its README says how they were made.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use flowmap_core::InterpolantKind;
use flowmap_nn::method::{
    Context, Emd, EmdStop, Esd, EsdStop, FlowMatching, Fmm, FmmLaw, Lmd, LmdStop, Lsd, LsdStop, MeanFlow,
    MeanFlowVelocity, Method, Objective, Pass, Pfmm, Psd, PsdForm, PsdStop,
};
use flowmap_nn::net::{DataSpec, Mlp, MlpConfig};
use flowmap_nn::{Batch, Condition, FlowMap, ParamBuilder, Params, Teacher, TimeColumn, Times};
use safetensors::SafeTensors;

/// Both sides compute in f64; what is left is the order of summation.
const TOLERANCE: f64 = 1e-10;

/// One file: its tensors and its metadata.
struct Golden {
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        Self { tensors, metadata: header.metadata().clone().unwrap() }
    }

    fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("tensor `{name}` is missing"))
    }

    fn metadata(&self, key: &str) -> &str {
        self.metadata.get(key).unwrap_or_else(|| panic!("metadata `{key}` is missing"))
    }

    fn times(&self, name: &str) -> TimeColumn {
        TimeColumn::new(self.tensor(name).to_vec1().unwrap(), DType::F64, &Device::Cpu).unwrap()
    }

    /// The tensors whose names start with `prefix`, without it.
    fn network_tensors(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let strip = |(name, t): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()));
        self.tensors.iter().filter_map(strip).collect()
    }

    fn mlp(&self, mut builder: ParamBuilder) -> (Mlp, Params) {
        let n_layers: usize = self.metadata("layers").parse().unwrap();
        let dim = self.tensor("input.x0").dim(1).unwrap();
        let config = MlpConfig {
            width: self.tensor("param.layers.0.bias").elem_count(),
            hidden: n_layers - 2,
            activation: parse(self.metadata("activation")),
            ..MlpConfig::default()
        };
        let sigma_data = self.metadata("sigma_data").parse().unwrap();
        let mlp = Mlp::new(&config, &DataSpec::of(&[dim]).with_sigma(sigma_data), &mut builder).unwrap();
        (mlp, builder.finish().unwrap())
    }
}

/// A value of a config by its name.
fn parse<T: serde::de::DeserializeOwned>(name: &str) -> T {
    use serde::de::IntoDeserializer;
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    T::deserialize(name).unwrap()
}

/// The objective that a file names; `None` if it is not built.
fn objective(name: &str) -> Option<Objective> {
    let esd = |stop| Objective::Esd(Esd { stop });
    let psd = |form, stop| Objective::Psd(Psd { form, stop });
    Some(match name {
        "flow_matching" => Objective::FlowMatching(FlowMatching {}),
        "lsd.stop_teacher" => Objective::Lsd(Lsd { stop: LsdStop::Target }),
        "lsd.stop_none" => Objective::Lsd(Lsd { stop: LsdStop::None }),
        "esd.stop_advection" => esd(EsdStop::Advection),
        "esd.stop_velocity" => esd(EsdStop::Velocity),
        "esd.stop_none" => esd(EsdStop::None),
        "psd.velocity.stop_teacher" => psd(PsdForm::Velocity, PsdStop::Target),
        "psd.velocity.stop_none" => psd(PsdForm::Velocity, PsdStop::None),
        "psd.map.stop_teacher" => psd(PsdForm::Map, PsdStop::Target),
        "psd.map.stop_none" => psd(PsdForm::Map, PsdStop::None),
        "mean_flow" => Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 }),
        "mean_flow_self" => Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Model, beta: 1.0 }),
        "lmd" => Objective::Lmd(Lmd { stop: LmdStop::None }),
        "emd.stop_none" => Objective::Emd(Emd { stop: EmdStop::None }),
        "emd.stop_advection" => Objective::Emd(Emd { stop: EmdStop::Advection }),
        "fmm" => Objective::Fmm(Fmm { law: FmmLaw::Lagrangian, inversion: 1.0 }),
        "pfmm" => Objective::Pfmm(Pfmm { n_steps: 2 }),
        _ => return None,
    })
}

/// Largest absolute difference over largest absolute value.
fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    let max =
        |x: &Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
    max(&(found - expected).unwrap()) / max(expected).max(f64::MIN_POSITIVE)
}

fn check(path: &Path) {
    let golden = Golden::read(path);
    let name = golden.metadata("objective");
    let Some(objective) = objective(name) else {
        panic!("{}: objective `{name}` is not built", path.display())
    };
    let interpolant: InterpolantKind = golden.metadata("interpolant").parse().unwrap();

    let (model, params) =
        golden.mlp(ParamBuilder::trainable(golden.network_tensors("param."), DType::F64, &Device::Cpu));
    // Self-distillation: the teacher is the model itself off the tape.
    let (teacher, _) = golden.mlp(ParamBuilder::frozen(params.tensors(), DType::F64, &Device::Cpu));

    let (x0, x1) = (golden.tensor("input.x0"), golden.tensor("input.x1"));
    let batch = Batch { x0, x1, condition: Condition::default(), interpolant: &interpolant, unit: 1.0 };
    let times = Times::of(golden.times("input.s"), golden.times("input.u"), golden.times("input.t"));
    // Distillation: the known flow is the second network.
    let known = objective.needs().teacher.is_some().then(|| {
        let tensors = golden.network_tensors("teacher.");
        Teacher::Map(Arc::new(golden.mlp(ParamBuilder::frozen(tensors, DType::F64, &Device::Cpu)).0))
    });
    let context = Context { teacher: known.as_ref(), ..Context::default() };
    let (model, teacher) = (FlowMap::new(&model), FlowMap::new(&teacher));
    let losses = objective.loss(&Pass::new(model, teacher, &batch, &times).within(context)).unwrap();
    let loss = losses.mean().unwrap();

    let error = relative(&loss.reshape(1).unwrap(), golden.tensor("expect.loss"));
    assert!(error < TOLERANCE, "{}: loss is off by {error:e}", path.display());
    let gradients = loss.backward().unwrap();
    for (name, var) in params.vars() {
        let gradient =
            gradients.get(var).unwrap_or_else(|| panic!("{}: no gradient for {name}", path.display()));
        let error = relative(gradient, golden.tensor(&format!("expect.grad.{name}")));
        assert!(error < TOLERANCE, "{}: gradient of {name} is off by {error:e}", path.display());
    }
}

#[test]
fn losses_and_gradients_agree_with_the_independent_implementation() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let dir = std::env::var_os("FLOWMAP_GOLDEN_DIR").map_or(default, PathBuf::from);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    assert!(!paths.is_empty(), "{}: no golden files", dir.display());
    let failures: Vec<_> =
        paths.iter().filter(|path| std::panic::catch_unwind(|| check(path)).is_err()).collect();
    assert!(failures.is_empty(), "{} of {} files failed: {failures:#?}", failures.len(), paths.len());
}
