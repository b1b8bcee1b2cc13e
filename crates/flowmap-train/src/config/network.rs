//! Which network, and what it comes to without being made.

use candle_core::{DType, Device};
use flowmap_nn::net::{
    Conditioning, Cost, DdpmPpUNet, DdpmPpUNetConfig, Dit, DitConfig, Edm2UNet, Edm2UNetConfig, Mlp,
    MlpConfig, UNet, UNetConfig,
};
use flowmap_nn::{AverageVelocity, ParamBuilder};
use serde::{Deserialize, Serialize};

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
}

/// A network in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Number of trainable numbers.
    pub n_parameters: usize,
    /// What a plain forward pass of one sample costs.
    pub cost: Cost,
}

/// Runs the same lines with the network of a config, whatever its type.
macro_rules! with_network {
    ($config:expr, $build:expr, |$net:ident| $body:expr) => {{
        let (shape, conditioning, sigma_data, builder) = $build;
        match $config {
            NetworkConfig::Mlp(config) => {
                let $net = Mlp::new(config, shape, conditioning, sigma_data, builder)?;
                $body
            }
            NetworkConfig::Dit(config) => {
                let $net = Dit::new(config, shape, conditioning, sigma_data, builder)?;
                $body
            }
            NetworkConfig::Edm2UNet(config) => {
                let $net = Edm2UNet::new(config, shape, conditioning, sigma_data, builder)?;
                $body
            }
            NetworkConfig::DdpmPpUNet(config) => {
                let $net = DdpmPpUNet::new(config, shape, conditioning, sigma_data, builder)?;
                $body
            }
            NetworkConfig::UNet(config) => {
                let $net = UNet::new(config, shape, conditioning, sigma_data, builder)?;
                $body
            }
        }
    }};
}

impl NetworkConfig {
    /// The name of the network in configs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mlp(_) => "mlp",
            Self::Dit(_) => "dit",
            Self::Edm2UNet(_) => "edm2_unet",
            Self::DdpmPpUNet(_) => "ddpmpp_unet",
            Self::UNet(_) => "unet",
        }
    }

    /// How many numbers the network is told of the augmentation of an image, 0 for none.
    pub fn augment_dim(&self) -> usize {
        match self {
            Self::DdpmPpUNet(config) => config.augment_dim,
            Self::Mlp(_) | Self::Dit(_) | Self::Edm2UNet(_) | Self::UNet(_) => 0,
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// For a size out of range.
    pub fn validate(&self) -> Result<(), flowmap_nn::Error> {
        match self {
            Self::Mlp(config) => config.validate(),
            Self::Dit(config) => config.validate(),
            Self::Edm2UNet(config) => config.validate(),
            Self::DdpmPpUNet(config) => config.validate(),
            Self::UNet(config) => config.validate(),
        }
    }

    /// Builds the network for samples of `shape`, conditional on `conditioning` (a number of classes, 0 for none, or
    /// with the scale of guidance as well), and data of standard deviation `sigma_data`.
    ///
    /// # Errors
    /// For a size out of range, samples that do not fit, and what `builder` finds wrong with a checkpoint.
    pub fn build(
        &self,
        shape: &[usize],
        conditioning: impl Into<Conditioning>,
        sigma_data: f64,
        builder: &mut ParamBuilder,
    ) -> Result<Box<dyn AverageVelocity>, flowmap_nn::Error> {
        with_network!(self, (shape, conditioning, sigma_data, builder), |net| Ok(Box::new(net)))
    }

    /// The number of parameters and the cost of the network for samples of `shape`; nothing is made.
    ///
    /// # Errors
    /// As [`NetworkConfig::build`].
    pub fn outline(
        &self,
        shape: &[usize],
        conditioning: impl Into<Conditioning>,
    ) -> Result<Outline, flowmap_nn::Error> {
        let mut builder = ParamBuilder::outline(DType::F32, &Device::Cpu);
        let cost = with_network!(self, (shape, conditioning, 1.0, &mut builder), |net| net.cost());
        Ok(Outline { n_parameters: builder.n_trainable(), cost })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_nn::net::{DdpmPpSize, DitSize, Edm2Size};

    use super::*;

    fn n_parameters(network: &NetworkConfig, shape: &[usize], n_classes: usize) -> usize {
        network.outline(shape, n_classes).unwrap().n_parameters
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
        let outline = NetworkConfig::DdpmPpUNet(config).outline(&[3, 32, 32], 0).unwrap();
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
            let outline = NetworkConfig::Dit(DitConfig::new(size, 2)).outline(&[4, 32, 32], 1000).unwrap();
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
