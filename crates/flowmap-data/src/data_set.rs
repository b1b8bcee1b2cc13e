//! The one interface of all data sets.

use std::fmt;

use flowmap_core::{NoiseStream, Stream};

use crate::{Skipped, Warning};

/// Shape, size, number of classes and scale of a [`DataSet`].
///
/// ```
/// use flowmap_data::{DataSet, Facts, FiniteSet};
///
/// let set = FiniteSet::new("corners", vec![2], vec![0.0, 0.0, 1.0, 1.0], Some(vec![0, 1]))?;
/// let facts = Facts { shape: &[2], n_samples: Some(2), n_classes: 2, sigma: 0.5 };
/// assert_eq!(set.facts(), facts);
/// # Ok::<(), flowmap_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts<'a> {
    /// Shape of one sample: `[D]` for points, `[C, H, W]` for images.
    pub shape: &'a [usize],
    /// Number of distinct samples, `None` if they are generated without end.
    pub n_samples: Option<u64>,
    /// Number of classes; labels lie below this number. 0 if the samples have no labels.
    pub n_classes: usize,
    /// Standard deviation of all coordinates about their common mean, sigma_data; always positive and finite.
    ///
    /// One mean for all coordinates, as in `numpy.std` of the whole array.
    pub sigma: f64,
}

impl<'a> Facts<'a> {
    /// Facts of a set whose samples are generated without end.
    pub const fn endless(shape: &'a [usize], n_classes: usize, sigma: f64) -> Self {
        Self { shape, n_samples: None, n_classes, sigma }
    }

    /// Begins the `Debug` text of a set in memory, which prints the facts instead of the values.
    pub(crate) fn debug_of<'f, 'b>(
        &self,
        f: &'f mut fmt::Formatter<'b>,
        kind: &str,
        name: &str,
    ) -> fmt::DebugStruct<'f, 'b> {
        let mut text = f.debug_struct(kind);
        text.field("name", &name).field("shape", &self.shape);
        text.field("n_samples", &self.n_samples.unwrap_or(0)).field("n_classes", &self.n_classes);
        text.field("sigma", &self.sigma);
        text
    }
}

/// A source of samples of the law that a flow map is to learn.
///
/// A set is an endless sequence of samples for every [`NoiseStream`]; sample `index` of it is a pure function
/// of the set, the stream and the index, whatever else was drawn, in whatever order.
///
/// ```
/// use flowmap_core::{NoiseStream, Stream};
/// use flowmap_data::{DataConfig, DataSet};
///
/// let rings = DataConfig::Rings(Default::default()).build(None)?;
/// let mut x = [0.0; 2];
/// let ring = rings.draw(&NoiseStream::new(1, Stream::Data), 12, &mut x);
/// assert!(x[0].hypot(x[1]) < 4.0 && ring.is_some_and(|ring| ring < 4));
/// # Ok::<(), flowmap_data::Error>(())
/// ```
pub trait DataSet: fmt::Debug + Send + Sync {
    /// Shape, size, number of classes and scale of the set; the same on every call.
    fn facts(&self) -> Facts<'_>;

    /// Shape of one sample: `[D]` for points, `[C, H, W]` for images.
    fn shape(&self) -> &[usize] {
        self.facts().shape
    }

    /// Number of distinct samples, `None` if they are generated without end.
    fn n_samples(&self) -> Option<u64> {
        self.facts().n_samples
    }

    /// Number of classes; labels lie below this number.
    fn n_classes(&self) -> usize {
        self.facts().n_classes
    }

    /// Standard deviation of all coordinates about their common mean, sigma_data.
    fn sigma(&self) -> f64 {
        self.facts().sigma
    }

    /// Probability of each class in the law of the samples, in the order of the labels; empty without classes.
    ///
    /// If the number of samples is finite, the labels are counted: a class without samples has probability 0.
    /// Sets that are generated without end have classes of equal probability, unless they say otherwise.
    fn class_shares(&self) -> Vec<f64> {
        let mut counts = vec![0u64; self.n_classes()];
        match self.n_samples().filter(|_| !counts.is_empty()) {
            Some(n_samples) => {
                let epoch = NoiseStream::new(0, Stream::Labels);
                for label in (0..n_samples).filter_map(|index| self.draw(&epoch, index, &mut [])) {
                    counts.get_mut(label as usize).into_iter().for_each(|count| *count += 1);
                }
            }
            None => counts.fill(1),
        }
        let total = counts.iter().sum::<u64>().max(1) as f64;
        counts.into_iter().map(|count| count as f64 / total).collect()
    }

    /// Writes sample `index` of the sequence of `stream` into `out` and returns its label, if it has one.
    ///
    /// `out` holds as many values as the product of [`shape`](Self::shape).
    /// The rest of a longer slice stays as it is; a shorter slice gets the first coordinates.
    ///
    /// If the number of samples is finite, every run of [`n_samples`](Self::n_samples) indices that starts at
    /// a multiple of it, an epoch, has each sample exactly once, in an order of its own.
    fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32>;

    /// Writes the noise that sample `index` came from into `out`; false where the set has none.
    ///
    /// The noise belongs to the sample that [`draw`](Self::draw) writes for the same stream and index.
    fn draw_noise(&self, _stream: &NoiseStream, _index: u64, _out: &mut [f32]) -> bool {
        false
    }

    /// Exact probability of each cell of a grid of `bins` x `bins` cells on `[lo, hi]²`, row-major `[ix * bins + iy]`.
    ///
    /// The mass outside of the square is missing from the sum.
    /// `None` if no closed form is known, and if `lo`, `hi` and `bins` make no grid.
    fn cell_masses(&self, _lo: f64, _hi: f64, _bins: usize) -> Option<Vec<f64>> {
        None
    }

    /// The bad records that were passed over on reading, if there were any.
    fn skipped(&self) -> Option<&Skipped> {
        None
    }

    /// Source of the samples, for people; `None` if they are generated.
    fn source(&self) -> Option<&str> {
        None
    }

    /// Names of the classes, in the order of their labels; empty if the classes have numbers only.
    fn class_names(&self) -> &[String] {
        &[]
    }

    /// Parts of the input that were probably meant otherwise than they were read.
    fn warnings(&self) -> &[Warning] {
        &[]
    }

    /// Half-width of the square about the origin in which to plot points of the plane, `None` for anything else.
    fn extent(&self) -> Option<f64>;
}
