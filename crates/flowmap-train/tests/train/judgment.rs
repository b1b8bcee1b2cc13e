//! The judgment of models whose flow map is exact: what a perfect model scores, and on which data.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use flowmap_data::{DataConfig, NpyArray, NpyData, npz_bytes};
use flowmap_dual::Dual;
use flowmap_nn::{AverageVelocity, Condition, ParamBuilder};
use flowmap_train::{
    Classes, ConfigSource, Drawn, Error, Evaluation, FloorKind, Generation, LawErrors, Metric, Model,
    ModelConfig, Reference, Sampling, evaluate, generate, judge, resolve,
};

/// Two Gaussians that are far apart, as many standard deviations as no sample goes.
const MEANS: [[f64; 2]; 2] = [[2.0, 0.0], [-2.0, 0.0]];
const SD: f64 = 0.1;
/// Squared errors of a map that is exact in f64 and computed in f32, whose values are below 10.
const ROUNDING: f64 = 1e-8;
/// Sliced W2 of n exact samples is about √(|Δp| d²/2) for the difference Δp of the shares of two modes at the distance
/// d = 4; four standard deviations of Δp are 0.016 for 20 000 samples a side. Equal shares would give 1.5.
const SLICED_BOUND: f64 = 0.36;

/// The exact flow map of N(m_c, SD² I) for each class c, from N(0, σ0² I) along straight lines:
/// v_{s,t}(x) = m + (x − s m) ((s + t)(σ0² + SD²) − 2 σ0²) / (σ_s (σ_s + σ_t)), σ_t² = (1 − t)² σ0² + t² SD².
struct Exact {
    means: Vec<[f64; 2]>,
    sigma0: f64,
    /// How much is added where no path of the class leads: six standard deviations from its mean, and farther.
    outside: f64,
}

impl AverageVelocity for Exact {
    fn average_velocity(
        &self,
        s: &Dual,
        t: &Dual,
        x: &Dual,
        condition: Condition<'_>,
    ) -> flowmap_nn::Result<Dual> {
        let (rank, n) = (x.dims().len(), x.dims()[0]);
        let means: Vec<f32> = self.means.iter().flatten().map(|m| *m as f32).collect();
        let means = Tensor::from_vec(means, (self.means.len(), 2), x.device())?;
        let m = match condition.labels {
            Some(labels) => means.index_select(labels, 0)?,
            None => means.narrow(0, 0, 1)?.broadcast_as((n, 2))?.contiguous()?,
        };
        let (both, twice) = (self.sigma0.powi(2) + SD * SD, 2.0 * self.sigma0.powi(2));
        let variance = |t: &Dual| t.sqr()?.scale(both)?.add(&t.scale(-twice)?)?.shift(0.5 * twice);
        let (var_s, sd_t) = (variance(s)?, variance(t)?.sqrt()?);
        let sd_s = var_s.sqrt()?;
        let factor = s.add(t)?.scale(both)?.shift(-twice)?.div(&sd_s.mul(&sd_s.add(&sd_t)?)?)?;
        let m = Dual::constant(m);
        let from_mean = x.sub(&s.column(rank)?.mul(&m)?)?;
        let v = m.add(&factor.column(rank)?.mul(&from_mean)?)?;
        let beyond = from_mean.sqr()?.sum_keepdim(1)?.sub(&var_s.scale(36.0)?.column(rank)?)?.relu()?;
        Ok(v.add(&beyond.scale(self.outside)?.mul(&from_mean)?)?)
    }
}

/// The config of a run on `data` with these keys, as a model of it has.
fn config(data: &str, sets: &[&str]) -> ModelConfig {
    let mut sources = vec![ConfigSource::preset("gaussian-mixture").unwrap()];
    sources.push(ConfigSource::set(&format!("data={data}")).unwrap());
    sources.extend(sets.iter().map(|set| ConfigSource::set(set).unwrap()));
    let config = resolve(&sources).unwrap();
    let data = config.data.build(None).unwrap();
    let n_classes = if config.conditional { data.n_classes() } else { 0 };
    ModelConfig::new(&config, data.as_ref(), n_classes)
}

