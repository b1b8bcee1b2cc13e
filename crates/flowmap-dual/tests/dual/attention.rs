//! Fused attention in f32 against the composed operations in f64: value, tangent, gradients, gradients of the tangent.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Dual, Error};
use proptest::prelude::*;

/// f32 sums of up to a few hundred terms of order one.
const TOLERANCE: f64 = 1e-5;
/// Scores of 80 are right to 80 · 6e-8 in f32, and the weights e^s relatively so; their tangents multiply that by 80.
const LARGE_SCORES: f64 = 1e-3;

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(13, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Variables for each operand and its tangent, if it has one; the operands as duals.
fn duals(
    dtype: DType,
    shapes: &[Vec<usize>],
    has_tangent: &[bool],
    size: f64,
    seed: u64,
) -> (Vec<Var>, Vec<Dual>) {
    let mut vars = Vec::new();
    let mut var = |i: usize, dims: &[usize]| {
        let values = (noise(20 * seed + i as u64, dims) * size).unwrap().to_dtype(dtype).unwrap();
        vars.push(Var::from_tensor(&values).unwrap());
        vars.last().unwrap().as_tensor().clone()
    };
    let parts = shapes.iter().zip(has_tangent).enumerate();
    let duals = parts.map(|(i, (dims, has_tangent))| match has_tangent {
        true => Dual::new(var(2 * i, dims), var(2 * i + 1, dims)).unwrap(),
        false => Dual::constant(var(2 * i, dims)),
    });
    let duals = duals.collect();
    (vars, duals)
}

/// Value, tangent, and the gradients of w · y + z · ẏ in all variables.
fn outcome(vars: &[Var], y: &Dual, seed: u64) -> Vec<Tensor> {
    // Weights for which the gradients of the softmax are of order one.
    let size = (*y.dims().last().unwrap() as f64).sqrt().recip();
    let weights = |i: u64| (noise(20 * seed + i, y.dims()) * size).unwrap().to_dtype(y.dtype()).unwrap();
    let mut loss = (y.primal() * weights(10)).unwrap().sum_all().unwrap();
    let mut found = vec![y.primal().clone()];
    if let Some(tangent) = y.tangent() {
        loss = (loss + (tangent * weights(11)).unwrap().sum_all().unwrap()).unwrap();
        found.push(tangent.clone());
    }
    let gradients = loss.backward().unwrap();
    found.extend(vars.iter().map(|v| gradients.get(v).unwrap().clone()));
    found
}

/// Sizes B, heads, N, M, d, e.
type Sizes = (usize, usize, usize, usize, usize, usize);

fn attention(dtype: DType, sizes: Sizes, has_tangent: [bool; 3], size: f64, seed: u64) -> Vec<Tensor> {
    let (batch, heads, n, m, d, e) = sizes;
    let shapes = [vec![batch, heads, n, d], vec![batch, heads, m, d], vec![batch, heads, m, e]];
    let (vars, duals) = duals(dtype, &shapes, &has_tangent, size, seed);
    let y = duals[0].attention(&duals[1], &duals[2]).unwrap();
    assert_eq!(y.tangent().is_some(), has_tangent.contains(&true));
    outcome(&vars, &y, seed)
}

/// Sizes B, heads, N, d.
fn self_attention(
    dtype: DType,
    (batch, heads, n, d): (usize, usize, usize, usize),
    has_tangent: bool,
    seed: u64,
) -> Vec<Tensor> {
    let (vars, duals) = duals(dtype, &[vec![batch, n, 3 * heads * d]], &[has_tangent], 1.0, seed);
    let y = duals[0].self_attention(heads).unwrap();
    assert_eq!(y.tangent().is_some(), has_tangent);
    outcome(&vars, &y, seed)
}

/// The largest distance, relative to the largest number or to one.
fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let values =
        |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1f64, |m, v| m.max(v.abs()));
    // Not `max`, which drops what is not a number.
    let larger = |m: f64, (a, b): (&f64, &f64)| if (a - b).abs() <= m { m } else { (a - b).abs() };
    found.iter().zip(&expected).fold(0f64, larger) / scale
}

fn largest_distance(found: &[Tensor], expected: &[Tensor]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(f, e)| distance(f, e)).fold(0f64, |m, d| if d <= m { m } else { d })
}

fn check_attention(sizes: Sizes, has_tangent: [bool; 3], seed: u64) {
    let run = |dtype: DType| attention(dtype, sizes, has_tangent, 1.0, seed);
    let distance = largest_distance(&run(DType::F32), &run(DType::F64));
    assert!(distance < TOLERANCE, "{sizes:?} {has_tangent:?}: off by {distance:e}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn fused_attention_agrees_with_the_composed_oracle(
        (batch, heads) in (1usize..4, 1usize..4),
        (n, m) in (1usize..50, 1usize..50),
        (d, e) in (1usize..40, 1usize..40),
        has_tangent: [bool; 3],
        seed in 0u64..1000,
    ) {
        check_attention((batch, heads, n, m, d, e), has_tangent, seed);
    }

    #[test]
    fn fused_self_attention_agrees_with_the_composed_oracle(
        sizes in (1usize..4, 1usize..5, 1usize..50, 1usize..40),
        has_tangent: bool,
        seed in 0u64..1000,
    ) {
        let run = |dtype: DType| self_attention(dtype, sizes, has_tangent, seed);
        let distance = largest_distance(&run(DType::F32), &run(DType::F64));
        prop_assert!(distance < TOLERANCE, "{sizes:?}: off by {distance:e}");
    }
}

