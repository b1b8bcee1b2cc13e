//! A combination of objectives is the weighed sum of its parts, whatever the batch it is computed in.

use candle_core::{DType, Device, Tensor};
use flowmap_core::{InterpolantKind, MiddleTime, NoiseStream, Stream, TimeDistribution, Widths};
use flowmap_nn::loss::{Combination, CombinationLoss, Term};
use flowmap_nn::method::{
    Esd, EsdStop, FlowMatching, Lsd, LsdStop, MeanFlow, MeanFlowVelocity, Method, Objective, Pass, Psd,
    PsdForm, PsdStop, Shortcut,
};
use flowmap_nn::net::Mlp;
use flowmap_nn::{Batch, Condition, FlowMap, ParamBuilder, StepKey, Times};

use crate::support::mlps::{Case, cases, normals};

/// Two orders of summation of the same numbers.
const ROUNDING: f64 = 1e-13;
const N: usize = 20;
/// Number of the batch's first row in the run.
const FIRST: u64 = 100;

const INTERPOLANT: InterpolantKind = InterpolantKind::Linear;

fn stream() -> NoiseStream {
    NoiseStream::new(5, Stream::Times)
}

/// A conditional network, so that labels must follow their rows.
fn case() -> Case {
    cases().into_iter().find(|case| case.name == "everything with gelu_tanh").unwrap()
}

/// Pairs and labels of N samples.
struct Rows {
    x0: Tensor,
    x1: Tensor,
    labels: Tensor,
}

impl Rows {
    fn all() -> Self {
        let (x0, x1) = (normals(Stream::Base, N, DType::F64), normals(Stream::Data, N, DType::F64));
        Self { x0, x1, labels: case().labels(N).unwrap() }
    }

    fn narrow(&self, start: usize, len: usize) -> Self {
        let rows = |x: &Tensor| x.narrow(0, start, len).unwrap();
        Self { x0: rows(&self.x0), x1: rows(&self.x1), labels: rows(&self.labels) }
    }

    fn batch(&self) -> Batch<'_> {
        Batch {
            x0: &self.x0,
            x1: &self.x1,
            condition: Condition::labels(&self.labels),
            interpolant: &INTERPOLANT,
            unit: 1.0,
        }
    }
}

fn all_terms() -> Vec<Term> {
    let of = |objective, share, weight| Term { weight, ..Term::new(objective, share) };
    vec![
        of(Objective::FlowMatching(FlowMatching {}), 0.5, 1.0),
        Term {
            times: TimeDistribution::LogitNormal { mean: -0.4, std: 1.0 },
            ..of(Objective::Lsd(Lsd { stop: LsdStop::Target }), 0.2, 2.0)
        },
        of(Objective::Esd(Esd { stop: EsdStop::Advection }), 0.1, 0.0),
        Term {
            diagonal: 0.5,
            ..of(Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 }), 0.1, 0.7)
        },
        Term {
            times: TimeDistribution::dyadic(8),
            middle: MiddleTime::Uniform,
            ..of(Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target }), 0.1, 0.5)
        },
    ]
}

/// The times of row `row` as the combination draws them, from the row's own noise.
fn draw(term: &Term, row: usize) -> flowmap_core::Times {
    let mut noise = stream().at(FIRST + row as u64);
    if let Objective::FlowMatching(FlowMatching {}) = term.objective {
        let t = noise.uniform();
        return flowmap_core::Times::forward(t, t, t).unwrap();
    }
    let mut jump = term.times.draw(&mut noise);
    if term.diagonal > 0.0 && noise.uniform() < term.diagonal {
        jump = flowmap_core::Jump::forward(jump.s(), jump.s()).unwrap();
    }
    term.middle.draw(jump, &mut noise)
}

/// The losses of the rows from `start` on under one term, `(len,)`.
fn part(term: &Term, net: (&Mlp, &Mlp), rows: &Rows, start: usize, len: usize) -> Tensor {
    let rows = rows.narrow(start, len);
    let times: Vec<_> = (start..start + len).map(|row| draw(term, row)).collect();
    let times = Times::new(&times, DType::F64, &Device::Cpu).unwrap();
    let given = |net| FlowMap::given(net, Some(&rows.labels));
    let losses = term.objective.loss(&Pass::new(given(net.0), given(net.1), &rows.batch(), &times)).unwrap();
    losses.tensor().clone()
}

fn loss(combination: &Combination, net: (&Mlp, &Mlp), rows: &Rows, first: u64) -> CombinationLoss {
    combination.loss(net.0, net.1, &rows.batch(), StepKey { seed: 5, step: 0, first_row: first }).unwrap()
}

fn scalar(x: &Tensor) -> f64 {
    x.to_scalar().unwrap()
}

fn assert_close(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(error <= ROUNDING * expected.abs().max(1.0), "{what}: {found}, expected {expected}");
}

#[test]
fn combination_is_the_weighed_sum_of_its_parts() {
    let case = case();
    let (model, params) = case.fresh(DType::F64);
    let teacher = case.build(ParamBuilder::frozen(params.tensors(), DType::F64, &Device::Cpu)).0;
    let (net, rows, terms) = ((&model, &teacher), Rows::all(), all_terms());
    let combination = Combination::new(terms.clone()).unwrap();
    let counts = [10, 4, 2, 2, 2];
    assert_eq!(combination.rows(N), counts);
    let found = loss(&combination, net, &rows, FIRST);

    let mut start = 0;
    let mut by_hand: Option<Tensor> = None;
    for ((term, n_rows), logged) in terms.iter().zip(counts).zip(&found.terms) {
        let losses = part(term, net, &rows, start, n_rows);
        let name = term.objective.name();
        let logged = logged.as_ref().unwrap();
        assert_close(scalar(logged), scalar(&losses.mean_all().unwrap()), name);
        assert!(!logged.track_op(), "{name}: the logged mean is on the tape");
        let weighed = (losses.sum_all().unwrap() * (term.weight / N as f64)).unwrap();
        by_hand = Some(by_hand.map_or(weighed.clone(), |sum| (sum + weighed).unwrap()));
        start += n_rows;
    }
    let by_hand = by_hand.unwrap();
    assert_close(scalar(&found.total), scalar(&by_hand), "total");

    let (found, expected) = (found.total.backward().unwrap(), by_hand.backward().unwrap());
    for (name, var) in params.vars() {
        let values = |g: &Tensor| g.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let (found, expected) = (found.get(var).unwrap(), expected.get(var).unwrap());
        for (found, expected) in values(found).into_iter().zip(values(expected)) {
            assert_close(found, expected, name);
        }
    }
}

