//! How far a learned map is from the laws of a flow map, each as a mean squared error.
//!
//! semigroup      E |X_{u,t}(X_{s,u}(I_s)) − X_{s,t}(I_s)|²
//! invertibility  E |X_{t,s}(X_{s,t}(I_s)) − I_s|²
//! lagrangian     E |∂_t X_{s,t}(I_s) − v_{t,t}(X_{s,t}(I_s))|²
//! eulerian       E |∂_s X_{s,t}(I_s) + ∇X_{s,t}(I_s) v_{s,s}(I_s)|²
//! tangent        E |v_{t,t}(I_t) − b_t(I_t)|², where b_t is known exactly
//!
//! Times are uniform with s <= u <= t. Points go through the network in tiles, so that memory stays bounded.
//! A conditional model is given the class of the x_1 of each I_s: under another class I_s is no point of its paths.
//! Only flow map matching trains jumps back in time: for other models the invertibility error shows the quality of such jumps.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use flowmap_core::exact::ExactFlow;
use flowmap_core::{MiddleTime, NoiseStream, Stream, TimeDistribution};
use flowmap_dual::Dual;
use flowmap_metrics::{Samples, SquaredError, mean_squared_error};
use flowmap_nn::{Batch, Condition, FlowMap, TimeColumn, Times, tile_rows};
use flowmap_sample::base_noise;
use serde::Serialize;

use super::Reference;
use crate::generate::{Generation, with_net};
use crate::{Model, ModelConfig, Result};

/// Number of points and times.
const N_POINTS: usize = 4_096;

/// The errors of a map in its laws.
#[derive(Clone, Debug, Serialize)]
pub struct LawErrors {
    /// Two jumps against one.
    pub semigroup: SquaredError,
    /// There and back again.
    pub invertibility: SquaredError,
    /// The jump's speed against the velocity at its end.
    pub lagrangian: SquaredError,
    /// The derivative along the flow of the start, which moves no end.
    pub eulerian: SquaredError,
    /// The velocity against the exact one, if it is known.
    pub tangent: Option<SquaredError>,
}

impl LawErrors {
    /// Measures `model` on interpolants between noise and the reference data, with the classes of the data and the
    /// guidance of `how`; of one class alone if `how` asks for one.
    ///
    /// Data without the classes of the model get the classes of `how`.
    ///
    /// # Errors
    /// As the network.
    pub fn of(model: &Model, reference: &Reference, how: &Generation, device: &Device) -> Result<Self> {
        let dim = model.config.shape.iter().product();
        let mut pairs = Pairs { dim, ..Pairs::default() };
        let rows = tile_rows(dim);
        for first in (0..N_POINTS).step_by(rows) {
            let n = rows.min(N_POINTS - first);
            let (x1, labels) = reference.points(how.seed, first as u64, n, how.class);
            let labels = labels.or_else(|| how.labels(first, n, &model.config));
            let condition = how.condition_on(labels, model, n, device)?;
            with_net(model, how, |net| {
                let map = FlowMap::given(net, &condition);
                pairs.add(map, x1, &model.config, reference, how.seed, first..first + n, device)
            })?;
        }
        pairs.errors()
    }
}

/// Both sides of each law, row by row.
#[derive(Default)]
struct Pairs {
    dim: usize,
    semigroup: [Vec<f32>; 2],
    invertibility: [Vec<f32>; 2],
    lagrangian: [Vec<f32>; 2],
    eulerian: [Vec<f32>; 2],
    /// Empty where no velocity is known exactly.
    tangent: [Vec<f32>; 2],
}

