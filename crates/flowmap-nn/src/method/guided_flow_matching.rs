//! Flow matching of the guided velocity, with the scale of guidance as an input of the network.
//!
//! İ^w_t = w İ_t + (1 − w) sg[ v_{t,t}(I_t | ∅, 1) ]        (1)
//! L(θ) = E_{t,w} | v_{t,t}(I_t | c, w) − İ^w_t |²        (2)
//!
//! The field of classifier-free guidance is b^w(x|c) = b(x|∅) + w (b(x|c) − b(x|∅)), Ho and Salimans 2022,
//! arXiv:2207.12598. Given I_t = x and c, the mean of (1) is w b(x|c) + (1 − w) v(x|∅, 1), as E[İ_t | I_t = x, c] = b(x|c).
//! So where v(·|∅, 1) = b(·|∅) that mean is b^w, and b^w is the minimizer of (2) in v(·|c, w). Rows whose label is hidden
//! have w = 1: there (1) is İ_t, (2) is plain flow matching, and its minimizer is v(·|∅, 1) = b(·|∅). Both hold at once.
//!
//! The diagonal is then the guided field itself, so self-distillation needs no change: with the same (c, w) on both of
//! its sides its fixed point is the flow map X_{s,t}(·|c, w) of b^w. Samplers of the velocity are guided as well.
//! Cost: one plain forward, and one off the tape for v(·|∅, 1).
//!
//! | other target | against (1) |
//! |---|---|
//! | İ + (1 − 1/w) sg\[v(c, w) − v(∅, 1)\], improved Mean Flow, arXiv:2512.02012 | (1)'s gradient times 1/w, with sg of the present parameters |
//! | v(∅) + w (v(c) − v(∅)), the teacher's, F.5 of arXiv:2505.18825 | the diagonal learns no guidance, only the map does |
//!
//! The noise of (1) has w times the deviation of İ_t, for which [`crate::loss::TimeWeight`] has no remedy: a large w
//! needs large batches or a moving average.
//! Beyond the support of the data b^w is not trained: a guided path may go where no I_t is, the farther the larger w.

use candle_core::Tensor;

use super::Pass;
use crate::batch::as_column;
use crate::{Result, TimeColumn};

/// İ^w_t of each pair, (1), off the tape, for the scales `w` that the model is given.
///
/// # Errors
/// [`crate::Error::Labels`] for scales without labels or without the label for "none"; as the network.
pub(super) fn guided_velocity(p: &Pass<'_>, w: &Tensor, t: &TimeColumn, i_t: &Tensor) -> Result<Tensor> {
    let hidden = p.frozen.condition().hidden(p.null_label()?)?;
    let v_null = p.frozen.with_condition(&hidden).velocity(t.tensor(), i_t)?.detach(); // sg[ v_{t,t}(I_t | ∅, 1) ]
    let w = as_column(w, i_t.rank())?;
    Ok((p.batch.di(t)?.broadcast_mul(&w)? + v_null.broadcast_mul(&(1.0 - &w)?)?)?) // (1)
}
