//! A weighted combination of objectives over one batch.
//!
//! L = (1/B) Σ_k λ_k Σ_{i in the rows of k} w_k(s_i, t_i)[ ρ_k(L_k,i) ]        (1)
//!
//! with ρ_k the norm of the term ([`crate::loss::Norm`]) and w_k its weight by time ([`crate::loss::TimeWeight`]),
//! both the identity unless asked for.
//! Each term takes its share of the rows, in order; shares sum to one.
//! With flow matching at share η and one other term this is the batch loss of the official code of arXiv:2505.18825:
//! the two means weighed by their numbers of samples.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroUsize;

use candle_core::Tensor;
use flowmap_core::{NoiseStream, Place, Stream};
use rayon::prelude::*;

use super::{DropoutPasses, LearnedWeight, PositionalWeight, Term, TimeWeight, WeightNet};
use crate::method::{Context, Method, Pass};
use crate::times::{Block, TimeTable};
use crate::{
    AverageVelocity, Batch, Condition, DropoutKeys, Error, FlowMap, ParamBuilder, PerSample, Result, StepKey,
    Teacher, Times,
};

/// How far the shares may sum from one, for shares written with few decimals such as 0.333.
const SHARE_TOLERANCE: f64 = 2e-3;
/// Minimum rows per task; fewer are faster drawn on one thread.
const ROWS_A_TASK: usize = 256;

/// A weighted combination of objectives; see the module for its formula.
#[derive(Clone, Debug)]
pub struct Combination {
    terms: Vec<Term>,
    /// The networks of learned weights, by term.
    learned: Vec<Option<WeightNet>>,
    teacher: Option<Teacher>,
    null_label: Option<u32>,
    micro_batch: Option<NonZeroUsize>,
}

/// The value of a [`Combination`] on one batch.
#[derive(Clone, Debug)]
pub struct CombinationLoss {
    /// L, eq. (1), a scalar on the tape.
    pub total: Tensor,
    /// The mean loss of each term over its rows, as the objective gives it, a scalar off the tape; `None` for a term without rows.
    pub terms: Vec<Option<Tensor>>,
    /// The losses of each term's rows, as the objective gives them, off the tape, and their times; `None` for a term without rows.
    pub rows: Vec<Option<(PerSample, Times)>>,
}

impl Combination {
    /// Checks weights, shares and times.
    ///
    /// # Errors
    /// [`Error::NoObjective`], [`Error::OutOfRange`] or [`Error::Shares`].
    pub fn new(terms: Vec<Term>) -> Result<Self> {
        if terms.is_empty() {
            return Err(Error::NoObjective);
        }
        for term in &terms {
            term.validate()?;
        }
        let found: f64 = terms.iter().map(|t| t.share).sum();
        if (found - 1.0).abs() > SHARE_TOLERANCE {
            return Err(Error::Shares { found });
        }
        let learned = vec![None; terms.len()];
        Ok(Self { terms, learned, teacher: None, null_label: None, micro_batch: None })
    }

    /// Makes the networks of the learned weights and adds their parameters to `builder`.
    ///
    /// # Errors
    /// An error of `builder`, if a checkpoint does not fit.
    pub fn with_learned_weights(mut self, builder: &mut ParamBuilder) -> Result<Self> {
        // One network for each size, however many terms share it.
        let mut shared = BTreeMap::new();
        for (k, term) in self.terms.iter().enumerate() {
            self.learned[k] = match &term.time_weight {
                TimeWeight::Learned(config) => Some(WeightNet::Own(LearnedWeight::new(config, k, builder)?)),
                TimeWeight::LearnedPositional(config) => {
                    let net = match shared.entry(config.channels) {
                        Entry::Occupied(net) => net.into_mut(),
                        Entry::Vacant(place) => place.insert(PositionalWeight::new(config, builder)?),
                    };
                    Some(WeightNet::Shared(net.clone()))
                }
                _ => None,
            };
        }
        Ok(self)
    }

