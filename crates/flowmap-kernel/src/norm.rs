//! Normalization, modulation and activation as one operation, with its tangent and its backward pass.
//!
//! With ⟨·⟩ the mean over what is normalized together (a row of LayerNorm, a group of GroupNorm),
//! c = x − ⟨x⟩ (c = x for RMSNorm), g the gain and h the shift:
//! r = 1/√(⟨c²⟩ + eps),  n = r c,  z = g n + h,  y = f(z)                     (1)
//! m = ⟨n ċ⟩,  ṅ = r (ċ − m n),  ż = g ṅ + ġ n + ḣ,  ẏ = f'(z) ż              (2)
//!
//! backward, with ȳ and ẏ̄ the gradients of y and ẏ:
//! z̄ = f'(z) ȳ + f''(z) ż ẏ̄,  ż̄ = f'(z) ẏ̄                                   (3)
//! ḡ = Σ n z̄ + ṅ ż̄,  h̄ = Σ z̄,  the gradient of ġ is Σ n ż̄, that of ḣ is Σ ż̄    (4)
//! a = g z̄ + ġ ż̄,  b = g ż̄,  s = ⟨n b⟩                                        (5)
//! ẋ̄ = r (b − ⟨b⟩ − s n)                                                     (6)
//! x̄ = r (a − ⟨a⟩ − ⟨n a⟩ n) − r² (s ċ + m (b − ⟨b⟩) + (⟨b ċ⟩ − 3 m s) n)     (7)
//!
//! without ⟨a⟩ and ⟨b⟩ for RMSNorm. (2) and (6) are ṅ = J ẋ and ẋ̄ = J b with the symmetric Jacobian
//! J u = r (u − ⟨u⟩ − ⟨n u⟩ n); (7) is J a and the derivative of b · J(x) ẋ by dr = −r² ⟨n dx⟩ and dn = J dx.
//!
//! Backward recomputes n and z from x and four numbers for each row or group, which forward saves.
//! f32 on the CPU and on CUDA devices (`cuda/norm.rs`); sums on the CPU in f32 over blocks of 2048 terms in 16 or 32 lanes, beyond that in f64.

pub(crate) mod group_norm;
pub(crate) mod layer_norm;
pub(crate) mod magnitude;
mod operation;

use std::marker::PhantomData;
use std::sync::OnceLock;

use candle_core::Result;
#[cfg(feature = "cuda")]
use candle_core::Tensor;
use group_norm::Groups;
use layer_norm::{Center, Rows};

use crate::Activation;
use crate::lanes::dispatch::{Kernel, dispatch};
use crate::lanes::reduce::{WIDE, sums};
use crate::memory::slices::{Pair, Parts};
use crate::pointwise::curve::{Curve, Identity, WithCurve, with_curve};

/// Numbers in a chunk, about: enough to outweigh a task of the thread pool.
pub(crate) const CHUNK: usize = 16 * 1024;

/// What is normalized together.
#[derive(Clone, Copy, Debug)]
pub enum Geometry {
    /// LayerNorm and RMSNorm.
    Rows(Rows),
    /// GroupNorm.
    Groups(Groups),
}

impl Geometry {
    /// Numbers of x, and of the gain.
    fn lens(self) -> (usize, usize) {
        match self {
            Self::Rows(rows) => (rows.len(), rows.gain_len()),
            Self::Groups(groups) => (groups.len(), groups.gain_len()),
        }
    }
}

/// Where the gain counts from.
#[derive(Clone, Copy, Debug)]
pub enum Gain {
    /// g is the second input.
    Whole,
    /// g is one more than the second input: a scale of zero changes nothing.
    OnePlus,
}

impl Gain {
    /// What is added to the input.
    pub(crate) fn offset(self) -> f32 {
        match self {
            Self::Whole => 0.0,
            Self::OnePlus => 1.0,
        }
    }
}

/// The operation; inputs are x, gain g and shift h, each plain or stacked.
pub struct Norm {
    geometry: Geometry,
    eps: f64,
    gain: Gain,
    activation: Option<Activation>,
    parts: [Parts; 3],
    /// For the backward pass.
    stats: OnceLock<Vec<Stats>>,
    /// The operation on a CUDA device.
    #[cfg(feature = "cuda")]
    on_device: OnceLock<Tensor>,
}

impl Norm {
    /// A normalization of inputs that come in `parts`.
    pub fn new(
        geometry: Geometry,
        eps: f64,
        gain: Gain,
        activation: Option<Activation>,
        parts: [Parts; 3],
    ) -> Self {
        Self {
            geometry,
            eps,
            gain,
            activation,
            parts,
            stats: OnceLock::new(),
            #[cfg(feature = "cuda")]
            on_device: OnceLock::new(),
        }
    }

    /// What the kernels of a CUDA device need to know.
    #[cfg(feature = "cuda")]
    fn plan(&self) -> crate::cuda::norm::Plan {
        crate::cuda::norm::Plan {
            geometry: self.geometry,
            offset: self.gain.offset(),
            eps: self.eps,
            activation: self.activation,
            parts: self.parts,
            output: self.output(),
            lens: self.geometry.lens(),
        }
    }

