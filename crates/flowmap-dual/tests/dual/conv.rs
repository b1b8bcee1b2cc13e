//! Fused convolution in f32 against Candle's in f64: value, tangent, gradients, gradients of the tangent.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Dual, Error, PackedWeights};
use proptest::prelude::*;

use crate::support::{distance, distances};

/// f32 sums of some hundred terms.
const TOLERANCE: f64 = 1e-5;

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(12, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    channels: usize,
    outputs: usize,
    image: (usize, usize),
    kernel: (usize, usize),
    padding: usize,
    stride: usize,
    has_bias: bool,
    has_tangent: bool,
}

/// Value, tangent, and the gradients of w · y + z · ẏ in x, K, b and ẋ.
fn run(dtype: DType, case: Case, seed: u64) -> Vec<Tensor> {
    let Case { batch, channels, outputs, image, kernel, padding, stride, has_bias, has_tangent } = case;
    let cast = |t: Tensor| t.to_dtype(dtype).unwrap();
    let var = |i: u64, dims: &[usize], scale: f64| {
        Var::from_tensor(&cast((noise(10 * seed + i, dims) * scale).unwrap())).unwrap()
    };
    let dims = [batch, channels, image.0, image.1];
    let (x, dx) = (var(0, &dims, 1.0), var(1, &dims, 1.0));
    let fan_in = (channels * kernel.0 * kernel.1) as f64;
    let k = var(2, &[outputs, channels, kernel.0, kernel.1], 1.0 / fan_in.sqrt());
    let bias = var(3, &[outputs], 1.0);
    let input = match has_tangent {
        true => Dual::new(x.as_tensor().clone(), dx.as_tensor().clone()).unwrap(),
        false => Dual::constant(x.as_tensor().clone()),
    };
    let y = match has_bias {
        true => input.conv2d_bias(&k, &bias, padding, stride).unwrap(),
        false => input.conv2d(&k, padding, stride).unwrap(),
    };
    let (w, z) = (cast(noise(10 * seed + 4, y.dims())), cast(noise(10 * seed + 5, y.dims())));
    let mut loss = (y.primal() * w).unwrap().sum_all().unwrap();
    let mut found = vec![y.primal().clone()];
    let mut vars = vec![&x, &k];
    if has_bias {
        vars.push(&bias);
    }
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

/// The largest distance of the fused convolution from the composed one, over all that [`run`] gives.
fn worst(case: Case, seed: u64) -> f64 {
    let (fused, composed) = (run(DType::F32, case, seed), run(DType::F64, case, seed));
    let n_values = if case.has_tangent { 2 } else { 1 };
    distances(&fused, &composed, n_values).into_iter().fold(0.0, f64::max)
}

/// Cases whose window fits into the padded image.
fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1usize..5, 1usize..9, 1usize..15, (1usize..24, 1usize..24), (1usize..6, 1usize..6));
    let steps = (0usize..4, 1usize..4, any::<bool>(), any::<bool>());
    (sizes, steps)
        .prop_map(|((batch, channels, outputs, image, kernel), (padding, stride, has_bias, has_tangent))| {
            Case { batch, channels, outputs, image, kernel, padding, stride, has_bias, has_tangent }
        })
        .prop_filter("the window must fit", |c| {
            c.image.0 + 2 * c.padding >= c.kernel.0 && c.image.1 + 2 * c.padding >= c.kernel.1
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn fused_convolution_agrees_with_the_composed_oracle(case in cases(), seed in 0u64..1000) {
        let worst = worst(case, seed);
        prop_assert!(worst < TOLERANCE, "{case:?}: off by {worst:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    #[test]
    fn large_convolution_agrees_with_the_composed_oracle(case in large_cases(), seed in 0u64..1000) {
        let worst = worst(case, seed);
        prop_assert!(worst < TOLERANCE, "{case:?}: off by {worst:e}");
    }
}

/// Cases with 3x3 kernels and as many channels and pixels as the transforms of Winograd are worth.
fn large_cases() -> impl Strategy<Value = Case> {
    let sizes = (1usize..5, 24usize..40, 24usize..40, (14usize..24, 14usize..24));
    (sizes, 0usize..3, any::<bool>(), any::<bool>()).prop_map(
        |((batch, channels, outputs, image), padding, has_bias, has_tangent)| {
            let (kernel, stride) = ((3, 3), 1);
            Case { batch, channels, outputs, image, kernel, padding, stride, has_bias, has_tangent }
        },
    )
}

const USUAL: Case = Case {
    batch: 3,
    channels: 27,
    outputs: 29,
    image: (28, 28),
    kernel: (3, 3),
    padding: 1,
    stride: 1,
    has_bias: true,
    has_tangent: true,
};

#[test]
fn sizes_of_networks_agree_with_the_composed_oracle() {
    let cases = [
        USUAL,
        Case { kernel: (1, 1), padding: 0, ..USUAL },
        Case { stride: 2, ..USUAL },
        Case { image: (33, 26), stride: 2, ..USUAL },
        Case { image: (70, 61), channels: 3, batch: 1, ..USUAL },
        Case { image: (4, 4), channels: 40, batch: 37, ..USUAL },
        Case { image: (2, 2), padding: 3, stride: 3, kernel: (5, 5), ..USUAL },
        Case { kernel: (1, 1), padding: 3, stride: 2, ..USUAL },
        Case { channels: 3, ..USUAL },
        Case { padding: 0, image: (28, 31), ..USUAL },
        Case { padding: 2, image: (27, 28), ..USUAL },
        Case { image: (7, 7), channels: 48, outputs: 25, batch: 21, has_bias: false, ..USUAL },
        Case { image: (95, 6), channels: 32, outputs: 31, batch: 2, has_tangent: false, ..USUAL },
    ];
    for case in cases {
        let worst = worst(case, 3);
        assert!(worst < TOLERANCE, "{case:?}: off by {worst:e}");
    }
}

#[test]
fn number_of_threads_does_not_change_a_bit() {
    let on = |n: usize, case: Case| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let all = pool.install(|| run(DType::F32, case, 5));
        all.iter().map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect::<Vec<_>>()
    };
    for case in [Case { batch: 9, ..USUAL }, Case { image: (50, 47), stride: 2, ..USUAL }] {
        assert_eq!(on(1, case), on(3, case));
    }
}

#[test]
fn shared_kernels_give_the_same_bits() {
    for case in [Case { batch: 4, ..USUAL }, Case { stride: 2, ..USUAL }, Case { image: (6, 6), ..USUAL }] {
        let all = || run(DType::F32, case, 7);
        let alone = all();
        let packed = PackedWeights::default();
        for _ in 0..2 {
            let shared = packed.share(all);
            assert!(alone.iter().zip(&shared).all(|(a, b)| distance(a, b) == 0.0), "{case:?}");
        }
    }
    // One kernel with images of many pixels and of few, which take it in different forms.
    let (packed, k) = (PackedWeights::default(), noise(1, &[25, 24, 3, 3]).to_dtype(DType::F32).unwrap());
    for (i, side) in [20usize, 4, 20, 4].into_iter().enumerate() {
        let x = noise(2 + i as u64, &[1, 24, side, side]).to_dtype(DType::F32).unwrap();
        let of = || Dual::constant(x.clone()).conv2d(&k, 1, 1).unwrap();
        assert_eq!(distance(packed.share(of).primal(), of().primal()), 0.0);
    }
}

#[test]
fn stacked_result_of_one_convolution_feeds_the_next() {
    let (k1, k2) = (noise(1, &[5, 3, 3, 3]), noise(2, &[2, 5, 1, 1]));
    let (x, dx) = (noise(3, &[2, 3, 9, 7]), noise(4, &[2, 3, 9, 7]));
    let network = |dtype: DType| {
        let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
        let h = Dual::new(cast(&x), cast(&dx)).unwrap().conv2d(&cast(&k1), 1, 2).unwrap();
        h.conv2d(&cast(&k2), 0, 1).unwrap()
    };
    let (fused, composed) = (network(DType::F32), network(DType::F64));
    assert!(distance(fused.primal(), composed.primal()) < TOLERANCE);
    assert!(distance(fused.tangent().unwrap(), composed.tangent().unwrap()) < TOLERANCE);
}

#[test]
fn strided_views_are_convolved_as_their_copies() {
    let (x, k) = (noise(5, &[2, 9, 7, 3]), noise(6, &[4, 3, 3, 3]));
    let (x, k) = (x.to_dtype(DType::F32).unwrap(), k.to_dtype(DType::F32).unwrap());
    let (x, k) = (x.permute((0, 3, 1, 2)).unwrap(), k.t().unwrap());
    let of = |x: &Tensor, k: &Tensor| Dual::constant(x.clone()).conv2d(k, 1, 1).unwrap();
    let (view, copy) = (of(&x, &k), of(&x.contiguous().unwrap(), &k.contiguous().unwrap()));
    assert_eq!(distance(view.primal(), copy.primal()), 0.0);
}

#[test]
fn wrong_shapes_are_typed_errors() {
    for dtype in [DType::F32, DType::F64] {
        let of = |dims: &[usize]| noise(7, dims).to_dtype(dtype).unwrap();
        let x = Dual::constant(of(&[2, 3, 6, 5]));
        let k = of(&[4, 3, 3, 3]);
        assert!(matches!(x.conv2d(&of(&[4, 2, 3, 3]), 1, 1), Err(Error::ConvolutionShapes { .. })));
        assert!(matches!(x.conv2d(&of(&[4, 3, 3]), 1, 1), Err(Error::ConvolutionShapes { .. })));
        let flat = Dual::constant(of(&[3, 6, 5]));
        assert!(matches!(flat.conv2d(&k, 1, 1), Err(Error::ConvolutionShapes { .. })));
        assert!(matches!(x.conv2d(&k, 1, 0), Err(Error::ConvolutionWindow { .. })));
        assert!(matches!(x.conv2d(&of(&[4, 3, 3, 6]), 0, 1), Err(Error::ConvolutionWindow { .. })));
        assert!(matches!(x.conv2d(&of(&[4, 3, 9, 3]), 1, 1), Err(Error::ConvolutionWindow { .. })));
        assert!(matches!(x.conv2d_bias(&k, &of(&[3]), 1, 1), Err(Error::ConvolutionBias { .. })));
        assert!(matches!(x.conv2d_bias(&k, &of(&[4, 1]), 1, 1), Err(Error::ConvolutionBias { .. })));
    }
}

#[test]
fn empty_batch_gives_an_empty_result() {
    let x = Dual::constant(noise(8, &[0, 3, 6, 5]).to_dtype(DType::F32).unwrap());
    let y = x.conv2d(&noise(9, &[4, 3, 3, 3]).to_dtype(DType::F32).unwrap(), 1, 1).unwrap();
    assert_eq!(y.dims(), [0, 4, 6, 5]);
}
