//! Small networks with every option of [`MlpConfig`], and inputs for them.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::Activation;
use flowmap_nn::net::{Conditioning, DataSpec, Mlp, MlpConfig};
use flowmap_nn::{OwnedCondition, ParamBuilder, Params};

const SEED: u64 = 7;
pub const SIGMA_DATA: f64 = 0.7;
/// Samples in the plane.
pub const DIM: usize = 2;

/// A network to build: its name in messages, its config and what it is conditional on.
pub struct Case {
    pub name: String,
    pub config: MlpConfig,
    pub conditioning: Conditioning,
}

/// The plain network, each option alone with every activation function, and all options together.
pub fn cases() -> Vec<Case> {
    let plain = MlpConfig { width: 8, hidden: 2, label_features: 3, ..MlpConfig::default() };
    let case = |name: &str, config: MlpConfig, n_classes: usize| Case {
        name: name.to_owned(),
        config,
        conditioning: n_classes.into(),
    };
    let guided = |case: Case| Case { conditioning: Conditioning::GuidedLabels(3), ..case };
    let mut cases = vec![
        case("one layer", MlpConfig { hidden: 0, ..plain.clone() }, 0),
        case("residual", MlpConfig { residual: true, ..plain.clone() }, 0),
        case("time features", MlpConfig { time_features: 2, ..plain.clone() }, 0),
        case("x features", MlpConfig { x_features: 3, x_scale: 1.0, ..plain.clone() }, 0),
        case("labels", plain.clone(), 3),
        guided(case("guidance", plain.clone(), 3)),
        guided(case("guidance with time features", MlpConfig { time_features: 2, ..plain.clone() }, 3)),
    ];
    for activation in Activation::ALL {
        cases.push(case(activation.name(), MlpConfig { activation, ..plain.clone() }, 0));
        let all =
            MlpConfig { residual: true, time_features: 2, x_features: 3, x_scale: 1.0, activation, ..plain };
        cases.push(case(&format!("everything with {activation}"), all, 3));
    }
    cases
}

impl Case {
    /// The network with parameters drawn anew.
    pub fn fresh(&self, dtype: DType) -> (Mlp, Params) {
        self.build(ParamBuilder::fresh(SEED, dtype, &Device::Cpu))
    }

    /// The network with the parameters of `builder`.
    pub fn build(&self, mut builder: ParamBuilder) -> (Mlp, Params) {
        let mlp = Mlp::new(
            &self.config,
            &DataSpec::of(&[DIM]).given(self.conditioning).with_sigma(SIGMA_DATA),
            &mut builder,
        )
        .unwrap();
        (mlp, builder.finish().unwrap())
    }

    /// Labels of `n` samples that use all rows of the embedding, the one for "none" too.
    pub fn labels(&self, n: usize) -> Option<Tensor> {
        let n_rows = self.null_label() + 1;
        let labels = (0..n as u32).map(|i| i % n_rows).collect::<Vec<_>>();
        (n_rows > 1).then(|| Tensor::from_vec(labels, n, &Device::Cpu).unwrap())
    }

    /// The label for "none".
    pub fn null_label(&self) -> u32 {
        self.conditioning.n_classes() as u32
    }

    /// Labels, with scales of guidance from 1 to 3 where the network takes them: 1 if there is no label.
    pub fn condition(&self, n: usize, dtype: DType) -> OwnedCondition {
        let null = self.null_label();
        let scale = |i: u32| if i % (null + 1) == null { 1.0 } else { 1.0 + 2.0 * f64::from(i) / n as f64 };
        let guidance = self.conditioning.takes_guidance().then(|| {
            let scales: Vec<f64> = (0..n as u32).map(scale).collect();
            Tensor::from_vec(scales, n, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
        });
        OwnedCondition { labels: self.labels(n), guidance, ..OwnedCondition::default() }
    }
}

/// `n` standard normal points, `(n, DIM)`.
pub fn normals(stream: Stream, n: usize, dtype: DType) -> Tensor {
    let mut values = vec![0.0; n * DIM];
    NoiseStream::new(SEED, stream).at(0).fill_normal(&mut values);
    Tensor::from_vec(values, (n, DIM), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}