/// The perfect model of `means`.
fn exact(config: ModelConfig, means: &[[f64; 2]], outside: f64) -> Model {
    let net = Exact { means: means.to_vec(), sigma0: config.sigma_data, outside };
    let params = ParamBuilder::frozen(BTreeMap::new(), DType::F32, &Device::Cpu).finish().unwrap();
    Model { config, net: Box::new(net), params, path: "exact".into() }
}

/// Two far modes with these weights.
fn two_modes(weights: &str) -> String {
    format!("{{kind=\"gaussian_mixture\", means=[[2.0,0.0],[-2.0,0.0]], stds=[{SD}], weights={weights}}}")
}

fn evaluated(model: &Model, metrics: &[Metric], steps: &[u32], how: &Generation) -> Evaluation {
    let reference = Reference::for_model(&model.config.data, &model.config).unwrap();
    evaluate(model, &reference, metrics, steps, how, &Device::Cpu, &mut |_| ()).unwrap()
}

#[test]
fn perfect_conditional_model_of_unequal_classes_scores_its_floor() {
    let model = exact(config(&two_modes("[0.8,0.2]"), &["conditional=true"]), &MEANS, 0.0);
    let metrics = [Metric::KlExact, Metric::SlicedW2, Metric::Energy, Metric::Mmd2];
    let evaluation = evaluated(&model, &metrics, &[1, 4], &Generation::new(20_000, 3));
    assert_eq!(evaluation.reference, "gaussian_mixture, drawn anew");
    for row in &evaluation.rows {
        let of = |metric| &row.metrics[&metric];
        let (kl, sliced) = (of(Metric::KlExact), of(Metric::SlicedW2));
        // Equal shares of the classes would add 0.19 to the KL, 0.7 to the energy distance and 0.4 to MMD².
        assert!((kl.value - kl.floor.unwrap()).abs() < 0.01, "{kl:?}");
        assert_eq!(kl.floor_kind, Some(FloorKind::Computed));
        assert!(sliced.value < SLICED_BOUND && sliced.floor.unwrap() < SLICED_BOUND, "{sliced:?}");
        assert_eq!(sliced.floor_kind, Some(FloorKind::SecondDraw));
        for metric in [Metric::Energy, Metric::Mmd2] {
            assert!(of(metric).value.abs() < 0.01 && of(metric).floor == Some(0.0), "{:?}", of(metric));
        }
    }
    // The classes in turn are what they would be without the shares.
    let in_turn = Generation { classes: Classes::InTurn, ..Generation::new(20_000, 3) };
    let evaluation = evaluated(&model, &[Metric::KlExact, Metric::SlicedW2], &[1], &in_turn);
    assert!(evaluation.rows[0].metrics[&Metric::KlExact].value > 0.15);
    assert!(evaluation.rows[0].metrics[&Metric::SlicedW2].value > 1.0);
}

