//! The judge of conditional images: a small convolutional network trained on the real ones.
//!
//! Conv 3x3 (16) → ReLU → [conv 3x3, stride 2 (32, then 64) → ReLU] until the side is at most 8 → linear (128) → ReLU
//! → linear (classes), trained by cross-entropy with AdamW and a cosine schedule.
//! The numbers of the layer before the last are the features of [`frechet`](crate::frechet).
//!
//! Training is a function of data and seed: the same weights for any number of threads.
//! A number that the judge gives is worth what its accuracy on held-out images is worth, so that goes with it.
//! Cost: three epochs; Fashion-MNIST takes about a minute on two cores.

mod error;
mod net;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_nn::ParamBuilder;
use flowmap_nn::optim::{AdamW, Optimizer, Schedule};
use serde::Serialize;

pub use error::{ClassifierError, ClassifierResult};
use net::Net;

/// Images in a step.
const BATCH: usize = 128;
/// Passes over the data, if there are enough.
const N_EPOCHS: usize = 3;
/// Minimum and maximum number of images in all passes.
const N_IMAGES: std::ops::RangeInclusive<usize> = 40_000..=200_000;
/// The largest rate of the schedule, and the steps until it is reached.
const LEARNING_RATE: f64 = 2e-3;
const WARMUP: u64 = 100;
const WEIGHT_DECAY: f64 = 1e-2;
/// Images that go through the network at once when it judges.
const CHUNK: usize = 500;

/// Images with the class of each.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// `(n, C, H, W)` row-major.
    pub images: &'a [f32],
    /// `(n,)`.
    pub labels: &'a [u32],
}

/// A trained judge.
#[derive(Debug)]
pub struct Classifier {
    shape: [usize; 3],
    n_classes: usize,
    net: Net,
    tensors: BTreeMap<String, Tensor>,
}

/// Verdicts of the judge on some images.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Class that the judge sees in each image.
    pub classes: Vec<u32>,
    /// Features of each image, `(n, dim)` row-major.
    pub features: Vec<f32>,
    /// Numbers in a feature.
    pub dim: usize,
}

/// How many images a judge takes for what they should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassAccuracy {
    /// Name of the protocol, `class-accuracy`.
    pub protocol: &'static str,
    /// The share of images that are recognized.
    pub accuracy: f64,
    /// Share of recognized images of each class, `None` for a class without images.
    pub by_class: Vec<Option<f64>>,
    /// Number of images.
    pub n: usize,
}

impl ClassAccuracy {
    /// The name printed with every such number.
    pub const PROTOCOL: &'static str = "class-accuracy";
}

impl Classifier {
    /// Trains a judge on images of shape `[C, H, W]` with labels below `n_classes`.
    ///
    /// # Errors
    /// [`ClassifierError::Labels`], [`ClassifierError::Values`] and [`ClassifierError::Label`] for what does not fit,
    /// [`ClassifierError::NoClasses`] for fewer than two classes.
    pub fn train(
        shape: [usize; 3],
        n_classes: usize,
        data: Labelled<'_>,
        seed: u64,
    ) -> ClassifierResult<Self> {
        let n = data.check(shape, n_classes)?;
        let device = Device::Cpu;
        let mut builder = ParamBuilder::fresh(seed, DType::F32, &device);
        let net = Net::new(shape, n_classes, &mut builder)?;
        let params = builder.finish()?;
        let mut optimizer = AdamW::new(&params, 0.9, 0.999, 1e-8, WEIGHT_DECAY)?;
        let n_seen = (N_EPOCHS * n).clamp(*N_IMAGES.start(), *N_IMAGES.end());
        let n_steps = (n_seen / BATCH) as u64;
        let schedule = Schedule::Cosine { warmup: WARMUP.min(n_steps / 4) };
        let dim: usize = shape.iter().product();
        let order = NoiseStream::new(seed, Stream::Shuffle);
        for step in 0..n_steps {
            let mut noise = order.at(step);
            let (mut images, mut labels) = (Vec::with_capacity(BATCH * dim), Vec::with_capacity(BATCH));
            for _ in 0..BATCH {
                let row = noise.below(n as u64) as usize;
                images.extend_from_slice(&data.images[row * dim..][..dim]);
                labels.push(data.labels[row]);
            }
            let images = Tensor::from_vec(images, [&[BATCH][..], &shape].concat(), &device)?;
            let labels = Tensor::from_vec(labels, (BATCH, 1), &device)?;
            let loss = net.log_likelihood(&images, &labels)?.neg()?;
            optimizer.step(&loss.backward()?, LEARNING_RATE * schedule.factor(step, n_steps), 1.0)?;
        }
        let tensors = params.copied_tensors()?;
        Self::from_tensors(shape, n_classes, tensors)
    }

