//! Runs from a config, and from a checkpoint.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use candle_core::{DType, Device};
use flowmap_core::Coupling;
use flowmap_nn::loss::Combination;
use flowmap_nn::{Ema, ParamBuilder};

use super::Trainer;
use crate::model::network_tensors;
use crate::{Checkpoint, Config, DataPrint, Error, ModelConfig, Reads, Result, resume};

/// Standard deviations of data and base whose squares, inverses and tails fit in f32.
const UNITS: RangeInclusive<f64> = 1e-30..=1e30;

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
        config.objective.iter().try_for_each(|term| term.objective.check_known())?;
        config.interpolant.check_known()?;
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
}
