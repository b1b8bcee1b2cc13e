//! Networks of images: gradients reach every parameter, duals are derivatives, and fused kernels agree with the oracle.

use candle_core::{DType, Device, Tensor};
use flowmap_core::Stream;
use flowmap_dual::Dual;
use flowmap_nn::net::{
    AttentionScale, DataSpec, DdpmPpSize, DdpmPpUNet, DdpmPpUNetConfig, DitConfig, Edm2Size, Edm2UNet,
    Edm2UNetConfig, ReversedTime, TimeDirection, UNet, UNetConfig,
};
use flowmap_nn::{AverageVelocity, Condition, Error, ParamBuilder, Params};

use crate::support::image_nets::{ImageCase, Kind, N, SIGMA_DATA, cases, host, images, loss, times};

/// Steps of a central difference: truncation and rounding are both below 1e-8.
const STEP: f64 = 1e-5;
/// Against a central difference, relative to the largest number.
const DIFFERENCE: f64 = 1e-6;
/// f32 against f64, values and derivatives, relative to the largest number.
const SINGLE: f64 = 1e-4;
/// The same for gradients of a derivative, which pass through every layer four times.
const SINGLE_GRADIENT: f64 = 5e-4;

/// The largest difference over the largest number.
fn relative(found: &[f64], expected: &[f64]) -> f64 {
    let largest = |x: &mut dyn Iterator<Item = f64>| x.fold(0.0f64, |max, x| max.max(x.abs()));
    let difference = largest(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    difference / largest(&mut expected.iter().copied()).max(f64::MIN_POSITIVE)
}

/// The gradients of all parameters by name.
///
/// Not that of a bias of the keys: it adds the same to every score of a query, which a softmax does not see,
/// so that its gradient is zero except for rounding.
fn gradients(loss: &Tensor, params: &Params) -> Vec<(String, Vec<f64>)> {
    let gradients = loss.backward().unwrap();
    let of = |(name, var): (&String, &candle_core::Var)| {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("`{name}` has no gradient"));
        (name.clone(), host(gradient))
    };
    params.vars().iter().filter(|(name, _)| !name.ends_with("k_norm.bias")).map(of).collect()
}

#[test]
fn all_params_get_gradients() {
    for dtype in [DType::F32, DType::F64] {
        for case in cases() {
            let (model, params) = case.trainable(dtype);
            for (name, gradient) in gradients(&loss(&case, &*model, dtype), &params) {
                let what = format!("{}, {dtype:?}: gradient of `{name}`", case.name);
                assert!(gradient.iter().all(|g| g.is_finite()), "{what} is not finite");
                assert!(gradient.iter().any(|g| *g != 0.0), "{what} is zero");
            }
        }
    }
}

#[test]
fn gradients_are_central_differences_of_the_loss() {
    for case in cases() {
        let (model, params) = case.trainable(DType::F64);
        for (name, gradient) in gradients(&loss(&case, &*model, DType::F64), &params) {
            let var = &params.vars()[&name];
            let largest = gradient.iter().fold(0.0f64, |max, g| max.max(g.abs()));
            let index = gradient.iter().position(|g| g.abs() == largest).unwrap();
            let original = var.as_detached_tensor().copy().unwrap();
            let moved = |h: f64| {
                let mut values = host(&original);
                values[index] += h;
                var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
                let moved = loss(&case, &*model, DType::F64);
                var.set(&original).unwrap();
                moved.to_scalar::<f64>().unwrap()
            };
            let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let error = (gradient[index] - difference).abs() / largest;
            assert!(error < DIFFERENCE, "{}: `{name}` off by {error:e}", case.name);
        }
    }
}

/// A direction in the start, the end and the point.
#[derive(Clone, Copy, Debug)]
enum Along {
    Start,
    End,
    Point,
}

const DIRECTIONS: [Along; 3] = [Along::Start, Along::End, Along::Point];

/// v_{s,t}(x) moved by `h` along a direction, and its dual.
fn moved(case: &ImageCase, net: &dyn AverageVelocity, along: Along, h: f64, dtype: DType) -> Dual {
    let times = times(DType::F64);
    let variable = |x: Tensor, direction: Tensor, is_moved: bool| {
        let x = if is_moved { (x + (&direction * h).unwrap()).unwrap() } else { x };
        let (x, direction) = (x.to_dtype(dtype).unwrap(), direction.to_dtype(dtype).unwrap());
        if is_moved { Dual::new(x, direction).unwrap() } else { Dual::constant(x) }
    };
    let time = |time: &Tensor, is_moved| variable(time.clone(), time.ones_like().unwrap(), is_moved);
    let s = time(times.s.tensor(), matches!(along, Along::Start));
    let t = time(times.t.tensor(), matches!(along, Along::End));
    let (x, direction) = (images(N, Stream::Base, DType::F64), images(N, Stream::Data, DType::F64));
    let x = variable(x, direction, matches!(along, Along::Point));
    let condition = case.condition(N, dtype);
    net.average_velocity(&s, &t, &x, (&condition).into()).unwrap()
}

