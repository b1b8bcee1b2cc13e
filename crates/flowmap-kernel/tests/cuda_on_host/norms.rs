//! The kernels of normalizations against the composed operations in f64.

use candle_core::{DType, Tensor, Var};
use flowmap_dual::{Activation, Dual, Modulation};

use crate::distances::distances;
use crate::host::{Host, Place};
use crate::{floats, noise, tensor};
use flowmap_kernel::cuda::launches::{self, NormGradients, NormInputs, NormShape};

/// f32 sums over rows, groups and tokens.
const TOLERANCE: f64 = 1e-5;
/// Where the second derivative jumps (relu² at 0), rounding may put a number on the other side.
const TOLERANCE_OF_A_JUMP: f64 = 1e-3;
const EPS: f64 = 1e-5;

#[derive(Clone, Copy, Debug)]
struct Case {
    shape: NormShape,
    /// Which of x, gain and shift have a tangent.
    tangents: [bool; 3],
    activation: Option<Activation>,
}

impl Case {
    /// Sizes of x, and of gain and shift.
    fn dims(&self) -> (Vec<usize>, Vec<usize>) {
        let size = |sizes: &[u32]| sizes.iter().map(|n| *n as usize).collect::<Vec<_>>();
        match self.shape {
            NormShape::Rows { runs, tokens, channels, .. } if runs == 1 => {
                (size(&[runs, tokens, channels]), size(&[channels]))
            }
            NormShape::Rows { runs, tokens, channels, .. } => {
                (size(&[runs, tokens, channels]), size(&[runs, channels]))
            }
            NormShape::Groups { batch, channels, area, is_shared, .. } => (
                size(&[batch, channels, area]),
                if is_shared { size(&[channels]) } else { size(&[batch, channels]) },
            ),
        }
    }

    /// Gains of their own samples count from one, shared ones from zero; see `Gain`.
    fn is_per_sample(&self) -> bool {
        self.dims().1.len() == 2
    }

    fn is_dual(&self) -> bool {
        self.tangents.contains(&true)
    }
}

/// Value, tangent, and gradients in x, ẋ, gain, its tangent, shift and its tangent, of those there are; f64 inputs
/// in the same order, then the weights of the sum.
fn oracle(case: &Case) -> (Vec<Tensor>, Vec<Option<Tensor>>, [Tensor; 2]) {
    let (dims, of_gain) = case.dims();
    let mut inputs = Vec::new();
    for (i, (dims, has_tangent)) in [&dims, &of_gain, &of_gain].into_iter().zip(case.tangents).enumerate() {
        inputs.push(Some(noise(200 + i as u64, dims)));
        inputs.push(has_tangent.then(|| noise(210 + i as u64, dims)));
    }
    let vars: Vec<Option<Var>> =
        inputs.iter().map(|t| t.as_ref().map(|t| Var::from_tensor(t).unwrap())).collect();
    let dual = |i: usize| {
        let primal = vars[2 * i].as_ref().unwrap().as_tensor().clone();
        match &vars[2 * i + 1] {
            Some(tangent) => Dual::new(primal, tangent.as_tensor().clone()).unwrap(),
            None => Dual::constant(primal),
        }
    };
    let (x, gain, shift) = (dual(0), dual(1), dual(2));
    let modulation = match case.is_per_sample() {
        true => Modulation::PerSample { scale: &gain, shift: &shift },
        false => Modulation::Affine { weight: gain.primal(), bias: Some(shift.primal()) },
    };
    let y = match case.shape {
        NormShape::Rows { is_centered: true, .. } => x.layer_norm_with(EPS, modulation, case.activation),
        NormShape::Rows { .. } => x.rms_norm_with(EPS, modulation, case.activation),
        NormShape::Groups { is_scaled: false, .. } => x.modulated(modulation, case.activation),
        NormShape::Groups { groups, .. } => {
            x.group_norm_with(groups as usize, EPS, modulation, case.activation)
        }
    };
    let (y, weights) = (y.unwrap(), [noise(220, &dims), noise(221, &dims)]);
    let mut loss = (y.primal() * &weights[0]).unwrap().sum_all().unwrap();
    let mut found = vec![y.primal().detach()];
    if let Some(dy) = y.tangent() {
        loss = (loss + (dy * &weights[1]).unwrap().sum_all().unwrap()).unwrap();
        found.push(dy.detach());
    }
    let gradients = loss.backward().unwrap();
    found.extend(vars.iter().flatten().map(|var| gradients.get(var).unwrap().clone()));
    (found, inputs, weights)
}

