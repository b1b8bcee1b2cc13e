//! Files of NumPy and of people: what is read, and what is said about what is not.

use std::fs;
use std::path::{Path, PathBuf};

use flowmap_data::{Column, DataConfig, DataSet, FiniteSet, PointsConfig};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn points(path: &str) -> PointsConfig {
    PointsConfig { path: path.into(), ..Default::default() }
}

fn read(config: PointsConfig) -> FiniteSet {
    config.read(Some(&golden())).unwrap()
}

/// The message about a file, from its name on.
fn refusal(config: &PointsConfig, dir: &Path) -> String {
    let message = config.read(Some(dir)).unwrap_err().to_string();
    message.replace(&format!("{}/", dir.display()), "")
}

/// The table that make.py writes into most files.
fn table() -> Vec<f32> {
    (0..12u8).map(|i| f32::from(i) / 4.0 - 1.0).collect()
}

#[test]
fn numpy_files_are_read_in_every_order() {
    for file in ["c-f4.npy", "fortran-big-f8.npy", "stored.npz", "flowmap.npz"] {
        let set = read(points(file));
        assert_eq!((set.shape(), set.n_samples()), (&[2][..], Some(6)), "{file}");
        assert_eq!(set.values(), table(), "{file}");
        let std = table().iter().map(|v| f64::from(*v - 0.375).powi(2)).sum::<f64>() / 12.0;
        assert!((set.sigma() - std.sqrt()).abs() < 1e-15, "{file}");
    }
    let line = read(points("line-f8.npy"));
    assert_eq!((line.shape(), line.extent()), (&[1][..], None));
    assert_eq!(line.values(), table().into_iter().step_by(2).collect::<Vec<_>>());
    assert_eq!(read(points("integers.npy")).values(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let images = read(points("fortran-images-f4.npy"));
    assert_eq!((images.shape(), images.n_samples()), (&[1, 3, 2][..], Some(2)));
    assert_eq!(images.values(), (0..12u8).map(f32::from).collect::<Vec<_>>());
}

#[test]
fn arrays_labels_and_columns_are_chosen() {
    let flowmap = read(points("flowmap.npz"));
    assert_eq!((flowmap.labels(), flowmap.n_classes()), (Some(&[0, 1, 2, 0, 1, 2][..]), 3));
    let noise = read(PointsConfig { array: Some("noise".into()), ..points("flowmap.npz") });
    assert_eq!(noise.values(), table().iter().map(|v| -v).collect::<Vec<_>>());
    let labelled = read(PointsConfig { labels: Some("classes".into()), ..points("labelled.npz") });
    assert_eq!((labelled.labels(), labelled.n_classes()), (Some(&[0, 1, 2, 3, 4, 5][..]), 6));
    let turned = read(PointsConfig { columns: Some(vec![1.into(), 0.into()]), ..points("c-f4.npy") });
    assert_eq!(turned.values()[..4], [-0.75, -1.0, -0.25, -0.5]);
}

#[test]
fn a_config_in_toml_chooses_as_well() {
    let text = "kind = 'points'\npath = 'labelled.npz'\narray = 'points'\nlabels = 'classes'\ncolumns = [1]";
    let config: DataConfig = toml::from_str(text).unwrap();
    let set = config.build(Some(&golden())).unwrap();
    assert_eq!((set.shape(), set.n_classes()), (&[1][..], 6));
    let written = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<DataConfig>(&written).unwrap(), config);
    let names: DataConfig = toml::from_str("kind = 'points'\ncolumns = ['x', 2]").unwrap();
    let DataConfig::Points(PointsConfig { columns, .. }) = names else { unreachable!() };
    assert_eq!(columns, Some(vec![Column::Name("x".into()), Column::Index(2)]));
}

#[test]
fn refusals_of_numpy_files_say_what_is_there() {
    let with = |file, array: Option<&str>, labels: Option<&str>| PointsConfig {
        array: array.map(str::to_owned),
        labels: labels.map(str::to_owned),
        ..points(file)
    };
    let columns = |file, column: Column| PointsConfig { columns: Some(vec![column]), ..points(file) };
    let cases = [
        (
            with("several.npz", None, None),
            "several.npz: expected an array `samples` or a single one, or the key `array`, found `a`, `b`",
        ),
        (with("several.npz", Some("c"), None), "several.npz: expected array `c`, found `a`, `b`"),
        (with("stored.npz", None, Some("y")), "stored.npz: expected array `y`, found `points`"),
        (
            with("flowmap.npz", None, Some("noise")),
            "flowmap.npz, array `noise`: expected shape (N,), found [6, 2]",
        ),
        (with("c-f4.npy", Some("x"), None), "`array`: does not apply to c-f4.npy"),
        (with("c-f4.npy", None, Some("x")), "`labels`: does not apply to c-f4.npy"),
        (columns("c-f4.npy", 2.into()), "c-f4.npy: expected column 2, found `0`, `1`"),
        (columns("c-f4.npy", "x".into()), "c-f4.npy: expected column `x`, found `0`, `1`"),
        (columns("fortran-images-f4.npy", 0.into()), "`columns`: does not apply to fortran-images-f4.npy"),
    ];
    for (config, message) in cases {
        assert_eq!(refusal(&config, &golden()), message);
    }
}

#[test]
fn refusals_of_paths_say_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder.csv")).unwrap();
    let cases = [
        (points(""), "`path`: expected the path of an NPZ, NPY or CSV file, found nothing"),
        (
            points("data.parquet"),
            "data.parquet: expected a file that ends in .npz, .npy or .csv (also .tsv, .txt), found .parquet",
        ),
        (
            points("data"),
            "data: expected a file that ends in .npz, .npy or .csv (also .tsv, .txt), found no extension",
        ),
        (points("folder.csv"), "folder.csv: expected a file, found something else"),
        (
            PointsConfig { columns: Some(vec![]), ..points("x.csv") },
            "`columns`: expected one column or more, found []",
        ),
    ];
    for (config, message) in cases {
        assert_eq!(refusal(&config, dir.path()), message);
    }
    let missing = refusal(&points("missing.csv"), dir.path());
    assert!(missing.starts_with("reading missing.csv: No such file"), "{missing}");
}

