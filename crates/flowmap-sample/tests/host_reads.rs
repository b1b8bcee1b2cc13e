//! Sampling reads nothing from its device.
//!
//! One test to a process: reads are counted for all of it.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use candle_core::{DType, Device};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_dual::host;
use flowmap_nn::ParamBuilder;
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_sample::{SamplerKind, Session, base_noise};

#[test]
fn no_sampler_reads_a_number() {
    let config = MlpConfig { width: 8, hidden: 1, ..MlpConfig::default() };
    let mut builder = ParamBuilder::fresh(2, DType::F32, &Device::Cpu);
    let net = Mlp::new(&config, &[2], 0, 1.0, &mut builder).unwrap();
    let grid = TimeGrid::uniform(NonZeroU32::new(3).unwrap());
    for kind in SamplerKind::ALL {
        let before = host::n_reads();
        let noise = NoiseStream::new(1, Stream::Base);
        let x0 = base_noise(&noise, 0, 500, &[2], 1.0, DType::F32, &Device::Cpu).unwrap();
        let sampler = kind.build();
        let session = Session::new(&*sampler, &net);
        session.sample(&x0, None, &grid).unwrap();
        session.trajectory(&x0, None, &grid).unwrap();
        assert_eq!(host::n_reads(), before, "{kind}");
    }
}