/// The same by the kernels.
fn on_host(host: &mut Host, case: &Case, inputs: &[Option<Tensor>], weights: &[Tensor; 2]) -> Vec<Tensor> {
    let (dims, of_gain) = case.dims();
    let (len, gain_len) = (dims.iter().product::<usize>(), of_gain.iter().product::<usize>());
    let places: Vec<Option<Place>> =
        inputs.iter().map(|t| t.as_ref().map(|t| host.floats(&floats(t)))).collect();
    let numbers = NormInputs {
        x: places[0].unwrap(),
        dx: places[1],
        gain: places[2].unwrap(),
        dgain: places[3],
        shift: places[4].unwrap(),
        dshift: places[5],
    };
    let offset = if case.is_per_sample() { 1.0 } else { 0.0 };
    let name = case.activation.map(Activation::name);
    let (y, stats) = (host.poisoned(4 * len), host.poisoned(16 * case.shape.n_stats() as usize));
    let dy = case.is_dual().then(|| host.poisoned(4 * len));
    launches::norm_forward(host, name, case.shape, (offset, EPS), &numbers, [y, stats], dy).unwrap();

    let partials = case.shape.partials();
    let n_partials = partials.n_segments * partials.n_partials * partials.n_sums * partials.columns;
    let (from, sums) = (host.poisoned(4 * n_partials as usize), host.poisoned(16 * gain_len));
    let gradients = NormGradients {
        gy: host.floats(&floats(&weights[0])),
        gdy: case.is_dual().then(|| host.floats(&floats(&weights[1]))),
        gx: host.poisoned(4 * len),
        gdx: case.is_dual().then(|| host.poisoned(4 * len)),
    };
    launches::norm_backward(host, name, case.shape, offset, &numbers, gradients, [stats, from]).unwrap();
    launches::segment_sums(host, partials, from, sums).unwrap();

    let mut found = vec![tensor(host.read(y, len), &dims)];
    found.extend(dy.map(|dy| tensor(host.read(dy, len), &dims)));
    found.push(tensor(host.read(gradients.gx, len), &dims));
    if case.tangents[0] {
        found.push(tensor(host.read(gradients.gdx.unwrap(), len), &dims));
    }
    for (i, is_there) in [true, case.tangents[1], true, case.tangents[2]].into_iter().enumerate() {
        if is_there {
            found.push(tensor(host.read(host.after(sums, i * gain_len), gain_len), &of_gain));
        }
    }
    found
}

fn check(shape: NormShape, tangents: [bool; 3], activation: Option<Activation>) {
    let Some(mut host) = Host::find() else { return };
    let case = Case { shape, tangents, activation };
    let (expected, inputs, weights) = oracle(&case);
    let found = on_host(&mut host, &case, &inputs, &weights);
    let jumps = activation == Some(Activation::ReluSquared);
    let tolerance = if jumps { TOLERANCE_OF_A_JUMP } else { TOLERANCE };
    let found: Vec<Tensor> = found.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
    for (i, distance) in
        distances(&found, &expected, if case.is_dual() { 2 } else { 1 }).into_iter().enumerate()
    {
        assert!(distance < tolerance, "{case:?} output {i}: off by {distance:e}");
    }
}

/// Checks a shape with every activation, and with every choice of tangents that it can have.
fn check_all(shape: NormShape) {
    let dual = Case { shape, tangents: [true; 3], activation: None };
    let tangents: &[[bool; 3]] = match dual.is_per_sample() {
        true => &[[false; 3], [true; 3], [true, false, false], [false, true, false], [false, false, true]],
        false => &[[false; 3], [true, false, false]],
    };
    for tangents in tangents {
        check(shape, *tangents, Some(Activation::Silu));
    }
    for activation in Activation::ALL.into_iter().map(Some).chain([None]) {
        check(shape, tangents[1], activation);
    }
}

#[test]
fn row_kernels_agree_with_the_composed_oracle() {
    for (runs, tokens, channels) in [(1, 1, 5), (1, 70, 33), (3, 19, 7), (2, 5, 200)] {
        for is_centered in [true, false] {
            check_all(NormShape::Rows { runs, tokens, channels, is_centered });
        }
    }
    // More columns than threads.
    let wide = NormShape::Rows { runs: 2, tokens: 9, channels: 770, is_centered: true };
    check(wide, [true; 3], Some(Activation::Silu));
}

#[test]
fn group_kernels_agree_with_the_composed_oracle() {
    for (batch, channels, groups, area) in [(2, 6, 3, 5), (3, 4, 1, 49), (2, 24, 2, 3), (1, 2, 2, 700)] {
        for is_shared in [true, false] {
            check_all(NormShape::Groups { batch, channels, groups, area, is_shared, is_scaled: true });
        }
    }
}

#[test]
fn group_kernels_that_scale_nothing_leave_x_as_it_is() {
    for (batch, channels, area) in [(2, 6, 5), (3, 4, 49), (1, 2, 700)] {
        for is_shared in [true, false] {
            let groups = channels;
            check_all(NormShape::Groups { batch, channels, groups, area, is_shared, is_scaled: false });
        }
    }
}
