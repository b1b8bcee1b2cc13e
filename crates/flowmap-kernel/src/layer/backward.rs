//! The way back through the layers: equations (2), and x̄ of (3), block by block of rows.

use std::sync::Arc;

use candle_core::Result;
use rayon::prelude::*;

use super::epilogue;
use super::{Layer, Saved, multiply, split};
use crate::matmul::gemm::Matrix;
use crate::matmul::panels::Panels;
use crate::memory::pool::Buffer;
use crate::memory::rows::{
    BlankBlock, Block, BlockMut, blank_blocks, blocks, blocks_mut, cleared, shared, whole_mut,
};
use crate::memory::slices::with_floats;
use crate::memory::uninit::Blank;
use crate::shared::{self, Product};

/// What a backward pass starts from.
pub(super) struct Backward<'a> {
    pub(super) layers: &'a [Layer],
    pub(super) saved: &'a [Saved],
    pub(super) gy: &'a [f32],
    pub(super) is_stacked: bool,
}

/// For a block of rows, where z̄ of each layer goes, and x̄.
#[derive(Default)]
struct Targets<'a> {
    gzs: Vec<Option<BlockMut<'a>>>,
    gx: Option<BlankBlock<'a>>,
}

impl Backward<'_> {
    /// The gradients (2) of z and ż of each layer, empty if they equal the gradients of y and ẏ, and of b;
    /// the gradients of x and ẋ go to `gx`.
    pub(super) fn run(&self, gx: Option<Blank<'_>>) -> Result<(Vec<Buffer>, Vec<Vec<f32>>)> {
        let Self { layers, saved, gy, is_stacked } = *self;
        let n_layers = layers.len();
        let back = |(i, layer): (usize, &Layer)| -> Result<Option<Arc<Panels>>> {
            if i == 0 && gx.is_none() {
                return Ok(None);
            }
            let pack = || with_floats(&layer.weight, |w| Ok(Panels::new(Matrix::rows(w, layer.d_in))));
            Ok(Some(shared::panels(&layer.weight, Product::Backward, pack)?))
        };
        let back: Vec<_> = layers.iter().enumerate().map(back).collect::<Result<_>>()?;
        let rows = gy.len() / layers.last().map_or(1, Layer::d_out).max(1);
        // The last layer without an activation passes its gradient on as it is.
        let is_own = |i: usize| i + 1 < n_layers || layers[i].activation.is_some();
        let own = |(i, layer): (usize, &Layer)| Buffer::new(if is_own(i) { rows * layer.d_out() } else { 0 });
        let mut gzs: Vec<Buffer> = layers.iter().enumerate().map(own).collect();

        let gradients = blocks(gy, layers.last().map_or(0, Layer::d_out), is_stacked);
        let mut targets: Vec<Targets<'_>> = gradients.iter().map(|_| Targets::default()).collect();
        for (layer, gz) in layers.iter().zip(&mut gzs) {
            let mut blocks = blocks_mut(gz, layer.d_out(), is_stacked).into_iter();
            targets.iter_mut().for_each(|target| target.gzs.push(blocks.next()));
        }
        if let Some(gx) = gx {
            let outputs = blank_blocks(gx, layers.first().map_or(0, |l| l.d_in), is_stacked);
            targets.iter_mut().zip(outputs).for_each(|(target, gx)| target.gx = Some(gx));
        }
        let zs: Vec<Vec<Block<'_>>> =
            layers.iter().zip(saved).map(|(l, s)| blocks(&s.z, l.d_out(), is_stacked)).collect();

        let block = |(k, (gy, mut targets)): (usize, (Block<'_>, Targets<'_>))| {
            let mut sums = vec![Vec::new(); n_layers];
            let mut passed = Buffer::default();
            for i in (0..n_layers).rev() {
                let layer = &layers[i];
                let gy = if i + 1 == n_layers { gy } else { split(&passed, is_stacked) };
                let bias = &layer.bias_values;
                let gz = match (&mut targets.gzs[i], layer.activation) {
                    (Some(gz), Some(activation)) => {
                        sums[i] = epilogue::backward(activation, zs[i][k], bias, gy, gz);
                        shared(gz)
                    }
                    (Some(gz), None) => {
                        gz.0.copy_from_slice(gy.0);
                        if let (Some(gdz), Some(gdy)) = (&mut gz.1, gy.1) {
                            gdz.copy_from_slice(gdy);
                        }
                        sums[i] = epilogue::column_sums(gy.0, bias.len());
                        shared(gz)
                    }
                    (None, _) => {
                        sums[i] = epilogue::column_sums(gy.0, bias.len());
                        gy
                    }
                };
                let Some(panels) = &back[i] else { break };
                if i == 0 {
                    if let Some(gx) = targets.gx.take() {
                        multiply(gz, layer.d_out(), panels, &mut cleared(gx), layer.d_in);
                    }
                    break;
                }
                let n_rows = gz.0.len() / layer.d_out() * if is_stacked { 2 } else { 1 };
                let mut next = Buffer::new(n_rows * layer.d_in);
                if let Some(mut next) = whole_mut(&mut next, is_stacked) {
                    multiply(gz, layer.d_out(), panels, &mut next, layer.d_in);
                }
                passed = next;
            }
            sums
        };
        let partial: Vec<Vec<Vec<f32>>> =
            gradients.into_par_iter().zip(targets).enumerate().map(block).collect();
        // In the order of the blocks, whichever thread had them.
        let mut gbs: Vec<Vec<f32>> = layers.iter().map(|l| vec![0f32; l.d_out()]).collect();
        for sums in partial {
            for (gb, sum) in gbs.iter_mut().zip(sums) {
                gb.iter_mut().zip(sum).for_each(|(gb, sum)| *gb += sum);
            }
        }
        Ok((gzs, gbs))
    }
}
