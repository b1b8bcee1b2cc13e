//! One pass over a parameter, its gradient, its moments and its averages, in place.
//!
//! m ← β₁ m + (1 − β₁) c g,  v ← β₂ v + (1 − β₂) (c g)²
//! θ ← keep θ − rate m / (√v / root + eps),  or  θ ← keep θ − rate m
//! θ̄ ← d θ̄ + (1 − d) θ  for every average
//!
//! Candle's composed operations would make a new tensor for every sign in the formula; they run where a device
//! has no such pass. A CUDA device has one in f32, which also clips by a norm that it measured itself.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Storage, Tensor, Var};
use flowmap_dual::cuda::{AdamRule, GradientNorm, MAX_AVERAGES, adam_step};
use rayon::prelude::*;

use super::super::{Error, Result};

/// Numbers that a thread updates at a time: all that belongs to them fits the first cache.
const CHUNK: usize = 4096;

/// A parameter and what belongs to it.
pub(super) struct Target<'a> {
    pub(super) theta: &'a Var,
    pub(super) first: &'a Tensor,
    pub(super) second: &'a Tensor,
}

impl<'a> Target<'a> {
    fn tensors(&self) -> [&'a Tensor; 3] {
        [self.theta.as_tensor(), self.first, self.second]
    }
}

/// A tensor that follows a parameter, and its decay d.
pub(crate) type Average<'a> = (&'a Tensor, f64);

/// A type of number that updates keep exact enough.
trait Number: Copy + Send + Sync + 'static {
    fn of(storage: &CpuStorage) -> candle_core::Result<&[Self]>;
    fn of_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]>;
    /// The step of a chunk; `numbers` are θ, m and v.
    fn step(rule: &AdamRule, numbers: [&mut [Self]; 3], gradient: &[Self]);
    /// The average of a chunk.
    fn lerp(average: &mut [Self], theta: &[Self], decay: f64);
    /// Σ x².
    fn sum_of_squares(x: &[Self]) -> f64;
}

/// Implements [`Number`]; f32 and f64 share each line.
macro_rules! number {
    ($type:ident, $variant:ident) => {
        impl Number for $type {
            fn of(storage: &CpuStorage) -> candle_core::Result<&[Self]> {
                match storage {
                    CpuStorage::$variant(values) => Ok(values),
                    _ => candle_core::bail!("an update in place takes tensors of one type"),
                }
            }

            fn of_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(values) => Ok(values),
                    _ => candle_core::bail!("an update in place takes tensors of one type"),
                }
            }

            fn step(rule: &AdamRule, [theta, m, v]: [&mut [Self]; 3], gradient: &[Self]) {
                let (beta1, beta2) = (rule.beta1 as $type, rule.beta2 as $type);
                let c1 = ((1.0 - rule.beta1) * rule.gradient_scale) as $type;
                let c2 = ((1.0 - rule.beta2) * rule.gradient_scale.powi(2)) as $type;
                let (keep, rate, eps) = (rule.keep as $type, rule.rate as $type, rule.eps as $type);
                for ((m, v), g) in m.iter_mut().zip(&mut *v).zip(gradient) {
                    *m = beta1 * *m + c1 * g;
                    *v = beta2 * *v + c2 * g * g;
                }
                match rule.root.map(|root| root.recip() as $type) {
                    Some(inverse_root) => {
                        for ((theta, m), v) in theta.iter_mut().zip(m).zip(v) {
                            *theta = keep * *theta - rate * *m / (v.sqrt() * inverse_root + eps);
                        }
                    }
                    None => theta.iter_mut().zip(m).for_each(|(theta, m)| *theta = keep * *theta - rate * *m),
                }
            }

            fn lerp(average: &mut [Self], theta: &[Self], decay: f64) {
                let (d, c) = (decay as $type, (1.0 - decay) as $type);
                average.iter_mut().zip(theta).for_each(|(a, theta)| *a = d * *a + c * theta);
            }

            fn sum_of_squares(x: &[Self]) -> f64 {
                // Eight sums side by side: one alone would wait for each addition.
                let mut sums = [0f64; 8];
                for x in x.chunks(sums.len()) {
                    sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
                }
                sums.iter().sum()
            }
        }
    };
}