#[test]
fn loss_does_not_depend_on_how_the_batch_is_split() {
    let case = case();
    let (net, _) = case.fresh(DType::F64);
    let rows = Rows::all();
    for term in all_terms() {
        let name = term.objective.name();
        let combination = Combination::new(vec![Term { share: 1.0, weight: 1.0, ..term }]).unwrap();
        let whole = scalar(&loss(&combination, (&net, &net), &rows, FIRST).total);
        for sizes in [vec![7, 13], vec![1, 1, 18]] {
            let mut start = 0;
            let mut sum = 0.0;
            for size in sizes {
                let some = rows.narrow(start, size);
                let mean = loss(&combination, (&net, &net), &some, FIRST + start as u64).total;
                sum += scalar(&mean) * size as f64;
                start += size;
            }
            assert_close(sum / N as f64, whole, name);
        }
        let elsewhere = scalar(&loss(&combination, (&net, &net), &rows, FIRST + 1).total);
        assert!((elsewhere - whole).abs() > 1e-6, "{name}: other rows have other times");
    }
}

#[test]
fn counted_widths_are_shared_out_among_the_rows_of_their_term() {
    let (net, _) = case().fresh(DType::F64);
    let times = TimeDistribution::Dyadic { n_steps: 4, widths: Widths::Counted };
    let shortcut = Objective::Shortcut(Shortcut { n_steps: 4, ..Shortcut::PAPER });
    let terms = vec![
        Term::new(Objective::FlowMatching(FlowMatching {}), 0.5),
        Term { times, ..Term::new(shortcut, 0.5) },
    ];
    let combination = Combination::new(terms).unwrap();
    let jumps = |first| {
        let found = loss(&combination, (&net, &net), &Rows::all(), first);
        let (_, times) = found.rows[1].as_ref().unwrap();
        times.s.host().iter().copied().zip(times.t.host().iter().copied()).collect::<Vec<_>>()
    };
    // 10 rows are 3 of each of the 3 widths, the narrowest first, and one more of width 1.
    let widths: Vec<f64> = jumps(FIRST).into_iter().map(|(s, t)| t - s).collect();
    assert_eq!(widths, [0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(jumps(FIRST), jumps(FIRST), "times are a function of seed and row");
    assert_ne!(jumps(FIRST), jumps(FIRST + N as u64), "another step has other starts");
}

#[test]
fn term_without_rows_is_not_computed() {
    let (net, _) = case().fresh(DType::F64);
    let terms = vec![
        Term::new(Objective::FlowMatching(FlowMatching {}), 0.75),
        Term::new(Objective::Lsd(Lsd { stop: LsdStop::Target }), 0.25),
    ];
    let combination = Combination::new(terms).unwrap();
    let one = Rows::all().narrow(0, 1);
    let found = loss(&combination, (&net, &net), &one, FIRST);
    assert!(found.terms[0].is_none());
    assert_close(
        scalar(&found.total),
        scalar(found.terms[1].as_ref().unwrap()),
        "the last term takes the row",
    );
}

#[test]
fn terms_are_read_from_a_file_with_the_keys_of_their_objective() {
    let term: Term =
        toml::from_str("kind = \"psd\"\nform = \"map\"\nshare = 0.25\nmiddle = \"uniform\"").unwrap();
    let objective = Objective::Psd(Psd { form: PsdForm::Map, stop: PsdStop::Target });
    assert_eq!(term, Term { middle: MiddleTime::Uniform, ..Term::new(objective, 0.25) });
    assert!(toml::from_str::<Term>("kind = \"lsd\"\nform = \"map\"").is_err());
    assert!(toml::from_str::<Term>("kind = \"lsd\"\nstop = \"somewhere\"").is_err());
    assert!(toml::from_str::<Term>("kind = \"lsd\"\nwieght = 2.0").is_err());
    assert!(toml::from_str::<Term>("kind = \"mean_flaw\"").is_err());
    assert!(toml::from_str::<Term>("kind = \"shortcut\"\nn_steps = 12").unwrap().validate().is_err());
    for mismatch in [
        "kind = \"shortcut\"\nn_steps = 16\ntimes = { kind = \"dyadic\", n_steps = 8 }",
        "kind = \"consistency\"\nn_steps = 16\nmiddle = { ahead = { n_steps = 8 } }",
    ] {
        let message = toml::from_str::<Term>(mismatch).unwrap().validate().unwrap_err().to_string();
        assert!(
            message.starts_with("`n_steps` = 16 is out of range, expected the same number as in `"),
            "{message}"
        );
    }
    let mean_flow: Term = toml::from_str("kind = \"mean_flow\"").unwrap();
    assert_eq!(mean_flow.times, TimeDistribution::LogitNormal { mean: 0.4, std: 1.0 });
    let text = toml::to_string(&term).unwrap();
    assert_eq!(toml::from_str::<Term>(&text).unwrap(), term);
}
