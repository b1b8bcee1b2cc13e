//! The gated residual as one operation, with its tangent and its backward pass.
//!
//! o = x + g ⊙ y,  ȯ = ẋ + ġ ⊙ y + g ⊙ ẏ                                     (1)
//!
//! backward, with ō and ȱ the gradients of o and ȯ: those of x and ẋ are ō and ȱ themselves, and
//! ȳ = g ō + ġ ȱ,  ẏ̄ = g ȱ,  ḡ = Σ_tokens (y ō + ẏ ȱ),  the gradient of ġ is Σ_tokens y ȱ   (2)
//!
//! f32 on the CPU, over rows that share a gate; chunks of rows as in LayerNorm.

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::lanes::dispatch::{Kernel, dispatch};
use crate::memory::slices::{Pair, Parts, floats, is_wanted, with_floats};
use crate::memory::uninit::written;
use crate::norm::{CHUNK, total};

/// The operation; inputs are x `(runs, tokens, C)`, y like it and g `(runs, C)`, each plain or stacked.
pub struct Gate {
    runs: usize,
    tokens: usize,
    channels: usize,
    parts: [Parts; 3],
}

/// The inputs as slices.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    x: Pair<'a>,
    y: Pair<'a>,
    gate: Pair<'a>,
}

impl Gate {
    /// A gated sum of inputs that come in `parts`.
    pub fn new(runs: usize, tokens: usize, channels: usize, parts: [Parts; 3]) -> Self {
        Self { runs, tokens, channels, parts }
    }

    fn len(&self) -> usize {
        self.runs * self.tokens * self.channels
    }

    /// The output has a tangent where any input has one.
    fn output(&self) -> Parts {
        let [x, y, gate] = self.parts;
        x.or(y).or(gate)
    }

    /// Rows that one task takes, all of one run.
    fn chunk(&self) -> usize {
        (CHUNK / self.channels.max(1)).clamp(1, self.tokens.max(1))
    }

    fn n_chunks(&self) -> usize {
        self.tokens.div_ceil(self.chunk())
    }

    /// Where task `i` begins, in the gate and in x.
    fn start(&self, i: usize) -> (usize, usize) {
        let (run, chunk) = (i / self.n_chunks(), i % self.n_chunks());
        (run * self.channels, (run * self.tokens + chunk * self.chunk()) * self.channels)
    }

    fn forward(&self, inputs: Inputs<'_>) -> Vec<f32> {
        let (len, width) = (self.len(), self.channels);
        if len == 0 {
            return Vec::new();
        }
        let zeros = vec![0f32; width];
        let (run, piece) = (self.tokens * width, self.chunk() * width);
        written(len * self.output().count(), |out| {
            let (out, dout) = out.split_at(len);
            let outputs = out.pieces(run, piece).into_par_iter().enumerate();
            let zeros = &zeros[..];
            let task = |i: usize, out, dout| {
                let (gate, start) = self.start(i);
                let gate = inputs.gate.row(gate, width, zeros);
                dispatch(Forward { inputs, gate, start, zeros, out, dout });
            };
            match self.output() {
                Parts::Plain => outputs.for_each(|(i, out)| task(i, out.clear(), None)),
                Parts::Stacked => outputs
                    .zip(dout.pieces(run, piece))
                    .for_each(|((i, out), dout)| task(i, out.clear(), Some(dout.clear()))),
            }
        })
    }

    /// The gradients of y and of the gate.
    fn backward(&self, inputs: Inputs<'_>, gradient: Pair<'_>) -> (Vec<f32>, Vec<f32>) {
        let (len, width, n_chunks) = (self.len(), self.channels, self.n_chunks());
        if len == 0 {
            return (Vec::new(), vec![0f32; self.runs * width * inputs.gate.count()]);
        }
        let zeros = vec![0f32; width];
        let (run, piece) = (self.tokens * width, self.chunk() * width);
        let mut partials = vec![0f32; self.runs * n_chunks * 2 * width];
        let gy = written(len * inputs.y.count(), |gy| {
            let (gy, gdy) = gy.split_at(len);
            let partials = partials.par_chunks_mut(2 * width);
            let outputs = gy.pieces(run, piece).into_par_iter().zip(partials).enumerate();
            let zeros = &zeros[..];
            let task = |i: usize, gy, gdy, partial| {
                let (gate, start) = self.start(i);
                let gate = inputs.gate.row(gate, width, zeros);
                dispatch(Backward { inputs, gate, start, zeros, gradient, gy, gdy, partial });
            };
            match inputs.y.tangent {
                None => outputs.for_each(|(i, (gy, partial))| task(i, gy.clear(), None, partial)),
                Some(_) => outputs
                    .zip(gdy.pieces(run, piece))
                    .for_each(|((i, (gy, partial)), gdy)| task(i, gy.clear(), Some(gdy.clear()), partial)),
            }
        });
        let gathered = |which: usize| {
            total(self.runs, n_chunks, width, |i, channel| partials[(i * 2 + which) * width + channel])
        };
        let mut gate = gathered(0);
        if inputs.gate.tangent.is_some() {
            gate.extend(gathered(1));
        }
        (gy, gate)
    }
}