#[test]
fn duals_are_central_differences() {
    for case in cases() {
        let net = case.frozen(DType::F64);
        for along in DIRECTIONS {
            let at = |h: f64| host(moved(&case, &*net, along, h, DType::F64).primal());
            let (plus, minus) = (at(STEP), at(-STEP));
            let expected: Vec<f64> =
                plus.iter().zip(&minus).map(|(plus, minus)| (plus - minus) / (2.0 * STEP)).collect();
            let found = host(moved(&case, &*net, along, 0.0, DType::F64).tangent().unwrap());
            let error = relative(&found, &expected);
            assert!(error < DIFFERENCE, "{}, {along:?}: off by {error:e}", case.name);
        }
    }
}

#[test]
fn fused_kernels_agree_with_the_composed_oracle() {
    for case in cases() {
        let (single, double) = (case.frozen(DType::F32), case.frozen(DType::F64));
        for along in DIRECTIONS {
            let found = moved(&case, &*single, along, 0.0, DType::F32);
            let expected = moved(&case, &*double, along, 0.0, DType::F64);
            let tangents = (found.tangent().unwrap(), expected.tangent().unwrap());
            for (found, expected) in [(found.primal(), expected.primal()), tangents] {
                let error = relative(&host(found), &host(expected));
                assert!(error < SINGLE, "{}, {along:?}: off by {error:e}", case.name);
            }
        }
        let ((single, of_single), (double, of_double)) =
            (case.trainable(DType::F32), case.trainable(DType::F64));
        let found = gradients(&loss(&case, &*single, DType::F32), &of_single);
        let expected = gradients(&loss(&case, &*double, DType::F64), &of_double);
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            let error = relative(found, expected);
            assert!(error < SINGLE_GRADIENT, "{}: gradient of `{name}` off by {error:e}", case.name);
        }
    }
}

/// What is trained with the time of foreign weights is what wraps them.
#[test]
fn network_whose_time_runs_from_data_is_the_reversed_network_to_the_last_bit() {
    let case = cases().into_iter().find(|case| case.name == "ddpm++, time from data").unwrap();
    let net = case.frozen(DType::F32);
    let Kind::DdpmPp(config) = &case.kind else { panic!("not a DDPM++") };
    let forward = DdpmPpUNetConfig { time: TimeDirection::FromNoise, ..config.clone() };
    let forward = ImageCase { kind: Kind::DdpmPp(forward), name: case.name, conditioning: case.conditioning };
    let wrapped = ReversedTime(forward.frozen(DType::F32));
    for along in DIRECTIONS {
        let found = moved(&case, &*net, along, 0.0, DType::F32);
        let expected = moved(&case, &wrapped, along, 0.0, DType::F32);
        assert_eq!(host(found.primal()), host(expected.primal()), "{along:?}");
        assert_eq!(host(found.tangent().unwrap()), host(expected.tangent().unwrap()), "{along:?}");
    }
}

/// With heads of 4 numbers it takes queries that are half as long.
#[test]
fn attention_that_divides_by_the_width_is_that_of_shorter_queries() {
    let case = cases().into_iter().find(|case| case.name == "dit of shortcut models").unwrap();
    let Kind::Dit(config) = &case.kind else { panic!("not a DiT") };
    assert_eq!(config.width / config.heads, 4);
    let mut tensors = case.tensors();
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| name.contains("attn.qkv")) {
        let (queries, rest) =
            (tensor.narrow(0, 0, config.width), tensor.narrow(0, config.width, 2 * config.width));
        *tensor = Tensor::cat(&[(queries.unwrap() * 0.5).unwrap(), rest.unwrap()], 0).unwrap();
        assert_eq!(tensor.dims()[0], 3 * config.width, "{name}");
    }
    let root = DitConfig { attention_scale: AttentionScale::Root, ..config.clone() };
    let root = ImageCase { kind: Kind::Dit(root), name: case.name, conditioning: case.conditioning };
    let (root, _) = root.build(ParamBuilder::frozen(tensors, DType::F64, &Device::Cpu));
    let net = case.frozen(DType::F64);
    for along in DIRECTIONS {
        let found = moved(&case, &*net, along, 0.0, DType::F64);
        let expected = moved(&case, &*root, along, 0.0, DType::F64);
        assert!(relative(&host(found.primal()), &host(expected.primal())) < 1e-12, "{along:?}");
        let tangents = [found.tangent().unwrap(), expected.tangent().unwrap()].map(host);
        assert!(relative(&tangents[0], &tangents[1]) < 1e-12, "{along:?}");
    }
}

