//! Sets of images and of the latents of images, one file for each format.

pub(crate) mod arrays;
mod cifar;
mod encoded;
mod fashion_mnist;
mod folder;
#[cfg(any(feature = "parquet", feature = "webdataset"))]
mod gathered;
mod idx;
mod jpeg;
mod latents;
pub(crate) mod layout;
mod left_over;
mod parquet;
mod png;
pub(crate) mod range;
pub(crate) mod set;
#[cfg(any(feature = "parquet", feature = "webdataset"))]
mod shards;
mod skipped;
mod split;
mod webdataset;

pub use arrays::ImagesConfig;
pub use cifar::{Cifar10Config, Cifar100Config, CifarLabels};
pub use encoded::Channels;
pub use fashion_mnist::FashionMnistConfig;
pub use folder::ImageFolderConfig;
pub use idx::{IdxConfig, Split};
pub use latents::{LatentSet, LatentsConfig};
pub use layout::Layout;
pub use parquet::ParquetConfig;
pub use set::ImageSet;
pub use skipped::Skipped;
pub use split::FileSplit;
pub use webdataset::WebdatasetConfig;
