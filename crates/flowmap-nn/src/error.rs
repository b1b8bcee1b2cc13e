//! What can go wrong in networks, objectives and optimizers.

use candle_core::Shape;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint lacks a tensor that the network has.
    #[error("tensor `{name}` of shape {expected:?} is missing")]
    MissingTensor {
        /// Name of the tensor.
        name: String,
        /// Shape that the network has for it.
        expected: Shape,
    },
    /// A checkpoint has a tensor of another shape than the network.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// Name of the tensor.
        name: String,
        /// Shape that the network has for it.
        expected: Shape,
        /// Shape that was found.
        found: Shape,
    },
    /// A checkpoint has a tensor that the network has not.
    #[error("unexpected tensor `{name}` of shape {found:?}: the network of the config has none of that name")]
    UnexpectedTensor {
        /// Name of the tensor.
        name: String,
        /// Shape that was found.
        found: Shape,
    },
    /// A tensor holds a value that is not finite.
    #[error("tensor `{name}` holds a value that is not finite")]
    NotFiniteTensor {
        /// Name of the tensor.
        name: String,
    },
    /// A number of a config lies outside its range.
    #[error("`{key}` = {found} is out of range, expected {expected}")]
    OutOfRange {
        /// The key of the config.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: f64,
    },
    /// The shares of the objectives do not make up the batch.
    #[error("the shares of the objectives sum to {found}, expected 1")]
    Shares {
        /// The sum found.
        found: f64,
    },
    /// No objective was given.
    #[error("expected at least one objective, found none")]
    NoObjective,
    /// The network needs labels and got none, or the other way around.
    #[error("the network has {n_classes} classes, but the batch came {found} labels")]
    Labels {
        /// Number of classes of the network, zero for an unconditional one.
        n_classes: usize,
        /// `with` or `without`.
        found: &'static str,
    },
    /// The network needs scales of guidance and got none, or the other way around.
    #[error("the network {takes} scales of guidance, but the batch came {found} them")]
    Guidance {
        /// `takes` or `does not take`.
        takes: &'static str,
        /// `with` or `without`.
        found: &'static str,
    },
    /// Samples of one shape were given to a network of another.
    #[error("expected samples of shape {expected:?}, found {found:?}")]
    SampleShape {
        /// Shape of one sample that the network takes.
        expected: Vec<usize>,
        /// Shape of one sample that was given.
        found: Vec<usize>,
    },
    /// An image network was built for samples that are not images.
    #[error("the network takes images (C, H, W), found samples of shape {found:?}")]
    NotAnImage {
        /// Shape of one sample.
        found: Vec<usize>,
    },
    /// The sides of an image do not fit the patches or the levels of a network.
    #[error("expected images whose sides {factor} divides, found {height}x{width}")]
    ImageSides {
        /// What must divide them.
        factor: usize,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
    },
    /// An objective needs more of a teacher than there is.
    #[error("the objective needs {expected} to distill from, found {found}")]
    NoTeacher {
        /// What is needed.
        expected: &'static str,
        /// What there is.
        found: &'static str,
    },
    /// An objective has no guided form.
    #[error("`{objective}` cannot learn guidance, expected one of {known}")]
    NoGuidance {
        /// The objective.
        objective: &'static str,
        /// The objectives that can.
        known: String,
    },
    /// An objective is defined for one interpolant only.
    #[error("the objective needs the {expected} interpolant, found one with beta({t}) = {beta}")]
    NeedsInterpolant {
        /// The interpolant that is needed.
        expected: &'static str,
        /// A time where the one found differs.
        t: f64,
        /// The value of β at t.
        beta: f64,
    },
    /// A term weighs its loss by a network that nobody has made.
    #[error("term {term} has a learned weight, but its network has not been made")]
    NoLearnedWeight {
        /// Index of the term.
        term: usize,
    },
    /// An operation is not there for an element type.
    #[error("optimizers work on f32 and f64, found {0:?}")]
    OptimizerDType(candle_core::DType),
    /// A config names a method or a network of another program, which this one does not have.
    #[error("the {what} `{name}` belongs to another program, expected a run of the program that has it")]
    UnknownOwn {
        /// `method` or `network`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A network, a method or a field of another crate failed.
    #[error(transparent)]
    External(Box<dyn std::error::Error + Send + Sync>),
    /// A pair or triple of times, or their distribution, is wrong.
    #[error(transparent)]
    Core(#[from] flowmap_core::Error),
    /// A dual operation failed.
    #[error(transparent)]
    Dual(#[from] flowmap_dual::Error),
    /// Candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// The failure of a network, a method or a field of another crate.
    pub fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::External(error.into())
    }
}
