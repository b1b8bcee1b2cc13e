//! A training reads nothing from its device between log points, and what it reads there is the same; a step sends its
//! batch and one table of times.
//!
//! One test to a process: what goes to the device and back is counted for all of it.
#![allow(clippy::unwrap_used)]

use candle_core::Device;
use flowmap_dual::host;
use flowmap_train::{
    Config, ConfigSource, Observer, Reads, RunDir, StepReport, Trainer, read_log, resolve, train,
};

/// Every objective without a teacher of its own that presets use, by settings on top of `checkerboard`.
const OBJECTIVES: [&str; 9] = [
    "lsd",
    "esd",
    "psd",
    "mean_flow",
    "improved_mean_flow",
    "shortcut",
    "consistency",
    "scm",
    "flow_matching",
];

/// Noise and points of a step on a device that does not draw the noise itself, as a CUDA device does.
const BATCH: u64 = 2;
/// The times of all rows and all that follows from them.
const TABLE: u64 = 1;

/// Noise and points in no order that the host would make.
const INDEPENDENT: [&str; 1] = ["coupling={ kind = \"independent\" }"];

/// Sends of a step, after the first.
fn sends_of_a_step(sets: &[&str]) -> u64 {
    const N_STEPS: u64 = 4;
    let mut trainer = trainer(config(sets), Reads::AtLogPoints);
    trainer.advance().unwrap();
    let before = host::n_sends();
    (0..N_STEPS).for_each(|_| drop(trainer.advance().unwrap()));
    let sends = host::n_sends() - before;
    assert!(sends.is_multiple_of(N_STEPS), "{sends} sends in {N_STEPS} steps");
    sends / N_STEPS
}

/// A run of a small network, with `more` settings.
fn config(more: &[&str]) -> Config {
    let tiny =
        ["train.steps=20", "train.batch=16", "network.width=8", "network.x_features=0", "train.ema=[0.9]"];
    let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
    sources.extend(tiny.iter().chain(more).map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources).unwrap()
}

fn trainer(config: Config, reads: Reads) -> Trainer {
    Trainer::new(config, &Device::Cpu).unwrap().with_reads(reads)
}

/// Counts the reads before each report.
#[derive(Default)]
struct Witness {
    reports: Vec<(u64, f64, f64)>,
}

impl Observer for Witness {
    fn step(&mut self, report: &StepReport, _n_steps: u64) {
        self.reports.push((report.step, report.loss, report.grad_norm));
    }

    fn stage(&mut self, _name: &str) {}
}

#[test]
fn steps_read_nothing_until_somebody_looks_and_send_their_batch_and_one_table() {
    for objective in OBJECTIVES {
        let kind = format!("objective.1.kind={objective}");
        let sets = [kind.as_str(), "interpolant=trigonometric"];
        let sets = [&sets[..], &INDEPENDENT].concat();
        assert_eq!(sends_of_a_step(&sets), BATCH + TABLE, "{objective}");
        let tiles = [&sets[..], &["train.micro_batch=3"]].concat();
        assert_eq!(sends_of_a_step(&tiles), BATCH + TABLE, "{objective} in tiles");
    }
    let labels = ["data.kind=moons", "conditional=true", "train.label_dropout=0.3", INDEPENDENT[0]];
    assert_eq!(sends_of_a_step(&labels), BATCH + 1 + TABLE, "labels");
    let scales = [&labels[..], &["guidance.max=4.0"]].concat();
    assert_eq!(sends_of_a_step(&scales), BATCH + 2 + TABLE, "labels and scales of guidance");
    let muon = ["optimizer.kind=muon", INDEPENDENT[0]];
    assert_eq!(sends_of_a_step(&muon), BATCH + TABLE, "Muon");
    for objective in ["lmd", "emd", "align_your_flow"] {
        let kind = format!("objective.1.kind={objective}");
        let exact = [kind.as_str(), "data.kind=gaussian_mixture", "teacher.kind=exact", INDEPENDENT[0]];
        assert_eq!(sends_of_a_step(&exact), BATCH + TABLE, "{objective} of an exact velocity");
        let mut trainer = trainer(config(&exact), Reads::AtLogPoints);
        let before = host::n_reads();
        trainer.advance().unwrap();
        assert_eq!(host::n_reads(), before, "{objective} of an exact velocity");
    }
    // The noise is drawn on the host, which counts here as a place like any other, and sent in its order.
    assert_eq!(sends_of_a_step(&["coupling={ kind = \"optimal_transport\" }"]), BATCH + 1 + TABLE, "coupled");

    for objective in OBJECTIVES {
        let kind = format!("objective.1.kind={objective}");
        // sCM is defined for this interpolant alone.
        let mut trainer = trainer(config(&[&kind, "interpolant=trigonometric"]), Reads::AtLogPoints);
        let before = host::n_reads();
        let steps: Vec<_> = (0..5).map(|_| trainer.advance().unwrap()).collect();
        assert_eq!(host::n_reads(), before, "{objective}");
        for (step, number) in steps.into_iter().zip(1..) {
            assert_eq!(trainer.report(step).unwrap().step, number, "{objective}");
        }
        assert!(host::n_reads() > before, "{objective}");
    }

    // Whole runs: the same weights, and the same numbers in the log.
    let run = |reads| {
        let (dir, mut witness) = (tempfile::tempdir().unwrap(), Witness::default());
        let run = RunDir::new(dir.path());
        let mut trainer = trainer(config(&["train.log_every=7", "train.checkpoint_every=10"]), reads);
        train(&run, &mut trainer, &mut witness).unwrap();
        let mut log = read_log(&run.metrics()).unwrap();
        for record in &mut log {
            record.retain(|key, _| !["wall_s", "samples_per_s", "data_wait"].contains(&key.as_str()));
        }
        let numbers = |x: &candle_core::Tensor| host::numbers(x).unwrap();
        let weights: Vec<_> = trainer.params().tensors().values().map(numbers).collect();
        (log, weights, witness.reports)
    };
    let (late, early) = (run(Reads::AtLogPoints), run(Reads::EachStep));
    assert_eq!(late.0, early.0, "the logs");
    assert!(late.1 == early.1, "the weights");
    assert_eq!(late.2, early.2, "the reports");

    // A bad step is counted later, but moves nothing.
    let sets = ["train.lr=1e30", "train.max_bad_steps=4", "train.log_every=10", "schedule.warmup=0"];
    let diverge = |reads| {
        let (dir, mut witness) = (tempfile::tempdir().unwrap(), Witness::default());
        let mut trainer = trainer(config(&sets), reads);
        train(&RunDir::new(dir.path()), &mut trainer, &mut witness).unwrap_err().to_string()
    };
    let (late, early) = (diverge(Reads::AtLogPoints), diverge(Reads::EachStep));
    for words in ["diverged at step 2", "4 steps", "step-0000000"] {
        assert!(late.contains(words) && early.contains(words), "{late}\n{early}");
    }
}
