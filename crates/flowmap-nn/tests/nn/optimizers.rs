//! Optimizers against scalar references written from the formulas of the papers, in f64.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_nn::optim::{AdamW, Optimizer, OptimizerConfig, RAdam, Schedule, gradient_norm};
use flowmap_nn::{Ema, EmaRule, Error, Init, ParamBuilder, Params};

/// Both sides compute in f64; powers of β are computed in different orders.
const TOLERANCE: f64 = 1e-12;
const N_STEPS: u64 = 20;
/// Number of elements of the one parameter, in two rows.
const SIZE: usize = 6;
const GRADIENT_SCALE: f64 = 0.37;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// A matrix `w` and a vector `b`, their values drawn from the noise.
fn params(dtype: DType) -> Params {
    let mut builder = ParamBuilder::fresh(3, dtype, &Device::Cpu);
    builder.param("w", (2, SIZE / 2), Init::Normal(1.0)).unwrap();
    builder.param("b", 4, Init::Normal(1.0)).unwrap();
    builder.finish().unwrap()
}

/// The same parameters in memory of their own.
fn copied(params: &Params) -> Params {
    let mut builder = ParamBuilder::trainable(params.copied_tensors().unwrap(), DType::F64, &Device::Cpu);
    for (name, var) in params.vars() {
        builder.param(name, var.shape(), Init::Zeros).unwrap();
    }
    builder.finish().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The gradient of `w` at step k, counted from one: drawn anew, with magnitudes from 1e-3 to 10.
fn scripted_gradient(k: u64) -> Vec<f64> {
    let mut g = vec![0.0; SIZE];
    NoiseStream::new(11, Stream::Evaluation).at(k).fill_normal(&mut g);
    g.iter_mut().enumerate().for_each(|(i, g)| *g *= 10f64.powi(i as i32 % 5 - 3));
    g
}

/// A gradient store with `gradient` for `w`, and none for `b`: the gradient of Σ g w is g.
fn gradient_of_w(params: &Params, gradient: &[f64]) -> GradStore {
    let w = params.vars()["w"].as_tensor();
    let g = Tensor::from_slice(gradient, w.shape(), &Device::Cpu).unwrap().to_dtype(w.dtype()).unwrap();
    (w * g).unwrap().sum_all().unwrap().backward().unwrap()
}

/// Runs the optimizer for [`N_STEPS`] and compares `w` with `reference(theta, g, state, k)` after each of them.
fn check(
    mut optimizer: impl Optimizer,
    params: &Params,
    reference: impl Fn(f64, f64, &mut [f64; 2], i32, f64) -> f64,
) {
    let mut theta = values(&params.vars()["w"]);
    let mut moments = vec![[0.0; 2]; SIZE];
    let b = values(&params.vars()["b"]);
    for k in 1..=N_STEPS {
        let lr = 0.1 / k as f64;
        let gradient = scripted_gradient(k);
        optimizer.step(&gradient_of_w(params, &gradient), lr, GRADIENT_SCALE).unwrap();
        for ((theta, g), state) in theta.iter_mut().zip(&gradient).zip(&mut moments) {
            *theta = reference(*theta, g * GRADIENT_SCALE, state, k as i32, lr);
        }
        for (found, expected) in values(&params.vars()["w"]).iter().zip(&theta) {
            let error = (found - expected).abs();
            assert!(error < TOLERANCE, "step {k}: {found}, expected {expected}, off by {error:e}");
        }
    }
    assert_eq!(optimizer.n_steps(), N_STEPS);
    assert_eq!(values(&params.vars()["b"]), b, "a parameter without a gradient stays");
}

/// Biased moments of Adam, updated; m̂ and v̂ are their quotients with 1 − βᵏ.
fn update_moments(g: f64, [m, v]: &mut [f64; 2]) {
    *m = BETA1 * *m + (1.0 - BETA1) * g;
    *v = BETA2 * *v + (1.0 - BETA2) * g * g;
}

/// Loshchilov, Hutter 2017, arXiv:1711.05101, algorithm 2, with weight decay per unit of learning rate.
fn adamw_reference(theta: f64, g: f64, state: &mut [f64; 2], k: i32, lr: f64, decay: f64) -> f64 {
    update_moments(g, state);
    let m_hat = state[0] / (1.0 - BETA1.powi(k));
    let v_hat = state[1] / (1.0 - BETA2.powi(k));
    theta - lr * (m_hat / (v_hat.sqrt() + EPS) + decay * theta)
}

/// Liu and others 2019, arXiv:1908.03265, algorithm 2, with the threshold 5 of its code instead of 4.
fn radam_reference(theta: f64, g: f64, state: &mut [f64; 2], k: i32, lr: f64) -> f64 {
    update_moments(g, state);
    let m_hat = state[0] / (1.0 - BETA1.powi(k));
    match rectification(k) {
        None => theta - lr * m_hat,
        Some(r) => theta - lr * r * m_hat / ((state[1] / (1.0 - BETA2.powi(k))).sqrt() + EPS),
    }
}

/// r_k, once the moving average is long enough.
fn rectification(k: i32) -> Option<f64> {
    let rho_inf = 2.0 / (1.0 - BETA2) - 1.0;
    let rho = rho_inf - 2.0 * f64::from(k) * BETA2.powi(k) / (1.0 - BETA2.powi(k));
    let r2 = ((rho - 4.0) * (rho - 2.0) * rho_inf) / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho);
    (rho >= 5.0).then(|| r2.sqrt())
}

