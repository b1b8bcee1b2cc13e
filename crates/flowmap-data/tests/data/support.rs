//! Builds sets of data from configs and says what is in them.
#![allow(clippy::unwrap_used, reason = "not every test needs all of it")]

#[cfg(feature = "webdataset")]
pub mod reading;

use std::path::Path;

use flowmap_core::{NoiseStream, Stream};
use flowmap_data::{DataConfig, DataSet, Error};

/// Builds a config in a directory.
pub fn build(dir: &Path, config: &str) -> Result<Box<dyn DataSet>, Error> {
    toml::from_str::<DataConfig>(config).unwrap().build(Some(dir))
}

/// The message about a config, without the directory.
#[track_caller]
pub fn refusal(dir: &Path, config: &str) -> String {
    build(dir, config).unwrap_err().to_string().replace(&format!("{}/", dir.display()), "")
}

/// The number of records that `skip_bad` passes over, those left, and the first message.
#[track_caller]
pub fn skips(dir: &Path, config: &str) -> (u64, u64, String) {
    let set = build(dir, &format!("{config}\nskip_bad = true")).unwrap();
    let skipped = set.skipped().unwrap();
    let message = skipped.messages[0].replace(&format!("{}/", dir.display()), "");
    (skipped.n, set.n_samples().unwrap(), message)
}

/// All samples of the first epoch, sorted, with their labels.
pub fn epoch(set: &dyn DataSet) -> Vec<(Vec<i32>, Option<u32>)> {
    let (stream, dim) = (NoiseStream::new(0, Stream::Data), set.shape().iter().product());
    let mut all: Vec<_> = (0..set.n_samples().unwrap())
        .map(|index| {
            let mut x = vec![0.0; dim];
            let label = set.draw(&stream, index, &mut x);
            // Back to bytes.
            (x.iter().map(|x| ((x + 1.0) * 127.5).round() as i32).collect(), label)
        })
        .collect();
    all.sort();
    all
}
