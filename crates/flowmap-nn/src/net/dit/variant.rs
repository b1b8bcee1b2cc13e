//! What transformers that are called DiT do differently inside their blocks.

use serde::{Deserialize, Serialize};

use super::super::linear::glorot;
use crate::Init;

/// How layers begin; biases begin at zero in either case, and so do the last layer and its modulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DitInit {
    /// Blocks are the identity: their modulations are zero (adaLN-Zero), Peebles and Xie 2022, arXiv:2212.09748.
    /// Other weights are normal with the variance of Glorot and Bengio 2010, queries, keys and values as one matrix.
    #[default]
    Identity,
    /// All weights of blocks and patches are uniform with that variance, each layer by itself, as in the authors' code
    /// of shortcut models, Frans and others 2024, arXiv:2410.12557.
    XavierUniform,
}

impl DitInit {
    /// Weights `(rows, d_in)` that are layers from `d_in` to `d_out` numbers one above the other.
    pub(super) fn stacked(self, d_in: usize, d_out: usize, rows: usize) -> Init {
        match self {
            Self::Identity => glorot(d_in, rows),
            Self::XavierUniform => Init::XavierUniform(((d_in + rows) as f64 / (d_in + d_out) as f64).sqrt()),
        }
    }

    /// Weights `(d_out, d_in)`.
    pub(super) fn dense(self, d_in: usize, d_out: usize) -> Init {
        self.stacked(d_in, d_out, d_out)
    }

    /// Weights `(d_out, channels, side, side)`, a layer of patches.
    pub(super) fn patches(self, [d_out, channels, side]: [usize; 3]) -> Init {
        let (pixels, d_in) = (side * side, channels * side * side);
        match self {
            Self::Identity => glorot(d_in, d_out),
            // Init counts a kernel's fan out pixel by pixel.
            Self::XavierUniform => {
                Init::XavierUniform(((d_in + d_out * pixels) as f64 / (d_in + d_out) as f64).sqrt())
            }
        }
    }

    /// The weights of a block's modulation.
    pub(super) fn modulation(self) -> Init {
        match self {
            Self::Identity => Init::Zeros,
            Self::XavierUniform => Init::XavierUniform(1.0),
        }
    }
}

/// What the products of queries and keys of d numbers are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionScale {
    /// √d, Vaswani and others 2017, arXiv:1706.03762.
    #[default]
    Root,
    /// d, Yang and others 2022, arXiv:2203.03466; the authors' code of shortcut models has it.
    Width,
}

impl AttentionScale {
    /// What queries of `d` numbers are multiplied by before an attention that divides by √d; none where by nothing.
    pub(super) fn of_queries(self, d: usize) -> Option<f64> {
        match self {
            Self::Root => None,
            Self::Width => Some((d as f64).sqrt().recip()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super::super::DataSpec;
    use super::super::{Dit, DitConfig, DitSize};
    use super::*;
    use crate::ParamBuilder;

    /// Uniform numbers, of which the largest of 2000 comes this near its bound.
    const NEAR: f64 = 0.01;

    #[test]
    fn xavier_weights_have_the_bound_of_each_layer_by_itself() {
        let config = DitConfig { width: 48, heads: 4, depth: 1, ..DitConfig::new(DitSize::S, 4) };
        let config = DitConfig { init: DitInit::XavierUniform, ..config };
        let mut builder = ParamBuilder::fresh(1, DType::F64, &Device::Cpu);
        Dit::new(&config, &DataSpec::of(&[3, 8, 8]), &mut builder).unwrap();
        let tensors = builder.finish().unwrap().tensors();
        let largest = |x: &Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        // 3 * 4 * 4 numbers of a patch; queries, keys and values of 48 from 48 each.
        let fans = [
            ("x_embedder.proj.weight", 48 + 48),
            ("blocks.0.attn.qkv.weight", 48 + 48),
            ("blocks.0.attn.proj.weight", 48 + 48),
            ("blocks.0.mlp.fc1.weight", 48 + 4 * 48),
            ("blocks.0.adaLN_modulation.1.weight", 48 + 6 * 48),
        ];
        for (name, fans) in fans {
            let (bound, found) = ((6.0 / f64::from(fans)).sqrt(), largest(&tensors[name]));
            assert!(found <= bound && found > (1.0 - NEAR) * bound, "{name}: {found}, bound {bound}");
        }
        for name in ["final_layer.linear.weight", "final_layer.adaLN_modulation.1.weight"] {
            assert_eq!(largest(&tensors[name]), 0.0, "{name}");
        }
    }
}
