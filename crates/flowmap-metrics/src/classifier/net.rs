//! The layers of the judge.

use candle_core::Tensor;
use flowmap_dual::Dual;
use flowmap_nn::{Init, ParamBuilder};

use super::ClassifierResult;

/// Channels of the first layer, and of those that halve the side; the last number goes for all that follow.
const FIRST: usize = 16;
const HALVING: [usize; 2] = [32, 64];
/// The side at which the image is taken as a whole.
const LAST_SIDE: usize = 8;
/// He's initialization for ReLU doubles the variance of LeCun's: √2 times its weights.
const GAIN: f64 = std::f64::consts::SQRT_2;

/// Convolutions, then two linear layers.
#[derive(Debug)]
pub(super) struct Net {
    /// Kernel, bias and stride of each.
    convolutions: Vec<(Tensor, Tensor, usize)>,
    hidden: (Tensor, Tensor),
    last: (Tensor, Tensor),
}

impl Net {
    /// Numbers in a feature.
    pub const N_FEATURES: usize = 128;

    /// Takes its parameters from a builder.
    pub fn new(
        [channels, mut height, mut width]: [usize; 3],
        n_classes: usize,
        builder: &mut ParamBuilder,
    ) -> ClassifierResult<Self> {
        let mut convolutions = Vec::new();
        let mut inputs = channels;
        let mut add = |inputs: usize, outputs: usize, stride: usize, builder: &mut ParamBuilder| {
            let name = format!("convolutions.{}", convolutions.len());
            let fan_in = (9 * inputs) as f64;
            let init = Init::Normal(GAIN / fan_in.sqrt());
            let kernel = builder.param(&format!("{name}.weight"), (outputs, inputs, 3, 3), init)?;
            let bias = builder.param(&format!("{name}.bias"), outputs, Init::Zeros)?;
            convolutions.push((kernel, bias, stride));
            Ok::<usize, flowmap_nn::Error>(outputs)
        };
        inputs = add(inputs, FIRST, 1, builder)?;
        let mut n_halved = 0;
        while n_halved < HALVING.len() || height.max(width) > LAST_SIDE {
            let outputs = HALVING[n_halved.min(HALVING.len() - 1)];
            inputs = add(inputs, outputs, 2, builder)?;
            // Padding 1, kernel 3, stride 2.
            (height, width) = (height.div_ceil(2), width.div_ceil(2));
            n_halved += 1;
        }
        let flat = inputs * height * width;
        let mut linear = |name: &str, inputs: usize, outputs: usize, gain: f64| {
            let init = Init::Normal(gain / (inputs as f64).sqrt());
            let weight = builder.param(&format!("{name}.weight"), (outputs, inputs), init)?;
            let bias = builder.param(&format!("{name}.bias"), outputs, Init::Zeros)?;
            Ok::<_, flowmap_nn::Error>((weight, bias))
        };
        let hidden = linear("hidden", flat, Self::N_FEATURES, GAIN)?;
        let last = linear("last", Self::N_FEATURES, n_classes, 1.0)?;
        Ok(Self { convolutions, hidden, last })
    }

    /// The layer before the last, `(B, N_FEATURES)`.
    pub fn features(&self, images: &Tensor) -> ClassifierResult<Tensor> {
        let mut x = Dual::constant(images.clone());
        for (kernel, bias, stride) in &self.convolutions {
            x = x.conv2d_bias(kernel, bias, 1, *stride)?.relu()?;
        }
        let batch = images.dim(0)?;
        let n_flat: usize = x.dims().iter().skip(1).product();
        let x = x.reshape(&[batch, n_flat])?;
        let (weight, bias) = &self.hidden;
        Ok(x.linear(weight, Some(bias))?.relu()?.into_parts().0)
    }

    /// Unnormalized log-probabilities `(B, classes)` of features.
    pub fn logits(&self, features: &Tensor) -> ClassifierResult<Tensor> {
        let x = Dual::constant(features.clone()).linear(&self.last.0, Some(&self.last.1))?;
        Ok(x.into_parts().0)
    }

    /// The mean log-probability of the labels `(B, 1)`.
    pub fn log_likelihood(&self, images: &Tensor, labels: &Tensor) -> ClassifierResult<Tensor> {
        let logits = Dual::constant(self.logits(&self.features(images)?)?);
        Ok(logits.log_softmax(1)?.into_parts().0.gather(labels, 1)?.mean_all()?)
    }
}
