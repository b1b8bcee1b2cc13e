//! Files of data that are wrong: each is refused with the file, the place in it, what was expected and what came.

use std::fs;

use crate::program::{folder, refuses, tiny_run};

/// Checks that training and judging on a file `name` with these bytes are refused with all of `words`.
#[track_caller]
fn refuses_data(name: &str, bytes: &[u8], words: &[&str]) {
    let dir = folder();
    fs::write(dir.path().join(name), bytes).unwrap();
    let words = [&[name], words].concat();
    let path = format!("data.path={name}");
    refuses(dir.path(), &["train", "--set", "data.kind=points", "--set", &path], 1, &words);
    refuses(dir.path(), &["eval", "--samples", name, "--reference", "moons"], 1, &words);
    let run = tiny_run().to_str().unwrap();
    refuses(dir.path(), &["eval", run, "--reference", name, "--num", "50"], 1, &words);
}

#[test]
fn empty_file_is_refused() {
    refuses_data("points.csv", b"", &["expected at least one sample", "found none"]);
    refuses_data("points.npz", b"", &["zip"]);
    refuses_data("points.npy", b"", &["NPY"]);
}

#[test]
fn file_of_names_without_rows_is_refused() {
    refuses_data("points.csv", b"x,y\n", &["expected at least one sample", "found none"]);
}

#[test]
fn ragged_row_is_refused_with_its_line() {
    refuses_data("points.csv", b"1,2\n3,4\n5\n", &["line 3", "expected 2 values", "found 1"]);
}

#[test]
fn nan_is_refused_with_its_place() {
    refuses_data("points.csv", b"1,2\n3,nan\n", &["line 2", "column 2", "expected a finite number", "nan"]);
    refuses_data(
        "points.npy",
        &npy(&[1.0, 2.0, f32::NAN, 4.0]),
        &["sample 1", "coordinate 0", "finite", "NaN"],
    );
    refuses_data("points.npy", &npy(&[1.0, 2.0, 3.0, f32::INFINITY]), &["sample 1", "coordinate 1", "inf"]);
}

#[test]
fn word_among_numbers_is_refused_with_its_place() {
    refuses_data("points.csv", b"1,2\n3,four\n", &["line 2", "column 2", "expected a finite number", "four"]);
}

#[test]
fn array_shorter_than_its_header_is_refused() {
    let whole = npy(&[1.0, 2.0, 3.0, 4.0]);
    refuses_data("points.npy", &whole[..whole.len() - 4], &["promises 16 bytes", "found 12"]);
}

#[test]
fn unknown_extension_is_refused() {
    refuses_data("points.parquet", b"PAR1", &[".npz, .npy or .csv", "parquet"]);
}

#[test]
fn missing_file_is_refused() {
    let dir = folder();
    let args = ["train", "--set", "data.kind=points", "--set", "data.path=absent.csv"];
    refuses(dir.path(), &args, 1, &["absent.csv", "No such file"]);
    refuses(
        dir.path(),
        &["eval", "--samples", "absent.csv", "--reference", "moons"],
        1,
        &["absent.csv", "No such file"],
    );
}

#[test]
fn data_of_points_without_a_path_are_refused() {
    refuses(folder().path(), &["train", "--set", "data.kind=points"], 1, &["path"]);
}

#[test]
fn samples_of_another_shape_than_the_reference_are_refused() {
    let dir = folder();
    fs::write(dir.path().join("points.csv"), "1,2,3\n4,5,6\n").unwrap();
    refuses(dir.path(), &["eval", "--samples", "points.csv", "--reference", "moons"], 1, &["[3]", "[2]"]);
}

/// An NPY file of two samples of the plane.
fn npy(values: &[f32; 4]) -> Vec<u8> {
    let mut header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }".to_owned();
    header.push_str(&" ".repeat(117 - header.len()));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}
