//! Sampling reads nothing from its device and sends nothing to it.
//!
//! One test to a process: what goes to the device and back is counted for all of it.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use candle_core::{DType, Device, Tensor};
use flowmap_core::{NoiseStream, Stream, TimeGrid};
use flowmap_dual::{Dual, host};
use flowmap_nn::net::{DataSpec, Mlp, MlpConfig};
use flowmap_nn::{AverageVelocity, Condition, Guided, GuidedWithin, ParamBuilder, Result};
use flowmap_sample::{SamplerKind, Session, base_noise};

/// A network that is asked for every jump by its times on the device.
struct ByTimes<M>(M);

impl<M: AverageVelocity> AverageVelocity for ByTimes<M> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        self.0.average_velocity(s, t, x, condition)
    }
}

#[test]
fn no_sampler_reads_or_sends_a_number() {
    let config = MlpConfig { width: 8, hidden: 1, ..MlpConfig::default() };
    let mut builder = ParamBuilder::fresh(2, DType::F32, &Device::Cpu);
    let net = Mlp::new(&config, &DataSpec::of(&[2]), &mut builder).unwrap();
    let grid = TimeGrid::uniform(NonZeroU32::new(3).unwrap());
    for kind in SamplerKind::ALL {
        let before = (host::n_reads(), host::n_sends());
        let noise = NoiseStream::new(1, Stream::Base);
        let x0 = base_noise(&noise, 0, 500, &[2], 1.0, DType::F32, &Device::Cpu).unwrap();
        let sampler = kind.build();
        let session = Session::new(&*sampler, &net);
        session.sample(&x0, None, &grid).unwrap();
        session.trajectory(&x0, None, &grid).unwrap();
        // The noise, which a CUDA device draws itself.
        assert_eq!((host::n_reads(), host::n_sends()), (before.0, before.1 + 1), "{kind}");
    }

    // Guidance for some times: the sampler knows them.
    let mut builder = ParamBuilder::fresh(2, DType::F32, &Device::Cpu);
    let net =
        Mlp::new(&MlpConfig { label_features: 3, ..config }, &DataSpec::of(&[2]).given(3), &mut builder)
            .unwrap();
    let within = || GuidedWithin::new(net.clone(), Guided::new(net.clone(), 2.0, 3), [0.3, 0.7]);
    let noise = NoiseStream::new(1, Stream::Base);
    let x0 = base_noise(&noise, 0, 8, &[2], 1.0, DType::F32, &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32, 1, 2, 3, 2, 1, 0, 1], &Device::Cpu).unwrap();
    for kind in SamplerKind::ALL {
        let sampler = kind.build();
        let samples = |net: &dyn AverageVelocity| {
            let before = (host::n_reads(), host::n_sends());
            let samples = Session::new(&*sampler, net).sample(&x0, Some(&labels), &grid).unwrap();
            let traffic = (host::n_reads() - before.0, host::n_sends() - before.1);
            (samples.to_vec2::<f32>().unwrap(), traffic)
        };
        let (found, traffic) = samples(&within());
        assert_eq!(traffic, (0, 0), "{kind} within an interval");
        let (expected, traffic) = samples(&ByTimes(within()));
        assert!(traffic.0 > 0, "{kind} by times");
        assert!(found == expected, "{kind} within an interval");
    }
}
