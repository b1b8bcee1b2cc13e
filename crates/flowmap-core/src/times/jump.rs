//! A pair of times (s, t) and a triple (s, u, t).

use crate::{Error, Result};

/// From time s to time t, both in [0, 1], in either order.
///
/// ```
/// use flowmap_core::Jump;
/// let invert = Jump::new(1.0, 0.0)?;
/// assert_eq!(invert.width(), -1.0);
/// let error = Jump::forward(0.7, 0.4).unwrap_err();
/// assert_eq!(error.to_string(), "time pair out of order: s = 0.7 > t = 0.4");
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jump {
    s: f64,
    t: f64,
}

impl Jump {
    /// A jump in either direction.
    ///
    /// # Errors
    /// [`Error::TimeOutOfRange`] for a time outside [0, 1] or NaN.
    pub fn new(s: f64, t: f64) -> Result<Self> {
        Ok(Self { s: checked("s", s)?, t: checked("t", t)? })
    }

    /// A jump towards the data, s ≤ t.
    ///
    /// # Errors
    /// As [`Jump::new`], and [`Error::TimesOutOfOrder`] for s > t.
    pub fn forward(s: f64, t: f64) -> Result<Self> {
        let jump = Self::new(s, t)?;
        if s > t { Err(Error::TimesOutOfOrder { s, t }) } else { Ok(jump) }
    }

    /// The forward jump between two times in either order.
    pub(super) fn sorted(a: f64, b: f64) -> Self {
        debug_assert!((0.0..=1.0).contains(&a) && (0.0..=1.0).contains(&b));
        Self { s: a.min(b), t: a.max(b) }
    }

    /// Start time.
    pub fn s(&self) -> f64 {
        self.s
    }

    /// End time.
    pub fn t(&self) -> f64 {
        self.t
    }

    /// t − s, negative for a jump towards the noise.
    pub fn width(&self) -> f64 {
        self.t - self.s
    }

    /// This start with an end at most `width` later: t ← min(t, s + width).
    ///
    /// Annealing the width from 0 to 1 makes the first jumps short
    /// (Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825, appendix F.2).
    /// A width below 0 counts as 0.
    pub fn capped(&self, width: f64) -> Self {
        Self { s: self.s, t: self.t.min(self.s + width.max(0.0)) }
    }
}

/// Start, middle and end, 0 ≤ s ≤ u ≤ t ≤ 1.
///
/// ```
/// use flowmap_core::Times;
/// let times = Times::forward(0.1, 0.4, 0.8)?;
/// assert_eq!(times.jump().width(), 0.8 - 0.1);
/// assert!(Times::forward(0.1, 0.9, 0.8).is_err());
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    jump: Jump,
    u: f64,
}

impl Times {
    /// Three times in order.
    ///
    /// # Errors
    /// [`Error::TimeOutOfRange`] for a time outside [0, 1] or NaN, [`Error::TimesOutOfOrder`] for s > t,
    /// [`Error::MiddleOutOfOrder`] for u outside [s, t].
    pub fn forward(s: f64, u: f64, t: f64) -> Result<Self> {
        let (jump, u) = (Jump::forward(s, t)?, checked("u", u)?);
        if s <= u && u <= t { Ok(Self { jump, u }) } else { Err(Error::MiddleOutOfOrder { s, u, t }) }
    }

    /// A forward jump and a middle time, moved into it where rounding has put it outside.
    pub(super) fn between(jump: Jump, u: f64) -> Self {
        Self { jump, u: u.max(jump.s).min(jump.t) }
    }

    /// Start time.
    pub fn s(&self) -> f64 {
        self.jump.s
    }

    /// Middle time.
    pub fn u(&self) -> f64 {
        self.u
    }

    /// End time.
    pub fn t(&self) -> f64 {
        self.jump.t
    }

    /// The whole jump, from s to t.
    pub fn jump(&self) -> Jump {
        self.jump
    }
}

/// The time itself if it lies in [0, 1].
pub(crate) fn checked(name: &'static str, time: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&time) { Ok(time) } else { Err(Error::TimeOutOfRange { name, found: time }) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn jump_refuses_times_outside_the_unit_interval() {
        for bad in [-1e-9, 1.0 + 1e-9, f64::NAN, f64::INFINITY] {
            assert!(matches!(Jump::new(bad, 0.5), Err(Error::TimeOutOfRange { name: "s", .. })));
            assert!(matches!(Jump::new(0.5, bad), Err(Error::TimeOutOfRange { name: "t", .. })));
        }
        let error = Jump::new(0.5, 1.5).unwrap_err();
        assert_eq!(error.to_string(), "time t must lie in [0, 1], found 1.5");
    }

    #[test]
    fn jump_runs_both_ways_and_forward_only_one() {
        let back = Jump::new(0.7, 0.4).unwrap();
        assert_eq!((back.s(), back.t()), (0.7, 0.4));
        assert_eq!(Jump::forward(0.7, 0.4), Err(Error::TimesOutOfOrder { s: 0.7, t: 0.4 }));
        assert!(Jump::forward(0.4, 0.4).is_ok());
    }

    #[test]
    fn capped_jump_is_no_longer_than_the_cap() {
        let jump = Jump::forward(0.2, 0.9).unwrap();
        assert_eq!(jump.capped(0.25), Jump::forward(0.2, 0.45).unwrap());
        assert_eq!(jump.capped(2.0), jump);
        assert_eq!(jump.capped(-1.0).width(), 0.0);
    }

    #[test]
    fn times_must_be_in_order() {
        assert!(Times::forward(0.2, 0.2, 0.2).is_ok());
        let error = Times::forward(0.2, 0.1, 0.5).unwrap_err();
        assert_eq!(
            error.to_string(),
            "middle time out of order: s = 0.2, u = 0.1, t = 0.5, expected s <= u <= t"
        );
        assert!(matches!(Times::forward(0.6, 0.5, 0.5), Err(Error::TimesOutOfOrder { .. })));
        let nan = Times::forward(0.2, f64::NAN, 0.5);
        assert!(matches!(nan, Err(Error::TimeOutOfRange { name: "u", .. })));
    }
}
