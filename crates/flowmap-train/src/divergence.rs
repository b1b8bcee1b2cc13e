//! Steps that are not finite: what went wrong in them, and the state to go back to.
//!
//! A state counts as good when a step from it had a finite loss and gradient.
//! The state that the last good step led to does not: where every step from it is bad, it is what has gone wrong.

use std::fmt;
use std::path::PathBuf;

use candle_core::backprop::GradStore;
use flowmap_nn::loss::Bin;
use flowmap_nn::optim::first_not_finite;
use flowmap_nn::{Losses, Params};

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
        /// The first parameter that has one; not known of a step that was read after its end.
        parameter: Option<String>,
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
                f.write_str("all losses are finite, but not the gradient")?;
                parameter.as_ref().map_or(Ok(()), |parameter| write!(f, " of `{parameter}`"))
            }
            Self::State { tensor } => write!(f, "`{tensor}` holds a number that is not finite"),
        }
    }
}

impl Fault {
    /// The fault of a step, `None` if all numbers are finite; `names` gives the names of the terms, and `gradients` is
    /// `None` after the step.
    pub(crate) fn find(
        names: impl FnOnce() -> Vec<String>,
        params: &Params,
        losses: &Losses,
        gradients: Option<&GradStore>,
        grad_norm: f64,
    ) -> Result<Option<Self>> {
        if losses.loss.is_finite() && grad_norm.is_finite() {
            return Ok(None);
        }
        // Where the parameters are gone, the losses that follow say nothing.
        for (name, var) in params.vars() {
            if !flowmap_nn::is_finite(var)? {
                return Ok(Some(Self::State { tensor: name.clone() }));
            }
        }
        for (term, (name, bins)) in names().into_iter().zip(&losses.bins).enumerate() {
            if let Some(bin) = bins.first_not_finite() {
                return Ok(Some(Self::Loss { term, name, bin }));
            }
        }
        if !losses.loss.is_finite() {
            return Ok(Some(Self::Mean));
        }
        let parameter = match gradients {
            Some(gradients) => first_not_finite(gradients, params)?.map(str::to_owned),
            None => None,
        };
        Ok(Some(Self::Gradient { parameter }))
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
        let mut gradients = GradStore::default();
        let mut losses = Losses { loss: 1.0, ..Losses::default() };
        for (name, slope) in [("a", 1.0), ("b", f32::INFINITY), ("c", f32::NAN)] {
            let slope = Tensor::new(&[1.0, slope], &Device::Cpu).unwrap();
            gradients.insert(&params.vars()[name], slope);
        }
        let names = || vec!["lsd".to_owned()];
        let find =
            |losses: &Losses, gradients, norm| Fault::find(names, &params, losses, gradients, norm).unwrap();
        let fault = find(&losses, Some(&gradients), f64::INFINITY).unwrap();
        assert_eq!(fault, Fault::Gradient { parameter: Some("b".into()) });
        assert_eq!(fault.to_string(), "all losses are finite, but not the gradient of `b`");
        let fault = find(&losses, None, f64::INFINITY).unwrap();
        assert_eq!(fault.to_string(), "all losses are finite, but not the gradient");
        assert_eq!(find(&losses, Some(&gradients), 1.0), None);
        losses.loss = f64::INFINITY;
        assert_eq!(find(&losses, Some(&gradients), f64::NAN), Some(Fault::Mean));
    }
}
