//! Training runs of flow maps: the loop, run directories, checkpoints, figures and reports.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod atomic;
mod batches;
pub mod bench;
mod checkpoint;
mod class_name;
mod classes;
pub mod compare;
mod config;
mod data_print;
mod divergence;
mod error;
mod estimate;
mod evaluation;
mod generate;
mod guidance;
mod guidance_figure;
mod image_figures;
mod judge_and_draw;
mod metrics_log;
mod model;
mod presets;
mod recipe;
pub mod restart;
mod resume;
mod run_dir;
mod run_figures;
mod run_report;
mod sampling;
mod step;
mod teacher;
mod train_loop;
mod trained;
mod trainer;

pub use atomic::{make_dir_with, write_atomically};
pub use checkpoint::{Checkpoint, State};
pub use classes::Classes;
pub use config::{Config, ConfigSource, EvalConfig, EvalWeights, TrainConfig, resolve};
pub use data_print::DataPrint;
pub use divergence::Fault;
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use evaluation::{
    Drawn, Evaluation, FloorKind, LawErrors, Measured, Metric, Omission, Reference, StepsRow, evaluate,
    evaluate_samples, judge,
};
pub use generate::{Generation, Samples, generate, generate_paths};
pub use guidance::{GuidanceConfig, ScaleDistribution};
pub use judge_and_draw::judge_and_draw;
pub use metrics_log::{Record, RunTime, read_log, term_names};
pub use model::{Model, ModelConfig, Weights};
pub use presets::{Listed, PRESETS, Preset, listed, parse_data_kind, preset};
pub use recipe::Recipe;
pub use run_dir::RunDir;
pub use run_figures::{DrawnFigure, draw_figures};
pub use run_report::{law_table, quality_table, write_report};
pub use sampling::Sampling;
pub use step::{Reads, StepReport, UnreadStep};
pub use teacher::{OwnTeacher, Taught, TeacherConfig, TeacherModel};
pub use train_loop::{Observer, train};
pub use trained::Trained;
pub use trainer::Trainer;