#[test]
fn perfect_conditional_model_of_a_file_of_unequal_classes_scores_its_floor() {
    let dir = tempfile::tempdir().unwrap();
    let mixture: DataConfig = toml::from_str(&format!(
        "kind = 'gaussian_mixture'\nmeans = [[2.0, 0.0], [-2.0, 0.0]]\nstds = [{SD}]\nweights = [0.9, 0.1]"
    ))
    .unwrap();
    let mixture = Reference::new(&mixture).unwrap();
    let (x, labels) = (mixture.draw(5, 0, 5000), mixture.draw_labels(5, 0, 5000));
    let path = dir.path().join("points.npz");
    let arrays = [
        NpyArray { name: "samples", shape: &[5000, 2], data: NpyData::F32(&x) },
        NpyArray { name: "labels", shape: &[5000], data: NpyData::U32(&labels) },
    ];
    fs::write(&path, npz_bytes(&arrays).unwrap()).unwrap();
    let data = format!("{{kind=\"points\", path={:?}}}", path.display().to_string());
    let model = exact(config(&data, &["conditional=true"]), &MEANS, 0.0);
    let count = labels.iter().filter(|label| **label == 0).count();
    assert_eq!(model.config.class_shares, [count as f64 / 5000.0, (5000 - count) as f64 / 5000.0]);
    let evaluation =
        evaluated(&model, &[Metric::SlicedW2, Metric::W2, Metric::Energy], &[1], &Generation::new(20_000, 3));
    assert_eq!(evaluation.reference, "points, the 5000 training samples");
    let metrics = &evaluation.rows[0].metrics;
    let sliced = &metrics[&Metric::SlicedW2];
    assert!(sliced.value < SLICED_BOUND && sliced.floor.unwrap() < SLICED_BOUND, "{sliced:?}");
    assert_eq!(sliced.floor_kind, Some(FloorKind::Resampled));
    assert_eq!(metrics[&Metric::W2].floor_kind, Some(FloorKind::Resampled));
    assert!(metrics[&Metric::Energy].value.abs() < 0.02, "{:?}", metrics[&Metric::Energy]);
}

#[test]
fn laws_of_a_conditional_model_are_measured_at_points_of_the_class() {
    // At points of the other class the map is wrong by far.
    let model = exact(config(&two_modes("[0.8,0.2]"), &["conditional=true"]), &MEANS, 10.0);
    let reference = Reference::for_model(&model.config.data, &model.config).unwrap();
    let all = Generation::new(1, 3);
    for how in
        [all.clone(), Generation { class: Some(0), ..all.clone() }, Generation { class: Some(1), ..all }]
    {
        let laws = LawErrors::of(&model, &reference, &how, &Device::Cpu).unwrap();
        for law in [&laws.semigroup, &laws.invertibility, &laws.lagrangian, &laws.eulerian] {
            assert!(law.mean < ROUNDING, "{:?}: {laws:?}", how.class);
        }
    }
    // Points that have no class known get those of the model, and then the map is wrong.
    let unlabelled: DataConfig = toml::from_str("kind = 'swiss_roll'").unwrap();
    let reference = Reference::for_model(&unlabelled, &model.config).unwrap();
    let laws = LawErrors::of(&model, &reference, &Generation::new(1, 3), &Device::Cpu).unwrap();
    assert!(laws.eulerian.mean > 1e3 * ROUNDING && laws.lagrangian.mean > 1e3 * ROUNDING, "{laws:?}");
}

#[test]
fn samples_of_one_class_are_not_judged_against_all() {
    let model = exact(config(&two_modes("[0.8,0.2]"), &["conditional=true"]), &MEANS, 0.0);
    let reference = Reference::for_model(&model.config.data, &model.config).unwrap();
    let how = Generation { class: Some(1), ..Generation::new(10, 3) };
    let result = evaluate(&model, &reference, &[Metric::SlicedW2], &[1], &how, &Device::Cpu, &mut |_| ());
    assert!(matches!(result, Err(Error::OneClass { found: 1 })));
}

/// One Gaussian, whose flow map is exact without labels.
fn gaussian(sets: &[&str]) -> Model {
    let data = format!("{{kind=\"gaussian_mixture\", means=[[2.0,0.0]], stds=[{SD}], weights=[1.0]}}");
    exact(config(&data, sets), &MEANS[..1], 0.0)
}