/// Forced weight normalization changes the length of every row and nothing else, so that the network stays as it is.
#[test]
fn projection_makes_rows_of_magnitude_one_and_keeps_the_network() {
    for case in cases() {
        let (net, params) = case.trainable(DType::F64);
        let before = host(moved(&case, &*net, Along::End, 0.0, DType::F64).primal());
        params.project().unwrap();
        let after = host(moved(&case, &*net, Along::End, 0.0, DType::F64).primal());
        // The 1e-4 that is added to a magnitude counts twice after a projection.
        assert!(relative(&after, &before) < 1e-2, "{}", case.name);
        let is_edm2 = case.name.starts_with("edm2");
        assert_eq!(params.has_spheres(), is_edm2, "{}", case.name);
        if is_edm2 {
            let rows = host(&params.vars()["unet.out_conv.weight"]);
            for row in rows.chunks_exact(rows.len() / 2) {
                let rms = (row.iter().map(|w| w * w).sum::<f64>() / row.len() as f64).sqrt();
                assert!((rms - 1.0).abs() < 1e-3, "{}: magnitude {rms}", case.name);
            }
        }
    }
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let builder = || ParamBuilder::outline(DType::F32, &Device::Cpu);
    let unet = |shape: &[usize]| {
        UNet::new(&UNetConfig::default(), &DataSpec::of(shape).with_sigma(SIGMA_DATA), &mut builder())
            .map(drop)
    };
    assert!(unet(&[1, 28, 28]).is_ok());
    assert!(matches!(unet(&[784]), Err(Error::NotAnImage { .. })));
    assert!(matches!(unet(&[1, 27, 28]), Err(Error::ImageSides { factor: 4, height: 27, width: 28 })));
    let edm2 = Edm2UNetConfig::new(Edm2Size::Small);
    let edm2 =
        Edm2UNet::new(&edm2, &DataSpec::of(&[3, 18, 18]).with_sigma(SIGMA_DATA), &mut builder()).map(drop);
    assert!(matches!(edm2, Err(Error::ImageSides { factor: 4, .. })));
    let ddpmpp = |config: &DdpmPpUNetConfig, side| {
        DdpmPpUNet::new(config, &DataSpec::of(&[3, side, side]).with_sigma(SIGMA_DATA), &mut builder())
            .map(drop)
    };
    let small = DdpmPpUNetConfig::new(DdpmPpSize::Small);
    assert!(ddpmpp(&small, 16).is_ok());
    assert!(matches!(ddpmpp(&small, 18), Err(Error::ImageSides { factor: 4, .. })));
    let bad = |change: fn(&mut DdpmPpUNetConfig)| {
        let mut config = small.clone();
        change(&mut config);
        match ddpmpp(&config, 16) {
            Err(Error::OutOfRange { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bad(|config| config.channels = 0), "channels");
    assert_eq!(bad(|config| config.channels = 30), "channels");
    assert_eq!(bad(|config| config.channels = 36), "channels");
    assert_eq!(bad(|config| config.channel_mult = vec![]), "channel_mult");
    assert_eq!(bad(|config| config.channel_mult = vec![1, 0]), "channel_mult");
    assert_eq!(bad(|config| config.blocks = 0), "blocks");
    assert_eq!(bad(|config| config.noise_mult = 0), "noise_mult");
    assert_eq!(bad(|config| config.filter = vec![1.0, 2.0, 1.0]), "filter");
    assert_eq!(bad(|config| config.filter = vec![1.0, -1.0]), "filter");
    assert_eq!(bad(|config| config.dropout = 1.0), "dropout");
}

/// Without labels of augmentation an image is one that nothing was done to.
#[test]
fn no_labels_of_augmentation_are_zeros_and_others_are_seen() {
    let case = cases().into_iter().find(|case| case.name == "ddpm++, told of augmentation").unwrap();
    let net = case.frozen(DType::F64);
    let times = times(DType::F64);
    let (s, t) = (Dual::from(times.s.tensor()), Dual::from(times.t.tensor()));
    let x = Dual::constant(images(N, Stream::Base, DType::F64));
    let v = |condition: Condition<'_>| host(net.average_velocity(&s, &t, &x, condition).unwrap().primal());
    let zeros = Tensor::zeros((N, 6), DType::F64, &Device::Cpu).unwrap();
    let plain = v(Condition::default());
    assert_eq!(v(Condition::default().with_augment(&zeros)), plain);
    let told = case.condition(N, DType::F64);
    assert!(relative(&v(Condition::from(&told)), &plain) > 1e-3);
    // A part of a batch has its own rows of them.
    let last = Condition::from(&told).rows(N - 1, 1).unwrap();
    let row = |x: &Tensor| Dual::constant(x.narrow(0, N - 1, 1).unwrap());
    let (s, t, x) = (row(times.s.tensor()), row(times.t.tensor()), row(x.primal()));
    let alone = host(net.average_velocity(&s, &t, &x, (&last).into()).unwrap().primal());
    let whole = v(Condition::from(&told));
    assert!(relative(&alone, &whole[whole.len() - alone.len()..]) < 1e-12);
}
