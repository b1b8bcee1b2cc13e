//! The real program, run as people run it: bad input, runs, reproducibility, help.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod bad_checkpoint;
mod bad_config;
mod bad_data;
mod bad_disk;
mod bad_usage;
mod bench;
mod compare;
mod distill;
mod doubtful_data;
mod eval;
mod guidance;
mod help;
mod image_files;
mod pairs;
mod program;
mod reproducible;
mod resume;
mod runs;
mod sample;
mod training;
