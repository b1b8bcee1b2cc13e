//! Which network, and its number of parameters and cost before anything is allocated.

use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use super::{Conditioning, Cost, DdpmPpUNetConfig, DitConfig, Edm2UNetConfig, MlpConfig, UNetConfig};
use crate::{AverageVelocity, Error, ParamBuilder, Result};

/// What a network is built for: the samples, what they are conditional on, and their scale.
///
/// ```
/// use flowmap_nn::net::{Conditioning, DataSpec};
///
/// let digits = DataSpec::of(&[1, 28, 28]).given(10).with_sigma(0.5);
/// assert_eq!(digits.conditioning, Conditioning::Labels(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataSpec<'a> {
    /// Shape of one sample.
    pub shape: &'a [usize],
    /// What a sample is conditional on.
    pub conditioning: Conditioning,
    /// Standard deviation σ of data and base, by which networks scale their inputs and outputs.
    pub sigma_data: f64,
}

impl<'a> DataSpec<'a> {
    /// Unconditional samples of this shape with standard deviation 1.
    pub fn of(shape: &'a [usize]) -> Self {
        Self { shape, conditioning: Conditioning::None, sigma_data: 1.0 }
    }

    /// These data with labels, and with the scale of guidance with [`Conditioning::GuidedLabels`].
    /// A number stands for that many classes.
    pub fn given(self, conditioning: impl Into<Conditioning>) -> Self {
        Self { conditioning: conditioning.into(), ..self }
    }

    /// These data with another standard deviation.
    pub fn with_sigma(self, sigma_data: f64) -> Self {
        Self { sigma_data, ..self }
    }
}

/// The config of a network: its sizes, and how it is built of them.
///
/// A network of another crate is trained like ours: `NetworkConfig::own(MyConfig)`.
pub trait NetConfig: fmt::Debug + Send + Sync {
    /// The name of the network in configs.
    fn kind(&self) -> &'static str;

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// How many numbers the network is told of the augmentation of an image, 0 for none.
    fn augment_dim(&self) -> usize {
        0
    }

    /// Builds the network for these data of the parameters that `builder` hands out.
    ///
    /// # Errors
    /// For a size out of range, samples that do not fit, and what `builder` finds wrong with a checkpoint.
    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>>;
}

/// Which network, with its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NetworkConfig {
    /// The multilayer perceptron of the papers.
    Mlp(MlpConfig),
    /// The diffusion transformer with two times.
    Dit(DitConfig),
    /// The magnitude-preserving U-Net with two times.
    #[serde(rename = "edm2_unet")]
    Edm2UNet(Edm2UNetConfig),
    /// The DDPM++ U-Net with two times.
    #[serde(rename = "ddpmpp_unet")]
    DdpmPpUNet(DdpmPpUNetConfig),
    /// The compact U-Net.
    #[serde(rename = "unet")]
    UNet(UNetConfig),
    /// A network of another crate.
    Own(OwnNetwork),
}

impl NetworkConfig {
    /// A network of another crate.
    pub fn own(config: impl NetConfig + 'static) -> Self {
        Self::Own(OwnNetwork { name: config.kind().to_owned(), config: Some(Arc::new(config)) })
    }

    /// The config of the network.
    pub fn config(&self) -> &dyn NetConfig {
        match self {
            Self::Mlp(config) => config,
            Self::Dit(config) => config,
            Self::Edm2UNet(config) => config,
            Self::DdpmPpUNet(config) => config,
            Self::UNet(config) => config,
            Self::Own(config) => config,
        }
    }

    /// The name of the network in configs.
    pub fn kind(&self) -> &'static str {
        self.config().kind()
    }

    /// Checks every number.
    ///
    /// # Errors
    /// For a size out of range.
    pub fn validate(&self) -> Result<()> {
        self.config().validate()
    }

    /// How many numbers the network is told of the augmentation of an image, 0 for none.
    pub fn augment_dim(&self) -> usize {
        self.config().augment_dim()
    }

    /// Builds the network for these data of the parameters that `builder` hands out.
    ///
    /// # Errors
    /// As [`NetConfig::build`].
    pub fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        self.config().build(data, builder)
    }

    /// The number of parameters and the cost of the network for `data`; nothing is made.
    ///
    /// A network that does not say its cost is taken for one dense layer of its parameters.
    ///
    /// # Errors
    /// As [`NetConfig::build`].
    pub fn outline(&self, data: &DataSpec<'_>) -> Result<Outline> {
        let mut builder = ParamBuilder::outline(DType::F32, &Device::Cpu);
        let net = self.config().build(data, &mut builder)?;
        let n_parameters = builder.n_trainable();
        let dense = || Cost::layer(n_parameters, data.shape.iter().product());
        Ok(Outline { n_parameters, cost: net.cost().unwrap_or_else(dense) })
    }
}

/// A network in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Number of trainable numbers.
    pub n_parameters: usize,
    /// What a plain forward pass of one sample costs.
    pub cost: Cost,
}

/// A network of another crate by its name.
///
/// Configs write the name down; a program that reads the config without having the network cannot build it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnNetwork {
    name: String,
    #[serde(skip)]
    config: Option<Arc<dyn NetConfig>>,
}

impl OwnNetwork {
    /// The config of the network.
    ///
    /// # Errors
    /// [`Error::UnknownOwn`] if this program has only the name.
    fn known(&self) -> Result<&dyn NetConfig> {
        self.config.as_deref().ok_or_else(|| Error::UnknownOwn { what: "network", name: self.name.clone() })
    }
}

