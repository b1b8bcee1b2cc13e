//! The dual tensor: a value and its derivative along one direction.

use candle_core::{DType, Device, Shape, Tensor};

use crate::{Error, Result};

/// A value together with its derivative along one direction, x + ε ẋ with ε² = 0.
///
/// Operations on duals carry ẋ by the chain rule, so that `f(x + ε ẋ) = f(x) + ε ∇f(x) ẋ`:
/// one pass gives a Jacobian-vector product.
/// Both parts are ordinary Candle tensors on the tape, so `backward()` differentiates through the product.
///
/// A dual without a tangent is a constant in that direction; its tangent is exactly zero and costs nothing.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use flowmap_dual::Dual;
///
/// let x = Tensor::new(&[0.5f64, 2.0], &Device::Cpu)?;
/// let y = Dual::new(x.clone(), x.ones_like()?)?.sqr()?; // x² and its derivative 2x
/// assert_eq!(y.tangent_or_zeros()?.to_vec1::<f64>()?, [1.0, 4.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dual {
    primal: Tensor,
    tangent: Option<Tensor>,
    /// Both parts in one tensor `(2, ...)`, where an operation made them so; then the two are views of it.
    stacked: Option<Tensor>,
}

impl Dual {
    /// A value with a tangent of the same shape, element type and device.
    ///
    /// # Errors
    /// [`Error::TangentShape`] or [`Error::TangentDType`] where the two do not fit.
    pub fn new(primal: Tensor, tangent: Tensor) -> Result<Self> {
        if primal.shape() != tangent.shape() {
            return Err(Error::TangentShape {
                primal: primal.shape().clone(),
                tangent: tangent.shape().clone(),
            });
        }
        if primal.dtype() != tangent.dtype() {
            return Err(Error::TangentDType { primal: primal.dtype(), tangent: tangent.dtype() });
        }
        Ok(Self { primal, tangent: Some(tangent), stacked: None })
    }

    /// A constant: its tangent is exactly zero and costs nothing.
    pub fn constant(primal: Tensor) -> Self {
        Self { primal, tangent: None, stacked: None }
    }

    /// The variable of differentiation: tangent one everywhere.
    ///
    /// # Errors
    /// Where Candle cannot make the tangent.
    pub fn variable(primal: Tensor) -> Result<Self> {
        let tangent = primal.ones_like()?;
        Self::new(primal, tangent)
    }

    /// Joins parts whose shapes an operation of this crate made equal.
    pub(crate) fn from_parts(primal: Tensor, tangent: Option<Tensor>) -> Self {
        Self { primal, tangent, stacked: None }
    }

    /// Takes value and tangent out of one tensor `(2, ...)`.
    pub(crate) fn from_stacked(stacked: Tensor) -> Result<Self> {
        // `get` would copy what is not contiguous.
        let (primal, tangent) = (stacked.narrow(0, 0, 1)?.squeeze(0)?, stacked.narrow(0, 1, 1)?.squeeze(0)?);
        Ok(Self { primal, tangent: Some(tangent), stacked: Some(stacked) })
    }

    /// Value and tangent in one tensor `(2, ...)`, so that one matrix product serves both; `None` without a tangent.
    pub(crate) fn stacked(&self) -> Result<Option<Tensor>> {
        match (&self.stacked, &self.tangent) {
            (Some(stacked), _) => Ok(Some(stacked.clone())),
            (None, Some(tangent)) => Ok(Some(Tensor::stack(&[&self.primal, tangent], 0)?)),
            (None, None) => Ok(None),
        }
    }

    /// The tensor `(2, ...)` of value and tangent where an operation made it, so that the next need not.
    pub(crate) fn made_stacked(&self) -> Option<&Tensor> {
        self.stacked.as_ref()
    }

    /// The value x.
    pub fn primal(&self) -> &Tensor {
        &self.primal
    }

    /// The derivative ẋ; `None` is an exact zero.
    pub fn tangent(&self) -> Option<&Tensor> {
        self.tangent.as_ref()
    }

    /// The derivative ẋ, zeros written out.
    ///
    /// # Errors
    /// Where Candle cannot make the zeros.
    pub fn tangent_or_zeros(&self) -> Result<Tensor> {
        match &self.tangent {
            Some(tangent) => Ok(tangent.clone()),
            None => Ok(self.primal.zeros_like()?),
        }
    }

    /// The value and its derivative, `None` for an exact zero.
    pub fn into_parts(self) -> (Tensor, Option<Tensor>) {
        (self.primal, self.tangent)
    }

    /// sg\[·\]: the same numbers, off the tape.
    pub fn detach(&self) -> Self {
        Self {
            primal: self.primal.detach(),
            tangent: self.tangent.as_ref().map(Tensor::detach),
            stacked: self.stacked.as_ref().map(Tensor::detach),
        }
    }

    /// The shape of the value and of the tangent.
    pub fn shape(&self) -> &Shape {
        self.primal.shape()
    }

    /// The sizes of the value and of the tangent.
    pub fn dims(&self) -> &[usize] {
        self.primal.dims()
    }

    /// The element type of both parts.
    pub fn dtype(&self) -> DType {
        self.primal.dtype()
    }

    /// The device of both parts.
    pub fn device(&self) -> &Device {
        self.primal.device()
    }

    /// Applies a linear map to both parts: f(x + ε ẋ) = f(x) + ε f(ẋ).
    pub(crate) fn map_linear(&self, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let tangent = self.tangent.as_ref().map(&f).transpose()?;
        Ok(Self::from_parts(f(&self.primal)?, tangent))
    }

    /// Applies an elementwise function by the chain rule: y = f(x), ẏ = f'(x, y) ẋ.
    ///
    /// The derivative is computed only if there is a tangent.
    pub(crate) fn map_elementwise(
        &self,
        f: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
        derivative: impl FnOnce(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Self> {
        let y = f(&self.primal)?;
        let tangent = match &self.tangent {
            Some(tangent) => Some((derivative(&self.primal, &y)? * tangent)?),
            None => None,
        };
        Ok(Self::from_parts(y, tangent))
    }
}

impl From<Tensor> for Dual {
    fn from(primal: Tensor) -> Self {
        Self::constant(primal)
    }
}

impl From<&Tensor> for Dual {
    fn from(primal: &Tensor) -> Self {
        Self::constant(primal.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tangent_of_another_shape_or_type_is_refused() {
        let x = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
        let narrow = Tensor::zeros((2, 2), DType::F64, &Device::Cpu).unwrap();
        let single = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(Dual::new(x.clone(), narrow), Err(Error::TangentShape { .. })));
        assert!(matches!(Dual::new(x, single), Err(Error::TangentDType { .. })));
    }

    #[test]
    fn detached_dual_keeps_its_numbers() {
        let x = Tensor::new(&[1f64, -2.0], &Device::Cpu).unwrap();
        let d = Dual::new(x.clone(), x).unwrap().detach();
        assert_eq!(d.tangent_or_zeros().unwrap().to_vec1::<f64>().unwrap(), [1.0, -2.0]);
    }
}
