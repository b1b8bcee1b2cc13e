//! The training loop.
//!
//! Step k sees samples k·B .. (k+1)·B of the noise, data and times streams of the seed, and nothing else:
//! a run that is interrupted and resumed gives the same bits.

use std::num::NonZeroUsize;
use std::time::Instant;

use candle_core::{DType, Device};
use flowmap_core::{Coupling, NoiseStream, Stream};
use flowmap_data::DataSet;
use flowmap_nn::objective::{BinSums, Combination};
use flowmap_nn::optim::{Optimizer, global_norm, norm_on_device};
use flowmap_nn::{AverageVelocity, Ema, LossAndGradient, ParamBuilder, Params, loss_and_gradient};

use crate::batches::{Batches, TrainingBatch};
use crate::divergence::LastGood;
use crate::metrics_log::{MetricsLog, Since};
use crate::model::{FORMAT_VERSION, network_tensors};
use crate::{Checkpoint, Config, Error, Fault, Model, ModelConfig, Result, RunDir, State, term_names};

/// What a step did.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The number of steps done, this one included.
    pub step: u64,
    /// The loss.
    pub loss: f64,
    /// The mean loss of each objective, unweighted; `None` where it got no rows.
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
}

impl StepReport {
    /// Whether loss and gradient were finite.
    pub fn is_finite(&self) -> bool {
        self.fault.is_none()
    }
}

/// Someone who watches a run.
pub trait Observer {
    /// Called after every step.
    fn step(&mut self, report: &StepReport, n_steps: u64);
    /// Called when a stage after the training begins, such as `evaluating`.
    fn stage(&mut self, name: &str);
}

/// A run in memory: network, optimizer, averages and position.
pub struct Trainer {
    config: Config,
    model_config: ModelConfig,
    data: Box<dyn DataSet>,
    objective: Combination,
    net: Box<dyn AverageVelocity + Send + Sync>,
    /// The same parameters, or their average, off the tape, for terms that stop the gradient.
    teacher: Box<dyn AverageVelocity + Send + Sync>,
    params: Params,
    optimizer: Box<dyn Optimizer>,
    emas: Vec<Ema>,
    device: Device,
    step: u64,
    wall_s: f64,
    /// The batch of a step to come, made while the step before computed.
    next: Option<(u64, TrainingBatch)>,
}

impl Trainer {
    /// A new run.
    ///
    /// # Errors
    /// Where the config is out of range or the data cannot be read.
    pub fn new(config: Config, device: &Device) -> Result<Self> {
        let seed = config.seed;
        Self::build(config, device, |_| Ok(ParamBuilder::fresh(seed, DType::F32, device)))
    }

    /// A run that goes on from a checkpoint.
    ///
    /// # Errors
    /// Where the checkpoint does not fit the config.
    pub fn resume(config: Config, checkpoint: Checkpoint, device: &Device) -> Result<Self> {
        let Checkpoint { model, emas, optimizer, state, .. } = checkpoint;
        let mut trainer =
            Self::build(config, device, |_| Ok(ParamBuilder::trainable(model, DType::F32, device)))?;
        trainer.optimizer.restore(optimizer, state.optimizer_steps)?;
        let resume = |(decay, tensors)| Ema::resume(decay, state.ema_updates, &trainer.params, tensors);
        trainer.emas = emas.into_iter().map(resume).collect::<Result<_, flowmap_nn::Error>>()?;
        trainer.follow_target()?;
        trainer.step = state.step;
        trainer.wall_s = state.wall_s;
        Ok(trainer)
    }

    fn build(
        config: Config,
        device: &Device,
        builder: impl FnOnce(&ModelConfig) -> Result<ParamBuilder>,
    ) -> Result<Self> {
        config.validate()?;
        config.refuse_unused_teacher()?;
        let data = match config.coupling {
            Coupling::Paired {} => config.data.build_pairs(None)?,
            _ => config.data.build(None)?,
        };
        let n_classes = match (config.conditional, data.n_classes()) {
            (false, _) => 0,
            (true, 0) => return Err(Error::NoLabels { kind: config.data.kind() }),
            (true, n) => n,
        };
        let model_config = ModelConfig::new(&config, data.shape(), n_classes, config.sigma(data.as_ref()));
        let mut builder = builder(&model_config)?.with_activations(config.train.activations);
        let net = model_config.build_network(&mut builder)?;
        let mut objective = Combination::new(config.objective.clone())?
            .with_learned_weights(&mut builder)?
            .with_micro_batch(NonZeroUsize::new(config.train.micro_batch));
        let params = builder.finish()?;
        if n_classes > 0 {
            objective = objective.with_null_label(n_classes as u32);
        }
        if let Some(teacher) = &config.teacher {
            objective = objective.with_teacher(teacher.build(&config, &model_config, device)?);
        }
        let live = network_tensors(params.tensors());
        let (teacher, _) = model_config.build(ParamBuilder::frozen(live, DType::F32, device))?;
        let emas = config.train.ema.iter().map(|d| Ema::new(*d, &params)).collect::<Result<_, _>>()?;
        let mut trainer = Self {
            objective,
            optimizer: config.optimizer.build(&params)?,
            config,
            model_config,
            data,
            net,
            teacher,
            params,
            emas,
            device: device.clone(),
            step: 0,
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
            let builder = ParamBuilder::frozen(tensors, DType::F32, &self.device);
            self.teacher = self.model_config.build(builder)?.0;
        }
        Ok(())
    }

    /// Number of steps done.
    pub fn n_steps(&self) -> u64 {
        self.step
    }

    /// Seconds that the steps of [`train`] took so far, resumed ones included.
    pub fn wall_s(&self) -> f64 {
        self.wall_s
    }

