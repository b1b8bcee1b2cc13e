//! Nearest up-sampling and mean down-sampling of images by a whole factor, with their backward passes.
//!
//! up: y\[p\] = x\[p / f\];  down: y\[q\] = f⁻² Σ_{p / f = q} x\[p\]                              (1)
//!
//! Both are linear and each is the other's transpose except for f², so the backward pass of one is the other, scaled.
//! f32 on the CPU, any leading dimensions, stacked ones included; bounded by the speed of memory.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::lanes::dispatch::{Kernel, dispatch};
use crate::memory::slices::{floats, with_floats};

/// Numbers in a task, about, counted on the larger side.
const CHUNK: usize = 64 * 1024;

/// The operation on `(..., H, W)`.
#[derive(Clone, Copy, Debug)]
pub enum Resize {
    /// Repeats each pixel in a square with sides of this many.
    Up(usize),
    /// The mean of each square with sides of this many.
    Down(usize),
}

impl CustomOp1 for Resize {
    fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "upsample-nearest",
            Self::Down(_) => "average-pool",
        }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let mut dims = layout.dims().to_vec();
        let [.., height, width] = dims.as_mut_slice() else { bail!("expected images, found {dims:?}") };
        let y = match *self {
            Self::Up(factor) => {
                let y = spread(x, *width, factor, 1.0);
                (*height, *width) = (*height * factor, *width * factor);
                y
            }
            Self::Down(factor) => {
                if factor == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
                    bail!("expected a height and width that {factor} divides, found {height}x{width}");
                }
                (*height, *width) = (*height / factor, *width / factor);
                gather(x, *width, factor, 1.0 / (factor * factor) as f32)
            }
        };
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gy: &Tensor) -> Result<Option<Tensor>> {
        let gy = gy.contiguous()?;
        let gx = with_floats(&gy, |gy| {
            Ok(match (*self, x.dims()) {
                (Self::Up(factor), [.., width]) => gather(gy, *width, factor, 1.0),
                (Self::Down(factor), [.., width]) => {
                    spread(gy, width / factor, factor, 1.0 / (factor * factor) as f32)
                }
                (_, []) => Vec::new(),
            })
        })?;
        Ok(Some(Tensor::from_vec(gx, x.shape(), &Device::Cpu)?))
    }
}

/// Each number of the rows of `small`, scaled, in a square of the result.
fn spread(small: &[f32], width: usize, factor: usize, scale: f32) -> Vec<f32> {
    let mut large = vec![0f32; small.len() * factor * factor];
    if !large.is_empty() {
        let rows = (CHUNK / (width * factor * factor)).max(1);
        let chunks = large.par_chunks_mut(rows * width * factor * factor).zip(small.par_chunks(rows * width));
        chunks.for_each(|(large, small)| dispatch(Spread { small, large, width, factor, scale }));
    }
    large
}

/// The sum of each square of `large`, scaled; `width` is the width of the result.
fn gather(large: &[f32], width: usize, factor: usize, scale: f32) -> Vec<f32> {
    let mut small = vec![0f32; large.len() / (factor * factor)];
    if !small.is_empty() {
        let rows = (CHUNK / (width * factor * factor)).max(1);
        let chunks = small.par_chunks_mut(rows * width).zip(large.par_chunks(rows * width * factor * factor));
        chunks.for_each(|(small, large)| dispatch(Gather { small, large, width, factor, scale }));
    }
    small
}

struct Spread<'a> {
    small: &'a [f32],
    large: &'a mut [f32],
    width: usize,
    factor: usize,
    scale: f32,
}

impl Kernel for Spread<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { small, large, width, factor, scale } = self;
        let row = width * factor;
        for (small, large) in small.chunks_exact(width).zip(large.chunks_exact_mut(row * factor)) {
            let (first, rest) = large.split_at_mut(row);
            match factor {
                2 => spread_row::<2>(small, first, scale),
                3 => spread_row::<3>(small, first, scale),
                4 => spread_row::<4>(small, first, scale),
                _ => first.chunks_exact_mut(factor).zip(small).for_each(|(to, from)| to.fill(from * scale)),
            }
            rest.chunks_exact_mut(row).for_each(|to| to.copy_from_slice(first));
        }
    }
}

#[inline(always)]
fn spread_row<const F: usize>(small: &[f32], large: &mut [f32], scale: f32) {
    for (to, from) in large.as_chunks_mut::<F>().0.iter_mut().zip(small) {
        *to = [from * scale; F];
    }
}

struct Gather<'a> {
    small: &'a mut [f32],
    large: &'a [f32],
    width: usize,
    factor: usize,
    scale: f32,
}

impl Kernel for Gather<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { small, large, width, factor, scale } = self;
        for (small, large) in small.chunks_exact_mut(width).zip(large.chunks_exact(width * factor * factor)) {
            for row in large.chunks_exact(width * factor) {
                match factor {
                    2 => gather_row::<2>(small, row),
                    3 => gather_row::<3>(small, row),
                    4 => gather_row::<4>(small, row),
                    _ => small
                        .iter_mut()
                        .zip(row.chunks_exact(factor))
                        .for_each(|(to, x)| *to += x.iter().sum::<f32>()),
                }
            }
            small.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

/// Adds the sums of `F` neighbors.
#[inline(always)]
fn gather_row<const F: usize>(small: &mut [f32], large: &[f32]) {
    for (to, from) in small.iter_mut().zip(large.as_chunks::<F>().0) {
        let mut sum = from[0];
        for x in &from[1..] {
            sum += x;
        }
        *to += sum;
    }
}
