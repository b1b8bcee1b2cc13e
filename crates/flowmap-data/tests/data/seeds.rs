//! Every seed of the fuzz targets through the real readers: no panic, and what is read is whole.
//!
//! The seeds lie in `tests/seeds/FORMAT/NAME`; most were written by `tests/seeds/make.py`, others were found by fuzzing
//! and are named by what was wrong.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::reading;

fn seeds(format: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds").join(format);
    let mut seeds: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    seeds
}

#[test]
fn every_seed_is_read_whole_or_refused() {
    for format in reading::FORMATS {
        let seeds = seeds(format);
        assert!(!seeds.is_empty(), "{format}");
        for seed in seeds {
            reading::check(format, &fs::read(&seed).unwrap());
        }
    }
    reading::clear();
}

#[test]
fn good_seeds_have_the_samples_they_were_made_with() {
    let n = |format: &str, name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds").join(format).join(name);
        reading::check(format, &fs::read(path).unwrap())
    };
    for name in
        ["plain", "names", "numbers-as-names", "index", "labels", "quotes", "semicolons", "tabs", "blanks"]
    {
        assert_eq!(n("csv", name)[0], Some(6), "{name}");
    }
    for name in ["rownames", "byte-order-mark", "old-lines"] {
        assert_eq!(n("csv", name)[0], Some(6), "{name}");
    }
    for name in ["words", "labels"] {
        assert_eq!(n("csv", name)[1], Some(6), "{name}");
    }
    for name in ["split-decimals", "names-again", "missing", "open-quote", "utf-16"] {
        assert_eq!(n("csv", name), [None, None], "{name}");
    }
    for kind in
        ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "big-endian", "fortran", "truth"]
    {
        assert_eq!(n("npy", kind)[0], Some(6), "{kind}");
    }
    for name in ["complex", "objects", "records", "scalar", "empty", "key-twice"] {
        assert_eq!(n("npy", name), [None, None], "{name}");
    }
    for name in ["stored", "packed", "nameless", "wide"] {
        assert_eq!(n("npz", name)[0], Some(6), "{name}");
    }
    assert_eq!(n("npz", "packed")[1], Some(6));
    for name in ["nameless", "images"] {
        assert_eq!(n("npz", name)[2], Some(6), "{name}");
    }
    for (name, samples) in [("latents", 6), ("posteriors", 2)] {
        assert_eq!(n("npz", name)[3], Some(samples), "{name}");
    }
    assert_eq!(n("idx", "plain"), [Some(2)]);
    assert_eq!(n("idx", "cut"), [None]);
    reading::clear();
}
