//! Named parameters: made from a seed, or taken from a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Shape, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Dual, host};

use crate::net::{ActivationMemory, Precision};
use crate::{Error, Result};

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// Normal with this standard deviation.
    Normal(f64),
    /// Normal with variance 1/fan_in, LeCun and others 1998, with fan_in the product of all sizes but the first.
    LecunNormal,
    /// Uniform with variance 2/(fan_in + fan_out), Glorot and Bengio 2010, times this factor,
    /// with fan_in the product of all sizes except the first, and fan_out the product of all except the second.
    XavierUniform(f64),
}

/// The parameters of a network by name, in alphabetical order.
///
/// Trainable ones are variables; buffers are part of the model but have no gradient.
#[derive(Clone, Debug, Default)]
pub struct Params {
    vars: BTreeMap<String, Var>,
    buffers: BTreeMap<String, Tensor>,
    /// The parameters that [`Params::project`] brings back to their sphere.
    on_sphere: BTreeSet<String>,
}

/// Added to the magnitude of a row of weights before it is divided by.
pub(crate) const MAGNITUDE_EPS: f64 = 1e-4;

impl Params {
    /// The trainable parameters.
    pub fn vars(&self) -> &BTreeMap<String, Var> {
        &self.vars
    }

    /// Number of trainable numbers.
    pub fn n_elements(&self) -> usize {
        self.vars.values().map(|v| v.elem_count()).sum()
    }

    /// Whether [`Params::project`] has something to do.
    pub fn has_spheres(&self) -> bool {
        !self.on_sphere.is_empty()
    }

    /// Forced weight normalization: every row of the weights that a network keeps on a sphere is divided by its magnitude,
    /// w ← w / (rms w + 1e-4) (EDM2, Karras and others 2023, arXiv:2312.02696). For after each update.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn project(&self) -> Result<()> {
        for name in &self.on_sphere {
            if let Some(var) = self.vars.get(name) {
                var.set(&rows_of_magnitude(&var.as_detached_tensor(), 1.0)?)?;
            }
        }
        Ok(())
    }

    /// All tensors by name, buffers included, off the tape.
    /// The tensors share memory with the parameters and follow their updates.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let vars = self.vars.iter().map(|(name, v)| (name.clone(), v.as_detached_tensor()));
        vars.chain(self.buffers.iter().map(|(name, b)| (name.clone(), b.clone()))).collect()
    }

    /// All tensors by name, buffers included, in memory of their own.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn copied_tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.tensors().into_iter().map(|(name, t)| Ok((name, t.copy()?))).collect()
    }
}

/// Each row of weights `(out, ...)` divided by its magnitude, w / (rms w + 1e-4), times another.
///
/// # Errors
/// Candle's error, if an operation fails.
pub(crate) fn rows_of_magnitude(weight: &Tensor, magnitude: f64) -> Result<Tensor> {
    let rows = Dual::constant(weight.flatten_from(1)?).with_magnitude(magnitude, 1, MAGNITUDE_EPS)?;
    Ok(rows.primal().reshape(weight.shape())?)
}

/// Where the parameters of a network come from.
enum Source {
    /// Drawn anew; each parameter has its own noise, keyed by its name.
    Fresh { seed: u64 },
    /// Copied from tensors, trainable.
    Trainable(BTreeMap<String, Tensor>),
    /// Taken as they are, sharing memory, not trainable.
    Frozen(BTreeMap<String, Tensor>),
    /// Zeros that take no memory, to count the parameters of a network of any size.
    Outline,
}

/// Hands parameters to a network while it is built.
pub struct ParamBuilder {
    source: Source,
    dtype: DType,
    device: Device,
    params: Params,
    n_trainable: usize,
    activations: ActivationMemory,
    precision: Precision,
}

impl ParamBuilder {
    /// Draws every parameter anew from the noise of `seed`.
    /// A parameter's start depends on its name and shape alone, not on the other parameters.
    pub fn fresh(seed: u64, dtype: DType, device: &Device) -> Self {
        Self::new(Source::Fresh { seed }, dtype, device)
    }

    /// Trains on from `tensors`, which are copied.
    pub fn trainable(tensors: BTreeMap<String, Tensor>, dtype: DType, device: &Device) -> Self {
        Self::new(Source::Trainable(tensors), dtype, device)
    }

    /// Uses `tensors` as they are: nothing is recorded for a backward pass.
    /// Where type and device already fit, memory is shared, so the network follows updates of a [`Params`].
    pub fn frozen(tensors: BTreeMap<String, Tensor>, dtype: DType, device: &Device) -> Self {
        Self::new(Source::Frozen(tensors), dtype, device)
    }

    /// Hands out zeros that take no memory, for counting.
    pub fn outline(dtype: DType, device: &Device) -> Self {
        Self::new(Source::Outline, dtype, device)
    }

