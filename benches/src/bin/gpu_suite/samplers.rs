//! Samplers: from the same noise, in f64 on the CPU and in f32 on the device.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use flowmap_benches::random::normal;
use flowmap_core::{Linear, TimeGrid};
use flowmap_nn::ParamBuilder;
use flowmap_nn::net::{DataSpec, Mlp, MlpConfig};
use flowmap_sample::{SamplerKind, Session, multistep_consistency};

use crate::distance::{F32, Results};
use crate::networks::on;
use crate::report::Report;

const PART: &str = "sampler";

/// Samples, a multiple of nothing.
const N: usize = 101;

/// Checks every sampler on `device`, forwards, backwards and with fresh noise.
pub fn check(device: &Device, report: &mut Report) {
    for kind in SamplerKind::ALL {
        let there = [0.0, 0.15, 0.5, 1.0];
        let back = [1.0, 0.4, 0.0];
        let run = |x0: &Tensor, session: &Session<'_>, times: &[f64]| -> Result<Tensor> {
            Ok(session.sample(x0, None, &TimeGrid::from_times(times.to_vec())?)?)
        };
        for (way, times) in [("there", &there[..]), ("back", &back)] {
            let found = distance(kind, device, &|x0, session| run(x0, session, times));
            report.add_error(PART, format!("{kind}, {way}"), found, F32);
        }
    }
    let found = distance(SamplerKind::FlowMap, device, &|x0, session| {
        let grid = TimeGrid::from_times(vec![0.0, 0.3, 0.8, 1.0])?;
        let fresh = [x0.neg()?, (x0 * 0.5)?];
        let path = multistep_consistency(session, &Linear, x0, None, &grid, &fresh)?;
        Ok(Tensor::cat(&path, 0)?)
    });
    report.add_error(PART, "multistep consistency".into(), found, F32);
}

fn distance(
    kind: SamplerKind,
    device: &Device,
    run: &dyn Fn(&Tensor, &Session<'_>) -> Result<Tensor>,
) -> Result<f64> {
    let config = MlpConfig { width: 61, ..MlpConfig::default() };
    let mut fresh = ParamBuilder::fresh(1, DType::F32, &Device::Cpu);
    Mlp::new(&config, &DataSpec::of(&[2]), &mut fresh)?;
    let fresh = fresh.finish()?;
    let results = |dtype: DType, device: &Device| -> Result<Results> {
        let mut frozen = ParamBuilder::frozen(on(&fresh, dtype, device)?, dtype, device);
        let net = Mlp::new(&config, &DataSpec::of(&[2]), &mut frozen)?;
        let sampler = kind.build();
        let x0 = normal(1, (N, 2), 1.0)?.to_dtype(dtype)?.to_device(device)?;
        let values = vec![run(&x0, &Session::new(sampler.as_ref(), &net))?];
        Ok(Results { values, gradients: Vec::new() })
    };
    results(DType::F32, device)?.distance(&results(DType::F64, &Device::Cpu)?)
}
