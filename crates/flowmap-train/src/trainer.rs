//! The training loop.
//!
//! Step k sees samples k·B .. (k+1)·B of the noise, data and times streams of the seed, and nothing else:
//! a run that is interrupted and resumed gives the same bits.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Coupling, NoiseStream, Stream};
use flowmap_data::DataSet;
use flowmap_nn::objective::Combination;
use flowmap_nn::optim::{Optimizer, global_norm};
use flowmap_nn::{
    AverageVelocity, Batch, Ema, LossAndGradient, OwnedCondition, ParamBuilder, Params, loss_and_gradient,
};
use flowmap_sample::base_noise;
use serde_json::json;

use crate::metrics_log::MetricsLog;
use crate::model::{FORMAT_VERSION, network_tensors};
use crate::{Checkpoint, Config, Error, Model, ModelConfig, Record, Result, RunDir, State};

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
    /// Whether loss and gradient were finite; if not, the parameters did not move.
    pub is_finite: bool,
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
        let data = config.data.build(None)?;
        let n_classes = match (config.conditional, data.n_classes()) {
            (false, _) => 0,
            (true, 0) => return Err(Error::NoLabels { kind: config.data.kind() }),
            (true, n) => n,
        };
        let model_config = ModelConfig::new(&config, data.shape(), n_classes, data.sigma());
        let mut builder = builder(&model_config)?;
        let net = model_config.build_network(&mut builder)?;
        let mut objective = Combination::new(config.objective.clone())?.with_learned_weights(&mut builder)?;
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
    /// As the networks; a loss or gradient that is not finite is no error here, see [`StepReport::is_finite`].
    pub fn step(&mut self) -> Result<StepReport> {
        let (k, train) = (self.step, &self.config.train);
        let first = k.wrapping_mul(train.batch as u64);
        let (x0, x1, condition) = self.batch(k, first)?;
        let batch =
            Batch { x0: &x0, x1: &x1, condition: (&condition).into(), interpolant: &self.config.interpolant };
        let times = NoiseStream::new(self.config.seed, Stream::Times);
        let LossAndGradient { loss, terms, gradients } = loss_and_gradient(
            &self.objective,
            &*self.net,
            &*self.teacher,
            &self.params,
            &batch,
            &times,
            first,
        )?;
        let grad_norm = global_norm(&gradients, &self.params)?;
        let lr = train.lr * self.config.schedule.factor(k, train.steps);
        let is_finite = loss.is_finite() && grad_norm.is_finite();
        if is_finite {
            let clip = if train.clip_norm > 0.0 { (train.clip_norm / grad_norm).min(1.0) } else { 1.0 };
            self.optimizer.step_and_average(&gradients, lr, clip, &mut self.emas)?;
        }
        self.step += 1;
        Ok(StepReport { step: self.step, loss, terms, grad_norm, lr, is_finite })
    }

    /// Noise, data and condition of step `k`, whose first sample is `first`.
    fn batch(&self, k: u64, first: u64) -> Result<(Tensor, Tensor, OwnedCondition)> {
        let (seed, n) = (self.config.seed, self.config.train.batch);
        let sigma = self.model_config.sigma_data;
        let base = NoiseStream::new(seed, Stream::Base);
        let shape = self.data.shape();
        let x0 = base_noise(&base, first, n, shape, sigma, DType::F32, &self.device)?;
        let data = flowmap_data::batch(self.data.as_ref(), &NoiseStream::new(seed, Stream::Data), k, n);
        let x0 = self.couple(x0, &data, k)?;
        let x1 = Tensor::from_vec(data.x, data.shape, &self.device)?;
        let condition = match data.labels.filter(|_| self.config.conditional) {
            Some(labels) => self.condition(self.hide_labels(labels, first), first)?,
            None => OwnedCondition::default(),
        };
        Ok((x0, x1, condition))
    }

    /// The noise in the order of the data that it is coupled with.
    fn couple(&self, x0: Tensor, data: &flowmap_data::Batch, k: u64) -> Result<Tensor> {
        if let Coupling::Independent {} = self.config.coupling {
            return Ok(x0);
        }
        let dim = self.data.shape().iter().product();
        let host = x0.flatten_all()?.to_vec1::<f32>()?;
        let labels = data.labels.as_deref().filter(|_| self.config.conditional);
        let mut noise = NoiseStream::new(self.config.seed, Stream::Coupling).at(k);
        let rows = self.config.coupling.pair(&host, &data.x, dim, labels, &mut noise);
        let rows = rows.map_err(flowmap_nn::Error::from)?;
        let rows = Tensor::from_iter(rows.into_iter().map(|row| row as u32), &self.device)?;
        Ok(x0.index_select(&rows, 0)?)
    }

    /// Replaces some labels by "none", so that the network learns to do without.
    fn hide_labels(&self, mut labels: Vec<u32>, first: u64) -> Vec<u32> {
        let hidden = NoiseStream::new(self.config.seed, Stream::Dropout);
        for (label, index) in labels.iter_mut().zip(first..) {
            if hidden.at(index).uniform() < self.config.train.label_dropout {
                *label = self.model_config.n_classes as u32;
            }
        }
        labels
    }

    /// Labels, with a scale of guidance beside each where the network takes one.
    fn condition(&self, labels: Vec<u32>, first: u64) -> Result<OwnedCondition> {
        let n = labels.len();
        let guidance = match &self.config.guidance {
            Some(range) => {
                let null = self.model_config.n_classes as u32;
                let scales = range.scales(self.config.seed, first, &labels, null);
                Some(Tensor::from_vec(scales, n, &self.device)?)
            }
            None => None,
        };
        Ok(OwnedCondition { labels: Some(Tensor::from_vec(labels, n, &self.device)?), guidance })
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
/// [`Error::Diverged`] after `max_bad_steps` bad steps in a row; [`Error::Io`] where the run cannot be written.
pub fn train(run: &RunDir, trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<Model> {
    let config = trainer.config.clone();
    let mut log = MetricsLog::open(&run.metrics(), trainer.step)?;
    let mut logged = (Instant::now(), trainer.step);
    let mut n_bad = 0;
    // A run may be resumed at its end, to draw its figures again.
    while trainer.step < config.train.steps {
        let began = Instant::now();
        let report = trainer.step()?;
        trainer.wall_s += began.elapsed().as_secs_f64();
        n_bad = if report.is_finite { 0 } else { n_bad + 1 };
        observer.step(&report, config.train.steps);
        let is_last = report.step == config.train.steps;
        if report.step % config.train.log_every == 0 || is_last || !report.is_finite {
            let speed = (report.step - logged.1) as f64 * config.train.batch as f64
                / logged.0.elapsed().as_secs_f64();
            log.write(&record(&config, &report, trainer.wall_s, speed))?;
            logged = (Instant::now(), report.step);
        }
        if n_bad >= config.train.max_bad_steps {
            let StepReport { step, loss, grad_norm, .. } = report;
            return Err(Error::Diverged { n_bad, step, loss, grad_norm });
        }
        if (report.step % config.train.checkpoint_every == 0 || is_last) && n_bad == 0 {
            run.write_checkpoint(&trainer.checkpoint()?, config.train.keep_checkpoints)?;
        }
    }
    Model::open(run.path(), crate::Weights::Best, &trainer.device)
}

/// A line of the log; numbers that JSON does not have become null.
fn record(config: &Config, report: &StepReport, wall_s: f64, samples_per_s: f64) -> Record {
    let mut record = Record::new();
    let mut put = |key: String, value| record.insert(key, value);
    put("step".into(), json!(report.step));
    put("samples".into(), json!(report.step * config.train.batch as u64));
    put("wall_s".into(), json!(wall_s));
    put("loss".into(), json!(report.loss));
    for (term, loss) in config.objective.iter().zip(&report.terms) {
        put(format!("loss/{}", term.objective.name()), json!(loss));
    }
    put("grad_norm".into(), json!(report.grad_norm));
    put("lr".into(), json!(report.lr));
    put("samples_per_s".into(), json!(samples_per_s));
    record
}
