//! The config of a data set: which one, and its options.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    Checkerboard, CheckerboardConfig, Cifar10Config, Cifar100Config, DataSet, DigitsConfig,
    EightGaussiansConfig, Error, FashionMnistConfig, GaussianMixtureConfig, IdxConfig, ImageFolderConfig,
    ImagesConfig, LatentsConfig, MoonsConfig, OwnData, ParquetConfig, PinwheelConfig, PointsConfig, Result,
    RingsConfig, SimulationsConfig, SpiralsConfig, Split, SwissRollConfig, WebdatasetConfig, digits,
};

/// Which data set, with its options; in a file, `kind` says which, and every option has a default.
///
/// The default is the checkerboard.
///
/// ```
/// use flowmap_data::{DataConfig, DataSet};
///
/// let config: DataConfig = toml::from_str("kind = 'moons'\nnoise = 0.1")?;
/// let moons = config.build(None)?;
/// assert_eq!((moons.shape(), moons.n_classes()), (&[2][..], 2));
///
/// // What cannot be is refused by its key.
/// let config: DataConfig = toml::from_str("kind = 'moons'\nnoise = -1.0")?;
/// let error = config.build(None).unwrap_err();
/// assert_eq!(error.to_string(), "`noise`: expected a number from 0 to 1e6, found -1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DataConfig {
    /// Uniform on the white cells of a 4 x 4 board on [−1, 1]².
    Checkerboard(CheckerboardConfig),
    /// Eight Gaussians on a circle.
    EightGaussians(EightGaussiansConfig),
    /// Two half circles.
    Moons(MoonsConfig),
    /// Bent arms.
    Pinwheel(PinwheelConfig),
    /// Two spirals.
    Spirals(SpiralsConfig),
    /// One spiral.
    SwissRoll(SwissRollConfig),
    /// Rings about the origin.
    Rings(RingsConfig),
    /// Isotropic Gaussians of any number, in any dimension.
    GaussianMixture(GaussianMixtureConfig),
    /// Parameters and data of a benchmark task of simulation-based inference.
    Simulations(SimulationsConfig),
    /// Samples from an NPZ, NPY or CSV file.
    Points(PointsConfig),
    /// The 1797 handwritten digits of scikit-learn.
    Digits(DigitsConfig),
    /// MNIST and its kin from a directory of IDX files.
    Idx(IdxConfig),
    /// Fashion-MNIST.
    FashionMnist(FashionMnistConfig),
    /// CIFAR-10, binary version.
    Cifar10(Cifar10Config),
    /// CIFAR-100, binary version.
    Cifar100(Cifar100Config),
    /// A folder of PNG and JPEG images, each subfolder a class.
    ImageFolder(ImageFolderConfig),
    /// Images from an NPZ or NPY array.
    Images(ImagesConfig),
    /// Latents of images from an NPZ or safetensors file.
    Latents(LatentsConfig),
    /// Images from the tar shards of a WebDataset.
    Webdataset(WebdatasetConfig),
    /// Images from Parquet files.
    Parquet(ParquetConfig),
    /// A data set of another crate.
    Own(OwnData),
}

/// Shape and classes of the samples of a config, before any file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Number of classes; 0 if there are no classes or their number is unknown before reading.
    pub n_classes: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self::Checkerboard(CheckerboardConfig::default())
    }
}

impl DataConfig {
    /// A data set of another crate under a name, which configs write down.
    ///
    /// ```
    /// use flowmap_core::NoiseStream;
    /// use flowmap_data::{DataConfig, DataSet, Facts};
    ///
    /// /// The coordinate is -1 or 1, the label is 0 or 1.
    /// #[derive(Debug)]
    /// struct Coin;
    ///
    /// impl DataSet for Coin {
    ///     fn facts(&self) -> Facts<'_> {
    ///         Facts::endless(&[1], 2, 1.0)
    ///     }
    ///
    ///     fn draw(&self, stream: &NoiseStream, index: u64, out: &mut [f32]) -> Option<u32> {
    ///         let side = stream.at(index).below(2) as u32;
    ///         out.fill(2.0 * side as f32 - 1.0);
    ///         Some(side)
    ///     }
    ///
    ///     fn extent(&self) -> Option<f64> {
    ///         None
    ///     }
    /// }
    ///
    /// let set = DataConfig::own("coin", Coin).build(None)?;
    /// assert_eq!(set.class_shares(), [0.5, 0.5]);
    /// # Ok::<(), flowmap_data::Error>(())
    /// ```
    pub fn own(name: &str, set: impl DataSet + 'static) -> Self {
        Self::Own(OwnData::new(name, set))
    }

