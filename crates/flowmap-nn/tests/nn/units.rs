//! A loss and its gradient do not depend on the unit of the data, whatever the objective, its norm and its weight.
//!
//! The networks compute σ F(s, t, x/σ), so that data, noise and σ times a number make the velocity that much longer and
//! change nothing else; a batch whose unit is σ has the same losses and gradients then.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device};
use flowmap_core::{InterpolantKind, Stream};
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::METHODS;
use flowmap_nn::net::{Conditioning, Mlp, MlpConfig};
use flowmap_nn::{Batch, OwnedCondition, ParamBuilder, Params, StepKey, Teacher, loss_and_gradient};

use crate::support::mlps::{DIM, SIGMA_DATA, normals};

const N: usize = 12;
const N_CLASSES: usize = 3;
const SEED: u64 = 3;
/// Rounding of f32 through a network, its derivative and a sum, relative to the largest gradient of a tensor.
const ROUNDING: f64 = 2e-5;

/// Norms and weights with constants of their own, and choices that measure lengths.
const CHOICES: [&str; 9] = [
    "kind = \"lsd\"\nnorm = { kind = \"adaptive\", p = 0.75, eps = 1e-3 }",
    "kind = \"lsd\"\nnorm = { kind = \"cauchy\", c = 0.1 }",
    "kind = \"consistency\"\nnorm = { kind = \"pseudo_huber\", c = 0.03 }",
    "kind = \"psd\"\nform = \"map\"\ntime_weight = { kind = \"learned\" }",
    "kind = \"lsd\"\ntime_weight = { kind = \"learned_positional\" }",
    "kind = \"alpha_flow\"\nend = 2\nnorm = { kind = \"adaptive\" }",
    "kind = \"align_your_flow\"\nlaw = \"lagrangian\"\nwarmup = 0",
    "kind = \"scm\"\nvelocity = \"teacher\"\nwarmup = 0",
    "kind = \"fmm\"\nlaw = \"eulerian\"\ninversion = 0.5",
];

fn network(sigma: f64, mut builder: ParamBuilder) -> (Mlp, ParamBuilder) {
    let config = MlpConfig { width: 8, hidden: 1, label_features: 3, x_features: 2, ..MlpConfig::default() };
    let net = Mlp::new(&config, &[DIM], Conditioning::from(N_CLASSES), sigma, &mut builder).unwrap();
    (net, builder)
}

/// Loss, losses of the terms, norms of derivatives and gradients by name, for data whose unit is `scale`.
struct Measured {
    loss: f64,
    terms: Vec<f64>,
    gradients: BTreeMap<String, Vec<f32>>,
}

fn measured(terms: &[Term], scale: f64) -> Measured {
    let device = Device::Cpu;
    let sigma = scale * SIGMA_DATA;
    let (net, mut builder) = network(sigma, ParamBuilder::fresh(SEED, DType::F32, &device));
    let combination = Combination::new(terms.to_vec()).unwrap().with_learned_weights(&mut builder).unwrap();
    let params: Params = builder.finish().unwrap();
    // Another network than the model, so that no term is zero because they are one.
    let other = |seed| network(sigma, ParamBuilder::fresh(seed, DType::F32, &device)).0;
    let (frozen, teacher) = (other(SEED + 1), Teacher::Map(Arc::new(other(SEED + 2))));
    let combination = combination.with_null_label(N_CLASSES as u32).with_teacher(teacher);
    let scaled = |stream| (normals(stream, N, DType::F32) * scale).unwrap();
    let (x0, x1) = (scaled(Stream::Base), scaled(Stream::Data));
    let labels: Vec<u32> = (0..N as u32).map(|i| i % 4).collect();
    let labels = candle_core::Tensor::new(labels, &device).unwrap();
    let condition = OwnedCondition { labels: Some(labels), ..OwnedCondition::default() };
    let interpolant = InterpolantKind::Trigonometric;
    let batch =
        Batch { x0: &x0, x1: &x1, condition: (&condition).into(), interpolant: &interpolant, unit: sigma };
    let key = StepKey::of_step(SEED, 1, N);
    let found = loss_and_gradient(&combination, &net, &frozen, &params, &batch, key).unwrap();
    let gradient = |(name, var): (&String, &candle_core::Var)| {
        let gradient = found.gradients.get(var)?.flatten_all().unwrap().to_vec1().unwrap();
        Some((name.clone(), gradient))
    };
    let gradients = params.vars().iter().filter_map(gradient).collect();
    let losses = found.losses.read().unwrap();
    Measured { loss: losses.loss, terms: losses.terms.into_iter().flatten().collect(), gradients }
}

/// Every method beside flow matching, with its defaults and with choices.
fn cases() -> impl Iterator<Item = (String, Vec<Term>)> {
    let by_default = METHODS.iter().map(|method| format!("kind = \"{}\"", method.name));
    by_default.chain(CHOICES.map(str::to_owned)).map(|text| {
        let half = |text: &str| toml::from_str::<Term>(&format!("share = 0.5\n{text}")).unwrap();
        let terms = vec![half("kind = \"flow_matching\""), half(&text)];
        (text, terms)
    })
}

#[test]
fn powers_of_two_keep_every_bit() {
    for (text, terms) in cases() {
        let expected = measured(&terms, 1.0);
        for power in [-40, -7, 1, 20, 60] {
            let found = measured(&terms, f64::from(power).exp2());
            assert_eq!(found.loss.to_bits(), expected.loss.to_bits(), "loss of {text} at 2^{power}");
            assert_eq!(found.terms, expected.terms, "terms of {text} at 2^{power}");
            assert!(found.gradients == expected.gradients, "gradient of {text} at 2^{power}");
        }
    }
}

#[test]
fn other_units_change_a_loss_and_its_gradient_by_rounding() {
    for (text, terms) in cases() {
        let expected = measured(&terms, 1.0);
        for scale in [1e-20, 1e-6, 3.0, 1e6, 1e20] {
            let found = measured(&terms, scale);
            let off = (found.loss - expected.loss).abs() / expected.loss.abs();
            assert!(off < ROUNDING, "loss of {text} at {scale}: {off}");
            for (name, gradient) in &found.gradients {
                let expected = &expected.gradients[name];
                let largest = expected.iter().fold(0.0f32, |m, g| m.max(g.abs()));
                for (g, e) in gradient.iter().zip(expected) {
                    let off = f64::from((g - e).abs() / largest.max(f32::MIN_POSITIVE));
                    assert!(off < ROUNDING, "gradient of {name} of {text} at {scale}: {off}");
                }
            }
        }
    }
}