#[test]
fn exact_map_obeys_every_law_and_another_breaks_the_eulerian_one() {
    let model = gaussian(&[]);
    let evaluation = evaluated(&model, &[Metric::MapError], &[1, 4], &Generation::new(500, 3));
    let laws = evaluation.laws.unwrap();
    let tangent = laws.tangent.unwrap();
    for law in [laws.semigroup, laws.invertibility, laws.lagrangian, laws.eulerian, tangent] {
        assert!(law.mean < ROUNDING, "{law:?}");
    }
    assert!(evaluation.rows.iter().all(|row| row.metrics[&Metric::MapError].value < ROUNDING));
    assert_eq!(evaluation.omitted, []);
    // The map of another base is a flow map too, of another velocity: consistent with itself, and not right.
    let mut other = gaussian(&[]);
    other.net = Box::new(Exact { means: MEANS[..1].to_vec(), sigma0: 0.5, outside: 0.0 });
    let laws = evaluated(&other, &[], &[], &Generation::new(1, 3)).laws.unwrap();
    assert!(laws.eulerian.mean < ROUNDING && laws.tangent.unwrap().mean > 1e-2, "{laws:?}");
    // A velocity that is not that of the jumps.
    other.net = Box::new(Exact { means: MEANS[..1].to_vec(), sigma0: 0.5, outside: 1.0 });
    let laws = evaluated(&other, &[], &[], &Generation::new(1, 3)).laws.unwrap();
    assert!(laws.eulerian.mean > 1e3 * ROUNDING, "{laws:?}");
}

#[test]
fn exact_flow_judges_models_of_independent_pairs_alone() {
    for coupling in ["optimal_transport", "sinkhorn"] {
        let model = gaussian(&[&format!("coupling={{kind=\"{coupling}\"}}")]);
        let reference = Reference::for_model(&model.config.data, &model.config).unwrap();
        let refusal = Metric::MapError.check(&reference).unwrap_err().to_string();
        assert!(refusal.contains("independent pairs") && refusal.contains("`coupling`"), "{refusal}");
        assert!(!Metric::defaults(&reference).contains(&Metric::MapError));
        let evaluation = evaluated(&model, &[Metric::SlicedW2], &[1], &Generation::new(50, 3));
        assert!(evaluation.laws.unwrap().tangent.is_none());
        let names: Vec<&str> = evaluation.omitted.iter().map(|omission| omission.name).collect();
        assert_eq!(names, ["map_error", "tangent"]);
    }
}

#[test]
fn map_error_of_fresh_noise_is_left_out_with_its_reason() {
    let model = gaussian(&[]);
    let how = Generation { sampler: Sampling::Consistency, ..Generation::new(50, 3) };
    let evaluation = evaluated(&model, &[Metric::SlicedW2, Metric::MapError], &[1, 2], &how);
    assert!(evaluation.rows.iter().all(|row| !row.metrics.contains_key(&Metric::MapError)));
    assert!(evaluation.omitted[0].to_string().starts_with("map_error is left out: it compares"));
    let one = evaluated(&model, &[Metric::MapError], &[1], &how);
    assert!(one.rows[0].metrics[&Metric::MapError].value < ROUNDING);
}

#[test]
fn fresh_noise_for_a_model_of_other_pairs_is_refused() {
    let model = gaussian(&["coupling={kind=\"optimal_transport\"}"]);
    let how = Generation { sampler: Sampling::Consistency, ..Generation::new(5, 3) };
    let samples = |n: u32| {
        let grid = flowmap_core::TimeGrid::uniform(n.try_into().unwrap());
        generate(&model, &grid, &how, &Device::Cpu, &mut |_| ())
    };
    assert!(samples(1).is_ok());
    let refusal = samples(2).unwrap_err().to_string();
    assert!(refusal.contains("`independent`") && refusal.contains("`optimal_transport`"), "{refusal}");
}

/// The metrics that take some of the samples.
const SOME: [Metric; 4] = [Metric::SlicedW2, Metric::W2, Metric::Energy, Metric::Mmd2];

