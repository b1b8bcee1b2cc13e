//! Blocks whose activations are computed again in the backward pass instead of being kept.
//!
//! y = f(x; w), of which the tape keeps x and y alone;
//! backward: f runs again on a separate tape, whose backward pass takes ȳ to x̄ and w̄
//!
//! Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174 (activation checkpointing).
//! Cost: one more forward pass of f.
//! Values, tangents and gradients equal those of f to the bit: the same operations run on the same numbers.
//!
//! A block has more inputs than an operation of Candle may have: values, tangents and weights.
//! So they hang on a chain of operations without numbers of their own, two on each link,
//! and the operation that puts out y hangs on its end.
//! On the way back that one comes first and leaves the gradients in a box, from which each link takes its two.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp3, DType, Layout, MetalStorage, Result as CandleResult,
    Shape, Storage, Tensor, Var, bail,
};
use flowmap_kernel::is_wanted;

use crate::gradient::{gradient_of, on_candles_tape};
use crate::{Dual, Error, Result};

impl Dual {
    /// `block(inputs)`, whose activations are not kept for the backward pass but computed again in it.
    ///
    /// Where nothing asks for a gradient it is `block` alone.
    /// Gradients reach the inputs and every variable that `block` reads; other tensors on a tape that it captures get none,
    /// so they belong among the inputs. It must compute the same whenever it is called.
    ///
    /// ```
    /// use candle_core::{Device, Var};
    /// use flowmap_dual::{Dual, Error};
    ///
    /// let (x, w) = (Var::new(&[2f64], &Device::Cpu)?, Var::new(&[3f64], &Device::Cpu)?);
    /// let weight = Dual::from(w.as_tensor());
    /// let y = Dual::recomputed([&x.as_tensor().into()], move |[x]| x.mul(&weight)?.sin())?; // sin(w x)
    /// let gradients = y.primal().backward()?;
    /// let slope = 6f64.cos();
    /// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f64>()?, [3.0 * slope]);
    /// assert_eq!(gradients.get(&w).unwrap().to_vec1::<f64>()?, [2.0 * slope]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As `block`.
    pub fn recomputed<const N: usize, E>(
        inputs: [&Self; N],
        block: impl Fn([&Self; N]) -> Result<Self, E> + Send + Sync + 'static,
    ) -> Result<Self, E>
    where
        E: From<Error> + std::error::Error + Send + Sync + 'static,
    {
        let detached = inputs.map(Self::detach);
        let y = on_candles_tape(|| block(detached.each_ref()))?;
        let block = move |inputs: [&Self; N]| block(inputs).map_err(candle_core::Error::wrap);
        Ok(Recomputed::on_tape(inputs, detached, &y, Box::new(block))?)
    }

    /// The tensors that hold its numbers.
    fn tensors(&self) -> Vec<&Tensor> {
        match self.made_stacked() {
            Some(stacked) => vec![stacked],
            None => [Some(self.primal()), self.tangent()].into_iter().flatten().collect(),
        }
    }

    /// Value and tangent in one tensor if there is a tangent, the value if there is none.
    fn joined(&self) -> Result<Tensor> {
        Ok(self.stacked()?.unwrap_or_else(|| self.primal().clone()))
    }

    /// This dual with other tensors in place of [`Dual::tensors`].
    fn with_tensors(&self, mut other: impl FnMut(&Tensor) -> CandleResult<Tensor>) -> Result<Self> {
        match self.made_stacked() {
            Some(stacked) => Self::from_stacked(other(stacked)?),
            None => Ok(Self::from_parts(other(self.primal())?, self.tangent().map(&mut other).transpose()?)),
        }
    }
}

type Block<const N: usize> = Box<dyn Fn([&Dual; N]) -> CandleResult<Dual> + Send + Sync>;

/// Gradients in the order of the links, where the backward pass of the block leaves them.
type Gradients = Arc<Mutex<Vec<Option<Tensor>>>>;

/// The operation that puts out y, at the end of the chain.
struct Recomputed<const N: usize> {
    block: Block<N>,
    /// The inputs off the tape.
    inputs: [Dual; N],
    /// Which tensors of the inputs get a gradient.
    wanted: Vec<bool>,
    /// The variables that the block reads.
    weights: Vec<Tensor>,
    /// y, computed already; given away by the forward pass.
    value: Mutex<Option<Tensor>>,
    gradients: Gradients,
}

