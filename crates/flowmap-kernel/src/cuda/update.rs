//! Clipping and Adam's step on a CUDA device: the kernels of `optimizer.cu`.

use std::cell::RefCell;

use candle_core::backend::BackendStorage;
use candle_core::cuda::CudaStorage;
use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Tensor, bail};

use super::launcher::{Address, Cuda, blank, read, write};
use super::launches::{AdamRule, MAX_AVERAGES, adam_step, clip, n_square_sums, square_sums};
use super::layer::{tensor, with};

/// |g| and the factor that clips it, `(2,)` in f64.
pub fn measure(gradients: &[Tensor], max_norm: Option<f64>) -> Result<Tensor> {
    let Some(first) = gradients.first() else { bail!("expected at least one gradient") };
    with(first, |storage, _| {
        let device = storage.device().clone();
        let stream = device.cuda_stream();
        let mut cuda = Cuda::new(&device);
        let counts: Vec<u32> = gradients.iter().map(|g| n_square_sums(g.elem_count())).collect();
        let n: u32 = counts.iter().sum();
        let wrap = |n: usize| {
            Ok::<_, candle_core::Error>(CudaStorage::wrap_cuda_slice(
                blank::<f64>(&device, n)?,
                device.clone(),
            ))
        };
        let (mut partials, mut norm) = (wrap(n.max(1) as usize)?, wrap(2)?);
        {
            let of_partials = Layout::contiguous(n.max(1) as usize);
            let (partials, _partials_guard) = write::<f64>(&mut partials, &of_partials, &stream)?;
            let (norm, _norm_guard) = write::<f64>(&mut norm, &Layout::contiguous(2), &stream)?;
            let mut at = partials;
            for (gradient, count) in gradients.iter().zip(counts) {
                with(gradient, |storage, layout| {
                    let (g, _guard) = read::<f32>(storage, layout, &stream)?;
                    square_sums(&mut cuda, gradient.elem_count(), g, at)
                })?;
                at += Address::from(count) * size_of::<f64>() as Address;
            }
            clip(&mut cuda, n, max_norm, partials, norm)?;
        }
        Ok(tensor(norm, &[2]))
    })
}

/// Lets a closure write to the memory of a tensor.
struct Access<F>(RefCell<Option<F>>);

impl<F: FnOnce(&mut CudaStorage, &Layout) -> Result<()>> InplaceOp1 for Access<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, _storage: &mut CpuStorage, _layout: &Layout) -> Result<()> {
        bail!("an update on a device takes tensors on that device")
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        match self.0.take() {
            Some(f) => f(storage, layout),
            None => bail!("an update runs once"),
        }
    }
}

/// Calls `f` with the addresses of all `tensors`, to write; no two may share their memory.
fn with_all(
    tensors: &[&Tensor],
    open: Vec<Address>,
    f: &mut dyn FnMut(&[Address]) -> Result<()>,
) -> Result<()> {
    let Some((tensor, rest)) = tensors.split_first() else { return f(&open) };
    if tensor.dtype() != DType::F32 {
        bail!("an update in place takes tensors of one type");
    }
    tensor.inplace_op1(&Access(RefCell::new(Some(move |storage: &mut CudaStorage, layout: &Layout| {
        let stream = storage.device().cuda_stream();
        let (address, _guard) = write::<f32>(storage, layout, &stream)?;
        let mut open = open;
        open.push(address);
        with_all(rest, open, f)
    }))))
}

/// A step of a parameter, its two moments and its averages, all of one size.
pub fn step(
    rule: AdamRule,
    [theta, first, second]: [&Tensor; 3],
    gradient: &Tensor,
    averages: &[(&Tensor, f64)],
    norm: Option<&Tensor>,
) -> Result<()> {
    let (tensors, n) = ([theta, first, second], theta.elem_count());
    let all = tensors.iter().copied().chain(averages.iter().map(|(average, _)| *average));
    if all.chain([gradient]).any(|t| t.elem_count() != n) || averages.len() > MAX_AVERAGES {
        bail!("a gradient of {} numbers does not fit its parameter of {n}", gradient.elem_count());
    }
    let mut targets = tensors.to_vec();
    targets.extend(averages.iter().map(|(average, _)| *average));
    with(gradient, |storage, layout| {
        let device = storage.device().clone();
        let stream = device.cuda_stream();
        let (g, _gradient_guard) = read::<f32>(storage, layout, &stream)?;
        let run = |norm: Option<Address>| {
            with_all(&targets, Vec::new(), &mut |addresses| {
                let [theta, first, second, followers @ ..] = addresses else { return Ok(()) };
                let averages: Vec<_> =
                    followers.iter().zip(averages).map(|(address, (_, decay))| (*address, *decay)).collect();
                adam_step(&mut Cuda::new(&device), rule, n, [*theta, *first, *second, g], norm, &averages)
            })
        };
        match norm {
            None => run(None),
            Some(norm) => with(norm, |storage, layout| {
                let (norm, _norm_guard) = read::<f64>(storage, layout, &stream)?;
                run(Some(norm))
            }),
        }
    })
}
