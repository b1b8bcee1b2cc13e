//! What a network is conditional on.

/// What a network is conditional on; a number stands for that many classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conditioning {
    /// Nothing.
    #[default]
    None,
    /// A label out of this many classes; the number of classes itself is the label for "none".
    Labels(usize),
    /// A label out of this many classes, and the scale w of guidance toward it.
    GuidedLabels(usize),
}

impl Conditioning {
    /// Number of classes, 0 for none.
    pub fn n_classes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Labels(n) | Self::GuidedLabels(n) => n,
        }
    }

    /// Whether the scale of guidance is an input.
    pub fn takes_guidance(self) -> bool {
        matches!(self, Self::GuidedLabels(_))
    }
}

impl From<usize> for Conditioning {
    fn from(n_classes: usize) -> Self {
        match n_classes {
            0 => Self::None,
            n => Self::Labels(n),
        }
    }
}
