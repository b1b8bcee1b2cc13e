//! The training loop.
//!
//! Step k depends on the seed, on samples k B to (k + 1) B − 1 of the noise, data and times streams, and on nothing
//! else: a run that is interrupted and resumed gives the same bits.

mod build;

use std::time::Instant;

use candle_core::Device;
use flowmap_data::{DataSet, Warning};
use flowmap_dual::cuda::GradientNorm;
use flowmap_nn::loss::Combination;
use flowmap_nn::optim::{Optimizer, gradient_norm};
use flowmap_nn::{AverageVelocity, Ema, Losses, OwnedBatch, Params, StepKey, loss_and_gradient};

use crate::batches::Batches;
use crate::model::FORMAT_VERSION;
use crate::step::{Numbers, UnreadStep};
use crate::{
    Checkpoint, Config, DataPrint, Fault, ModelConfig, Reads, Result, State, StepReport, term_names,
};

/// A run in memory: network, optimizer, averages and position.
pub struct Trainer {
    config: Config,
    model_config: ModelConfig,
    data: Box<dyn DataSet>,
    print: DataPrint,
    /// By what the teacher is known again.
    taught_by: Option<String>,
    objective: Combination,
    net: Box<dyn AverageVelocity>,
    /// The network with the present parameters, or their average, off the tape, for terms that stop the gradient.
    frozen: Box<dyn AverageVelocity>,
    params: Params,
    optimizer: Box<dyn Optimizer>,
    emas: Vec<Ema>,
    device: Device,
    reads: Reads,
    step: u64,
    /// Samples that these steps saw.
    samples: u64,
    /// Steps that moved nothing, of those that were read.
    n_bad: u64,
    pub(crate) wall_s: f64,
    /// The batch of a step to come, made while the step before computed.
    next: Option<(u64, OwnedBatch)>,
}

impl Trainer {
    /// Reads the numbers of its steps at other times than [`Reads::on`] its device would.
    pub fn with_reads(self, reads: Reads) -> Self {
        Self { reads, ..self }
    }

    /// When [`crate::train`] reads the numbers of a step.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the network is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of steps done.
    pub fn n_steps(&self) -> u64 {
        self.step
    }

    /// Seconds that the steps of [`crate::train`] took so far, resumed ones included.
    pub fn wall_s(&self) -> f64 {
        self.wall_s
    }

    /// Goes to step `k` as it is, for a measurement of the speed there.
    pub(crate) fn go_to(&mut self, k: u64) {
        self.step = k;
        self.samples = self.key_of(k).first_row;
    }

