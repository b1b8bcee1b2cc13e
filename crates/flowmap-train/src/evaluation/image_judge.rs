//! The judge of images: trained once on the real ones, and kept for the next time.
//!
//! The judge learns from the training part of the data and is tested on the held-out part; if the data have one part
//! only, every sixth sample is held out.
//! The weights of the judge are in the folder `judges` of the cache, `$FLOWMAP_CACHE`, or `$XDG_CACHE_HOME/flowmap`, or
//! `~/.cache/flowmap`, named by a hash of the images, their labels and the version of the judge: equal data
//! share a judge.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use flowmap_core::{NoiseStream, Stream};
use flowmap_data::{DataConfig, DataSet};
use flowmap_metrics::{Classifier, Labelled, Moments, Samples, frechet};

use super::floor::{Floor, FloorKind};
use crate::{Error, Result, write_atomically};

/// Changes whenever the judge or its training do.
const VERSION: u64 = 1;
/// Seed of the weights of the judge and of the order of the data.
const SEED: u64 = 0x1ee7;
/// Without a held-out part of the data, every `HELD_OUT`-th sample is held out.
const HELD_OUT: usize = 6;
/// Maximum number of images that the judge learns from.
const MAX_IMAGES: usize = 100_000;
/// Maximum number of images for one judgment.
pub(super) const N_JUDGED: usize = 10_000;

/// A trained judge, and what it says of real images.
#[derive(Debug)]
pub(super) struct ImageJudge {
    pub classifier: Classifier,
    /// The share of held-out images that it recognizes.
    pub test_accuracy: f64,
    /// Number of held-out images.
    pub n_test: usize,
    /// Moments of the features of the images that it learned from.
    pub real: Moments,
    /// Features of some of those images, `(n, dim)`, in random order.
    some: Vec<f32>,
    /// Features of the held-out images, `(n_test, dim)`.
    held_out: Vec<f32>,
    /// Numbers in a feature.
    pub dim: usize,
}

/// Images in memory with their labels.
#[derive(Default)]
struct Images {
    x: Vec<f32>,
    labels: Vec<u32>,
}

impl Images {
    fn labelled(&self) -> Labelled<'_> {
        Labelled { images: &self.x, labels: &self.labels }
    }
}

impl ImageJudge {
    /// Whether these data can have a judge: images with labels, of a finite number.
    pub fn is_possible(data: &dyn DataSet) -> bool {
        data.shape().len() == 3 && data.n_classes() > 1 && data.n_samples().is_some_and(|n| n > 1)
    }

    /// The judge of these data, from the cache or trained now; tested on their held-out part if there is one.
    ///
    /// # Errors
    /// An error if the data are not images with labels.
    pub fn of(config: &DataConfig, data: &dyn DataSet, held_out: Option<&dyn DataSet>) -> Result<Self> {
        let &[c, h, w] = data.shape() else { return Err(Error::NoLabels { kind: config.kind() }) };
        let (shape, n_classes) = ([c, h, w], data.n_classes());
        let (train, test) = match held_out {
            Some(held_out) => (drawn(data, |_| true), drawn(held_out, |_| true)),
            None => (drawn(data, |i| i % HELD_OUT != 0), drawn(data, |i| i % HELD_OUT == 0)),
        };
        let file = cache_file(hash(shape, n_classes, &train));
        let classifier = match file.as_ref().and_then(|file| kept(file, shape, n_classes)) {
            Some(classifier) => classifier,
            None => {
                let classifier = Classifier::train(shape, n_classes, train.labelled(), SEED)?;
                if let Some(file) = file {
                    keep(&file, &classifier);
                }
                classifier
            }
        };
        let test_verdict = classifier.judge(&test.x)?;
        let test_accuracy = test_verdict.accuracy(&test.labels, n_classes).accuracy;
        let dim = test_verdict.dim;
        let mut some = classifier.judge(&train.x)?.features;
        let real = Moments::of(Samples::new(&some, dim)?)?;
        some.truncate(N_JUDGED * dim);
        let (n_test, held_out) = (test.labels.len(), test_verdict.features);
        Ok(Self { classifier, test_accuracy, n_test, real, some, held_out, dim })
    }

    /// The Fréchet distance of `n` real images: held-out ones, or if there are fewer, images that the judge learned
    /// from, drawn with replacement.
    pub fn floor(&self, n: usize, seed: u64) -> Result<Floor> {
        let (features, kind): (Cow<'_, [f32]>, _) = match self.held_out.get(..n * self.dim) {
            Some(held_out) => (held_out.into(), FloorKind::HeldOut),
            None => {
                let (stream, n_some) = (NoiseStream::new(seed, Stream::Shuffle), self.some.len() / self.dim);
                let row = |i: usize| stream.at(i as u64).below(n_some as u64) as usize * self.dim;
                let rows = (0..n).flat_map(|i| &self.some[row(i)..][..self.dim]);
                (rows.copied().collect(), FloorKind::Resampled)
            }
        };
        let moments = Moments::of(Samples::new(&features, self.dim)?)?;
        Ok(Floor { value: frechet(&moments, &self.real)?.distance, kind })
    }
}

/// The samples of the first epoch of a stream whose positions are chosen.
fn drawn(data: &dyn DataSet, is_chosen: impl Fn(usize) -> bool) -> Images {
    let dim: usize = data.shape().iter().product();
    let n = data.n_samples().unwrap_or(0).min(MAX_IMAGES as u64) as usize;
    let stream = NoiseStream::new(SEED, Stream::Evaluation);
    let mut images = Images::default();
    let mut row = vec![0.0; dim];
    for position in (0..n).filter(|position| is_chosen(*position)) {
        if let Some(label) = data.draw(&stream, position as u64, &mut row) {
            images.x.extend_from_slice(&row);
            images.labels.push(label);
        }
    }
    images
}

/// FNV-1a over the words of everything that makes the judge what it is.
fn hash([c, h, w]: [usize; 3], n_classes: usize, images: &Images) -> u64 {
    let sizes = [VERSION, SEED, c as u64, h as u64, w as u64, n_classes as u64];
    let values = images.x.iter().map(|x| u64::from(x.to_bits()));
    let labels = images.labels.iter().map(|label| u64::from(*label));
    let words = sizes.into_iter().chain(values).chain(labels);
    words.fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

/// The file of the judge with this hash; `None` if no cache folder is known.
fn cache_file(hash: u64) -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("FLOWMAP_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("flowmap")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/flowmap")))?;
    Some(cache.join("judges").join(format!("{hash:016x}.safetensors")))
}

/// The judge in a file; `None` if the file is missing or does not fit, and the judge is trained again.
fn kept(file: &PathBuf, shape: [usize; 3], n_classes: usize) -> Option<Classifier> {
    let bytes = fs::read(file).ok()?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).ok()?;
    let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    Classifier::from_tensors(shape, n_classes, tensors).ok()
}

/// Keeps a judge; a failure only means that the next evaluation trains it again, which takes about a minute.
fn keep(file: &std::path::Path, classifier: &Classifier) {
    let Some(dir) = file.parent() else { return };
    let Ok(bytes) = safetensors::serialize(classifier.tensors(), None) else { return };
    if fs::create_dir_all(dir).is_ok() {
        write_atomically(file, &bytes).ok();
    }
}