#[test]
fn adamw_is_algorithm_2_of_its_paper() {
    for decay in [0.0, 0.3] {
        let params = params(DType::F64);
        let optimizer = AdamW::new(&params, BETA1, BETA2, EPS, decay).unwrap();
        check(optimizer, &params, |theta, g, state, k, lr| adamw_reference(theta, g, state, k, lr, decay));
    }
}

#[test]
fn radam_is_algorithm_2_of_its_paper_before_and_after_rectification() {
    let rectified = (1..=N_STEPS as i32).filter(|&k| rectification(k).is_some()).count();
    assert!(rectified > 10 && rectified < N_STEPS as usize, "{rectified} of {N_STEPS} steps are rectified");
    let params = params(DType::F64);
    check(RAdam::new(&params, BETA1, BETA2, EPS).unwrap(), &params, radam_reference);
}

#[test]
fn radam_with_a_short_average_is_never_rectified() {
    let beta2 = 0.5; // ρ∞ = 3
    let params = params(DType::F64);
    check(RAdam::new(&params, BETA1, beta2, EPS).unwrap(), &params, |theta, g, state, k, lr| {
        update_moments(g, state);
        theta - lr * state[0] / (1.0 - BETA1.powi(k))
    });
}

#[test]
fn optimizers_in_f32_follow_those_in_f64() {
    for config in configs() {
        let (single, double) = (params(DType::F32), params(DType::F64));
        let mut optimizers = [config.build(&single).unwrap(), config.build(&double).unwrap()];
        for k in 1..=N_STEPS {
            for (optimizer, params) in optimizers.iter_mut().zip([&single, &double]) {
                optimizer.step(&gradient_of_w(params, &scripted_gradient(k)), 0.01, 1.0).unwrap();
            }
        }
        for (single, double) in values(&single.vars()["w"]).iter().zip(values(&double.vars()["w"])) {
            assert!((single - double).abs() < 1e-5, "{config:?}: {single} in f32, {double} in f64");
        }
    }
}

fn configs() -> [OptimizerConfig; 2] {
    [
        OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1 },
        OptimizerConfig::Radam { beta1: 0.9, beta2: 0.99, eps: 1e-8 },
    ]
}

#[test]
fn restored_optimizer_continues_to_the_last_bit() {
    for config in configs() {
        let original = params(DType::F64);
        let mut optimizer = config.build(&original).unwrap();
        let run =
            |optimizer: &mut Box<dyn Optimizer>, params: &Params, steps: std::ops::RangeInclusive<u64>| {
                for k in steps {
                    optimizer.step(&gradient_of_w(params, &scripted_gradient(k)), 0.1, 1.0).unwrap();
                }
            };
        run(&mut optimizer, &original, 1..=7);
        let resumed = copied(&original);
        let mut restored = config.build(&resumed).unwrap();
        restored.restore(optimizer.state(), optimizer.n_steps()).unwrap();
        // The state is copied on the way in: steps of one leave the other alone.
        run(&mut optimizer, &original, 8..=14);
        run(&mut restored, &resumed, 8..=14);
        assert_eq!(restored.n_steps(), 14);
        for (name, var) in original.vars() {
            assert_eq!(values(var), values(&resumed.vars()[name]), "{config:?}: `{name}`");
        }
        for (name, tensor) in optimizer.state() {
            assert_eq!(values(&tensor), values(&restored.state()[&name]), "{config:?}: `{name}`");
        }
    }
}

