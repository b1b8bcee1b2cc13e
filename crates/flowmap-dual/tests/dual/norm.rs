//! Fused normalizations and the gated residual in f32 against the composed operations in f64:
//! value, tangent, gradient, gradient of the tangent.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Activation, Dual, Error, Modulation};
use proptest::prelude::*;

use crate::support::{distance, distances};

/// f32 sums over rows and tokens, and 1.5e-7 of the error function in `gelu_erf`.
const TOLERANCE: f64 = 1e-5;
/// Where the second derivative jumps (relu² at 0), rounding may put a number on the other side.
const TOLERANCE_OF_A_JUMP: f64 = 1e-3;
const EPS: f64 = 1e-5;

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(12, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Layer,
    Rms,
    Group(usize),
    /// No normalization.
    Unscaled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Identity,
    Weight,
    Affine,
    PerSample,
    AffinePerSample,
}

const AFTER: [After; 5] =
    [After::Identity, After::Weight, After::Affine, After::PerSample, After::AffinePerSample];

#[derive(Clone, Debug)]
struct Case {
    operation: Operation,
    dims: Vec<usize>,
    after: After,
    activation: Option<Activation>,
    /// Which of x, scale and shift have a tangent.
    tangents: [bool; 3],
    seed: u64,
}

/// Variables of one type, in the order in which they were made.
struct Inputs {
    dtype: DType,
    seed: u64,
    vars: Vec<Var>,
}

impl Inputs {
    fn tensor(&mut self, dims: &[usize]) -> Tensor {
        let values = noise(20 * self.seed + self.vars.len() as u64, dims);
        self.vars.push(Var::from_tensor(&values.to_dtype(self.dtype).unwrap()).unwrap());
        self.vars.last().unwrap().as_tensor().clone()
    }

    fn dual(&mut self, dims: &[usize], has_tangent: bool) -> Dual {
        let primal = self.tensor(dims);
        match has_tangent {
            true => Dual::new(primal, self.tensor(dims)).unwrap(),
            false => Dual::constant(primal),
        }
    }

    /// Value, tangent, and the gradients of w · y + z · ẏ in every variable that `y` depends on.
    /// Value, tangent if there is one, and the gradients; and how many of them are values.
    fn results(&self, y: &Dual) -> (Vec<Tensor>, usize) {
        let weights = |i: u64| noise(20 * self.seed + 18 + i, y.dims()).to_dtype(self.dtype).unwrap();
        let mut loss = (y.primal() * weights(0)).unwrap().sum_all().unwrap();
        let mut found = vec![y.primal().clone()];
        if let Some(dy) = y.tangent() {
            loss = (loss + (dy * weights(1)).unwrap().sum_all().unwrap()).unwrap();
            found.push(dy.clone());
        }
        let n_values = found.len();
        let gradients = loss.backward().unwrap();
        found.extend(self.vars.iter().map(|var| gradients.get(var).unwrap().clone()));
        (found, n_values)
    }
}

fn run(dtype: DType, case: &Case) -> (Vec<Tensor>, usize) {
    let mut inputs = Inputs { dtype, seed: case.seed, vars: Vec::new() };
    let dims = &case.dims[..];
    let [x_moves, scale_moves, shift_moves] = case.tangents;
    let x = inputs.dual(dims, x_moves);
    let channels = match case.operation {
        Operation::Group(_) | Operation::Unscaled => dims[1],
        _ => dims[dims.len() - 1],
    };
    let has_weight = matches!(case.after, After::Weight | After::Affine | After::AffinePerSample);
    let has_bias = matches!(case.after, After::Affine | After::AffinePerSample);
    let is_per_sample = matches!(case.after, After::PerSample | After::AffinePerSample);
    let weight = has_weight.then(|| inputs.tensor(&[channels]));
    let bias = has_bias.then(|| inputs.tensor(&[channels]));
    let scale = is_per_sample.then(|| inputs.dual(&[dims[0], channels], scale_moves));
    let shift = is_per_sample.then(|| inputs.dual(&[dims[0], channels], shift_moves));
    let modulation = match (&weight, &scale, &shift) {
        (Some(weight), Some(scale), Some(shift)) => {
            Modulation::AffinePerSample { weight, bias: bias.as_ref(), scale, shift }
        }
        (None, Some(scale), Some(shift)) => Modulation::PerSample { scale, shift },
        (Some(weight), ..) => Modulation::Affine { weight, bias: bias.as_ref() },
        _ => Modulation::Identity,
    };
    let y = match case.operation {
        Operation::Layer => x.layer_norm_with(EPS, modulation, case.activation),
        Operation::Rms => x.rms_norm_with(EPS, modulation, case.activation),
        Operation::Group(groups) => x.group_norm_with(groups, EPS, modulation, case.activation),
        Operation::Unscaled => x.modulated(modulation, case.activation),
    }
    .unwrap();
    let moves = x_moves || (is_per_sample && (scale_moves || shift_moves));
    assert_eq!(y.tangent().is_some(), moves, "a tangent where none is due, or none where one is");
    assert_eq!(y.dims(), dims);
    inputs.results(&y)
}

