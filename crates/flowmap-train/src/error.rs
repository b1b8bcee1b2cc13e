//! What can go wrong in a run.

mod making;
mod wording;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use crate::Fault;
pub(crate) use making::range;
use wording::{hint, in_a_row, shown};

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate; every one names the file or the key at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is not TOML.
    #[error("{origin} is not valid TOML: {message}")]
    Toml {
        /// The file, or the argument.
        origin: String,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A key of the config is unknown or its value is wrong.
    #[error("{origin}: key `{key}`: {message}")]
    ConfigKey {
        /// The file, preset or argument that set the key.
        origin: String,
        /// The key, with dots.
        key: String,
        /// What was expected and what came.
        message: String,
    },
    /// `--set` got something else than KEY=VALUE.
    #[error("expected KEY=VALUE, found `{0}`")]
    SetArgument(String),
    /// The name of a preset, method, metric or objective is unknown.
    #[error("unknown {what} `{name}`{hint}, expected one of {known}")]
    UnknownName {
        /// The kind of name: `preset`, `preset or method`, `method`, `metric` or `objective`.
        what: &'static str,
        /// The name given.
        name: String,
        /// The nearest name, as a question, or nothing.
        hint: String,
        /// The names there are.
        known: String,
    },
    /// A method does not apply to a config.
    #[error("method `{method}` {reason}")]
    MethodUnavailable {
        /// The method.
        method: &'static str,
        /// What it needs.
        reason: &'static str,
    },
    /// A directory holds something already.
    #[error("{} is not empty; choose another --out", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused to read or write.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// `reading`, `writing`, `creating`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A JSON file is malformed or lacks a key.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why, with line and column.
        source: serde_json::Error,
    },
    /// A file of tensors is truncated or malformed.
    #[error("{} is no valid safetensors file: {message}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        message: String,
    },
    /// A file of tensors does not fit the network of its config.
    #[error("{}: {source}", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Which tensor, expected and found.
        source: flowmap_nn::Error,
    },
    /// The parameters of a coupling have no meaning.
    #[error("coupling: {0}")]
    Coupling(#[source] flowmap_core::Error),
    /// An objective distills, and the config has nothing to distill from.
    #[error("objective `{objective}` distills from a known flow, expected a [teacher] table")]
    MissingTeacher {
        /// The objective.
        objective: &'static str,
    },
    /// The exact flow of these data is not known.
    #[error(
        "the exact flow of `{kind}` data is not known; expected `gaussian_mixture` data or a trained model as the teacher"
    )]
    NoExactFlow {
        /// The kind of data.
        kind: &'static str,
    },
    /// The teacher or the guide of a model has other data or another interpolant than the model.
    #[error("{what} {}: `{key}` is {found}, expected {expected}", path.display())]
    Mismatch {
        /// `teacher` or `guide`.
        what: &'static str,
        /// The teacher or the guide.
        path: PathBuf,
        /// The key that differs.
        key: &'static str,
        /// The value of the model that is taught or guided.
        expected: String,
        /// The value of the teacher or the guide.
        found: String,
    },
    /// An interval of guidance was given to a model that takes the scale as an input at all times.
    #[error(
        "expected a model without the scale of guidance as an input for an interval of guidance, found one with"
    )]
    IntervalOfInput,
    /// The judge of images refused.
    #[error("judge of images: {0}")]
    Judge(#[from] flowmap_metrics::ClassifierError),
    /// A path is neither a run, a checkpoint nor a file of tensors.
    #[error("{}: {reason}; expected a run directory, a checkpoint directory, or a .safetensors file with config.json beside it", path.display())]
    NoModel {
        /// The path given.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// A checkpoint comes from another version of the format.
    #[error("{}: format version {found}, this program reads version {expected}", path.display())]
    FormatVersion {
        /// The config.json.
        path: PathBuf,
        /// The version this program writes.
        expected: u32,
        /// The version found.
        found: u32,
    },
    /// A checkpoint follows a convention that this program does not.
    #[error("{}: `{key}`: expected {expected:?}, found {found:?}", path.display())]
    Convention {
        /// The config.json.
        path: PathBuf,
        /// The key that states the convention.
        key: &'static str,
        /// What this program does.
        expected: &'static str,
        /// What the file says.
        found: String,
    },
    /// A run directory already holds a run.
    #[error("{} already holds a run; continue it with --resume or choose another --out", path.display())]
    RunExists {
        /// The directory.
        path: PathBuf,
    },
    /// A term of the loss has a share of the batch that is less than a row.
    #[error(
        "`objective.{term}.share`: expected at least one row of the batch, found none: {share} of `train.batch` = {batch}; set the share to 0 to leave the objective out"
    )]
    NoRows {
        /// The index of the term.
        term: usize,
        /// The share.
        share: f64,
        /// The rows of the batch.
        batch: usize,
    },
    /// A resumed run was given something else than its checkpoint belongs to.
    #[error(
        "key `{key}`: a resumed run goes on with what its checkpoint has: expected {expected}, found {found}; for another one begin a new run"
    )]
    Resume {
        /// The key of the config, or the part of the run that it decides.
        key: String,
        /// What the checkpoint has.
        expected: String,
        /// What came.
        found: String,
    },
    /// There is nothing to resume.
    #[error("{} holds no checkpoint to resume from; expected one in checkpoints/, remove the directory to train anew", path.display())]
    NothingToResume {
        /// The directory.
        path: PathBuf,
    },
    /// There is no moving average with this decay.
    #[error("{}: no moving average of decay {found}, expected one of {known}", path.display())]
    UnknownEma {
        /// The checkpoint.
        path: PathBuf,
        /// The decay asked for.
        found: String,
        /// The decays that exist.
        known: String,
    },
    /// A moving average was asked for, but the model is one file of tensors.
    #[error("{}: one file of tensors, expected a run or a checkpoint directory to choose `{found}` from", path.display())]
    NoChoice {
        /// The file.
        path: PathBuf,
        /// The decay asked for, or `none`.
        found: String,
    },
    /// The loss or the gradient stopped being a number.
    #[error("training diverged at step {step}: {fault}{}; the last good state is the checkpoint {}, to go on from with a smaller `train.lr`", in_a_row(*.n_bad), kept.display())]
    Diverged {
        /// The first of the bad steps, counted from 1.
        step: u64,
        /// What was not finite in it.
        fault: Fault,
        /// How many bad steps in a row there were.
        n_bad: u32,
        /// The checkpoint to go on from.
        kept: PathBuf,
    },
    /// A metric cannot be computed for these data.
    #[error("metric `{metric}` {reason}")]
    MetricUnavailable {
        /// The metric.
        metric: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A conditional network needs labels.
    #[error("`conditional` = true, but the data set `{kind}` has no labels")]
    NoLabels {
        /// The data set.
        kind: &'static str,
    },
    /// Pairs need the noise of each sample.
    #[error("`coupling.kind` = `paired`, but the data set `{kind}` has no noise")]
    NoNoise {
        /// The data set.
        kind: &'static str,
    },
    /// A class was asked for that the model does not have.
    #[error("class {found} is out of range: the model has {n_classes} classes")]
    Class {
        /// The class asked for.
        found: u32,
        /// The number of classes; 0 for a model without.
        n_classes: usize,
    },
    /// A class was asked for that the training data had no sample of.
    #[error("class {found} has no sample in the training data: the model never saw it")]
    EmptyClass {
        /// The class asked for.
        found: u32,
    },
    /// Samples of one class were to be judged against data of all classes.
    #[error(
        "expected samples of all classes to judge against the data of all, found samples of class {found}"
    )]
    OneClass {
        /// The class.
        found: u32,
    },
    /// Samples to be judged have a label that the reference has not.
    #[error(
        "sample {sample}: expected a label below {n_classes}, the number of classes of the reference, found {found}"
    )]
    SampleLabel {
        /// The number of the sample, from 0.
        sample: usize,
        /// The label.
        found: u32,
        /// Number of classes of the reference.
        n_classes: usize,
    },
    /// The held-out part of the data is of another kind than the part to learn from.
    #[error(
        "the held-out part of `{kind}` data: expected {expected}, as in the part to learn from, found {found}"
    )]
    HeldOut {
        /// The data set.
        kind: &'static str,
        /// What the part to learn from has.
        expected: String,
        /// What the held-out part has.
        found: String,
    },
    /// Fresh noise that is independent of the data, for a model that learned other pairs.
    #[error(
        "sampler `consistency` in {n_steps} steps: expected a model with `coupling.kind` = `independent`, since the fresh noise between the steps is independent of the data, found one with `{coupling}`"
    )]
    SamplerCoupling {
        /// Number of steps.
        n_steps: usize,
        /// The coupling that the model was trained with.
        coupling: &'static str,
    },
    /// A class was asked for by a name that no class has.
    #[error("class `{found}`: expected a number, or one of {}{}", shown(names), hint(nearest.as_deref()))]
    ClassName {
        /// The name asked for.
        found: String,
        /// The name that is most like it.
        nearest: Option<String>,
        /// The names of all classes; empty if classes only have numbers.
        names: Vec<String>,
    },
    /// Guidance needs a model with classes.
    #[error("guidance needs a class-conditional model, this one has no classes")]
    NotConditional,
    /// Guidance needs the model without a label.
    #[error(
        "guidance {scale} needs the model without a label, which {} never learned: it was trained with `train.label_dropout` = 0; expected 1, or a model trained with `train.label_dropout` above 0",
        name
    )]
    NoHiddenLabels {
        /// The name of the model's run.
        name: String,
        /// The scale asked for.
        scale: f64,
    },
    /// A teacher cannot be guided like this.
    #[error("teacher {}: `{key}` {reason}", path.display())]
    TeacherGuidance {
        /// The model.
        path: PathBuf,
        /// The key that asks for it.
        key: &'static str,
        /// What is in the way.
        reason: &'static str,
    },
    /// A scale of guidance was asked for that the network was not trained for.
    #[error("guidance {found} is out of range: the model takes {min} to {max}")]
    GuidanceScale {
        /// The scale asked for.
        found: f64,
        /// The smallest there is.
        min: f64,
        /// The largest there is.
        max: f64,
    },
    /// Samples and reference have different shapes.
    #[error("samples have shape {found:?}, the reference has {expected:?}")]
    SampleShape {
        /// Shape of one sample of the reference.
        expected: Vec<usize>,
        /// Shape of one sample given.
        found: Vec<usize>,
    },
    /// A number lies outside its range.
    #[error("`{key}`: expected {expected}, found {found}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What was expected.
        expected: Cow<'static, str>,
        /// What was found.
        found: String,
    },
    /// The data set refused its config or its file.
    #[error(transparent)]
    Data(#[from] flowmap_data::Error),
    /// A network, objective or optimizer failed.
    #[error(transparent)]
    Network(#[from] flowmap_nn::Error),
    /// A sampler failed.
    #[error(transparent)]
    Sampler(#[from] flowmap_sample::Error),
    /// A metric failed.
    #[error(transparent)]
    Metrics(#[from] flowmap_metrics::Error),
    /// The math failed.
    #[error(transparent)]
    Core(#[from] flowmap_core::Error),
    /// A figure failed.
    #[error(transparent)]
    Figure(#[from] flowmap_figure::Error),
    /// Candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