#[test]
fn floor_is_that_of_the_number_of_samples_and_the_seed() {
    let moons: DataConfig = toml::from_str("kind = 'moons'").unwrap();
    let shared = Reference::new(&moons).unwrap();
    let floor = |reference: &Reference, n: usize, seed: u64, metric: Metric| {
        let x = reference.draw(99, 0, n);
        judge(Drawn::new(&x), reference, &[metric], seed).unwrap()[&metric].floor.unwrap()
    };
    for (n, seed) in [(200, 1), (6400, 1), (200, 2), (200, 1)] {
        for metric in SOME {
            let fresh = Reference::new(&moons).unwrap();
            assert_eq!(floor(&shared, n, seed, metric), floor(&fresh, n, seed, metric), "{metric} of {n}");
        }
    }
    assert!(floor(&shared, 200, 1, Metric::SlicedW2) > 2.0 * floor(&shared, 6400, 1, Metric::SlicedW2));
}

/// The values of the metrics of `x`, which are of the law of the reference.
fn values(x: &[f32], reference: &Reference, metrics: &[Metric]) -> Vec<f64> {
    let measured = judge(Drawn::new(x), reference, metrics, 0).unwrap();
    measured.values().map(|measured| measured.value).collect()
}

/// The rows of `x` in the order of `key`.
fn ordered(x: &[f32], dim: usize, key: impl Fn(usize) -> u32) -> Vec<f32> {
    let mut rows: Vec<usize> = (0..x.len() / dim).collect();
    rows.sort_by_key(|row| key(*row));
    rows.into_iter().flat_map(|row| &x[row * dim..][..dim]).copied().collect()
}

#[test]
fn order_of_the_samples_changes_no_metric_beyond_noise() {
    /// Differences of the metrics of two draws of 1024 to 20 000 of the samples; the first rows of a sorted file gave
    /// 1.5, 3.7, 2.2 and 2.1.
    const NOISE: [f64; 4] = [0.1, 0.3, 0.02, 0.02];
    let eight: DataConfig = toml::from_str("kind = 'eight_gaussians'").unwrap();
    let reference = Reference::new(&eight).unwrap();
    let (x, labels) = (reference.draw(8, 0, 40_000), reference.draw_labels(8, 0, 40_000));
    let shuffled = values(&x, &reference, &SOME);
    let sorted = values(&ordered(&x, 2, |row| labels[row]), &reference, &SOME);
    // Classes in turn: the n-th sample of its class.
    let mut seen = [0u32; 8];
    let turns: Vec<u32> = labels.iter().map(|l| (seen[*l as usize] += 1, seen[*l as usize]).1).collect();
    let in_turn = values(&ordered(&x, 2, |row| 8 * turns[row] + labels[row]), &reference, &SOME);
    for other in [sorted, in_turn] {
        for ((a, b), noise) in shuffled.iter().zip(&other).zip(NOISE) {
            assert!((a - b).abs() < noise, "{shuffled:?} and {other:?}");
        }
    }
    // Images as well.
    let digits = Reference::new(&toml::from_str("kind = 'digits'").unwrap()).unwrap();
    let (x, labels) = (digits.draw(8, 0, 8_000), digits.draw_labels(8, 0, 8_000));
    let sorted = ordered(&x, 64, |row| labels[row]);
    let [one, other] = [x, sorted].map(|x| values(&x, &digits, &[Metric::Mmd2])[0]);
    assert!((one - other).abs() < 0.01, "{one} and {other}");
}

