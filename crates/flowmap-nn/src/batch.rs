//! What an objective is computed on: pairs of noise and data, and times.

use candle_core::{DType, Device, Tensor};
use flowmap_core::Interpolant;

use crate::{Condition, Result};

/// One time per sample, on the host in f64 and on the device as a `(B,)` tensor.
///
/// The host copy lets the interpolant's coefficients be computed in f64 whatever the type of the network.
#[derive(Clone, Debug)]
pub struct TimeColumn {
    host: Vec<f64>,
    tensor: Tensor,
}

impl TimeColumn {
    /// Times `host`, one per sample.
    ///
    /// # Errors
    /// As Candle.
    pub fn new(host: Vec<f64>, dtype: DType, device: &Device) -> Result<Self> {
        let tensor = column(&host, |t| t, dtype, device)?;
        Ok(Self { host, tensor })
    }

    /// The times in f64.
    pub fn host(&self) -> &[f64] {
        &self.host
    }

    /// The times as a tensor `(B,)`.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// s + part (t − s) of every pair, on the device of `s`.
    pub(crate) fn between(s: &Self, t: &Self, part: f64) -> Result<Self> {
        let host = s.host.iter().zip(&t.host).map(|(s, t)| s + part * (t - s)).collect();
        Self::new(host, s.tensor.dtype(), s.tensor.device())
    }

    /// f(t) of every time as a tensor `(B,)`, computed in f64.
    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Result<Tensor> {
        column(&self.host, f, self.tensor.dtype(), self.tensor.device())
    }
}

fn column(host: &[f64], f: impl Fn(f64) -> f64, dtype: DType, device: &Device) -> Result<Tensor> {
    let values: Vec<f64> = host.iter().copied().map(f).collect();
    Ok(Tensor::from_vec(values, host.len(), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

/// Start s, middle u and end t of each sample's jump, s <= u <= t.
#[derive(Clone, Debug)]
pub struct Times {
    /// Start times.
    pub s: TimeColumn,
    /// Middle times; not every objective uses them.
    pub u: TimeColumn,
    /// End times.
    pub t: TimeColumn,
}

impl Times {
    /// Uploads triples of times, which [`flowmap_core::Times`] keeps in order.
    ///
    /// # Errors
    /// As Candle.
    pub fn new(triples: &[flowmap_core::Times], dtype: DType, device: &Device) -> Result<Self> {
        let upload = |f: fn(&flowmap_core::Times) -> f64| {
            TimeColumn::new(triples.iter().map(f).collect(), dtype, device)
        };
        Ok(Self { s: upload(|x| x.s())?, u: upload(|x| x.u())?, t: upload(|x| x.t())? })
    }

    /// f(t − s) of each sample as `(B,)`, computed in f64.
    pub(crate) fn map_width(&self, f: impl Fn(f64) -> f64) -> Result<Tensor> {
        let widths: Vec<f64> = self.s.host.iter().zip(&self.t.host).map(|(s, t)| t - s).collect();
        column(&widths, f, self.s.tensor.dtype(), self.s.tensor.device())
    }

    /// γ = (u − s)/(t − s) of each sample as `(B,)`, zero where t = s.
    ///
    /// # Errors
    /// As Candle.
    pub fn gamma(&self) -> Result<Tensor> {
        let (s, t) = (self.s.host(), self.t.host());
        let gamma = |i: usize, u: f64| if t[i] > s[i] { (u - s[i]) / (t[i] - s[i]) } else { 0.0 };
        let values = self.u.host().iter().enumerate().map(|(i, &u)| gamma(i, u)).collect();
        Ok(TimeColumn::new(values, self.s.tensor.dtype(), self.s.tensor.device())?.tensor)
    }
}

/// A batch of pairs (x_0, x_1) and the interpolant between them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Noise, `(B, ...)`.
    pub x0: &'a Tensor,
    /// Data, `(B, ...)`.
    pub x1: &'a Tensor,
    /// What the network is told of each pair.
    pub condition: Condition<'a>,
    /// The interpolant I_t = α_t x_0 + β_t x_1.
    pub interpolant: &'a dyn Interpolant,
}

impl Batch<'_> {
    /// I_t = α_t x_0 + β_t x_1, `(B, ...)`.
    ///
    /// # Errors
    /// Where the number of times is not that of the samples.
    pub fn i(&self, t: &TimeColumn) -> Result<Tensor> {
        self.combine(&t.map(|t| self.interpolant.alpha(t))?, &t.map(|t| self.interpolant.beta(t))?)
    }

    /// İ_t = α̇_t x_0 + β̇_t x_1, `(B, ...)`.
    ///
    /// # Errors
    /// Where the number of times is not that of the samples.
    pub fn di(&self, t: &TimeColumn) -> Result<Tensor> {
        self.combine(&t.map(|t| self.interpolant.alpha_dot(t))?, &t.map(|t| self.interpolant.beta_dot(t))?)
    }

    fn combine(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let rank = self.x0.rank();
        Ok((self.x0.broadcast_mul(&as_column(a, rank)?)? + self.x1.broadcast_mul(&as_column(b, rank)?)?)?)
    }
}

/// `(B,)` as `(B, 1, ..., 1)` of the given rank.
pub(crate) fn as_column(t: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank.max(1)];
    dims[0] = t.elem_count();
    Ok(t.reshape(dims)?)
}