number!(f32, F32);
number!(f64, F64);

/// Lets a closure write to the memory of a tensor.
struct Access<F>(RefCell<Option<F>>);

impl<F: FnOnce(&mut CpuStorage, &Layout) -> candle_core::Result<()>> InplaceOp1 for Access<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match self.0.take() {
            Some(f) => f(storage, layout),
            None => candle_core::bail!("an update runs once"),
        }
    }
}

/// The range of a tensor in its storage.
fn range(layout: &Layout) -> candle_core::Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => candle_core::bail!(
            "an update in place needs contiguous memory, found strides {:?}",
            layout.stride()
        ),
    }
}

/// Calls `f` with the numbers of all `tensors`, to write; no two may share their memory.
fn with_all<'a, T: Number>(
    tensors: &[&Tensor],
    open: Vec<&'a mut [T]>,
    f: &mut dyn FnMut(Vec<&mut [T]>) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    let Some((tensor, rest)) = tensors.split_first() else { return f(open) };
    tensor.inplace_op1(&Access(RefCell::new(Some(move |storage: &mut CpuStorage, layout: &Layout| {
        // Moved to live no longer than the numbers that join it.
        let mut open: Vec<&mut [T]> = open;
        open.push(&mut T::of_mut(storage)?[range(layout)?]);
        with_all(rest, open, f)
    }))))
}

/// Calls `f` with the numbers of a tensor, to read.
fn with<T: Number>(
    tensor: &Tensor,
    f: impl FnOnce(&[T]) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(&T::of(storage)?[range(layout)?]),
        _ => candle_core::bail!("an update in place runs on the CPU"),
    }
}

/// Calls `f` with chunk after chunk of all slices, in parallel if the slices are long enough.
fn for_each_chunk<T: Number>(slices: Vec<&mut [T]>, f: impl Fn(usize, &mut [&mut [T]]) + Sync) {
    let n_chunks = slices.first().map_or(0, |s| s.len().div_ceil(CHUNK));
    let mut chunks: Vec<Vec<&mut [T]>> = (0..n_chunks).map(|_| Vec::with_capacity(slices.len())).collect();
    for slice in slices {
        chunks.iter_mut().zip(slice.chunks_mut(CHUNK)).for_each(|(chunk, part)| chunk.push(part));
    }
    match n_chunks {
        0..=8 => chunks.iter_mut().enumerate().for_each(|(i, chunk)| f(i * CHUNK, chunk)),
        _ => chunks.par_iter_mut().with_min_len(4).enumerate().for_each(|(i, chunk)| f(i * CHUNK, chunk)),
    }
}

/// The whole pass on the CPU.
fn update<T: Number>(
    rule: &AdamRule,
    target: &Target<'_>,
    gradient: &Tensor,
    averages: &[Average<'_>],
) -> Result<()> {
    let mut tensors = vec![target.theta.as_tensor(), target.first, target.second];
    tensors.extend(averages.iter().map(|(average, _)| *average));
    Ok(with::<T>(&gradient.contiguous()?, |gradient| {
        with_all(&tensors, Vec::with_capacity(tensors.len()), &mut |slices| {
            if slices.iter().any(|s| s.len() != gradient.len()) {
                candle_core::bail!("a gradient of {} numbers does not fit its parameter", gradient.len());
            }
            for_each_chunk(slices, |start, chunk| {
                let [theta, m, v, followers @ ..] = chunk else { return };
                let n = theta.len();
                T::step(rule, [&mut **theta, &mut **m, &mut **v], &gradient[start..start + n]);
                for (follower, (_, decay)) in followers.iter_mut().zip(averages) {
                    T::lerp(follower, theta, *decay);
                }
            });
            Ok(())
        })
    })?)
}

/// Refuses types that lose updates: moments and averages need f32 at least.
fn check_dtype(tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        DType::F32 | DType::F64 => Ok(()),
        other => Err(Error::OptimizerDType(other)),
    }
}

