//! What can be wrong with what a judge is given.

/// Everything that a judge refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifierError {
    /// There is nothing to tell apart.
    #[error("expected at least 2 classes, got {found}")]
    NoClasses {
        /// Number of classes.
        found: usize,
    },
    /// No images, or a part of one.
    #[error("expected whole images of {expected} values, got {found} values")]
    Values {
        /// Values in an image.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// There is not one label for each image.
    #[error("expected {expected} labels, one for each image, got {found}")]
    Labels {
        /// Number of images.
        expected: usize,
        /// Number of labels.
        found: usize,
    },
    /// A label is beyond the classes.
    #[error("expected labels below {n_classes}, got {found} for image {sample}")]
    Label {
        /// The image, counted from 0.
        sample: usize,
        /// Label of the image.
        found: u32,
        /// Number of classes.
        n_classes: usize,
    },
    /// The network refused, or tensors do not fit it.
    #[error(transparent)]
    Network(#[from] flowmap_nn::Error),
    /// An operation refused.
    #[error(transparent)]
    Dual(#[from] flowmap_dual::Error),
    /// Candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A result of a judge.
pub type ClassifierResult<T> = Result<T, ClassifierError>;
