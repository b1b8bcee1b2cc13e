//! GroupNorm of `(B, C, ...)`: the loops of the equations of [`norm`](crate::norm).
//!
//! The channels of a group lie one after the other, so that a group is one slice, and within a channel
//! gain and shift are two numbers: all sums of the backward pass are made of five sums for each channel,
//! Σ z̄, Σ n z̄, Σ ż̄, Σ n ż̄ and Σ ċ ż̄.
//! Cost: forward reads a group from memory once and writes it once, the further passes find it in the cache;
//! backward likewise.

mod backward;

use rayon::prelude::*;

use super::layer_norm::Center;
use super::{CHUNK, Inputs, Stats, run};
use crate::memory::slices::Parts;
use crate::memory::uninit::written;
use crate::pointwise::curve::{Curve, WithCurve};

pub(crate) use backward::backward;

/// Groups of channels of samples `(B, C, ...)`.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// B
    pub batch: usize,
    /// C
    pub channels: usize,
    /// Groups of a sample.
    pub groups: usize,
    /// Numbers of a channel of a sample.
    pub area: usize,
    /// Whether a sample has gains of its own or shares them.
    pub gains: Gains,
    /// Whether groups are normalized at all.
    pub scaled: Scaled,
}

/// What n is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// (x − ⟨x⟩) r, by equation (1) of `norm`.
    ToUnit,
    /// x itself, for modulation and activation alone.
    No,
}

/// Whose gain and shift it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gains {
    /// `(C,)`, for all samples.
    Shared,
    /// `(B, C)`
    PerSample,
}

impl Groups {
    pub(crate) fn len(&self) -> usize {
        self.batch * self.channels * self.area
    }

    pub(crate) fn gain_len(&self) -> usize {
        match self.gains {
            Gains::Shared => self.channels,
            Gains::PerSample => self.batch * self.channels,
        }
    }

    /// Channels of a group.
    fn depth(&self) -> usize {
        self.channels / self.groups
    }

    /// Groups that one task takes.
    fn chunk(&self) -> usize {
        (CHUNK / (self.depth() * self.area).max(1)).max(1)
    }

    /// Where the gain of a channel is, channels being counted over all samples.
    #[inline(always)]
    fn gain_of(&self, channel: usize) -> usize {
        match self.gains {
            Gains::Shared => channel % self.channels,
            Gains::PerSample => channel,
        }
    }
}

/// (1) and, where the output is stacked, (2) below.
pub(crate) fn forward(groups: Groups, inputs: Inputs<'_>) -> (Vec<f32>, Vec<Stats>) {
    let (len, chunk) = (groups.len(), groups.chunk());
    let mut stats = vec![Stats::default(); groups.batch * groups.groups];
    if len == 0 {
        return (Vec::new(), stats);
    }
    let zeros = vec![0f32; groups.depth() * groups.area];
    let piece = chunk * zeros.len();
    let y = written(len * inputs.output.count(), |y| {
        let (y, dy) = y.split_at(len);
        let stats = stats.par_chunks_mut(chunk);
        let outputs = y.pieces(len, piece).into_par_iter().zip(stats).enumerate();
        let zeros = &zeros[..];
        match inputs.output {
            Parts::Plain => outputs.for_each(|(i, (y, stats))| {
                let y = y.clear();
                run(inputs.activation, Forward { groups, inputs, first: i * chunk, y, stats });
            }),
            Parts::Stacked => outputs.zip(dy.pieces(len, piece)).for_each(|((i, (y, stats)), dy)| {
                let (y, dy) = (y.clear(), dy.clear());
                let task = DualForward { groups, inputs, first: i * chunk, zeros, y, dy, stats };
                run(inputs.activation, task);
            }),
        }
    });
    (y, stats)
}

/// (1) for groups from `first` on.
struct Forward<'a> {
    groups: Groups,
    inputs: Inputs<'a>,
    first: usize,
    y: &'a mut [f32],
    stats: &'a mut [Stats],
}

