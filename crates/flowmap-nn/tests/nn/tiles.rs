//! Loss and gradient in tiles against the batch as one piece.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor};
use flowmap_core::{Linear, NoiseStream, Stream, TimeDistribution, Widths};
use flowmap_dual::Dual;
use flowmap_nn::loss::{Bin, BinSums, Combination, Term};
use flowmap_nn::method::{FlowMatching, Lsd, LsdStop, Objective, Shortcut};
use flowmap_nn::net::{Mlp, MlpConfig};
use flowmap_nn::{
    AverageVelocity, Batch, Condition, LossAndGradient, Losses, ParamBuilder, Params, Result, StepKey,
    loss_and_gradient,
};

/// Rows that begin in the middle of a run.
const KEY: StepKey = StepKey { seed: 1, step: 0, first_row: 7 };

/// f64, so that only the order of the sums differs.
const TOLERANCE: f64 = 1e-12;

struct Setup {
    model: Mlp,
    teacher: Mlp,
    params: Params,
    combination: Combination,
    x0: Tensor,
    x1: Tensor,
}

impl Setup {
    fn new(batch: usize, dtype: DType) -> Self {
        let config = MlpConfig { width: 16, hidden: 1, ..MlpConfig::default() };
        let build = |mut builder: ParamBuilder| {
            let net = Mlp::new(&config, &[2], 0, 1.0, &mut builder).unwrap();
            (net, builder.finish().unwrap())
        };
        let (model, params) = build(ParamBuilder::fresh(1, dtype, &Device::Cpu));
        let (teacher, _) = build(ParamBuilder::frozen(params.tensors(), dtype, &Device::Cpu));
        let flow_matching = Term::new(Objective::FlowMatching(FlowMatching {}), 0.75);
        let lsd = Term { weight: 0.5, ..Term::new(Objective::Lsd(Lsd { stop: LsdStop::Target }), 0.25) };
        let draw = |stream| {
            let mut values = vec![0f64; 2 * batch];
            NoiseStream::new(1, stream).at(0).fill_normal(&mut values);
            Tensor::from_vec(values, (batch, 2), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
        };
        Self {
            model,
            teacher,
            params,
            combination: Combination::new(vec![flow_matching, lsd]).unwrap(),
            x0: draw(Stream::Base),
            x1: draw(Stream::Data),
        }
    }

    fn batch(&self) -> Batch<'_> {
        Batch { x0: &self.x0, x1: &self.x1, condition: Condition::default(), interpolant: &Linear, unit: 1.0 }
    }

    fn in_tiles(&self) -> LossAndGradient {
        let Self { model, teacher, params, combination, .. } = self;
        loss_and_gradient(combination, model, teacher, params, &self.batch(), KEY).unwrap()
    }
}

/// Holds loss, terms, bins and gradients of the tiles against the batch as one piece.
fn tiles_sum_to_the_batch_of(setup: &Setup, what: &str) {
    let found = setup.in_tiles();
    let tiled = found.losses.read().unwrap();
    let whole = setup.combination.loss(&setup.model, &setup.teacher, &setup.batch(), KEY).unwrap();
    let loss = whole.total.to_scalar::<f64>().unwrap();
    assert!((tiled.loss - loss).abs() < TOLERANCE * loss, "{what}: {} and {loss}", tiled.loss);
    for (a, b) in tiled.terms.iter().zip(&whole.terms) {
        assert_eq!(a.is_some(), b.is_some());
        if let (Some(a), Some(b)) = (a, b) {
            assert!((a - b.to_scalar::<f64>().unwrap()).abs() < TOLERANCE * a.abs().max(1.0));
        }
    }
    for (bins, rows) in tiled.bins.iter().zip(&whole.rows) {
        let rows = rows.as_ref().map(|(losses, times)| BinSums::new(losses, times).unwrap());
        let rows = rows.unwrap_or_default();
        for bin in Bin::all() {
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < TOLERANCE * a.abs().max(1.0),
                (a, b) => a.is_none() && b.is_none(),
            };
            assert!(close(bins.mean_loss(bin), rows.mean_loss(bin)), "{what}, {bin}");
            assert!(close(bins.mean_tangent(bin), rows.mean_tangent(bin)), "{what}, {bin}");
        }
    }
    let gradients = whole.total.backward().unwrap();
    for (name, var) in setup.params.vars() {
        let (a, b) = (found.gradients.get(var).unwrap(), gradients.get(var).unwrap());
        let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(difference < TOLERANCE * 10.0, "{what}, {name}: {difference:e}");
    }
}

