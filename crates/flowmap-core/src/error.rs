//! What can be wrong with the arguments of this crate.

/// Result with the [`Error`] of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What was expected and what came.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not one of the interpolants.
    #[error("unknown interpolant `{name}`, expected one of {known}")]
    UnknownInterpolant {
        /// The value asked for.
        name: String,
        /// The names there are, separated by commas.
        known: &'static str,
    },

    /// A config names an interpolant that another program has.
    #[error("the interpolant `{name}` belongs to another program, expected a run of the program that has it")]
    UnknownOwnInterpolant {
        /// The name.
        name: String,
    },

    /// A user-defined interpolant does not join x_0 at t = 0 with x_1 at t = 1.
    #[error("boundary law broken: {coefficient}({t}) must be {expected}, found {found}")]
    BoundaryLaw {
        /// Name of the coefficient, `alpha` or `beta`.
        coefficient: &'static str,
        /// 0 or 1.
        t: f64,
        /// The value the law asks for, 0 or 1.
        expected: f64,
        /// The value the coefficient has.
        found: f64,
    },

    /// The given derivative of a user-defined interpolant is not the derivative.
    #[error(
        "{coefficient}_dot({t}) does not fit {coefficient}: central difference {expected}, found {found}"
    )]
    WrongDerivative {
        /// Name of the coefficient, `alpha` or `beta`.
        coefficient: &'static str,
        /// Where the two differ.
        t: f64,
        /// Central difference of the coefficient.
        expected: f64,
        /// The value the given derivative has.
        found: f64,
    },

    /// A time is not between noise (0) and data (1), or not a number.
    #[error("time {name} must lie in [0, 1], found {found}")]
    TimeOutOfRange {
        /// Which time: `s`, `u` or `t`.
        name: &'static str,
        /// The value.
        found: f64,
    },

    /// A pair of times runs backwards where it must run forwards.
    #[error("time pair out of order: s = {s} > t = {t}")]
    TimesOutOfOrder {
        /// Start time.
        s: f64,
        /// End time.
        t: f64,
    },

    /// The middle time is not between the other two.
    #[error("middle time out of order: s = {s}, u = {u}, t = {t}, expected s <= u <= t")]
    MiddleOutOfOrder {
        /// Start time.
        s: f64,
        /// Middle time.
        u: f64,
        /// End time.
        t: f64,
    },

    /// A parameter of a distribution, a grid or a solver has no meaning.
    #[error("`{name}` must be {expected}, found {found}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// The range of the parameter.
        expected: &'static str,
        /// The value.
        found: f64,
    },

    /// A time grid has fewer than two times, so that it has no step.
    #[error("time grid needs at least 2 times, found {n_times}")]
    GridTooShort {
        /// How many times it has.
        n_times: usize,
    },

    /// A time grid stands still or changes its direction.
    #[error("time grid must keep rising or keep falling, found {s} then {t} at step {step_idx}")]
    GridNotMonotone {
        /// The first step that does not fit the ones before it, counted from 0.
        step_idx: usize,
        /// Start of the step.
        s: f64,
        /// End of the step.
        t: f64,
    },

    /// A time grid written as text has an entry that is not a number.
    #[error("time grid must be numbers separated by commas, found `{entry}`")]
    GridEntry {
        /// The entry.
        entry: String,
    },

    /// The integrator has shrunk its step to nothing: a singularity, or values that are not finite.
    #[error("integrator cannot go on at t = {t}: its step has shrunk to {width:e}")]
    StepTooSmall {
        /// Time at which the integrator stopped.
        t: f64,
        /// The width of the next step.
        width: f64,
    },

    /// The integrator has not arrived within its number of steps.
    #[error("integrator has not arrived after {max_steps} steps, stopped at t = {t}")]
    TooManySteps {
        /// The bound on the number of steps.
        max_steps: u32,
        /// Time at which the integrator stopped.
        t: f64,
    },

    /// A point, a mean or a covariance has the wrong number of entries.
    #[error("dimension mismatch: expected {expected}, found {found}")]
    Dimension {
        /// Dimension of the space.
        expected: usize,
        /// How many entries came.
        found: usize,
    },

    /// A covariance matrix differs from its transpose.
    #[error("covariance is not symmetric: entry ({row}, {column}) is {upper}, ({column}, {row}) is {lower}")]
    NotSymmetric {
        /// Row of the first entry.
        row: usize,
        /// Column of the first entry.
        column: usize,
        /// The entry at (row, column).
        upper: f64,
        /// The entry at (column, row).
        lower: f64,
    },

    /// A covariance matrix has a negative eigenvalue.
    #[error("covariance has the negative eigenvalue {eigenvalue}")]
    NotSemidefinite {
        /// The eigenvalue.
        eigenvalue: f64,
    },

    /// A mixture has no component.
    #[error("mixture needs at least 1 component, found 0")]
    NoComponents,

    /// The distribution at this time has no density: its variance vanishes in some direction.
    #[error("distribution at t = {t} is degenerate: it has no density")]
    Degenerate {
        /// The time.
        t: f64,
    },

    /// f64 cannot tell the probability beyond this point, or the density at it, from 0.
    #[error("distribution at t = {t} has no mass at x = {x} that f64 could hold")]
    NoMass {
        /// The time.
        t: f64,
        /// The point.
        x: f64,
    },
}
