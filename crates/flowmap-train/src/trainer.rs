//! The training loop.
//!
//! A step sees the B samples of the noise, data and times streams of the seed that follow those of the step before, and
//! nothing else: a run that is interrupted and resumed gives the same bits.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Instant;

use candle_core::{DType, Device};
use flowmap_core::Coupling;
use flowmap_data::{DataSet, Warning};
use flowmap_dual::cuda::GradientNorm;
use flowmap_nn::loss::Combination;
use flowmap_nn::optim::{Optimizer, gradient_norm};
use flowmap_nn::{
    AverageVelocity, Ema, Losses, OwnedBatch, ParamBuilder, Params, StepKey, loss_and_gradient,
};

use crate::batches::Batches;
use crate::model::{FORMAT_VERSION, network_tensors};
use crate::step::{Numbers, UnreadStep};
use crate::{
    Checkpoint, Config, DataPrint, Error, Fault, ModelConfig, Reads, Result, State, StepReport, resume,
    term_names,
};

/// Standard deviations of data and base whose squares, inverses and tails f32 holds beside them.
const UNITS: RangeInclusive<f64> = 1e-30..=1e30;

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
    /// The same parameters, or their average, off the tape, for terms that stop the gradient.
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
    /// A new run.
    ///
    /// # Errors
    /// Where the config is out of range or the data cannot be read.
    pub fn new(config: Config, device: &Device) -> Result<Self> {
        let seed = config.seed;
        Self::build(config, device, |_, _| Ok(ParamBuilder::fresh(seed, DType::F32, device)))
    }

    /// A run that goes on from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Resume`] where config, data or teacher are not what the checkpoint goes on with.
    pub fn resume(config: Config, checkpoint: Checkpoint, device: &Device) -> Result<Self> {
        let build = |model: &mut ModelConfig, print: &DataPrint| {
            resume::check(&config, model, &checkpoint)?;
            resume::check_print(checkpoint.state.data.as_ref(), print)?;
            // To the last place, so that the weights mean the same function.
            model.sigma_data = checkpoint.config.sigma_data;
            if let (Some(new), Some(old)) = (&mut model.trained, &checkpoint.config.trained) {
                new.hidden_labels |= old.hidden_labels;
            }
            Ok(ParamBuilder::trainable(checkpoint.model.clone(), DType::F32, device))
        };
        let mut trainer = Self::build(config.clone(), device, build)?;
        let Checkpoint { emas, optimizer, state, .. } = checkpoint;
        resume::check_teacher(state.teacher.as_deref(), trainer.taught_by.as_deref())?;
        trainer.optimizer.restore(optimizer, state.optimizer_steps)?;
        let rule = trainer.config.train.ema_rule();
        let mut kept = Vec::new();
        for decay in &trainer.config.train.ema {
            if let Some((_, tensors)) = emas.iter().find(|(other, _)| other == decay) {
                let average = Ema::resume(*decay, state.ema_updates, &trainer.params, tensors.clone())?;
                kept.push(average.with_rule(rule));
            }
        }
        trainer.emas = kept;
        trainer.follow_target()?;
        trainer.step = state.step;
        let in_batches = || trainer.key_of(state.step).first_row;
        trainer.samples = state.samples.unwrap_or_else(in_batches);
        trainer.n_bad = state.bad_steps;
        trainer.wall_s = state.wall_s;
        Ok(trainer)
    }

    fn build(
        config: Config,
        device: &Device,
        builder: impl FnOnce(&mut ModelConfig, &DataPrint) -> Result<ParamBuilder>,
    ) -> Result<Self> {
        config.validate()?;
        config.refuse_unused_teacher()?;
        let data = match config.coupling {
            Coupling::Paired {} => config.data.build_pairs(None)?,
            _ => config.data.build(None)?,
        };
        config.augmentation.checked(data.shape())?;
        let n_classes = match (config.conditional, data.n_classes()) {
            (false, _) => 0,
            (true, 0) => return Err(Error::NoLabels { kind: config.data.kind() }),
            (true, n) => n,
        };
        let mut model_config = ModelConfig::new(&config, data.as_ref(), n_classes);
        let print = DataPrint::of(data.as_ref());
        if !UNITS.contains(&model_config.sigma_data) {
            let expected =
                "a standard deviation from 1e-30 to 1e30, so that numbers of single precision hold the data";
            let found = model_config.sigma_data.to_string();
            return Err(Error::OutOfRange { key: "sigma_data", expected: expected.into(), found });
        }
        let mut builder = config.train.prepared(builder(&mut model_config, &print)?);
        let net = model_config.build_network(&mut builder)?;
        let mut objective = Combination::new(config.objective.clone())?
            .with_learned_weights(&mut builder)?
            .with_micro_batch(NonZeroUsize::new(config.train.micro_batch));
        let params = builder.finish()?;
        if n_classes > 0 {
            objective = objective.with_null_label(n_classes as u32);
        }
        let taught = config.teacher.as_ref().map(|teacher| teacher.build(&config, &model_config, device));
        let taught = taught.transpose()?;
        let taught_by = taught.as_ref().and_then(|taught| taught.tensors.clone());
        if let Some(taught) = taught {
            objective = objective.with_teacher(taught.teacher);
        }
        let live = network_tensors(params.tensors());
        let (frozen, _) =
            model_config.build(config.train.prepared(ParamBuilder::frozen(live, DType::F32, device)))?;
        let rule = config.train.ema_rule();
        let average = |decay: &f64| Ok(Ema::new(*decay, &params)?.with_rule(rule));
        let emas = config.train.ema.iter().map(average).collect::<Result<_>>()?;
        let mut trainer = Self {
            objective,
            optimizer: config.optimizer.build(&params)?,
            config,
            model_config,
            data,
            print,
            taught_by,
            net,
            frozen,
            params,
            emas,
            device: device.clone(),
            reads: Reads::on(device),
            step: 0,
            samples: 0,
            n_bad: 0,
            wall_s: 0.0,
            next: None,
        };
        trainer.follow_target()?;
        Ok(trainer)
    }

    /// Lets stopped terms follow the moving average that the config names, if it names one.
    fn follow_target(&mut self) -> Result<()> {
        let decay = self.config.train.target_ema;
        if let Some(average) = self.emas.iter().find(|ema| decay > 0.0 && ema.decay() == decay) {
            let tensors = network_tensors(average.tensors().clone());
            let builder = self.config.train.prepared(ParamBuilder::frozen(tensors, DType::F32, &self.device));
            self.frozen = self.model_config.build(builder)?.0;
        }
        Ok(())
    }

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

    /// One step, and what it did.
    ///
    /// # Errors
    /// As the networks; a loss or gradient that is not finite is no error here, see [`StepReport::fault`].
    pub fn step(&mut self) -> Result<StepReport> {
        let step = self.advance()?;
        self.report(step)
    }

    /// One step, whose numbers stay where they are with [`Reads::AtLogPoints`]: nothing waits for the device.
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
    /// As Candle.
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
