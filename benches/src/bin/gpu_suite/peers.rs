//! JAX and PyTorch, each in a separate process that answers requests, one JSON object a line (`benches/peers`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde_json::{Value, json};

/// A library and the process that has it.
pub struct Peer {
    /// The name.
    pub library: &'static str,
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts Python with `library`, which computes where `device` does.
    ///
    /// # Errors
    /// Where Python or the library is not there.
    pub fn start(python: &str, folder: &Path, library: &'static str, device: &Device) -> Result<Self> {
        let mut import = Command::new(python);
        import.args(["-c", &format!("import {library}, numpy")]).stdout(Stdio::null()).stderr(Stdio::null());
        if !import.status().with_context(|| format!("starting {python}"))?.success() {
            bail!("{python} has no {library}");
        }
        let mut process = Command::new(python)
            .arg(folder.join("worker.py"))
            .args([library, &rayon::current_num_threads().to_string()])
            .env("FLOWMAP_PEERS_DEVICE", if device.is_cuda() { "cuda" } else { "cpu" })
            // Otherwise it takes all memory of the GPU, and nothing is left for the others.
            .env("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {python}"))?;
        let requests = process.stdin.take().context("its input is a pipe")?;
        let answers = BufReader::new(process.stdout.take().context("its output is a pipe")?);
        Ok(Self { library, process, requests, answers })
    }

    /// Makes a case and gives the names of its variants.
    ///
    /// # Errors
    /// Where the library cannot do it, and where the process has ended.
    pub fn prepare(&mut self, case: &Value) -> Result<Vec<String>> {
        let answer = self.ask(&json!({ "do": "prepare", "case": case }))?;
        let variants = answer["variants"].as_array().context("no variants")?;
        Ok(variants.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// Median milliseconds of a variant in a turn.
    ///
    /// # Errors
    /// As [`Peer::prepare`].
    pub fn time(&mut self, variant: &str, milliseconds: u64) -> Result<f64> {
        let answer = self.ask(&json!({ "do": "run", "variant": variant, "ms": milliseconds }))?;
        answer["median_ms"].as_f64().context("no time")
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.requests, "{request}")?;
        self.requests.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("{} ended", self.library))?;
        match answer.get("error") {
            Some(error) => bail!("{}: {error}", self.library),
            None => Ok(answer),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The process waits for requests that do not come.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
