//! A network of the reversed convention, t = 1 noise and t = 0 data, as one of ours.
//!
//! z_r = z_t − (t − r) u(z_t, t, t − r), r <= t, in the public Mean Flow models; with s = 1 − t and our end 1 − r
//! v_{s,t}(x) = −u(x, 1 − s, t − s)
//!
//! Mean Flow, Geng and others 2025, arXiv:2505.13447. A border for foreign weights; networks trained here need none.

use flowmap_dual::Dual;

use crate::{AverageVelocity, Condition, Result};

/// A network that was trained with time running from data to noise.
///
/// The network inside is given 1 − s as its start and 1 − s + (t − s) as its end, so that it sees the foreign time
/// and the length of the jump, and its output changes sign.
#[derive(Clone, Debug)]
pub struct ReversedTime<M>(pub M);

impl<M: AverageVelocity> AverageVelocity for ReversedTime<M> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let start = s.neg()?.shift(1.0)?;
        let end = start.add(&t.sub(s)?)?;
        Ok(self.0.average_velocity(&start, &end, x, condition)?.neg()?)
    }
}