impl<const N: usize> Recomputed<N> {
    /// y on the tape of `inputs`, as the value of `block` at the same numbers, `detached`.
    fn on_tape(inputs: [&Dual; N], detached: [Dual; N], y: &Dual, block: Block<N>) -> Result<Dual> {
        let value = y.joined()?;
        // The inputs are off the tape: what leads to a gradient are the variables that the block reads.
        let weights = value.sorted_nodes().into_iter().filter(|node| node.is_variable());
        let weights: Vec<Tensor> = weights.cloned().collect();
        let tensors: Vec<&Tensor> = inputs.iter().flat_map(|x| x.tensors()).collect();
        let wanted: Vec<bool> = tensors.iter().map(|x| is_wanted(x)).collect();
        if weights.is_empty() && !wanted.contains(&true) {
            return Ok(y.clone());
        }
        let has_tangent = y.tangent().is_some();
        let value = value.detach();
        let leaves: Vec<&Tensor> = tensors.into_iter().filter(|x| is_wanted(x)).chain(&weights).collect();
        let gradients = Gradients::default();
        let start = Tensor::zeros((), DType::F32, value.device())?;
        let mut end = start.clone();
        for (i, pair) in leaves.chunks(2).enumerate() {
            let (first, second) = (pair[0], pair.get(1).copied().unwrap_or(&start));
            end = end.apply_op3(first, second, Link { at: 2 * i, gradients: gradients.clone() })?;
        }
        let value = Mutex::new(Some(value));
        let operation = Self { block, inputs: detached, wanted, weights, value, gradients };
        let y = end.apply_op1(operation)?;
        if has_tangent { Dual::from_stacked(y) } else { Ok(Dual::constant(y)) }
    }

    /// A copy of the value on its backend.
    fn copied<S: BackendStorage>(&self, on: impl Fn(&Storage) -> Option<&S>) -> CandleResult<(S, Shape)>
    where
        S::Device: BackendDevice<Storage = S>,
    {
        let Some(value) = lock(&self.value).take() else { bail!("a block is put out once") };
        let (storage, layout) = value.storage_and_layout();
        let Some(source) = on(&storage) else { bail!("a block and its inputs are on one device") };
        let mut copy = source.device().zeros_impl(layout.shape(), source.dtype())?;
        source.copy_strided_src(&mut copy, 0, layout)?;
        Ok((copy, layout.shape().clone()))
    }
}

impl<const N: usize> CustomOp1 for Recomputed<N> {
    fn name(&self) -> &'static str {
        "recomputed-block"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        self.copied(|storage| match storage {
            Storage::Cpu(storage) => Some(storage),
            _ => None,
        })
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        self.copied(|storage| match storage {
            Storage::Cuda(storage) => Some(storage),
            _ => None,
        })
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> CandleResult<(MetalStorage, Shape)> {
        self.copied(|storage| match storage {
            Storage::Metal(storage) => Some(storage),
            _ => None,
        })
    }

    fn bwd(&self, end: &Tensor, _y: &Tensor, gradient: &Tensor) -> CandleResult<Option<Tensor>> {
        let (mut wanted, mut variables) = (self.wanted.iter(), Vec::new());
        let mut inputs = Vec::with_capacity(N);
        for x in &self.inputs {
            let again = x.with_tensors(|x| {
                if wanted.next() != Some(&true) {
                    return Ok(x.clone());
                }
                let variable = Var::from_tensor(x)?.into_inner();
                variables.push(variable.clone());
                Ok(variable)
            });
            inputs.push(again.map_err(candle_core::Error::wrap)?);
        }
        let loss = || {
            let y = (self.block)(std::array::from_fn(|i| &inputs[i]))?.joined()?;
            // The gradient of Σ y ȳ in y is ȳ itself.
            Ok::<_, Error>(((y * gradient.detach())?.sum_all()?, ()))
        };
        let (mut found, ()) = gradient_of(loss).map_err(candle_core::Error::wrap)?;
        let leaves = variables.iter().chain(&self.weights);
        *lock(&self.gradients) = leaves.map(|leaf| found.remove(leaf).map(|g| g.detach())).collect();
        Ok(Some(end.zeros_like()?))
    }
}

/// A link of the chain: two tensors that get a gradient.
struct Link {
    /// Place of the gradient of the first.
    at: usize,
    gradients: Gradients,
}

impl Link {
    /// The gradient of a leaf.
    fn taken(&self, place: usize, leaf: &Tensor) -> CandleResult<Option<Tensor>> {
        let gradient = lock(&self.gradients).get_mut(self.at + place).and_then(Option::take);
        match gradient {
            // What has operations before it is promised a gradient.
            None if leaf.track_op() && !leaf.is_variable() => leaf.zeros_like().map(Some),
            gradient => Ok(gradient),
        }
    }
}

/// No number, on the device of `storage`.
fn blank<S: BackendStorage>(storage: &S) -> CandleResult<(S, Shape)>
where
    S::Device: BackendDevice<Storage = S>,
{
    let shape = Shape::from(());
    Ok((storage.device().zeros_impl(&shape, DType::F32)?, shape))
}

impl CustomOp3 for Link {
    fn name(&self) -> &'static str {
        "recomputed-block-input"
    }

    fn cpu_fwd(
        &self,
        chain: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        blank(chain)
    }

    fn cuda_fwd(
        &self,
        chain: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        blank(chain)
    }

    fn metal_fwd(
        &self,
        chain: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> CandleResult<(MetalStorage, Shape)> {
        blank(chain)
    }

    fn bwd(
        &self,
        chain: &Tensor,
        first: &Tensor,
        second: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let of_chain = if is_wanted(chain) { Some(chain.zeros_like()?) } else { None };
        Ok((of_chain, self.taken(0, first)?, self.taken(1, second)?))
    }
}

/// What a mutex guards is whole whatever thread panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
