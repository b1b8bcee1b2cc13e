//! The `flowmap` program: parse, call, print.
#![forbid(unsafe_code)]

mod args;
mod cmd;
mod device;
mod estimate;
mod layers;
mod progress;
mod table;

use std::process::ExitCode;

/// Training makes and drops large tensors all the time; this allocator keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flowmap_train::restart::settle();
    match cmd::run(args::Cli::from_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Prints the chain of causes, one a line, without causes that the line above repeats.
/// A reader that closes our output early, such as `head`, is not a failure.
#[expect(clippy::print_stderr, reason = "errors go to standard error")]
fn fail(error: &anyhow::Error) -> ExitCode {
    let is_closed_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(is_closed_pipe) {
        return ExitCode::SUCCESS;
    }
    let mut said = error.to_string();
    eprintln!("error: {said}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            eprintln!("  caused by: {cause}");
            said = cause;
        }
    }
    ExitCode::from(if error.is::<cmd::Usage>() { 2 } else { 1 })
}
