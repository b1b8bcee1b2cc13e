//! What holds for the flow map of every network, trained or not: here the MLP with each of its options, in f64.

use candle_core::{DType, Device, Tensor};
use flowmap_core::Stream;
use flowmap_dual::Dual;
use flowmap_nn::{Autoguided, AverageVelocity, Condition, Error, FlowMap, Guided, GuidedWithin};

use crate::support::mlps::{Case, DIM, cases, normals};

/// Step of the central differences: truncation and rounding are both below 1e-8 for these networks.
const STEP: f64 = 1e-5;
/// Against a central difference, relative to the largest derivative.
const DIFFERENCE: f64 = 1e-6;
/// Two orders of summation of the same numbers.
const ROUNDING: f64 = 1e-13;
const N: usize = 8;

/// Start times, end times, points and a direction, N of each.
struct Inputs {
    s: Tensor,
    t: Tensor,
    x: Tensor,
    direction: Tensor,
}

impl Inputs {
    fn new() -> Self {
        let times = |from: f64, step: f64| {
            let times: Vec<f64> = (0..N).map(|i| from + step * i as f64).collect();
            Tensor::from_vec(times, N, &Device::Cpu).unwrap()
        };
        Self {
            s: times(0.05, 0.07),
            t: times(0.35, 0.08),
            x: normals(Stream::Base, N, DType::F64),
            direction: normals(Stream::Data, N, DType::F64),
        }
    }
}

fn max_abs(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let error = max_abs(&(found - expected).unwrap()) / max_abs(expected);
    assert!(error < tolerance, "{what}: off by {error:e}");
}

fn assert_equal(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.to_vec2::<f64>().unwrap(), expected.to_vec2::<f64>().unwrap(), "{what}");
}

/// (f(+STEP) − f(−STEP)) / (2 STEP).
fn central_difference(f: impl Fn(f64) -> Tensor) -> Tensor {
    ((f(STEP) - f(-STEP)).unwrap() / (2.0 * STEP)).unwrap()
}

