//! The launches of `layer_norm.cu` and `group_norm.cu`.

use super::{Arg, Config, Kernel, Launcher, Partials, THREADS, WARPS, config};

/// x, gain and shift with their tangents, if they have one.
#[derive(Clone, Copy, Debug)]
pub struct NormInputs<P> {
    pub x: P,
    pub dx: Option<P>,
    pub gain: P,
    pub dgain: Option<P>,
    pub shift: P,
    pub dshift: Option<P>,
}

impl<P: Copy> NormInputs<P> {
    fn args(&self) -> Vec<Arg<P>> {
        let Self { x, dx, gain, dgain, shift, dshift } = *self;
        [Some(x), dx, Some(gain), dgain, Some(shift), dshift].map(Arg::Pointer).to_vec()
    }
}

/// What is normalized together, as the kernels take it.
#[derive(Clone, Copy, Debug)]
pub enum NormShape {
    /// Rows of `channels`; every `tokens` share a gain.
    Rows { runs: u32, tokens: u32, channels: u32, is_centered: bool },
    /// Groups of channels of `area` numbers, left as they are where `is_scaled` is false.
    Groups { batch: u32, channels: u32, groups: u32, area: u32, is_shared: bool, is_scaled: bool },
}

impl NormShape {
    /// How many rows or groups there are; forward leaves four numbers of each.
    pub fn n_stats(self) -> u32 {
        match self {
            Self::Rows { runs, tokens, .. } => runs * tokens,
            Self::Groups { batch, groups, .. } => batch * groups,
        }
    }

    /// The partial sums of the gradients of gain and shift that the backward pass leaves.
    pub fn partials(self) -> Partials {
        match self {
            Self::Rows { runs, tokens, channels, .. } => Partials {
                n_segments: runs,
                n_partials: tokens.div_ceil(chunk_tokens(tokens)),
                n_sums: 4,
                columns: channels,
            },
            Self::Groups { batch, channels, is_shared, .. } => {
                let (n_segments, n_partials) = if is_shared { (1, batch) } else { (batch, 1) };
                Partials { n_segments, n_partials, n_sums: 4, columns: channels }
            }
        }
    }
}

/// Rows of a block of the backward pass over rows.
fn chunk_tokens(tokens: u32) -> u32 {
    tokens.div_ceil(1024).max(WARPS)
}

/// y and ẏ, and the four numbers of each row or group that the backward pass needs.
pub fn norm_forward<L: Launcher>(
    launcher: &mut L,
    activation: Option<&'static str>,
    shape: NormShape,
    (offset, eps): (f32, f64),
    inputs: &NormInputs<L::Pointer>,
    [y, stats]: [L::Pointer; 2],
    dy: Option<L::Pointer>,
) -> Result<(), L::Error> {
    let mut args = inputs.args();
    args.extend([Some(y), dy, Some(stats)].map(Arg::Pointer));
    match shape {
        NormShape::Rows { tokens, channels, is_centered, .. } => {
            let rows = shape.n_stats();
            args.extend([rows, tokens, channels, is_centered.into()].map(Arg::U32));
            args.extend([Arg::F32(offset), Arg::F64(eps)]);
            let kernel = Kernel::curved("layer_norm", "layer_norm_forward", activation);
            launcher.launch(kernel, config(rows.div_ceil(WARPS).into(), THREADS), &args)
        }
        NormShape::Groups { channels, groups, area, is_shared, is_scaled, .. } => {
            let flags = [is_shared.into(), is_scaled.into()];
            args.extend([channels, channels / groups, area].into_iter().chain(flags).map(Arg::U32));
            args.extend([Arg::F32(offset), Arg::F64(eps)]);
            let kernel = Kernel::curved("group_norm", "group_norm_forward", activation);
            launcher.launch(kernel, config(shape.n_stats().into(), THREADS), &args)
        }
    }
}

/// ȳ, and ẏ̄ if the output is stacked; and the outputs for the gradients of x and, with ẏ̄, of ẋ.
#[derive(Clone, Copy, Debug)]
pub struct NormGradients<P> {
    pub gy: P,
    pub gdy: Option<P>,
    pub gx: P,
    pub gdx: Option<P>,
}

/// The gradients of x and ẋ, and partial sums of the gradients of gain and shift.
pub fn norm_backward<L: Launcher>(
    launcher: &mut L,
    activation: Option<&'static str>,
    shape: NormShape,
    offset: f32,
    inputs: &NormInputs<L::Pointer>,
    gradients: NormGradients<L::Pointer>,
    [stats, partials]: [L::Pointer; 2],
) -> Result<(), L::Error> {
    let mut args = inputs.args();
    let NormGradients { gy, gdy, gx, gdx } = gradients;
    args.extend([Some(stats), Some(gy), gdy, Some(gx), gdx, Some(partials)].map(Arg::Pointer));
    match shape {
        NormShape::Rows { runs, tokens, channels, is_centered } => {
            args.extend([tokens, channels, is_centered.into()].map(Arg::U32));
            args.extend([Arg::F32(offset), Arg::U32(chunk_tokens(tokens))]);
            let blocks = u64::from(runs) * u64::from(shape.partials().n_partials);
            // Wide enough for a column or more a thread, and not wider: all of them meet twice a row.
            let block = (channels.div_ceil(3).div_ceil(32) * 32).clamp(32, THREADS);
            let config = Config { shared_bytes: 16 * channels, ..config(blocks, block) };
            launcher.launch(Kernel::curved("layer_norm", "layer_norm_backward", activation), config, &args)
        }
        NormShape::Groups { channels, groups, area, is_shared, is_scaled, .. } => {
            let flags = [is_shared.into(), is_scaled.into()];
            args.extend([channels, channels / groups, area].into_iter().chain(flags).map(Arg::U32));
            args.push(Arg::F32(offset));
            let kernel = Kernel::curved("group_norm", "group_norm_backward", activation);
            launcher.launch(kernel, config(shape.n_stats().into(), THREADS), &args)
        }
    }
}
