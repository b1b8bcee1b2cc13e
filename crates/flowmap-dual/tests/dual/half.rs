//! The composed operations in bf16 and f16 against f64, where Candle has them on the CPU.

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Activation, Dual, Result};

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(13, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Value and tangent of `f` in `dtype`, next to those in f64; relative to the largest entry.
fn check(name: &str, f: impl Fn(DType, &Dual) -> Result<Dual>) {
    // Digits of the mantissa, times a few operations.
    for (dtype, tolerance) in [(DType::BF16, 6e-2), (DType::F16, 8e-3)] {
        let run = |dtype: DType| {
            let cast = |t: Tensor| t.to_dtype(dtype).unwrap();
            let x = Dual::new(cast(noise(1, &[4, 8])), cast(noise(2, &[4, 8]))).unwrap();
            let y = f(dtype, &x).unwrap();
            assert_eq!((y.dtype(), y.tangent().unwrap().dtype()), (dtype, dtype), "{name}");
            let values =
                |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            [values(y.primal()), values(y.tangent().unwrap())]
        };
        for (found, expected) in run(dtype).iter().zip(&run(DType::F64)) {
            let scale = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
            let error = found.iter().zip(expected).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / scale;
            assert!(error < tolerance, "{name} in {dtype:?} is off by {error}");
        }
    }
}

#[test]
fn half_precision_agrees_with_f64_to_its_digits() {
    let weight = (noise(3, &[5, 8]) / 8f64.sqrt()).unwrap();
    let bias = noise(4, &[5]);
    for activation in Activation::ALL {
        check(activation.name(), |dtype, x| {
            x.linear_activation(&weight.to_dtype(dtype)?, &bias.to_dtype(dtype)?, activation)
        });
    }
    check("layer_norm", |_, x| x.layer_norm(1e-3));
    check("rms_norm", |_, x| x.rms_norm(1e-3));
    check("softmax", |_, x| x.softmax(1));
    check("product", |_, x| x.mul(&x.sin()?));
}
