//! Guidance of a network at sampling, by wrapping: away from no label, away from a weaker network, for some times only.
//!
//! classifier-free  v^w = v(∅) + w (v(c) − v(∅))                                  (1)
//! autoguidance     v^w = v'(c) + w (v(c) − v'(c))                                (2)
//! interval         v^w where the start s of a jump is in [a, b], else v(c)       (3)
//!
//! (1) Ho and Salimans 2022, arXiv:2207.12598, eq. (6); (2) Karras and others 2024, arXiv:2406.02507, eq. (3), where v'
//! is a smaller or less trained network; (3) Kynkäänniemi and others 2024, arXiv:2404.07724, section 3.
//! In all of them w = 1 is the network itself.
//! Cost: two evaluations; outside of an interval one.
//! A network that takes the scale as an input ([`crate::method::FlowMatching`]) is evaluated at w = 1 by (1).
//! Exact for the velocity b_t; for jumps over a long interval they are the same formulas for the average velocity.

use flowmap_dual::{Dual, host};

use crate::{AverageVelocity, Condition, Derivative, Result};

/// A conditional network under guidance of scale `w`, (1).
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
        extrapolated(&v_null, &v_class, self.scale)
    }

    fn derivative(&self) -> Derivative {
        self.net.derivative()
    }
}

/// A network guided by a weaker one, (2).
#[derive(Clone, Debug)]
pub struct Autoguided<M, G> {
    net: M,
    guide: G,
    scale: f64,
}

impl<M, G> Autoguided<M, G> {
    /// Guides `net` away from `guide` with scale w.
    pub fn new(net: M, guide: G, scale: f64) -> Self {
        Self { net, guide, scale }
    }
}

impl<M: AverageVelocity, G: AverageVelocity> AverageVelocity for Autoguided<M, G> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let v_guide = self.guide.average_velocity(s, t, x, condition)?;
        let v = self.net.average_velocity(s, t, x, condition)?;
        extrapolated(&v_guide, &v, self.scale)
    }

    fn derivative(&self) -> Derivative {
        self.net.derivative().or(self.guide.derivative())
    }
}

/// A guided network for jumps that start in an interval of times, and the plain one for others, (3).
///
/// The rows of a batch may differ in their times; what no row needs is not evaluated, for which the times are read,
/// unless all rows start at one time that the host knows ([`AverageVelocity::starting_at`]), as in samplers.
#[derive(Clone, Debug)]
pub struct GuidedWithin<M, G> {
    plain: M,
    guided: G,
    interval: [f64; 2],
}

impl<M, G> GuidedWithin<M, G> {
    /// `guided` where the start of a jump lies in `interval`, both ends included, and `plain` elsewhere.
    pub fn new(plain: M, guided: G, interval: [f64; 2]) -> Self {
        Self { plain, guided, interval }
    }
}

impl<M: AverageVelocity, G: AverageVelocity> AverageVelocity for GuidedWithin<M, G> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        let starts = host::numbers(s.primal())?;
        let [a, b] = self.interval;
        let is_within = |start: &f64| (a..=b).contains(start);
        let n_within = starts.iter().filter(|start| is_within(start)).count();
        if n_within == starts.len() {
            return self.guided.average_velocity(s, t, x, condition);
        }
        let plain = self.plain.average_velocity(s, t, x, condition)?;
        if n_within == 0 {
            return Ok(plain);
        }
        let guided = self.guided.average_velocity(s, t, x, condition)?;
        let shares = starts.iter().map(|start| f64::from(u8::from(is_within(start)))).collect();
        let column = [&[starts.len()][..], &vec![1; x.dims().len() - 1]].concat();
        let shares = host::send(shares, column, x.dtype(), x.device())?;
        let shares = Dual::constant(shares.broadcast_as(x.shape())?.contiguous()?);
        Ok(plain.add(&guided.sub(&plain)?.mul(&shares)?)?)
    }

    fn derivative(&self) -> Derivative {
        self.plain.derivative().or(self.guided.derivative())
    }

    fn starting_at(&self, s: f64) -> Option<&dyn AverageVelocity> {
        let [a, b] = self.interval;
        Some(if (a..=b).contains(&s) { &self.guided } else { &self.plain })
    }
}

/// v' + w (v − v').
fn extrapolated(from: &Dual, to: &Dual, scale: f64) -> Result<Dual> {
    Ok(from.add(&to.sub(from)?.scale(scale)?)?)
}
