//! The fused layer in f32 against the composed operations in f64: value, tangent, gradient, gradient of the tangent.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Activation, DenseLayer, Dual, GradientSums, PackedWeights};
use proptest::prelude::*;

use crate::support::{distance, distances};

/// f32 sums of up to 70 terms, and 1.5e-7 of the error function in `gelu_erf`.
const TOLERANCE: f64 = 1e-5;

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(11, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Value, tangent, and the gradients of w · y + z · ẏ in x, ẋ, W and b.
fn run(
    dtype: DType,
    sizes: (usize, usize, usize),
    activation: Option<Activation>,
    has_tangent: bool,
    seed: u64,
) -> Vec<Tensor> {
    let (batch, d_in, d_out) = sizes;
    let cast = |t: Tensor| t.to_dtype(dtype).unwrap();
    let var = |i: u64, dims: &[usize]| Var::from_tensor(&cast(noise(10 * seed + i, dims))).unwrap();
    let (x, dx) = (var(0, &[batch, d_in]), var(1, &[batch, d_in]));
    // Weights of the size that networks have: with larger ones f32 itself, not the kernel, loses the digits.
    let weight = (noise(10 * seed + 2, &[d_out, d_in]) / (d_in as f64).sqrt()).unwrap();
    let (weight, bias) = (Var::from_tensor(&cast(weight)).unwrap(), var(3, &[d_out]));
    let input = match has_tangent {
        true => Dual::new(x.as_tensor().clone(), dx.as_tensor().clone()).unwrap(),
        false => Dual::constant(x.as_tensor().clone()),
    };
    let y = match activation {
        Some(activation) => input.linear_activation(&weight, &bias, activation).unwrap(),
        None => input.linear(&weight, Some(&bias)).unwrap(),
    };
    let (w, z) = (cast(noise(10 * seed + 4, y.dims())), cast(noise(10 * seed + 5, y.dims())));
    let mut loss = (y.primal() * w).unwrap().sum_all().unwrap();
    let mut found = vec![y.primal().clone()];
    let mut vars = vec![&x, &weight, &bias];
    if has_tangent {
        loss = (loss + (y.tangent().unwrap() * z).unwrap().sum_all().unwrap()).unwrap();
        found.push(y.tangent().unwrap().clone());
        vars.push(&dx);
    } else {
        assert!(y.tangent().is_none());
    }
    let gradients = loss.backward().unwrap();
    found.extend(vars.into_iter().map(|v| gradients.get(v).unwrap().clone()));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn fused_layer_agrees_with_the_composed_oracle(
        batch in 1usize..600,
        d_in in 1usize..70,
        d_out in 1usize..70,
        which in 0usize..6,
        has_tangent: bool,
        seed in 0u64..1000,
    ) {
        let activation = Activation::ALL.get(which).copied();
        let sizes = (batch, d_in, d_out);
        let fused = run(DType::F32, sizes, activation, has_tangent, seed);
        let composed = run(DType::F64, sizes, activation, has_tangent, seed);
        for (i, distance) in distances(&fused, &composed, if has_tangent { 2 } else { 1 }).into_iter().enumerate() {
            // The second derivative of relu² jumps where rounding may change the sign.
            let tolerance = if activation == Some(Activation::ReluSquared) { 1e-3 } else { TOLERANCE };
            prop_assert!(distance < tolerance, "{activation:?} {sizes:?} output {i}: off by {distance:e}");
        }
    }
}

proptest! {
    #[test]
    fn fused_sine_and_cosine_agree_with_the_composed_oracle(
        rows in 1usize..400,
        n in 1usize..40,
        has_tangent: bool,
        size in prop::sample::select(vec![1.0, 100.0, 1e5]),
        seed in 0u64..1000,
    ) {
        let x = (noise(10 * seed, &[rows, n]) * size).unwrap().to_dtype(DType::F32).unwrap();
        let run = |dtype: DType| {
            let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
            let x = Var::from_tensor(&cast(&x)).unwrap();
            let dx = Var::from_tensor(&cast(&noise(10 * seed + 1, &[rows, n]))).unwrap();
            let input = match has_tangent {
                true => Dual::new(x.as_tensor().clone(), dx.as_tensor().clone()).unwrap(),
                false => Dual::constant(x.as_tensor().clone()),
            };
            let y = input.sin_cos().unwrap();
            let (w, z) = (cast(&noise(10 * seed + 2, y.dims())), cast(&noise(10 * seed + 3, y.dims())));
            let mut loss = (y.primal() * w).unwrap().sum_all().unwrap();
            let mut found = vec![y.primal().clone()];
            if let Some(dy) = y.tangent() {
                loss = (loss + (dy * z).unwrap().sum_all().unwrap()).unwrap();
                found.push(dy.clone());
            }
            let gradients = loss.backward().unwrap();
            found.extend([&x, &dx].into_iter().filter_map(|v| gradients.get(v).cloned()));
            found
        };
        let (fused, composed) = (run(DType::F32), run(DType::F64));
        for (i, distance) in distances(&fused, &composed, if has_tangent { 2 } else { 1 }).into_iter().enumerate() {
            prop_assert!(distance < TOLERANCE, "({rows}, {n}) of size {size} output {i}: off by {distance:e}");
        }
    }
}

/// Value, tangent, and all gradients of w · y + z · ẏ through several layers.
fn run_layers(dtype: DType, rows: usize, widths: &[usize], has_tangent: bool, seed: u64) -> Vec<Tensor> {
    let cast = |t: Tensor| t.to_dtype(dtype).unwrap();
    let var = |i: u64, dims: &[usize], scale: f64| {
        let start = (noise(100 * seed + i, dims) * scale).unwrap();
        Var::from_tensor(&cast(start)).unwrap()
    };
    let (x, dx) = (var(0, &[rows, widths[0]], 1.0), var(1, &[rows, widths[0]], 1.0));
    let parameters: Vec<(Var, Var)> = widths
        .windows(2)
        .enumerate()
        .map(|(i, w)| {
            let i = 10 + 2 * i as u64;
            (var(i, &[w[1], w[0]], (w[0] as f64).sqrt().recip()), var(i + 1, &[w[1]], 0.3))
        })
        .collect();
    let input = match has_tangent {
        true => Dual::new(x.as_tensor().clone(), dx.as_tensor().clone()).unwrap(),
        false => Dual::constant(x.as_tensor().clone()),
    };
    // The third layer has no activation, the others differ.
    let activations = [Some(Activation::GeluTanh), Some(Activation::Silu), None, Some(Activation::Tanh)];
    let layers: Vec<DenseLayer<'_>> = parameters
        .iter()
        .zip(activations)
        .map(|((weight, bias), activation)| DenseLayer { weight, bias, activation })
        .collect();
    let all: Vec<&Tensor> = parameters.iter().flat_map(|(w, b)| [w.as_tensor(), b.as_tensor()]).collect();
    let mut sums = GradientSums::new(match dtype {
        DType::F32 => all.clone(),
        _ => Vec::new(),
    });
    let (mut found, gradients) = sums.collect(|| {
        let y = input.layers(&layers).unwrap();
        let (w, z) = (cast(noise(100 * seed + 2, y.dims())), cast(noise(100 * seed + 3, y.dims())));
        let mut loss = (y.primal() * w).unwrap().sum_all().unwrap();
        let mut found = vec![y.primal().clone()];
        if let Some(dy) = y.tangent() {
            loss = (loss + (dy * z).unwrap().sum_all().unwrap()).unwrap();
            found.push(dy.clone());
        }
        (found, loss.backward().unwrap())
    });
    found.extend([&x, &dx].into_iter().filter_map(|v| gradients.get(v).cloned()));
    found.extend(all.iter().map(|w| sums.take(w).unwrap().or(gradients.get(w).cloned()).unwrap()));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn layers_run_as_one_agree_with_the_composed_oracle(
        rows in 1usize..150,
        widths in prop::collection::vec(1usize..40, 2..6),
        has_tangent: bool,
        seed in 0u64..1000,
    ) {
        let fused = run_layers(DType::F32, rows, &widths, has_tangent, seed);
        let composed = run_layers(DType::F64, rows, &widths, has_tangent, seed);
        for (i, distance) in distances(&fused, &composed, if has_tangent { 2 } else { 1 }).into_iter().enumerate() {
            prop_assert!(distance < TOLERANCE, "{rows} rows of {widths:?} output {i}: off by {distance:e}");
        }
    }
}

#[test]
fn number_of_threads_does_not_change_a_bit() {
    let on = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let sizes = (1000, 33, 65);
        let all = pool.install(|| run(DType::F32, sizes, Some(Activation::GeluTanh), true, 5));
        all.iter().map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn two_layers_pass_their_tangent_on_without_loss() {
    let (w1, b1, w2, b2) = (noise(1, &[8, 3]), noise(2, &[8]), noise(3, &[2, 8]), noise(4, &[2]));
    let (x, dx) = (noise(5, &[7, 3]), noise(6, &[7, 3]));
    let network = |dtype: DType| {
        let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
        let h = Dual::new(cast(&x), cast(&dx)).unwrap();
        let h = h.linear_activation(&cast(&w1), &cast(&b1), Activation::Silu).unwrap();
        h.linear(&cast(&w2), Some(&cast(&b2))).unwrap()
    };
    let (fused, composed) = (network(DType::F32), network(DType::F64));
    assert!(distance(fused.primal(), composed.primal()) < TOLERANCE);
    assert!(distance(fused.tangent().unwrap(), composed.tangent().unwrap()) < TOLERANCE);
}

/// The loss of two uses of one layer, its value and its gradients in W and b.
fn two_uses(x: &Dual, weight: &Var, bias: &Var) -> (Tensor, candle_core::backprop::GradStore) {
    let y = x.linear_activation(weight, bias, Activation::Silu).unwrap();
    let z = y.linear_activation(weight, bias, Activation::GeluTanh).unwrap();
    let loss = (z.primal().sqr().unwrap() + z.tangent().unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    (loss, gradients)
}

#[test]
fn shared_weights_and_sums_of_gradients_give_what_the_plain_pass_gives() {
    let f32 = |i, dims: &[usize]| noise(i, dims).to_dtype(DType::F32).unwrap();
    let (weight, bias) =
        (Var::from_tensor(&f32(1, &[19, 19])).unwrap(), Var::from_tensor(&f32(2, &[19])).unwrap());
    let x = Dual::new(f32(3, &[50, 19]), f32(4, &[50, 19])).unwrap();
    let (loss, gradients) = two_uses(&x, &weight, &bias);
    let packed = PackedWeights::default();
    let mut sums = GradientSums::new([weight.as_tensor(), bias.as_tensor()]);
    // The second pass finds the weights packed.
    for _ in 0..2 {
        let (same, left) = packed.share(|| sums.collect(|| two_uses(&x, &weight, &bias)));
        assert_eq!(loss.to_scalar::<f32>().unwrap(), same.to_scalar::<f32>().unwrap());
        assert!(left.get(&weight).is_none() && left.get(&bias).is_none());
    }
    for var in [&weight, &bias] {
        let sum = sums.take(var).unwrap().unwrap();
        let twice = (gradients.get(var).unwrap() * 2.0).unwrap();
        assert!(distance(&sum, &twice) < TOLERANCE);
        assert!(sums.take(var).unwrap().is_none());
    }
}

#[test]
fn row_does_not_depend_on_its_batch_where_weights_are_shared() {
    let f32 = |i, dims: &[usize]| noise(i, dims).to_dtype(DType::F32).unwrap();
    let (weight, bias, x) = (f32(1, &[70, 33]), f32(2, &[70]), f32(3, &[200, 33]));
    let packed = PackedWeights::default();
    let rows = |first: usize, n: usize| {
        let x = Dual::constant(x.narrow(0, first, n).unwrap());
        let y = packed.share(|| x.linear_activation(&weight, &bias, Activation::GeluTanh)).unwrap();
        y.primal().to_vec2::<f32>().unwrap()
    };
    let all = rows(0, 200);
    for (first, n) in [(0, 1), (7, 3), (100, 37), (199, 1)] {
        assert_eq!(rows(first, n), all[first..first + n]);
    }
}

#[test]
fn leading_dimensions_are_rows() {
    let (weight, bias) = (noise(1, &[5, 4]), noise(2, &[5]));
    let (x, dx) = (noise(3, &[2, 3, 4]), noise(4, &[2, 3, 4]));
    let layer = |dtype: DType| {
        let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
        let x = Dual::new(cast(&x), cast(&dx)).unwrap();
        x.linear_activation(&cast(&weight), &cast(&bias), Activation::Tanh).unwrap()
    };
    let (fused, composed) = (layer(DType::F32), layer(DType::F64));
    assert_eq!(fused.dims(), [2, 3, 5]);
    assert!(distance(fused.primal(), composed.primal()) < TOLERANCE);
    assert!(distance(fused.tangent().unwrap(), composed.tangent().unwrap()) < TOLERANCE);
}

#[test]
fn wrong_sizes_are_errors() {
    let x = Dual::constant(noise(1, &[4, 3]).to_dtype(DType::F32).unwrap());
    let (w, b) =
        (noise(2, &[2, 5]).to_dtype(DType::F32).unwrap(), noise(3, &[2]).to_dtype(DType::F32).unwrap());
    assert!(x.linear(&w, Some(&b)).is_err());
}
