//! The trainer as a library: without the program, nothing is printed and nothing is left to chance.

use std::fs;
use std::time::Instant;

use candle_core::Device;
use flowmap_nn::loss::Bin;
use flowmap_train::{
    Checkpoint, Config, ConfigSource, Error, Observer, Reads, RunDir, RunTime, StepReport, TeacherConfig,
    TeacherModel, Trainer, read_log, resolve, term_names, train,
};

/// The reader of JSON may miss the last place of a number.
const LAST_PLACE: f64 = 1e-15;

/// Counts what it is told.
#[derive(Default)]
struct Witness {
    steps: Vec<u64>,
}

impl Observer for Witness {
    fn step(&mut self, report: &StepReport, _n_steps: u64) {
        self.steps.push(report.step);
    }

    fn stage(&mut self, _name: &str) {}
}

/// A run of a few steps of a small network, with `more` settings.
fn config(more: &[&str]) -> Config {
    let tiny =
        ["train.steps=6", "train.batch=32", "network.width=8", "network.x_features=0", "schedule.warmup=2"];
    let mut sources = vec![ConfigSource::preset("checkerboard").unwrap()];
    sources.extend(tiny.iter().chain(more).map(|set| ConfigSource::set(set).unwrap()));
    resolve(&sources).unwrap()
}

#[test]
fn observer_is_told_of_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut witness = Witness::default();
    let mut trainer = Trainer::new(config(&[]), &Device::Cpu).unwrap();
    train(&RunDir::new(dir.path()), &mut trainer, &mut witness).unwrap();
    assert_eq!(witness.steps, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn steps_say_how_long_they_waited_for_data() {
    // Exact optimal transport of a batch takes its cube, which outlasts the step of a network of eight neurons.
    let slow =
        ["coupling.kind=optimal_transport", "coupling.group=1024", "train.batch=1024", "train.steps=4"];
    let mut trainer = Trainer::new(config(&slow), &Device::Cpu).unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        let waited = trainer.step().unwrap().data_wait_s;
        let step_s = began.elapsed().as_secs_f64();
        assert!(waited > 0.5 * step_s && waited <= step_s, "{waited} of {step_s} s");
    }
    // The last one has its batch, and makes none.
    let began = Instant::now();
    let waited = trainer.step().unwrap().data_wait_s;
    assert!(waited < 0.5 * began.elapsed().as_secs_f64(), "{waited} s");

    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    let mut trainer =
        Trainer::new(config(&[&slow[..], &["train.log_every=1"]].concat()), &Device::Cpu).unwrap();
    train(&run, &mut trainer, &mut Witness::default()).unwrap();
    let time = RunTime::of(&read_log(&run.metrics()).unwrap());
    assert!(time.data_wait.is_some_and(|share| share > 0.5 && share <= 1.0), "{time:?}");
}

#[test]
fn augmented_run_goes_on_with_the_same_bits_and_points_are_not_augmented() {
    let digits = |more: &[&str]| {
        let tiny = ["train.steps=4", "train.batch=16", "network.width=8", "schedule.warmup=2"];
        let mut sources = vec![ConfigSource::preset("digits").unwrap()];
        sources.extend(tiny.iter().chain(more).map(|set| ConfigSource::set(set).unwrap()));
        resolve(&sources).unwrap()
    };
    let augmented = || digits(&["augmentation.kind=edm", "augmentation.probability=1.0"]);
    let mut plain = Trainer::new(digits(&[]), &Device::Cpu).unwrap();
    let mut unbroken = Trainer::new(augmented(), &Device::Cpu).unwrap();
    for _ in 0..2 {
        assert_ne!(unbroken.step().unwrap().loss, plain.step().unwrap().loss);
    }
    let mut resumed = Trainer::resume(augmented(), unbroken.checkpoint().unwrap(), &Device::Cpu).unwrap();
    assert_eq!(unbroken.step().unwrap().loss.to_bits(), resumed.step().unwrap().loss.to_bits());

    let error = Trainer::new(config(&["augmentation.kind=edm"]), &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("`augmentation.kind`: expected `none`"), "{error}");
}

#[test]
fn checkpoint_in_memory_goes_on_with_the_same_bits() {
    let mut unbroken = Trainer::new(config(&[]), &Device::Cpu).unwrap();
    for _ in 0..3 {
        unbroken.step().unwrap();
    }
    let mut resumed = Trainer::resume(config(&[]), unbroken.checkpoint().unwrap(), &Device::Cpu).unwrap();
    for _ in 3..6 {
        let (one, other) = (unbroken.step().unwrap(), resumed.step().unwrap());
        assert_eq!((one.step, one.loss.to_bits()), (other.step, other.loss.to_bits()));
        assert_eq!(one.grad_norm.to_bits(), other.grad_norm.to_bits());
    }
}