/// Runs a check on the flow map of each network.
fn for_each_network(check: impl Fn(FlowMap<'_>, &Inputs, &str)) {
    for case in cases() {
        let (net, _) = case.fresh(DType::F64);
        let condition = case.condition(N, DType::F64);
        let net: &dyn AverageVelocity = &net;
        check(FlowMap::given(net, &condition), &Inputs::new(), &case.name);
    }
}

#[test]
fn jump_of_no_width_is_the_identity_to_the_last_bit() {
    for_each_network(|map, Inputs { t, x, .. }, name| {
        assert_equal(&map.jump(t, t, x).unwrap(), x, name);
    });
}

#[test]
fn velocity_is_the_average_velocity_on_the_diagonal_and_the_slope_of_the_jump() {
    for_each_network(|map, Inputs { t, x, .. }, name| {
        let velocity = map.velocity(t, x).unwrap();
        assert_equal(&velocity, &map.average_velocity(t, t, x).unwrap(), name);
        // The tangent condition, ∂_t X_{s,t} = b_t at s = t.
        assert_close(&map.jump_dt(t, t, x).unwrap().1, &velocity, ROUNDING, name);
        assert_close(&map.jump_ds(t, t, x).unwrap().1, &velocity.neg().unwrap(), ROUNDING, name);
    });
}

#[test]
fn derivative_in_the_end_time_is_the_central_difference() {
    for_each_network(|map, Inputs { s, t, x, .. }, name| {
        let (x_st, dt_x_st) = map.jump_dt(s, t, x).unwrap();
        assert_equal(&x_st, &map.jump(s, t, x).unwrap(), name);
        let difference = central_difference(|h| map.jump(s, &(t + h).unwrap(), x).unwrap());
        assert_close(&dt_x_st, &difference, DIFFERENCE, name);
    });
}

#[test]
fn derivative_in_the_start_time_is_the_central_difference() {
    for_each_network(|map, Inputs { s, t, x, .. }, name| {
        let (x_st, ds_x_st) = map.jump_ds(s, t, x).unwrap();
        assert_equal(&x_st, &map.jump(s, t, x).unwrap(), name);
        let difference = central_difference(|h| map.jump(&(s + h).unwrap(), t, x).unwrap());
        assert_close(&ds_x_st, &difference, DIFFERENCE, name);
    });
}

#[test]
fn derivative_along_a_direction_is_the_central_difference() {
    for_each_network(|map, Inputs { s, t, x, direction }, name| {
        let (x_st, advection) = map.jvp(s, t, x, direction).unwrap();
        assert_equal(&x_st, &map.jump(s, t, x).unwrap(), name);
        let moved = |h: f64| (x + (direction * h).unwrap()).unwrap();
        let difference = central_difference(|h| map.jump(s, t, &moved(h)).unwrap());
        assert_close(&advection, &difference, DIFFERENCE, name);
    });
}

#[test]
fn derivative_along_a_mixed_direction_is_the_sum_of_its_parts() {
    for_each_network(|map, Inputs { s, t, x, direction }, name| {
        let (ds, dt) = ((s * 0.3).unwrap(), (t * -1.7).unwrap());
        let dual = |value: &Tensor, tangent: &Tensor| Dual::new(value.clone(), tangent.clone()).unwrap();
        let mixed = map.jump_dual(&dual(s, &ds), &dual(t, &dt), &dual(x, direction)).unwrap();
        let part = |rate: &Tensor, derivative: Tensor| {
            derivative.broadcast_mul(&rate.reshape((N, 1)).unwrap()).unwrap()
        };
        let in_time = (part(&ds, map.jump_ds(s, t, x).unwrap().1)
            + part(&dt, map.jump_dt(s, t, x).unwrap().1))
        .unwrap();
        let sum = (in_time + map.jvp(s, t, x, direction).unwrap().1).unwrap();
        assert_close(&mixed.tangent_or_zeros().unwrap(), &sum, ROUNDING, name);
    });
}

#[test]
fn sample_does_not_depend_on_its_batch() {
    for case in cases() {
        let (net, _) = case.fresh(DType::F64);
        let (condition, Inputs { s, t, x, .. }) = (case.condition(N, DType::F64), Inputs::new());
        let whole = FlowMap::given(&net, &condition).jump(&s, &t, &x).unwrap();
        let rows = |tensor: &Tensor| tensor.narrow(0, 3, 2).unwrap();
        let some = Condition::from(&condition).rows(3, 2).unwrap();
        let part = FlowMap::given(&net, &some).jump(&rows(&s), &rows(&t), &rows(&x)).unwrap();
        assert_close(&part, &rows(&whole), ROUNDING, &case.name);
    }
}

/// The case of this name.
fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

#[test]
fn samples_of_another_shape_are_refused_with_both_shapes() {
    let (net, _) = case("residual").fresh(DType::F64);
    let map = FlowMap::new(&net);
    let Inputs { s, t, .. } = Inputs::new();
    for found in [vec![], vec![3], vec![DIM, 1], vec![1, DIM]] {
        let dims: Vec<usize> = [N].iter().chain(&found).copied().collect();
        let x = Tensor::zeros(dims, DType::F64, &Device::Cpu).unwrap();
        let error = map.jump(&s, &t, &x).unwrap_err();
        assert_eq!(error.to_string(), format!("expected samples of shape [{DIM}], found {found:?}"));
        assert!(matches!(error, Error::SampleShape { .. }));
    }
    let scalar = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
    assert!(matches!(map.jump(&s, &t, &scalar), Err(Error::SampleShape { .. })));
}

#[test]
fn times_of_another_number_than_the_samples_are_refused() {
    let (net, _) = case("time features").fresh(DType::F64);
    let map = FlowMap::new(&net);
    let Inputs { s, t, x, .. } = Inputs::new();
    assert!(map.jump(&s.narrow(0, 0, N - 1).unwrap(), &t, &x).is_err());
    assert!(map.jump_dt(&s, &t.narrow(0, 0, 1).unwrap(), &x).is_err());
    assert!(matches!(map.jvp(&s, &t, &x, &s), Err(Error::Dual(flowmap_dual::Error::TangentShape { .. }))));
}

#[test]
fn missing_unexpected_and_unknown_labels_are_refused() {
    let Inputs { s, t, x, .. } = Inputs::new();
    let (conditional, _) = case("labels").fresh(DType::F64);
    let error = FlowMap::new(&conditional).jump(&s, &t, &x).unwrap_err();
    assert_eq!(error.to_string(), "the network has 3 classes, but the batch came without labels");

    let (unconditional, _) = case("residual").fresh(DType::F64);
    let labels = Tensor::zeros(N, DType::U32, &Device::Cpu).unwrap();
    let error = FlowMap::given(&unconditional, Some(&labels)).jump(&s, &t, &x).unwrap_err();
    assert_eq!(error.to_string(), "the network has 0 classes, but the batch came with labels");

    let beyond = Tensor::full(4u32, N, &Device::Cpu).unwrap();
    assert!(FlowMap::given(&conditional, Some(&beyond)).jump(&s, &t, &x).is_err());
    let too_few = labels.narrow(0, 0, N - 1).unwrap();
    assert!(FlowMap::given(&conditional, Some(&too_few)).jump(&s, &t, &x).is_err());
}

#[test]
fn missing_and_unexpected_scales_of_guidance_are_refused() {
    let Inputs { s, t, x, .. } = Inputs::new();
    let refusal = |case: &Case, condition: Condition<'_>| {
        FlowMap::given(&case.fresh(DType::F64).0, condition).jump(&s, &t, &x).unwrap_err().to_string()
    };
    let guided = case("guidance");
    let condition = guided.condition(N, DType::F64);
    let without = Condition { guidance: None, ..Condition::from(&condition) };
    let message = "the network takes scales of guidance, but the batch came without them";
    assert_eq!(refusal(&guided, without), message);
    let message = "the network does not take scales of guidance, but the batch came with them";
    assert_eq!(refusal(&case("labels"), Condition::from(&condition)), message);
    let message = "the network has 3 classes, but the batch came without labels";
    assert_eq!(refusal(&guided, Condition { labels: None, ..Condition::from(&condition) }), message);
}