impl WithCurve for Forward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let Self { groups, inputs, .. } = self;
        let (depth, area) = (groups.depth(), groups.area);
        for (i, (y, stats)) in self.y.chunks_exact_mut(depth * area).zip(self.stats).enumerate() {
            let group = self.first + i;
            let x = &inputs.x.primal[group * depth * area..][..depth * area];
            *stats = match groups.scaled {
                Scaled::ToUnit => Stats::plain(x, Center::Mean, inputs.eps),
                Scaled::No => Stats::UNSCALED,
            };
            for (d, (y, x)) in y.chunks_exact_mut(area).zip(x.chunks_exact(area)).enumerate() {
                let gain = groups.gain_of(group * depth + d);
                let slope = stats.inverse * (inputs.offset + inputs.gain.primal[gain]);
                let (mean, shift) = (stats.mean, inputs.shift.primal[gain]);
                for (y, x) in y.iter_mut().zip(x) {
                    *y = F::at((x - mean) * slope + shift).0;
                }
            }
        }
    }
}

/// Gain and shift of a channel, with their tangents.
#[derive(Clone, Copy)]
struct Channel {
    gain: f32,
    dgain: f32,
    shift: f32,
    dshift: f32,
}

impl Channel {
    #[inline(always)]
    fn new(groups: &Groups, inputs: &Inputs<'_>, channel: usize) -> Self {
        let i = groups.gain_of(channel);
        let ((gain, dgain), (shift, dshift)) = (inputs.gain.at(i), inputs.shift.at(i));
        Self { gain: inputs.offset + gain, dgain, shift, dshift }
    }
}

/// (1) and (2) for groups from `first` on.
struct DualForward<'a> {
    groups: Groups,
    inputs: Inputs<'a>,
    first: usize,
    zeros: &'a [f32],
    y: &'a mut [f32],
    dy: &'a mut [f32],
    stats: &'a mut [Stats],
}

impl WithCurve for DualForward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let Self { groups, inputs, .. } = self;
        let (depth, area) = (groups.depth(), groups.area);
        let len = depth * area;
        let outputs = self.y.chunks_exact_mut(len).zip(self.dy.chunks_exact_mut(len));
        for (i, ((y, dy), stats)) in outputs.zip(self.stats).enumerate() {
            let group = self.first + i;
            let (x, dx) = inputs.x.row(group * len, len, self.zeros);
            *stats = match groups.scaled {
                Scaled::ToUnit => Stats::dual(x, dx, Center::Mean, inputs.eps),
                Scaled::No => Stats::UNSCALED,
            };
            let outputs = y.chunks_exact_mut(area).zip(dy.chunks_exact_mut(area));
            let channels = outputs.zip(x.chunks_exact(area).zip(dx.chunks_exact(area)));
            for (d, ((y, dy), (x, dx))) in channels.enumerate() {
                let channel = Channel::new(&groups, &inputs, group * depth + d);
                dual_forward_channel::<F>(x, dx, channel, *stats, y, dy);
            }
        }
    }
}

#[inline(always)]
fn dual_forward_channel<F: Curve>(
    x: &[f32],
    dx: &[f32],
    channel: Channel,
    stats: Stats,
    y: &mut [f32],
    dy: &mut [f32],
) {
    let Stats { mean, inverse, tangent_mean, slope } = stats;
    let Channel { gain, dgain, shift, dshift } = channel;
    for ((y, dy), (x, dx)) in y.iter_mut().zip(dy).zip(x.iter().zip(dx)) {
        let n = (x - mean) * inverse;
        let dn = ((dx - tangent_mean) - slope * n) * inverse;
        let (f, f1, _) = F::at(n * gain + shift);
        *y = f;
        *dy = f1 * (dn * gain + n * dgain + dshift);
    }
}