    /// Distills from this flow where a term asks for one.
    pub fn with_teacher(self, teacher: Teacher) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// Names the label that stands for "none", for guidance.
    pub fn with_null_label(self, null_label: u32) -> Self {
        Self { null_label: Some(null_label), ..self }
    }

    /// Sets the most rows that go through a network at once in [`super::loss_and_gradient`], which adds up the gradients
    /// of the parts; `None` lets the device decide.
    /// Loss and gradient are those of the whole batch, up to rounding.
    pub fn with_micro_batch(self, rows: Option<NonZeroUsize>) -> Self {
        Self { micro_batch: rows, ..self }
    }

    /// Most rows that go through a network at once, if there is such a bound.
    pub fn micro_batch(&self) -> Option<NonZeroUsize> {
        self.micro_batch
    }

    /// The terms.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Number of rows of each term in a batch, see [`rows_of`].
    pub fn rows(&self, batch: usize) -> Vec<usize> {
        rows_of(&self.terms, batch)
    }

    /// The loss (1) of one batch.
    ///
    /// `frozen` is the model off the tape. Row i draws its times from the number `key.first_row + i` of the seed's
    /// stream of times, so that they depend on nothing but the row's number and, if a law counts rows, its place among
    /// the rows of its term.
    ///
    /// # Errors
    /// As the networks.
    pub fn loss(
        &self,
        model: &dyn AverageVelocity,
        frozen: &dyn AverageVelocity,
        batch: &Batch<'_>,
        key: StepKey,
    ) -> Result<CombinationLoss> {
        let drawn = self.draw(batch, key)?;
        self.loss_of_tile([model, frozen], batch, &drawn, Tile { index: 0, n_tiles: 1 })
    }

    /// Draws the times of all rows and sends them with what the terms take of them, in one piece.
    ///
    /// # Errors
    /// As the device.
    pub(super) fn draw(&self, batch: &Batch<'_>, key: StepKey) -> Result<Drawn> {
        let n_total = batch.x0.dim(0)?;
        let StepKey { seed, step, first_row } = key;
        let times = NoiseStream::new(seed, Stream::Times);
        let mut start = 0;
        let mut blocks = Vec::with_capacity(self.terms.len());
        for (term, n_rows) in self.terms.iter().zip(self.rows(n_total)) {
            let rows = (0..n_rows).into_par_iter().with_min_len(ROWS_A_TASK);
            let draw = |row: usize| {
                let mut noise = times.at(first_row.wrapping_add((start + row) as u64));
                term.draw(Place { row, n_rows }, &mut noise, step)
            };
            blocks.push(Block { times: rows.map(draw).collect::<Result<_>>()?, columns: term.columns(step) });
            start += n_rows;
        }
        let table = TimeTable::new(blocks, batch.interpolant, batch.x0.dtype(), batch.x0.device())?;
        Ok(Drawn { table, step, dropout: DropoutKeys::new(seed, first_row) })
    }

