//! Benchmark tasks of simulation-based inference: a prior, a simulator and, if it is known, the exact posterior.
//!
//! θ ~ p(θ),  x ~ p(x | θ);  the task is p(θ | x) for an observed x
//!
//! Lueckmann, Boelts, Greenberg, Gonçalves, Macke 2021, arXiv:2101.04653, appendix T, and the package `sbibm`, whose
//! observations and reference posteriors belong to these definitions.

mod bernoulli_glm;
mod gaussian_linear;
mod gaussian_mixture;
mod lotka_volterra;
mod simulations;
mod sir;
mod slcp;
mod two_moons;

use std::fmt;

use flowmap_core::Noise;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use bernoulli_glm::BernoulliGlm;
pub use gaussian_linear::GaussianLinear;
pub use gaussian_mixture::GaussianMixture;
pub use lotka_volterra::LotkaVolterra;
pub use simulations::SimulationsConfig;
pub use sir::Sir;
pub use slcp::Slcp;
pub use two_moons::TwoMoons;

/// A prior, a simulator and, if it is known, the exact posterior.
///
/// ```
/// use flowmap_core::{NoiseStream, Stream};
/// use flowmap_data::task::{Task, TaskKind};
///
/// let task = TaskKind::TwoMoons.task();
/// let mut noise = NoiseStream::new(0, Stream::Data).at(0);
/// let theta = task.prior(&mut noise);
/// let x = task.simulate(&theta, &mut noise)?;
/// assert_eq!((theta.len(), x.len()), (2, 2));
/// let posterior = task.posterior().expect("known in closed form");
/// assert_eq!(posterior.draw(&x, &mut noise)?.len(), 2);
/// # Ok::<(), flowmap_data::Error>(())
/// ```
pub trait Task: fmt::Debug + Send + Sync {
    /// Number of parameters, the length of θ.
    fn n_parameters(&self) -> usize;

    /// Number of data, the length of x.
    fn n_data(&self) -> usize;

    /// One θ of the prior.
    fn prior(&self, noise: &mut Noise) -> Vec<f64>;

    /// One x of the simulator at `theta`.
    ///
    /// # Errors
    /// An error of the integrator, for tasks that solve a differential equation.
    fn simulate(&self, theta: &[f64], noise: &mut Noise) -> Result<Vec<f64>>;

    /// The exact posterior, if it is known in closed form.
    fn posterior(&self) -> Option<&dyn Posterior> {
        None
    }
}

/// A posterior p(θ | x) that can be drawn from exactly.
pub trait Posterior {
    /// One θ of the posterior of `x`.
    ///
    /// # Errors
    /// [`Error::NoPosterior`] for an x that no θ of the prior explains.
    fn draw(&self, x: &[f64], noise: &mut Noise) -> Result<Vec<f64>>;
}

/// The tasks by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskKind {
    /// [`TwoMoons`].
    #[default]
    TwoMoons,
    /// [`GaussianLinear`] with a Gaussian prior.
    GaussianLinear,
    /// [`GaussianLinear`] with a uniform prior.
    GaussianLinearUniform,
    /// [`GaussianMixture`].
    GaussianMixture,
    /// [`Slcp`].
    Slcp,
    /// [`BernoulliGlm`].
    BernoulliGlm,
    /// [`Sir`].
    Sir,
    /// [`LotkaVolterra`].
    LotkaVolterra,
}

impl TaskKind {
    /// All tasks.
    pub const ALL: [Self; 8] = [
        Self::TwoMoons,
        Self::GaussianLinear,
        Self::GaussianLinearUniform,
        Self::GaussianMixture,
        Self::Slcp,
        Self::BernoulliGlm,
        Self::Sir,
        Self::LotkaVolterra,
    ];

    /// The name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::TwoMoons => "two_moons",
            Self::GaussianLinear => "gaussian_linear",
            Self::GaussianLinearUniform => "gaussian_linear_uniform",
            Self::GaussianMixture => "gaussian_mixture",
            Self::Slcp => "slcp",
            Self::BernoulliGlm => "bernoulli_glm",
            Self::Sir => "sir",
            Self::LotkaVolterra => "lotka_volterra",
        }
    }

    /// The task.
    pub fn task(self) -> Box<dyn Task> {
        match self {
            Self::TwoMoons => Box::new(TwoMoons),
            Self::GaussianLinear => Box::new(GaussianLinear::GAUSSIAN),
            Self::GaussianLinearUniform => Box::new(GaussianLinear::UNIFORM),
            Self::GaussianMixture => Box::new(GaussianMixture),
            Self::Slcp => Box::new(Slcp),
            Self::BernoulliGlm => Box::new(BernoulliGlm::default()),
            Self::Sir => Box::new(Sir),
            Self::LotkaVolterra => Box::new(LotkaVolterra),
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Tries of a rejection sampler before it gives up.
const MOST_TRIES: usize = 1_000_000;

/// The first accepted θ of `propose`.
fn first_accepted(
    task: &'static str,
    mut propose: impl FnMut() -> Vec<f64>,
    accepts: impl Fn(&[f64]) -> bool,
) -> Result<Vec<f64>> {
    (0..MOST_TRIES)
        .map(|_| propose())
        .find(|theta| accepts(theta))
        .ok_or(Error::NoPosterior { task, n_tries: MOST_TRIES })
}

/// `n` numbers uniform between −`bound` and `bound`.
fn uniform_in_box(n: usize, bound: f64, noise: &mut Noise) -> Vec<f64> {
    (0..n).map(|_| bound * (2.0 * noise.uniform() - 1.0)).collect()
}

/// Whether all numbers are within `bound` of 0.
fn is_in_box(theta: &[f64], bound: f64) -> bool {
    theta.iter().all(|value| value.abs() <= bound)
}
