//! Every dual operation against central differences, in f64: forward, and reverse over forward.

use candle_core::{Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Activation, Dual, Result};

/// Central differences of fourth order with step 1e-3 err by about 1e-11 on functions of size one;
/// third derivatives and ill-conditioned norms cost the rest.
const TOLERANCE: f64 = 1e-7;
const STEP: f64 = 1e-3;

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(7, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest absolute difference over the largest absolute value (or one).
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1f64, |m, v| m.max(v.abs()));
    found.iter().zip(expected).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / scale
}

/// d/dh f(h) at 0 by central differences of fourth order.
fn central(f: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let (a, b, c, d) = (f(STEP), f(-STEP), f(2.0 * STEP), f(-2.0 * STEP));
    (0..a.len()).map(|i| (8.0 * (a[i] - b[i]) - (c[i] - d[i])) / (12.0 * STEP)).collect()
}

/// Checks `f` at `x`: its tangent, and the gradient of a function of value and tangent, each against differences.
fn check(name: &str, x: &Tensor, f: impl Fn(&Dual) -> Result<Dual>) {
    let dx = noise(1000, x.dims());

    // Without a tangent there is none in the output, and the value is the same.
    let plain = f(&Dual::constant(x.clone())).unwrap();
    assert!(plain.tangent().is_none(), "{name}: a constant has no tangent");

    // Forward mode.
    let y = f(&Dual::new(x.clone(), dx.clone()).unwrap()).unwrap();
    assert_eq!(distance(&values(plain.primal()), &values(y.primal())), 0.0, "{name}: value");
    let moved = |h: f64| values(f(&Dual::constant((x + (&dx * h).unwrap()).unwrap())).unwrap().primal());
    let forward = distance(&values(y.tangent().unwrap()), &central(moved));
    assert!(forward < TOLERANCE, "{name}: forward mode is off by {forward:e}");

    // Reverse over forward: L = w · y + z · ẏ as a function of x and ẋ, along random directions of both.
    let (w, z) = (noise(1001, y.dims()), noise(1002, y.dims()));
    let loss = |x: &Tensor, dx: &Tensor| -> Tensor {
        let y = f(&Dual::new(x.clone(), dx.clone()).unwrap()).unwrap();
        let value = (y.primal() * &w).unwrap().sum_all().unwrap();
        (value + (y.tangent().unwrap() * &z).unwrap().sum_all().unwrap()).unwrap()
    };
    let (x_var, dx_var) = (Var::from_tensor(x).unwrap(), Var::from_tensor(&dx).unwrap());
    let gradients = loss(&x_var, &dx_var).backward().unwrap();
    let (e, de) = (noise(1003, x.dims()), noise(1004, x.dims()));
    let along = |var: &Var, direction: &Tensor| -> f64 {
        let g = gradients.get(var).unwrap_or_else(|| panic!("{name}: no gradient"));
        (g * direction).unwrap().sum_all().unwrap().to_scalar().unwrap()
    };
    for (var, direction, which) in [(&x_var, &e, "value"), (&dx_var, &de, "tangent")] {
        let expected = central(|h| {
            let step = (direction * h).unwrap();
            let (x, dx) = match which {
                "value" => ((x + step).unwrap(), dx.clone()),
                _ => (x.clone(), (&dx + step).unwrap()),
            };
            vec![loss(&x, &dx).to_scalar().unwrap()]
        });
        let found = distance(&[along(var, direction)], &expected);
        assert!(found < TOLERANCE, "{name}: gradient with respect to the {which} is off by {found:e}");
    }
}

/// Positive numbers away from zero.
fn positive(dims: &[usize]) -> Tensor {
    ((noise(1, dims).abs().unwrap() + 0.5).unwrap() * 0.7).unwrap()
}

