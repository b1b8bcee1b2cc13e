//! One training step: its report, and its numbers before they are read from the device.

use candle_core::Device;
use flowmap_dual::cuda::GradientNorm;
use flowmap_nn::loss::BinSums;
use flowmap_nn::{DeferredLosses, Losses};

use crate::Fault;

/// What a step did.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The number of steps done, this one included.
    pub step: u64,
    /// The number of samples seen, this step's included.
    pub samples: u64,
    /// The loss.
    pub loss: f64,
    /// The mean loss of each objective, unweighted; `None` for an objective without rows.
    pub terms: Vec<Option<f64>>,
    /// The global gradient norm before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub lr: f64,
    /// The losses and tangents of each objective by their times, unweighted.
    pub bins: Vec<BinSums>,
    /// What was not finite in loss or gradient; the parameters did not move then.
    pub fault: Option<Fault>,
    /// How many steps of the run were like that so far.
    pub n_bad: u64,
    /// Seconds that the step waited for a batch: its own, made at once, or the next one, made in the background.
    ///
    /// On an asynchronous device the wait starts when all work of the step is queued.
    pub data_wait_s: f64,
}

impl StepReport {
    /// Whether loss and gradient were finite.
    pub fn is_finite(&self) -> bool {
        self.fault.is_none()
    }
}

/// When the numbers of a step are read from the device that computed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// In the step, which on a device waits until all of it is computed; a bad gradient is named by its parameter.
    EachStep,
    /// At steps that are logged or saved, the numbers of all steps since the last reading: a device never waits in
    /// between. A bad step still changes nothing, but is counted later.
    AtLogPoints,
}

impl Reads {
    /// What suits a device: a CPU has nothing to wait for.
    pub fn on(device: &Device) -> Self {
        if device.is_cpu() { Self::EachStep } else { Self::AtLogPoints }
    }
}

/// A step of [`crate::Trainer::advance`], for [`crate::Trainer::report`].
#[derive(Debug)]
pub struct UnreadStep {
    pub(crate) step: u64,
    pub(crate) samples: u64,
    pub(crate) lr: f64,
    pub(crate) norm: GradientNorm,
    pub(crate) numbers: Numbers,
    pub(crate) data_wait_s: f64,
}

/// The losses of a step.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// Where they were computed.
    Unread(DeferredLosses),
    /// On the host, and what was wrong with them or the gradient.
    Read { losses: Losses, fault: Option<Fault> },
}
