//! Normalizations on a CUDA device: the kernels of `layer_norm.cu` and `group_norm.cu`.

use candle_core::backend::BackendStorage;
use candle_core::cuda::CudaStorage;
use candle_core::{Layout, Result, Tensor, bail};

use super::launcher::{Address, Cuda, blank, read, write};
use super::launches::{NormGradients, NormInputs, NormShape, norm_backward, norm_forward, segment_sums};
use super::layer::{tensor, with};
use crate::Activation;
use crate::memory::slices::{Parts, is_wanted};
use crate::norm::Geometry;
use crate::norm::group_norm::{Gains, Scaled};
use crate::norm::layer_norm::Center;

/// What a normalization is, as the kernels take it.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) geometry: Geometry,
    pub(crate) offset: f32,
    pub(crate) eps: f64,
    pub(crate) activation: Option<Activation>,
    pub(crate) parts: [Parts; 3],
    pub(crate) output: Parts,
    /// Numbers of x, and of the gain.
    pub(crate) lens: (usize, usize),
}

impl Plan {
    fn shape(&self) -> Result<NormShape> {
        let size = |n: usize| match u32::try_from(n) {
            Ok(n) => Ok(n),
            Err(_) => bail!("a normalization of {n} rows or columns is too large"),
        };
        Ok(match self.geometry {
            Geometry::Rows(rows) => NormShape::Rows {
                runs: size(rows.runs)?,
                tokens: size(rows.tokens)?,
                channels: size(rows.channels)?,
                is_centered: rows.center == Center::Mean,
            },
            Geometry::Groups(groups) => NormShape::Groups {
                batch: size(groups.batch)?,
                channels: size(groups.channels)?,
                groups: size(groups.groups)?,
                area: size(groups.area)?,
                is_shared: groups.gains == Gains::Shared,
                is_scaled: groups.scaled == Scaled::ToUnit,
            },
        })
    }

    /// The addresses of values and tangents.
    fn inputs(&self, [x, gain, shift]: [Address; 3]) -> NormInputs<Address> {
        let (len, gain_len) = self.lens;
        let [x_parts, gain_parts, shift_parts] = self.parts;
        NormInputs {
            x,
            dx: below(x, len, x_parts),
            gain,
            dgain: below(gain, gain_len, gain_parts),
            shift,
            dshift: below(shift, gain_len, shift_parts),
        }
    }
}

/// Where the tangent of `len` numbers at `address` is.
fn below(address: Address, len: usize, parts: Parts) -> Option<Address> {
    (parts == Parts::Stacked).then(|| address + (len * size_of::<f32>()) as Address)
}

/// An input of the operation.
type Input<'a> = (&'a CudaStorage, &'a Layout);

/// y with, where any input has one, ẏ below it; and the numbers of each row or group for the backward pass.
pub(crate) fn forward(plan: Plan, [x, gain, shift]: [Input<'_>; 3]) -> Result<(CudaStorage, Tensor)> {
    let device = x.0.device().clone();
    let (stream, shape) = (device.cuda_stream(), plan.shape()?);
    let (len, n_stats) = (plan.lens.0, 4 * shape.n_stats() as usize);
    let n = len * plan.output.count();
    let mut y = CudaStorage::wrap_cuda_slice(blank::<f32>(&device, n)?, device.clone());
    let mut stats = CudaStorage::wrap_cuda_slice(blank::<f32>(&device, n_stats)?, device.clone());
    {
        let (x, _x_guard) = read::<f32>(x.0, x.1, &stream)?;
        let (gain, _gain_guard) = read::<f32>(gain.0, gain.1, &stream)?;
        let (shift, _shift_guard) = read::<f32>(shift.0, shift.1, &stream)?;
        let (y, _y_guard) = write::<f32>(&mut y, &Layout::contiguous(n), &stream)?;
        let (stats, _stats_guard) = write::<f32>(&mut stats, &Layout::contiguous(n_stats), &stream)?;
        let (inputs, dy) = (plan.inputs([x, gain, shift]), below(y, len, plan.output));
        let (name, numbers) = (plan.activation.map(Activation::name), (plan.offset, plan.eps));
        norm_forward(&mut Cuda::new(&device), name, shape, numbers, &inputs, [y, stats], dy)?;
    }
    Ok((y, tensor(stats, &[n_stats])))
}

/// The gradients of x, gain and shift, each stacked where its input is.
pub(crate) fn backward(
    plan: Plan,
    stats: &Tensor,
    [x, gain, shift]: [&Tensor; 3],
    gradient: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    let shape = plan.shape()?;
    let (len, gain_len) = plan.lens;
    let (n, partials) = (len * plan.output.count(), shape.partials());
    let n_partials =
        (partials.n_segments * partials.n_partials * partials.n_sums * partials.columns) as usize;
    let (gx, sums) = with(x, |of_x, lx| {
        let device = of_x.device().clone();
        let stream = device.cuda_stream();
        let storage = |n: usize| {
            Ok::<_, candle_core::Error>(CudaStorage::wrap_cuda_slice(
                blank::<f32>(&device, n)?,
                device.clone(),
            ))
        };
        let (mut gx, mut from, mut sums) = (storage(n)?, storage(n_partials)?, storage(4 * gain_len)?);
        with(gain, |of_gain, lg| {
            with(shift, |of_shift, ls| {
                with(gradient, |of_gy, ly| {
                    with(stats, |of_stats, lt| {
                        let (x, _x_guard) = read::<f32>(of_x, lx, &stream)?;
                        let (gain, _gain_guard) = read::<f32>(of_gain, lg, &stream)?;
                        let (shift, _shift_guard) = read::<f32>(of_shift, ls, &stream)?;
                        let (gy, _gy_guard) = read::<f32>(of_gy, ly, &stream)?;
                        let (stats, _stats_guard) = read::<f32>(of_stats, lt, &stream)?;
                        let (gx, _gx_guard) = write::<f32>(&mut gx, &Layout::contiguous(n), &stream)?;
                        let (from, _from_guard) =
                            write::<f32>(&mut from, &Layout::contiguous(n_partials), &stream)?;
                        let (to, _to_guard) =
                            write::<f32>(&mut sums, &Layout::contiguous(4 * gain_len), &stream)?;
                        let gradients = NormGradients {
                            gy,
                            gdy: below(gy, len, plan.output),
                            gx,
                            gdx: below(gx, len, plan.output),
                        };
                        let (mut cuda, name) = (Cuda::new(&device), plan.activation.map(Activation::name));
                        let inputs = plan.inputs([x, gain, shift]);
                        let (offset, kept) = (plan.offset, [stats, from]);
                        norm_backward(&mut cuda, name, shape, offset, &inputs, gradients, kept)?;
                        segment_sums(&mut cuda, partials, from, to)
                    })
                })
            })
        })?;
        Ok((tensor(gx, &[plan.output.count(), len]), tensor(sums, &[4, gain_len])))
    })?;
    let [x_parts, gain_parts, shift_parts] = plan.parts;
    let part = |all: &Tensor, first: usize, parts: Parts, input: &Tensor| {
        let cut = || all.narrow(0, first, parts.count())?.reshape(input.shape());
        is_wanted(input).then(cut).transpose()
    };
    Ok([part(&gx, 0, x_parts, x)?, part(&sums, 0, gain_parts, gain)?, part(&sums, 2, shift_parts, shift)?])
}