#[test]
fn missing_misshapen_and_unexpected_states_are_named() {
    for config in configs() {
        let params = params(DType::F64);
        let mut optimizer = config.build(&params).unwrap();
        let good = optimizer.state();
        assert_eq!(good.keys().collect::<Vec<_>>(), ["first.b", "first.w", "second.b", "second.w"]);
        let zeros = |size: usize| Tensor::zeros(size, DType::F64, &Device::Cpu).unwrap();
        let mut refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
            let mut state = good.clone();
            change(&mut state);
            optimizer.restore(state, 5).unwrap_err().to_string()
        };
        let missing = refused(&|state| drop(state.remove("second.b")));
        assert_eq!(missing, "tensor `second.b` of shape [4] is missing");
        let misshapen = refused(&|state| drop(state.insert("first.w".into(), zeros(6))));
        assert_eq!(misshapen, "tensor `first.w` has shape [6], expected [2, 3]");
        let unexpected = refused(&|state| drop(state.insert("third.w".into(), zeros(1))));
        assert!(unexpected.starts_with("unexpected tensor `third.w` of shape [1]"), "{unexpected}");
        optimizer.restore(good, 5).unwrap();
        assert_eq!(optimizer.n_steps(), 5);
    }
}

#[test]
fn bad_constants_are_refused_by_their_key() {
    let params = params(DType::F64);
    let adamw = |beta1, beta2, eps, weight_decay| OptimizerConfig::Adamw { beta1, beta2, eps, weight_decay };
    for (config, bad_key) in [
        (adamw(1.0, 0.999, 1e-8, 0.0), "beta1"),
        (adamw(0.9, -0.1, 1e-8, 0.0), "beta2"),
        (adamw(0.9, 0.999, 0.0, 0.0), "eps"),
        (adamw(0.9, 0.999, f64::NAN, 0.0), "eps"),
        (adamw(0.9, 0.999, 1e-8, -1.0), "weight_decay"),
        (adamw(0.9, 0.999, 1e-8, f64::INFINITY), "weight_decay"),
        (OptimizerConfig::Radam { beta1: f64::NAN, beta2: 0.999, eps: 1e-8 }, "beta1"),
    ] {
        match config.build(&params).map(|_| ()) {
            Err(Error::OutOfRange { key, .. }) => assert_eq!(key, bad_key),
            other => panic!("{config:?}: {other:?}"),
        }
    }
}

#[test]
fn optimizer_refuses_a_type_that_loses_updates() {
    let params = params(DType::BF16);
    let mut optimizer = OptimizerConfig::default().build(&params).unwrap();
    let step = optimizer.step(&gradient_of_w(&params, &scripted_gradient(1)), 0.1, 1.0);
    assert!(matches!(step, Err(Error::OptimizerDType(DType::BF16))));
}

#[test]
fn averaging_in_the_pass_of_the_step_changes_no_bit() {
    // The steps are no multiple of 7, so that the last ones move no average.
    let every = |every: u64| EmaRule { every: NonZeroU64::new(every).unwrap(), ..EmaRule::default() };
    for (config, rule) in configs().into_iter().flat_map(|config| [(config, every(1)), (config, every(7))]) {
        let run = |is_one_pass: bool| {
            let params = params(DType::F32);
            let mut optimizer = config.build(&params).unwrap();
            let average = |decay: f64| Ema::new(decay, &params).unwrap();
            let mut averages = [0.5, 0.999].map(|decay| average(decay).with_rule(rule));
            for k in 1..=N_STEPS {
                let gradients = gradient_of_w(&params, &scripted_gradient(k));
                if is_one_pass {
                    optimizer.step_and_average(&gradients, 0.01, 0.5, &mut averages).unwrap();
                } else {
                    optimizer.step(&gradients, 0.01, 0.5).unwrap();
                    averages.iter_mut().for_each(|ema| ema.update(&params).unwrap());
                }
            }
            let averages =
                averages.iter().flat_map(|ema| ema.tensors().values().map(values).collect::<Vec<_>>());
            averages.chain(params.vars().values().map(|v| values(v))).collect::<Vec<_>>()
        };
        assert_eq!(run(true), run(false));
    }
}

