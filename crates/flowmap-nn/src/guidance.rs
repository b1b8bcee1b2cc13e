//! Classifier-free guidance of a conditional network.
//!
//! v^w = v(∅) + w (v(c) − v(∅))
//!
//! Ho and Salimans 2022, arXiv:2207.12598, eq. (6), with w = 1 the conditional network itself.
//! Cost: two evaluations of the network.
//! A network that takes the scale as an input ([`crate::objective::guided_flow_matching`]) is evaluated at w = 1.
//! Exact for the velocity b_t; for jumps over a long interval it is the same formula applied to the average velocity.

use flowmap_dual::Dual;

use crate::{AverageVelocity, Condition, Result};

/// A conditional network under guidance of scale `w`.
#[derive(Clone, Debug)]
pub struct Guided<M> {
    net: M,
    scale: f64,
    null_label: u32,
}

impl<M> Guided<M> {
    /// Guides `net` with scale w; `null_label` is the label that stands for "none", the number of classes.
    pub fn new(net: M, scale: f64, null_label: u32) -> Self {
        Self { net, scale, null_label }
    }
}

impl<M: AverageVelocity> AverageVelocity for Guided<M> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let null = condition.hidden(self.null_label)?;
        let v_null = self.net.average_velocity(s, t, x, Condition::from(&null))?;
        let v_class = self.net.average_velocity(s, t, x, condition)?;
        Ok(v_null.add(&v_class.sub(&v_null)?.scale(self.scale)?)?)
    }
}
