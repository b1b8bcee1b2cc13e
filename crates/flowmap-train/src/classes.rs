//! Which class each sample of a conditional model is of.
//!
//! A model of p(x | c) has the law of the data only if c has it too: with classes in equal shares, a perfect model of
//! unequal classes is far from its data.
//! The class of sample i is therefore drawn by the shares p(c) of the classes, from the seed and i alone:
//! c_i = min { c : p(0) + … + p(c) > u_i }, u_i uniform of the stream of labels.
//! A class without samples in the data is never drawn.

use std::ops::Range;

use flowmap_core::{NoiseStream, Stream};

use crate::{Error, ModelConfig, Result};

/// Which class each sample is of, where no single class is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Classes {
    /// Drawn by the shares of the classes in the training data; in turn if the model file does not say them.
    #[default]
    OfTraining,
    /// Drawn by these shares, one for each class.
    OfShares(Vec<f64>),
    /// In turn, without those that have no sample in the training data.
    InTurn,
}

impl Classes {
    /// The classes of the samples `range` of a model.
    pub(crate) fn labels(&self, seed: u64, range: Range<usize>, model: &ModelConfig) -> Vec<u32> {
        let shares = match self {
            Self::OfShares(shares) => shares,
            Self::OfTraining | Self::InTurn => &model.class_shares,
        };
        if *self == Self::InTurn || shares.is_empty() {
            let classes = model.classes_with_samples();
            return range.map(|i| classes[i % classes.len().max(1)]).collect();
        }
        let mut end = 0.0;
        let ends: Vec<f64> = shares.iter().map(|share| (end += share, end).1).collect();
        // Rounding may leave the last end a little below 1.
        let last = shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
        let stream = NoiseStream::new(seed, Stream::Labels);
        let draw = |i: usize| {
            let u = stream.at(i as u64).uniform() * end;
            ends.partition_point(|end| *end <= u).min(last) as u32
        };
        range.map(draw).collect()
    }
}

impl ModelConfig {
    /// The classes that the training data have samples of; all classes if the model file does not say.
    pub fn classes_with_samples(&self) -> Vec<u32> {
        let all = 0..self.n_classes;
        all.filter(|class| self.class_shares.get(*class).is_none_or(|share| *share > 0.0))
            .map(|class| class as u32)
            .collect()
    }

    /// Refuses a class that the model does not have, or that its data had no sample of.
    ///
    /// # Errors
    /// [`Error::Class`], [`Error::EmptyClass`].
    pub fn check_class(&self, class: u32) -> Result<()> {
        if class as usize >= self.n_classes {
            return Err(Error::Class { found: class, n_classes: self.n_classes });
        }
        match self.class_shares.get(class as usize) {
            Some(share) if *share <= 0.0 => Err(Error::EmptyClass { found: class }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{ConfigSource, resolve};

    const N: usize = 20_000;
    /// Four standard errors of a share of one half.
    const TOLERANCE: f64 = 0.015;

    fn model(shares: &[f64]) -> ModelConfig {
        let config = resolve(&[ConfigSource::preset("guided").unwrap()]).unwrap();
        let data = config.data.build(None).unwrap();
        let mut model = ModelConfig::new(&config, data.as_ref(), data.n_classes());
        (model.n_classes, model.class_shares) = (shares.len(), shares.to_vec());
        model
    }

    #[test]
    fn classes_are_drawn_by_their_shares_and_empty_ones_never() {
        let model = model(&[0.0, 0.72, 0.08, 0.0, 0.2, 0.0]);
        let labels = Classes::OfTraining.labels(3, 0..N, &model);
        for (class, share) in model.class_shares.iter().enumerate() {
            let n = labels.iter().filter(|label| **label as usize == class).count();
            assert!((n as f64 / N as f64 - share).abs() < TOLERANCE, "{class}: {n}");
            assert_eq!(n == 0, *share == 0.0, "{class}: {n}");
        }
        assert_eq!(model.classes_with_samples(), [1, 2, 4]);
        assert_eq!(Classes::InTurn.labels(3, 4..9, &model), [2, 4, 1, 2, 4]);
    }

    #[test]
    fn class_of_a_sample_depends_on_the_seed_and_its_number_alone() {
        let model = model(&[0.3, 0.3, 0.4]);
        let whole = Classes::OfTraining.labels(7, 0..100, &model);
        assert_eq!(Classes::OfTraining.labels(7, 40..60, &model), whole[40..60]);
        assert_ne!(Classes::OfTraining.labels(8, 0..100, &model), whole);
        assert_eq!(Classes::OfShares(vec![0.0, 0.0, 1.0]).labels(7, 0..5, &model), [2; 5]);
    }

    #[test]
    fn without_shares_all_classes_take_turns() {
        let mut model = model(&[1.0; 3]);
        model.class_shares.clear();
        assert_eq!(Classes::OfTraining.labels(1, 2..7, &model), [2, 0, 1, 2, 0]);
        assert!(model.check_class(2).is_ok());
    }

    #[test]
    fn class_that_is_not_there_or_was_never_seen_is_refused() {
        let model = model(&[0.0, 1.0]);
        assert!(model.check_class(1).is_ok());
        assert_eq!(
            model.check_class(0).unwrap_err().to_string(),
            "class 0 has no sample in the training data: the model never saw it"
        );
        assert!(matches!(model.check_class(2), Err(Error::Class { found: 2, n_classes: 2 })));
    }
}
