//! What several passes over the same weights share: packed weights, and sums of gradients.
//!
//! A training step runs the same layers for many tiles, and a sampler for many steps.
//! Inside [`PackedWeights::share`] a layer packs its weights once;
//! inside [`GradientSums::collect`] a backward pass adds the gradients of weights to sums in place,
//! instead of a new tensor, a tensor of zeros and an addition for each use of each weight.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::LocalKey;

use candle_core::{Device, Result, Shape, Tensor, TensorId};
use rayon::prelude::*;

use crate::conv::correlate::PackedRows;
use crate::matmul::gemm::Write;
use crate::matmul::panels::Panels;
use crate::memory::pool::Buffer;

/// Weights met once that are remembered at most: more than any network has, and few enough to forget nothing of size.
const MET: usize = 1 << 14;
/// Numbers that a thread adds at a time.
const ADDED: usize = 1 << 15;

thread_local! {
    static WEIGHTS: RefCell<Option<PackedWeights>> = const { RefCell::new(None) };
    static SUMS: RefCell<Option<GradientSums>> = const { RefCell::new(None) };
}

/// Which product packed weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Product {
    /// x Wᵀ.
    Forward,
    /// z̄ W.
    Backward,
    /// A convolution by its sums.
    Sums,
    /// A convolution at the places of its tiles.
    Places,
    /// The kernels of a convolution for the gradient of its input.
    TurnedPlaces,
}

/// Packed forms of weights, each empty until it is first used.
type Slots<T> = Mutex<HashMap<(TensorId, Product), Arc<OnceLock<Arc<T>>>>>;

#[derive(Default)]
struct Packed {
    panels: Slots<Panels>,
    kernels: Slots<Vec<PackedRows>>,
    /// Weights off the tape that were met once.
    met: Mutex<HashSet<(TensorId, Product)>>,
}

impl Packed {
    /// Whether this weight was met before; remembers that it was met now.
    fn comes_again(&self, weight: (TensorId, Product)) -> bool {
        // A set is whole whatever thread panicked with it.
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() >= MET && !met.contains(&weight) {
            met.clear();
        }
        !met.insert(weight)
    }
}

/// Weights in the layout that products read fastest, packed and kept.
///
/// Packed variables are kept from their first use on, other tensors from their second: a weight that a network computes
/// in each pass is a new tensor each time. Weights must not change during use: make a new `PackedWeights` after each
/// update.
/// Clones share what they hold.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use flowmap_dual::{Activation, Dual, PackedWeights};
///
/// let (w, b) = (Tensor::ones((8, 2), DType::F32, &Device::Cpu)?, Tensor::zeros(8, DType::F32, &Device::Cpu)?);
/// let x = Dual::constant(Tensor::ones((3, 2), DType::F32, &Device::Cpu)?);
/// let packed = PackedWeights::default();
/// let y = packed.share(|| x.linear_activation(&w, &b, Activation::Silu))?; // packs w
/// let z = packed.share(|| x.linear_activation(&w, &b, Activation::Silu))?; // and again, to keep it
/// assert_eq!(y.primal().to_vec2::<f32>()?, z.primal().to_vec2::<f32>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct PackedWeights(Arc<Packed>);

impl std::fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackedWeights")
    }
}

impl PackedWeights {
    /// Runs `f`, whose layers on this thread take their weights from here.
    pub fn share<R>(&self, f: impl FnOnce() -> R) -> R {
        let outer = WEIGHTS.replace(Some(self.clone()));
        let _restore = Restore::new(&WEIGHTS, outer);
        f()
    }
}

/// Puts the outer value back, also when what runs meanwhile panics.
pub struct Restore<T: 'static>(&'static LocalKey<RefCell<Option<T>>>, Option<T>);

impl<T> Restore<T> {
    /// Puts `outer` back into `place`.
    #[inline]
    pub fn new(place: &'static LocalKey<RefCell<Option<T>>>, outer: Option<T>) -> Self {
        Self(place, outer)
    }
}

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        self.0.replace(self.1.take());
    }
}

