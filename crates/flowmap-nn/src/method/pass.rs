//! What a method computes its loss from.

use candle_core::Tensor;

use crate::{Batch, Error, FlowMap, Result, Teacher, Times};

/// One evaluation of a method: the model, its frozen copy, a batch with its times, and what else is known.
///
/// Methods take it apart by name: `let &Pass { model, frozen, batch, times, .. } = p;`.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// The model, on the tape.
    pub model: FlowMap<'a>,
    /// The model off the tape, for stopped terms: the same parameters, or their average
    /// ([`crate::ParamBuilder::frozen`]). No gradient reaches its parameters; one may flow through its arguments.
    pub frozen: FlowMap<'a>,
    /// Pairs of noise and data.
    pub batch: &'a Batch<'a>,
    /// The times of each pair.
    pub times: &'a Times,
    /// The teacher, the training step and the label that stands for "none".
    pub context: Context<'a>,
}

impl<'a> Pass<'a> {
    /// A pass at step 0 and without a flow to distill from.
    pub fn new(model: FlowMap<'a>, frozen: FlowMap<'a>, batch: &'a Batch<'a>, times: &'a Times) -> Self {
        Self { model, frozen, batch, times, context: Context::default() }
    }

    /// This pass with another context.
    pub fn within(self, context: Context<'a>) -> Self {
        Self { context, ..self }
    }

    /// Number of the training step.
    pub fn step(&self) -> u64 {
        self.context.step
    }

    /// The flow to distill from, q.
    ///
    /// # Errors
    /// [`Error::NoTeacher`] without a teacher.
    pub fn teacher(&self) -> Result<&'a Teacher> {
        self.context.teacher.ok_or(Error::NoTeacher { expected: "a teacher", found: "none" })
    }

    /// q_t(x), the velocity of the flow to distill from, given the condition of the model.
    ///
    /// # Errors
    /// [`Error::NoTeacher`] without a teacher; the errors of the teacher.
    pub fn q(&self, t: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.teacher()?.velocity(t, x, self.model.condition())
    }

    /// The label that stands for "none".
    ///
    /// # Errors
    /// [`Error::Labels`] if the run has no label for "none".
    pub fn null_label(&self) -> Result<u32> {
        self.context.null_label.ok_or(Error::Labels { n_classes: 0, found: "without" })
    }
}

/// What a method may know in addition to the model, the batch and the times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The flow to distill from.
    pub teacher: Option<&'a Teacher>,
    /// Number of the training step, for what warms up or anneals.
    pub step: u64,
    /// The label that stands for "none", for guidance.
    pub null_label: Option<u32>,
}
