//! What can be done for GPUs on a machine that has none: checks of all that is theirs, and a package for one that has.
//!
//! Nothing here needs a toolkit of NVIDIA: what is missing comes from Python's packages and is kept in `target/gpu`.

mod check;
mod kernels;
mod pack;
mod python;
mod toolkit;

pub use check::{check, main as check_main};
pub use pack::main as pack_main;

/// Our scripts.
const SCRIPTS: &str = "xtask/gpu";

/// What was downloaded, unpacked and generated.
const KEPT: &str = "target/gpu";

/// The version of CUDA that everything is built for, as cudarc writes it.
const CUDA_VERSION: &str = "13000";
