//! The base distribution N(0, σ² I), one keyed stream of numbers per sample.

use candle_core::{DType, Device, Tensor};
use flowmap_core::NoiseStream;
use flowmap_dual::cuda::Draws;
use flowmap_dual::host;

use crate::Result;

/// Samples `first..first + n` of the base N(0, σ² I), `(n, shape...)`.
///
/// Sample i depends on the stream and on i alone, not on the batch it is drawn in, nor on the device:
/// a CUDA device draws the same bits itself.
///
/// # Errors
/// Candle's error, if an operation fails.
pub fn base_noise(
    stream: &NoiseStream,
    first: u64,
    n: usize,
    shape: &[usize],
    sigma: f64,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let dim: usize = shape.iter().product();
    let dims: Vec<usize> = [n].iter().chain(shape).copied().collect();
    let draws = Draws { key: stream.key(), first, rows: n, dim };
    if let Some(noise) = draws.normals(sigma as f32, device)? {
        return Ok(noise.reshape(dims)?.to_dtype(dtype)?);
    }
    let mut values = vec![0f32; n * dim];
    for (i, row) in values.chunks_exact_mut(dim.max(1)).enumerate() {
        stream.at(first + i as u64).fill_normal_f32(row);
        row.iter_mut().for_each(|v| *v *= sigma as f32);
    }
    Ok(host::send(values, dims, dtype, device)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_core::Stream;

    use super::*;

    #[test]
    fn sample_does_not_depend_on_its_batch() {
        let stream = NoiseStream::new(3, Stream::Base);
        let draw = |first, n| {
            let x = base_noise(&stream, first, n, &[2, 2], 0.5, DType::F32, &Device::Cpu).unwrap();
            x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(draw(0, 5)[8..], draw(2, 3)[..]);
    }
}
