//! A network of the reversed convention, t = 1 noise and t = 0 data, as one of ours.
//!
//! z_r = z_t − (t − r) u(z_t, t, t − r), r <= t, in the public Mean Flow models; with s = 1 − t and our end 1 − r
//! v_{s,t}(x) = −u(x, 1 − s, t − s)
//!
//! Mean Flow, Geng and others 2025, arXiv:2505.13447. A border for foreign weights; networks trained here need none,
//! unless they are to be what that code trains ([`TimeDirection`]).

use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::{AverageVelocity, Condition, Derivative, Result};

/// Which way the time runs that a network is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeDirection {
    /// From noise at 0 to data at 1, as everywhere here: the network is given s and gives v.
    #[default]
    FromNoise,
    /// From data at 0 to noise at 1: the network is given 1 − s and the length t − s, and gives u = −v.
    FromData,
}

impl TimeDirection {
    /// v_{s,t} by a network that takes its two times and gives v or u.
    pub(super) fn velocity(
        self,
        s: &Dual,
        t: &Dual,
        network: impl Fn(&Dual, &Dual) -> Result<Dual>,
    ) -> Result<Dual> {
        match self {
            Self::FromNoise => network(s, t),
            Self::FromData => {
                let start = s.neg()?.shift(1.0)?;
                let end = start.add(&t.sub(s)?)?;
                Ok(network(&start, &end)?.neg()?)
            }
        }
    }
}

/// A network that was trained with time running from data to noise.
///
/// The network inside is given 1 − s as its start and 1 − s + (t − s) as its end, so that it sees the foreign time
/// and the length of the jump, and its output changes sign.
#[derive(Clone, Debug)]
pub struct ReversedTime<M>(pub M);

impl<M: AverageVelocity> AverageVelocity for ReversedTime<M> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let network = |start: &Dual, end: &Dual| self.0.average_velocity(start, end, x, condition);
        TimeDirection::FromData.velocity(s, t, network)
    }

    fn derivative(&self) -> Derivative {
        self.0.derivative()
    }
}
