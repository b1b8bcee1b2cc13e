//! Moving averages against their closed forms, in f64.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_nn::{Ema, EmaRule, EmaStart, Init, ParamBuilder, Params};

/// Both sides compute in f64; powers of a decay are computed in different orders.
const TOLERANCE: f64 = 1e-12;

/// A matrix `w` and a vector `b`, their values drawn from the noise.
fn params() -> Params {
    let mut builder = ParamBuilder::fresh(3, DType::F64, &Device::Cpu);
    builder.param("w", (2, 3), Init::Normal(1.0)).unwrap();
    builder.param("b", 4, Init::Normal(1.0)).unwrap();
    builder.finish().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// θ̄_n = Π_j d_j θ_0 + Σ_k (1 − d_k) Π_{j>k} d_j θ_{k+1} over the n moves, for any decays d_0 .. d_{n−1}.
fn closed_form_ema(decays: &[f64], history: &[Vec<f64>]) -> Vec<f64> {
    let kept_after = |k: usize| decays[k..].iter().product::<f64>();
    let mean = |i: usize| {
        let start = kept_after(0) * history[0][i];
        let moves = decays.iter().enumerate();
        start + moves.map(|(k, d)| (1.0 - d) * kept_after(k + 1) * history[k + 1][i]).sum::<f64>()
    };
    (0..history[0].len()).map(mean).collect()
}

/// Moves the parameters to where step k of a script has them.
fn move_params(params: &Params, k: u64) {
    for (i, var) in params.vars().values().enumerate() {
        let mut values = vec![0.0; var.elem_count()];
        NoiseStream::new(i as u64, Stream::Evaluation).at(k).fill_normal(&mut values);
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
}

/// Moves the parameters so many times and checks averages of these decays, each against what it should have at move k.
fn check_closed_form(rule: EmaRule, n_updates: u64, decays: [f64; 2], decay_at: impl Fn(f64, u64) -> f64) {
    let params = params();
    let mut averages = decays.map(|decay| Ema::new(decay, &params).unwrap().with_rule(rule));
    let mut history: BTreeMap<&String, Vec<Vec<f64>>> =
        params.vars().iter().map(|(name, var)| (name, vec![values(var)])).collect();
    for k in 0..n_updates {
        move_params(&params, k);
        if (k + 1) % rule.every == 0 {
            params.vars().iter().for_each(|(name, var)| history.get_mut(name).unwrap().push(values(var)));
        }
        averages.iter_mut().for_each(|ema| ema.update(&params).unwrap());
    }
    for ema in &averages {
        assert_eq!(ema.n_updates(), n_updates);
        let at_moves: Vec<f64> =
            (0..n_updates / rule.every).map(|move_idx| decay_at(ema.decay(), move_idx)).collect();
        for (name, history) in &history {
            let expected = closed_form_ema(&at_moves, history);
            for (found, expected) in values(&ema.tensors()[*name]).iter().zip(expected) {
                assert!((found - expected).abs() < TOLERANCE, "{}: `{name}`", ema.decay());
            }
        }
    }
}

/// The decay that forgets the start after k moves.
fn forgetting(decay: f64, k: u64) -> f64 {
    decay.min((1 + k) as f64 / (10 + k) as f64)
}

fn rule(every: u64, start: EmaStart) -> EmaRule {
    EmaRule { every: NonZeroU64::new(every).unwrap(), start }
}

#[test]
fn moving_averages_have_their_closed_form_through_the_warm_up() {
    // The first is out of its warm-up after 31 updates, the second is not within this test.
    check_closed_form(EmaRule::default(), 60, [0.8, 0.999], forgetting);
}

#[test]
fn moving_average_that_keeps_the_start_has_one_decay() {
    check_closed_form(rule(1, EmaStart::Keep), 60, [0.8, 0.999], |decay, _| decay);
}

#[test]
fn moving_average_of_every_few_updates_moves_by_the_decay_of_all_of_them() {
    // 50 updates are 12 moves and two updates more, which move nothing.
    check_closed_form(rule(4, EmaStart::Keep), 50, [0.95, 0.999], |decay, _| decay.powi(4));
    check_closed_form(rule(4, EmaStart::Forget), 50, [0.6, 0.999], |decay, k| forgetting(decay.powi(4), k));
}

#[test]
fn moving_average_of_every_few_updates_of_parameters_at_rest_is_that_of_every_update() {
    let average = |every: u64| {
        let params = params();
        let mut ema = Ema::new(0.9, &params).unwrap().with_rule(rule(every, EmaStart::Keep));
        move_params(&params, 0);
        (0..32).for_each(|_| ema.update(&params).unwrap());
        ema.tensors().values().flat_map(values).collect::<Vec<f64>>()
    };
    for (every, all) in average(16).into_iter().zip(average(1)) {
        assert!((every - all).abs() < TOLERANCE, "{every}, every update {all}");
    }
}

#[test]
fn resumed_moving_average_continues_to_the_last_bit() {
    let params = params();
    for rule in [EmaRule::default(), rule(4, EmaStart::Keep), rule(4, EmaStart::Forget)] {
        let mut ema = Ema::new(0.9, &params).unwrap().with_rule(rule);
        let run = |ema: &mut Ema, steps: std::ops::Range<u64>| {
            for k in steps {
                move_params(&params, k);
                ema.update(&params).unwrap();
            }
        };
        // Between two moves of the second rule.
        run(&mut ema, 0..5);
        // The tensors are copied on the way in: updates of one leave the other alone.
        let resumed = Ema::resume(ema.decay(), ema.n_updates(), &params, ema.tensors().clone()).unwrap();
        let mut resumed = resumed.with_rule(rule);
        run(&mut ema, 5..15);
        run(&mut resumed, 5..15);
        for (name, tensor) in ema.tensors() {
            assert_eq!(values(tensor), values(&resumed.tensors()[name]), "{rule:?}");
        }
    }
}

#[test]
fn moving_average_whose_decay_is_no_share_is_refused() {
    for (decay, found) in [(1.0, "1"), (-0.1, "-0.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let message = Ema::new(decay, &params()).unwrap_err().to_string();
        let expected = "is out of range, expected a number from 0 to 1, 1 excluded";
        assert_eq!(message, format!("`ema` = {found} {expected}"));
    }
}

#[test]
fn moving_average_of_other_tensors_is_refused() {
    let params = params();
    let zeros = |size: usize| Tensor::zeros(size, DType::F64, &Device::Cpu).unwrap();
    let resume = |tensors: Vec<(&str, Tensor)>| {
        let tensors = tensors.into_iter().map(|(name, t)| (name.to_owned(), t)).collect();
        Ema::resume(0.9, 3, &params, tensors).unwrap_err().to_string()
    };
    assert_eq!(resume(vec![("b", zeros(4))]), "tensor `w` of shape [2, 3] is missing");
    let misshapen = resume(vec![("b", zeros(4)), ("w", zeros(6))]);
    assert_eq!(misshapen, "tensor `w` has shape [6], expected [2, 3]");
    let w = params.vars()["w"].as_tensor();
    let unexpected = resume(vec![("b", zeros(4)), ("c", zeros(1)), ("w", w.clone())]);
    assert!(unexpected.starts_with("unexpected tensor `c` of shape [1]"), "{unexpected}");
}