/// Whether layers on this thread share packed weights.
pub(crate) fn is_shared() -> bool {
    WEIGHTS.with_borrow(Option::is_some)
}

/// The packed form of `weight`: the shared one, or one for this use alone.
pub(crate) fn panels(
    weight: &Tensor,
    product: Product,
    pack: impl FnOnce() -> Result<Panels>,
) -> Result<Arc<Panels>> {
    packed(|packed| &packed.panels, weight, product, pack)
}

/// The packed kernels of a convolution, one matrix for each place of a tile or a single one.
pub(crate) fn kernels(
    weight: &Tensor,
    product: Product,
    pack: impl FnOnce() -> Result<Vec<PackedRows>>,
) -> Result<Arc<Vec<PackedRows>>> {
    packed(|packed| &packed.kernels, weight, product, pack)
}

fn packed<T>(
    slots: impl Fn(&Packed) -> &Slots<T>,
    weight: &Tensor,
    product: Product,
    pack: impl FnOnce() -> Result<T>,
) -> Result<Arc<T>> {
    let shared = WEIGHTS.with_borrow(Clone::clone);
    // A weight that is computed anew in each pass is of no use to the next.
    let is_computed = weight.track_op() && !weight.is_variable();
    let Some(PackedWeights(shared)) = shared.filter(|_| !is_computed) else {
        return Ok(Arc::new(pack()?));
    };
    let key = (weight.id(), product);
    let slot = {
        // A map of slots is whole whatever thread panicked with it.
        let mut slots = slots(&shared).lock().unwrap_or_else(PoisonError::into_inner);
        // Off the tape a computed weight looks like any other; but it never comes again.
        if !slots.contains_key(&key) && !weight.is_variable() && !shared.comes_again(key) {
            drop(slots);
            return Ok(Arc::new(pack()?));
        }
        slots.entry(key).or_default().clone()
    };
    if let Some(packed) = slot.get() {
        return Ok(packed.clone());
    }
    // Two threads may both pack; the first to finish is kept.
    let packed = Arc::new(pack()?);
    Ok(slot.get_or_init(|| packed).clone())
}

/// Sums of the gradients of weights, which backward passes add to in place.
#[derive(Debug, Default)]
pub struct GradientSums(HashMap<TensorId, Sum>);

#[derive(Debug)]
struct Sum {
    shape: Shape,
    /// Empty until the first gradient arrives.
    values: Buffer,
    /// The sum on another device than the CPU.
    on_device: Option<Tensor>,
}

impl GradientSums {
    /// Empty sums for these tensors; gradients of others go their usual way.
    pub fn new<'a>(weights: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let sum = |w: &Tensor| {
            (w.id(), Sum { shape: w.shape().clone(), values: Buffer::default(), on_device: None })
        };
        Self(weights.into_iter().map(sum).collect())
    }

    /// Runs `f`, whose fused layers on this thread add gradients here and leave them out of Candle's store.
    pub fn collect<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let outer = SUMS.replace(Some(std::mem::take(self)));
        let restore = Restore::new(&SUMS, outer);
        let result = f();
        *self = SUMS.take().unwrap_or_default();
        drop(restore);
        result
    }

    /// Adds the sums of another part of the batch.
    ///
    /// # Errors
    /// Candle's error, for sums on another device than the CPU.
    pub fn add(&mut self, other: Self) -> Result<()> {
        for (id, other) in other.0 {
            match self.0.get_mut(&id) {
                Some(sum) if sum.values.is_empty() && sum.on_device.is_none() => *sum = other,
                Some(sum) => {
                    if let Some(part) = other.on_device {
                        sum.add_tensor(part)?;
                    }
                    let parts = sum.values.par_chunks_mut(ADDED).zip(other.values.par_chunks(ADDED));
                    parts.for_each(|(sum, part)| sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x));
                }
                None => {
                    self.0.insert(id, other);
                }
            }
        }
        Ok(())
    }

    /// Takes the sum for `weight` out; `None` where no gradient arrived.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn take(&mut self, weight: &Tensor) -> Result<Option<Tensor>> {
        match self.0.remove(&weight.id()) {
            Some(Sum { on_device: Some(sum), .. }) => Ok(Some(sum)),
            Some(Sum { shape, values, .. }) if !values.is_empty() || shape.elem_count() == 0 => {
                Ok(Some(Tensor::from_vec(values.to_vec(), shape, &Device::Cpu)?))
            }
            _ => Ok(None),
        }
    }
}