#[test]
fn several_blocks_of_queries_agree_with_the_oracle() {
    for has_tangent in [[false; 3], [true; 3], [false, true, false]] {
        check_attention((1, 2, 203, 37, 9, 5), has_tangent, 1);
        check_attention((1, 1, 100, 700, 8, 20), has_tangent, 2);
        check_attention((2, 1, 19, 2000, 3, 4), has_tangent, 3);
    }
}

#[test]
fn one_query_or_one_key_is_enough() {
    for has_tangent in [[false; 3], [true; 3]] {
        check_attention((3, 2, 1, 17, 8, 8), has_tangent, 4);
        check_attention((3, 2, 17, 1, 8, 8), has_tangent, 5);
        check_attention((1, 1, 1, 1, 1, 1), has_tangent, 6);
    }
}

#[test]
fn both_forms_of_self_attention_give_the_same_bits() {
    let (batch, heads, n, d) = (2, 3, 70, 5);
    let cast = |t: Tensor| t.to_dtype(DType::F32).unwrap();
    let dims = [batch, n, 3 * heads * d];
    let dual = Dual::new(cast(noise(1, &dims)), cast(noise(2, &dims))).unwrap();
    for x in [Dual::from(dual.primal()), dual] {
        let packed = x.self_attention(heads).unwrap();
        let heads_of = x.reshape(&[batch, n, 3 * heads, d]).unwrap();
        // Views with rows that lie apart.
        let part = |i: usize| heads_of.narrow(2, i * heads, heads).unwrap().transpose(1, 2).unwrap();
        let apart = part(0).attention(&part(1), &part(2)).unwrap();
        let apart = apart.transpose(1, 2).unwrap().reshape(&[batch, n, heads * d]).unwrap();
        let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(bits(packed.primal()), bits(apart.primal()));
        assert_eq!(packed.tangent().map(bits), apart.tangent().map(bits));
    }
}

#[test]
fn large_scores_stay_finite_and_right() {
    // Scores c q · k of standard deviation 80.
    let size = 80f64.sqrt();
    for has_tangent in [[false; 3], [true; 3]] {
        let run = |dtype: DType| attention(dtype, (2, 2, 33, 21, 6, 7), has_tangent, size, 7);
        let found = run(DType::F32);
        let distance = largest_distance(&found, &run(DType::F64));
        assert!(distance < LARGE_SCORES, "off by {distance:e}");
    }
}

#[test]
fn number_of_threads_does_not_change_a_bit() {
    let on = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let all = pool.install(|| {
            let mut all = self_attention(DType::F32, (5, 3, 70, 17), true, 8);
            all.extend(attention(DType::F32, (2, 3, 70, 33, 8, 9), [true, false, true], 1.0, 9));
            all
        });
        all.iter().map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn constant_operands_get_no_gradient_and_cost_none() {
    let cast = |t: Tensor| t.to_dtype(DType::F32).unwrap();
    let q = Var::from_tensor(&cast(noise(1, &[1, 2, 5, 4]))).unwrap();
    let (k, v) = (cast(noise(2, &[1, 2, 6, 4])), cast(noise(3, &[1, 2, 6, 3])));
    let y = Dual::from(q.as_tensor()).attention(&Dual::from(&k), &Dual::from(&v)).unwrap();
    let gradients = y.primal().sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&q).is_some());
    assert!(gradients.get(&k).is_none() && gradients.get(&v).is_none());
}

#[test]
fn no_queries_give_an_empty_result() {
    let zeros = |n: usize| Dual::constant(Tensor::zeros((2, 2, n, 4), DType::F32, &Device::Cpu).unwrap());
    assert_eq!(zeros(0).attention(&zeros(3), &zeros(3)).unwrap().dims(), [2, 2, 0, 4]);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    for dtype in [DType::F32, DType::F64] {
        let zeros = |dims: &[usize]| Dual::constant(Tensor::zeros(dims, dtype, &Device::Cpu).unwrap());
        let refuses = |q: &[usize], k: &[usize], v: &[usize]| {
            let refused = zeros(q).attention(&zeros(k), &zeros(v));
            assert!(matches!(refused, Err(Error::Attention { .. })), "{q:?} {k:?} {v:?}");
        };
        refuses(&[2, 2, 3, 4], &[2, 2, 5, 3], &[2, 2, 5, 4]);
        refuses(&[2, 2, 3, 4], &[2, 2, 5, 4], &[2, 2, 6, 4]);
        refuses(&[2, 2, 3, 4], &[2, 3, 5, 4], &[2, 3, 5, 4]);
        refuses(&[1, 2, 3, 4], &[2, 2, 5, 4], &[2, 2, 5, 4]);
        refuses(&[2, 2, 3, 4], &[2, 2, 0, 4], &[2, 2, 0, 4]);
        refuses(&[2, 3, 4], &[2, 5, 4], &[2, 5, 4]);
        let refuses = |x: &[usize], heads: usize| {
            let refused = zeros(x).self_attention(heads);
            assert!(matches!(refused, Err(Error::PackedHeads { .. })), "{x:?}, {heads} heads");
        };
        refuses(&[2, 5, 13], 2);
        refuses(&[2, 5, 12], 0);
        refuses(&[2, 5, 0], 2);
        refuses(&[5, 12], 2);
    }
}
