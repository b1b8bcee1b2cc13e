//! What a CUDA device needs that tensors do not do: one stream, clipping, Adam's step and noise, by the kernels of flowmap-kernel.
//!
//! The kernels take f32; every other type takes the composed operations.

use candle_core::{DType, Device, Tensor};
pub use flowmap_kernel::cuda::{AdamRule, MAX_AVERAGES, OPTIONS, SOURCES};

use crate::Result;

/// A CUDA device whose work runs in one stream, whatever thread asks for it.
///
/// Candle's own `Device::new_cuda` has a stream for each thread of the host and nothing that orders them:
/// a tensor that one thread makes and another reads may not be ready.
/// All tensors of this device belong to one stream, so that nothing needs to be waited for.
///
/// # Errors
/// An error if the crate was built without the feature `cuda`, or if there is no such device.
pub fn open(ordinal: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = &device {
        flowmap_kernel::cuda::trust_one_stream(cuda);
    }
    Ok(device)
}

/// The norm of gradients and the factor that clips it, in the memory of the device, or on the host for one that is read at once.
///
/// |g|² = Σ over all gradients,  c = min(1, max_norm / |g|)
#[derive(Clone, Debug)]
pub struct GradientNorm(Found);

/// Where norm and factor are.
#[derive(Clone, Debug)]
enum Found {
    /// On a device, `(2,)` in f64.
    Device(Tensor),
    /// On the host.
    Host([f64; 2]),
}

impl GradientNorm {
    /// A norm that is known already.
    ///
    /// ```
    /// use flowmap_dual::cuda::GradientNorm;
    ///
    /// assert_eq!(GradientNorm::known(4.0, Some(1.0)).factor()?, Some(0.25));
    /// assert_eq!(GradientNorm::known(f64::NAN, None).factor()?, None);
    /// # Ok::<(), flowmap_dual::Error>(())
    /// ```
    pub fn known(norm: f64, max_norm: Option<f64>) -> Self {
        Self(Found::Host([norm, max_norm.map_or(1.0, |max_norm| (max_norm / norm).min(1.0))]))
    }

    /// A norm and its factor where a device keeps them, `(2,)` in f64.
    pub fn kept(both: Tensor) -> Self {
        Self(Found::Device(both))
    }

    /// Measures gradients without waiting for the device; `None` if it has no kernel for them.
    ///
    /// # Errors
    /// As the device.
    pub fn measure<'a>(
        gradients: impl IntoIterator<Item = &'a Tensor>,
        max_norm: Option<f64>,
    ) -> Result<Option<Self>> {
        let gradients: Vec<&Tensor> = gradients.into_iter().filter(|g| g.elem_count() > 0).collect();
        if gradients.is_empty() || !gradients.iter().all(|g| fits(g)) {
            return Ok(None);
        }
        #[cfg(feature = "cuda")]
        {
            let gradients = gradients.into_iter().map(|g| g.detach().contiguous());
            let gradients = gradients.collect::<candle_core::Result<Vec<_>>>()?;
            Ok(Some(Self::kept(flowmap_kernel::cuda::measure(&gradients, max_norm)?)))
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = max_norm;
            Ok(None)
        }
    }

    /// The factor that clips the gradients, `None` where their norm is not finite; waits for the device.
    ///
    /// # Errors
    /// As the device.
    pub fn factor(&self) -> Result<Option<f64>> {
        let both = self.read()?;
        Ok(both.get(1).copied().filter(|_| both.iter().all(|x| x.is_finite())))
    }

    /// The norm itself; waits for the device.
    ///
    /// # Errors
    /// As the device.
    pub fn value(&self) -> Result<f64> {
        Ok(self.read()?.first().copied().unwrap_or(f64::NAN))
    }

    /// Whether it takes no waiting to read it.
    pub fn is_on_host(&self) -> bool {
        matches!(self.0, Found::Host(_))
    }

    /// What clips by composed operations on the device, without waiting for it; `None` where the norm is on the host.
    ///
    /// # Errors
    /// As the device.
    pub fn clip(&self) -> Result<Option<Clip>> {
        let Found::Device(both) = &self.0 else { return Ok(None) };
        // 0 x is zero for finite x and NaN for others.
        let nothing = (both * 0.0)?.sum_all()?;
        let is_finite = nothing.eq(&nothing.zeros_like()?)?;
        Ok(Some(Clip { factor: both.narrow(0, 1, 1)?.reshape(())?, is_finite }))
    }

    fn read(&self) -> Result<Vec<f64>> {
        match &self.0 {
            Found::Device(both) => crate::host::numbers(both),
            Found::Host(both) => Ok(both.to_vec()),
        }
    }

    /// The numbers on the device, if they are there.
    #[cfg(feature = "cuda")]
    fn on_device(&self) -> Option<&Tensor> {
        match &self.0 {
            Found::Device(both) => Some(both),
            Found::Host(_) => None,
        }
    }
}

