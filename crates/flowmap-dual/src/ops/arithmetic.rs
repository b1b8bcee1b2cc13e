//! Sums, products and quotients, with broadcasting.
//!
//! (x + ε ẋ)(y + ε ẏ) = x y + ε (ẋ y + x ẏ)

use candle_core::{DType, Tensor};
use flowmap_kernel::ScaledSum;

use super::modulate::{input, output};
use crate::gradient::apply2;
use crate::{Dual, Result};

/// The sum of two optional tangents, both of the shape of the output.
fn add_tangents(a: Option<Tensor>, b: Option<Tensor>) -> Result<Option<Tensor>> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => Some((a + b)?),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => None,
    })
}

impl Dual {
    /// x + y, broadcasting.
    ///
    /// # Errors
    /// Where the shapes do not broadcast.
    pub fn add(&self, rhs: &Self) -> Result<Self> {
        self.scaled_plus(1.0, rhs)
    }

    /// `scale` x + y, broadcasting.
    ///
    /// In f32 on a CPU one fused pass where both have the same shape; elsewhere the composed operations run.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use flowmap_dual::Dual;
    ///
    /// let x = Dual::variable(Tensor::new(&[1f32, 2.0], &Device::Cpu)?)?;
    /// let y = x.scaled_plus(3.0, &x)?;
    /// assert_eq!(y.primal().to_vec1::<f32>()?, [4.0, 8.0]);
    /// assert_eq!(y.tangent_or_zeros()?.to_vec1::<f32>()?, [4.0, 4.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Where the shapes do not broadcast.
    pub fn scaled_plus(&self, scale: f64, rhs: &Self) -> Result<Self> {
        let is_whole = |x: &Self| x.made_stacked().is_some() || x.tangent().is_none();
        let fits = |x: &Self| x.dtype() == DType::F32 && x.device().is_cpu() && is_whole(x);
        let are_alike = self.shape() == rhs.shape() && self.tangent().is_some() == rhs.tangent().is_some();
        if are_alike && fits(self) && fits(rhs) {
            let ((x, parts), (y, _)) = (input(self)?, input(rhs)?);
            return output(apply2(&x, &y, ScaledSum(scale as f32))?, parts);
        }
        if scale != 1.0 {
            return self.scale(scale)?.scaled_plus(1.0, rhs);
        }
        if let (Some(x), Some(y)) = (self.made_stacked(), rhs.made_stacked())
            && x.shape() == y.shape()
        {
            return Self::from_stacked((x + y)?);
        }
        let primal = self.primal().broadcast_add(rhs.primal())?;
        let to_output =
            |tangent: Option<&Tensor>| tangent.map(|t| t.broadcast_as(primal.shape())).transpose();
        let tangent = add_tangents(to_output(self.tangent())?, to_output(rhs.tangent())?)?;
        Ok(Self::from_parts(primal, tangent))
    }

    /// x − y, broadcasting.
    ///
    /// # Errors
    /// Where the shapes do not broadcast.
    pub fn sub(&self, rhs: &Self) -> Result<Self> {
        self.add(&rhs.neg()?)
    }

    /// x y elementwise, broadcasting.
    ///
    /// # Errors
    /// Where the shapes do not broadcast.
    pub fn mul(&self, rhs: &Self) -> Result<Self> {
        let primal = self.primal().broadcast_mul(rhs.primal())?;
        let left = self.tangent().map(|dx| dx.broadcast_mul(rhs.primal())).transpose()?;
        let right = rhs.tangent().map(|dy| self.primal().broadcast_mul(dy)).transpose()?;
        Ok(Self::from_parts(primal, add_tangents(left, right)?))
    }

    /// x / y elementwise, broadcasting; the tangent is (ẋ − (x/y) ẏ) / y.
    ///
    /// # Errors
    /// Where the shapes do not broadcast.
    pub fn div(&self, rhs: &Self) -> Result<Self> {
        let primal = self.primal().broadcast_div(rhs.primal())?;
        let left = self.tangent().map(|dx| dx.broadcast_div(rhs.primal())).transpose()?;
        let right = match rhs.tangent() {
            Some(dy) => Some(primal.broadcast_mul(dy)?.neg()?.broadcast_div(rhs.primal())?),
            None => None,
        };
        Ok(Self::from_parts(primal, add_tangents(left, right)?))
    }

    /// −x.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn neg(&self) -> Result<Self> {
        self.map_linear(Tensor::neg)
    }

    /// `scale` x.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn scale(&self, scale: f64) -> Result<Self> {
        match self.made_stacked() {
            Some(stacked) => Self::from_stacked((stacked * scale)?),
            None => self.map_linear(|x| x * scale),
        }
    }

    /// x + `shift`.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn shift(&self, shift: f64) -> Result<Self> {
        Ok(Self::from_parts((self.primal() + shift)?, self.tangent().cloned()))
    }

    /// x · y over the last two dimensions, batched over those before.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn matmul(&self, rhs: &Self) -> Result<Self> {
        let product = |x: &Tensor, y: &Tensor| x.contiguous()?.matmul(&y.contiguous()?);
        let primal = product(self.primal(), rhs.primal())?;
        let left = self.tangent().map(|dx| product(dx, rhs.primal())).transpose()?;
        let right = rhs.tangent().map(|dy| product(self.primal(), dy)).transpose()?;
        Ok(Self::from_parts(primal, add_tangents(left, right)?))
    }
}