#[test]
fn elementwise_functions_have_exact_derivatives() {
    let x = noise(2, &[3, 5]);
    check("exp", &x, Dual::exp);
    check("sin", &x, Dual::sin);
    check("cos", &x, Dual::cos);
    check("sqr", &x, Dual::sqr);
    check("tanh", &x, Dual::tanh);
    check("sigmoid", &x, Dual::sigmoid);
    check("erf", &x, Dual::erf);
    check("powf 3", &x, |x| x.powf(3.0));
    check("neg", &x, Dual::neg);
    check("scale", &x, |x| x.scale(-1.7));
    check("shift", &x, |x| x.shift(0.3));
    let x = positive(&[3, 5]);
    check("ln", &x, Dual::ln);
    check("sqrt", &x, Dual::sqrt);
    check("recip", &x, Dual::recip);
    check("powf 0.7", &x, |x| x.powf(0.7));
    check("relu", &x, Dual::relu);
    // Numbers within the bound and beyond it, none near it, where the function has a kink.
    let mixed = Tensor::new(&[0.4, -0.3, 2.0, -2.5, 0.1, 1.6], &Device::Cpu).unwrap();
    check("clamp", &mixed, |x| x.clamp(1.0));
    check("clamp, all inside", &x, |x| x.clamp(100.0));
}

#[test]
fn activations_have_exact_derivatives() {
    // Away from zero, where the second derivative of relu² jumps.
    let sign = noise(3, &[4, 6]).sign().unwrap();
    let x = (positive(&[4, 6]) * sign).unwrap();
    for activation in Activation::ALL {
        check(activation.name(), &x, |x| x.activate(activation));
    }
}

#[test]
fn binary_operations_have_exact_derivatives_in_both_arguments() {
    let (x, y) = (noise(4, &[3, 5]), positive(&[3, 5]));
    let (row, column) = (positive(&[5]), positive(&[3, 1]));
    type Binary = fn(&Dual, &Dual) -> Result<Dual>;
    let operations: [(&str, Binary); 4] =
        [("add", Dual::add), ("sub", Dual::sub), ("mul", Dual::mul), ("div", Dual::div)];
    for (name, op) in operations {
        for (shape, other) in [("same", &y), ("row", &row), ("column", &column)] {
            let other = Dual::constant(other.clone());
            check(&format!("{name}, {shape}, left"), &x, |x| op(x, &other));
        }
        let left = Dual::constant(x.clone());
        for (shape, right) in [("same", &y), ("row", &row), ("column", &column)] {
            check(&format!("{name}, {shape}, right"), right, |r| op(&left, r));
        }
        check(&format!("{name}, both"), &y, |y| op(&y.sqr()?, y));
    }
}

#[test]
fn products_of_matrices_have_exact_derivatives() {
    let (x, w, b) = (noise(5, &[4, 3]), noise(6, &[2, 3]), noise(7, &[2]));
    check("linear", &x, |x| x.linear(&w, Some(&b)));
    check("linear without bias", &x, |x| x.linear(&w, None));
    check("linear, rank 3", &noise(8, &[2, 4, 3]), |x| x.linear(&w, Some(&b)));
    let y = Dual::constant(noise(9, &[3, 5]));
    check("matmul, left", &x, |x| x.matmul(&y));
    let left = Dual::constant(x.clone());
    check("matmul, right", &noise(10, &[3, 5]), |y| left.matmul(y));
    check("matmul, both", &noise(11, &[2, 3, 3]), |x| x.matmul(&x.t()?));
}

#[test]
fn linear_layer_gives_exact_gradients_to_weight_and_bias() {
    let (x, dx) = (noise(12, &[4, 3]), noise(13, &[4, 3]));
    let (w, b) = (noise(14, &[2, 3]), noise(15, &[2]));
    let loss = |w: &Tensor, b: &Tensor| {
        let y = Dual::new(x.clone(), dx.clone()).unwrap().linear(w, Some(b)).unwrap();
        let y = y.activate(Activation::GeluTanh).unwrap();
        y.tangent().unwrap().sqr().unwrap().sum_all().unwrap()
    };
    let (w_var, b_var) = (Var::from_tensor(&w).unwrap(), Var::from_tensor(&b).unwrap());
    let gradients = loss(&w_var, &b_var).backward().unwrap();
    let scalar = |t: Tensor| vec![t.to_scalar::<f64>().unwrap()];
    let (dw, db) = (noise(16, &[2, 3]), noise(17, &[2]));
    let along = |var: &Var, d: &Tensor| scalar((gradients.get(var).unwrap() * d).unwrap().sum_all().unwrap());
    let by_weight = central(|h| scalar(loss(&(&w + (&dw * h).unwrap()).unwrap(), &b)));
    let by_bias = central(|h| scalar(loss(&w, &(&b + (&db * h).unwrap()).unwrap())));
    assert!(distance(&along(&w_var, &dw), &by_weight) < TOLERANCE);
    assert!(distance(&along(&b_var, &db), &by_bias) < TOLERANCE);
}

