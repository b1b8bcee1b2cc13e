//! What a machine can do: training steps and sampling, timed in turns with the matrix products they consist of.
//!
//! share of the GEMM limit = (FLOP / rate) / time        (1)
//!
//! FLOP: a plain forward pass of a sample takes 2 Σ_l in_l · out_l; a dual one twice that, a backward pass twice its
//! forward pass. [`BENCHED`] has the passes of each objective, as its file counts them; everything else counts as zero.
//! Rate: the matrix product `(2 B, width)` x `(width, width)` of a linear layer with packed weights, in turns with what is
//! measured, so that other programs slow all of them alike.
//! A training step is [`Trainer::step`]: data, noise, loss, gradient, clipping, AdamW and one moving average.
//! Sampling is [`generate`]. Times are medians.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use flowmap_core::TimeGrid;
use flowmap_dual::{Dual, PackedWeights};
use flowmap_nn::ParamBuilder;
use flowmap_nn::loss::Term;
use flowmap_nn::method::{
    Esd, EsdStop, FlowMatching, Lsd, LsdStop, MeanFlow, MeanFlowVelocity, Method, Objective, Psd, PsdForm,
    PsdStop,
};
use flowmap_nn::net::{MlpConfig, NetworkConfig};
use serde::Serialize;

use crate::error::range;
use crate::{
    Config, ConfigSource, Error, Generation, Model, ModelConfig, Result, Trainer, generate, resolve,
};

/// Everything is measured in this many turns.
const N_TURNS: u32 = 5;

/// Samples drawn at once; `flowmap sample` cuts larger numbers into chunks of this size.
const SAMPLING_BATCH: usize = 4096;

/// Numbers of jumps that are timed.
const SAMPLING_STEPS: [NonZeroU32; 2] = [NonZeroU32::MIN, NonZeroU32::new(4).expect("four is not zero")];

/// Most rows of the measured matrix product; the rate of larger ones is the same, and they would need memory.
const MAX_ROWS: usize = 8192;

/// Passes that a pass on the tape costs, with its backward pass.
const TAPED: f64 = 3.0;

/// A method by its name with its choice of stop.
#[derive(Clone, Debug)]
pub struct Benched {
    /// The name, such as `lsd` for the default choice and `lsd.stop_none` for another.
    pub name: &'static str,
    /// The method.
    pub objective: Objective,
}

/// The methods that can be timed.
pub const BENCHED: &[Benched] = &[
    benched("flow_matching", Objective::FlowMatching(FlowMatching {})),
    benched("lsd", Objective::Lsd(Lsd { stop: LsdStop::Target })),
    benched("lsd.stop_none", Objective::Lsd(Lsd { stop: LsdStop::None })),
    benched("esd", Objective::Esd(Esd { stop: EsdStop::Advection })),
    benched("esd.stop_none", Objective::Esd(Esd { stop: EsdStop::None })),
    benched("psd", Objective::Psd(Psd { form: PsdForm::Velocity, stop: PsdStop::Target })),
    benched("mean_flow", Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 })),
];

const fn benched(name: &'static str, objective: Objective) -> Benched {
    Benched { name, objective }
}

impl Benched {
    /// The objective of this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name and all names.
    pub fn named(name: &str) -> Result<&'static Self> {
        let known = BENCHED.iter().map(|b| b.name);
        BENCHED.iter().find(|b| b.name == name).ok_or_else(|| Error::unknown("objective", name, known))
    }

    /// Cost of a sample in plain forward passes, the backward pass included.
    pub fn passes(&self) -> f64 {
        let passes = self.objective.passes(&self.objective.times());
        passes.on_tape * TAPED + passes.off_tape
    }

    /// Floating-point operations of a training step, eq. (1).
    pub fn flop_per_step(&self, network: &MlpConfig, dim: usize, batch: usize) -> f64 {
        self.passes() * flop_per_pass(network, dim) * batch as f64
    }
}

