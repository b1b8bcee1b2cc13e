//! Data sets for flow maps: generated, shipped and from files, as a pure function of (seed, index).
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod augmentation;
mod batch;
mod config;
mod data_set;
mod density;
mod digits;
mod error;
mod file;
mod finite;
mod image;
mod labels;
mod own;
mod points;
mod shuffle;
pub mod task;
mod warning;

pub use augmentation::{Augmentation, Augmenter, EdmAugmentation};
pub use batch::{Batch, batch, batch_noise};
pub use config::{DataConfig, Declared};
pub use data_set::{DataSet, Facts};
pub use density::{
    Checkerboard, CheckerboardConfig, EightGaussiansConfig, GaussianMixture, GaussianMixtureConfig, Moons,
    MoonsConfig, Pinwheel, PinwheelConfig, Rings, RingsConfig, Spirals, SpiralsConfig, SwissRoll,
    SwissRollConfig,
};
pub use digits::{DigitsConfig, digits};
pub use error::{
    Error, FolderFault, FormatFault, JpegFault, PngFault, RecordFault, Result, TextFault, ValueFault,
};
pub use file::npz_writer::{NpyArray, NpyData, npz_bytes};
pub use finite::FiniteSet;
pub use image::{
    Channels, Cifar10Config, Cifar100Config, CifarLabels, FashionMnistConfig, FileSplit, IdxConfig,
    ImageFolderConfig, ImageSet, ImagesConfig, LatentSet, LatentsConfig, Layout, ParquetConfig, Skipped,
    Split, WebdatasetConfig,
};
pub use own::OwnData;
pub use points::{Column, PointsConfig};
pub use shuffle::Permutation;
pub use task::SimulationsConfig;
pub use warning::Warning;