    /// The judge of these tensors, as [`tensors`](Self::tensors) gives them.
    ///
    /// # Errors
    /// Tensors that are missing, too many, or of other shapes.
    pub fn from_tensors(
        shape: [usize; 3],
        n_classes: usize,
        tensors: BTreeMap<String, Tensor>,
    ) -> ClassifierResult<Self> {
        let mut builder = ParamBuilder::frozen(tensors.clone(), DType::F32, &Device::Cpu);
        let net = Net::new(shape, n_classes, &mut builder)?;
        builder.finish()?;
        Ok(Self { shape, n_classes, net, tensors })
    }

    /// All its tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// Classes and features of images `(n, C, H, W)`.
    ///
    /// # Errors
    /// [`ClassifierError::Values`] for no whole images.
    pub fn judge(&self, images: &[f32]) -> ClassifierResult<Verdict> {
        let dim: usize = self.shape.iter().product();
        if !images.len().is_multiple_of(dim) {
            return Err(ClassifierError::Values { expected: dim, found: images.len() });
        }
        let mut verdict = Verdict { classes: Vec::new(), features: Vec::new(), dim: Net::N_FEATURES };
        for chunk in images.chunks(CHUNK * dim) {
            let shape = [&[chunk.len() / dim][..], &self.shape].concat();
            let features = self.net.features(&Tensor::from_slice(chunk, shape, &Device::Cpu)?)?;
            let logits = self.net.logits(&features)?;
            verdict.classes.extend(logits.argmax(1)?.to_vec1::<u32>()?);
            verdict.features.extend(features.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(verdict)
    }

    /// How many of the images it takes for what their labels say.
    ///
    /// # Errors
    /// As [`train`](Self::train) for what does not fit.
    pub fn accuracy(&self, data: Labelled<'_>) -> ClassifierResult<ClassAccuracy> {
        data.check(self.shape, self.n_classes)?;
        Ok(self.judge(data.images)?.accuracy(data.labels, self.n_classes))
    }
}

impl Verdict {
    /// How many of the images are what their labels say; a label beyond the classes is never met.
    pub fn accuracy(&self, labels: &[u32], n_classes: usize) -> ClassAccuracy {
        let mut counts = vec![(0u64, 0u64); n_classes];
        let mut right = 0;
        for (found, label) in self.classes.iter().zip(labels) {
            let is_right = u64::from(found == label);
            right += is_right;
            if let Some((met, all)) = counts.get_mut(*label as usize) {
                *met += is_right;
                *all += 1;
            }
        }
        let n = self.classes.len().min(labels.len());
        let share = |(met, all): (u64, u64)| (all > 0).then(|| met as f64 / all as f64);
        let by_class = counts.into_iter().map(share).collect();
        let accuracy = right as f64 / n.max(1) as f64;
        ClassAccuracy { protocol: ClassAccuracy::PROTOCOL, accuracy, by_class, n }
    }
}

impl Labelled<'_> {
    /// Checks that images and labels fit each other; the number of images.
    fn check(&self, shape: [usize; 3], n_classes: usize) -> ClassifierResult<usize> {
        let dim: usize = shape.iter().product();
        if n_classes < 2 {
            return Err(ClassifierError::NoClasses { found: n_classes });
        }
        if dim == 0 || self.images.is_empty() || !self.images.len().is_multiple_of(dim) {
            return Err(ClassifierError::Values { expected: dim, found: self.images.len() });
        }
        let n = self.images.len() / dim;
        if n != self.labels.len() {
            return Err(ClassifierError::Labels { expected: n, found: self.labels.len() });
        }
        match self.labels.iter().position(|label| *label as usize >= n_classes) {
            Some(sample) => Err(ClassifierError::Label { sample, found: self.labels[sample], n_classes }),
            None => Ok(n),
        }
    }
}