/// Adds `values` to the sum of this thread for `weight`; gives false, and does nothing, if there is none.
pub(crate) fn add_values(weight: &Tensor, values: &[f32]) -> bool {
    add_gradient(weight, |sum, write| match write {
        Write::Set => sum.copy_from_slice(values),
        Write::Add => sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x),
    })
}

impl Sum {
    /// Adds a gradient on another device than the CPU.
    fn add_tensor(&mut self, gradient: Tensor) -> Result<()> {
        self.on_device = Some(match self.on_device.take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        });
        Ok(())
    }
}

/// Adds a gradient of `weight` on another device than the CPU to the sums of this thread;
/// gives it back if there are none for it.
#[cfg(feature = "cuda")]
pub(crate) fn add_tensor(weight: &Tensor, gradient: Tensor) -> Result<Option<Tensor>> {
    SUMS.with_borrow_mut(|sums| match sums.as_mut().and_then(|sums| sums.0.get_mut(&weight.id())) {
        Some(sum) => sum.add_tensor(gradient).map(|()| None),
        None => Ok(Some(gradient)),
    })
}

/// Whether this thread has sums for `weight`.
pub fn is_summed(weight: &Tensor) -> bool {
    SUMS.with_borrow(|sums| sums.as_ref().is_some_and(|sums| sums.0.contains_key(&weight.id())))
}

/// Adds a gradient of `weight` to the sums of this thread by `add`, which is told to write the first one;
/// gives false, and does nothing, if there are none for it.
pub(crate) fn add_gradient(weight: &Tensor, add: impl FnOnce(&mut [f32], Write)) -> bool {
    // The sums are taken out meanwhile: `add` may run other tasks of the thread pool.
    let taken = SUMS.with_borrow_mut(|sums| {
        let sum = sums.as_mut()?.0.get_mut(&weight.id())?;
        Some((std::mem::take(&mut sum.values), sum.shape.elem_count()))
    });
    let Some((mut values, n)) = taken else { return false };
    match values.is_empty() {
        true => {
            values = Buffer::new(n);
            add(&mut values, Write::Set);
        }
        false => add(&mut values, Write::Add),
    }
    SUMS.with_borrow_mut(|sums| {
        if let Some(sum) = sums.as_mut().and_then(|sums| sums.0.get_mut(&weight.id())) {
            sum.values = values;
        }
    });
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::Layer;

    #[test]
    fn weights_that_come_again_are_kept_and_those_computed_in_each_pass_are_not() {
        let ones = |shape: (usize, usize)| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let (w, b, packed) = (ones((5, 8)), ones((1, 5)), PackedWeights::default());
        let layer = |w: &Tensor| packed.share(|| Layer::new(w, &b, None, 3)).unwrap();
        let n_kept = || packed.0.panels.lock().unwrap().len();
        for pass in 0..4 {
            layer(&(&w * 2.0).unwrap());
            assert_eq!(n_kept(), usize::from(pass > 1));
            layer(&w);
            assert_eq!(n_kept(), usize::from(pass > 0));
        }
    }

    #[test]
    fn what_was_met_is_forgotten_before_it_takes_room() {
        let packed = Packed::default();
        let weights: Vec<_> =
            (0..2 * MET + 1).map(|_| Tensor::zeros((), DType::F32, &Device::Cpu).unwrap().id()).collect();
        for weight in &weights {
            assert!(!packed.comes_again((*weight, Product::Forward)));
            assert!(packed.comes_again((*weight, Product::Forward)));
        }
        assert!(packed.met.lock().unwrap().len() <= MET);
    }
}
