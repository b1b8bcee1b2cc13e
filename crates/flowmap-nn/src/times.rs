//! Times of the rows of a batch, and the numbers that follow from them.
//!
//! All are computed on the host in f64, whatever the type of the network, and go to its device in one piece: a
//! [`TimeTable`] holds the columns of a step one after the other, and what a method takes of it are views.
//! A column that was not asked for beforehand is sent when it is needed, so a table changes no number.

mod function;

use std::mem::take;
use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Interpolant, Linear};
use flowmap_dual::host;
use rayon::prelude::*;

pub use function::{At, Column, JumpFunction, TimeFunction};

use crate::Result;

/// Minimum numbers per task; below this, waking a thread costs more than the work.
const NUMBERS_A_TASK: usize = 1 << 11;

/// One time per sample, on the host in f64 and on the device as a `(B,)` tensor.
///
/// The host copy lets the interpolant's coefficients be computed in f64 whatever the type of the network.
#[derive(Clone, Debug)]
pub struct TimeColumn {
    host: Vec<f64>,
    tensor: Tensor,
    /// Functions of the times that are on the device already.
    ready: Vec<(TimeFunction, Tensor)>,
}

impl TimeColumn {
    /// Times `host`, one per sample.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn new(host: Vec<f64>, dtype: DType, device: &Device) -> Result<Self> {
        let tensor = host::send(host.clone(), host.len(), dtype, device)?;
        Ok(Self { host, tensor, ready: Vec::new() })
    }

    /// The times in f64.
    pub fn host(&self) -> &[f64] {
        &self.host
    }

    /// The times as a tensor `(B,)`.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// f(t) of every time as a tensor `(B,)`, computed in f64.
    ///
    /// A function that the method's [`Column`]s name is on the device already; any other is sent.
    ///
    /// # Errors
    /// If the device fails.
    pub fn map(&self, f: TimeFunction, interpolant: &dyn Interpolant) -> Result<Tensor> {
        if let Some((_, tensor)) = self.ready.iter().find(|(ready, _)| *ready == f) {
            return Ok(tensor.clone());
        }
        let values = self.host.iter().map(|t| f.at(*t, interpolant)).collect();
        Ok(host::send(values, self.host.len(), self.tensor.dtype(), self.tensor.device())?)
    }
}

/// Start s, middle u and end t of each sample's jump, s <= u <= t.
#[derive(Clone, Debug)]
pub struct Times {
    /// Start times.
    pub s: TimeColumn,
    /// Middle times; not every objective uses them.
    pub u: TimeColumn,
    /// End times.
    pub t: TimeColumn,
    /// Functions of all three that are on the device already.
    ready: Vec<(JumpFunction, Tensor)>,
}

impl Times {
    /// Uploads triples of times, which [`flowmap_core::Times`] keeps in order.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn new(triples: &[flowmap_core::Times], dtype: DType, device: &Device) -> Result<Self> {
        let block = Block { times: triples.to_vec(), columns: Vec::new() };
        // No column asks for the interpolant.
        TimeTable::new(vec![block], &Linear, dtype, device)?.rows(0, 0..triples.len())
    }

    /// Times that are columns already, of equal length.
    pub fn of(s: TimeColumn, u: TimeColumn, t: TimeColumn) -> Self {
        Self { s, u, t, ready: Vec::new() }
    }

    /// f(s, u, t) of each sample as `(B,)`, computed in f64.
    ///
    /// A function that the method's [`Column`]s name is on the device already; any other is sent.
    ///
    /// # Errors
    /// If the device fails.
    pub fn map(&self, f: JumpFunction) -> Result<Tensor> {
        if let Some((_, tensor)) = self.ready.iter().find(|(ready, _)| *ready == f) {
            return Ok(tensor.clone());
        }
        let jumps = self.s.host.iter().zip(&self.u.host).zip(&self.t.host);
        let values: Vec<f64> = jumps.map(|((s, u), t)| f.at([*s, *u, *t])).collect();
        let (n, like) = (values.len(), &self.s.tensor);
        Ok(host::send(values, n, like.dtype(), like.device())?)
    }

    /// γ = (u − s)/(t − s) of each sample as `(B,)`, zero where t = s.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn gamma(&self) -> Result<Tensor> {
        self.map(JumpFunction::GAMMA)
    }
}