#[test]
fn shapes_reductions_and_joins_have_exact_derivatives() {
    let x = noise(18, &[2, 3, 4]);
    check("reshape", &x, |x| x.reshape(&[6, 4])?.sqr());
    check("transpose", &x, |x| x.transpose(0, 2)?.sqr());
    check("permute", &x, |x| x.permute(&[2, 0, 1])?.sqr());
    check("narrow", &x, |x| x.narrow(1, 1, 2)?.sqr());
    check("unsqueeze", &x, |x| x.unsqueeze(1)?.sqr());
    check("contiguous", &x, |x| x.transpose(0, 1)?.contiguous()?.sqr());
    check("broadcast_as", &noise(19, &[2, 1, 4]), |x| x.broadcast_as(&[2, 3, 4])?.sqr());
    check("column", &noise(20, &[3]), |x| x.column(3)?.sqr());
    check("sum_keepdim", &x, |x| x.sum_keepdim(1)?.sqr());
    check("mean_keepdim", &x, |x| x.mean_keepdim(2)?.sqr());
    check("sum_per_sample", &x, |x| x.sum_per_sample()?.sqr());
    check("sum_all", &x, |x| x.sum_all()?.sqr());
    let rows = Tensor::new(&[1u32, 0, 1], &Device::Cpu).unwrap();
    check("index_select", &x, |x| x.index_select(&rows, 1)?.sqr());
    let other = Dual::constant(noise(21, &[2, 3, 1]));
    check("cat_last", &x, |x| Dual::cat_last(&[x.sqr()?, other.clone(), x.clone()]));
    check("cat", &x, |x| Dual::cat(&[x.clone(), x.sqr()?], 0));
}

#[test]
fn normalizations_and_softmax_have_exact_derivatives() {
    let x = noise(22, &[3, 8]);
    check("layer_norm", &x, |x| x.layer_norm(1e-5));
    check("rms_norm", &x, |x| x.rms_norm(1e-5));
    check("unit_magnitude", &noise(24, &[2, 5, 3]), |x| x.unit_magnitude(1, 1e-4));
    check("group_norm", &noise(23, &[2, 6, 2, 3]), |x| x.group_norm(3, 1e-5));
    check("softmax", &x, |x| x.softmax(1));
    check("log_softmax", &x, |x| x.log_softmax(1));
    check("softmax of the first dimension", &x, |x| x.softmax(0));
}

#[test]
fn attention_has_exact_derivatives_in_queries_keys_and_values() {
    let (q, k, v) = (noise(24, &[2, 2, 3, 4]), noise(25, &[2, 2, 5, 4]), noise(26, &[2, 2, 5, 3]));
    let constant = |x: &Tensor| Dual::constant(x.clone());
    check("queries", &q, |q| q.attention(&constant(&k), &constant(&v)));
    check("keys", &k, |k| constant(&q).attention(k, &constant(&v)));
    check("values", &v, |v| constant(&q).attention(&constant(&k), v));
}

#[test]
fn image_operations_have_exact_derivatives() {
    let x = noise(27, &[2, 3, 6, 4]);
    let (k3, k1) = (noise(28, &[4, 3, 3, 3]), noise(29, &[5, 3, 1, 1]));
    check("conv2d 3x3", &x, |x| x.conv2d(&k3, 1, 1));
    check("conv2d 3x3, stride 2", &x, |x| x.conv2d(&k3, 1, 2));
    check("conv2d 1x1", &x, |x| x.conv2d(&k1, 0, 1));
    // Candle's own up-sampling overwrites the gradient of a skip connection; ours must not.
    check("upsample_nearest2d and skip", &x, |x| x.upsample_nearest2d(2)?.sqr()?.avg_pool2d(2)?.mul(x));
    check("avg_pool2d", &x, |x| x.avg_pool2d(2)?.sqr());
}

#[test]
fn wrong_sizes_are_typed_errors() {
    let x = Dual::constant(noise(30, &[2, 3, 6, 5]));
    assert!(matches!(x.group_norm(2, 1e-5), Err(flowmap_dual::Error::Groups { .. })));
    assert!(matches!(x.avg_pool2d(2), Err(flowmap_dual::Error::Pooling { .. })));
    assert!(matches!(Dual::cat(&[], 0), Err(flowmap_dual::Error::EmptyCat)));
}