/// (1) for the rows of a task, the first of which begins at `start`.
struct Forward<'a> {
    inputs: Inputs<'a>,
    gate: (&'a [f32], &'a [f32]),
    start: usize,
    zeros: &'a [f32],
    out: &'a mut [f32],
    dout: Option<&'a mut [f32]>,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { inputs, gate: (gate, dgate), start, zeros, .. } = self;
        let width = gate.len();
        for (i, out) in self.out.chunks_exact_mut(width).enumerate() {
            let at = start + i * width;
            let ((x, _), (y, _)) = (inputs.x.row(at, width, zeros), inputs.y.row(at, width, zeros));
            for ((out, x), (y, g)) in out.iter_mut().zip(x).zip(y.iter().zip(gate)) {
                *out = x + g * y;
            }
        }
        let Some(dout) = self.dout else { return };
        for (i, dout) in dout.chunks_exact_mut(width).enumerate() {
            let at = start + i * width;
            let ((_, dx), (y, dy)) = (inputs.x.row(at, width, zeros), inputs.y.row(at, width, zeros));
            let gates = gate.iter().zip(dgate);
            for ((dout, dx), ((y, dy), (g, dg))) in dout.iter_mut().zip(dx).zip(y.iter().zip(dy).zip(gates)) {
                *dout = dx + dg * y + g * dy;
            }
        }
    }
}

/// (2) for the rows of a task, the first of which begins at `start`.
struct Backward<'a> {
    inputs: Inputs<'a>,
    gate: (&'a [f32], &'a [f32]),
    start: usize,
    zeros: &'a [f32],
    gradient: Pair<'a>,
    gy: &'a mut [f32],
    gdy: Option<&'a mut [f32]>,
    partial: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { inputs, gate: (gate, dgate), start, zeros, gradient, .. } = self;
        let width = gate.len();
        let (partial, dpartial) = self.partial.split_at_mut(width);
        for (i, gy) in self.gy.chunks_exact_mut(width).enumerate() {
            let at = start + i * width;
            let ((y, dy), (go, gdo)) = (inputs.y.row(at, width, zeros), gradient.row(at, width, zeros));
            match gradient.tangent {
                None => backward_row((y, go), gate, gy, partial),
                Some(_) => dual_backward_row((y, dy), (go, gdo), (gate, dgate), gy, partial, dpartial),
            }
        }
        let Some(gdy) = self.gdy else { return };
        for (i, gdy) in gdy.chunks_exact_mut(width).enumerate() {
            let (_, gdo) = gradient.row(start + i * width, width, zeros);
            for ((gdy, gdo), g) in gdy.iter_mut().zip(gdo).zip(gate) {
                *gdy = g * gdo;
            }
        }
    }
}

/// (2) without tangents.
#[inline(always)]
fn backward_row((y, go): (&[f32], &[f32]), gate: &[f32], gy: &mut [f32], partial: &mut [f32]) {
    for (((gy, partial), (y, go)), g) in gy.iter_mut().zip(partial).zip(y.iter().zip(go)).zip(gate) {
        *gy = g * go;
        *partial += y * go;
    }
}

/// (2) except for the gradient of ẏ.
#[inline(always)]
fn dual_backward_row(
    (y, dy): (&[f32], &[f32]),
    (go, gdo): (&[f32], &[f32]),
    (gate, dgate): (&[f32], &[f32]),
    gy: &mut [f32],
    partial: &mut [f32],
    dpartial: &mut [f32],
) {
    let outputs = gy.iter_mut().zip(partial.iter_mut().zip(dpartial));
    let inputs = y.iter().zip(dy).zip(go.iter().zip(gdo)).zip(gate.iter().zip(dgate));
    for ((gy, (partial, dpartial)), (((y, dy), (go, gdo)), (g, dg))) in outputs.zip(inputs) {
        *gy = g * go + dg * gdo;
        *partial += y * go + dy * gdo;
        *dpartial += y * gdo;
    }
}

impl CustomOp3 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let [x_parts, y_parts, gate_parts] = self.parts;
        let inputs = Inputs {
            x: Pair::new(floats(s1, l1)?, x_parts, self.len())?,
            y: Pair::new(floats(s2, l2)?, y_parts, self.len())?,
            gate: Pair::new(floats(s3, l3)?, gate_parts, self.runs * self.channels)?,
        };
        let mut dims = l1.shape().dims().to_vec();
        if x_parts == Parts::Plain && self.output() == Parts::Stacked {
            dims.insert(0, 2);
        }
        Ok((CpuStorage::F32(self.forward(inputs)), dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        gate: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let [x_parts, y_parts, gate_parts] = self.parts;
        let gx = match x_parts == self.output() {
            true => gradient.clone(),
            // A constant x takes the gradient of the value only.
            false => gradient.get(0)?,
        };
        if !is_wanted(y) && !is_wanted(gate) {
            return Ok((Some(gx), None, None));
        }
        let (gy, ggate) = with_floats(y, |y| {
            with_floats(gate, |gate| {
                with_floats(&gradient, |gradient| {
                    let y = Pair::new(y, y_parts, self.len())?;
                    let gate = Pair::new(gate, gate_parts, self.runs * self.channels)?;
                    let gradient = Pair::new(gradient, self.output(), self.len())?;
                    // The numbers of x play no part.
                    Ok(self.backward(Inputs { x: y, y, gate }, gradient))
                })
            })
        })?;
        let tensor = |values: Vec<f32>, input: &Tensor| {
            is_wanted(input).then(|| Tensor::from_vec(values, input.shape(), &Device::Cpu)).transpose()
        };
        Ok((is_wanted(x).then_some(gx), tensor(gy, y)?, tensor(ggate, gate)?))
    }
}
