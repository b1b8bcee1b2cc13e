//! Layers on a CUDA device: products by cuBLAS, what follows them by the kernels of `layer.cu`.
//!
//! Equations (1) to (3) of [`layer`](crate::layer). z stays in memory for the backward pass, as on the CPU.

use candle_core::backend::BackendStorage;
use candle_core::cuda::CudaStorage;
use candle_core::op::BackpropOp;
use candle_core::{Layout, Result, Storage, Tensor, bail};

use super::launcher::{Cuda, blank, read, write};
use super::launches::{Grid, Partials, layer_backward, layer_forward, segment_sums};
use crate::layer::{Layer, Tape};
use crate::memory::slices::is_wanted;

/// What a backward pass needs of one layer; x of the first one Candle keeps.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    x: Option<Tensor>,
    /// z and ż without the bias, if there is an activation.
    z: Option<Tensor>,
}

/// The gradients of W and b of a layer, where somebody wants them.
type Gradients = (Option<Tensor>, Option<Tensor>);

fn grid(rows: usize, columns: usize, is_dual: bool) -> Result<Grid> {
    match (u32::try_from(rows), u32::try_from(columns)) {
        (Ok(rows), Ok(columns)) => Ok(Grid { rows, columns, is_dual }),
        _ => bail!("a layer of {rows} rows and {columns} columns is too large"),
    }
}

/// A tensor off the tape.
pub(super) fn tensor(storage: CudaStorage, dims: &[usize]) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), dims, BackpropOp::none(), false)
}

/// Calls `f` with the memory of a tensor on a CUDA device.
pub(super) fn with<R>(tensor: &Tensor, f: impl FnOnce(&CudaStorage, &Layout) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => f(storage, layout),
        _ => bail!("expected a tensor on a CUDA device"),
    }
}

/// (1) through all layers, for `rows` rows and, stacked, as many tangents; and what the backward pass needs.
pub(crate) fn forward(
    layers: &[Layer],
    tape: Tape,
    (x, layout): (&CudaStorage, &Layout),
    rows: usize,
    is_stacked: bool,
) -> Result<(CudaStorage, Vec<Saved>)> {
    let n_rows = if is_stacked { 2 * rows } else { rows };
    let mut saved = Vec::new();
    let mut input: Option<Tensor> = None;
    for (i, layer) in layers.iter().enumerate() {
        let (y, z) = match &input {
            None => layer_on(layer, (x, layout), rows, is_stacked)?,
            Some(input) => with(input, |x, layout| layer_on(layer, (x, layout), rows, is_stacked))?,
        };
        if tape == Tape::Recorded {
            saved.push(Saved { x: input.take(), z });
        }
        if i + 1 == layers.len() {
            return Ok((y, saved));
        }
        input = Some(tensor(y, &[n_rows, layer.d_out()]));
    }
    bail!("expected at least one layer")
}

/// (1) for one layer: y, and z if there is an activation.
fn layer_on(
    layer: &Layer,
    (x, layout): (&CudaStorage, &Layout),
    rows: usize,
    is_stacked: bool,
) -> Result<(CudaStorage, Option<Tensor>)> {
    let device = x.device().clone();
    let stream = device.cuda_stream();
    let [weight, bias] = layer.inputs();
    let n_rows = if is_stacked { 2 * rows } else { rows };
    let (d_out, d_in) = (layer.d_out(), layer.d_in());
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("a fused operation takes contiguous tensors only");
    };
    let layout = Layout::contiguous_with_offset((n_rows, d_in), start);
    let mut z = with(weight, |weight, of_weight| {
        x.matmul(weight, (1, n_rows, d_out, d_in), &layout, &of_weight.transpose(0, 1)?)
    })?;
    let of_z = Layout::contiguous(n_rows * d_out);
    let mut cuda = Cuda::new(&device);
    with(bias, |bias, of_bias| {
        let (bias, _bias_guard) = read::<f32>(bias, of_bias, &stream)?;
        let Some(activation) = layer.activation() else {
            // z + b in the place of z; ż is as it should be.
            {
                let (address, _guard) = write::<f32>(&mut z, &of_z, &stream)?;
                layer_forward(&mut cuda, None, grid(rows, d_out, false)?, [address, bias, address])?;
            }
            return Ok((z, None));
        };
        let slice = blank::<f32>(&device, n_rows * d_out)?;
        let mut y = CudaStorage::wrap_cuda_slice(slice, device.clone());
        {
            let (from, _from_guard) = read::<f32>(&z, &of_z, &stream)?;
            let (to, _to_guard) = write::<f32>(&mut y, &of_z, &stream)?;
            let grid = grid(rows, d_out, is_stacked)?;
            layer_forward(&mut cuda, Some(activation.name()), grid, [from, bias, to])?;
        }
        Ok((y, Some(tensor(z, &[n_rows, d_out]))))
    })
}