/// The factor of a [`GradientNorm`] on its device, and whether it may be used.
#[derive(Clone, Debug)]
pub struct Clip {
    factor: Tensor,
    is_finite: Tensor,
}

impl Clip {
    /// The clipped gradient.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn apply(&self, gradient: &Tensor) -> candle_core::Result<Tensor> {
        gradient.broadcast_mul(&self.factor.to_dtype(gradient.dtype())?)
    }

    /// `new` where the norm is finite, else `old`.
    ///
    /// # Errors
    /// Where their shapes differ; as Candle.
    pub fn choose(&self, new: &Tensor, old: &Tensor) -> candle_core::Result<Tensor> {
        self.is_finite.broadcast_as(new.shape())?.where_cond(new, old)
    }
}

/// One step of a parameter and its two moments, in place, and of at most [`MAX_AVERAGES`] averages a with decay d:
/// a ← d a + (1 − d) θ.
///
/// Clipped by `norm`; if that is not finite nothing is written. Gives false, and does nothing, where the device has
/// no kernel for these tensors.
///
/// # Errors
/// As the device, and for tensors that do not fit each other.
pub fn adam_step(
    rule: &AdamRule,
    [parameter, first, second]: [&Tensor; 3],
    gradient: &Tensor,
    averages: &[(&Tensor, f64)],
    norm: Option<&GradientNorm>,
) -> Result<bool> {
    let all = [parameter, first, second, gradient];
    let averaged = averages.iter().map(|(average, _)| *average);
    // A factor that is on the host already needs no kernel that reads it.
    let is_elsewhere = norm.is_some_and(GradientNorm::is_on_host);
    if is_elsewhere || averages.len() > MAX_AVERAGES || !all.into_iter().chain(averaged).all(fits) {
        return Ok(false);
    }
    if parameter.elem_count() == 0 {
        return Ok(true);
    }
    #[cfg(feature = "cuda")]
    {
        let gradient = gradient.detach().contiguous()?;
        let norm = norm.and_then(GradientNorm::on_device);
        flowmap_kernel::cuda::step(*rule, [parameter, first, second], &gradient, averages, norm)?;
        Ok(true)
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (rule, norm);
        Ok(false)
    }
}

/// Whether the kernels of a device take this tensor.
fn fits(tensor: &Tensor) -> bool {
    cfg!(feature = "cuda") && tensor.device().is_cuda() && tensor.dtype() == DType::F32
}

/// Numbers of keyed generators: `rows` of them from index `first` on, `dim` numbers of each.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// The key of the family: `flowmap_core::NoiseStream::key`.
    pub key: [u8; 32],
    /// Index of the first generator.
    pub first: u64,
    /// Number of generators.
    pub rows: usize,
    /// Numbers of each.
    pub dim: usize,
}

impl Draws {
    /// Standard normals times `sigma` in f32, `(rows, dim)`, with the bits of the CPU; `None` where the device has no
    /// kernel for them.
    ///
    /// # Errors
    /// As the device.
    pub fn normals(&self, sigma: f32, device: &Device) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if let (Device::Cuda(cuda), Some(draws)) = (device, self.on_device()) {
            return Ok(Some(flowmap_kernel::cuda::normals(cuda, &draws, sigma)?));
        }
        let _ = (sigma, device);
        Ok(None)
    }

    /// Uniforms on [0, 1) in f64, `(rows, dim)`, with the bits of the CPU; `None` where the device has no kernel.
    ///
    /// # Errors
    /// As the device.
    pub fn uniforms(&self, device: &Device) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if let (Device::Cuda(cuda), Some(draws)) = (device, self.on_device()) {
            return Ok(Some(flowmap_kernel::cuda::uniforms(cuda, &draws)?));
        }
        let _ = device;
        Ok(None)
    }

    /// As the kernels take it; `None` if there is nothing to draw.
    #[cfg(feature = "cuda")]
    fn on_device(&self) -> Option<flowmap_kernel::cuda::Draws> {
        let dim = u32::try_from(self.dim).ok()?;
        let rows = u64::try_from(self.rows).ok()?;
        (dim > 0 && rows > 0).then_some(flowmap_kernel::cuda::Draws {
            key: self.key,
            first: self.first,
            rows,
            dim,
        })
    }
}