/// Floating-point operations of a plain forward pass of one sample of `dim` numbers, without optional features.
pub fn flop_per_pass(network: &MlpConfig, dim: usize) -> f64 {
    let MlpConfig { width, hidden, .. } = *network;
    2.0 * ((dim + 2) * width + hidden * width * width + width * dim) as f64
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// The objective, one of [`BENCHED`].
    pub objective: &'static Benched,
    /// Samples in a training step.
    pub batch: usize,
    /// Width of the network's layers.
    pub width: usize,
    /// Number of its hidden layers between the first and the last.
    pub hidden: usize,
    /// Seconds that each of the four measurements takes, at least: product, training, sampling with N = 1 and N = 4.
    pub seconds: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The objective.
    pub objective: &'static str,
    /// Width of the network's layers.
    pub width: usize,
    /// Number of its hidden layers between the first and the last.
    pub hidden: usize,
    /// Threads of this process's pool.
    pub threads: usize,
    /// Training steps.
    pub training: Timing,
    /// Sampling with each number of jumps.
    pub sampling: Vec<SamplingTiming>,
    /// The matrix product that the limit is taken from.
    pub gemm: GemmTiming,
    /// The most memory that the process held, in MiB; `None` where the system does not say.
    pub peak_memory_mib: Option<f64>,
}

/// The time of one call, and its share of the limit.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// Samples in a call.
    pub batch: usize,
    /// Median milliseconds of a call.
    pub ms: f64,
    /// Samples a second.
    pub samples_per_s: f64,
    /// Milliseconds that its matrix products alone take at the measured rate.
    pub gemm_limit_ms: f64,
    /// Share of the GEMM limit, eq. (1).
    pub share_of_gemm_limit: f64,
}

/// The time of sampling with a number of jumps.
#[derive(Clone, Debug, Serialize)]
pub struct SamplingTiming {
    /// Number of jumps N.
    pub steps: u32,
    /// The time.
    #[serde(flatten)]
    pub timing: Timing,
}

/// The time of a matrix product.
#[derive(Clone, Debug, Serialize)]
pub struct GemmTiming {
    /// Rows of the first factor.
    pub rows: usize,
    /// Size of the second factor, a square.
    pub width: usize,
    /// Median milliseconds.
    pub ms: f64,
    /// 10⁹ floating-point operations a second.
    pub gflop_per_s: f64,
}

impl BenchConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the key at fault.
    pub fn validate(&self) -> Result<()> {
        range("batch", self.batch > 0, "at least 1", self.batch)?;
        range("width", self.width > 0, "at least 1", self.width)?;
        let a_time = self.seconds > 0.0 && self.seconds.is_finite();
        range("seconds", a_time, "a positive number", self.seconds)
    }

    fn network(&self) -> MlpConfig {
        MlpConfig { width: self.width, hidden: self.hidden, ..MlpConfig::default() }
    }

    /// A run on the checkerboard with this objective, network and batch.
    fn run(&self) -> Result<Config> {
        let mut config = resolve(&[ConfigSource::preset("checkerboard")?])?;
        config.network = NetworkConfig::Mlp(self.network());
        config.objective = vec![Term::new(self.objective.objective.clone(), 1.0)];
        config.train.batch = self.batch;
        // Small enough that no step diverges: a step that does is skipped, and would look fast.
        config.train.lr = 1e-4;
        Ok(config)
    }
}