impl NetConfig for OwnNetwork {
    fn kind(&self) -> &'static str {
        self.known().map_or("own", |config| config.kind())
    }

    fn validate(&self) -> Result<()> {
        self.known().map_or(Ok(()), |config| config.validate())
    }

    fn augment_dim(&self) -> usize {
        self.known().map_or(0, |config| config.augment_dim())
    }

    fn build(&self, data: &DataSpec<'_>, builder: &mut ParamBuilder) -> Result<Box<dyn AverageVelocity>> {
        self.known()?.build(data, builder)
    }
}

/// Networks of one name are equal: their sizes are the business of the program that has them.
impl PartialEq for OwnNetwork {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for OwnNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.config {
            Some(config) => config.fmt(f),
            None => write!(f, "Own({})", self.name),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{DdpmPpSize, DitSize, Edm2Size};

    use super::*;

    fn n_parameters(network: &NetworkConfig, shape: &[usize], n_classes: usize) -> usize {
        network.outline(&DataSpec::of(shape).given(n_classes)).unwrap().n_parameters
    }

    /// Appendix G of arXiv:2505.18825 and its authors' notebooks: 54,673,314 for CIFAR-10, the weight w_{s,t} included,
    /// which has 128 of them and is a part of the loss here.
    #[test]
    fn edm2_unet_for_cifar10_has_the_parameters_of_the_paper() {
        let network = NetworkConfig::Edm2UNet(Edm2UNetConfig::new(Edm2Size::Cifar10));
        assert_eq!(n_parameters(&network, &[3, 32, 32], 0), 54_673_314 - 128);
    }

    /// The public network of Mean Flow for CIFAR-10, counted by PyTorch: 55,932,419 with six labels of augmentation.
    #[test]
    fn ddpmpp_unet_for_cifar10_has_the_parameters_of_the_public_network() {
        let config = DdpmPpUNetConfig::new(DdpmPpSize::Cifar10);
        let told = DdpmPpUNetConfig { augment_dim: 6, ..config.clone() };
        assert_eq!(n_parameters(&NetworkConfig::DdpmPpUNet(config), &[3, 32, 32], 0), 55_929_347);
        assert_eq!(n_parameters(&NetworkConfig::DdpmPpUNet(told), &[3, 32, 32], 0), 55_932_419);
    }

    /// PyTorch's counter of operations on the public network: 42,391,312,384, two for each multiplication.
    #[test]
    fn ddpmpp_unet_for_cifar10_costs_what_pytorch_counts() {
        let config = DdpmPpUNetConfig { augment_dim: 6, ..DdpmPpUNetConfig::new(DdpmPpSize::Cifar10) };
        let outline = NetworkConfig::DdpmPpUNet(config).outline(&DataSpec::of(&[3, 32, 32])).unwrap();
        // Changes of resolution are products with matrices here.
        assert!((outline.cost.flop() / 42_391_312_384.0 - 1.0).abs() < 0.005, "{}", outline.cost.flop());
    }

    /// DiT-XL/2 has 675,129,632 numbers with its table of positions (294,912) and its learned variance (18,448);
    /// the embedding of a second time adds 1,624,320.
    #[test]
    fn dit_xl_2_has_the_parameters_of_the_paper() {
        let network = NetworkConfig::Dit(DitConfig::new(DitSize::Xl, 2));
        let expected = 675_129_632 - 294_912 - 18_448 + 1_624_320;
        assert_eq!(n_parameters(&network, &[4, 32, 32], 1000), expected);
    }

    /// Table 1 of arXiv:2212.09748 in Gflops of one multiplication and addition each: S/2 6.06, B/2 23.01, L/2 80.71, XL/2 118.64.
    #[test]
    fn dits_cost_what_the_paper_says() {
        let sizes = [(DitSize::S, 6.06), (DitSize::B, 23.01), (DitSize::L, 80.71), (DitSize::Xl, 118.64)];
        for (size, expected) in sizes {
            let outline = NetworkConfig::Dit(DitConfig::new(size, 2))
                .outline(&DataSpec::of(&[4, 32, 32]).given(1000))
                .unwrap();
            let found = outline.cost.products as f64 / 1e9;
            // The second time and the learned variance are the difference.
            assert!((found / expected - 1.0).abs() < 0.01, "{size:?}: {found} instead of {expected}");
        }
    }

    #[test]
    fn named_sizes_are_defaults_that_keys_replace() {
        let dit: NetworkConfig = toml::from_str("kind = 'dit'\nsize = 'xl'\ndepth = 2").unwrap();
        let expected = DitConfig { depth: 2, ..DitConfig::new(DitSize::Xl, 2) };
        assert_eq!(dit, NetworkConfig::Dit(expected));
        let unet: NetworkConfig = toml::from_str("kind = 'edm2_unet'\nsize = 'cifar10'\nblocks = 1").unwrap();
        let expected = Edm2UNetConfig { blocks: 1, ..Edm2UNetConfig::new(Edm2Size::Cifar10) };
        assert_eq!(unet, NetworkConfig::Edm2UNet(expected));
        let text =
            "kind = 'ddpmpp_unet'\nsize = 'cifar10'\nchannel_mult = [1, 2]\ndropout = 0.2\naugment_dim = 6";
        let ddpmpp: NetworkConfig = toml::from_str(text).unwrap();
        let cifar10 = DdpmPpUNetConfig::new(DdpmPpSize::Cifar10);
        let expected = DdpmPpUNetConfig { channel_mult: vec![1, 2], dropout: 0.2, augment_dim: 6, ..cifar10 };
        assert_eq!(ddpmpp, NetworkConfig::DdpmPpUNet(expected));
        for network in [dit, unet, ddpmpp] {
            let printed = toml::to_string(&network).unwrap();
            assert_eq!(toml::from_str::<NetworkConfig>(&printed).unwrap(), network, "{printed}");
        }
    }
}
