//! The backward pass of GroupNorm: equations (3) to (7) of [`norm`](crate::norm).

use rayon::prelude::*;

use super::{Channel, Gains, Groups, Scaled};
use crate::lanes::reduce::{NARROW, WIDE, sums};
use crate::memory::slices::{Pair, Parts};
use crate::memory::uninit::written;
use crate::norm::{GAIN, Gradients, Inputs, N_SUMS, SHIFT, Stats, TANGENT_GAIN, TANGENT_SHIFT, run, total};
use crate::pointwise::curve::{Curve, WithCurve};

/// (3) to (7).
pub(crate) fn backward(groups: Groups, inputs: Inputs<'_>, stats: &[Stats], gy: Pair<'_>) -> Gradients {
    let (len, chunk, depth) = (groups.len(), groups.chunk(), groups.depth());
    let mut partials = vec![[0f32; N_SUMS]; groups.batch * groups.channels];
    let zeros = vec![0f32; depth * groups.area];
    let piece = chunk * zeros.len();
    let x = if len == 0 {
        Vec::new()
    } else {
        written(len * inputs.x.count(), |gx| {
            let (gx, gdx) = gx.split_at(len);
            let partials = partials.par_chunks_mut(chunk * depth);
            let outputs = gx.pieces(len, piece).into_par_iter().zip(partials).enumerate();
            let zeros = &zeros[..];
            let dual = |i: usize, gx: &mut [f32], gdx: &mut [f32], partials: &mut [[f32; N_SUMS]]| {
                let first = i * chunk;
                let task = DualBackward { groups, inputs, first, zeros, stats, gy, gx, gdx, partials };
                run(inputs.activation, task);
            };
            match (inputs.output, inputs.x.tangent) {
                (Parts::Plain, _) => outputs.for_each(|(i, (gx, partials))| {
                    let (first, gx) = (i * chunk, gx.clear());
                    let gy = gy.primal;
                    run(inputs.activation, Backward { groups, inputs, first, stats, gy, gx, partials });
                }),
                (Parts::Stacked, Some(_)) => {
                    outputs.zip(gdx.pieces(len, piece)).for_each(|((i, (gx, partials)), gdx)| {
                        dual(i, gx.clear(), gdx.clear(), partials);
                    });
                }
                // A constant x takes no gradient of its tangent, but the loop needs a place for it.
                (Parts::Stacked, None) => outputs.for_each(|(i, (gx, partials))| {
                    let gx = gx.clear();
                    let mut gdx = vec![0f32; gx.len()];
                    dual(i, gx, &mut gdx, partials);
                }),
            }
        })
    };
    let (runs, n_partials) = match groups.gains {
        Gains::Shared => (1, groups.batch),
        Gains::PerSample => (groups.batch, 1),
    };
    let gathered = |which: usize| {
        let partial = |sample: usize, channel: usize| partials[sample * groups.channels + channel][which];
        total(runs, n_partials, groups.channels, partial)
    };
    let pair = |input: Pair<'_>, primal: usize, tangent: usize| {
        let mut gradient = gathered(primal);
        if input.tangent.is_some() {
            gradient.extend(gathered(tangent));
        }
        gradient
    };
    let (gain, shift) = (pair(inputs.gain, GAIN, TANGENT_GAIN), pair(inputs.shift, SHIFT, TANGENT_SHIFT));
    Gradients { x, gain, shift }
}

/// (3) to (7) for groups from `first` on.
struct Backward<'a> {
    groups: Groups,
    inputs: Inputs<'a>,
    first: usize,
    stats: &'a [Stats],
    gy: &'a [f32],
    gx: &'a mut [f32],
    partials: &'a mut [[f32; N_SUMS]],
}