    /// Goes to step `k` as it is, for a measurement of the speed there.
    pub(crate) fn go_to(&mut self, k: u64) {
        self.step = k;
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The data set.
    pub fn data(&self) -> &dyn DataSet {
        self.data.as_ref()
    }

    /// One step.
    ///
    /// # Errors
    /// As the networks; a loss or gradient that is not finite is no error here, see [`StepReport::fault`].
    pub fn step(&mut self) -> Result<StepReport> {
        let (k, train) = (self.step, &self.config.train);
        let first = k.wrapping_mul(train.batch as u64);
        let ready = self.next.take().filter(|(at, _)| *at == k);
        let batches = self.batches();
        let batch = match ready {
            Some((_, batch)) => batch,
            None => batches.of_step(k)?,
        };
        let batch = batch.on(&self.config);
        let times = NoiseStream::new(self.config.seed, Stream::Times);
        let (found, next) = rayon::join(
            || {
                let (net, teacher) = (&*self.net, &*self.teacher);
                loss_and_gradient(&self.objective, net, teacher, &self.params, &batch, &times, first)
            },
            || (k + 1 < train.steps).then(|| batches.of_step(k + 1)),
        );
        let found = found?;
        self.next = next.transpose()?.map(|batch| (k + 1, batch));
        let max_norm = (train.clip_norm > 0.0).then_some(train.clip_norm);
        let on_device = norm_on_device(&found.gradients, &self.params, max_norm)?;
        let grad_norm = match &on_device {
            Some(norm) => norm.value().map_err(flowmap_nn::Error::from)?,
            None => global_norm(&found.gradients, &self.params)?,
        };
        let lr = train.lr * self.config.schedule.factor(k, train.steps);
        let names = || term_names(&self.config.objective);
        let fault = Fault::find(names, &self.params, &found, grad_norm)?;
        let LossAndGradient { loss, terms, bins, gradients } = found;
        if fault.is_none() {
            let clip = max_norm.map_or(1.0, |max_norm| (max_norm / grad_norm).min(1.0));
            match &on_device {
                // The averages follow the projected weights.
                _ if self.params.has_spheres() => {
                    self.optimizer.step(&gradients, lr, clip)?;
                    self.params.project()?;
                    self.emas.iter_mut().try_for_each(|ema| ema.update(&self.params))?;
                }
                Some(norm) => self.optimizer.step_clipped(&gradients, lr, norm, &mut self.emas)?,
                None => self.optimizer.step_and_average(&gradients, lr, clip, &mut self.emas)?,
            }
        }
        self.step += 1;
        let n_bad = self.step - self.optimizer.n_steps();
        Ok(StepReport { step: self.step, loss, terms, grad_norm, lr, bins, fault, n_bad })
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
            optimizer_steps: self.optimizer.n_steps(),
            ema_updates: self.emas.first().map_or(0, Ema::n_updates),
            wall_s: self.wall_s,
        };
        Ok(Checkpoint {
            config: self.model_config.clone(),
            model: self.params.tensors(),
            emas: self.emas.iter().map(|ema| (ema.decay(), ema.tensors().clone())).collect(),
            optimizer: self.optimizer.state(),
            state,
        })
    }
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("config", &self.config)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

/// Trains to the end of the config, with log and checkpoints in `run`, and opens the result.
///
/// # Errors
/// [`Error::Diverged`] after `max_bad_steps` bad steps in a row, or where the state itself is not finite, with the last
/// good state as the newest checkpoint; [`Error::Io`] where the run cannot be written.
pub fn train(run: &RunDir, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<Model> {
    let config = trainer.config.clone();
    let mut log = MetricsLog::open(&run.metrics(), trainer.step)?;
    let mut logged = (Instant::now(), trainer.step);
    let mut since = Since::default();
    let mut good = LastGood::new(run, trainer, config.train.log_every)?;
    // The first of the bad steps in a row, and how many they are.
    let mut bad: Option<(u64, Fault, u32)> = None;
    // A run may be resumed at its end, to draw its figures again.
    while trainer.step < config.train.steps {
        good.before_step(trainer)?;
        let began = Instant::now();
        let report = trainer.step()?;
        trainer.wall_s += began.elapsed().as_secs_f64();
        good.after_step(report.is_finite())?;
        since.add(&report);
        observer.step(&report, config.train.steps);
        let is_last = report.step == config.train.steps;
        if report.step % config.train.log_every == 0 || is_last || !report.is_finite() {
            let speed = (report.step - logged.1) as f64 * config.train.batch as f64
                / logged.0.elapsed().as_secs_f64();
            log.write(&since.record(&config, &report, trainer.wall_s, speed))?;
            logged = (Instant::now(), report.step);
            since = Since::default();
        }
        bad = report.fault.map(|fault| match bad.take() {
            Some((step, fault, n_bad)) => (step, fault, n_bad + 1),
            None => (report.step, fault, 1),
        });
        let is_due = report.step % config.train.checkpoint_every == 0 || is_last;
        if is_due && bad.is_none() {
            let checkpoint = trainer.checkpoint()?;
            match checkpoint.first_not_finite()? {
                Some(tensor) => bad = Some((report.step, Fault::State { tensor }, 0)),
                None => {
                    run.write_checkpoint(&checkpoint, config.train.keep_checkpoints)?;
                    good.was_written(report.step);
                }
            }
        }
        if let Some((step, fault, n_bad)) = &bad
            && (is_last || *n_bad >= config.train.max_bad_steps || matches!(fault, Fault::State { .. }))
        {
            let (step, fault, n_bad) = (*step, fault.clone(), *n_bad);
            let kept = good.write(run, config.train.keep_checkpoints)?;
            return Err(Error::Diverged { step, fault, n_bad, kept });
        }
    }
    Model::open(run.path(), crate::Weights::Best, &trainer.device)
}
