//! Starting a program again with variables that its libraries read once, when they start.
//!
//! A program that trains wants two of them, [`SETTINGS`], and cannot set them for itself: by then others may read them.

use std::env;
use std::io;
use std::process::{Command, ExitStatus};

/// What a program that trains on a CPU wants of its libraries, unless its user says otherwise.
///
/// One thread in the tensor library's own pool: ours cut the work into tiles already, and a second pool would wait in
/// loops for cores that the first, or another program, has. And an allocator that keeps pages it was given back:
/// a step asks for the same again.
pub const SETTINGS: [(&str, &str); 2] = [("CANDLE_NUM_THREADS", "1"), ("MIMALLOC_PURGE_DELAY", "-1")];

/// Starts this program again with [`SETTINGS`], in its own process, if one of them is missing.
///
/// Call this function first in `main`. On systems where a program cannot replace itself nothing happens:
/// results are the same, only slower.
pub fn settle() {
    let missing: Vec<_> = SETTINGS.into_iter().filter(|(name, _)| env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return;
    }
    #[cfg(unix)]
    if let Ok(mut command) = again(&missing) {
        use std::os::unix::process::CommandExt;
        // Returns only on failure; then this program goes on as it is.
        let _ = command.exec();
    }
}

/// Runs this command line again with `variables`, to its end.
///
/// # Errors
/// Where the program cannot be found or started.
pub fn run_with(variables: &[(&str, &str)]) -> io::Result<ExitStatus> {
    again(variables)?.status()
}

fn again(variables: &[(&str, &str)]) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).envs(variables.iter().copied());
    Ok(command)
}
