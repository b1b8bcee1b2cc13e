//! The losses of a batch, first on the device that computed them and then on the host.
//!
//! Reading a loss makes a device finish all work queued before it.
//! Losses therefore stay on the device until they are needed, and many steps are read at once.

use candle_core::Tensor;
use flowmap_dual::host;

use super::{BinSums, CombinationLoss, DeferredRows};
use crate::Result;

/// The losses of a batch in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    /// The loss.
    pub loss: f64,
    /// The mean loss of each term over its rows, unweighted; `None` for a term without rows.
    pub terms: Vec<Option<f64>>,
    /// The losses and tangents of each term by their times, unweighted.
    pub bins: Vec<BinSums>,
}

impl Losses {
    /// Adds the losses of another part of the same batch.
    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.terms.resize(other.terms.len().max(self.terms.len()), None);
        for (sum, term) in self.terms.iter_mut().zip(&other.terms) {
            *sum = match (*sum, *term) {
                (Some(a), Some(b)) => Some(a + b),
                (one, None) | (None, one) => one,
            };
        }
        self.bins.resize(other.bins.len().max(self.bins.len()), BinSums::default());
        self.bins.iter_mut().zip(&other.bins).for_each(|(sum, part)| sum.add(part));
    }
}

/// The losses of a batch on the device that computed them, off the tape.
#[derive(Clone, Debug, Default)]
pub struct DeferredLosses {
    /// The losses of each tile.
    parts: Vec<Part>,
}

/// The losses of a tile.
#[derive(Clone, Debug)]
struct Part {
    total: Tensor,
    terms: Vec<Option<Tensor>>,
    rows: Vec<Option<DeferredRows>>,
}

impl DeferredLosses {
    /// The losses of one tile.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub(super) fn of_tile(losses: &CombinationLoss) -> Result<Self> {
        let rows = |rows: &Option<_>| {
            rows.as_ref().map(|(losses, times)| DeferredRows::new(losses, times)).transpose()
        };
        let rows = losses.rows.iter().map(rows).collect::<Result<_>>()?;
        Ok(Self { parts: vec![Part { total: losses.total.detach(), terms: losses.terms.clone(), rows }] })
    }

    /// Adds other tiles of the same batch.
    pub(super) fn add(&mut self, other: Self) {
        self.parts.extend(other.parts);
    }

    /// The loss as a scalar on the device that computed it; `None` for an empty batch.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn total(&self) -> Result<Option<Tensor>> {
        let mut parts = self.parts.iter().map(|part| &part.total);
        let Some(first) = parts.next() else { return Ok(None) };
        Ok(Some(parts.try_fold(first.clone(), |sum, part| sum + part)?))
    }

    /// The losses on the host, summed in f64 in the order of the tiles; waits for the device.
    ///
    /// # Errors
    /// As the device.
    pub fn read(&self) -> Result<Losses> {
        let mut sum = Losses::default();
        for Part { total, terms, rows } in &self.parts {
            let terms = terms.iter().map(|term| Ok(term.as_ref().map(host::number).transpose()?));
            let bins =
                rows.iter().map(|rows| rows.as_ref().map_or(Ok(BinSums::default()), DeferredRows::read));
            sum.add(&Losses {
                loss: host::number(total)?,
                terms: terms.collect::<Result<_>>()?,
                bins: bins.collect::<Result<_>>()?,
            });
        }
        Ok(sum)
    }
}
