//! The flow map and its derivatives.
//!
//! X_{s,t}(x) = x + (t − s) v_{s,t}(x)
//!
//! Boffi, Albergo, Vanden-Eijnden 2025, arXiv:2505.18825.
//! The tangent condition lim_{s→t} ∂_t X_{s,t}(x) = b_t(x) then reads v_{t,t} = b_t.

use std::fmt;

use candle_core::Tensor;
use flowmap_dual::Dual;
use serde::{Deserialize, Serialize};

use crate::net::Cost;
use crate::{Condition, Result};

/// A network that computes the average velocity v_{s,t}(x) of a jump from s to t.
///
/// One implementation over dual tensors also serves plain ones, at the cost of a plain network.
/// Threads share the network: training and sampling cut their batches into tiles.
pub trait AverageVelocity: Send + Sync {
    /// v_{s,t}(x) with `s`, `t` of shape `(B,)`, `x` of shape `(B, ...)` and a condition of B samples.
    ///
    /// # Errors
    /// If shapes do not fit, or if a part of the condition is missing or unexpected; [`Error::External`](crate::Error::External) for
    /// the failures of a network of another crate.
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual>;

    /// The network for all jumps that start at `s`, if another network computes them; `None` if this one does.
    ///
    /// Samplers know `s` on the host, so that a network which switches by time need not read it from the device.
    fn starting_at(&self, _s: f64) -> Option<&dyn AverageVelocity> {
        None
    }

    /// How derivatives of the network are taken; [`Derivative::Central`] for a network that passes over tangents.
    fn derivative(&self) -> Derivative {
        Derivative::Dual
    }

    /// What a plain forward pass of one sample costs, for estimates; `None` if the network does not say.
    fn cost(&self) -> Option<Cost> {
        None
    }
}

impl<M: AverageVelocity + ?Sized> AverageVelocity for Box<M> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        (**self).average_velocity(s, t, x, condition)
    }

    fn starting_at(&self, s: f64) -> Option<&dyn AverageVelocity> {
        (**self).starting_at(s)
    }

    fn derivative(&self) -> Derivative {
        (**self).derivative()
    }

    fn cost(&self) -> Option<Cost> {
        (**self).cost()
    }
}

impl<M: AverageVelocity + ?Sized> AverageVelocity for std::sync::Arc<M> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        (**self).average_velocity(s, t, x, condition)
    }

    fn starting_at(&self, s: f64) -> Option<&dyn AverageVelocity> {
        (**self).starting_at(s)
    }

    fn derivative(&self) -> Derivative {
        (**self).derivative()
    }

    fn cost(&self) -> Option<Cost> {
        (**self).cost()
    }
}

impl<M: AverageVelocity + ?Sized> AverageVelocity for &M {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        (**self).average_velocity(s, t, x, condition)
    }

    fn starting_at(&self, s: f64) -> Option<&dyn AverageVelocity> {
        (**self).starting_at(s)
    }

    fn derivative(&self) -> Derivative {
        (**self).derivative()
    }

    fn cost(&self) -> Option<Cost> {
        (**self).cost()
    }
}

/// The flow map of a network, its condition fixed.
///
/// Times are `(B,)` tensors, samples `(B, ...)`.
#[derive(Clone, Copy)]
pub struct FlowMap<'a> {
    net: &'a dyn AverageVelocity,
    condition: Condition<'a>,
    derivative: Derivative,
}

/// How derivatives of a network along a direction are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derivative {
    /// Exactly, by dual numbers: one evaluation that costs two.
    #[default]
    Dual,
    /// By central differences, (v(s + ε ṡ, t + ε ṫ, x + ε ẋ) − v(s − ε ṡ, t − ε ṫ, x − ε ẋ))/2ε with ε = 0.005, for a
    /// network that has no dual form: two evaluations in addition to the value, with an error of the order of ε².
    Central,
}

impl Derivative {
    /// Central differences if either asks for them.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Dual { other } else { self }
    }
}

/// ε of [`Derivative::Central`], as small as single precision allows.
const EPSILON: f64 = 5e-3;

impl<'a> FlowMap<'a> {
    /// The flow map of an unconditional network.
    pub fn new(net: &'a dyn AverageVelocity) -> Self {
        Self { net, condition: Condition::default(), derivative: net.derivative() }
    }

    /// The flow map of a network given a condition, or labels `(B,)` of u32 alone.
    pub fn given(net: &'a dyn AverageVelocity, condition: impl Into<Condition<'a>>) -> Self {
        Self { net, condition: condition.into(), derivative: net.derivative() }
    }

    /// This map with derivatives taken in another way, except that a network which ignores tangents keeps
    /// central differences.
    pub fn with_derivative(self, derivative: Derivative) -> Self {
        Self { derivative: derivative.or(self.net.derivative()), ..self }
    }