#[test]
fn averages_of_every_few_steps_are_the_same_resumed_between_two_of_them_and_read_later() {
    let rare = || config(&["train.ema=[0.9,0.99]", "train.ema_every=4", "train.ema_start=keep"]);
    let mut unbroken = Trainer::new(rare(), &Device::Cpu).unwrap();
    let mut unread = Trainer::new(rare(), &Device::Cpu).unwrap().with_reads(Reads::AtLogPoints);
    let run = |trainer: &mut Trainer, n_steps: usize| {
        (0..n_steps).for_each(|_| assert!(trainer.step().unwrap().is_finite()))
    };
    // Copied, since a checkpoint shares its memory with the run.
    let first = averages(&unbroken.checkpoint().unwrap());
    run(&mut unbroken, 3);
    assert_eq!(averages(&unbroken.checkpoint().unwrap()), first, "nothing moves before the fourth step");
    let mut resumed = Trainer::resume(rare(), unbroken.checkpoint().unwrap(), &Device::Cpu).unwrap();
    run(&mut unbroken, 3);
    run(&mut resumed, 3);
    run(&mut unread, 6);
    let last = averages(&unbroken.checkpoint().unwrap());
    assert_ne!(last, first);
    assert_eq!(averages(&resumed.checkpoint().unwrap()), last);
    assert_eq!(averages(&unread.checkpoint().unwrap()), last);
}

/// The bits of all moving averages.
fn averages(checkpoint: &Checkpoint) -> Vec<u32> {
    let tensors = checkpoint.emas.iter().flat_map(|(_, tensors)| tensors.values());
    tensors.flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).map(f32::to_bits).collect()
}

#[test]
fn weights_that_are_judged_are_the_average_or_those_of_the_last_step() {
    let judged = |sets: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = Trainer::new(config(sets), &Device::Cpu).unwrap();
        let model = train(&RunDir::new(dir.path()), &mut trainer, &mut Witness::default()).unwrap();
        model.path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(judged(&["train.ema=[0.9,0.99]"]), "ema-0.99.safetensors");
    assert_eq!(judged(&["train.ema=[0.9]", "eval.weights=parameters"]), "model.safetensors");
}

#[test]
fn only_the_newest_checkpoints_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    let mut trainer =
        Trainer::new(config(&["train.checkpoint_every=1", "train.keep_checkpoints=2"]), &Device::Cpu)
            .unwrap();
    train(&run, &mut trainer, &mut Witness::default()).unwrap();
    let mut names: Vec<String> = fs::read_dir(dir.path().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["latest", "step-0000005", "step-0000006"]);
    assert_eq!(run.latest_checkpoint().unwrap(), Some(dir.path().join("checkpoints/step-0000006")));
}

#[test]
fn bad_steps_move_no_parameter() {
    let mut trainer = Trainer::new(config(&["train.lr=1e30", "schedule.warmup=0"]), &Device::Cpu).unwrap();
    let mut n_bad = 0;
    for _ in 0..6 {
        let before = trainer.checkpoint().unwrap();
        let report = trainer.step().unwrap();
        let after = trainer.checkpoint().unwrap();
        if !report.is_finite() {
            n_bad += 1;
            assert_eq!(before.state.optimizer_steps, after.state.optimizer_steps);
            for (name, tensor) in &before.model {
                let bits = |t: &candle_core::Tensor| -> Vec<u32> {
                    t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
                };
                assert_eq!(bits(tensor), bits(&after.model[name]), "{name}");
            }
        }
    }
    assert!(n_bad > 0);
}

#[test]
fn second_run_in_a_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path().join("run"));
    run.create(&config(&[])).unwrap();
    assert!(matches!(run.create(&config(&[])), Err(Error::RunExists { .. })));
}

/// Every part of a run that is not the network: what it distills from, its couplings, the weights of its losses.
fn unusual() -> Vec<&'static str> {
    vec![
        "data.kind=gaussian_mixture",
        "teacher.kind=exact",
        "coupling.kind=optimal_transport",
        "coupling.group=16",
        "train.target_ema=0.999",
        "objective.0.norm={ kind = \"adaptive\" }",
        "objective.1.kind=lmd",
        "objective.1.share=0.4",
        "objective.1.time_weight={ kind = \"learned\", features = 4 }",
    ]
}

