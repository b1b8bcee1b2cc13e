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
        /// What was asked for.
        name: String,
        /// The names there are, separated by commas.
        known: &'static str,
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
}
