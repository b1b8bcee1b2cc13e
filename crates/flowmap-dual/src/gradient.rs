//! The gradient of a loss, by a backward pass of our own over the fused operations.
//!
//! x̄_i ← x̄_i + (∂y/∂x_i)ᵀ ȳ, from the last operation y = f(x_1, x_2, ...) to the first
//!
//! Candle's backward pass begins the gradient of each tensor with zeros and adds to them, which costs an operation that
//! is bounded by memory as much as its own backward pass. Inside [`gradient_of`] a fused operation on the CPU goes on a
//! list, in the order of time, and its output hangs in Candle's graph without what led to it: that pass ends there and
//! leaves ȳ, and the list is walked back, where the first gradient of a tensor is taken as it is.
//! Where Candle's operations lie between two of the list, their backward pass is Candle's, once for each operation of
//! the list that they lead to: so sums of branches, of which one leads to the next, are an operation of the list.
//!
//! Values are the same bits as without, gradients too except for the order of sums.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result as CandleResult, Shape,
    Storage, Tensor, TensorId, Var, bail,
};
use flowmap_kernel::{Restore, is_wanted};

use crate::{Error, Result};

thread_local! {
    static TAPE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// The gradient of the loss that `f` returns first, in every variable that it depends on, and what else `f` returns.
///
/// Fused operations of this crate inside `f` on this thread cost less memory traffic than by `loss.backward()`,
/// which finds no way through them there; with tensors on other devices it is the same as that.
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use flowmap_dual::{Activation, Dual, Error, gradient_of};
///
/// let (w, b) = (Var::ones((2, 3), DType::F32, &Device::Cpu)?, Var::zeros(2, DType::F32, &Device::Cpu)?);
/// let x = Dual::constant(Var::ones((1, 3), DType::F32, &Device::Cpu)?.as_detached_tensor());
/// let (gradients, y) = gradient_of(|| {
///     let y = x.linear_activation(&w, &b, Activation::ReluSquared)?; // max(w x + b, 0)²
///     Ok::<_, Error>((y.primal().sum_all()?, y))
/// })?;
/// assert_eq!(y.primal().to_vec2::<f32>()?, [[9.0, 9.0]]);
/// assert_eq!(gradients.get(&b).unwrap().to_vec1::<f32>()?, [6.0, 6.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// The errors of `f`, and an error if the loss is not one number or an operation cannot be differentiated.
pub fn gradient_of<R, E: From<Error>>(
    f: impl FnOnce() -> Result<(Tensor, R), E>,
) -> Result<(GradStore, R), E> {
    let outer = TAPE.replace(Some(Tape::default()));
    let restore = Restore::new(&TAPE, outer);
    let result = f();
    let tape = TAPE.take().unwrap_or_default();
    drop(restore);
    let (loss, rest) = result?;
    let mut gradients = loss.backward().map_err(Error::from)?;
    drop(loss);
    tape.walk_back(&mut gradients).map_err(Error::from)?;
    Ok((gradients, rest))
}

/// Runs `f`, whose operations go on Candle's tape alone.
pub(crate) fn on_candles_tape<R>(f: impl FnOnce() -> R) -> R {
    let _restore = Restore::new(&TAPE, TAPE.take());
    f()
}

/// `f(x)`.
pub(crate) fn apply1(x: &Tensor, f: impl CustomOp1 + Send + Sync + 'static) -> CandleResult<Tensor> {
    apply(Operation::One(Arc::new(Box::new(f))), &[x])
}

/// `f(x, y)`.
pub(crate) fn apply2(
    x: &Tensor,
    y: &Tensor,
    f: impl CustomOp2 + Send + Sync + 'static,
) -> CandleResult<Tensor> {
    apply(Operation::Two(Arc::new(Box::new(f))), &[x, y])
}

/// `f(x, y, z)`.
pub(crate) fn apply3(
    x: &Tensor,
    y: &Tensor,
    z: &Tensor,
    f: impl CustomOp3 + Send + Sync + 'static,
) -> CandleResult<Tensor> {
    apply(Operation::Three(Arc::new(Box::new(f))), &[x, y, z])
}

fn apply(operation: Operation, inputs: &[&Tensor]) -> CandleResult<Tensor> {
    let is_listed = inputs.iter().all(|x| x.device().is_cpu()) && inputs.iter().any(|x| is_wanted(x));
    let start = if is_listed { TAPE.with_borrow_mut(|tape| tape.as_mut().map(Tape::start)) } else { None };
    let Some(start) = start else { return operation.on_candles_tape(inputs) };
    let inputs = inputs.iter().map(|x| (*x).clone()).collect();
    let node = Arc::new(Node { operation, inputs, gradient: Mutex::default() });
    // The tape is not held meanwhile: the operation may run other tasks of the thread pool.
    let y = start?.apply_op1(Listed(node.clone()))?;
    TAPE.with_borrow_mut(|tape| {
        if let Some(tape) = tape {
            tape.nodes.push((y.clone(), node));
        }
    });
    Ok(y)
}

/// An operation of Candle.
enum Operation {
    One(Arc<Box<dyn CustomOp1 + Send + Sync>>),
    Two(Arc<Box<dyn CustomOp2 + Send + Sync>>),
    Three(Arc<Box<dyn CustomOp3 + Send + Sync>>),
}

impl Operation {
    fn on_candles_tape(self, inputs: &[&Tensor]) -> CandleResult<Tensor> {
        match (self, inputs) {
            (Self::One(f), [x]) => x.apply_op1_arc(f),
            (Self::Two(f), [x, y]) => x.apply_op2_arc(y, f),
            (Self::Three(f), [x, y, z]) => x.apply_op3_arc(y, z, f),
            _ => bail!("an operation does not take {} inputs", inputs.len()),
        }
    }
}

/// Fused operations in the order of time, each with its output.
#[derive(Default)]
struct Tape {
    nodes: Vec<(Tensor, Arc<Node>)>,
    /// What outputs hang on in Candle's graph.
    start: Option<Tensor>,
}

/// An operation with its inputs.
struct Node {
    operation: Operation,
    inputs: Vec<Tensor>,
    /// ȳ, as far as it has arrived.
    gradient: Mutex<Option<Tensor>>,
}

impl Tape {
    /// A variable that leads nowhere.
    fn start(&mut self) -> CandleResult<Tensor> {
        match &self.start {
            Some(start) => Ok(start.clone()),
            None => {
                let start = Var::zeros((), DType::F32, &Device::Cpu)?.into_inner();
                Ok(self.start.insert(start).clone())
            }
        }
    }

    /// Takes the gradients that Candle's pass left at outputs on to variables.
    fn walk_back(self, gradients: &mut GradStore) -> CandleResult<()> {
        let mut nodes = self.nodes;
        let mut by_output: HashMap<TensorId, Arc<Node>> =
            nodes.iter().map(|(y, node)| (y.id(), node.clone())).collect();
        while let Some((y, node)) = nodes.pop() {
            by_output.remove(&y.id());
            let Some(gradient) = node.take() else { continue };
            for (x, gradient) in node.inputs.iter().zip(node.backward(&y, &gradient)?) {
                let Some(gradient) = gradient else { continue };
                match by_output.get(&x.id()) {
                    Some(node) => node.add(gradient)?,
                    None if x.is_variable() => add(gradients, x, gradient)?,
                    None if is_wanted(x) => through_candle(x, gradient, gradients)?,
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// Takes the gradient of x, which operations of Candle put out, on to variables and to outputs of listed operations.
fn through_candle(x: &Tensor, gradient: Tensor, gradients: &mut GradStore) -> CandleResult<()> {
    let end = x.apply_op1(End(gradient))?;
    let mut found = end.backward()?;
    for leaf in end.sorted_nodes().into_iter().filter(|node| node.is_variable()) {
        if let Some(gradient) = found.remove(leaf) {
            add(gradients, leaf, gradient)?;
        }
    }
    Ok(())
}

/// Adds to the gradient of a variable.
fn add(gradients: &mut GradStore, variable: &Tensor, gradient: Tensor) -> CandleResult<()> {
    let sum = match gradients.remove(variable) {
        Some(sum) => (sum + gradient)?,
        None => gradient,
    };
    gradients.insert(variable, sum);
    Ok(())
}

impl Node {
    fn add(&self, gradient: Tensor) -> CandleResult<()> {
        let sum = match self.take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        // What the mutex guards is whole whatever thread panicked with it.
        *self.gradient.lock().unwrap_or_else(PoisonError::into_inner) = Some(sum);
        Ok(())
    }

    fn take(&self) -> Option<Tensor> {
        self.gradient.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The gradients of the inputs.
    fn backward(&self, y: &Tensor, gradient: &Tensor) -> CandleResult<[Option<Tensor>; 3]> {
        Ok(match (&self.operation, &self.inputs[..]) {
            (Operation::One(f), [a]) => [f.bwd(a, y, gradient)?, None, None],
            (Operation::Two(f), [a, b]) => {
                let (a, b) = f.bwd(a, b, y, gradient)?;
                [a, b, None]
            }
            (Operation::Three(f), [a, b, c]) => f.bwd(a, b, c, y, gradient)?.into(),
            _ => bail!("an operation does not take {} inputs", self.inputs.len()),
        })
    }

    fn forward(&self) -> CandleResult<(CpuStorage, Shape)> {
        let guards: Vec<_> = self.inputs.iter().map(Tensor::storage_and_layout).collect();
        let inputs = guards.iter().map(|(storage, layout)| Ok((on_cpu(storage)?, *layout)));
        match (&self.operation, &inputs.collect::<CandleResult<Vec<_>>>()?[..]) {
            (Operation::One(f), [(s, l)]) => f.cpu_fwd(s, l),
            (Operation::Two(f), [(s1, l1), (s2, l2)]) => f.cpu_fwd(s1, l1, s2, l2),
            (Operation::Three(f), [(s1, l1), (s2, l2), (s3, l3)]) => f.cpu_fwd(s1, l1, s2, l2, s3, l3),
            _ => bail!("an operation does not take {} inputs", self.inputs.len()),
        }
    }
}

/// The numbers of a tensor on the CPU.
fn on_cpu(storage: &Storage) -> CandleResult<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => bail!("a listed operation runs on the CPU only"),
    }
}

/// A listed operation in Candle's graph: it has the output of the operation, and its inputs are on the list alone.
struct Listed(Arc<Node>);

impl CustomOp1 for Listed {
    fn name(&self) -> &'static str {
        "listed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        self.0.forward()
    }

    fn bwd(&self, _start: &Tensor, _y: &Tensor, gradient: &Tensor) -> CandleResult<Option<Tensor>> {
        self.0.add(gradient.clone())?;
        Ok(None)
    }
}

/// A number whose gradient of x is known.
struct End(Tensor);

impl CustomOp1 for End {
    fn name(&self) -> &'static str {
        "end"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), ().into()))
    }

    fn bwd(&self, _x: &Tensor, _end: &Tensor, _: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