    /// The part of the loss (1) that a tile of the batch contributes: the parts of all tiles sum to the loss.
    ///
    /// A tile takes an equal part of every term's rows, so that all tiles cost the same.
    ///
    /// # Errors
    /// As the networks.
    pub(super) fn loss_of_tile(
        &self,
        [model, frozen]: [&dyn AverageVelocity; 2],
        batch: &Batch<'_>,
        drawn: &Drawn,
        tile: Tile,
    ) -> Result<CombinationLoss> {
        let n_total = batch.x0.dim(0)?;
        let (dtype, device) = (batch.x0.dtype(), batch.x0.device());
        let mut term_start = 0;
        let mut total: Option<Tensor> = None;
        let mut terms = Vec::with_capacity(self.terms.len());
        let mut watched = Vec::with_capacity(self.terms.len());
        let Drawn { table, step, dropout } = drawn;
        let context = Context { teacher: self.teacher.as_ref(), step: *step, null_label: self.null_label };
        for (k, (term, n_term)) in self.terms.iter().zip(self.rows(n_total)).enumerate() {
            let part = tile.part_of(n_term);
            let (start, n_rows) = (term_start + part.start, part.len());
            term_start += n_term;
            if n_rows == 0 {
                terms.push(None);
                watched.push(None);
                continue;
            }
            let rows = batch.rows(start, n_rows)?;
            let times = table.rows(k, part)?;
            let plain = Condition::from(&rows.condition);
            let dropping = plain.with_dropout(dropout.starting_at(start));
            let (of_model, of_frozen) = match term.dropout {
                DropoutPasses::Diagonal if term.is_diagonal() => (dropping, plain),
                DropoutPasses::Diagonal => (plain, plain),
                DropoutPasses::All => (dropping, dropping),
            };
            let part = rows.batch(batch.interpolant, batch.unit);
            let given = |net, condition| FlowMap::given(net, condition).with_derivative(term.derivative);
            let pass = Pass::new(given(model, of_model), given(frozen, of_frozen), &part, &times);
            let losses = term.objective.loss(&pass.within(context))?;
            let seen = losses.detach();
            let logged = losses.mean()?.detach();
            terms.push(Some((logged * (n_rows as f64 / n_term as f64))?));
            let losses = term.norm.apply(losses)?;
            let losses = term.time_weight.apply(losses, &times, self.learned[k].as_ref(), k)?;
            let part = (losses.mean()? * (term.weight * n_rows as f64 / n_total as f64))?;
            watched.push(Some((seen, times)));
            total = Some(match total {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let total = match total {
            Some(total) => total,
            None => Tensor::zeros((), dtype, device)?,
        };
        Ok(CombinationLoss { total, terms, rows: watched })
    }
}

/// Number of rows of each term in a batch: the floor of its share, the last term takes the rest.
pub fn rows_of(terms: &[Term], batch: usize) -> Vec<usize> {
    // Shares such as 0.7 are not exact: 0.7 * 10 must count as 7.
    let floor = |share: f64| ((share * batch as f64 + 1e-9).floor() as usize).min(batch);
    let mut rows: Vec<usize> = terms.iter().map(|t| floor(t.share)).collect();
    if let Some((last, before)) = rows.split_last_mut() {
        *last = batch.saturating_sub(before.iter().sum());
    }
    rows
}

/// The random draws of a loss, apart from the batch.
#[derive(Debug)]
pub(super) struct Drawn {
    table: TimeTable,
    step: u64,
    dropout: DropoutKeys,
}

/// One of the equal parts of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// The number.
    pub(super) index: usize,
    /// How many there are.
    pub(super) n_tiles: usize,
}

impl Tile {
    /// The part of `n` rows.
    fn part_of(self, n: usize) -> std::ops::Range<usize> {
        n * self.index / self.n_tiles..n * (self.index + 1) / self.n_tiles
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::method::{FlowMatching, Lsd, Objective};

    #[test]
    fn rows_follow_the_shares_and_use_the_whole_batch() {
        let terms = |a, b| {
            vec![
                Term::new(Objective::FlowMatching(FlowMatching {}), a),
                Term::new(Objective::Lsd(Lsd::default()), b),
            ]
        };
        assert_eq!(Combination::new(terms(0.7, 0.3)).unwrap().rows(10), [7, 3]);
        assert_eq!(Combination::new(terms(0.75, 0.25)).unwrap().rows(3), [2, 1]);
        assert_eq!(Combination::new(terms(1.0, 0.0)).unwrap().rows(5), [5, 0]);
    }

    #[test]
    fn bad_shares_and_weights_are_refused() {
        let term = |share| Term::new(Objective::FlowMatching(FlowMatching {}), share);
        assert!(matches!(Combination::new(vec![]), Err(Error::NoObjective)));
        assert!(matches!(Combination::new(vec![term(0.5)]), Err(Error::Shares { .. })));
        assert!(matches!(Combination::new(vec![term(1.5)]), Err(Error::OutOfRange { key: "share", .. })));
        let negative = Term { weight: -1.0, ..term(1.0) };
        assert!(matches!(Combination::new(vec![negative]), Err(Error::OutOfRange { key: "weight", .. })));
    }
}