impl WithCurve for Backward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let Self { groups, inputs, .. } = self;
        let (depth, area) = (groups.depth(), groups.area);
        let len = depth * area;
        let outputs = self.gx.chunks_exact_mut(len).zip(self.partials.chunks_exact_mut(depth));
        for (i, (gx, partials)) in outputs.enumerate() {
            let group = self.first + i;
            let Stats { mean, inverse, .. } = self.stats[group];
            let (x, gy) = (&inputs.x.primal[group * len..][..len], &self.gy[group * len..][..len]);
            let gain = |d: usize| inputs.offset + inputs.gain.primal[groups.gain_of(group * depth + d)];
            let (mut a, mut n_a) = (0f64, 0f64);
            let inputs_of = x.chunks_exact(area).zip(gy.chunks_exact(area));
            let channels = gx.chunks_exact_mut(area).zip(inputs_of).zip(partials);
            for (d, ((gz, (x, gy)), partials)) in channels.enumerate() {
                let (gain, shift) = (gain(d), inputs.shift.primal[groups.gain_of(group * depth + d)]);
                let slope = inverse * gain;
                for ((gz, x), gy) in gz.iter_mut().zip(x).zip(gy) {
                    *gz = F::at((x - mean) * slope + shift).1 * gy; // (3)
                }
                let [sum, product] = sums::<WIDE, _, _>([x, &*gz], |[x, gz]| [gz, (x - mean) * gz]);
                let product = product * f64::from(inverse);
                (partials[SHIFT], partials[GAIN]) = (sum as f32, product as f32); // (4)
                a += sum * f64::from(gain);
                n_a += product * f64::from(gain);
            }
            let (a, n_a) = match groups.scaled {
                Scaled::ToUnit => ((a / len as f64) as f32, (n_a / len as f64) as f32),
                Scaled::No => (0.0, 0.0),
            };
            for (d, (gx, x)) in gx.chunks_exact_mut(area).zip(x.chunks_exact(area)).enumerate() {
                let gain = gain(d);
                for (gx, x) in gx.iter_mut().zip(x) {
                    *gx = inverse * (gain * *gx - a - n_a * ((x - mean) * inverse)); // (7)
                }
            }
        }
    }
}

/// (3) to (7) for groups from `first` on.
struct DualBackward<'a> {
    groups: Groups,
    inputs: Inputs<'a>,
    first: usize,
    zeros: &'a [f32],
    stats: &'a [Stats],
    gy: Pair<'a>,
    gx: &'a mut [f32],
    gdx: &'a mut [f32],
    partials: &'a mut [[f32; N_SUMS]],
}

impl WithCurve for DualBackward<'_> {
    #[inline(always)]
    fn run<F: Curve>(self) {
        let Self { groups, inputs, .. } = self;
        let (depth, area) = (groups.depth(), groups.area);
        let len = depth * area;
        let outputs = self.gx.chunks_exact_mut(len).zip(self.gdx.chunks_exact_mut(len));
        let outputs = outputs.zip(self.partials.chunks_exact_mut(depth));
        for (i, ((gx, gdx), partials)) in outputs.enumerate() {
            let group = self.first + i;
            let stats = self.stats[group];
            let (x, dx) = inputs.x.row(group * len, len, self.zeros);
            let (gy, gdy) = self.gy.row(group * len, len, self.zeros);
            let mut means = Means::default();
            for (d, partials) in partials.iter_mut().enumerate() {
                let at = d * area..(d + 1) * area;
                let channel = Channel::new(&groups, &inputs, group * depth + d);
                let (gz, gdz) = (&mut gx[at.clone()], &mut gdx[at.clone()]);
                let (x, dx) = (&x[at.clone()], &dx[at.clone()]);
                dual_backward_channel::<F>((x, dx), channel, stats, (&gy[at.clone()], &gdy[at]), gz, gdz);
                means.add(channel_sums(x, dx, gz, gdz, stats), channel, stats, partials);
            }
            let means = match groups.scaled {
                Scaled::ToUnit => means.over(len),
                Scaled::No => Means::default(),
            };
            for d in 0..depth {
                let at = d * area..(d + 1) * area;
                let channel = Channel::new(&groups, &inputs, group * depth + d);
                let (gx, gdx) = (&mut gx[at.clone()], &mut gdx[at.clone()]);
                means.finish(&x[at.clone()], &dx[at], channel, stats, gx, gdx);
            }
        }
    }
}

