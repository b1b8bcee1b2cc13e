//! The batches of a run: noise, data, coupling and condition of step k.
//!
//! A batch is a function of the seed, k and the samples seen before, and of nothing else, so the next one is made while
//! a step computes.

use candle_core::{DType, Device, Shape, Tensor, WithDType};
use flowmap_core::{Coupling, NoiseStream, Stream};
use flowmap_data::DataSet;
use flowmap_dual::host;
use flowmap_nn::loss::rows_of;
use flowmap_nn::{Batch, OwnedBatch, OwnedCondition, StepKey};
use flowmap_sample::base_noise;

use crate::{Config, Error, ModelConfig, Result};

/// What batches are made of.
pub struct Batches<'a> {
    pub config: &'a Config,
    pub model: &'a ModelConfig,
    pub data: &'a dyn DataSet,
    pub device: &'a Device,
}

impl Batches<'_> {
    /// A batch as a loss takes it: in units of the standard deviation of the base.
    pub fn on<'a>(&'a self, batch: &'a OwnedBatch) -> Batch<'a> {
        batch.batch(&self.config.interpolant, self.model.sigma_data)
    }

    /// The batch of a step.
    ///
    /// # Errors
    /// [`Error::NoNoise`] where paired data have none; as Candle.
    pub fn at(&self, key: StepKey) -> Result<OwnedBatch> {
        let (seed, n) = (key.seed, self.config.train.batch);
        let first = key.first_row;
        let (base, shape) = (NoiseStream::new(seed, Stream::Base), self.data.shape());
        // Noise that the coupling permutes is drawn on the host, which permutes it; its bits are the same on every device.
        let place = match self.config.coupling {
            Coupling::Independent {} => self.device,
            _ => &Device::Cpu,
        };
        let x0 = base_noise(&base, first, n, shape, self.model.sigma_data, DType::F32, place)?;
        let mut data = flowmap_data::batch(self.data, &NoiseStream::new(seed, Stream::Data), first, n);
        let augmenter = self.config.augmentation.checked(shape)?;
        let told = augmenter.apply(&NoiseStream::new(seed, Stream::Augmentation), first, &mut data.x);
        let x0 = self.couple(x0, &data, key)?;
        let x1 = self.send(data.x, data.shape)?;
        let mut condition = match data.labels.filter(|_| self.config.conditional) {
            Some(labels) => self.condition(self.hide_labels(labels, first), first)?,
            None => OwnedCondition::default(),
        };
        if self.config.network.augment_dim() > 0 {
            condition.augment = Some(self.send(told, (n, augmenter.n_labels()))?);
        }
        Ok(OwnedBatch { x0, x1, condition })
    }

    /// The noise in the order of the data that it is coupled with.
    fn couple(&self, x0: Tensor, data: &flowmap_data::Batch, key: StepKey) -> Result<Tensor> {
        match self.config.coupling {
            Coupling::Independent {} => return Ok(x0),
            Coupling::Paired {} => {
                let (stream, n) = (NoiseStream::new(self.config.seed, Stream::Data), data.shape[0]);
                let stored = flowmap_data::batch_noise(self.data, &stream, key.first_row, n);
                let stored = stored.ok_or(Error::NoNoise { kind: self.config.data.kind() })?;
                return self.send(stored, x0.shape());
            }
            _ => {}
        }
        let dim = self.data.shape().iter().product();
        let host = x0.flatten_all()?.to_vec1::<f32>()?;
        let labels = data.labels.as_deref().filter(|_| self.config.conditional);
        let mut noise = NoiseStream::new(self.config.seed, Stream::Coupling).at(key.step);
        let rows = self.config.coupling.pair(&host, &data.x, dim, labels, &mut noise);
        let rows: Vec<u32> = rows?.into_iter().map(|row| row as u32).collect();
        let x0 = x0.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        Ok(host::place(&x0, self.device)?)
    }

    /// Numbers on the device of the run.
    fn send<T: WithDType>(&self, numbers: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
        Ok(host::send(numbers, shape, T::DTYPE, self.device)?)
    }

    /// Replaces some labels by "none", so that the network learns to do without; each term may have a probability of its own.
    fn hide_labels(&self, mut labels: Vec<u32>, first: u64) -> Vec<u32> {
        let hidden = NoiseStream::new(self.config.seed, Stream::Dropout);
        let terms = &self.config.objective;
        let n_rows = rows_of(terms, labels.len());
        let mut rows = labels.iter_mut().zip(first..);
        for (term, n_rows) in terms.iter().zip(n_rows) {
            let probability = self.config.train.label_dropout_of(term);
            for (label, index) in rows.by_ref().take(n_rows) {
                if hidden.at(index).uniform() < probability {
                    *label = self.model.n_classes as u32;
                }
            }
        }
        labels
    }

    /// Labels, each with a scale of guidance if the network takes one.
    fn condition(&self, labels: Vec<u32>, first: u64) -> Result<OwnedCondition> {
        let n = labels.len();
        let guidance = match &self.config.guidance {
            Some(range) => {
                let null = self.model.n_classes as u32;
                let scales = range.scales(self.config.seed, first, &labels, null);
                Some(self.send(scales, n)?)
            }
            None => None,
        };
        let labels = Some(self.send(labels, n)?);
        Ok(OwnedCondition { labels, guidance, ..OwnedCondition::default() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{ConfigSource, resolve};

    /// The labels of a step of the digits, and how many rows the first term has.
    fn labels(sets: &[&str]) -> (Vec<u32>, usize) {
        let mut sources =
            vec![ConfigSource::preset("digits").unwrap(), ConfigSource::set("train.batch=60").unwrap()];
        sources.extend(sets.iter().map(|set| ConfigSource::set(set).unwrap()));
        let config = resolve(&sources).unwrap();
        let data = config.data.build(None).unwrap();
        let model = ModelConfig::new(&config, data.as_ref(), data.n_classes());
        let batches = Batches { config: &config, model: &model, data: data.as_ref(), device: &Device::Cpu };
        let labels = batches.at(StepKey::of_step(config.seed, 3, 60)).unwrap().condition.labels.unwrap();
        (labels.to_vec1().unwrap(), rows_of(&config.objective, 60)[0])
    }

    #[test]
    fn term_with_a_label_dropout_of_its_own_hides_labels_by_that_and_others_as_before() {
        const NONE: u32 = 10;
        let half = "train.label_dropout=0.5";
        let (shown, n_first) = labels(&["train.label_dropout=0.0"]);
        assert!((1..60).contains(&n_first) && shown.iter().all(|label| *label < NONE));
        let (everywhere, _) = labels(&[half]);
        let (first_alone, _) = labels(&[half, "objective.1.label_dropout=0.0"]);
        assert_eq!(first_alone[..n_first], everywhere[..n_first]);
        assert_eq!(first_alone[n_first..], shown[n_first..]);
        assert!(first_alone.contains(&NONE) && everywhere[n_first..].contains(&NONE));
        let (second_all, _) = labels(&["train.label_dropout=0.0", "objective.1.label_dropout=1.0"]);
        assert_eq!(second_all[..n_first], shown[..n_first]);
        assert!(second_all[n_first..].iter().all(|label| *label == NONE));
    }
}