fn run_gate(dtype: DType, dims: &[usize], tangents: [bool; 3], seed: u64) -> (Vec<Tensor>, usize) {
    let mut inputs = Inputs { dtype, seed, vars: Vec::new() };
    let (x, y) = (inputs.dual(dims, tangents[0]), inputs.dual(dims, tangents[1]));
    let gate = inputs.dual(&[dims[0], dims[dims.len() - 1]], tangents[2]);
    let out = x.add_gated(&y, &gate).unwrap();
    assert_eq!(out.tangent().is_some(), tangents.contains(&true));
    inputs.results(&out)
}

/// The largest distance, and which result has it.
fn worst(found: &(Vec<Tensor>, usize), expected: &(Vec<Tensor>, usize)) -> (f64, usize) {
    let distances = distances(&found.0, &expected.0, expected.1).into_iter();
    distances.enumerate().fold((0.0, 0), |worst, (i, d)| if d > worst.0 { (d, i) } else { worst })
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let (distance, which) = worst(&run(DType::F32, case), &run(DType::F64, case));
    let is_jump = case.activation == Some(Activation::ReluSquared);
    let tolerance = if is_jump { TOLERANCE_OF_A_JUMP } else { TOLERANCE };
    prop_assert!(distance < tolerance, "{case:?}: output {which} is off by {distance:e}");
    Ok(())
}

/// Activations or none.
fn activation() -> impl Strategy<Value = Option<Activation>> {
    (0..=Activation::ALL.len()).prop_map(|i| Activation::ALL.get(i).copied())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    // Rows of four numbers or more: two numbers alone normalize to ±1, where all gradients are rounding.
    #[test]
    fn fused_layer_and_rms_norm_agree_with_the_composed_oracle(
        batch in 1usize..5,
        tokens in 1usize..70,
        channels in 4usize..90,
        centered: bool,
        after in proptest::sample::select(&AFTER[..]),
        activation in activation(),
        tangents: [bool; 3],
        seed in 0u64..1000,
    ) {
        let operation = if centered { Operation::Layer } else { Operation::Rms };
        check(&Case { operation, dims: vec![batch, tokens, channels], after, activation, tangents, seed })?;
    }

    #[test]
    fn fused_group_norm_agrees_with_the_composed_oracle(
        batch in 1usize..5,
        groups in 1usize..5,
        depth in 1usize..5,
        height in 2usize..12,
        width in 2usize..12,
        after in proptest::sample::select(&AFTER[..]),
        activation in activation(),
        tangents: [bool; 3],
        seed in 0u64..1000,
    ) {
        let dims = vec![batch, groups * depth, height, width];
        let unscaled = Case { operation: Operation::Unscaled, dims: dims.clone(), after, activation, tangents, seed };
        check(&unscaled)?;
        check(&Case { operation: Operation::Group(groups), dims, after, activation, tangents, seed })?;
    }

    #[test]
    fn fused_gate_agrees_with_the_composed_oracle(
        batch in 1usize..5,
        tokens in 1usize..70,
        channels in 1usize..90,
        tangents: [bool; 3],
        seed in 0u64..1000,
    ) {
        let dims = [batch, tokens, channels];
        let of = |dtype| run_gate(dtype, &dims, tangents, seed);
        let (distance, which) = worst(&of(DType::F32), &of(DType::F64));
        prop_assert!(distance < TOLERANCE, "{dims:?} {tangents:?}: output {which} is off by {distance:e}");
    }
}

fn case(operation: Operation, dims: &[usize], after: After) -> Case {
    let activation = Some(Activation::Silu);
    Case { operation, dims: dims.to_vec(), after, activation, tangents: [true; 3], seed: 3 }
}

#[test]
fn tensors_of_many_chunks_agree_with_the_oracle() {
    // Chunks hold 16384 numbers: several for each sample, the last one shorter; and a group larger than a chunk.
    let cases = [
        case(Operation::Layer, &[2, 700, 65], After::PerSample),
        case(Operation::Rms, &[1500, 33], After::Affine),
        case(Operation::Group(2), &[2, 4, 101, 99], After::AffinePerSample),
        case(Operation::Group(8), &[9, 32, 17, 15], After::Affine),
        case(Operation::Unscaled, &[9, 32, 17, 15], After::PerSample),
    ];
    for case in cases {
        let (distance, which) = worst(&run(DType::F32, &case), &run(DType::F64, &case));
        assert!(distance < TOLERANCE, "{case:?}: output {which} is off by {distance:e}");
    }
}

#[test]
fn other_ranks_agree_with_the_oracle() {
    let cases = [
        case(Operation::Layer, &[37], After::Affine),
        case(Operation::Layer, &[5, 37], After::PerSample),
        case(Operation::Rms, &[3, 2, 5, 17], After::PerSample),
        case(Operation::Group(3), &[4, 24], After::PerSample),
        case(Operation::Group(2), &[3, 6, 11], After::Affine),
        case(Operation::Group(1), &[2, 3, 4, 5, 2], After::Identity),
    ];
    for case in cases {
        let (distance, which) = worst(&run(DType::F32, &case), &run(DType::F64, &case));
        assert!(distance < TOLERANCE, "{case:?}: output {which} is off by {distance:e}");
    }
}