/// (2) and (3): the gradients of x, and of W and b of every layer.
pub(crate) fn backward(
    layers: &[Layer],
    saved: &[Saved],
    x: &Tensor,
    gradient: &Tensor,
    is_stacked: bool,
) -> Result<(Option<Tensor>, Vec<Gradients>)> {
    let rows_of = |t: &Tensor, width: usize| t.detach().reshape((t.elem_count() / width.max(1), width));
    let mut found: Vec<Gradients> = Vec::with_capacity(layers.len());
    let mut of_x = None;
    let mut gy = gradient.detach();
    for (i, (layer, saved)) in layers.iter().zip(saved).enumerate().rev() {
        let [weight, bias] = layer.inputs();
        gy = rows_of(&gy, layer.d_out())?;
        let (gz, gb) = way_back(layer, saved.z.as_ref(), &gy, is_stacked)?;
        let input = match &saved.x {
            Some(x) => x.clone(),
            None => rows_of(x, layer.d_in())?,
        };
        let gw = is_wanted(weight).then(|| gz.t()?.matmul(&input)).transpose()?;
        found.push((gw, is_wanted(bias).then_some(gb)));
        if i > 0 {
            gy = gz.matmul(&weight.detach())?;
        } else if is_wanted(x) {
            of_x = Some(gz.matmul(&weight.detach())?.reshape(x.shape())?);
        }
    }
    found.reverse();
    Ok((of_x, found))
}

/// (2) for one layer: z̄ and ż̄ stacked as gy is, and b̄.
fn way_back(layer: &Layer, z: Option<&Tensor>, gy: &Tensor, is_stacked: bool) -> Result<(Tensor, Tensor)> {
    let (n_rows, d_out) = gy.dims2()?;
    let grid = grid(if is_stacked { n_rows / 2 } else { n_rows }, d_out, is_stacked)?;
    let [_, bias] = layer.inputs();
    let activation = z.and(layer.activation());
    // Without an activation nothing is read of z.
    let z = z.unwrap_or(gy);
    with(gy, |storage_of_gy, of_gy| {
        let device = storage_of_gy.device().clone();
        let stream = device.cuda_stream();
        let mut cuda = Cuda::new(&device);
        let storage = |n: usize| {
            Ok::<_, candle_core::Error>(CudaStorage::wrap_cuda_slice(
                blank::<f32>(&device, n)?,
                device.clone(),
            ))
        };
        let n_partials = grid.n_partials() as usize;
        let mut gz = activation.map(|_| storage(n_rows * d_out)).transpose()?;
        let (mut partials, mut gb) = (storage(n_partials * d_out)?, storage(d_out)?);
        let (of_gz, of_partials) =
            (Layout::contiguous(n_rows * d_out), Layout::contiguous(n_partials * d_out));
        with(z, |z, of_z| {
            with(bias, |bias, of_bias| {
                let (z, _z_guard) = read::<f32>(z, of_z, &stream)?;
                let (bias, _bias_guard) = read::<f32>(bias, of_bias, &stream)?;
                let (gy, _gy_guard) = read::<f32>(storage_of_gy, of_gy, &stream)?;
                let target = gz.as_mut().map(|gz| write::<f32>(gz, &of_gz, &stream)).transpose()?;
                let (partials, _partials_guard) = write::<f32>(&mut partials, &of_partials, &stream)?;
                let (gb, _gb_guard) = write::<f32>(&mut gb, &Layout::contiguous(d_out), &stream)?;
                let gz = target.as_ref().map(|(address, _)| *address);
                layer_backward(&mut cuda, activation.map(|a| a.name()), grid, [z, bias, gy], gz, partials)?;
                let sizes = Partials {
                    n_segments: 1,
                    n_partials: grid.n_partials(),
                    n_sums: 1,
                    columns: grid.columns,
                };
                segment_sums(&mut cuda, sizes, partials, gb)
            })
        })?;
        let gz = gz.map_or_else(|| gy.clone(), |gz| tensor(gz, &[n_rows, d_out]));
        Ok((gz, tensor(gb, &[d_out])))
    })
}