/// One step of a parameter and of its averages; without a gradient only the averages move.
pub(super) fn step(
    rule: &AdamRule,
    target: &Target<'_>,
    gradient: Option<&Tensor>,
    averages: &[Average<'_>],
    norm: Option<&GradientNorm>,
) -> Result<()> {
    check_dtype(target.theta)?;
    let (at_once, later) = averages.split_at(averages.len().min(MAX_AVERAGES));
    if let Some(gradient) = gradient
        && adam_step(rule, target.tensors(), gradient, at_once, norm)?
    {
        return later.iter().try_for_each(|(average, decay)| lerp(average, target.theta, *decay));
    }
    if norm.is_some() && gradient.is_some() {
        return Err(Error::OptimizerDType(target.theta.dtype()));
    }
    match gradient {
        Some(gradient) if target.theta.device().is_cpu() => {
            return match target.theta.dtype() {
                DType::F64 => update::<f64>(rule, target, gradient, averages),
                _ => update::<f32>(rule, target, gradient, averages),
            };
        }
        Some(gradient) => composed(rule, target, gradient)?,
        None => {}
    }
    averages.iter().try_for_each(|(average, decay)| lerp(average, target.theta, *decay))
}

/// The step by Candle's operations.
fn composed(rule: &AdamRule, target: &Target<'_>, gradient: &Tensor) -> Result<()> {
    let Target { theta, first, second } = target;
    let gradient = (gradient * rule.gradient_scale)?;
    let m = ((*first * rule.beta1)? + (&gradient * (1.0 - rule.beta1))?)?;
    let v = ((*second * rule.beta2)? + (gradient.sqr()? * (1.0 - rule.beta2))?)?;
    let direction = match rule.root {
        Some(root) => (&m / ((v.sqrt()? / root)? + rule.eps)?)?,
        None => m.clone(),
    };
    first.slice_set(&m, 0, 0)?;
    second.slice_set(&v, 0, 0)?;
    Ok(theta.set(&((theta.as_detached_tensor() * rule.keep)? - (direction * rule.rate)?)?)?)
}

/// a ← decay a + (1 − decay) b in the memory of `a`.
pub(crate) fn lerp(a: &Tensor, b: &Tensor, decay: f64) -> Result<()> {
    check_dtype(a)?;
    let b = b.detach().contiguous()?;
    if !a.device().is_cpu() {
        return Ok(a.slice_set(&((a * decay)? + (b * (1.0 - decay))?)?, 0, 0)?);
    }
    match a.dtype() {
        DType::F64 => lerp_of::<f64>(a, &b, decay),
        _ => lerp_of::<f32>(a, &b, decay),
    }
}

fn lerp_of<T: Number>(a: &Tensor, b: &Tensor, decay: f64) -> Result<()> {
    Ok(with::<T>(b, |b| {
        with_all(&[a], Vec::new(), &mut |slices| {
            slices.into_iter().for_each(|a| T::lerp(a, b, decay));
            Ok(())
        })
    })?)
}

/// Σ x² over a tensor, in f64 wherever the tensor is read on the host.
pub(super) fn sum_of_squares(x: &Tensor) -> Result<f64> {
    let mut sum = 0.0;
    let x = x.detach().contiguous()?;
    match (x.device().is_cpu(), x.dtype()) {
        (true, DType::F32) => sum_with::<f32>(&x, &mut sum)?,
        (true, DType::F64) => sum_with::<f64>(&x, &mut sum)?,
        _ => sum = flowmap_dual::host::number(&x.to_dtype(DType::F32)?.sqr()?.sum_all()?)?,
    }
    Ok(sum)
}

fn sum_with<T: Number>(x: &Tensor, sum: &mut f64) -> Result<()> {
    Ok(with::<T>(x, |x| {
        *sum = T::sum_of_squares(x);
        Ok(())
    })?)
}
