//! The MLP against its formula, written out sample by sample and number by number.
//!
//! v = σ · MLP( [s, t, x/σ, cos(kπs), cos(kπt), sin(Ω x/σ), cos(Ω x/σ), g, cos(kπg), embedding of the label] ),
//! g = 1 − 1/w

use std::collections::BTreeMap;
use std::f64::consts::PI;

use candle_core::{DType, Device, Tensor};
use flowmap_core::Stream;
use flowmap_dual::{Activation, Dual};
use flowmap_nn::FlowMap;

use crate::support::mlps::{Case, SIGMA_DATA, cases, normals};

/// Two orders of summation of the same numbers.
const ROUNDING: f64 = 1e-13;
const N: usize = 8;

/// The tensors of a network as nested lists.
struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    fn matrix(&self, name: &str) -> Vec<Vec<f64>> {
        self.0[name].to_vec2().unwrap()
    }

    /// W h + b of layer i.
    fn linear(&self, i: usize, h: &[f64]) -> Vec<f64> {
        let bias: Vec<f64> = self.0[&format!("layers.{i}.bias")].to_vec1().unwrap();
        let rows = self.matrix(&format!("layers.{i}.weight"));
        rows.iter().zip(bias).map(|(row, b)| b + dot(row, h)).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The activation functions themselves have their own tests.
fn activate(activation: Activation, h: &[f64]) -> Vec<f64> {
    let h = Dual::constant(Tensor::new(h, &Device::Cpu).unwrap());
    h.activate(activation).unwrap().primal().to_vec1().unwrap()
}

/// v_{s,t}(x) of one sample.
fn by_hand(
    case: &Case,
    weights: &Weights,
    s: f64,
    t: f64,
    x: &[f64],
    (label, w): (Option<u32>, Option<f64>),
) -> Vec<f64> {
    let config = &case.config;
    let x: Vec<f64> = x.iter().map(|x| x / SIGMA_DATA).collect();
    let mut h = [&[s, t], &x[..]].concat();
    for time in [s, t] {
        h.extend((1..=config.time_features).map(|k| (PI * k as f64 * time).cos()));
    }
    if config.x_features > 0 {
        let frequencies = weights.matrix("x_frequencies");
        let phases: Vec<f64> = frequencies.iter().map(|row| dot(row, &x)).collect();
        h.extend(phases.iter().map(|phase| phase.sin()));
        h.extend(phases.iter().map(|phase| phase.cos()));
    }
    if let Some(w) = w {
        let g = 1.0 - 1.0 / w;
        h.push(g);
        h.extend((1..=config.time_features).map(|k| (PI * k as f64 * g).cos()));
    }
    if let Some(label) = label {
        h.extend(&weights.matrix("label_embedding.weight")[label as usize]);
    }
    h = activate(config.activation, &weights.linear(0, &h));
    for i in 1..=config.hidden {
        let y = activate(config.activation, &weights.linear(i, &h));
        let skip = if config.residual { 1.0 } else { 0.0 };
        h = h.iter().zip(y).map(|(h, y)| skip * h + y).collect();
    }
    weights.linear(config.hidden + 1, &h).iter().map(|v| SIGMA_DATA * v).collect()
}

#[test]
fn network_with_every_option_is_its_formula() {
    for case in cases() {
        let (net, params) = case.fresh(DType::F64);
        // Biases start at zero, where they would hide.
        for (name, var) in params.vars().iter().filter(|(name, _)| name.ends_with("bias")) {
            let bias: Vec<f64> = (0..var.elem_count()).map(|i| 0.3 - 0.1 * i as f64).collect();
            var.set(&Tensor::new(&bias[..], &Device::Cpu).unwrap()).unwrap();
            assert!(name.starts_with("layers."));
        }
        let weights = Weights(params.tensors());
        let condition = case.condition(N, DType::F64);
        let x = normals(Stream::Base, N, DType::F64);
        let times = |from: f64| (0..N).map(|i| from + 0.07 * i as f64).collect::<Vec<_>>();
        let (s, t) = (times(0.02), times(0.4));
        let column = |times: &[f64]| Tensor::new(times, &Device::Cpu).unwrap();
        let map = FlowMap::given(&net, &condition);
        let found = map.average_velocity(&column(&s), &column(&t), &x).unwrap().to_vec2::<f64>().unwrap();
        let labels = condition.labels.map(|labels| labels.to_vec1::<u32>().unwrap());
        let scales = condition.guidance.map(|scales| scales.to_vec1::<f64>().unwrap());
        for (i, x) in x.to_vec2::<f64>().unwrap().iter().enumerate() {
            let told = (labels.as_ref().map(|labels| labels[i]), scales.as_ref().map(|scales| scales[i]));
            let expected = by_hand(&case, &weights, s[i], t[i], x, told);
            for (found, expected) in found[i].iter().zip(&expected) {
                let error = (found - expected).abs();
                assert!(error < ROUNDING * expected.abs().max(1.0), "{}: off by {error:e}", case.name);
            }
        }
    }
}

#[test]
fn parameters_have_the_names_and_shapes_of_the_format() {
    let case = cases().into_iter().find(|case| case.name == "everything with silu").unwrap();
    let (_, params) = case.fresh(DType::F32);
    let shapes: Vec<_> = params.tensors().into_iter().map(|(name, t)| (name, t.dims().to_vec())).collect();
    let d_in = 2 + 2 + 2 * 2 + 2 * 3 + 3; // times, x, their features, embedding
    let expected = [
        ("label_embedding.weight", vec![4, 3]),
        ("layers.0.bias", vec![8]),
        ("layers.0.weight", vec![8, d_in]),
        ("layers.1.bias", vec![8]),
        ("layers.1.weight", vec![8, 8]),
        ("layers.2.bias", vec![8]),
        ("layers.2.weight", vec![8, 8]),
        ("layers.3.bias", vec![2]),
        ("layers.3.weight", vec![2, 8]),
        ("x_frequencies", vec![3, 2]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_owned(), shape)));
    assert!(!params.vars().contains_key("x_frequencies"), "the frequencies are not trained");
}
