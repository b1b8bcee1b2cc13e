//! How far a learned map is from the laws of a flow map, each as a mean squared error.
//!
//! semigroup      E |X_{u,t}(X_{s,u}(I_s)) − X_{s,t}(I_s)|²
//! invertibility  E |X_{t,s}(X_{s,t}(I_s)) − I_s|²
//! lagrangian     E |∂_t X_{s,t}(I_s) − v_{t,t}(X_{s,t}(I_s))|²
//! tangent        E |v_{t,t}(I_t) − b_t(I_t)|², where b_t is known exactly
//!
//! Times are uniform with s <= u <= t.
//! Jumps back in time are not trained by any objective of this version: the invertibility error shows what they are worth.

use candle_core::{DType, Device, Tensor};
use flowmap_core::exact::ExactFlow;
use flowmap_core::{MiddleTime, NoiseStream, Stream, TimeDistribution};
use flowmap_metrics::{Samples, SquaredError, mean_squared_error};
use flowmap_nn::{AverageVelocity, Batch, Condition, FlowMap, TimeColumn, Times};
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
    /// The velocity against the exact one, where it is known.
    pub tangent: Option<SquaredError>,
}

impl LawErrors {
    /// Measures `model` on interpolants between noise and the reference data, with the classes and the guidance of `how`.
    ///
    /// # Errors
    /// As the network.
    pub fn of(model: &Model, reference: &Reference, how: &Generation, device: &Device) -> Result<Self> {
        let condition = how.condition(model, 0, N_POINTS, device)?;
        with_net(model, how, |net| {
            Self::of_map(FlowMap::given(net, &condition), &model.config, reference, how.seed, device)
        })
    }

    fn of_map(
        map: FlowMap<'_, dyn AverageVelocity + '_>,
        config: &ModelConfig,
        reference: &Reference,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let (dtype, shape) = (DType::F32, &config.shape);
        let noise = NoiseStream::new(seed, Stream::Times);
        let draw = |i: u64| {
            let mut noise = noise.at(i);
            MiddleTime::Uniform.draw(TimeDistribution::Uniform {}.draw(&mut noise), &mut noise)
        };
        let times: Vec<_> = (0..N_POINTS as u64).map(draw).collect();
        let times = Times::new(&times, dtype, device)?;
        let (s, u, t) = (times.s.tensor(), times.u.tensor(), times.t.tensor());

        let base = NoiseStream::new(seed, Stream::Base);
        let x0 = base_noise(&base, 0, N_POINTS, shape, config.sigma_data, dtype, device)?;
        let dims: Vec<usize> = [N_POINTS].iter().chain(shape).copied().collect();
        let x1 = Tensor::from_vec(reference.draw(seed, 0, N_POINTS), dims, device)?;
        let batch =
            Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &config.interpolant };

        let i_s = batch.i(&times.s)?;
        let (x_st, dt_x_st) = map.jump_dt(s, t, &i_s)?;
        let two_jumps = map.jump(u, t, &map.jump(s, u, &i_s)?)?;
        let back = map.jump(t, s, &x_st)?;
        Ok(Self {
            semigroup: squared_error(&two_jumps, &x_st)?,
            invertibility: squared_error(&back, &i_s)?,
            lagrangian: squared_error(&dt_x_st, &map.velocity(t, &x_st)?)?,
            tangent: match reference.exact() {
                Some(flow) => Some(tangent_error(&map, flow, &batch, &times.t)?),
                None => None,
            },
        })
    }
}

fn tangent_error<M: AverageVelocity + ?Sized>(
    map: &FlowMap<'_, M>,
    flow: &impl ExactFlow,
    batch: &Batch<'_>,
    t: &TimeColumn,
) -> Result<SquaredError> {
    let i_t = batch.i(t)?;
    let v_tt = map.velocity(t.tensor(), &i_t)?;
    let points = i_t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let exact = points.chunks_exact(flow.dim()).zip(t.host()).map(|(x, t)| flow.velocity(*t, x));
    let exact = exact.collect::<Result<Vec<_>, _>>()?.concat();
    let exact = Tensor::from_vec(exact, v_tt.dims(), v_tt.device())?.to_dtype(v_tt.dtype())?;
    squared_error(&v_tt, &exact)
}

fn squared_error(a: &Tensor, b: &Tensor) -> Result<SquaredError> {
    let dim: usize = a.dims().iter().skip(1).product();
    let rows = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    let (a, b) = (rows(a)?, rows(b)?);
    Ok(mean_squared_error(Samples::new(&a, dim)?, Samples::new(&b, dim)?)?)
}
