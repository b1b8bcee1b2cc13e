//! The launches of `optimizer.cu`.

use super::{Arg, Kernel, Launcher, MAX_AVERAGES, THREADS, config, striding};

/// Partial sums of squares that a gradient of `n` numbers leaves.
pub fn n_square_sums(n: usize) -> u32 {
    u32::try_from(n.div_ceil(16 * THREADS as usize)).unwrap_or(u32::MAX).min(512)
}

/// Σ g² in [`n_square_sums`] parts of f64, from `partials` on.
pub fn square_sums<L: Launcher>(
    launcher: &mut L,
    n: usize,
    gradient: L::Pointer,
    partials: L::Pointer,
) -> Result<(), L::Error> {
    launcher.launch(
        Kernel::plain("optimizer", "square_sums"),
        config(n_square_sums(n).into(), THREADS),
        &[Arg::Pointer(Some(gradient)), Arg::Pointer(Some(partials)), Arg::U64(n as u64)],
    )
}

/// The norm and the factor that clips it to `max_norm`, from the parts of its square.
pub fn clip<L: Launcher>(
    launcher: &mut L,
    n_partials: u32,
    max_norm: Option<f64>,
    partials: L::Pointer,
    norm: L::Pointer,
) -> Result<(), L::Error> {
    launcher.launch(
        Kernel::plain("optimizer", "clip"),
        config(1, THREADS),
        &[
            Arg::Pointer(Some(partials)),
            Arg::Pointer(Some(norm)),
            Arg::U32(n_partials),
            Arg::F64(max_norm.unwrap_or(0.0)),
        ],
    )
}

/// The constants of one step of Adam.
///
/// m ← β₁ m + (1 − β₁) c g,  v ← β₂ v + (1 − β₂) (c g)²
/// θ ← keep θ − rate m / (√v / root + eps),  or  θ ← keep θ − rate m
#[derive(Clone, Copy, Debug)]
pub struct AdamRule {
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// c, a factor of the gradient in addition to the factor of clipping.
    pub gradient_scale: f64,
    /// rate.
    pub rate: f64,
    /// root, `None` for a step without the second moment.
    pub root: Option<f64>,
    /// eps.
    pub eps: f64,
    /// keep, one minus what decays.
    pub keep: f64,
}

/// A step of `n` parameters, their moments and at most [`MAX_AVERAGES`] averages with their decays.
///
/// `numbers` are the parameters, the two moments and the gradient; `norm` is what [`clip`] wrote.
pub fn adam_step<L: Launcher>(
    launcher: &mut L,
    rule: AdamRule,
    n: usize,
    numbers: [L::Pointer; 4],
    norm: Option<L::Pointer>,
    averages: &[(L::Pointer, f64)],
) -> Result<(), L::Error> {
    let is_aligned = numbers.iter().chain(averages.iter().map(|(average, _)| average));
    let n_vectors = if is_aligned.copied().all(|p| launcher.is_aligned(p)) { n as u64 / 4 } else { 0 };
    let mut args: Vec<Arg<L::Pointer>> = numbers.map(|p| Arg::Pointer(Some(p))).to_vec();
    args.push(Arg::Pointer(norm));
    args.extend((0..MAX_AVERAGES).map(|i| Arg::Pointer(averages.get(i).map(|(average, _)| *average))));
    args.extend([Arg::U64(n as u64), Arg::U64(n_vectors)]);
    let inverse_root = rule.root.map_or(0.0, f64::recip);
    let constants = [
        rule.beta1,
        1.0 - rule.beta1,
        rule.beta2,
        1.0 - rule.beta2,
        rule.rate,
        inverse_root,
        rule.eps,
        rule.keep,
        rule.gradient_scale,
    ];
    args.extend(constants.map(|c| Arg::F32(c as f32)));
    for i in 0..MAX_AVERAGES {
        let decay = averages.get(i).map_or(0.0, |(_, decay)| *decay);
        args.extend([Arg::F32(decay as f32), Arg::F32((1.0 - decay) as f32)]);
    }
    launcher.launch(
        Kernel::plain("optimizer", "adam_step"),
        striding(if n_vectors > 0 { n_vectors } else { n as u64 }),
        &args,
    )
}
