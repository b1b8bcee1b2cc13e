//! Convolution with an optional bias as one operation on Candle's tape, with its tangent and its backward pass.
//!
//! The kernels and the bias are constant in the direction of the tangent: ẏ is the convolution of ẋ, without the bias.
//! A stacked input `(2, B, C, H, W)` is 2 B images of which the bias meets the first B. f32 on the CPU.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Error, Layout, Result, Shape, Tensor, bail};

use super::columns::Axis;
use super::correlate::PackedRows;
use super::passes::Sizes;
use crate::memory::slices::{floats, is_wanted, with_floats};
use crate::shared::{self, Product, add_values};

/// The operation; inputs are x `(B, C, H, W)` or `(2, B, C, H, W)`, the kernels `(O, C, kh, kw)` and perhaps b `(O,)`.
pub struct Convolution {
    padding: usize,
    stride: usize,
    /// The packed kernels until the operation has run: the tape must not keep them.
    kernels: Mutex<Option<Arc<Vec<PackedRows>>>>,
}

impl Convolution {
    /// The convolution of x with these kernels, both contiguous, which it packs or finds packed.
    pub fn new(x: &Tensor, kernel: &Tensor, padding: usize, stride: usize) -> Result<Self> {
        let mut convolution = Self { padding, stride, kernels: Mutex::default() };
        let (sizes, _, _) = convolution.sizes(x.shape(), kernel.shape())?;
        let (product, pack) = sizes.packing();
        let kernels = shared::kernels(kernel, product, || with_floats(kernel, |kernel| Ok(pack(kernel))))?;
        convolution.kernels = Mutex::new(Some(kernels));
        Ok(convolution)
    }

    /// All sizes, how many images are no tangents, and the sizes of one output `(O, H, W)`.
    fn sizes(&self, x: &Shape, kernel: &Shape) -> Result<(Sizes, usize, [usize; 3])> {
        let (copies, [images, inputs, height, width]) = match *x.dims() {
            [b, c, h, w] => (1, [b, c, h, w]),
            [2, b, c, h, w] => (2, [b, c, h, w]),
            ref other => bail!("expected images (B, C, H, W) or (2, B, C, H, W), found {other:?}"),
        };
        let (outputs, channels, kh, kw) = kernel.dims4()?;
        let axis = |size, kernel| Axis { size, kernel, stride: self.stride, padding: self.padding };
        let (vertical, horizontal) = (axis(height, kh), axis(width, kw));
        match (vertical.output(), horizontal.output()) {
            (Some(height), Some(width)) if channels == inputs => {
                let sizes = Sizes::new(copies * images, inputs, outputs, vertical, horizontal);
                Ok((sizes, images, [outputs, height, width]))
            }
            _ => {
                let Self { padding, stride, .. } = self;
                bail!("kernels {kernel:?} do not fit images {x:?} with padding {padding} and stride {stride}")
            }
        }
    }

    fn forward(
        &self,
        (x, x_layout): (&CpuStorage, &Layout),
        kernel: &Layout,
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let (sizes, images, [channels, height, width]) = self.sizes(x_layout.shape(), kernel.shape())?;
        let bias = bias.map(|(bias, layout)| floats(bias, layout)).transpose()?;
        if let Some(bias) = bias.filter(|b| b.len() != channels) {
            bail!("expected a bias for each of {channels} channels, found {}", bias.len());
        }
        let Some(kernels) = self.kernels.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            bail!("a convolution runs forward once");
        };
        let y = sizes.forward(floats(x, x_layout)?, &kernels, bias, images);
        let mut dims = x_layout.dims().to_vec();
        dims.truncate(dims.len() - 3);
        dims.extend([channels, height, width]);
        Ok((CpuStorage::F32(y), dims.into()))
    }

    /// The gradients of x and of the kernels, if they are needed.
    fn backward(&self, x: &Tensor, kernel: &Tensor, gy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (sizes, _, _) = self.sizes(x.shape(), kernel.shape())?;
        let gx = match is_wanted(x) {
            true => {
                let gx = with_floats(gy, |gy| {
                    with_floats(kernel, |values| {
                        sizes.input_gradient(gy, values, |winograd| {
                            let pack = || Ok::<_, Error>(winograd.packed_turned(values));
                            shared::kernels(kernel, Product::TurnedPlaces, pack)
                        })
                    })
                })?;
                Some(Tensor::from_vec(gx, x.shape(), &Device::Cpu)?)
            }
            false => None,
        };
        let gk = match is_wanted(kernel) {
            true => {
                let gk = with_floats(gy, |gy| with_floats(x, |x| Ok(sizes.kernel_gradient(x, gy))))?;
                match add_values(kernel, &gk) {
                    true => None,
                    false => Some(Tensor::from_vec(gk, kernel.shape(), &Device::Cpu)?),
                }
            }
            false => None,
        };
        Ok((gx, gk))
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        _s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), l2, None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        _y: &Tensor,
        gy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, kernel, &gy.contiguous()?)
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution-bias"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        _s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), l2, Some((s3, l3)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gy = gy.contiguous()?;
        let (gx, gk) = self.backward(x, kernel, &gy)?;
        let gb = match is_wanted(bias) {
            true => {
                let (sizes, images, _) = self.sizes(x.shape(), kernel.shape())?;
                let gb = with_floats(&gy, |gy| Ok(sizes.bias_gradient(gy, images)))?;
                Some(Tensor::from_vec(gb, bias.shape(), &Device::Cpu)?)
            }
            false => None,
        };
        Ok((gx, gk, gb))
    }
}