    /// Every value of `kind`.
    pub const KINDS: [&'static str; 20] = [
        "checkerboard",
        "eight_gaussians",
        "moons",
        "pinwheel",
        "spirals",
        "swiss_roll",
        "rings",
        "gaussian_mixture",
        "simulations",
        "points",
        "digits",
        "idx",
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "image_folder",
        "images",
        "latents",
        "webdataset",
        "parquet",
    ];

    /// The value of `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Checkerboard(_) => "checkerboard",
            Self::EightGaussians(_) => "eight_gaussians",
            Self::Moons(_) => "moons",
            Self::Pinwheel(_) => "pinwheel",
            Self::Spirals(_) => "spirals",
            Self::SwissRoll(_) => "swiss_roll",
            Self::Rings(_) => "rings",
            Self::GaussianMixture(_) => "gaussian_mixture",
            Self::Simulations(_) => "simulations",
            Self::Points(_) => "points",
            Self::Digits(_) => "digits",
            Self::Idx(_) => "idx",
            Self::FashionMnist(_) => "fashion_mnist",
            Self::Cifar10(_) => "cifar10",
            Self::Cifar100(_) => "cifar100",
            Self::ImageFolder(_) => "image_folder",
            Self::Images(_) => "images",
            Self::Latents(_) => "latents",
            Self::Webdataset(_) => "webdataset",
            Self::Parquet(_) => "parquet",
            Self::Own(_) => "own",
        }
    }

    /// The data set; relative paths start at `base_dir`, or at the current directory if that is `None`.
    ///
    /// # Errors
    /// An option that is out of its range, by its key; a file that cannot be read, is malformed, or holds no samples.
    pub fn build(&self, base_dir: Option<&Path>) -> Result<Box<dyn DataSet>> {
        Ok(match self {
            Self::Checkerboard(CheckerboardConfig {}) => Box::new(Checkerboard),
            Self::EightGaussians(config) => Box::new(config.checked()?),
            Self::Moons(config) => Box::new(config.checked()?),
            Self::Pinwheel(config) => Box::new(config.checked()?),
            Self::Spirals(config) => Box::new(config.checked()?),
            Self::SwissRoll(config) => Box::new(config.checked()?),
            Self::Rings(config) => Box::new(config.checked()?),
            Self::GaussianMixture(config) => Box::new(config.checked()?),
            Self::Simulations(config) => Box::new(config.simulate()?),
            Self::Points(config) => Box::new(config.read(base_dir)?),
            Self::Digits(DigitsConfig {}) => Box::new(digits()?),
            Self::Idx(config) => Box::new(config.read(base_dir)?),
            Self::FashionMnist(config) => Box::new(config.read(base_dir)?),
            Self::Cifar10(config) => Box::new(config.read(base_dir)?),
            Self::Cifar100(config) => Box::new(config.read(base_dir)?),
            Self::ImageFolder(config) => Box::new(config.read(base_dir)?),
            Self::Images(config) => Box::new(config.read(base_dir)?),
            Self::Latents(config) => Box::new(config.read(base_dir)?),
            Self::Webdataset(config) => Box::new(config.read(base_dir)?),
            Self::Parquet(config) => Box::new(config.read(base_dir)?),
            Self::Own(own) => own.build()?,
        })
    }

    /// Whether the kind is nothing without a path.
    pub fn needs_path(&self) -> bool {
        match self {
            Self::Points(PointsConfig { path, .. })
            | Self::Idx(IdxConfig { path, .. })
            | Self::Cifar10(Cifar10Config { path, .. })
            | Self::Cifar100(Cifar100Config { path, .. })
            | Self::ImageFolder(ImageFolderConfig { path, .. })
            | Self::Images(ImagesConfig { path, .. })
            | Self::Latents(LatentsConfig { path, .. })
            | Self::Webdataset(WebdatasetConfig { path, .. })
            | Self::Parquet(ParquetConfig { path, .. }) => path.as_os_str().is_empty(),
            _ => false,
        }
    }

    /// Shape and classes of the samples as far as the config alone says them; `None` if the files must be read.
    pub fn declared(&self) -> Option<Declared> {
        let of = |(shape, n_classes): ([usize; 3], usize)| Declared { shape: shape.into(), n_classes };
        let known = |shape: Option<[usize; 3]>, n_classes: Option<std::num::NonZeroU32>| {
            Some(of((shape?, n_classes.map_or(0, |n| n.get() as usize))))
        };
        match self {
            Self::FashionMnist(_) => Some(of(FashionMnistConfig::SHAPE)),
            Self::Cifar10(_) => Some(of(Cifar10Config::SHAPE)),
            Self::Cifar100(config) => Some(of(config.shape())),
            Self::ImageFolder(config) => known(config.fit().shape(), None),
            Self::Webdataset(config) => known(config.fit().shape(), config.classes),
            Self::Parquet(config) => known(config.fit().shape(), config.classes),
            Self::Latents(config) => known(config.shape, config.classes),
            _ => None,
        }
    }

    /// The part of the same data that is held out, if the data come in two parts and this is the part for training.
    pub fn held_out(&self) -> Option<Self> {
        let mut other = self.clone();
        let split = match &mut other {
            Self::Idx(config) => &mut config.split,
            Self::FashionMnist(config) => &mut config.split,
            Self::Cifar10(config) => &mut config.split,
            Self::Cifar100(config) => &mut config.split,
            _ => return None,
        };
        (std::mem::replace(split, Split::Test) == Split::Train).then_some(other)
    }

    /// The data set with the noise that each sample came from, for pairs.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::NoNoise`] for generated data and files that cannot hold any.
    pub fn build_pairs(&self, base_dir: Option<&Path>) -> Result<Box<dyn DataSet>> {
        match self {
            Self::Points(config) => Ok(Box::new(config.read_pairs(base_dir)?)),
            other => Err(Error::NoNoise { place: format!("`{}` data", other.kind()) }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_core::{NoiseStream, Stream};

    use super::*;

    #[test]
    fn every_kind_builds_from_its_name_alone_and_survives_a_round_trip() {
        for kind in DataConfig::KINDS {
            let config: DataConfig = toml::from_str(&format!("kind = '{kind}'")).unwrap();
            assert_eq!(config.kind(), kind);
            let written = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<DataConfig>(&written).unwrap(), config, "{written}");
            match config.build(None) {
                Ok(set) => assert!(set.sigma() > 0.0 && set.sigma().is_finite()),
                // Most files need a path, and Fashion-MNIST its package.
                Err(error) => {
                    assert!(config.needs_path() || kind == "fashion_mnist", "{kind}");
                    assert!(error.to_string().contains("`path`"), "{error}");
                }
            }
        }
    }

    #[test]
    fn class_shares_of_generated_sets_are_those_of_their_draws() {
        /// Draws of each set, and four standard errors of a share of one half.
        const N_DRAWS: u64 = 20_000;
        const TOLERANCE: f64 = 0.015;
        let weighted = "kind = 'gaussian_mixture'\nmeans = [[0.0], [1.0], [2.0]]\nweights = [0.0, 1.0, 3.0]";
        let named = DataConfig::KINDS.map(|kind| format!("kind = '{kind}'"));
        for text in named.iter().map(String::as_str).chain([weighted]) {
            let Ok(set) = toml::from_str::<DataConfig>(text).unwrap().build(None) else { continue };
            let mut counts = vec![0u64; set.n_classes()];
            let stream = NoiseStream::new(5, Stream::Data);
            for label in (0..N_DRAWS).filter_map(|index| set.draw(&stream, index, &mut [])) {
                counts[label as usize] += 1;
            }
            let shares = set.class_shares();
            assert_eq!(shares.len(), counts.len(), "{text}");
            for (share, count) in shares.iter().zip(counts) {
                assert!((share - count as f64 / N_DRAWS as f64).abs() < TOLERANCE, "{text}: {shares:?}");
                assert!(*share > 0.0 || count == 0, "{text}");
            }
        }
    }

    #[test]
    fn written_configs_spell_out_every_default() {
        let written = toml::to_string(&DataConfig::Rings(RingsConfig::default())).unwrap();
        assert_eq!(written, "kind = \"rings\"\nradii = [0.75, 1.5, 2.25, 3.0]\nnoise = 0.08\n");
    }

    #[test]
    fn unknown_keys_and_kinds_are_refused() {
        let refusal = |text: &str| toml::from_str::<DataConfig>(text).unwrap_err().message().to_owned();
        for kind in DataConfig::KINDS {
            let message = refusal(&format!("kind = '{kind}'\nnoize = 1"));
            assert!(message.contains("unknown field `noize`"), "{kind}: {message}");
        }
        assert!(
            refusal("kind = 'chess'").contains("unknown variant `chess`, expected one of `checkerboard`")
        );
        assert!(refusal("noise = 1.0").contains("missing field `kind`"));
        assert!(refusal("kind = 'moons'\nnoise = 'much'").contains("invalid type: string \"much\""));
    }
}