    /// The output has a tangent where any input has one.
    fn output(&self) -> Parts {
        let [x, gain, shift] = self.parts;
        x.or(gain).or(shift)
    }

    fn inputs<'a>(&self, x: &'a [f32], gain: &'a [f32], shift: &'a [f32]) -> Result<Inputs<'a>> {
        let (len, gain_len) = self.geometry.lens();
        let [x_parts, gain_parts, shift_parts] = self.parts;
        Ok(Inputs {
            x: Pair::new(x, x_parts, len)?,
            gain: Pair::new(gain, gain_parts, gain_len)?,
            shift: Pair::new(shift, shift_parts, gain_len)?,
            offset: self.gain.offset(),
            eps: self.eps,
            activation: self.activation,
            output: self.output(),
        })
    }
}

/// What the loops over rows and groups work on.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) x: Pair<'a>,
    pub(crate) gain: Pair<'a>,
    pub(crate) shift: Pair<'a>,
    /// Added to the gain.
    pub(crate) offset: f32,
    pub(crate) eps: f64,
    pub(crate) activation: Option<Activation>,
    pub(crate) output: Parts,
}

/// What backward needs of a row or a group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    /// ⟨x⟩, or zero for RMSNorm.
    pub(crate) mean: f32,
    /// r
    pub(crate) inverse: f32,
    /// ⟨ẋ⟩, or zero for RMSNorm.
    pub(crate) tangent_mean: f32,
    /// m = ⟨n ċ⟩
    pub(crate) slope: f32,
}

impl Stats {
    /// The statistics of a group that is not normalized: n = x.
    pub(crate) const UNSCALED: Self = Self { mean: 0.0, inverse: 1.0, tangent_mean: 0.0, slope: 0.0 };

    /// (1)
    #[inline(always)]
    pub(crate) fn plain(x: &[f32], center: Center, eps: f64) -> Self {
        let len = x.len() as f64;
        let mean = match center {
            Center::Mean => (sums::<WIDE, _, _>([x], |[x]| [x])[0] / len) as f32,
            Center::Origin => 0.0,
        };
        let [squares] = sums::<WIDE, _, _>([x], |[x]| [(x - mean) * (x - mean)]);
        let inverse = 1.0 / (squares / len + eps).sqrt();
        Self { mean, inverse: inverse as f32, tangent_mean: 0.0, slope: 0.0 }
    }

    /// (1) and (2)
    #[inline(always)]
    pub(crate) fn dual(x: &[f32], dx: &[f32], center: Center, eps: f64) -> Self {
        let len = x.len() as f64;
        let [mean, tangent_mean] = match center {
            Center::Mean => sums::<WIDE, _, _>([x, dx], |terms| terms).map(|sum| (sum / len) as f32),
            Center::Origin => [0.0, 0.0],
        };
        let [squares, products] = sums::<WIDE, _, _>([x, dx], |[x, dx]| {
            let (c, dc) = (x - mean, dx - tangent_mean);
            [c * c, c * dc]
        });
        let inverse = 1.0 / (squares / len + eps).sqrt();
        Self { mean, inverse: inverse as f32, tangent_mean, slope: (inverse * products / len) as f32 }
    }
}

/// Gradients of x, gain and shift, each stacked where its input is.
pub(crate) struct Gradients {
    pub(crate) x: Vec<f32>,
    pub(crate) gain: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

/// The sums (4) of one channel or, in rows, the places of their rows.
pub(crate) const N_SUMS: usize = 4;
/// Where ḡ, h̄ and the gradients of ġ and ḣ are.
pub(crate) const GAIN: usize = 0;
pub(crate) const SHIFT: usize = 1;
pub(crate) const TANGENT_GAIN: usize = 2;
pub(crate) const TANGENT_SHIFT: usize = 3;

/// The gradient of gain or shift `(runs, C)`: for each run the sum of `n_partials` partial ones, in their order.
pub(crate) fn total(
    runs: usize,
    n_partials: usize,
    channels: usize,
    partial: impl Fn(usize, usize) -> f32,
) -> Vec<f32> {
    let mut totals = Vec::with_capacity(runs * channels);
    let mut sums = vec![0f64; channels];
    for run in 0..runs {
        sums.fill(0.0);
        for i in run * n_partials..(run + 1) * n_partials {
            sums.iter_mut().enumerate().for_each(|(channel, sum)| *sum += f64::from(partial(i, channel)));
        }
        totals.extend(sums.iter().map(|&sum| sum as f32));
    }
    totals
}

/// Runs `task` with the curve of `activation`, or without one, on the widest vectors.
pub(crate) fn run(activation: Option<Activation>, task: impl WithCurve) {
    match activation {
        Some(activation) => with_curve(activation, Dispatched(task)),
        None => Dispatched(task).run::<Identity>(),
    }
}

/// A task that runs on the widest vectors.
struct Dispatched<T>(T);

impl<T: WithCurve> WithCurve for Dispatched<T> {
    fn run<F: Curve>(self) {
        dispatch(Curved::<T, F>(self.0, PhantomData));
    }
}

/// A task with its curve.
struct Curved<T, F>(T, PhantomData<F>);

impl<T: WithCurve, F: Curve> Kernel for Curved<T, F> {
    #[inline(always)]
    fn run(self) {
        self.0.run::<F>();
    }
}
