//! A fixture: its tensors, its metadata, and how far numbers are from what it expects.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use flowmap_nn::{Params, TimeColumn};
use safetensors::SafeTensors;

/// One file: its tensors and its metadata.
pub struct Fixture {
    pub path: PathBuf,
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

impl Fixture {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        let metadata = header.metadata().clone().unwrap();
        Self { path: path.to_owned(), tensors, metadata }
    }

    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn tensor(&self, name: &str, dtype: DType) -> Tensor {
        let tensor = self.find(name).unwrap_or_else(|| panic!("tensor `{name}` is missing"));
        tensor.to_dtype(dtype).unwrap()
    }

    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).unwrap_or_else(|| panic!("metadata `{key}` is missing"))
    }

    pub fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, key: &str) -> T {
        self.text(key).parse().unwrap()
    }

    /// A list of numbers, in brackets with commas.
    pub fn list(&self, key: &str) -> Vec<usize> {
        let text = self.text(key).trim_matches(['[', ']', '(', ')']);
        text.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect()
    }

    /// Labels as u32, if there are any.
    pub fn labels(&self, name: &str) -> Option<Tensor> {
        self.find(name).map(|labels| labels.to_dtype(DType::U32).unwrap())
    }

    /// f of the times of a column.
    pub fn times(&self, name: &str, dtype: DType, f: impl Fn(f64) -> f64) -> TimeColumn {
        let host: Vec<f64> = self.tensor(name, DType::F64).to_vec1().unwrap();
        TimeColumn::new(host.into_iter().map(f).collect(), dtype, &Device::Cpu).unwrap()
    }

    /// The parameters whose names start with `prefix`, without it.
    pub fn params(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let strip = |(name, t): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()));
        self.tensors.iter().filter_map(strip).collect()
    }

    /// Asserts that a tensor is what the file expects, relative to the largest number of it.
    pub fn check(&self, what: &str, found: &Tensor, tolerance: f64) {
        let expected = self.tensor(&format!("expect.{what}"), DType::F64);
        let found = found.to_dtype(DType::F64).unwrap().reshape(expected.shape()).unwrap();
        let error = largest(&(&found - &expected).unwrap()) / largest(&expected).max(f64::MIN_POSITIVE);
        assert!(error < tolerance, "{}: `{what}` is off by {error:e}", self.path.display());
    }

    /// Asserts that the gradient of every parameter is what the file expects.
    pub fn check_gradients(&self, prefix: &str, loss: &Tensor, params: &Params, tolerance: f64) {
        let gradients = loss.backward().unwrap();
        for (name, var) in params.vars() {
            let expected = format!("grad.{prefix}{name}");
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("no gradient for `{name}`"));
            self.check(&expected, gradient, tolerance);
        }
    }
}

/// The largest magnitude.
fn largest(x: &Tensor) -> f64 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// Every fixture of `FLOWMAP_FIXTURES_DIR`, by default `tests/fixtures/`.
pub fn paths() -> Vec<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let dir = std::env::var_os("FLOWMAP_FIXTURES_DIR").map_or(default, PathBuf::from);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    assert!(!paths.is_empty(), "{}: no fixtures", dir.display());
    paths
}
