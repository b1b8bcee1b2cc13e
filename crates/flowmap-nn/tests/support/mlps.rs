//! Small networks with every option of [`MlpConfig`], and inputs for them.
#![allow(dead_code, clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::Activation;
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_nn::{ParamBuilder, Params};

const SEED: u64 = 7;
pub const SIGMA_DATA: f64 = 0.7;
/// Samples in the plane.
pub const DIM: usize = 2;

/// A network to build: its name in messages, its config and its number of classes.
pub struct Case {
    pub name: String,
    pub config: MlpConfig,
    pub n_classes: usize,
}

/// The plain network, each option alone with every activation function, and all options together.
pub fn cases() -> Vec<Case> {
    let plain = MlpConfig { width: 8, hidden: 2, label_features: 3, ..MlpConfig::default() };
    let case = |name: &str, config: MlpConfig, n_classes| Case { name: name.to_owned(), config, n_classes };
    let mut cases = vec![
        case("one layer", MlpConfig { hidden: 0, ..plain.clone() }, 0),
        case("residual", MlpConfig { residual: true, ..plain.clone() }, 0),
        case("time features", MlpConfig { time_features: 2, ..plain.clone() }, 0),
        case("x features", MlpConfig { x_features: 3, x_scale: 1.0, ..plain.clone() }, 0),
        case("labels", plain.clone(), 3),
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
        let mlp = Mlp::new(&self.config, &[DIM], self.n_classes, SIGMA_DATA, &mut builder).unwrap();
        (mlp, builder.finish().unwrap())
    }

    /// Labels of `n` samples that use all rows of the embedding, the one for "none" too.
    pub fn labels(&self, n: usize) -> Option<Tensor> {
        let n_rows = self.n_classes as u32 + 1;
        let labels = (0..n as u32).map(|i| i % n_rows).collect::<Vec<_>>();
        (self.n_classes > 0).then(|| Tensor::from_vec(labels, n, &Device::Cpu).unwrap())
    }
}

/// `n` standard normal points, `(n, DIM)`.
pub fn normals(stream: Stream, n: usize, dtype: DType) -> Tensor {
    let mut values = vec![0.0; n * DIM];
    NoiseStream::new(SEED, stream).at(0).fill_normal(&mut values);
    Tensor::from_vec(values, (n, DIM), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}
