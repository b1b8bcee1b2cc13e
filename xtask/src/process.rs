//! Child processes: a clean environment, and output that is shown and read at once.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, anyhow};

/// A command without the variables that `cargo run` set for this program.
///
/// A nested cargo that inherits them rebuilds crates whose build scripts watch one of them.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let leaked = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || matches!(name, "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH")
        });
        if leaked {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that started this program, by the rules of [`command`].
pub fn cargo() -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// Whether the command starts and exits with zero; its output is dropped.
pub fn succeeds(mut command: Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// What a command writes to its standard output, as text.
///
/// # Errors
/// The command does not start, exits with another code than zero, or writes something that is not UTF-8.
pub fn output(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("{name} ended with {}:\n{}", output.status, said.trim_end()));
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading the output of {name}"))
}

/// Runs a command, shows its output as it comes and hands every line to `read`.
///
/// Answers whether the command exited with zero.
///
/// # Errors
/// The command does not start, or its output cannot be read.
pub fn stream(mut command: Command, mut read: impl FnMut(&str)) -> Result<bool> {
    let name = command.get_program().to_string_lossy().into_owned();
    if io::stdout().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        // The child sees a pipe, but a person reads.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let stderr = child.stderr.take().context("standard error is piped")?;

    let (send, receive) = mpsc::channel();
    let out = copy_lines(stdout, io::stdout(), send.clone());
    let err = copy_lines(stderr, io::stderr(), send);
    for line in receive {
        read(&line);
    }
    for copier in [out, err] {
        copier.join().map_err(|_| anyhow!("a thread that copies output ended early"))??;
    }
    Ok(child.wait().with_context(|| format!("waiting for {name}"))?.success())
}

fn copy_lines(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    lines: mpsc::Sender<String>,
) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            to.write_all(&line)?;
            to.flush()?;
            // The receiver lives as long as the senders do, so nothing is lost here.
            let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_both_streams_is_read() {
        let mut shell = command("sh");
        shell.args(["-c", "echo out; echo err >&2; printf tail"]);
        let mut lines = Vec::new();
        assert!(stream(shell, |line| lines.push(line.trim_end().to_owned())).unwrap());
        lines.sort();
        assert_eq!(lines, ["err", "out", "tail"]);
    }

    #[test]
    fn an_exit_code_other_than_zero_is_a_failure() {
        let mut shell = command("sh");
        shell.args(["-c", "exit 3"]);
        assert!(!stream(shell, |_| ()).unwrap());
    }

    #[test]
    fn output_shows_what_the_command_complained_about() {
        let mut shell = command("sh");
        shell.args(["-c", "echo no such thing >&2; exit 1"]);
        assert!(output(shell).unwrap_err().to_string().contains("no such thing"));
    }
}
