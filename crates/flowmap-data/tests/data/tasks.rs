//! Tasks of simulation-based inference: priors, simulators and exact posteriors fit each other.

use flowmap_core::{NoiseStream, Stream};
use flowmap_data::task::TaskKind;
use flowmap_data::{DataConfig, DataSet, Error};

const N_DRAWS: u64 = 20_000;
/// Standard errors of a mean that a test allows, over some hundred means.
const ERRORS: f64 = 4.5;

/// The mean over draws of each of some numbers, and its standard error.
fn means(draw: impl Fn(u64) -> Vec<f64>) -> Vec<(f64, f64)> {
    let rows: Vec<Vec<f64>> = (0..N_DRAWS).map(draw).collect();
    let n = N_DRAWS as f64;
    (0..rows[0].len())
        .map(|k| {
            let mean = rows.iter().map(|row| row[k]).sum::<f64>() / n;
            let variance = rows.iter().map(|row| (row[k] - mean).powi(2)).sum::<f64>() / n;
            (mean, (variance / n).sqrt())
        })
        .collect()
}

/// θ², θ and the products θ_j x_k, the moments that tell whether θ belongs to x.
fn moments(theta: &[f64], x: &[f64]) -> Vec<f64> {
    let squares = theta.iter().map(|theta| theta * theta);
    let products = theta.iter().flat_map(|theta| x.iter().map(move |x| theta * x));
    theta.iter().copied().chain(squares).chain(products).collect()
}

/// If θ ~ p(θ), x ~ p(x|θ) and θ' ~ p(θ|x), then (θ', x) has the law of (θ, x).
#[test]
fn exact_posteriors_are_those_of_prior_and_simulator() {
    let with_posterior = TaskKind::ALL.into_iter().filter(|kind| kind.task().posterior().is_some());
    let kinds: Vec<_> = with_posterior.collect();
    assert_eq!(kinds.len(), 4);
    for kind in kinds {
        let (task, stream) = (kind.task(), NoiseStream::new(11, Stream::Data));
        let differences = means(|i| {
            let mut noise = stream.at(i);
            let theta = task.prior(&mut noise);
            let x = task.simulate(&theta, &mut noise).unwrap();
            let again = task.posterior().unwrap().draw(&x, &mut noise).unwrap();
            let (first, second) = (moments(&theta, &x), moments(&again, &x));
            first.iter().zip(second).map(|(first, second)| first - second).collect()
        });
        for (k, (mean, error)) in differences.into_iter().enumerate() {
            assert!(mean.abs() < ERRORS * error, "{kind}: moment {k} is off by {mean:e} ± {error:e}");
        }
    }
}

#[test]
fn posterior_of_the_linear_task_is_a_gaussian_at_half_of_the_data() {
    let (task, stream) = (TaskKind::GaussianLinear.task(), NoiseStream::new(3, Stream::Data));
    let x: Vec<f64> = (0..10).map(|k| 0.1 * f64::from(k)).collect();
    let draw = |i| task.posterior().unwrap().draw(&x, &mut stream.at(i)).unwrap();
    for (k, (mean, error)) in means(draw).into_iter().enumerate() {
        assert!((mean - 0.5 * x[k]).abs() < ERRORS * error);
        assert!((error * (N_DRAWS as f64).sqrt() - 0.05f64.sqrt()).abs() < 0.005);
    }
}

#[test]
fn data_of_two_moons_lie_on_a_crescent_around_the_parameters() {
    let (task, stream) = (TaskKind::TwoMoons.task(), NoiseStream::new(4, Stream::Data));
    for i in 0..1000 {
        let mut noise = stream.at(i);
        let theta = task.prior(&mut noise);
        let x = task.simulate(&theta, &mut noise).unwrap();
        let root = 0.5f64.sqrt();
        let p = [x[0] - 0.25 + (theta[0] + theta[1]).abs() * root, x[1] - (theta[1] - theta[0]) * root];
        assert!(p[0] > -1e-12 && (p[0].hypot(p[1]) - 0.1).abs() < 0.06, "{p:?}");
    }
}

#[test]
fn every_task_simulates_finite_data_of_its_size() {
    let sizes = [(2, 2), (10, 10), (10, 10), (2, 2), (5, 8), (10, 10), (2, 10), (4, 20)];
    for (kind, (n_parameters, n_data)) in TaskKind::ALL.into_iter().zip(sizes) {
        let (task, stream) = (kind.task(), NoiseStream::new(5, Stream::Data));
        assert_eq!((task.n_parameters(), task.n_data()), (n_parameters, n_data), "{kind}");
        for i in 0..200 {
            let mut noise = stream.at(i);
            let theta = task.prior(&mut noise);
            let x = task.simulate(&theta, &mut noise).unwrap();
            assert_eq!((theta.len(), x.len()), (n_parameters, n_data), "{kind}");
            assert!(theta.iter().chain(&x).all(|value| value.is_finite()), "{kind}: {theta:?}, {x:?}");
        }
    }
}

#[test]
fn data_that_no_parameters_explain_have_no_posterior() {
    let mut noise = NoiseStream::new(6, Stream::Data).at(0);
    for (kind, x) in [(TaskKind::TwoMoons, [9.0, 9.0]), (TaskKind::GaussianMixture, [99.0, 0.0])] {
        let error = kind.task().posterior().unwrap().draw(&x, &mut noise).unwrap_err();
        assert!(matches!(error, Error::NoPosterior { task, .. } if task == kind.name()), "{error}");
    }
    let far = TaskKind::GaussianLinearUniform.task().posterior().unwrap().draw(&[99.0; 10], &mut noise);
    assert!(far.is_err() || far.unwrap().iter().all(|theta| (theta - 1.0).abs() < 1e-6));
}

#[test]
fn simulations_depend_on_the_seed_and_their_index_alone() {
    let set = |text: &str| toml::from_str::<DataConfig>(text).unwrap().build(None).unwrap();
    let rows = |set: &dyn DataSet| {
        // Order and rows are those of a finite set; sorted they do not depend on the order.
        let n = set.n_samples().unwrap();
        let mut rows: Vec<Vec<u32>> = (0..n)
            .map(|i| {
                let mut row = vec![0.0; 4];
                set.draw(&NoiseStream::new(0, Stream::Data), i, &mut row);
                row.into_iter().map(f32::to_bits).collect()
            })
            .collect();
        rows.sort_unstable();
        rows
    };
    let few = rows(&*set("kind = 'simulations'\nnum = 20"));
    let many = rows(&*set("kind = 'simulations'\nnum = 30"));
    let other = rows(&*set("kind = 'simulations'\nnum = 20\nseed = 1"));
    assert!(few.iter().all(|row| many.contains(row)) && few.len() == 20 && many.len() == 30);
    assert!(other.iter().all(|row| !many.contains(row)));
}
