//! The field of a mixture by operations of tensors is the one that flowmap-core computes point by point.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::exact::{Component, Covariance, MixtureFlow};
use flowmap_core::{InterpolantKind, NoisyLinear};
use flowmap_nn::{Condition, ExactField, MixtureField, VelocityField};

const SIGMA0: f64 = 0.8;
/// Two orders of summation of a few dozen terms, and cos(π t / 2) near its zero.
const ROUNDING: f64 = 1e-12;

/// Three parts, each covariance in another form.
fn parts() -> Vec<Component> {
    let part = |weight, mean: [f64; 2], covariance| Component { weight, mean: mean.to_vec(), covariance };
    vec![
        part(1.0, [-1.0, 0.5], Covariance::Isotropic(0.4)),
        part(2.0, [1.0, 0.0], Covariance::Diagonal(vec![0.3, 0.7])),
        part(0.5, [0.2, -1.5], Covariance::Full(vec![vec![0.3, 0.1], vec![0.1, 0.2]])),
    ]
}

fn points(n: usize) -> (Tensor, Var) {
    let t: Vec<f64> = (0..n).map(|i| i as f64 / (n - 1) as f64).collect();
    let x: Vec<f64> = (0..2 * n).map(|i| 2.5 * (1.7 * i as f64).sin()).collect();
    let x = Tensor::from_vec(x, (n, 2), &Device::Cpu).unwrap();
    (Tensor::new(t, &Device::Cpu).unwrap(), Var::from_tensor(&x).unwrap())
}

fn largest(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// b_t(x) and the gradient of Σ b_t(x)² in x.
fn value_and_gradient(field: &dyn VelocityField, t: &Tensor, x: &Var) -> [Tensor; 2] {
    let b_t = field.velocity(t, x, Condition::default()).unwrap();
    let gradient = b_t.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(x).unwrap().clone();
    [b_t, gradient]
}

#[test]
fn field_on_tensors_is_the_exact_one_with_its_gradient() {
    // With axes of one component, and with none.
    for parts in [parts(), parts()[..2].to_vec()] {
        let noisy = InterpolantKind::NoisyLinear(NoisyLinear::new(0.1).unwrap());
        for interpolant in InterpolantKind::ALL.into_iter().chain([noisy]) {
            let exact = ExactField::new(MixtureFlow::new(interpolant.clone(), SIGMA0, &parts).unwrap());
            let field = MixtureField::new(interpolant.clone(), SIGMA0, &parts, &Device::Cpu).unwrap();
            let (t, x) = points(33);
            let found = value_and_gradient(&field, &t, &x);
            for (found, expected) in found.iter().zip(value_and_gradient(&exact, &t, &x)) {
                let error = largest(&(found - &expected).unwrap()) / largest(&expected);
                assert!(error < ROUNDING, "{interpolant}: off by {error:e}");
            }
        }
    }
}

#[test]
fn field_keeps_the_shape_and_type_of_its_points() {
    let field = MixtureField::new(InterpolantKind::Linear, SIGMA0, &parts(), &Device::Cpu).unwrap();
    let (t, x) = points(3);
    let x = x.to_dtype(DType::F32).unwrap().reshape((3, 1, 2)).unwrap();
    let b_t = field.velocity(&t.to_dtype(DType::F32).unwrap(), &x, Condition::default()).unwrap();
    assert_eq!((b_t.dims(), b_t.dtype()), ([3, 1, 2].as_slice(), DType::F32));
}

#[test]
fn mixture_without_a_velocity_at_the_data_is_refused() {
    let flat = Covariance::Full(vec![vec![1.0, 1.0], vec![1.0, 1.0]]);
    for covariance in [Covariance::Isotropic(0.0), Covariance::Diagonal(vec![1.0, 0.0]), flat] {
        let part = Component { weight: 1.0, mean: vec![0.0, 0.0], covariance };
        let error = MixtureField::new(InterpolantKind::Linear, 1.0, &[part], &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("variance of a component"), "{error}");
    }
    let error = MixtureField::new(InterpolantKind::Linear, 1.0, &[], &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("component"), "{error}");
}

#[test]
fn exact_field_of_a_mixture_keeps_shape_and_type_and_has_the_slope_of_a_difference() {
    const STEP: f64 = 1e-5;
    let component = |x: f64| Component {
        weight: 1.0,
        mean: vec![x, 0.5],
        covariance: Covariance::Full(vec![vec![0.3, 0.1], vec![0.1, 0.2]]),
    };
    let flow = MixtureFlow::new(InterpolantKind::Linear, 1.0, &[component(-1.0), component(1.0)]).unwrap();
    let field = ExactField::new(flow);
    let t = Tensor::new(&[0.3, 0.8, 1.0], &Device::Cpu).unwrap();
    let x = Var::new(&[[0.1, 0.4], [-0.6, 0.2], [0.9, 0.8]], &Device::Cpu).unwrap();
    let weights = Tensor::new(&[[1.0, -2.0], [0.5, 1.0], [2.0, 0.3]], &Device::Cpu).unwrap();
    let value = |x: &Tensor| {
        (field.velocity(&t, x, Condition::default()).unwrap() * &weights).unwrap().sum_all().unwrap()
    };
    let gradient = value(&x).backward().unwrap().get(&x).unwrap().to_vec2::<f64>().unwrap();
    for row in 0..3 {
        for column in 0..2 {
            let moved = |h: f64| {
                let mut values = x.to_vec2::<f64>().unwrap();
                values[row][column] += h;
                value(&Tensor::new(values, &Device::Cpu).unwrap()).to_scalar::<f64>().unwrap()
            };
            let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            assert!((difference - gradient[row][column]).abs() < 1e-8);
        }
    }
    let single = field.velocity(
        &t,
        &x.to_dtype(DType::F32).unwrap().reshape((3, 1, 2)).unwrap(),
        Condition::default(),
    );
    let single = single.unwrap();
    assert_eq!((single.dims(), single.dtype()), ([3, 1, 2].as_slice(), DType::F32));
}