#[test]
fn large_mean_costs_no_digits_beyond_those_of_the_input() {
    // x = 100 + noise has lost two digits before any normalization sees it.
    let x = (noise(1, &[4, 6, 256]) + 100.0).unwrap().to_dtype(DType::F32).unwrap();
    let norm = |dtype| {
        let x = Dual::constant(x.to_dtype(dtype).unwrap());
        x.layer_norm_with(EPS, Modulation::Identity, None).unwrap()
    };
    let distance = distance(norm(DType::F32).primal(), norm(DType::F64).primal());
    assert!(distance < TOLERANCE, "off by {distance:e}");
}

#[test]
fn composed_modulation_is_the_formula_written_out() {
    let (x, weight, bias) = (noise(1, &[2, 3, 4]), noise(2, &[4]), noise(3, &[4]));
    let (scale, shift) = (noise(4, &[2, 4]), noise(5, &[2, 4]));
    let n = Dual::constant(x.clone()).layer_norm(EPS).unwrap();
    let affine = n.primal().broadcast_mul(&weight).unwrap().broadcast_add(&bias).unwrap();
    let (gain, offset) = ((&scale + 1.0).unwrap().unsqueeze(1).unwrap(), shift.unsqueeze(1).unwrap());
    let expected = affine.broadcast_mul(&gain).unwrap().broadcast_add(&offset).unwrap();
    let modulation = Modulation::AffinePerSample {
        weight: &weight,
        bias: Some(&bias),
        scale: &Dual::constant(scale),
        shift: &Dual::constant(shift),
    };
    let found = Dual::constant(x).layer_norm_with(EPS, modulation, None).unwrap();
    assert!(distance(found.primal(), &expected) < 1e-14);
}

#[test]
fn number_of_threads_does_not_change_a_bit() {
    let on = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let all = pool.install(|| {
            let mut all = run(DType::F32, &case(Operation::Layer, &[3, 700, 65], After::PerSample)).0;
            all.extend(run(DType::F32, &case(Operation::Rms, &[1500, 33], After::Affine)).0);
            all.extend(run(DType::F32, &case(Operation::Group(8), &[33, 32, 17, 15], After::Affine)).0);
            all.extend(run_gate(DType::F32, &[3, 700, 65], [true; 3], 4).0);
            all
        });
        all.iter().map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn empty_batches_stay_empty() {
    let dual =
        |dims: &[usize]| Dual::variable(Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap()).unwrap();
    let (scale, x) = (dual(&[0, 8]), dual(&[0, 8, 3]));
    let modulation = Modulation::PerSample { scale: &scale, shift: &scale };
    assert_eq!(x.group_norm_with(2, EPS, modulation, None).unwrap().dims(), [0, 8, 3]);
    let x = dual(&[0, 3, 8]);
    assert_eq!(x.layer_norm_with(EPS, modulation, None).unwrap().dims(), [0, 3, 8]);
    assert_eq!(x.add_gated(&x, &scale).unwrap().dims(), [0, 3, 8]);
}

#[test]
fn wrong_shapes_are_named_in_the_error() {
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    let dual = |dims: &[usize]| Dual::constant(zeros(dims));
    let is =
        |result: Result<Dual, Error>, message: &str| assert_eq!(result.unwrap_err().to_string(), message);
    let (x, image) = (dual(&[2, 3, 4]), dual(&[2, 6, 4, 4]));
    let (weight, scale) = (zeros(&[5]), dual(&[3, 4]));
    let affine = Modulation::Affine { weight: &weight, bias: None };
    let per_sample = Modulation::PerSample { scale: &scale, shift: &scale };
    is(x.layer_norm_with(EPS, affine, None), "expected a weight of shape [4], found [5]");
    is(x.rms_norm_with(EPS, per_sample, None), "expected a scale of shape [2, 4], found [3, 4]");
    is(image.group_norm_with(3, EPS, affine, None), "expected a weight of shape [6], found [5]");
    is(image.group_norm_with(3, EPS, per_sample, None), "expected a scale of shape [2, 6], found [3, 4]");
    is(
        image.group_norm_with(4, EPS, Modulation::Identity, None),
        "expected a number of channels that 4 groups divide, found 6",
    );
    is(x.add_gated(&x, &scale), "expected a gate of shape [2, 4], found [3, 4]");
    is(x.add_gated(&scale, &scale), "expected a summand of shape [2, 3, 4], found [3, 4]");
    is(
        dual(&[4]).add_gated(&dual(&[4]), &dual(&[1, 4])),
        "expected a tensor of 2 dimensions or more, found [4]",
    );
    is(
        dual(&[]).layer_norm_with(EPS, Modulation::Identity, None),
        "expected a tensor of 1 dimensions or more, found []",
    );
}
