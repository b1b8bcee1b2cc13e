//! Configs that are known to work, by name.

use flowmap_data::DataConfig;
use flowmap_nn::method::{Card, METHODS, card_of};

use crate::{Error, Result};

/// A config by name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name, for `--preset`.
    pub name: &'static str,
    /// What it trains, in one line.
    pub about: &'static str,
    /// The config, TOML.
    pub toml: &'static str,
}

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "checkerboard",
        about: "LSD on the 4x4 checkerboard of arXiv:2505.18825; MLP, 2.5 minutes on 2 cores",
        toml: include_str!("../presets/checkerboard.toml"),
    },
    Preset {
        name: "checkerboard-paper",
        about: "LSD on the checkerboard as arXiv:2505.18825; MLP, batches of 100 000, for a GPU",
        toml: include_str!("../presets/checkerboard-paper.toml"),
    },
    Preset {
        name: "gaussian-mixture",
        about: "LSD on 8 Gaussians on a circle, judged against the exact flow map; MLP, 90 seconds on 2 cores",
        toml: include_str!("../presets/gaussian-mixture.toml"),
    },
    Preset {
        name: "digits",
        about: "LSD on 1797 real 8x8 digits, class-conditional; MLP, 2 minutes on 2 cores",
        toml: include_str!("../presets/digits.toml"),
    },
    Preset {
        name: "guided",
        about: "LSD on 3 Gaussians that overlap, class-conditional, the scale of guidance an input; MLP",
        toml: include_str!("../presets/guided.toml"),
    },
    Preset {
        name: "distill-mixture",
        about: "LMD from the exact velocity of 8 Gaussians on a circle, one jump within 3e-4 of the exact map; MLP",
        toml: include_str!("../presets/distill-mixture.toml"),
    },
    Preset {
        name: "fashion-mnist",
        about: "LSD on Fashion-MNIST, class-conditional; compact U-Net, 15 minutes on 2 cores",
        toml: include_str!("../presets/fashion-mnist.toml"),
    },
    Preset {
        name: "digits-unet",
        about: "LSD on 1797 real 8x8 digits, class-conditional; compact U-Net, 3 minutes on 2 cores",
        toml: include_str!("../presets/digits-unet.toml"),
    },
    Preset {
        name: "cifar10",
        about: "LSD on CIFAR-10 as arXiv:2505.18825; EDM2 U-Net, for a GPU",
        toml: include_str!("../presets/cifar10.toml"),
    },
    Preset {
        name: "celeba64",
        about: "LSD on 64x64 CelebA as arXiv:2505.18825; EDM2 U-Net, for a GPU",
        toml: include_str!("../presets/celeba64.toml"),
    },
    Preset {
        name: "afhq64",
        about: "LSD on 64x64 AFHQ as arXiv:2505.18825; EDM2 U-Net, for a GPU",
        toml: include_str!("../presets/afhq64.toml"),
    },
    Preset {
        name: "cifar10-meanflow",
        about: "Mean Flow on CIFAR-10 as arXiv:2505.13447; DDPM++ U-Net, for a GPU",
        toml: include_str!("../presets/cifar10-meanflow.toml"),
    },
    Preset {
        name: "imagenet-latent-meanflow-b4",
        about: "Mean Flow on latents of ImageNet 256 after arXiv:2505.13447; DiT-B/4, for a GPU",
        toml: include_str!("../presets/imagenet-latent-meanflow-b4.toml"),
    },
    Preset {
        name: "imagenet-latent-meanflow-b2",
        about: "Mean Flow on latents of ImageNet 256 after arXiv:2505.13447; DiT-B/2, for GPUs",
        toml: include_str!("../presets/imagenet-latent-meanflow-b2.toml"),
    },
    Preset {
        name: "imagenet-latent-meanflow-xl2",
        about: "Mean Flow on latents of ImageNet 256 after arXiv:2505.13447; DiT-XL/2, for GPUs",
        toml: include_str!("../presets/imagenet-latent-meanflow-xl2.toml"),
    },
    Preset {
        name: "imagenet-latent-shortcut-b",
        about: "shortcut model on latents of ImageNet 256 after arXiv:2410.12557; DiT-B/2, for GPUs",
        toml: include_str!("../presets/imagenet-latent-shortcut-b.toml"),
    },
];