/// (3)
#[inline(always)]
fn dual_backward_channel<F: Curve>(
    (x, dx): (&[f32], &[f32]),
    channel: Channel,
    stats: Stats,
    (gy, gdy): (&[f32], &[f32]),
    gz: &mut [f32],
    gdz: &mut [f32],
) {
    let Stats { mean, inverse, tangent_mean, slope } = stats;
    let Channel { gain, dgain, shift, dshift } = channel;
    let inputs = x.iter().zip(dx).zip(gy.iter().zip(gdy));
    for ((gz, gdz), ((x, dx), (gy, gdy))) in gz.iter_mut().zip(gdz).zip(inputs) {
        let n = (x - mean) * inverse;
        let dn = ((dx - tangent_mean) - slope * n) * inverse;
        let (_, f1, f2) = F::at(n * gain + shift);
        *gz = f1 * gy + f2 * (dn * gain + n * dgain + dshift) * gdy;
        *gdz = f1 * gdy;
    }
}

/// Σ z̄, Σ n z̄, Σ ż̄, Σ n ż̄ and Σ ċ ż̄ of a channel.
#[inline(always)]
fn channel_sums(x: &[f32], dx: &[f32], gz: &[f32], gdz: &[f32], stats: Stats) -> [f64; 5] {
    let Stats { mean, inverse, tangent_mean, .. } = stats;
    sums::<NARROW, _, _>([x, dx, gz, gdz], |[x, dx, gz, gdz]| {
        let n = (x - mean) * inverse;
        [gz, n * gz, gdz, n * gdz, (dx - tangent_mean) * gdz]
    })
}

/// ⟨a⟩, ⟨n a⟩, ⟨b⟩, s = ⟨n b⟩ and ⟨b ċ⟩ of a group.
#[derive(Clone, Copy, Default)]
struct Means {
    a: f64,
    n_a: f64,
    b: f64,
    n_b: f64,
    b_dc: f64,
}

impl Means {
    /// Adds the part of a channel by (5), and puts its gradients (4) into `partials`.
    #[inline(always)]
    fn add(&mut self, sums: [f64; 5], channel: Channel, stats: Stats, partials: &mut [f32; N_SUMS]) {
        let [gz, n_gz, gdz, n_gdz, dc_gdz] = sums;
        let dn_gdz = f64::from(stats.inverse) * (dc_gdz - f64::from(stats.slope) * n_gdz);
        partials[GAIN] = (n_gz + dn_gdz) as f32;
        partials[SHIFT] = gz as f32;
        partials[TANGENT_GAIN] = n_gdz as f32;
        partials[TANGENT_SHIFT] = gdz as f32;
        let (gain, dgain) = (f64::from(channel.gain), f64::from(channel.dgain));
        self.a += gain * gz + dgain * gdz;
        self.n_a += gain * n_gz + dgain * n_gdz;
        self.b += gain * gdz;
        self.n_b += gain * n_gdz;
        self.b_dc += gain * dc_gdz;
    }

    fn over(self, len: usize) -> Self {
        let len = len as f64;
        let Self { a, n_a, b, n_b, b_dc } = self;
        Self { a: a / len, n_a: n_a / len, b: b / len, n_b: n_b / len, b_dc: b_dc / len }
    }

    /// (6) and (7), from z̄ and ż̄ to the gradients of x and ẋ in one channel.
    #[inline(always)]
    fn finish(self, x: &[f32], dx: &[f32], channel: Channel, stats: Stats, gx: &mut [f32], gdx: &mut [f32]) {
        let Stats { mean, inverse, tangent_mean, slope } = stats;
        let Channel { gain, dgain, .. } = channel;
        let n_factor = self.n_a + f64::from(inverse) * (self.b_dc - 3.0 * f64::from(slope) * self.n_b);
        let (mean_a, n_factor, mean_b, n_b) =
            (self.a as f32, n_factor as f32, self.b as f32, self.n_b as f32);
        for ((gx, gdx), (x, dx)) in gx.iter_mut().zip(gdx).zip(x.iter().zip(dx)) {
            let (n, dc) = ((x - mean) * inverse, dx - tangent_mean);
            let (a, b) = (gain * *gx + dgain * *gdx - mean_a, gain * *gdx - mean_b);
            *gdx = inverse * (b - n_b * n);
            *gx = inverse * (a - n_factor * n - inverse * (n_b * dc + slope * b));
        }
    }
}