#[test]
fn refusals_of_text_name_the_line() {
    let cases = [
        ("", "x.csv: expected at least one sample, found none"),
        ("x,y\n", "x.csv: expected at least one sample, found none"),
        ("1,2\n3\n", "x.csv, line 2: expected 2 values, found 1"),
        ("1,2\n3,inf\n", "x.csv, line 2, column 2: expected a finite number, found \"inf\""),
        ("x,y\n1,2\n3,?\n", "x.csv, line 3, column 2: expected a finite number, found \"?\""),
        ("1,1\n1,1\n", "x.csv: expected data that vary, found 1 in every coordinate of every sample"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (text, message) in cases {
        fs::write(dir.path().join("x.csv"), text).unwrap();
        assert_eq!(refusal(&points("x.csv"), dir.path()), message);
    }
    fs::write(dir.path().join("x.csv"), "x,class\n1,0\n2,1.5\n").unwrap();
    let config = PointsConfig { labels: Some("class".into()), ..points("x.csv") };
    assert_eq!(
        refusal(&config, dir.path()),
        "x.csv, sample 1: expected a whole number from 0 to 65535, found 1.5"
    );
    let config = PointsConfig { array: Some("x".into()), ..points("x.csv") };
    assert_eq!(refusal(&config, dir.path()), "`array`: does not apply to x.csv");
}

#[test]
fn values_that_are_not_finite_are_named_by_sample() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(golden().join("c-f4.npy")).unwrap();
    let end = bytes.len();
    bytes[end - 8..end - 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(dir.path().join("x.npy"), bytes).unwrap();
    assert_eq!(
        refusal(&points("x.npy"), dir.path()),
        "x.npy, sample 5, coordinate 0: expected a finite number (f32), found NaN"
    );
}
