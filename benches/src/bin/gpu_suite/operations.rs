//! Every dual operation: value, tangent, and the gradients of a sum of both, against the oracle.
//!
//! L = Σ c ⊙ y + Σ d ⊙ ẏ with random c and d; shapes are multiples of nothing.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use flowmap_benches::random::normal;
use flowmap_dual::{Activation, DenseLayer, Dual, Modulation};

use crate::distance::{BF16, F32, Results};
use crate::report::Report;

const PART: &str = "operation";

/// An operand.
enum Input {
    /// With a tangent.
    Dual(&'static [usize]),
    /// Constant in the direction of the tangent, scaled as a layer's weights are.
    Weight(&'static [usize]),
}

/// Whether Candle computes an operation in bf16 on every device, and well enough.
#[derive(PartialEq, Eq)]
enum Half {
    Known,
    Unknown,
}

/// An operation on operands, and whether it has bf16.
struct Case {
    name: &'static str,
    half: Half,
    inputs: &'static [Input],
    run: fn(&[Dual]) -> flowmap_dual::Result<Dual>,
}

const fn case(
    name: &'static str,
    inputs: &'static [Input],
    run: fn(&[Dual]) -> flowmap_dual::Result<Dual>,
) -> Case {
    Case { name, half: Half::Known, inputs, run }
}

/// An operation that Candle does not have in bf16.
const fn wide(
    name: &'static str,
    inputs: &'static [Input],
    run: fn(&[Dual]) -> flowmap_dual::Result<Dual>,
) -> Case {
    Case { name, half: Half::Unknown, inputs, run }
}

use Input::{Dual as D, Weight as W};

const X: Input = D(&[37, 29]);
const DENSE: &[Input] = &[X, W(&[23, 29]), W(&[23])];
const CHANNELS: &[Input] = &[X, W(&[29]), W(&[29])];
const MODULATED: &[Input] = &[D(&[5, 7, 13]), D(&[5, 13]), D(&[5, 13])];
const IMAGE: &[Input] = &[D(&[3, 12, 7, 5]), W(&[12]), W(&[12])];
const IMAGE_MODULATED: &[Input] = &[D(&[3, 12, 7, 5]), D(&[3, 12]), D(&[3, 12])];
const KERNEL_3: &[Input] = &[D(&[3, 5, 7, 7]), W(&[6, 5, 3, 3]), W(&[6])];
const KERNEL_1: &[Input] = &[D(&[3, 5, 7, 5]), W(&[6, 5, 1, 1])];

const CASES: &[Case] = &[
    case("add, broadcast", &[X, D(&[29])], |x| x[0].add(&x[1])),
    case("sub, broadcast", &[X, D(&[29])], |x| x[0].sub(&x[1])),
    case("mul", &[X, D(&[37, 29])], |x| x[0].mul(&x[1])),
    case("div", &[X, D(&[37, 29])], |x| x[0].div(&x[1].sqr()?.shift(1.0)?)),
    wide("matmul", &[D(&[3, 5, 7]), D(&[3, 7, 11])], |x| x[0].matmul(&x[1])),
    case("exp", &[X], |x| x[0].exp()),
    case("ln, sqrt, recip, powf", &[X], |x| {
        let y = x[0].sqr()?.shift(0.5)?;
        y.ln()?.add(&y.sqrt()?)?.add(&y.recip()?)?.add(&y.powf(1.5)?)
    }),
    case("sin, cos", &[X], |x| x[0].sin()?.add(&x[0].cos()?)),
    case("sin_cos", &[X], |x| x[0].sin_cos()),
    case("tanh, sigmoid", &[X], |x| x[0].tanh()?.add(&x[0].sigmoid()?)),
    case("erf", &[X], |x| x[0].erf()),
    case("relu", &[X], |x| x[0].relu()),
    case("softmax", &[X], |x| x[0].softmax(1)),
    case("log_softmax", &[X], |x| x[0].log_softmax(1)),
    wide("sums and means", &[D(&[5, 7, 13])], |x| x[0].mean_keepdim(1)?.add(&x[0].sum_keepdim(2)?)),
    wide("sum_per_sample", &[D(&[5, 7, 13])], |x| x[0].sum_per_sample()),
    case("shapes", &[D(&[5, 7, 13])], |x| {
        let y = x[0].transpose(1, 2)?.contiguous()?.narrow(1, 2, 9)?.reshape(&[5, 63])?;
        Dual::cat(&[y.clone(), y.scale(2.0)?], 1)
    }),
    case("linear", DENSE, |x| x[0].linear(x[1].primal(), Some(x[2].primal()))),
    case("linear, no bias, 3 dimensions", &[D(&[5, 7, 29]), W(&[23, 29])], |x| {
        x[0].linear(x[1].primal(), None)
    }),
    case("linear + gelu_tanh", DENSE, |x| dense(x, Activation::GeluTanh)),
    case("linear + gelu_erf", DENSE, |x| dense(x, Activation::GeluErf)),
    case("linear + silu", DENSE, |x| dense(x, Activation::Silu)),
    case("linear + tanh", DENSE, |x| dense(x, Activation::Tanh)),
    case("linear + relu_squared", DENSE, |x| dense(x, Activation::ReluSquared)),
    case("layers", &[X, W(&[23, 29]), W(&[23]), W(&[31, 23]), W(&[31]), W(&[3, 31]), W(&[3])], |x| {
        let layer =
            |i: usize, activation| DenseLayer { weight: x[i].primal(), bias: x[i + 1].primal(), activation };
        let gelu = Some(Activation::GeluTanh);
        x[0].layers(&[layer(1, gelu), layer(3, gelu), layer(5, None)])
    }),
    case("layer_norm", &[X], |x| x[0].layer_norm(EPS)),
    case("rms_norm", &[X], |x| x[0].rms_norm(EPS)),
    wide("group_norm", IMAGE, |x| x[0].group_norm(4, EPS)),
    case("layer_norm, affine, silu", CHANNELS, |x| {
        x[0].layer_norm_with(EPS, affine(x), Some(Activation::Silu))
    }),
    // Composed in bf16 on a CPU it is off by 2.7e-2, since each of its many steps rounds.
    wide("rms_norm, affine, gelu_tanh", CHANNELS, |x| {
        x[0].rms_norm_with(EPS, affine(x), Some(Activation::GeluTanh))
    }),
    case("layer_norm, modulated", MODULATED, |x| x[0].layer_norm_with(EPS, modulated(x), None)),
    case("rms_norm, modulated, silu", MODULATED, |x| {
        x[0].rms_norm_with(EPS, modulated(x), Some(Activation::Silu))
    }),
    wide("group_norm, affine, silu", IMAGE, |x| {
        x[0].group_norm_with(4, EPS, affine(x), Some(Activation::Silu))
    }),
    wide("group_norm, modulated, silu", IMAGE_MODULATED, |x| {
        x[0].group_norm_with(4, EPS, modulated(x), Some(Activation::Silu))
    }),
    wide("silu, modulated", IMAGE_MODULATED, |x| x[0].modulated(modulated(x), Some(Activation::Silu))),
    wide("silu, affine", IMAGE, |x| x[0].modulated(affine(x), Some(Activation::Silu))),
    wide("silu", &[D(&[3, 12, 7, 5])], |x| x[0].modulated(Modulation::Identity, Some(Activation::Silu))),
    wide("scaled_plus", &[X, D(&[37, 29])], |x| x[0].scaled_plus(0.7, &x[1])),
    wide("unit_magnitude", &[D(&[3, 12, 7, 5])], |x| x[0].unit_magnitude(1, EPS)),
    wide("clamp", &[X], |x| x[0].clamp(0.8)),
    case("add_gated", &[D(&[5, 7, 13]), D(&[5, 7, 13]), D(&[5, 13])], |x| x[0].add_gated(&x[1], &x[2])),
    wide("attention", &[D(&[2, 3, 11, 5]), D(&[2, 3, 13, 5]), D(&[2, 3, 13, 5])], |x| {
        x[0].attention(&x[1], &x[2])
    }),
    wide("self_attention", &[D(&[2, 11, 36])], |x| x[0].self_attention(3)),
    wide("conv 3x3", KERNEL_3, |x| x[0].conv2d_bias(x[1].primal(), x[2].primal(), 1, 1)),
    wide("conv 3x3, stride 2", KERNEL_3, |x| x[0].conv2d(x[1].primal(), 1, 2)),
    wide("conv 1x1", KERNEL_1, |x| x[0].conv2d(x[1].primal(), 0, 1)),
    wide("upsample 2x", &[D(&[3, 5, 7, 3])], |x| x[0].upsample_nearest2d(2)),
    wide("average 2x2", &[D(&[3, 5, 6, 10])], |x| x[0].avg_pool2d(2)),
];

/// Epsilon of the normalizations, small compared with a variance of one.
const EPS: f64 = 1e-5;

fn dense(x: &[Dual], activation: Activation) -> flowmap_dual::Result<Dual> {
    x[0].linear_activation(x[1].primal(), x[2].primal(), activation)
}

fn affine(x: &[Dual]) -> Modulation<'_> {
    Modulation::Affine { weight: x[1].primal(), bias: Some(x[2].primal()) }
}

fn modulated(x: &[Dual]) -> Modulation<'_> {
    Modulation::PerSample { scale: &x[1], shift: &x[2] }
}