    /// The key of step `k`, all of whose steps before had batches of today's size.
    fn key_of(&self, k: u64) -> StepKey {
        StepKey::of_step(self.config.seed, k, self.config.train.batch)
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The data set.
    pub fn data(&self) -> &dyn DataSet {
        self.data.as_ref()
    }

    /// What is probably not meant as it is: in the data, and in the config for these data.
    pub fn warnings(&self) -> &[Warning] {
        self.model_config.trained.as_ref().map_or(&[], |trained| &trained.warnings)
    }

    /// One training step and its report.
    ///
    /// # Errors
    /// As the networks; a loss or gradient that is not finite is not an error, see [`StepReport::fault`].
    pub fn step(&mut self) -> Result<StepReport> {
        let step = self.advance()?;
        self.report(step)
    }

    /// One step, whose numbers stay on the device with [`Reads::AtLogPoints`]: nothing waits for it.
    ///
    /// # Errors
    /// As the networks.
    pub fn advance(&mut self) -> Result<UnreadStep> {
        let (k, train) = (self.step, &self.config.train);
        let seed = self.config.seed;
        let key = StepKey { seed, step: k, first_row: self.samples };
        let samples = self.samples.wrapping_add(train.batch as u64);
        let ready = self.next.take().filter(|(at, _)| *at == k);
        let batches = self.batches();
        let asked = Instant::now();
        let batch = match ready {
            Some((_, batch)) => batch,
            None => batches.at(key)?,
        };
        let made = asked.elapsed();
        let batch = batches.on(&batch);
        let ((found, computed), next) = rayon::join(
            || {
                let (net, frozen) = (&*self.net, &*self.frozen);
                let found = loss_and_gradient(&self.objective, net, frozen, &self.params, &batch, key);
                (found, Instant::now())
            },
            || (k + 1 < train.steps).then(|| batches.at(StepKey { seed, step: k + 1, first_row: samples })),
        );
        let data_wait_s = (made + computed.elapsed()).as_secs_f64();
        let found = found?;
        self.next = next.transpose()?.map(|batch| (k + 1, batch));
        let max_norm = (train.clip_norm > 0.0).then_some(train.clip_norm);
        let lr = train.lr * self.config.schedule.factor(k, train.steps);
        let gradients = &found.gradients;
        let (norm, numbers) = match self.reads {
            Reads::EachStep => {
                let norm = gradient_norm(gradients, &self.params, None, max_norm)?;
                let (losses, grad_norm) = (found.losses.read()?, value(&norm)?);
                let names = || term_names(&self.config.objective);
                let fault = Fault::find(names, &self.params, &losses, Some(gradients), grad_norm)?;
                (norm, Numbers::Read { losses, fault })
            }
            Reads::AtLogPoints => {
                let loss = found.losses.total()?;
                let norm = gradient_norm(gradients, &self.params, loss.as_ref(), max_norm)?;
                (norm, Numbers::Unread(found.losses))
            }
        };
        // A norm that is not finite lets the optimizer move nothing, on a device by itself.
        let is_known_bad = match &numbers {
            Numbers::Read { fault, .. } => fault.is_some(),
            Numbers::Unread(_) => norm.is_on_host() && !value(&norm)?.is_finite(),
        };
        if !is_known_bad {
            // The averages follow the projected weights.
            if self.params.has_spheres() {
                self.optimizer.step_clipped(gradients, lr, &norm, &mut [])?;
                self.params.project()?;
                self.emas.iter_mut().try_for_each(|ema| ema.update(&self.params))?;
            } else {
                self.optimizer.step_clipped(gradients, lr, &norm, &mut self.emas)?;
            }
        }
        self.step += 1;
        self.samples = samples;
        Ok(UnreadStep { step: self.step, samples, lr, norm, numbers, data_wait_s })
    }

    /// Reads what a step did and counts it if it was bad; for every step once, in their order.
    ///
    /// # Errors
    /// As the device.
    pub fn report(&mut self, step: UnreadStep) -> Result<StepReport> {
        let UnreadStep { step, samples, lr, norm, numbers, data_wait_s } = step;
        let grad_norm = value(&norm)?;
        let (losses, fault) = match numbers {
            Numbers::Read { losses, fault } => (losses, fault),
            Numbers::Unread(losses) => {
                let losses = losses.read()?;
                let names = || term_names(&self.config.objective);
                let fault = Fault::find(names, &self.params, &losses, None, grad_norm)?;
                if fault.is_some() && !norm.is_on_host() {
                    // The device moved nothing, but the step was counted.
                    self.optimizer.uncount_step();
                    self.emas.iter_mut().for_each(Ema::uncount_update);
                }
                (losses, fault)
            }
        };
        self.n_bad += u64::from(fault.is_some());
        let Losses { loss, terms, bins } = losses;
        Ok(StepReport {
            step,
            samples,
            loss,
            terms,
            grad_norm,
            lr,
            bins,
            fault,
            n_bad: self.n_bad,
            data_wait_s,
        })
    }

    fn batches(&self) -> Batches<'_> {
        Batches {
            config: &self.config,
            model: &self.model_config,
            data: self.data.as_ref(),
            device: &self.device,
        }
    }

    /// Everything needed to go on.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let state = State {
            format_version: FORMAT_VERSION,
            step: self.step,
            samples: Some(self.samples),
            data: Some(self.print.clone()),
            teacher: self.taught_by.clone(),
            optimizer_steps: self.optimizer.n_steps(),
            bad_steps: self.n_bad,
            ema_updates: self.emas.first().map_or(0, Ema::n_updates),
            wall_s: self.wall_s,
        };
        Ok(Checkpoint {
            config: self.model_config.clone(),
            run: Some(self.config.clone()),
            model: self.params.tensors(),
            emas: self.emas.iter().map(|ema| (ema.decay(), ema.tensors().clone())).collect(),
            optimizer: self.optimizer.state(),
            state,
        })
    }
}

/// The norm of a gradient as a number.
fn value(norm: &GradientNorm) -> Result<f64> {
    Ok(norm.value()?)
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("config", &self.config)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