#[test]
fn run_with_a_teacher_a_coupling_and_learned_weights_goes_on_with_the_same_bits() {
    let config = || config(&unusual());
    let mut unbroken = Trainer::new(config(), &Device::Cpu).unwrap();
    for _ in 0..3 {
        unbroken.step().unwrap();
    }
    let mut resumed = Trainer::resume(config(), unbroken.checkpoint().unwrap(), &Device::Cpu).unwrap();
    for _ in 3..6 {
        let (one, other) = (unbroken.step().unwrap(), resumed.step().unwrap());
        assert_eq!((one.step, one.loss.to_bits()), (other.step, other.loss.to_bits()));
    }
}

#[test]
fn run_with_dropout_in_micro_batches_goes_on_with_the_same_bits() {
    let network = "network={ kind = \"edm2_unet\", channels = 8, channel_mult = [1], blocks = 1, attention = [], \
                   head_channels = 8, dropout = 0.5 }";
    let more =
        ["train.steps=4", "train.batch=8", "train.micro_batch=3", "train.activations=recompute", network];
    let mut sources = vec![ConfigSource::preset("digits-unet").unwrap()];
    sources.extend(more.iter().map(|set| ConfigSource::set(set).unwrap()));
    let config = resolve(&sources).unwrap();
    let mut unbroken = Trainer::new(config.clone(), &Device::Cpu).unwrap();
    for _ in 0..2 {
        unbroken.step().unwrap();
    }
    let mut resumed = Trainer::resume(config, unbroken.checkpoint().unwrap(), &Device::Cpu).unwrap();
    for _ in 2..4 {
        let (one, other) = (unbroken.step().unwrap(), resumed.step().unwrap());
        assert_eq!((one.step, one.loss.to_bits()), (other.step, other.loss.to_bits()));
        assert_eq!(one.grad_norm.to_bits(), other.grad_norm.to_bits());
    }
}

#[test]
fn run_told_of_augmentation_goes_on_with_the_same_bits_and_learns_from_the_labels() {
    let network = "network={ kind = \"ddpmpp_unet\", channels = 8, channel_mult = [1, 2], blocks = 1, attention = [4], \
                   dropout = 0.2, augment_dim = 6 }";
    let term = "objective=[{ kind = \"mean_flow\", dropout = \"all\" }]";
    let edm =
        "augmentation={ kind = \"edm\", probability = 0.5, x_flip = 1e8, y_flip = 0.0, rotation = 0.0 }";
    let more = ["train.steps=4", "train.batch=8", "train.micro_batch=3", edm, term, network];
    let mut sources = vec![ConfigSource::preset("digits-unet").unwrap()];
    sources.extend(more.iter().map(|set| ConfigSource::set(set).unwrap()));
    let config = resolve(&sources).unwrap();
    let mut unbroken = Trainer::new(config.clone(), &Device::Cpu).unwrap();
    let labels = |trainer: &Trainer| {
        let weight = trainer.params().vars()["map_augment.weight"].as_detached_tensor();
        weight.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let start = labels(&unbroken);
    for _ in 0..2 {
        unbroken.step().unwrap();
    }
    assert_ne!(labels(&unbroken), start);
    let mut resumed = Trainer::resume(config, unbroken.checkpoint().unwrap(), &Device::Cpu).unwrap();
    for _ in 2..4 {
        let (one, other) = (unbroken.step().unwrap(), resumed.step().unwrap());
        assert_eq!((one.step, one.loss.to_bits()), (other.step, other.loss.to_bits()));
        assert_eq!(one.grad_norm.to_bits(), other.grad_norm.to_bits());
    }
}

#[test]
fn learned_weights_are_saved_with_the_run_and_no_part_of_its_model() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&unusual());
    let mut trainer = Trainer::new(config, &Device::Cpu).unwrap();
    assert!(trainer.params().vars().contains_key("loss_weight.1.bias"));
    let model = train(&RunDir::new(dir.path()), &mut trainer, &mut Witness::default()).unwrap();
    assert!(model.params.tensors().keys().all(|name| !name.starts_with("loss_weight.")));
    // The run is a teacher itself now, for data like its own.
    let path = format!("teacher.path=\"{}\"", dir.path().display());
    let mut more = vec!["data.kind=gaussian_mixture", "objective.1.kind=pfmm", "objective.1.share=0.4"];
    more.extend(["teacher.kind=model", path.as_str()]);
    let mut student = Trainer::new(self::config(&more), &Device::Cpu).unwrap();
    assert!(student.step().unwrap().is_finite());
    more[0] = "data.kind=moons";
    let error = Trainer::new(self::config(&more), &Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::Mismatch { what: "teacher", key: "sigma_data", .. }), "{error}");
}

#[test]
fn exact_teacher_needs_data_whose_flow_is_known() {
    let more = ["teacher.kind=exact", "objective.1.kind=lmd", "objective.1.share=0.4"];
    let error = Trainer::new(config(&more), &Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::NoExactFlow { kind: "checkerboard" }), "{error}");
}

