//! Parquet files made here: what is read, and what is said about what is wrong.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use flowmap_data::{DataConfig, DataSet, Error};
use image::{ImageFormat, Rgb, RgbImage};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// As public data sets have it: the caption and the path are passed over.
const STRUCTS: &str = "message schema {
    optional binary caption (UTF8);
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";
const BYTES: &str = "message schema { required binary img; }";

fn picture(width: u32, value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = RgbImage::from_fn(width, 2, |x, _| Rgb([value, x as u8, 0]));
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// An image, or none, and its class, or none.
type Record = (Option<Vec<u8>>, Option<i64>);

fn good(n: usize) -> Record {
    (Some(picture(3, 10 * n as u8)), Some(n as i64))
}

/// Writes a file of structs, each of `groups` a row group.
fn write_structs(path: &Path, groups: &[Vec<Record>], compression: Compression) {
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let schema = Arc::new(parse_message_type(STRUCTS).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for records in groups {
        let mut group = writer.next_row_group().unwrap();
        let text = |name: &str| vec![ByteArray::from(name); records.len()];
        let images: Vec<ByteArray> =
            records.iter().filter_map(|(image, _)| image.clone().map(ByteArray::from)).collect();
        let has_image: Vec<i16> = records.iter().map(|(image, _)| 1 + i16::from(image.is_some())).collect();
        let labels: Vec<i64> = records.iter().filter_map(|(_, label)| *label).collect();
        let has_label: Vec<i16> = records.iter().map(|(_, label)| i16::from(label.is_some())).collect();
        let all = |level: i16| vec![level; records.len()];
        for (values, levels) in
            [(text("a caption"), all(1)), (images, has_image), (text("somewhere.png"), all(2))]
        {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&labels, Some(&has_label), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn build(dir: &Path, more: &str) -> Result<Box<dyn DataSet>, Error> {
    toml::from_str::<DataConfig>(&format!("kind = 'parquet'\npath = 'parts'\n{more}"))
        .unwrap()
        .build(Some(dir))
}

/// The message about a file `0.parquet`, and how many records `skip_bad` passes over and keeps.
#[track_caller]
fn refusal(dir: &Path, more: &str) -> (String, u64, u64) {
    let message = build(dir, more).unwrap_err().to_string();
    let skipped = build(dir, &format!("skip_bad = true\n{more}"));
    let (n, kept) = skipped.map_or((0, 0), |set| (set.skipped().unwrap().n, set.n_samples().unwrap()));
    (message.replace(&format!("{}/parts/", dir.display()), ""), n, kept)
}

/// A folder whose `parts/0.parquet` has these row groups.
fn folder(groups: &[Vec<Record>]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("parts")).unwrap();
    write_structs(&dir.path().join("parts/0.parquet"), groups, Compression::SNAPPY);
    dir
}

#[test]
fn files_row_groups_and_compressions_are_read_in_their_order() {
    let dir = folder(&[vec![good(0), good(1)], vec![good(2)]]);
    let zstd = Compression::ZSTD(ZstdLevel::default());
    write_structs(&dir.path().join("parts/1.parquet"), &[vec![good(3)], (4..7).map(good).collect()], zstd);
    let set = build(dir.path(), "").unwrap();
    assert_eq!((set.shape(), set.n_samples(), set.n_classes()), (&[3, 2, 3][..], Some(7), 7));
    let stream = flowmap_core::NoiseStream::new(1, flowmap_core::Stream::Data);
    for index in 0..7 {
        let mut x = [0.0; 18];
        let label = set.draw(&stream, index, &mut x).unwrap();
        // The red of picture n is 10 n.
        assert_eq!(((x[0] + 1.0) * 127.5).round(), 10.0 * label as f32);
    }
    let one = "kind = 'parquet'\npath = 'parts/1.parquet'\nsize = 2\nclasses = 10";
    let one = toml::from_str::<DataConfig>(one).unwrap();
    assert_eq!(one.declared().unwrap().shape, [3, 2, 2]);
    let one = one.build(Some(dir.path())).unwrap();
    assert_eq!((one.shape(), one.n_samples(), one.n_classes()), (&[3, 2, 2][..], Some(4), 10));
}

#[test]
fn more_records_than_are_decoded_at_a_time_are_read() {
    let dir = folder(&[(0..600).map(|n| (good(n % 3).0, Some(n as i64))).collect()]);
    let set = build(dir.path(), "").unwrap();
    assert_eq!((set.n_samples(), set.n_classes()), (Some(600), 600));
}

#[test]
fn columns_of_bytes_have_any_name_and_need_no_classes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    let schema = Arc::new(parse_message_type(BYTES).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let pictures = [ByteArray::from(picture(3, 1)), ByteArray::from(picture(3, 2))];
    column.typed::<ByteArrayType>().write_batch(&pictures, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let read = |more: &str| {
        let config = format!("kind = 'parquet'\npath = 'x.parquet'\n{more}");
        toml::from_str::<DataConfig>(&config).unwrap().build(Some(dir.path()))
    };
    let set = read("image_column = 'img'").unwrap();
    assert_eq!((set.n_samples(), set.n_classes()), (Some(2), 0));
    let message = read("").unwrap_err().to_string();
    assert!(message.ends_with("x.parquet: expected column `image`, found `img`"), "{message}");
    let message = read("image_column = 'img'\nlabel_column = 'class'").unwrap_err().to_string();
    assert!(message.ends_with("x.parquet: expected column `class`, found `img`"), "{message}");
}

#[test]
fn wrong_records_are_named_and_passed_over() {
    let text = folder(&[vec![good(0)], vec![good(1), (Some(b"hello".to_vec()), Some(1)), good(2)]]);
    let message =
        "0.parquet, record 2 (counted from 0): expected a PNG, JPEG or WebP image, found other bytes";
    assert_eq!(refusal(text.path(), ""), (message.into(), 1, 3));
    let none = folder(&[vec![good(0), (None, Some(1)), good(2)]]);
    let message = "0.parquet, record 1 (counted from 0): expected a PNG, JPEG or WebP image, found no bytes";
    assert_eq!(refusal(none.path(), ""), (message.into(), 1, 2));
    let size = folder(&[vec![good(0), (Some(picture(4, 1)), Some(1)), good(2)]]);
    let message = "0.parquet, record 1 (counted from 0): expected an image of 2 x 3 pixels and 3 channels, found 2 x 4 and 3";
    assert_eq!(refusal(size.path(), ""), (message.into(), 1, 2));
    let class = folder(&[vec![good(0), (Some(picture(3, 1)), Some(-1)), (Some(picture(3, 1)), None)]]);
    let message = "0.parquet, record 1 (counted from 0): expected a class, a whole number from 0 to 65535, found \"-1\"";
    assert_eq!(refusal(class.path(), ""), (message.into(), 2, 1));
    let (message, n, kept) = refusal(folder(&[(0..3).map(good).collect()]).path(), "classes = 2");
    assert!(message.ends_with("a whole number from 0 to 1, found \"2\""), "{message}");
    assert_eq!((n, kept), (1, 2));
}

#[test]
fn cut_foreign_and_damaged_files_are_named() {
    let dir = folder(&[(0..3).map(good).collect(), (3..6).map(good).collect()]);
    let path = dir.path().join("parts/0.parquet");
    let whole = fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() / 2], b"PAR1 hello", b""] {
        fs::write(&path, bytes).unwrap();
        let (message, ..) = refusal(dir.path(), "");
        assert!(message.starts_with("0.parquet: expected a whole Parquet file, found: "), "{message}");
    }
    let message = build(dir.path(), "image_column = 'label'").unwrap_err().to_string();
    assert!(message.contains("expected a whole Parquet file"), "{message}");
    fs::write(&path, &whole).unwrap();
    let (message, ..) = refusal(dir.path(), "image_column = 'label'");
    let expected = "0.parquet, column `label`: expected values of type bytes, or structs with a field `bytes` of them, found INT64";
    assert_eq!(message, expected);
    // Zeros where the first page was.
    let mut damaged = whole.clone();
    damaged[4..200].fill(0);
    fs::write(&path, &damaged).unwrap();
    let (message, ..) = refusal(dir.path(), "");
    assert!(message.starts_with("0.parquet"), "{message}");
}

#[test]
fn every_compression_of_the_hub_is_read() {
    use parquet::basic::{BrotliLevel, GzipLevel};
    let all = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for compression in all {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("parts")).unwrap();
        write_structs(&dir.path().join("parts/0.parquet"), &[(0..3).map(good).collect()], compression);
        assert_eq!(build(dir.path(), "").unwrap().n_samples(), Some(3), "{compression}");
    }
}

#[test]
fn splits_of_files_are_never_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, records: Vec<Record>| {
        let path = dir.path().join("parts").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_structs(&path, &[records], Compression::SNAPPY);
    };
    write("data/train-00000-of-00002.parquet", (0..3).map(good).collect());
    write("data/train-00001-of-00002.parquet", (3..6).map(good).collect());
    write("data/test-00000-of-00001.parquet", (0..2).map(good).collect());
    fs::write(dir.path().join("parts/README.md"), "text").unwrap();
    for path in ["parts", "parts/data"] {
        let read = |more: &str| {
            let config = format!("kind = 'parquet'\npath = '{path}'\n{more}");
            toml::from_str::<DataConfig>(&config).unwrap().build(Some(dir.path()))
        };
        let set = read("").unwrap();
        assert_eq!((set.n_samples(), set.n_classes()), (Some(6), 6));
        assert!(set.source().unwrap().ends_with("(split train, 2 of 3 files)"));
        assert_eq!(read("split = 'test'").unwrap().n_samples(), Some(2));
        assert_eq!(read("split = 'all'").unwrap().n_samples(), Some(8));
        let message = read("split = 'validation'").unwrap_err().to_string();
        assert!(message.ends_with(
            "expected files of the split `validation`, found files of `train`, `test`; set `split`"
        ));
    }
    write("data/more.parquet", vec![good(0)]);
    let message = build(dir.path(), "").unwrap_err().to_string();
    assert!(message.contains("expected all names of files to tell a split, or none"), "{message}");
    fs::remove_file(dir.path().join("parts/data/more.parquet")).unwrap();
    write("other/train-00000-of-00001.parquet", vec![good(0)]);
    let message = build(dir.path(), "").unwrap_err().to_string();
    assert!(message.ends_with("parts: expected the files of one data set, found some in each of `data`, `other`; set `path` to one of them"), "{message}");
    fs::remove_dir_all(dir.path().join("parts")).unwrap();
    // Folders tell the split as well.
    write("train/0000.parquet", vec![good(0)]);
    write("validation/0000.parquet", vec![good(1), good(2)]);
    assert_eq!(build(dir.path(), "split = 'validation'").unwrap().n_samples(), Some(2));
    fs::remove_dir_all(dir.path().join("parts")).unwrap();
    fs::create_dir(dir.path().join("parts")).unwrap();
    fs::write(dir.path().join("parts/x.csv"), "text").unwrap();
    let message = build(dir.path(), "").unwrap_err().to_string();
    assert!(message.ends_with("parts: expected a file that ends in .parquet, found `x.csv`"), "{message}");
}

#[test]
fn images_of_a_file_without_classes_among_others_are_named() {
    let dir = folder(&[vec![good(0), good(1)]]);
    let path = dir.path().join("parts/1.parquet");
    let schema = Arc::new(parse_message_type("message schema { required binary image; }").unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let pictures = [ByteArray::from(picture(3, 1)), ByteArray::from(picture(3, 2))];
    column.typed::<ByteArrayType>().write_batch(&pictures, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let message = "1.parquet, record 0 (counted from 0): expected a class, as other images have, found none";
    assert_eq!(refusal(dir.path(), ""), (message.into(), 2, 2));
}

#[test]
fn cut_jpeg_images_are_named_and_passed_over() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images/progressive.jpg");
    let jpeg = fs::read(golden).unwrap();
    let cut = jpeg[..jpeg.len() / 2].to_vec();
    let dir = folder(&[vec![(Some(jpeg), Some(0)), (Some(cut), Some(1))]]);
    let (message, n, kept) = refusal(dir.path(), "");
    assert!(
        message.starts_with("0.parquet, record 1 (counted from 0): expected a whole JPEG image"),
        "{message}"
    );
    assert_eq!((n, kept), (1, 1));
}
