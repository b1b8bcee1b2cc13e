//! A known flow to distill from: a velocity field or a whole flow map.

use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;

use crate::{AverageVelocity, Condition, Error, FlowMap, Result};

/// A velocity field b_t(x) that is known: of a trained network, of an exact flow, or of a user's own.
///
/// Objectives may differentiate it in x, so it should record its operations on a tracked `x`
/// (operations of Candle do); one that does not serves the objectives that stop the gradient at it.
pub trait VelocityField {
    /// b_t(x) with `t` of shape `(B,)`, `x` of shape `(B, ...)` and a condition of B samples.
    ///
    /// # Errors
    /// Where shapes do not fit, or a part of the condition is missing or unexpected.
    fn velocity(&self, t: &Tensor, x: &Tensor, condition: Condition<'_>) -> Result<Tensor>;
}

/// A flow to distill from: its parameters are off the tape.
///
/// ```
/// use std::sync::Arc;
/// use candle_core::{Device, Tensor};
/// use flowmap_core::{Linear, exact::{Covariance, GaussianFlow}};
/// use flowmap_nn::{Condition, ExactField, Teacher};
///
/// let flow = GaussianFlow::new(Linear, 1.0, vec![3.0], &Covariance::Isotropic(0.5))?;
/// let teacher = Teacher::Field(Arc::new(ExactField::new(flow)));
/// let (t, x) = (Tensor::new(&[0.0f64], &Device::Cpu)?, Tensor::new(&[[0.0f64]], &Device::Cpu)?);
/// let b_t = teacher.velocity(&t, &x, Condition::default())?;
/// assert_eq!(b_t.to_vec2::<f64>()?, [[3.0]]); // all noise at 0 goes to the mean
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub enum Teacher {
    /// The velocity is known, and nothing else.
    Field(Arc<dyn VelocityField + Send + Sync>),
    /// The flow map is known, and its velocity is the diagonal v_{t,t}: a trained network, without its dropout.
    Map(Arc<dyn AverageVelocity>),
}

impl Teacher {
    /// q_t(x), the velocity of the teacher.
    ///
    /// # Errors
    /// As the field or the network.
    pub fn velocity(&self, t: &Tensor, x: &Tensor, condition: Condition<'_>) -> Result<Tensor> {
        match self {
            Self::Field(field) => field.velocity(t, x, condition),
            Self::Map(net) => FlowMap::given(net.as_ref(), condition.without_dropout()).velocity(t, x),
        }
    }

    /// Q_{s,t}(x), the flow map of the teacher.
    ///
    /// # Errors
    /// [`Error::NoTeacher`] where only its velocity is known; as the network.
    pub fn jump(&self, s: &Tensor, t: &Tensor, x: &Tensor, condition: Condition<'_>) -> Result<Tensor> {
        match self {
            Self::Field(_) => Err(Error::NoTeacher { expected: "a flow map", found: "a velocity field" }),
            Self::Map(net) => FlowMap::given(net.as_ref(), condition.without_dropout()).jump(s, t, x),
        }
    }
}

impl fmt::Debug for Teacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Field(_) => "Field(..)",
            Self::Map(_) => "Map(..)",
        })
    }
}