#[test]
fn log_has_the_means_by_bins_of_all_steps_since_the_line_before() {
    let dir = tempfile::tempdir().unwrap();
    let more = ["train.log_every=3", "objective.1.kind=flow_matching", "objective.0.kind=lsd"];
    let mut trainer = Trainer::new(config(&more), &Device::Cpu).unwrap();
    let mut steps = Vec::new();
    let mut again = Trainer::new(config(&more), &Device::Cpu).unwrap();
    for _ in 0..6 {
        steps.push(again.step().unwrap().bins);
    }
    let run = RunDir::new(dir.path());
    train(&run, &mut trainer, &mut Witness::default()).unwrap();
    let log = read_log(&run.metrics()).unwrap();
    assert_eq!(log.len(), 2);
    for (line, steps) in log.iter().zip(steps.chunks(3)) {
        for (term, name) in ["lsd", "flow_matching"].into_iter().enumerate() {
            let mut sum = steps[0][term].clone();
            steps[1..].iter().for_each(|bins| sum.add(&bins[term]));
            for bin in Bin::all() {
                let number = |kind: &str| line.get(&format!("{kind}_bin/{name}/{}", bin.key()))?.as_f64();
                let pairs =
                    [(number("loss"), sum.mean_loss(bin)), (number("tangent"), sum.mean_tangent(bin))];
                for (found, expected) in pairs {
                    let close = match (found, expected) {
                        (Some(found), Some(expected)) => (found - expected).abs() <= LAST_PLACE * expected,
                        (found, expected) => found == expected,
                    };
                    assert!(close, "{name}, {bin}: {found:?}, expected {expected:?}");
                }
            }
        }
        // Flow matching lies on the diagonal, LSD off it.
        let keys: Vec<&String> = line.keys().filter(|key| key.starts_with("loss_bin/")).collect();
        assert!(keys.iter().any(|key| key.contains("/lsd/s0-t3")));
        assert!(
            keys.iter().all(|key| key.contains("/lsd/s") || key.contains("/flow_matching/d")),
            "{keys:?}"
        );
        assert!(!line.keys().any(|key| key.starts_with("tangent_bin/flow_matching")));
    }
}

/// Labels that are hidden, and scales of guidance.
fn guided() -> Config {
    let guided = ["data.kind=moons", "conditional=true", "train.label_dropout=0.3", "guidance.max=4.0"];
    config(&guided)
}

#[test]
fn run_with_guidance_goes_on_with_the_same_bits() {
    let mut unbroken = Trainer::new(guided(), &Device::Cpu).unwrap();
    for _ in 0..3 {
        unbroken.step().unwrap();
    }
    let mut resumed = Trainer::resume(guided(), unbroken.checkpoint().unwrap(), &Device::Cpu).unwrap();
    for _ in 3..6 {
        let (one, other) = (unbroken.step().unwrap(), resumed.step().unwrap());
        assert_eq!((one.step, one.loss.to_bits()), (other.step, other.loss.to_bits()));
        assert_eq!(one.grad_norm.to_bits(), other.grad_norm.to_bits());
    }
}

#[test]
fn terms_of_one_kind_have_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let more = ["objective.1.kind=flow_matching", "objective.1.times={ kind = \"fixed_end\" }"];
    let mut trainer = Trainer::new(config(&more), &Device::Cpu).unwrap();
    let run = RunDir::new(dir.path());
    train(&run, &mut trainer, &mut Witness::default()).unwrap();
    let log = read_log(&run.metrics()).unwrap();
    let keys: Vec<&String> = log[0].keys().filter(|key| key.starts_with("loss/")).collect();
    assert_eq!(keys, ["loss/flow_matching", "loss/flow_matching.2"]);
    let terms = &config(&more).objective;
    let names = term_names(&[&terms[..], &terms[..1]].concat());
    assert_eq!(names, ["flow_matching", "flow_matching.2", "flow_matching.3"]);
}

#[test]
fn model_with_guidance_is_no_teacher_of_one_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::new(guided(), &Device::Cpu).unwrap();
    train(&RunDir::new(dir.path()), &mut trainer, &mut Witness::default()).unwrap();
    let teacher = TeacherConfig::Model(TeacherModel::new(dir.path()));
    let objective = config(&["objective=[{ kind = \"lmd\" }]", "teacher.kind=exact"]).objective;
    let student = Config { teacher: Some(teacher), guidance: None, objective, ..guided() };
    let error = Trainer::new(student, &Device::Cpu).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { what: "teacher", key: "guidance", .. }), "{error}");
}