    /// The network.
    pub fn net(&self) -> &'a dyn AverageVelocity {
        self.net
    }

    /// The condition it is given.
    pub fn condition(&self) -> Condition<'a> {
        self.condition
    }

    /// v_{s,t}(x).
    ///
    /// # Errors
    /// As the network.
    pub fn average_velocity(&self, s: &Tensor, t: &Tensor, x: &Tensor) -> Result<Tensor> {
        Ok(self.net.average_velocity(&s.into(), &t.into(), &x.into(), self.condition)?.into_parts().0)
    }

    /// v_{s,t}(x) and its derivative along any direction of (s, t, x).
    ///
    /// # Errors
    /// As the network.
    pub fn average_velocity_dual(&self, s: &Dual, t: &Dual, x: &Dual) -> Result<Dual> {
        let inputs = [s, t, x];
        match self.derivative {
            Derivative::Central if inputs.iter().any(|input| input.tangent().is_some()) => {
                let moved = |sign: f64| -> Result<Tensor> {
                    let at = |input: &Dual| -> Result<Tensor> {
                        Ok(match input.tangent() {
                            Some(direction) => (input.primal() + (direction * (sign * EPSILON))?)?,
                            None => input.primal().clone(),
                        })
                    };
                    self.average_velocity(&at(s)?, &at(t)?, &at(x)?)
                };
                let value = self.average_velocity(s.primal(), t.primal(), x.primal())?;
                let tangent = ((moved(1.0)? - moved(-1.0)?)? / (2.0 * EPSILON))?;
                Ok(Dual::new(value, tangent)?)
            }
            _ => self.net.average_velocity(s, t, x, self.condition),
        }
    }

    /// b_t(x) = v_{t,t}(x), the velocity field of the probability flow.
    ///
    /// # Errors
    /// As the network.
    pub fn velocity(&self, t: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.average_velocity(t, t, x)
    }

    /// This map under another condition.
    pub fn with_condition<'b>(&self, condition: impl Into<Condition<'b>>) -> FlowMap<'b>
    where
        'a: 'b,
    {
        FlowMap { net: self.net, condition: condition.into(), derivative: self.derivative }
    }

    /// X_{s,t}(x).
    ///
    /// # Errors
    /// As the network.
    pub fn jump(&self, s: &Tensor, t: &Tensor, x: &Tensor) -> Result<Tensor> {
        Ok(self.jump_dual(&s.into(), &t.into(), &x.into())?.into_parts().0)
    }

    /// X_{s,t}(x) and ∂_t X_{s,t}(x).
    ///
    /// # Errors
    /// As the network.
    pub fn jump_dt(&self, s: &Tensor, t: &Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
        value_and_tangent(self.jump_dual(&s.into(), &Dual::variable(t.clone())?, &x.into())?)
    }

    /// X_{s,t}(x) and ∂_s X_{s,t}(x).
    ///
    /// # Errors
    /// As the network.
    pub fn jump_ds(&self, s: &Tensor, t: &Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
        value_and_tangent(self.jump_dual(&Dual::variable(s.clone())?, &t.into(), &x.into())?)
    }

    /// X_{s,t}(x) and ∇X_{s,t}(x) · `direction`.
    ///
    /// # Errors
    /// As the network.
    pub fn jvp(&self, s: &Tensor, t: &Tensor, x: &Tensor, direction: &Tensor) -> Result<(Tensor, Tensor)> {
        value_and_tangent(self.jump_dual(&s.into(), &t.into(), &Dual::new(x.clone(), direction.clone())?)?)
    }

    /// X_{s,t}(x) and its derivative along any direction of (s, t, x).
    ///
    /// # Errors
    /// As the network.
    pub fn jump_dual(&self, s: &Dual, t: &Dual, x: &Dual) -> Result<Dual> {
        let v_st = self.average_velocity_dual(s, t, x)?;
        let rank = x.dims().len();
        Ok(x.add(&t.sub(s)?.column(rank)?.mul(&v_st)?)?)
    }

    /// This map for jumps that all start at `s`, see [`AverageVelocity::starting_at`].
    pub fn starting_at(self, s: f64) -> Self {
        Self { net: self.net.starting_at(s).unwrap_or(self.net), ..self }
    }
}

impl fmt::Debug for FlowMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowMap").field("condition", &self.condition).finish_non_exhaustive()
    }
}

/// Both parts of a dual, a zero tangent written out.
fn value_and_tangent(dual: Dual) -> Result<(Tensor, Tensor)> {
    let tangent = dual.tangent_or_zeros()?;
    Ok((dual.into_parts().0, tangent))
}