/// Rows whose times have one law, and what is wanted of them.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The times of the rows.
    pub(crate) times: Vec<flowmap_core::Times>,
    /// What is wanted in addition to the times.
    pub(crate) columns: Vec<Column>,
}

impl Block {
    /// Numbers in the table: s, u and t of all rows, and then the columns.
    fn n_numbers(&self) -> usize {
        self.times.len() * (3 + self.columns.len())
    }

    /// Writes all columns.
    fn fill(&self, numbers: &mut [f64], interpolant: &dyn Interpolant) {
        let columns = [At::S, At::U, At::T].map(Err).into_iter().chain(self.columns.iter().copied().map(Ok));
        let columns: Vec<Result<Column, At>> = columns.collect();
        let n_rows = self.times.len().max(1);
        let columns =
            numbers.par_chunks_mut(n_rows).zip(columns).with_min_len(NUMBERS_A_TASK.div_ceil(n_rows));
        columns.for_each(|(numbers, column)| {
            for (number, times) in numbers.iter_mut().zip(&self.times) {
                let jump = [times.s(), times.u(), times.t()];
                *number = match column {
                    Err(at) => at.of(&jump),
                    Ok(Column::Of(at, f)) => f.at(at.of(&jump), interpolant),
                    Ok(Column::Jump(f)) => f.at(jump),
                };
            }
        });
    }
}

/// The times of a step and what is wanted of them, on a device.
#[derive(Debug)]
pub(crate) struct TimeTable {
    /// Each block with the place of its first number.
    blocks: Vec<(usize, Block)>,
    /// Block after block, column after column.
    numbers: Tensor,
}

impl TimeTable {
    /// Computes the numbers of all blocks and sends them in one piece.
    ///
    /// # Errors
    /// As the device.
    pub(crate) fn new(
        blocks: Vec<Block>,
        interpolant: &dyn Interpolant,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let n_numbers = blocks.iter().map(Block::n_numbers).sum();
        let mut numbers = vec![0.0; n_numbers];
        let (mut rest, mut start) = (&mut numbers[..], 0);
        let mut placed = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (own, after) = take(&mut rest).split_at_mut(block.n_numbers());
            block.fill(own, interpolant);
            rest = after;
            let first = start;
            start += block.n_numbers();
            placed.push((first, block));
        }
        Ok(Self { blocks: placed, numbers: host::send(numbers, n_numbers, dtype, device)? })
    }

    /// The times of some rows of a block, as views of the table.
    ///
    /// # Errors
    /// Where there are no such rows.
    pub(crate) fn rows(&self, block: usize, rows: Range<usize>) -> Result<Times> {
        let (start, Block { times, columns }) = &self.blocks[block];
        let view = |k: usize| self.numbers.narrow(0, start + k * times.len() + rows.start, rows.len());
        let column = |k: usize, of: fn(&flowmap_core::Times) -> f64| -> Result<TimeColumn> {
            let host = times[rows.clone()].iter().map(of).collect();
            Ok(TimeColumn { host, tensor: view(k)?, ready: Vec::new() })
        };
        let mut found = Times::of(
            column(0, flowmap_core::Times::s)?,
            column(1, flowmap_core::Times::u)?,
            column(2, flowmap_core::Times::t)?,
        );
        for (k, column) in (3..).zip(columns) {
            match *column {
                Column::Of(At::S, f) => found.s.ready.push((f, view(k)?)),
                Column::Of(At::U, f) => found.u.ready.push((f, view(k)?)),
                Column::Of(At::T, f) => found.t.ready.push((f, view(k)?)),
                Column::Jump(f) => found.ready.push((f, view(k)?)),
            }
        }
        Ok(found)
    }
}