    /// How many trainable numbers were asked for so far.
    pub fn n_trainable(&self) -> usize {
        self.n_trainable
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn new(source: Source, dtype: DType, device: &Device) -> Self {
        Self {
            source,
            dtype,
            device: device.clone(),
            params: Params::default(),
            n_trainable: 0,
            activations: ActivationMemory::Keep,
            precision: Precision::F32,
        }
    }

    /// Builds networks that treat the activations of their blocks like this.
    pub fn with_activations(self, activations: ActivationMemory) -> Self {
        Self { activations, ..self }
    }

    /// Builds networks that compute in this precision; their parameters keep their type.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// What networks compute in; [`Precision::F32`] unless asked otherwise.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What becomes of the activations of blocks; [`ActivationMemory::Keep`] unless asked otherwise.
    pub fn activations(&self) -> ActivationMemory {
        self.activations
    }

    /// A trainable parameter.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] or [`Error::TensorShape`] where a checkpoint does not have it.
    pub fn param<S: Into<Shape>>(&mut self, name: &str, shape: S, init: Init) -> Result<Tensor> {
        let tensor = self.tensor(name, shape.into(), init)?;
        self.n_trainable += tensor.elem_count();
        if matches!(self.source, Source::Frozen(_) | Source::Outline) {
            self.params.buffers.insert(name.to_owned(), tensor.clone());
            return Ok(tensor);
        }
        let var = Var::from_tensor(&tensor)?;
        let tensor = var.as_tensor().clone();
        self.params.vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    /// A trainable weight `(out, ...)`, normal at first, whose rows [`Params::project`] keeps at magnitude one.
    ///
    /// # Errors
    /// As [`ParamBuilder::param`].
    pub fn param_on_sphere<S: Into<Shape>>(&mut self, name: &str, shape: S) -> Result<Tensor> {
        let tensor = self.param(name, shape, Init::Normal(1.0))?;
        self.params.on_sphere.insert(name.to_owned());
        Ok(tensor)
    }

    /// A tensor that belongs to the model, is not trained and starts with the numbers that `values` gives.
    ///
    /// # Errors
    /// As [`ParamBuilder::param`]; where `values` gives another number of numbers.
    pub fn table<S: Into<Shape>>(
        &mut self,
        name: &str,
        shape: S,
        values: impl FnOnce() -> Vec<f64>,
    ) -> Result<Tensor> {
        if !matches!(self.source, Source::Fresh { .. }) {
            return self.buffer(name, shape, Init::Zeros);
        }
        let tensor = self.constant(shape, values())?;
        self.params.buffers.insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    /// A tensor of these numbers in the type and place of the parameters, which no checkpoint holds.
    ///
    /// # Errors
    /// Where the numbers do not fill the shape.
    pub fn constant<S: Into<Shape>>(&self, shape: S, values: Vec<f64>) -> Result<Tensor> {
        let tensor = Tensor::from_vec(values, shape.into(), &Device::Cpu)?;
        Ok(tensor.to_dtype(self.dtype)?.to_device(&self.device)?)
    }

    /// A tensor that belongs to the model but is not trained.
    ///
    /// # Errors
    /// As [`ParamBuilder::param`].
    pub fn buffer<S: Into<Shape>>(&mut self, name: &str, shape: S, init: Init) -> Result<Tensor> {
        let tensor = self.tensor(name, shape.into(), init)?;
        self.params.buffers.insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    fn tensor(&mut self, name: &str, shape: Shape, init: Init) -> Result<Tensor> {
        let tensors = match &mut self.source {
            Source::Fresh { seed } => return draw(*seed, name, shape, init, self.dtype, &self.device),
            Source::Trainable(tensors) | Source::Frozen(tensors) => tensors,
            Source::Outline => {
                return Ok(Tensor::zeros((), self.dtype, &self.device)?.broadcast_as(shape)?);
            }
        };
        Ok(take(tensors, name, &shape)?.to_device(&self.device)?.to_dtype(self.dtype)?)
    }

    /// The parameters handed out.
    ///
    /// # Errors
    /// [`Error::UnexpectedTensor`] where the checkpoint has one that the network did not ask for.
    pub fn finish(self) -> Result<Params> {
        if let Source::Trainable(rest) | Source::Frozen(rest) = self.source {
            refuse_rest(rest)?;
        }
        Ok(self.params)
    }
}

/// Takes the tensor `name` of the given shape out of a checkpoint.
fn take(tensors: &mut BTreeMap<String, Tensor>, name: &str, shape: &Shape) -> Result<Tensor> {
    let Some(tensor) = tensors.remove(name) else {
        return Err(Error::MissingTensor { name: name.to_owned(), expected: shape.clone() });
    };
    if tensor.shape() != shape {
        let (expected, found) = (shape.clone(), tensor.shape().clone());
        return Err(Error::TensorShape { name: name.to_owned(), expected, found });
    }
    Ok(tensor)
}

/// Takes the tensor `name` out of a checkpoint, a copy in the shape, type and place of `like`.
pub(crate) fn take_like(tensors: &mut BTreeMap<String, Tensor>, name: &str, like: &Tensor) -> Result<Tensor> {
    Ok(take(tensors, name, like.shape())?.to_device(like.device())?.to_dtype(like.dtype())?.copy()?)
}

/// Whether a tensor holds finite numbers alone.
///
/// # Errors
/// Candle's error, if an operation fails.
pub fn is_finite(x: &Tensor) -> Result<bool> {
    // 0 x is zero for finite x and NaN for others; sums of the numbers themselves might overflow.
    Ok(host::number(&(x.detach() * 0.0)?.sum_all()?)? == 0.0)
}

/// Refuses tensors that nothing took out of a checkpoint.
pub(crate) fn refuse_rest(rest: BTreeMap<String, Tensor>) -> Result<()> {
    match rest.into_iter().next() {
        Some((name, tensor)) => Err(Error::UnexpectedTensor { name, found: tensor.shape().clone() }),
        None => Ok(()),
    }
}

/// The starting value of the parameter `name`.
fn draw(seed: u64, name: &str, shape: Shape, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
    let fan_in: usize = shape.dims().iter().skip(1).product();
    let mut noise = NoiseStream::new(seed, Stream::Init).at(fnv1a(name));
    let mut values = vec![0f64; shape.elem_count()];
    let mut normal = |std: f64| {
        noise.fill_normal(&mut values);
        values.iter_mut().for_each(|v| *v *= std);
    };
    match init {
        Init::Zeros => return Ok(Tensor::zeros(shape, dtype, device)?),
        Init::Ones => return Ok(Tensor::ones(shape, dtype, device)?),
        Init::Normal(std) => normal(std),
        Init::LecunNormal => normal((fan_in.max(1) as f64).sqrt().recip()),
        Init::XavierUniform(factor) => {
            let fan_out: usize = shape.dims().iter().take(1).chain(shape.dims().iter().skip(2)).product();
            let bound = factor * (6.0 / (fan_in + fan_out).max(1) as f64).sqrt();
            values.iter_mut().for_each(|v| *v = bound * (2.0 * noise.uniform() - 1.0));
        }
    }
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

/// The 64-bit FNV-1a hash of a name: stable across versions, unlike the standard library's.
pub(crate) fn fnv1a(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn build(mut builder: ParamBuilder) -> Result<Params> {
        builder.param("w", (2, 3), Init::LecunNormal)?;
        builder.param("b", 2, Init::Zeros)?;
        builder.buffer("f", 4, Init::Normal(1.0))?;
        builder.finish()
    }

    #[test]
    fn missing_misshapen_and_extra_tensors_are_named() {
        let device = Device::Cpu;
        let good = build(ParamBuilder::fresh(1, DType::F32, &device)).unwrap().copied_tensors().unwrap();
        let reload = |t| build(ParamBuilder::trainable(t, DType::F32, &device));
        assert_eq!(reload(good.clone()).unwrap().n_elements(), 8);

        let mut missing = good.clone();
        missing.remove("b");
        assert_eq!(reload(missing).unwrap_err().to_string(), "tensor `b` of shape [2] is missing");

        let mut misshapen = good.clone();
        misshapen.insert("w".into(), Tensor::zeros((3, 2), DType::F32, &device).unwrap());
        assert_eq!(
            reload(misshapen).unwrap_err().to_string(),
            "tensor `w` has shape [3, 2], expected [2, 3]"
        );

        let mut extra = good;
        extra.insert("x".into(), Tensor::zeros(1, DType::F32, &device).unwrap());
        assert!(reload(extra).unwrap_err().to_string().starts_with("unexpected tensor `x`"));
    }

    #[test]
    fn xavier_weights_are_uniform_with_the_variance_of_both_fans() {
        let mut builder = ParamBuilder::fresh(3, DType::F64, &Device::Cpu);
        let weight = builder.param("w", (20, 30, 3, 3), Init::XavierUniform(0.5)).unwrap();
        let values = weight.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let bound = 0.5 * (6.0f64 / (9.0 * 50.0)).sqrt();
        let (n, largest) = (values.len() as f64, values.iter().fold(0.0f64, |max, w| max.max(w.abs())));
        assert!(largest <= bound && largest > 0.999 * bound, "{largest} of {bound}");
        // The standard error of a second moment b²/3 is b² √(4/45/n).
        let square = values.iter().map(|w| w * w).sum::<f64>() / n / bound.powi(2);
        assert!((square - 1.0 / 3.0).abs() < 4.0 * (4.0 / 45.0 / n).sqrt(), "{square}");
    }

    #[test]
    fn frozen_network_follows_updates_of_its_source() {
        let device = Device::Cpu;
        let params = build(ParamBuilder::fresh(1, DType::F32, &device)).unwrap();
        let mut frozen = ParamBuilder::frozen(params.tensors(), DType::F32, &device);
        let b = frozen.param("b", 2, Init::Zeros).unwrap();
        params.vars()["b"].set(&Tensor::new(&[1f32, 2.0], &device).unwrap()).unwrap();
        assert_eq!(b.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        assert!(!b.is_variable());
    }
}
