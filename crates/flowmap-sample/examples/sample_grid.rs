//! Samples one exact flow with every sampler: jumps need one step, the others need their order's worth.
//!
//! `cargo run --release -p flowmap-sample --example sample_grid`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::num::NonZeroU32;

use candle_core::{DType, Device, Tensor};
use flowmap_core::exact::{Covariance, ExactFlow, GaussianFlow};
use flowmap_core::{Linear, NoiseStream, Stream, TimeGrid};
use flowmap_dual::Dual;
use flowmap_nn::{AverageVelocity, Condition, FlowMap};
use flowmap_sample::{SamplerKind, base_noise, sample};

const N_SAMPLES: usize = 500;
const MEAN: f64 = 1.0;
const SD: f64 = 0.3;

/// The average velocity from N(0, 1) to N(MEAN, SD²) along the linear interpolant.
struct Exact;

impl AverageVelocity for Exact {
    /// m + (x − s m) ((s + t) sd² − (2 − s − t)) / (sd_s (sd_s + sd_t)),  sd_t² = (1 − t)² + t² sd²
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, _: Condition<'_>) -> flowmap_nn::Result<Dual> {
        let (s, t) = (s.column(2)?, t.column(2)?);
        let sd_at = |t: &Dual| t.neg()?.shift(1.0)?.sqr()?.add(&t.scale(SD)?.sqr()?)?.sqrt();
        let (sd_s, sd_t, sum) = (sd_at(&s)?, sd_at(&t)?, s.add(&t)?);
        let d_variance = sum.scale(SD * SD)?.add(&sum.shift(-2.0)?)?;
        let stretch = d_variance.div(&sd_s.mul(&sd_s.add(&sd_t)?)?)?;
        Ok(x.sub(&s.scale(MEAN)?)?.mul(&stretch)?.shift(MEAN)?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let stream = NoiseStream::new(1, Stream::Base);
    let x0 = base_noise(&stream, 0, N_SAMPLES, &[1], 1.0, DType::F64, &Device::Cpu)?;
    let flow = GaussianFlow::new(Linear, 1.0, vec![MEAN], &Covariance::Isotropic(SD))?;
    let ends =
        x0.to_vec2::<f64>()?.iter().map(|x| flow.flow_map(0.0, 1.0, x)).collect::<Result<Vec<_>, _>>()?;
    let x1 = Tensor::from_vec(ends.concat(), (N_SAMPLES, 1), &Device::Cpu)?;

    println!("root mean square error over {N_SAMPLES} samples; columns: steps");
    println!("{:>10} {:>10} {:>10} {:>10} {:>10}", "", 1, 4, 16, 64);
    for kind in SamplerKind::ALL {
        print!("{:>10}", kind.name());
        for n_steps in [1, 4, 16, 64] {
            let grid = TimeGrid::uniform(NonZeroU32::new(n_steps).ok_or("a grid has steps")?);
            let found = sample(&*kind.build(), FlowMap::new(&Exact as &dyn AverageVelocity), &x0, &grid)?;
            let error = (found - &x1)?.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt();
            print!(" {error:10.1e}");
        }
        println!();
    }
    Ok(())
}
