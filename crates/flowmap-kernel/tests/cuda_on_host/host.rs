//! CUDA kernels on the processor: compiled by the system's C++ compiler with a small stand-in for CUDA.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flowmap_kernel::Activation;
use flowmap_kernel::cuda::SOURCES;
use flowmap_kernel::cuda::launches::{Arg, Config, Kernel, Launcher};

/// Bytes of shared memory that a block has without asking for more.
const SHARED_MEMORY: u32 = 48 * 1024;

/// Where an argument begins: a buffer and an offset in it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    buffer: u32,
    offset: u32,
}

/// Runs kernels on buffers of its own.
pub struct Host {
    compiler: &'static str,
    buffers: Vec<Vec<u8>>,
}

impl Host {
    /// A host, if this machine has a C++ compiler; without one it says so.
    pub fn find() -> Option<Self> {
        let works = |compiler: &&&str| {
            let version = Command::new(compiler).arg("--version").stdout(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        };
        match ["c++", "g++", "clang++"].iter().find(works) {
            Some(compiler) => Some(Self { compiler, buffers: Vec::new() }),
            None => {
                eprintln!("skipped: no C++ compiler (c++, g++, clang++) to run CUDA kernels on the host");
                None
            }
        }
    }

    fn push(&mut self, bytes: Vec<u8>, offset: u32) -> Place {
        self.buffers.push(bytes);
        Place { buffer: self.buffers.len() as u32 - 1, offset }
    }

    /// A buffer of these numbers.
    pub fn floats(&mut self, values: &[f32]) -> Place {
        self.push(values.iter().flat_map(|x| x.to_le_bytes()).collect(), 0)
    }

    /// The same, but not where vectors of four may be read.
    pub fn skewed(&mut self, values: &[f32]) -> Place {
        let padded = [f32::NAN].iter().chain(values);
        self.push(padded.flat_map(|x| x.to_le_bytes()).collect(), 4)
    }

    /// A buffer of `n` bytes, all of them 255: NaN in every type.
    pub fn poisoned(&mut self, n_bytes: usize) -> Place {
        self.push(vec![0xff; n_bytes], 0)
    }

    /// The place of number `n` of single precision from `place` on.
    pub fn after(&self, place: Place, n: usize) -> Place {
        Place { offset: place.offset + 4 * n as u32, ..place }
    }

    /// `n` numbers from a place on.
    pub fn read(&self, place: Place, n: usize) -> Vec<f32> {
        self.chunks(place, n).map(f32::from_le_bytes).collect()
    }

    /// `n` numbers of double precision.
    pub fn read_doubles(&self, place: Place, n: usize) -> Vec<f64> {
        self.chunks(place, n).map(f64::from_le_bytes).collect()
    }

    fn chunks<const N: usize>(&self, place: Place, n: usize) -> impl Iterator<Item = [u8; N]> {
        let start = place.offset as usize;
        let bytes = &self.buffers[place.buffer as usize][start..start + N * n];
        bytes.chunks_exact(N).map(|chunk| chunk.try_into().unwrap())
    }
}

/// The names of all functions of a source.
fn functions(source: &str) -> Vec<String> {
    let curved = |stem: &str| {
        let curves = Activation::ALL.into_iter().map(Activation::name).chain(["identity"]);
        curves.flat_map(|c| ["forward", "backward"].map(|way| format!("{stem}_{way}_{c}"))).collect()
    };
    match source {
        "sums" => vec!["segment_sums".to_owned()],
        "optimizer" => ["square_sums", "clip", "adam_step"].map(str::to_owned).to_vec(),
        "noise" => ["noise_normals", "noise_uniforms"].map(str::to_owned).to_vec(),
        curve => curved(curve),
    }
}

/// The program that runs the kernels of a source; compiled when its text is new.
fn program(compiler: &str, name: &str) -> PathBuf {
    let (_, source) = SOURCES.iter().find(|(known, _)| *known == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda_on_host");
    let own = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let table: String = functions(name).iter().map(|f| format!("HOST_KERNEL({f})\n")).collect();
    let text = format!(
        "{}\n{source}\n{}\nint main() {{ return run_launch({{\n{table}}}); }}\n",
        own("shim.h").replace("#pragma once\n", ""),
        own("driver.h"),
    );
    let mut hasher = DefaultHasher::new();
    (&text, compiler).hash(&mut hasher);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda_on_host");
    std::fs::create_dir_all(&target).unwrap();
    let program = target.join(format!("{name}-{:016x}", hasher.finish()));
    if program.exists() {
        return program;
    }
    // Another test may compile the same at the same time: the last to finish replaces the others.
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let own = target.join(format!("{name}-{}-{count}", std::process::id()));
    let code = own.with_extension("cpp");
    std::fs::write(&code, text).unwrap();
    let output = Command::new(compiler)
        .args(["-std=c++17", "-O1", "-ffp-contract=off", "-w", "-o"])
        .args([&own, &code])
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&code).unwrap();
    std::fs::rename(&own, &program).unwrap();
    program
}

impl Launcher for Host {
    type Pointer = Place;
    type Error = String;

    fn is_aligned(&self, place: Place) -> bool {
        place.offset.is_multiple_of(16)
    }

    fn launch(&mut self, kernel: Kernel, config: Config, args: &[Arg<Place>]) -> Result<(), String> {
        if config.grid == 0 {
            return Ok(());
        }
        assert!(config.shared_bytes <= SHARED_MEMORY, "{kernel:?}: {config:?}");
        let name = kernel.name();
        let mut request = Vec::new();
        let mut put = |bytes: &[u8]| request.extend_from_slice(bytes);
        put(&(name.len() as u32).to_le_bytes());
        put(name.as_bytes());
        for size in [config.grid, config.block, self.buffers.len() as u32] {
            put(&size.to_le_bytes());
        }
        for buffer in &self.buffers {
            put(&(buffer.len() as u64).to_le_bytes());
            put(buffer);
        }
        put(&(args.len() as u32).to_le_bytes());
        for arg in args {
            let (kind, bits) = match *arg {
                Arg::Pointer(None) => (0, u64::MAX),
                Arg::Pointer(Some(place)) => (0, u64::from(place.buffer) << 32 | u64::from(place.offset)),
                Arg::U32(x) => (1, u64::from(x)),
                Arg::F32(x) => (1, u64::from(x.to_bits())),
                Arg::U64(x) => (2, x),
                Arg::F64(x) => (2, x.to_bits()),
            };
            put(&u32::to_le_bytes(kind));
            put(&bits.to_le_bytes());
        }
        let mut child = Command::new(program(self.compiler, kernel.source))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        child.stdin.take().unwrap().write_all(&request).map_err(|e| e.to_string())?;
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(format!("{name}: {} {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        let mut left = &output.stdout[..];
        for buffer in &mut self.buffers {
            let (bytes, rest) = left.split_at(buffer.len());
            buffer.copy_from_slice(bytes);
            left = rest;
        }
        Ok(())
    }
}