#[test]
fn tiles_sum_to_the_batch() {
    for batch in [1, 255, 256, 257, 1500] {
        tiles_sum_to_the_batch_of(&Setup::new(batch, DType::F64), &format!("batch {batch}"));
    }
}

#[test]
fn micro_batches_of_any_size_sum_to_the_batch() {
    for rows in [1, 3, 16, 50, 99, 100, 1000] {
        let Setup { combination, .. } = Setup::new(100, DType::F64);
        let combination = combination.with_micro_batch(NonZeroUsize::new(rows));
        let setup = Setup { combination, ..Setup::new(100, DType::F64) };
        tiles_sum_to_the_batch_of(&setup, &format!("micro-batches of {rows}"));
    }
}

/// Widths are counted over the whole batch, so that no micro-batch has counts of its own.
#[test]
fn micro_batches_have_the_counted_widths_of_the_batch() {
    let shortcut = Objective::Shortcut(Shortcut { n_steps: 8, ..Shortcut::PAPER });
    let times = TimeDistribution::Dyadic { n_steps: 8, widths: Widths::Counted };
    for rows in [1, 7, 50, 1000] {
        let terms = vec![
            Term::new(Objective::FlowMatching(FlowMatching {}), 0.5),
            Term { times, ..Term::new(shortcut.clone(), 0.5) },
        ];
        let combination = Combination::new(terms).unwrap().with_micro_batch(NonZeroUsize::new(rows));
        let setup = Setup { combination, ..Setup::new(100, DType::F64) };
        tiles_sum_to_the_batch_of(&setup, &format!("counted widths in micro-batches of {rows}"));
    }
}

/// A network that remembers the most rows it was given.
struct Counted<M> {
    net: M,
    most: AtomicUsize,
}

impl<M: AverageVelocity> AverageVelocity for Counted<M> {
    fn average_velocity(&self, s: &Dual, t: &Dual, x: &Dual, condition: Condition<'_>) -> Result<Dual> {
        self.most.fetch_max(x.dims()[0], Ordering::Relaxed);
        self.net.average_velocity(s, t, x, condition)
    }
}

#[test]
fn no_more_rows_than_a_micro_batch_go_through_the_network_at_once() {
    for (rows, expected) in [(1, 1), (7, 7), (40, 40), (1000, 75)] {
        let Setup { model, teacher, params, combination, x0, x1 } = Setup::new(100, DType::F64);
        let combination = combination.with_micro_batch(NonZeroUsize::new(rows));
        let batch =
            Batch { x0: &x0, x1: &x1, condition: Condition::default(), interpolant: &Linear, unit: 1.0 };
        let net = Counted { net: model, most: AtomicUsize::new(0) };
        loss_and_gradient(&combination, &net, &teacher, &params, &batch, KEY).unwrap();
        let most = net.most.into_inner();
        assert!(0 < most && most <= expected, "{most} rows for micro-batches of {rows}");
    }
}

#[test]
fn number_of_threads_does_not_change_a_bit() {
    let setup = Setup::new(1500, DType::F32);
    let on = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let tiled = pool.install(|| setup.in_tiles());
        let bits = |name: &str| {
            let g = tiled.gradients.get(&setup.params.vars()[name]).unwrap();
            g.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let Losses { loss, bins, .. } = tiled.losses.read().unwrap();
        (loss.to_bits(), bins, bits("layers.0.weight"), bits("layers.2.bias"))
    };
    assert_eq!(on(1), on(2));
}
