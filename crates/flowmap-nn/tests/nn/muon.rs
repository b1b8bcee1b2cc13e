//! Muon against loops written from its formula, in f64.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::cuda::GradientNorm;
use flowmap_dual::host;
use flowmap_nn::optim::{AdamW, Muon, MuonConstants, Optimizer, OptimizerConfig};
use flowmap_nn::{Ema, Error, Init, ParamBuilder, Params};

/// Both sides compute in f64; the products sum in different orders, and five iterations with a slope of 3.4 at zero
/// magnify what that leaves.
const TOLERANCE: f64 = 1e-10;
const N_STEPS: u64 = 6;
const CONSTANTS: MuonConstants = MuonConstants { momentum: 0.9, weight_decay: 0.1, adam: (0.9, 0.99, 1e-8) };

/// A tall matrix, a wide one, and three parameters that are none to Muon.
const SHAPES: [(&str, (usize, usize)); 5] = [
    ("layers.0.weight", (17, 9)),
    ("layers.1.weight", (8, 13)),
    ("layers.2.weight", (2, 13)),
    ("label_embedding.weight", (11, 12)),
    ("scale", (9, 9)),
];

fn params(dtype: DType) -> Params {
    let mut builder = ParamBuilder::fresh(3, dtype, &Device::Cpu);
    for (name, shape) in SHAPES {
        builder.param(name, shape, Init::Normal(1.0)).unwrap();
    }
    builder.finish().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The gradient of parameter `i` at step k: drawn anew, of growing size.
fn scripted(i: usize, len: usize, k: u64) -> Vec<f64> {
    let mut g = vec![0.0; len];
    NoiseStream::new(i as u64, Stream::Evaluation).at(k).fill_normal(&mut g);
    g.iter_mut().for_each(|g| *g *= k as f64);
    g
}

/// The gradient of Σ g θ is g.
fn gradients(params: &Params, k: u64) -> GradStore {
    let mut sum = Tensor::zeros((), params.vars().values().next().unwrap().dtype(), &Device::Cpu).unwrap();
    for (i, var) in params.vars().values().enumerate() {
        let g = Tensor::from_vec(scripted(i, var.elem_count(), k), var.shape(), &Device::Cpu).unwrap();
        let product = (var.as_tensor() * g.to_dtype(var.dtype()).unwrap()).unwrap();
        sum = (sum + product.sum_all().unwrap()).unwrap();
    }
    sum.backward().unwrap()
}

/// A matrix by rows.
#[derive(Clone)]
struct Rows {
    rows: usize,
    columns: usize,
    x: Vec<f64>,
}

impl Rows {
    fn t(&self) -> Self {
        let x = (0..self.columns).flat_map(|j| (0..self.rows).map(move |i| self.x[i * self.columns + j]));
        Self { rows: self.columns, columns: self.rows, x: x.collect() }
    }

    fn times(&self, other: &Self) -> Self {
        let mut x = vec![0.0; self.rows * other.columns];
        for i in 0..self.rows {
            for j in 0..other.columns {
                let entry =
                    (0..self.columns).map(|k| self.x[i * self.columns + k] * other.x[k * other.columns + j]);
                x[i * other.columns + j] = entry.sum();
            }
        }
        Self { rows: self.rows, columns: other.columns, x }
    }

    /// a self + b other
    fn blend(&self, a: f64, other: &Self, b: f64) -> Self {
        let x = self.x.iter().zip(&other.x).map(|(x, y)| a * x + b * y).collect();
        Self { x, ..*self }
    }
}

/// X ← a X + b A X + c A² X with A = X Xᵀ, five times: on the side that is not transposed in the library where that is tall.
fn newton_schulz(m: &Rows) -> Rows {
    let norm = m.x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut x = m.blend(1.0 / norm, m, 0.0);
    for _ in 0..5 {
        let ax = x.times(&x.t()).times(&x);
        let aax = x.times(&x.t()).times(&ax);
        x = x.blend(3.4445, &ax, -4.775).blend(1.0, &aax, 2.0315);
    }
    x
}

#[test]
fn matrices_move_by_the_formula() {
    let params = params(DType::F64);
    let mut optimizer = Muon::new(&params, CONSTANTS).unwrap();
    let matrices = ["layers.0.weight", "layers.1.weight"];
    let mut expected: BTreeMap<_, _> = matrices
        .map(|name| {
            let var = &params.vars()[name];
            let (rows, columns) = var.dims2().unwrap();
            let theta = Rows { rows, columns, x: values(var) };
            (name, (theta.clone(), theta.blend(0.0, &theta, 0.0)))
        })
        .into();
    for k in 1..=N_STEPS {
        let lr = 0.1 / k as f64;
        optimizer.step(&gradients(&params, k), lr, 0.5).unwrap();
        for (i, name) in params.vars().keys().enumerate() {
            let Some((theta, momentum)) = expected.get_mut(name.as_str()) else { continue };
            let g = Rows { x: scripted(i, theta.x.len(), k), ..*theta };
            *momentum = momentum.blend(0.9, &g, 0.5); // the gradient is scaled by a half
            let direction = newton_schulz(&g.blend(0.5, momentum, 0.9));
            let size = 0.2 * (theta.rows.max(theta.columns) as f64).sqrt();
            *theta = theta.blend(1.0 - lr * 0.1, &direction, -lr * size);
            for (found, expected) in values(&params.vars()[name]).iter().zip(&theta.x) {
                assert!((found - expected).abs() < TOLERANCE, "`{name}`, step {k}: {found} and {expected}");
            }
        }
    }
    assert_eq!(optimizer.n_steps(), N_STEPS);
}

#[test]
fn all_singular_values_of_an_update_are_near_one() {
    let mut builder = ParamBuilder::fresh(0, DType::F64, &Device::Cpu);
    builder.param("weight", (8, 8), Init::Zeros).unwrap();
    let params = builder.finish().unwrap();
    let constants = MuonConstants { momentum: 0.0, weight_decay: 0.0, ..CONSTANTS };
    let theta = &params.vars()["weight"];
    // A diagonal gradient has its singular values on the diagonal: here from 1 down to 1/50.
    let sizes = [1.0, 0.7, 0.4, 0.2, 0.1, 0.06, 0.03, 0.02];
    let diagonal: Vec<f64> = (0..64).map(|i| if i % 9 == 0 { sizes[i / 9] } else { 0.0 }).collect();
    let g = Tensor::from_vec(diagonal, (8, 8), &Device::Cpu).unwrap();
    let gradients = (theta.as_tensor() * g).unwrap().sum_all().unwrap().backward().unwrap();
    let lr = 1.0 / (0.2 * 8f64.sqrt());
    Muon::new(&params, constants).unwrap().step(&gradients, lr, 1.0).unwrap();
    for (i, x) in values(theta).into_iter().enumerate() {
        match i % 9 {
            0 => assert!((-1.3..-0.6).contains(&x), "singular value {} becomes {x}", sizes[i / 9]),
            _ => assert!(x.abs() < 1e-12, "a diagonal matrix stays one"),
        }
    }
}

#[test]
fn other_parameters_move_as_with_adam() {
    let (muon, adam) = (params(DType::F64), params(DType::F64));
    let (beta1, beta2, eps) = CONSTANTS.adam;
    let mut optimizers: [(Box<dyn Optimizer>, &Params); 2] = [
        (Box::new(Muon::new(&muon, CONSTANTS).unwrap()), &muon),
        (Box::new(AdamW::new(&adam, beta1, beta2, eps, CONSTANTS.weight_decay).unwrap()), &adam),
    ];
    for (optimizer, params) in &mut optimizers {
        (1..=N_STEPS).for_each(|k| optimizer.step(&gradients(params, k), 0.1, 0.5).unwrap());
    }
    for name in ["layers.2.weight", "label_embedding.weight", "scale"] {
        assert_eq!(values(&muon.vars()[name]), values(&adam.vars()[name]), "`{name}`");
    }
}

#[test]
fn a_restored_muon_continues_to_the_last_bit_and_averages_follow() {
    for dtype in [DType::F32, DType::F64] {
        let original = params(dtype);
        let mut optimizer = OptimizerConfig::muon().build(&original).unwrap();
        let mut averages = [Ema::new(0.9, &original).unwrap()];
        let run = |optimizer: &mut dyn Optimizer, params: &Params, averages: &mut [Ema], steps: [u64; 2]| {
            for k in steps[0]..steps[1] {
                optimizer.step_and_average(&gradients(params, k), 0.1, 1.0, averages).unwrap();
            }
        };
        run(&mut *optimizer, &original, &mut averages, [1, 4]);
        let mut builder = ParamBuilder::trainable(original.copied_tensors().unwrap(), dtype, &Device::Cpu);
        SHAPES.iter().for_each(|(name, shape)| drop(builder.param(name, *shape, Init::Zeros).unwrap()));
        let resumed = builder.finish().unwrap();
        let mut restored = OptimizerConfig::muon().build(&resumed).unwrap();
        restored.restore(optimizer.state(), optimizer.n_steps()).unwrap();
        let mut followed = Ema::resume(0.9, 3, &resumed, averages[0].tensors().clone()).unwrap();
        run(&mut *optimizer, &original, &mut averages, [4, 8]);
        for k in 4..8 {
            // Averaged by itself, not in the pass of the step.
            restored.step(&gradients(&resumed, k), 0.1, 1.0).unwrap();
            followed.update(&resumed).unwrap();
        }
        for (name, var) in original.vars() {
            assert_eq!(values(var), values(&resumed.vars()[name]), "`{name}`");
            assert_eq!(values(&averages[0].tensors()[name]), values(&followed.tensors()[name]), "`{name}`");
        }
    }
}

#[test]
fn a_matrix_without_a_gradient_or_with_a_zero_one_keeps_its_place() {
    let params = params(DType::F32);
    let before = values(&params.vars()["layers.0.weight"]);
    let mut optimizer = OptimizerConfig::muon().build(&params).unwrap();
    optimizer.step(&GradStore::default(), 0.1, 1.0).unwrap();
    optimizer.step(&gradients(&params, 1), 0.1, 0.0).unwrap();
    assert_eq!(values(&params.vars()["layers.0.weight"]), before);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let params = params(DType::F32);
    let mut optimizer = Muon::new(&params, CONSTANTS).unwrap();
    let mut state = optimizer.state();
    assert!(state.contains_key("first.layers.0.weight") && !state.contains_key("second.layers.0.weight"));
    state.remove("first.layers.0.weight");
    let missing = optimizer.restore(state, 1).unwrap_err().to_string();
    assert_eq!(missing, "tensor `first.layers.0.weight` of shape [17, 9] is missing");
    let momentum = |momentum| Muon::new(&params, MuonConstants { momentum, ..CONSTANTS }).map(|_| ());
    for bad in [1.0, -0.1, f64::NAN] {
        assert!(matches!(momentum(bad), Err(Error::OutOfRange { key: "momentum", .. })));
    }
    let half = self::params(DType::BF16);
    assert!(matches!(Muon::new(&half, CONSTANTS), Err(Error::OptimizerDType(DType::BF16))));
}

#[test]
fn a_norm_that_a_device_keeps_clips_as_one_on_the_host_and_moves_nothing_where_it_is_not_finite() {
    let kept = |norm: f64| {
        let both = [norm, norm.recip().min(1.0)];
        GradientNorm::kept(Tensor::new(&both, &Device::Cpu).unwrap())
    };
    let known = |norm: f64| GradientNorm::known(norm, Some(1.0));
    let mut builder = ParamBuilder::fresh(3, DType::F64, &Device::Cpu);
    // Adam's part has a kernel of its own for such a norm, on a device alone.
    builder.param("layers.0.weight", (17, 9), Init::Normal(1.0)).unwrap();
    let start = builder.finish().unwrap();
    let run = |norm: &dyn Fn(f64) -> GradientNorm, sizes: &[f64]| {
        let copies = start.tensors().into_iter().map(|(name, t)| (name, t.copy().unwrap())).collect();
        let mut builder = ParamBuilder::trainable(copies, DType::F64, &Device::Cpu);
        builder.param("layers.0.weight", (17, 9), Init::Zeros).unwrap();
        let params = builder.finish().unwrap();
        let mut muon = Muon::new(&params, CONSTANTS).unwrap();
        let mut averages = [Ema::new(0.9, &params).unwrap()];
        for (k, size) in (1..).zip(sizes) {
            let (norm, before) = (norm(*size), host::n_reads());
            muon.step_clipped(&gradients(&params, k), 0.01, &norm, &mut averages).unwrap();
            assert_eq!(host::n_reads(), before, "step {k}");
        }
        let weight = &params.tensors()["layers.0.weight"];
        let average = &averages[0].tensors()["layers.0.weight"];
        [weight, average, &muon.state()["first.layers.0.weight"]].map(values)
    };
    for (found, expected) in run(&kept, &[4.0, 0.5]).iter().zip(run(&known, &[4.0, 0.5])) {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= TOLERANCE * b.abs().max(1.0);
        assert!(found.iter().zip(&expected).all(close), "{found:?}\n{expected:?}");
    }
    let before = run(&kept, &[4.0]);
    assert_ne!(before, run(&kept, &[4.0, 2.0]));
    assert_eq!(before, run(&kept, &[4.0, f64::NAN, f64::INFINITY]));
}
