//! Elementwise functions: y = f(x), ẏ = f'(x) ẋ.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use candle_core::{DType, Tensor};
use flowmap_kernel::{SinCos, is_within};

use super::modulate::{input, output};
use crate::gradient::apply1;
use crate::host::filled_like;
use crate::{Activation, Dual, Result};

impl Dual {
    /// An activation function, by Candle's own operations: the oracle of the fused ones.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn activate(&self, activation: Activation) -> Result<Self> {
        match activation {
            Activation::GeluTanh => {
                let inner = self.sqr()?.scale(0.044715)?.shift(1.0)?.mul(self)?.scale(FRAC_2_PI.sqrt())?;
                self.scale(0.5)?.mul(&inner.tanh()?.shift(1.0)?)
            }
            Activation::GeluErf => self.scale(0.5)?.mul(&self.scale(FRAC_1_SQRT_2)?.erf()?.shift(1.0)?),
            Activation::Silu => self.mul(&self.sigmoid()?),
            Activation::Tanh => self.tanh(),
            Activation::ReluSquared => self.relu()?.sqr(),
        }
    }

    /// e^x.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn exp(&self) -> Result<Self> {
        self.map_elementwise(Tensor::exp, |_, y| Ok(y.clone()))
    }

    /// ln x, for x > 0.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn ln(&self) -> Result<Self> {
        self.map_elementwise(Tensor::log, |x, _| x.recip())
    }

    /// sin x.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn sin(&self) -> Result<Self> {
        self.map_elementwise(Tensor::sin, |x, _| x.cos())
    }

    /// cos x.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn cos(&self) -> Result<Self> {
        self.map_elementwise(Tensor::cos, |x, _| x.sin()?.neg())
    }

    /// sin x and cos x, joined along the last dimension: `(..., n)` to `(..., 2 n)`.
    ///
    /// In f32 on a CPU one fused pass; elsewhere the composed operations run.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn sin_cos(&self) -> Result<Self> {
        if self.dtype() != DType::F32 || !self.device().is_cpu() || self.dims().is_empty() {
            return Self::cat_last(&[self.sin()?, self.cos()?]);
        }
        let (x, parts) = input(self)?;
        output(apply1(&x, SinCos(parts))?, parts)
    }

    /// x².
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn sqr(&self) -> Result<Self> {
        self.map_elementwise(Tensor::sqr, |x, _| x * 2.0)
    }

    /// √x, for x > 0: the derivative at zero is infinite.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn sqrt(&self) -> Result<Self> {
        self.map_elementwise(Tensor::sqrt, |_, y| y.recip()? * 0.5)
    }

    /// 1/x.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn recip(&self) -> Result<Self> {
        self.map_elementwise(Tensor::recip, |_, y| y.sqr()?.neg())
    }

    /// x^e for a constant exponent, x > 0 or e a whole number.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn powf(&self, e: f64) -> Result<Self> {
        self.map_elementwise(|x| x.powf(e), |x, _| x.powf(e - 1.0)? * e)
    }

    /// tanh x.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn tanh(&self) -> Result<Self> {
        self.map_elementwise(Tensor::tanh, |_, y| 1.0 - y.sqr()?)
    }

    /// The logistic function 1 / (1 + e^−x), as (1 + tanh(x/2)) / 2, which overflows nowhere.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn sigmoid(&self) -> Result<Self> {
        self.scale(0.5)?.tanh()?.shift(1.0)?.scale(0.5)
    }

    /// The error function.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn erf(&self) -> Result<Self> {
        let slope = std::f64::consts::FRAC_2_SQRT_PI; // erf'(0) = 2/√π
        self.map_elementwise(Tensor::erf, |x, _| x.sqr()?.neg()?.exp()? * slope)
    }

    /// x within `-bound` and `bound`; the derivative is one inside and zero beyond.
    ///
    /// On a CPU, f32 numbers that are all inside are passed on as they are.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn clamp(&self, bound: f64) -> Result<Self> {
        let x = self.primal();
        if self.device().is_cpu() && x.dtype() == DType::F32 && is_within(&x.contiguous()?, bound as f32)? {
            return Ok(self.clone());
        }
        let clamp = |x: &Tensor| x.maximum(&filled_like(x, -bound)?)?.minimum(&filled_like(x, bound)?);
        self.map_elementwise(clamp, |x, _| x.abs()?.le(&filled_like(x, bound)?)?.to_dtype(x.dtype()))
    }

    /// max(x, 0); the derivative at zero counts as one, as in Candle.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn relu(&self) -> Result<Self> {
        self.map_elementwise(Tensor::relu, |x, _| x.ge(&filled_like(x, 0.0)?)?.to_dtype(x.dtype()))
    }
}
