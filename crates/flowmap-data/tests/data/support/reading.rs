//! Reads bytes as a file of a format and checks what holds whatever the bytes are; for fuzzing and for its seeds.
//!
//! No reader panics, and what is read is whole: as many samples as the file promises, all of them finite numbers with
//! a label among the classes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "not every target needs all of it")]

use std::fs;
use std::path::{Path, PathBuf};

use flowmap_core::{NoiseStream, Stream};
use flowmap_data::{
    DataSet, Error, IdxConfig, ImageFolderConfig, ImagesConfig, LatentsConfig, PointsConfig, WebdatasetConfig,
};

/// The formats that are fuzzed.
pub const FORMATS: [&str; 6] = ["csv", "npy", "npz", "idx", "tar", "jpeg"];

type Read = Result<Box<dyn DataSet>, Error>;

/// Reads the bytes in every way that suits the format, and checks what comes out; the number of samples of each way.
///
/// # Panics
/// Where a reader does, or what it read is not whole.
pub fn check(format: &str, bytes: &[u8]) -> Vec<Option<u64>> {
    let dir = folder(format);
    let all = read_all(format, &dir, bytes);
    let promised = promised(format, bytes);
    let read = all.into_iter().map(|set| {
        let set = set.ok()?;
        check_samples(set.as_ref());
        let found = set.n_samples();
        let is_whole = |promised: &Vec<u64>| found.is_some_and(|n| promised.contains(&n));
        assert!(promised.as_ref().is_none_or(is_whole), "{format}: {found:?} samples of {promised:?}");
        found
    });
    read.collect()
}

/// The folder of this thread, in memory where the system has such a place.
fn root() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    parent.join(format!("flowmap-data-{}-{:?}", std::process::id(), std::thread::current().id()))
}

/// The folder for files of a format.
fn folder(format: &str) -> PathBuf {
    let dir = root().join(format);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Removes the files of this thread.
pub fn clear() {
    let _ = fs::remove_dir_all(root());
}

fn boxed<T: DataSet + 'static>(set: Result<T, Error>) -> Read {
    set.map(|set| Box::new(set) as Box<dyn DataSet>)
}

fn read_all(format: &str, dir: &Path, bytes: &[u8]) -> Vec<Read> {
    let write = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    let points = |path: &str| PointsConfig { path: path.into(), ..Default::default() };
    let images = |path: &str| ImagesConfig { path: path.into(), ..Default::default() };
    match format {
        "csv" => {
            write("x.csv", bytes);
            let labels = PointsConfig { labels: Some("label".into()), ..points("x.csv") };
            vec![boxed(points("x.csv").read(Some(dir))), boxed(labels.read(Some(dir)))]
        }
        "npy" => {
            write("x.npy", bytes);
            vec![boxed(points("x.npy").read(Some(dir))), boxed(images("x.npy").read(Some(dir)))]
        }
        "npz" => {
            write("x.npz", bytes);
            let latents = LatentsConfig { path: "x.npz".into(), ..Default::default() };
            vec![
                boxed(points("x.npz").read(Some(dir))),
                boxed(points("x.npz").read_pairs(Some(dir))),
                boxed(images("x.npz").read(Some(dir))),
                boxed(latents.read(Some(dir))),
            ]
        }
        "idx" => {
            // The images; then the labels of as many.
            write("train-images-idx3-ubyte", bytes);
            let n = bytes.get(4..8).map_or(0, |n| u32::from_be_bytes([n[0], n[1], n[2], n[3]])).min(1 << 16);
            let labels = [&[0, 0, 8, 1][..], &n.to_be_bytes(), &vec![1; n as usize]].concat();
            write("train-labels-idx1-ubyte", &labels);
            vec![boxed(IdxConfig { path: dir.into(), ..Default::default() }.read(None))]
        }
        "tar" => {
            write("x.tar", bytes);
            vec![boxed(WebdatasetConfig { path: "x.tar".into(), ..Default::default() }.read(Some(dir)))]
        }
        "jpeg" => {
            write("x.jpg", bytes);
            vec![boxed(ImageFolderConfig { path: dir.into(), ..Default::default() }.read(None))]
        }
        other => panic!("no format `{other}`"),
    }
}

/// The numbers of samples that a file may have, by a look at its bytes that shares nothing with the readers.
fn promised(format: &str, bytes: &[u8]) -> Option<Vec<u64>> {
    match format {
        "csv" => {
            let text = String::from_utf8_lossy(bytes);
            let is_blank = |line: &&str| {
                let line = line.trim_start_matches('\u{feff}').trim();
                line.is_empty() || line.starts_with('#')
            };
            let n = text.split(['\r', '\n']).filter(|line| !is_blank(line)).count() as u64;
            // With a line of names or without, and one that names the separator; quotes may hold line breaks.
            let n_silent = 1 + u64::from(text.contains("sep="));
            (!text.contains('"')).then(|| (n.saturating_sub(n_silent)..=n).collect())
        }
        "npy" => {
            let text: String = bytes.iter().take(200).map(|byte| char::from(*byte)).collect();
            let (_, shape) = text.split_once("'shape': (")?;
            let digits: String = shape.chars().take_while(char::is_ascii_digit).collect();
            Some(vec![digits.parse().ok()?])
        }
        "idx" => {
            let n = bytes.get(4..8)?;
            (bytes[0] == 0).then(|| vec![u32::from_be_bytes([n[0], n[1], n[2], n[3]]).into()])
        }
        "jpeg" => Some(vec![1]),
        _ => None,
    }
}

fn check_samples(set: &dyn DataSet) {
    let (n, dim) = (set.n_samples().unwrap(), set.shape().iter().product());
    assert!(n > 0 && set.sigma() > 0.0 && set.sigma().is_finite(), "{set:?}");
    let stream = NoiseStream::new(0, Stream::Data);
    let mut x = vec![f32::NAN; dim];
    for index in 0..n.min(64) {
        let label = set.draw(&stream, index, &mut x);
        assert!(x.iter().all(|value| value.is_finite()), "{set:?}");
        assert!(label.is_none_or(|label| (label as usize) < set.n_classes()), "{label:?} in {set:?}");
    }
}
