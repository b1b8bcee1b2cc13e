//! Where tokens learn their place.
//!
//! sincos: a table is added to the tokens, half of its numbers for the column and half for the row:
//! [ sin ω_k j, cos ω_k j, sin ω_k i, cos ω_k i ],  ω_k = 10000^(−k/(width/4)), as DiT has it, arXiv:2212.09748
//!
//! rope: queries and keys are rotated, each pair (q_k, q_{k + d/2}) by the angle ω_k i for the first half of the pairs
//! and ω_k j for the second, ω_k = 100^(−k/(d/4)): Su and others 2021, arXiv:2104.09864;
//! with two axes Heo and others 2024, arXiv:2403.13298, whose base is 100.

use candle_core::Tensor;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use super::super::patches::Patches;
use crate::{ParamBuilder, Result};

/// Base of the frequencies of the table.
const TABLE_BASE: f64 = 10_000.0;
/// Base of the frequencies of the rotation.
const ROTATION_BASE: f64 = 100.0;

/// Where tokens learn their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// From a table of sines and cosines that is added to them.
    #[default]
    Sincos,
    /// From a rotation of queries and keys.
    Rope,
}

/// The table, `(rows x columns, width)`.
pub(super) fn sincos(width: usize, rows: usize, columns: usize) -> Vec<f64> {
    let quarter = width / 4;
    let omega = |k: usize| TABLE_BASE.powf(-(k as f64) / quarter as f64);
    let mut values = Vec::with_capacity(rows * columns * width);
    for token in 0..rows * columns {
        for place in [token % columns, token / columns].map(|place| place as f64) {
            values.extend((0..quarter).map(|k| (omega(k) * place).sin()));
            values.extend((0..quarter).map(|k| (omega(k) * place).cos()));
        }
    }
    values
}

/// The rotation of the queries and keys of a head.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// Cosines of the angles, `(N, d/2)`.
    cos: Tensor,
    /// Sines of the angles, `(N, d/2)`.
    sin: Tensor,
}

impl Rotation {
    /// The rotation for heads of `d` numbers.
    pub(super) fn new(d: usize, patches: &Patches, builder: &ParamBuilder) -> Result<Self> {
        let quarter = d / 4;
        let omega = |k: usize| ROTATION_BASE.powf(-(k as f64) / quarter as f64);
        let angles: Vec<f64> = (0..patches.n())
            .flat_map(|token| [token / patches.columns, token % patches.columns])
            .flat_map(|place| (0..quarter).map(move |k| omega(k) * place as f64))
            .collect();
        let table = |f: fn(f64) -> f64| {
            builder.constant((patches.n(), 2 * quarter), angles.iter().copied().map(f).collect())
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    /// Rotates `(B, heads, N, d)`.
    pub(super) fn forward(&self, x: &Dual) -> Result<Dual> {
        let half = x.dims()[3] / 2;
        let (first, second) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
        let table = |table: &Tensor| -> Result<Dual> { Ok(table.to_dtype(x.dtype())?.into()) };
        let (cos, sin) = (table(&self.cos)?, table(&self.sin)?);
        let left = first.mul(&cos)?.sub(&second.mul(&sin)?)?;
        let right = second.mul(&cos)?.add(&first.mul(&sin)?)?;
        Ok(Dual::cat_last(&[left, right])?)
    }
}