/// The preset of this name.
///
/// # Errors
/// [`Error::UnknownName`] with the nearest name.
pub fn preset(name: &str) -> Result<&'static Preset> {
    let known = PRESETS.iter().map(|p| p.name);
    PRESETS.iter().find(|p| p.name == name).ok_or_else(|| Error::unknown("preset", name, known))
}

/// What `flowmap presets` lists.
#[derive(Clone, Copy, Debug)]
pub enum Listed {
    /// A preset.
    Preset(&'static Preset),
    /// A method.
    Method(&'static Card),
}

/// The preset or the method of this name.
///
/// # Errors
/// [`Error::UnknownName`] with the nearest name.
pub fn listed(name: &str) -> Result<Listed> {
    if let Some(preset) = PRESETS.iter().find(|p| p.name == name) {
        return Ok(Listed::Preset(preset));
    }
    let known = PRESETS.iter().map(|p| p.name).chain(METHODS.iter().map(|card| card.name));
    card_of(name).map(Listed::Method).ok_or_else(|| Error::unknown("preset or method", name, known))
}

/// The data set of this kind with its default options, `None` if there is no such kind or it has no defaults.
pub fn parse_data_kind(kind: &str) -> Option<DataConfig> {
    let table = toml::Table::from_iter([("kind".to_owned(), kind.into())]);
    let config: DataConfig = table.try_into().ok()?;
    (!config.needs_path()).then_some(config)
}

/// The known name nearest to `name`, if one is near: at most a third of its letters differ.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |k: &&str| distance(name, k) <= 1 + k.len().max(name.len()) / 3;
    known.filter(near).min_by_key(|k| distance(name, k))
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_data::Declared;

    use super::*;
    use crate::{ConfigSource, Estimate, resolve};

    #[test]
    fn nearest_name_forgives_slips_and_refuses_strangers() {
        assert_eq!(nearest("widht", ["width", "hidden"].into_iter()), Some("width"));
        assert_eq!(nearest("zzz", ["width", "hidden"].into_iter()), None);
        assert!(preset("checkerbord").unwrap_err().to_string().contains("did you mean `checkerboard`?"));
    }

    #[test]
    fn every_preset_comes_to_something_without_its_data_files() {
        for preset in PRESETS {
            let config = resolve(&[ConfigSource::preset(preset.name).unwrap()]).unwrap();
            assert_eq!(config.name, preset.name);
            config.refuse_unused_teacher().unwrap();
            let declared = config.data.declared().unwrap_or_else(|| {
                let data = config.data.build(None).unwrap();
                Declared { shape: data.shape().to_vec(), n_classes: data.n_classes() }
            });
            let estimate = Estimate::new(&config, &declared.shape, declared.n_classes).unwrap();
            assert!(estimate.flop_per_step > 0.0, "{}", preset.name);
            assert!(!config.conditional || declared.n_classes > 0, "{}", preset.name);
        }
    }

    #[test]
    fn networks_of_the_papers_have_their_numbers_of_parameters() {
        let n_parameters = |name: &str| {
            let config = resolve(&[ConfigSource::preset(name).unwrap()]).unwrap();
            let drawn =
                || Declared { shape: config.data.build(None).unwrap().shape().to_vec(), n_classes: 0 };
            let Declared { shape, n_classes } = config.data.declared().unwrap_or_else(drawn);
            Estimate::new(&config, &shape, n_classes).unwrap().outline.n_parameters as f64
        };
        // In millions, as the papers round them; the second time adds up to 2 % to a DiT.
        let cases = [
            ("checkerboard-paper", 1.054_210),
            ("cifar10", 54.67),
            ("celeba64", 124.0),
            ("cifar10-meanflow", 55.0),
            ("imagenet-latent-meanflow-b4", 131.0),
            ("imagenet-latent-meanflow-xl2", 676.0),
        ];
        for (name, millions) in cases {
            let found = n_parameters(name) / 1e6;
            assert!((found / millions - 1.0).abs() < 0.02, "{name}: {found}");
        }
    }
}