/// Writes an IDX part of `n` random 2x2 images of classes 0 and 1 from `seed`.
fn write_idx(dir: &Path, part: &str, n: u32, seed: u64) {
    let mut noise = flowmap_core::NoiseStream::new(seed, flowmap_core::Stream::Data).at(0);
    let mut images = [&[0, 0, 8, 3][..], &n.to_be_bytes(), &2u32.to_be_bytes(), &2u32.to_be_bytes()].concat();
    images.extend((0..4 * n).map(|_| noise.below(256) as u8));
    let mut labels = [&[0, 0, 8, 1][..], &n.to_be_bytes()].concat();
    labels.extend((0..n).map(|i| (i % 2) as u8));
    fs::write(dir.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
    fs::write(dir.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
}

#[test]
fn model_that_repeats_its_training_samples_is_at_the_floor_of_held_out_ones_and_not_below() {
    let dir = tempfile::tempdir().unwrap();
    write_idx(dir.path(), "train", 300, 1);
    write_idx(dir.path(), "t10k", 200, 2);
    let text = format!("kind = 'idx'\npath = {:?}", dir.path().display().to_string());
    let config: DataConfig = toml::from_str(&text).unwrap();
    let train = config.build(None).unwrap();
    let stream = flowmap_core::NoiseStream::new(77, flowmap_core::Stream::Data);
    let memory = flowmap_data::batch(train.as_ref(), &stream, 0, 300).x;
    let reference = Reference::new(&config).unwrap();
    assert_eq!(reference.description(), "idx, the 200 held-out samples");
    let measured = judge(Drawn::new(&memory), &reference, &[Metric::SlicedW2, Metric::Energy], 5).unwrap();
    let sliced = &measured[&Metric::SlicedW2];
    assert_eq!(sliced.floor_kind, Some(FloorKind::HeldOut));
    assert!((sliced.value - sliced.floor.unwrap()).abs() < 1e-6 && sliced.value > 0.05, "{sliced:?}");
    // More samples than there are: the reference has each of its own once.
    let twice = [&memory[..], &memory].concat();
    let measured = judge(Drawn::new(&twice), &reference, &[Metric::SlicedW2, Metric::W2], 5).unwrap();
    assert_eq!(measured[&Metric::SlicedW2].detail["n_y"], 200);
    assert_eq!((&measured[&Metric::W2].detail["n"], measured[&Metric::W2].value > 0.0), (&200.into(), true));

    fs::remove_file(dir.path().join("t10k-images-idx3-ubyte")).unwrap();
    let reference = Reference::new(&config).unwrap();
    assert_eq!(reference.description(), "idx, its 300 samples");
    let warning = reference.warnings()[0].to_string();
    assert!(warning.contains("held-out part is not there") && warning.contains("`data.path`"), "{warning}");
    let measured = judge(Drawn::new(&memory), &reference, &[Metric::SlicedW2], 5).unwrap();
    assert!(measured[&Metric::SlicedW2].value < 1e-6);

    write_idx(dir.path(), "t10k", 200, 2);
    fs::write(
        dir.path().join("t10k-labels-idx1-ubyte"),
        [&[0, 0, 8, 1, 0, 0, 0, 200][..], &[7; 200]].concat(),
    )
    .unwrap();
    let refusal = Reference::new(&config).unwrap_err().to_string();
    assert!(refusal.contains("expected labels below 2") && refusal.contains("found 7"), "{refusal}");
}

#[test]
fn labels_beyond_the_classes_of_the_reference_are_refused() {
    let digits = Reference::new(&toml::from_str("kind = 'digits'").unwrap()).unwrap();
    let x = digits.draw(1, 0, 3);
    let drawn = Drawn { labels: Some(&[0, 10, 1]), ..Drawn::new(&x) };
    let refusal = judge(drawn, &digits, &[Metric::ClassAccuracy], 0).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "sample 1: expected a label below 10, the number of classes of the reference, found 10"
    );
}

#[test]
fn samples_that_are_not_finite_are_refused_by_every_metric() {
    let eight = Reference::new(&toml::from_str("kind = 'eight_gaussians'").unwrap()).unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        for metric in [&SOME[..], &[Metric::KlExact]].concat() {
            let x = [0.0, 1.0, value, 0.5];
            assert!(judge(Drawn::new(&x), &eight, &[metric], 0).is_err(), "{metric} of {value}");
        }
    }
}