/// Checks every operation on `device`.
pub fn check(device: &Device, report: &mut Report) {
    for case in CASES {
        report.add_error(PART, format!("{}, f32", case.name), case.distance(DType::F32, device), F32);
        if case.half == Half::Known {
            report.add_error(PART, format!("{}, bf16", case.name), case.distance(DType::BF16, device), BF16);
        }
    }
}

impl Case {
    fn distance(&self, dtype: DType, device: &Device) -> Result<f64> {
        // Both see the numbers of the narrower type.
        let oracle = self.results(dtype, DType::F64, &Device::Cpu)?;
        poison(device, dtype)?;
        self.results(dtype, dtype, device)?.distance(&oracle)
    }

    /// Runs the case in `dtype` on numbers rounded to `rounded`.
    fn results(&self, rounded: DType, dtype: DType, device: &Device) -> Result<Results> {
        let mut vars = Vec::new();
        let mut var = |key: u64, shape: &[usize], std: f64| -> Result<Tensor> {
            let drawn = normal(key, shape, std)?.to_dtype(rounded)?.to_dtype(dtype)?.to_device(device)?;
            let var = Var::from_tensor(&drawn)?;
            vars.push(var.clone());
            Ok(var.as_tensor().clone())
        };
        let mut inputs = Vec::new();
        for (key, input) in (0..).zip(self.inputs) {
            inputs.push(match input {
                D(shape) => Dual::new(var(2 * key, shape, 1.0)?, var(2 * key + 1, shape, 1.0)?)?,
                W(shape) => {
                    let fan_in = shape.iter().skip(1).product::<usize>().max(1) as f64;
                    Dual::constant(var(2 * key, shape, fan_in.sqrt().recip())?)
                }
            });
        }
        let (value, tangent) = (self.run)(&inputs)?.into_parts();
        let tangent = tangent.context("no tangent")?;
        let weight = |key: u64| -> Result<Tensor> {
            let drawn = normal(key, value.shape(), 1.0)?.to_dtype(rounded)?;
            Ok(drawn.to_dtype(dtype)?.to_device(device)?)
        };
        let loss = ((&value * weight(98)?)?.sum_all()? + (&tangent * weight(99)?)?.sum_all()?)?;
        let gradients = loss.backward()?;
        let gradient = |var: &Var| match gradients.get(var) {
            Some(gradient) => Ok(gradient.detach()),
            None => Ok(var.zeros_like()?),
        };
        Ok(Results {
            values: vec![value.detach(), tangent.detach()],
            gradients: vars.iter().map(gradient).collect::<Result<_>>()?,
        })
    }
}

/// Leaves NaN in memory that the next results may get: what a kernel does not write is then seen.
fn poison(device: &Device, dtype: DType) -> Result<()> {
    for size in (4..16).map(|k| 1usize << k) {
        let blocks = (0..4).map(|_| Tensor::full(f32::NAN, size, device)?.to_dtype(dtype));
        drop(blocks.collect::<candle_core::Result<Vec<_>>>()?);
    }
    Ok(())
}
