//! Functions of times as data, so that whoever needs one defines it and [`super::TimeTable`] sends it with all others.
//!
//! A function has a name and parameters, by which equal ones are found again, and an `fn` that computes it in f64.

use std::fmt;

use flowmap_core::Interpolant;

/// A function f(t) of one time, which may ask the interpolant.
///
/// Two functions are equal if their names and parameters are.
///
/// ```
/// use flowmap_nn::TimeFunction;
///
/// /// 1 − t.
/// const REST: TimeFunction = TimeFunction::new("my_method.rest", [0.0; 2], |t, _, _| 1.0 - t);
/// ```
#[derive(Clone, Copy)]
pub struct TimeFunction {
    name: &'static str,
    parameters: [f64; 2],
    f: fn(f64, [f64; 2], &dyn Interpolant) -> f64,
}

impl TimeFunction {
    /// α_t.
    pub const ALPHA: Self = Self::new("alpha", [0.0; 2], |t, _, interpolant| interpolant.alpha(t));
    /// β_t.
    pub const BETA: Self = Self::new("beta", [0.0; 2], |t, _, interpolant| interpolant.beta(t));
    /// α̇_t.
    pub const ALPHA_DOT: Self =
        Self::new("alpha_dot", [0.0; 2], |t, _, interpolant| interpolant.alpha_dot(t));
    /// β̇_t.
    pub const BETA_DOT: Self = Self::new("beta_dot", [0.0; 2], |t, _, interpolant| interpolant.beta_dot(t));

    /// The function `f` of a time, the parameters and the interpolant; `name` is unique, such as `my_method.width`.
    pub const fn new(
        name: &'static str,
        parameters: [f64; 2],
        f: fn(f64, [f64; 2], &dyn Interpolant) -> f64,
    ) -> Self {
        Self { name, parameters, f }
    }

    /// f(t).
    pub fn at(&self, t: f64, interpolant: &dyn Interpolant) -> f64 {
        (self.f)(t, self.parameters, interpolant)
    }
}

impl PartialEq for TimeFunction {
    fn eq(&self, other: &Self) -> bool {
        (self.name, self.parameters) == (other.name, other.parameters)
    }
}

impl fmt::Debug for TimeFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name, self.parameters)
    }
}

/// A function f(s, u, t) of the three times of a jump.
///
/// Two functions are equal if their names and parameters are.
#[derive(Clone, Copy)]
pub struct JumpFunction {
    name: &'static str,
    parameters: [f64; 2],
    f: fn([f64; 3], [f64; 2]) -> f64,
}

impl JumpFunction {
    /// γ = (u − s)/(t − s), zero if t = s.
    pub const GAMMA: Self =
        Self::new("gamma", [0.0; 2], |[s, u, t], _| if t > s { (u - s) / (t - s) } else { 0.0 });

    /// The function `f` of s, u, t and the parameters; `name` is unique, such as `my_method.step`.
    pub const fn new(name: &'static str, parameters: [f64; 2], f: fn([f64; 3], [f64; 2]) -> f64) -> Self {
        Self { name, parameters, f }
    }

    /// The time s + `part` (`to` − s): a part of the way from s.
    pub fn part_way(to: At, part: f64) -> Self {
        match to {
            At::S => Self::new("part_way.s", [part, 0.0], |[s, _, _], _| s),
            At::U => Self::new("part_way.u", [part, 0.0], |[s, u, _], [part, _]| s + part * (u - s)),
            At::T => Self::new("part_way.t", [part, 0.0], |[s, _, t], [part, _]| s + part * (t - s)),
        }
    }

    /// f(s, u, t).
    pub fn at(&self, times: [f64; 3]) -> f64 {
        (self.f)(times, self.parameters)
    }
}

impl PartialEq for JumpFunction {
    fn eq(&self, other: &Self) -> bool {
        (self.name, self.parameters) == (other.name, other.parameters)
    }
}

impl fmt::Debug for JumpFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name, self.parameters)
    }
}

/// One of the three times of a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The start s.
    S,
    /// The middle u.
    U,
    /// The end t.
    T,
}

impl At {
    pub(super) fn of(self, [s, u, t]: &[f64; 3]) -> f64 {
        match self {
            Self::S => *s,
            Self::U => *u,
            Self::T => *t,
        }
    }
}

/// A number of each sample that a method takes of its times, in addition to the times themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Column {
    /// A function of one of the times.
    Of(At, TimeFunction),
    /// A function of all of them.
    Jump(JumpFunction),
}

impl Column {
    /// α and β at a time, for [`crate::Batch::i`].
    pub fn i(at: At) -> Vec<Self> {
        vec![Self::Of(at, TimeFunction::ALPHA), Self::Of(at, TimeFunction::BETA)]
    }

    /// α̇ and β̇ at a time, for [`crate::Batch::di`].
    pub fn di(at: At) -> Vec<Self> {
        vec![Self::Of(at, TimeFunction::ALPHA_DOT), Self::Of(at, TimeFunction::BETA_DOT)]
    }

    /// `columns` and the columns of functions of jumps, each once.
    pub fn and_jumps(columns: Vec<Self>, jumps: impl IntoIterator<Item = JumpFunction>) -> Vec<Self> {
        let mut columns = columns;
        for jump in jumps.into_iter().map(Self::Jump) {
            if !columns.contains(&jump) {
                columns.push(jump);
            }
        }
        columns
    }
}