#[test]
fn refused_state_leaves_the_optimizer_as_it_was() {
    let params = params(DType::F64);
    let mut optimizer = OptimizerConfig::default().build(&params).unwrap();
    optimizer.step(&gradient_of_w(&params, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 0.1, 1.0).unwrap();
    let all = |state: &BTreeMap<String, Tensor>| -> Vec<Vec<f64>> { state.values().map(values).collect() };
    let before = all(&optimizer.state());
    // The moments of `b` come first and are good; those of `w` are cut.
    let mut state = optimizer.state();
    state.values_mut().for_each(|t| *t = t.ones_like().unwrap());
    state.remove("second.w");
    assert!(optimizer.restore(state.clone(), 7).is_err());
    assert_eq!((all(&optimizer.state()), optimizer.n_steps()), (before.clone(), 1));
    state.insert("second.w".into(), state["first.w"].clone());
    state.insert("third.w".into(), state["first.w"].clone());
    assert!(optimizer.restore(state, 7).is_err());
    assert_eq!((all(&optimizer.state()), optimizer.n_steps()), (before, 1));
}

#[test]
fn global_norm_is_that_of_all_gradients_together() {
    let params = params(DType::F64);
    let (w, b) = (params.vars()["w"].as_tensor(), params.vars()["b"].as_tensor());
    // The gradient of 3 Σ w + 5 Σ b: six threes and four fives.
    let loss = ((w.sum_all().unwrap() * 3.0).unwrap() + (b.sum_all().unwrap() * 5.0).unwrap()).unwrap();
    let norm_of =
        |gradients: &GradStore| gradient_norm(gradients, &params, None, None).unwrap().value().unwrap();
    let norm = norm_of(&loss.backward().unwrap());
    assert!((norm - (6.0 * 9.0 + 4.0 * 25.0f64).sqrt()).abs() < TOLERANCE);

    let of_w = gradient_of_w(&params, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let only_w = norm_of(&of_w);
    assert!((only_w - 91f64.sqrt()).abs() < TOLERANCE);
    let elsewhere = Tensor::new(1.0, &Device::Cpu).unwrap().backward().unwrap();
    assert_eq!(norm_of(&elsewhere), 0.0);

    let clipped = gradient_norm(&of_w, &params, Some(&loss), Some(0.5 * only_w)).unwrap();
    assert!((clipped.factor().unwrap().unwrap() - 0.5).abs() < TOLERANCE);
    let lost = (&loss * f64::INFINITY).unwrap();
    assert_eq!(gradient_norm(&of_w, &params, Some(&lost), None).unwrap().factor().unwrap(), None);
}

#[test]
fn schedules_have_their_values() {
    let constant = Schedule::Constant { warmup: 3 };
    let cosine = Schedule::Cosine { warmup: 0 };
    let root = Schedule::InverseSqrt { warmup: 1, decay_start: 100 };
    for (schedule, k, n_steps, expected) in [
        (Schedule::default(), 0, 10, 1.0),
        (constant, 0, 10, 0.25),
        (constant, 2, 10, 0.75),
        (constant, 3, 10, 1.0),
        (constant, 1_000, 10, 1.0),
        (cosine, 0, 8, 1.0),
        (cosine, 2, 8, 0.5 + 0.5 * std::f64::consts::FRAC_1_SQRT_2),
        (cosine, 4, 8, 0.5),
        (cosine, 8, 8, 0.0),
        (cosine, 9, 8, 0.0),
        (Schedule::Cosine { warmup: 20 }, 5, 8, 6.0 / 21.0),
        (root, 0, 0, 0.5),
        (root, 100, 0, 1.0),
        (root, 900, 0, 1.0 / 3.0),
    ] {
        let found = schedule.factor(k, n_steps);
        assert!((found - expected).abs() < TOLERANCE, "{schedule:?} at {k} of {n_steps}: {found}");
        assert!(schedule.validate().is_ok());
    }
    let bad = Schedule::InverseSqrt { warmup: 0, decay_start: 0 };
    assert_eq!(
        bad.validate().unwrap_err().to_string(),
        "`decay_start` = 0 is out of range, expected at least 1"
    );
}

#[test]
fn unknown_keys_of_optimizers_and_schedules_are_refused() {
    let adamw: OptimizerConfig = toml::from_str("kind = \"adamw\"").unwrap();
    assert_eq!(adamw, OptimizerConfig::default());
    assert!(toml::from_str::<OptimizerConfig>("kind = \"radam\"\nweight_decay = 0.1").is_err());
    assert!(toml::from_str::<OptimizerConfig>("kind = \"sgd\"").is_err());
    let cosine: Schedule = toml::from_str("kind = \"cosine\"").unwrap();
    assert_eq!(cosine, Schedule::Cosine { warmup: 0 });
    assert!(toml::from_str::<Schedule>("kind = \"constant\"\ndecay_start = 3").is_err());
}
