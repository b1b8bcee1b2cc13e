//! Sums, products and quotients, with broadcasting.
//!
//! (x + ε ẋ)(y + ε ẏ) = x y + ε (ẋ y + x ẏ)

use candle_core::Tensor;

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
    /// As Candle.
    pub fn neg(&self) -> Result<Self> {
        self.map_linear(Tensor::neg)
    }

    /// `scale` x.
    ///
    /// # Errors
    /// As Candle.
    pub fn scale(&self, scale: f64) -> Result<Self> {
        match self.made_stacked() {
            Some(stacked) => Self::from_stacked((stacked * scale)?),
            None => self.map_linear(|x| x * scale),
        }
    }

    /// x + `shift`.
    ///
    /// # Errors
    /// As Candle.
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
