//! Training in bf16 beside training in f32.

use candle_core::{DType, Device};
use flowmap_train::{Config, ConfigSource, Trainer, resolve};

/// 8 binary digits in every layer, averaged over the samples of a batch.
const LOSS: f64 = 2e-2;

/// A few steps of a small network of each kind.
fn config(preset: &str, more: &[&str]) -> Config {
    let mut sources = vec![ConfigSource::preset(preset).unwrap()];
    let few = ["train.steps=4", "train.batch=32", "train.ema=[0.9]"];
    sources.extend(few.iter().chain(more).map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources).unwrap()
}

#[test]
fn first_losses_in_bf16_are_those_in_f32_and_checkpoints_are_in_f32() {
    let dit = "network={ kind = \"dit\", depth = 2, width = 32, heads = 2, time_features = 16 }";
    let edm2 = "network={ kind = \"edm2_unet\", channels = 8, channel_mult = [1, 2], blocks = 1, \
                attention = [4], head_channels = 8 }";
    let cases: [(&str, &[&str]); 5] = [
        ("checkerboard", &["network.width=32"]),
        ("digits-unet", &[]),
        ("digits-unet", &["train.activations=recompute", "train.micro_batch=5"]),
        ("digits-unet", &[dit]),
        ("digits-unet", &[edm2]),
    ];
    for (preset, more) in cases {
        let trainer = |precision: &str| {
            let precision = format!("train.precision={precision}");
            Trainer::new(config(preset, &[more, &[&precision]].concat()), &Device::Cpu).unwrap()
        };
        let (mut single, mut half) = (trainer("f32"), trainer("bf16"));
        for k in 0..4 {
            let (expected, found) = (single.step().unwrap(), half.step().unwrap());
            assert!(found.is_finite());
            let error = (found.loss / expected.loss - 1.0).abs();
            assert!(error < LOSS, "{preset} {more:?}, step {k}: {} and {}", found.loss, expected.loss);
        }
        let checkpoint = half.checkpoint().unwrap();
        let tensors = checkpoint.model.values().chain(checkpoint.optimizer.values());
        for tensor in tensors.chain(checkpoint.emas.iter().flat_map(|(_, tensors)| tensors.values())) {
            assert_eq!(tensor.dtype(), DType::F32, "{preset} {more:?}");
        }
    }
}