#[test]
fn guidance_interpolates_from_no_label_to_the_label_and_beyond() {
    let case = case("everything with gelu_tanh");
    let (net, _) = case.fresh(DType::F64);
    let null = case.null_label();
    let (labels, Inputs { s, t, x, .. }) = (case.labels(N).unwrap(), Inputs::new());
    let nulls = Tensor::full(null, N, &Device::Cpu).unwrap();
    let conditional = FlowMap::given(&net, Some(&labels)).jump(&s, &t, &x).unwrap();
    let without = FlowMap::given(&net, Some(&nulls)).jump(&s, &t, &x).unwrap();
    let guided = |scale| {
        let guided = Guided::new(net.clone(), scale, null);
        FlowMap::given(&guided, Some(&labels)).jump_dt(&s, &t, &x).unwrap()
    };
    assert_close(&guided(1.0).0, &conditional, ROUNDING, "scale 1");
    assert_equal(&guided(0.0).0, &without, "scale 0");
    let extrapolated = ((&conditional * 2.5).unwrap() - (&without * 1.5).unwrap()).unwrap();
    assert_close(&guided(2.5).0, &extrapolated, ROUNDING, "scale 2.5");
    // The derivative of the guided map is guided alike.
    let guided_net = Guided::new(net.clone(), 2.5, null);
    let map = FlowMap::given(&guided_net, Some(&labels));
    let difference = central_difference(|h| map.jump(&s, &(&t + h).unwrap(), &x).unwrap());
    assert_close(&guided(2.5).1, &difference, DIFFERENCE, "derivative at scale 2.5");
    let error = FlowMap::new(&guided_net).jump(&s, &t, &x).unwrap_err();
    assert_eq!(error.to_string(), "the network has 3 classes, but the batch came without labels");
}

#[test]
fn guide_without_labels_is_classifier_free_guidance_and_an_interval_limits_it_to_its_starts() {
    let case = case("everything with gelu_tanh");
    let (net, _) = case.fresh(DType::F64);
    let (labels, Inputs { s, t, x, .. }) = (case.labels(N).unwrap(), Inputs::new());
    let jump = |net: &dyn AverageVelocity| FlowMap::given(net, Some(&labels)).jump(&s, &t, &x).unwrap();
    let guided = Guided::new(net.clone(), 2.5, case.null_label());
    let without = Guided::new(net.clone(), 0.0, case.null_label());
    let by_guide = Autoguided::new(net.clone(), without, 2.5);
    assert_close(&jump(&by_guide), &jump(&guided), ROUNDING, "autoguidance");

    let starts = s.to_vec1::<f64>().unwrap();
    let mut sorted = starts.clone();
    sorted.sort_by(f64::total_cmp);
    let interval = [sorted[N / 4], sorted[N / 2]];
    let within = jump(&GuidedWithin::new(net.clone(), guided.clone(), interval));
    for (row, start) in starts.iter().enumerate() {
        let is_within = (interval[0]..=interval[1]).contains(start);
        let expected = if is_within { jump(&guided) } else { jump(&net) };
        let row_of = |x: &Tensor| x.narrow(0, row, 1).unwrap();
        assert_close(&row_of(&within), &row_of(&expected), ROUNDING, "interval");
    }
    assert_equal(&jump(&GuidedWithin::new(net.clone(), guided.clone(), [0.0, 1.0])), &jump(&guided), "all");
    assert_equal(&jump(&GuidedWithin::new(net.clone(), guided, [2.0, 3.0])), &jump(&net), "none");
}