/// Measures; `progress` is told the number of turns done and the number of all.
///
/// # Errors
/// Where the config is out of range, or the device refuses an operation.
pub fn bench(
    config: &BenchConfig,
    device: &Device,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<BenchReport> {
    config.validate()?;
    let run = config.run()?;
    let mut trainer = Trainer::new(run.clone(), device)?;
    let model_config = ModelConfig::new(&run, trainer.data(), 0);
    let frozen = ParamBuilder::frozen(trainer.params().tensors(), DType::F32, device);
    let (net, params) = model_config.build(frozen)?;
    let model = Model { config: model_config, net, params, path: PathBuf::new() };
    let (rows, width) = ((2 * config.batch).min(MAX_ROWS), config.width);
    let a = Tensor::ones((rows, width), DType::F32, device)?;
    let w = Tensor::ones((width, width), DType::F32, device)?;

    let mut train = || {
        trainer.step()?;
        // The optimizer's work may still be under way on a device.
        Ok(device.synchronize()?)
    };
    let sample = |n_steps| {
        let how = Generation::new(SAMPLING_BATCH, run.seed);
        generate(&model, &TimeGrid::uniform(n_steps), &how, device, &mut |_| ()).map(|_| ())
    };
    let (a, packed) = (Dual::constant(a), PackedWeights::default());
    let mut multiply = || {
        packed.share(|| a.linear(&w, None))?;
        Ok(device.synchronize()?)
    };
    let turn = Duration::from_secs_f64(config.seconds / f64::from(N_TURNS));
    let mut gemm_times = Vec::new();
    let mut step_times = Vec::new();
    let mut sampling_times = SAMPLING_STEPS.map(|_| Vec::new());
    for n_done in 0..N_TURNS {
        progress(n_done, N_TURNS);
        time(turn, &mut gemm_times, &mut multiply)?;
        time(turn, &mut step_times, &mut train)?;
        for (n_steps, times) in SAMPLING_STEPS.into_iter().zip(&mut sampling_times) {
            time(turn, times, &mut || sample(n_steps))?;
        }
    }
    progress(N_TURNS, N_TURNS);

    let gemm_ms = median(gemm_times);
    let rate = 2.0 * (rows * width * width) as f64 / gemm_ms; // FLOP a millisecond
    let timing = |batch: usize, flop: f64, times| {
        let ms = median(times);
        Timing {
            batch,
            ms,
            samples_per_s: batch as f64 / ms * 1e3,
            gemm_limit_ms: flop / rate,
            share_of_gemm_limit: flop / rate / ms,
        }
    };
    let dim = model.config.shape.iter().product();
    let pass = flop_per_pass(&config.network(), dim) * SAMPLING_BATCH as f64;
    let sampling = SAMPLING_STEPS.into_iter().zip(sampling_times).map(|(n, times)| SamplingTiming {
        steps: n.get(),
        timing: timing(SAMPLING_BATCH, pass * f64::from(n.get()), times),
    });
    let flop = config.objective.flop_per_step(&config.network(), dim, config.batch);
    Ok(BenchReport {
        objective: config.objective.name,
        width,
        hidden: config.hidden,
        threads: rayon::current_num_threads(),
        training: timing(config.batch, flop, step_times),
        sampling: sampling.collect(),
        gemm: GemmTiming { rows, width, ms: gemm_ms, gflop_per_s: rate / 1e6 },
        peak_memory_mib: peak_memory_mib(),
    })
}

/// Calls `f` once to warm up, then for as long as `turn`, at least once; `times` gets the milliseconds of each call.
fn time(turn: Duration, times: &mut Vec<f64>, f: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    f()?;
    let began = Instant::now();
    loop {
        let start = Instant::now();
        f()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if began.elapsed() >= turn {
            return Ok(());
        }
    }
}

/// The middle value; 0 of an empty list.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => 0.0,
        _ => 0.5 * (values[(n - 1) / 2] + values[n / 2]),
    }
}

/// The most memory that this process held so far, in MiB; `None` where the system does not say.
pub fn peak_memory_mib() -> Option<f64> {
    // Linux calls it the high water mark of the resident set, in units of 1024 bytes that it calls kB.
    parse_peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lsd_step_of_the_papers_network_costs_nine_passes() {
        let network = MlpConfig::default();
        assert_eq!(flop_per_pass(&network, 2), 2_103_296.0);
        let lsd = Benched::named("lsd.stop_none").unwrap();
        assert_eq!(lsd.flop_per_step(&network, 2, 1024), 9.0 * 2_103_296.0 * 1024.0);
    }

    #[test]
    fn unknown_objective_is_answered_with_the_known_ones() {
        let message = Benched::named("lds").unwrap_err().to_string();
        assert!(message.contains("did you mean `lsd`?") && message.contains("`psd`"), "{message}");
    }

    #[test]
    fn median_is_the_middle_value() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn peak_memory_is_read_where_the_system_says_it() {
        assert_eq!(parse_peak("VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\n"), Some(2.0));
        assert_eq!(parse_peak("VmPeak:\t 9 kB\n"), None);
    }

    #[test]
    fn every_objective_can_be_measured_on_a_small_network() {
        for objective in BENCHED {
            let config = BenchConfig { objective, batch: 8, width: 8, hidden: 1, seconds: 1e-3 };
            let report = bench(&config, &Device::Cpu, &mut |_, _| ()).unwrap();
            let timings = report.sampling.iter().map(|s| &s.timing).chain([&report.training]);
            assert!(timings.into_iter().all(|t| t.ms > 0.0 && t.share_of_gemm_limit > 0.0), "{report:?}");
        }
    }

    #[test]
    fn empty_batch_and_no_time_are_refused() {
        let good = BenchConfig { objective: &BENCHED[0], batch: 8, width: 8, hidden: 1, seconds: 1.0 };
        for (key, bad) in [
            ("batch", BenchConfig { batch: 0, ..good.clone() }),
            ("width", BenchConfig { width: 0, ..good.clone() }),
            ("seconds", BenchConfig { seconds: f64::NAN, ..good.clone() }),
        ] {
            assert!(matches!(bad.validate(), Err(Error::OutOfRange { key: k, .. }) if k == key));
        }
    }
}