impl Pairs {
    /// Adds the points of these numbers, which lie between noise and the data `x1`.
    #[expect(clippy::too_many_arguments, reason = "what a law is measured with, each named once")]
    fn add(
        &mut self,
        map: FlowMap<'_>,
        x1: Vec<f32>,
        config: &ModelConfig,
        reference: &Reference,
        seed: u64,
        points: Range<usize>,
        device: &Device,
    ) -> Result<()> {
        let (dtype, shape, n) = (DType::F32, &config.shape, points.len());
        let noise = NoiseStream::new(seed, Stream::Times);
        let draw = |i: usize| {
            let mut noise = noise.at(i as u64);
            MiddleTime::Uniform.draw(TimeDistribution::Uniform {}.draw(&mut noise), &mut noise)
        };
        let times: Vec<_> = points.clone().map(draw).collect();
        let times = Times::new(&times, dtype, device)?;
        let (s, u, t) = (times.s.tensor(), times.u.tensor(), times.t.tensor());

        let base = NoiseStream::new(seed, Stream::Base);
        let x0 = base_noise(&base, points.start as u64, n, shape, config.sigma_data, dtype, device)?;
        let dims: Vec<usize> = [n].iter().chain(shape).copied().collect();
        let x1 = Tensor::from_vec(x1, dims, device)?;
        let batch = Batch {
            x0: &x0,
            x1: &x1,
            condition: Condition::default(),
            interpolant: &config.interpolant,
            unit: 1.0,
        };

        let i_s = batch.i(&times.s)?;
        let (x_st, dt_x_st) = map.jump_dt(s, t, &i_s)?;
        let two_jumps = map.jump(u, t, &map.jump(s, u, &i_s)?)?;
        let back = map.jump(t, s, &x_st)?;
        append(&mut self.semigroup, &two_jumps, &x_st)?;
        append(&mut self.invertibility, &back, &i_s)?;
        append(&mut self.lagrangian, &dt_x_st, &map.velocity(t, &x_st)?)?;
        // d/ds of X_{s,t}(x_s) along the flow of the model, ∂_s X_{s,t} + ∇X_{s,t} v_{s,s}, in one dual pass.
        let along = Dual::new(i_s.clone(), map.velocity(s, &i_s)?)?;
        let start = Dual::variable(s.clone())?;
        let moved = map.jump_dual(&start, &t.into(), &along)?;
        let moved = moved.tangent_or_zeros()?;
        append(&mut self.eulerian, &moved, &moved.zeros_like()?)?;
        if let Some(flow) = reference.exact() {
            let i_t = batch.i(&times.t)?;
            let v_tt = map.velocity(t, &i_t)?;
            let exact = exact_velocity(flow, &i_t, &times.t)?.to_device(device)?.to_dtype(dtype)?;
            append(&mut self.tangent, &v_tt, &exact.reshape(v_tt.shape())?)?;
        }
        Ok(())
    }

    fn errors(&self) -> Result<LawErrors> {
        let error = |[a, b]: &[Vec<f32>; 2]| -> Result<SquaredError> {
            Ok(mean_squared_error(Samples::new(a, self.dim)?, Samples::new(b, self.dim)?)?)
        };
        Ok(LawErrors {
            semigroup: error(&self.semigroup)?,
            invertibility: error(&self.invertibility)?,
            lagrangian: error(&self.lagrangian)?,
            eulerian: error(&self.eulerian)?,
            tangent: (!self.tangent[0].is_empty()).then(|| error(&self.tangent)).transpose()?,
        })
    }
}

/// b_t(x) of every row, in f64.
fn exact_velocity(flow: &impl ExactFlow, x: &Tensor, t: &TimeColumn) -> Result<Tensor> {
    let points = x.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let exact = points.chunks_exact(flow.dim()).zip(t.host()).map(|(x, t)| flow.velocity(*t, x));
    let exact = exact.collect::<Result<Vec<_>, _>>()?.concat();
    Ok(Tensor::from_vec(exact, x.shape(), &Device::Cpu)?)
}

/// Appends the rows of `a` and `b`.
fn append(to: &mut [Vec<f32>; 2], a: &Tensor, b: &Tensor) -> Result<()> {
    for (to, x) in to.iter_mut().zip([a, b]) {
        to.extend(x.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(())
}
