//! The backward pass over the list of fused operations against Candle's.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Activation, Dual, Error, Modulation, gradient_of};

use crate::support::distance;

/// Sums of the same terms in f32 in another order.
const TOLERANCE: f64 = 2e-6;

fn var(index: u64, dims: &[usize]) -> Var {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(31, Stream::Evaluation).at(index).fill_normal(&mut values);
    let values = Tensor::from_vec(values, dims, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    Var::from_tensor(&values).unwrap()
}

/// x, its direction, and weights.
fn vars() -> Vec<Var> {
    let dims: [&[usize]; 6] = [&[3, 5, 8], &[3, 5, 8], &[8, 8], &[8], &[8, 8], &[3, 16]];
    (0..).zip(dims).map(|(i, dims)| var(i, dims)).collect()
}

/// Fused operations with Candle's between them, tensors that are used more than once, and one that leads nowhere.
fn loss(vars: &[Var], direction: Option<&Tensor>) -> Result<Tensor, Error> {
    let [x, _, w, b, v, modulation] = vars else { panic!("six variables") };
    let x = match direction {
        Some(direction) => Dual::new(x.as_tensor().clone(), direction.clone())?,
        None => Dual::from(x.as_tensor()),
    };
    let h = x.linear_activation(w, b, Activation::Silu)?;
    let modulation = Dual::from(modulation.as_tensor()).scale(0.5)?; // Candle's, and used twice
    let (scale, shift) = (modulation.narrow(1, 0, 8)?, modulation.narrow(1, 8, 8)?);
    let modulation = Modulation::PerSample { scale: &scale, shift: &shift };
    let n = h.layer_norm_with(1e-5, modulation, Some(Activation::GeluTanh))?;
    // W W, computed anew from a variable that fused operations read too.
    let y = n.transpose(1, 2)?.contiguous()?.transpose(1, 2)?.linear(&w.matmul(v)?, None)?;
    h.linear(v, None)?; // Nobody reads it.
    let o = h.scaled_plus(0.5, &y)?.add(&h)?.sin_cos()?.add(&Dual::cat_last(&[y, n])?)?;
    let squares = o.primal().sqr()?.mean_all()?;
    Ok(match o.tangent() {
        Some(tangent) => (squares + tangent.sqr()?.mean_all()?)?,
        None => squares,
    })
}

#[test]
fn gradients_are_those_of_candles_tape() {
    let vars = vars();
    for direction in [None, Some(vars[1].as_tensor())] {
        let stored = loss(&vars, direction).unwrap().backward().unwrap();
        let (walked, value) = gradient_of(|| {
            let loss = loss(&vars, direction)?;
            Ok::<_, Error>((loss.clone(), loss.to_scalar::<f32>()?))
        })
        .unwrap();
        assert!(value.is_finite());
        for (i, var) in vars.iter().enumerate() {
            if i == 1 && direction.is_none() {
                assert!(walked.get(var).is_none(), "the direction plays no part");
                continue;
            }
            let d = distance(walked.get(var).unwrap(), stored.get(var).unwrap());
            assert!(d < TOLERANCE, "gradient of variable {i} off by {d:e}");
        }
    }
}

#[test]
fn one_inside_another_keeps_to_itself() {
    let vars = vars();
    let alone = || gradient_of(|| Ok::<_, Error>((loss(&vars, None)?, ()))).unwrap().0;
    let expected = alone();
    let (outer, inner) = gradient_of(|| {
        let h = Dual::from(vars[0].as_tensor()).linear(&vars[2], Some(&vars[3]))?;
        let inner = alone();
        Ok::<_, Error>((h.primal().sum_all()?, inner))
    })
    .unwrap();
    for var in &vars[2..4] {
        assert_eq!(distance(inner.get(var).unwrap(), expected.get(var).unwrap()), 0.0);
    }
    assert_eq!(outer.get(&vars[3]).unwrap().to_vec1::<f32>().unwrap(), [15.0; 8], "rows of x");
}

#[test]
fn after_an_error_operations_are_on_candles_tape_again() {
    let vars = vars();
    let failed = gradient_of(|| {
        let h = Dual::from(vars[0].as_tensor()).linear(&vars[2], None)?;
        Ok::<_, Error>((h.matmul(&h)?.primal().sum_all()?, ()))
    });
    assert!(failed.is_err());
    let gradients = loss(&vars, None).unwrap().backward().unwrap();
    assert!(gradients.get(&vars[2]).is_some());
}

#[test]
fn what_nothing_leads_to_has_no_gradient() {
    let vars = vars();
    let (gradients, ()) = gradient_of(|| {
        let x = Dual::from(vars[0].as_tensor()).detach();
        let h = x.linear(&vars[2].as_detached_tensor(), None)?;
        Ok::<_, Error>((h.primal().sum_all()?, ()))
    })
    .unwrap();
    assert!(vars.iter().all(|var| gradients.get(var).is_none()));
}
