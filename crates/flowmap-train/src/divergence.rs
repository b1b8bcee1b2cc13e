//! Steps that are not finite: what went wrong in them, and the state to go back to.
//!
//! A state counts as good when a step from it had a finite loss and gradient.
//! The state that the last good step led to does not: where every step from it is bad, it is what has gone wrong.

use std::fmt;
use std::path::PathBuf;

use flowmap_nn::objective::Bin;
use flowmap_nn::optim::first_not_finite;
use flowmap_nn::{LossAndGradient, Params};

use crate::{Checkpoint, Result, RunDir, Trainer};

/// What was not finite in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The loss of a row.
    Loss {
        /// Index of its term.
        term: usize,
        /// Name of the term in the log.
        name: String,
        /// The first bin of times with such a row.
        bin: Bin,
    },
    /// The mean of the weighed losses, each of which is finite before its norm and weight.
    Mean,
    /// The gradient, where all losses are finite.
    Gradient {
        /// The first parameter that has one.
        parameter: String,
    },
    /// The parameters, a moving average or the state of the optimizer.
    State {
        /// The first tensor.
        tensor: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss { term, name, bin } => {
                write!(f, "the loss of `{name}` (objective.{term}) is not finite for {bin}")
            }
            Self::Mean => f.write_str("every loss is finite, but not their weighed mean"),
            Self::Gradient { parameter } => {
                write!(f, "all losses are finite, but not the gradient of `{parameter}`")
            }
            Self::State { tensor } => write!(f, "`{tensor}` holds a number that is not finite"),
        }
    }
}

impl Fault {
    /// What is wrong with a step, `None` where all is finite; `names` are those of the terms.
    pub(crate) fn find(
        names: impl FnOnce() -> Vec<String>,
        params: &Params,
        found: &LossAndGradient,
        grad_norm: f64,
    ) -> Result<Option<Self>> {
        if found.loss.is_finite() && grad_norm.is_finite() {
            return Ok(None);
        }
        // Where the parameters are gone, the losses that follow say nothing.
        for (name, var) in params.vars() {
            if !flowmap_nn::is_finite(var)? {
                return Ok(Some(Self::State { tensor: name.clone() }));
            }
        }
        for (term, (name, bins)) in names().into_iter().zip(&found.bins).enumerate() {
            if let Some(bin) = bins.first_not_finite() {
                return Ok(Some(Self::Loss { term, name, bin }));
            }
        }
        let parameter = first_not_finite(&found.gradients, params)?.map(str::to_owned);
        Ok(Some(match parameter {
            Some(parameter) if found.loss.is_finite() => Self::Gradient { parameter },
            _ => Self::Mean,
        }))
    }
}

/// The last state of a run that is known to be good.
#[derive(Debug)]
pub(crate) struct LastGood {
    /// Steps between states that are kept.
    every: u64,
    kept: Checkpoint,
    /// A state that counts as good once a step from it is.
    candidate: Option<Checkpoint>,
    /// The newest checkpoint on disk that is good.
    on_disk: Option<u64>,
    /// A checkpoint on disk that counts as good once a step from it is.
    written: Option<u64>,
}

impl LastGood {
    /// The state that the loop starts from; another one is kept every `every` steps.
    pub(crate) fn new(run: &RunDir, trainer: &Trainer, every: u64) -> Result<Self> {
        let kept = trainer.checkpoint()?.copied()?;
        let on_disk = Some(kept.state.step).filter(|step| run.checkpoint(*step).is_dir());
        Ok(Self { every, kept, candidate: None, on_disk, written: None })
    }

    /// Looks at the state before a step.
    pub(crate) fn before_step(&mut self, trainer: &Trainer) -> Result<()> {
        if trainer.n_steps() >= self.kept.state.step + self.every {
            self.candidate = Some(trainer.checkpoint()?.copied()?);
        }
        Ok(())
    }

    /// Says whether the step was good.
    pub(crate) fn after_step(&mut self, is_finite: bool) -> Result<()> {
        let (candidate, written) = (self.candidate.take(), self.written.take());
        if is_finite {
            self.on_disk = written.or(self.on_disk);
            if let Some(candidate) = candidate
                && candidate.first_not_finite()?.is_none()
            {
                self.kept = candidate;
            }
        }
        Ok(())
    }

    /// Says that the state after a step is on disk.
    pub(crate) fn was_written(&mut self, step: u64) {
        self.written = Some(step);
    }

    /// Leaves the last good state as the newest checkpoint of the run and says where it is.
    pub(crate) fn write(&self, run: &RunDir, keep: usize) -> Result<PathBuf> {
        match self.on_disk.filter(|step| *step >= self.kept.state.step && run.checkpoint(*step).is_dir()) {
            Some(step) => run.go_back_to(step, keep),
            None => run.write_checkpoint(&self.kept, keep),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use flowmap_nn::{Init, ParamBuilder};

    use super::*;
    use crate::{ConfigSource, resolve};

    #[test]
    fn state_is_kept_every_few_steps_once_a_step_from_it_is_good() {
        let sets = ["train.batch=8", "network.width=4", "network.x_features=0"];
        let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
        sources.extend(sets.map(|set| ConfigSource::set(set).unwrap()));
        let mut trainer = Trainer::new(resolve(&sources).unwrap(), &Device::Cpu).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut good = LastGood::new(&RunDir::new(dir.path()), &trainer, 5).unwrap();
        let mut kept = Vec::new();
        for step in 1..=20 {
            good.before_step(&trainer).unwrap();
            trainer.step().unwrap();
            // Steps 6 and 12 are bad: the states before them are not kept.
            good.after_step(![6, 12].contains(&step)).unwrap();
            kept.push(good.kept.state.step);
        }
        assert_eq!(kept, [[0; 6].as_slice(), &[6; 6], &[12; 5], &[17; 3]].concat());
    }

    #[test]
    fn gradient_that_is_not_finite_is_named_by_its_parameter() {
        let mut builder = ParamBuilder::fresh(1, DType::F32, &Device::Cpu);
        for name in ["a", "b", "c"] {
            builder.param(name, 2, Init::Zeros).unwrap();
        }
        let params = builder.finish().unwrap();
        let mut found = LossAndGradient { loss: 1.0, ..LossAndGradient::default() };
        for (name, slope) in [("a", 1.0), ("b", f32::INFINITY), ("c", f32::NAN)] {
            let slope = Tensor::new(&[1.0, slope], &Device::Cpu).unwrap();
            found.gradients.insert(&params.vars()[name], slope);
        }
        let names = || vec!["lsd".to_owned()];
        let fault = Fault::find(names, &params, &found, f64::INFINITY).unwrap().unwrap();
        assert_eq!(fault, Fault::Gradient { parameter: "b".into() });
        assert_eq!(fault.to_string(), "all losses are finite, but not the gradient of `b`");
        assert_eq!(Fault::find(names, &params, &found, 1.0).unwrap(), None);
        found.loss = f64::INFINITY;
        assert_eq!(Fault::find(names, &params, &found, f64::NAN).unwrap(), Some(Fault::Mean));
    }
}
