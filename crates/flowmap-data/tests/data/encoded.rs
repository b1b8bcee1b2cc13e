//! Encoded images: which are whole, how they are turned, and what is under transparent pixels.

use std::fs;
use std::path::{Path, PathBuf};

use flate2::Crc;
use image::{DynamicImage, GrayAlphaImage, ImageFormat, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

use crate::support::{build, epoch, refusal, skips};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images")
}

/// The shipped images that end so, with their bytes.
fn files(ending: &str) -> Vec<(String, Vec<u8>)> {
    let paths = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().unwrap() == ending).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), fs::read(path).unwrap()))
        .collect()
}

/// What is said about a file among the images of a folder, `None` if it is read.
fn verdict(name: &str, bytes: &[u8]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("x")).unwrap();
    fs::write(dir.path().join("x").join(name), bytes).unwrap();
    build(dir.path(), FOLDER)
        .err()
        .map(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

const FOLDER: &str = "kind = 'image_folder'\npath = 'x'";

/// The bytes of the only image, channel by channel, row by row, with its height and width.
fn pixels(name: &str, bytes: &[u8], more: &str) -> (Vec<i32>, [usize; 2]) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("x")).unwrap();
    fs::write(dir.path().join("x").join(name), bytes).unwrap();
    let set = build(dir.path(), &format!("{FOLDER}\n{more}")).unwrap();
    let shape = [set.shape()[1], set.shape()[2]];
    (epoch(set.as_ref()).swap_remove(0).0, shape)
}

#[test]
fn whole_jpeg_images_of_every_kind_are_read() {
    let all = files("jpg");
    assert_eq!(all.len(), 10);
    for (name, bytes) in all {
        assert_eq!(verdict(&name, &bytes), None, "{name}");
        // What follows the end of the image is no part of it.
        for more in [&[0; 100][..], b"garbage \xff\xd8\xff", &bytes] {
            assert_eq!(verdict(&name, &[&bytes, more].concat()), None, "{name}");
        }
        // Fill bytes before a marker.
        let end = bytes.len() - 2;
        assert_eq!(verdict(&name, &[&bytes[..end], &[0xff, 0xff, 0xff, 0xd9]].concat()), None, "{name}");
    }
}

#[test]
fn cut_jpeg_images_are_named() {
    for (name, bytes) in files("jpg") {
        for percent in [10, 20, 30, 50, 70, 90, 99] {
            let message = verdict(&name, &bytes[..bytes.len() * percent / 100]);
            let expected = format!("x/{name}: expected a whole JPEG image, found the end of ");
            assert!(message.is_some_and(|message| message.starts_with(&expected)), "{name}, {percent} %");
        }
    }
    let (name, bytes) = files("jpg").swap_remove(0);
    assert_eq!(
        verdict(&name, &bytes[..bytes.len() * 9 / 10]).unwrap(),
        "x/baseline.jpg: expected a whole JPEG image, found the end of a scan after 22 of its 36 blocks"
    );
}

#[test]
fn cut_jpeg_images_are_counted_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("x")).unwrap();
    let whole = fs::read(golden().join("progressive.jpg")).unwrap();
    fs::write(dir.path().join("x/0.jpg"), &whole).unwrap();
    fs::write(dir.path().join("x/1.jpg"), &whole[..whole.len() / 2]).unwrap();
    let message = refusal(dir.path(), FOLDER);
    assert!(message.starts_with("x/1.jpg: expected a whole JPEG image, found "), "{message}");
    assert_eq!(skips(dir.path(), FOLDER), (1, 1, message));
}

#[test]
fn every_cut_and_every_flip_of_a_png_image_is_refused() {
    let whole = png(RgbImage::from_fn(5, 4, |x, y| Rgb([x as u8, y as u8, 9])).into());
    assert_eq!(verdict("a.png", &whole), None);
    for at in 0..whole.len() {
        assert!(verdict("a.png", &whole[..at]).is_some(), "cut at {at}");
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        assert!(verdict("a.png", &flipped).is_some(), "flipped at {at}");
    }
    assert_eq!(verdict("a.png", &[&whole, &b"more"[..]].concat()), None);
}

#[test]
fn webp_images_are_read_and_cut_ones_refused() {
    let all = files("webp");
    assert_eq!(all.len(), 2);
    for (name, bytes) in all {
        assert_eq!(verdict(&name, &bytes), None, "{name}");
        for length in 0..bytes.len() {
            assert!(verdict(&name, &bytes[..length]).is_some(), "{name} {length}");
        }
    }
    let lossless = fs::read(golden().join("lossless.webp")).unwrap();
    let (pixels, shape) = pixels("a.webp", &lossless, "");
    // The red of column x is 6 x, as make_images.py says.
    assert_eq!(shape, [21, 37]);
    assert_eq!(pixels[..37], (0..37).map(|x| 6 * x).collect::<Vec<_>>());
}

#[test]
fn images_of_other_formats_are_named() {
    let message = verdict("a.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;").unwrap();
    assert_eq!(message, "x/a.png: expected a PNG, JPEG or WebP image, found an image of format gif");
    let message = verdict("a.tif", b"II*\0\x08\0\0\0").unwrap();
    assert_eq!(message, "x/a.tif: expected a PNG, JPEG or WebP image, found an image of format tiff");
}

fn png(image: DynamicImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// EXIF data with this orientation alone.
fn exif(orientation: u8) -> Vec<u8> {
    [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation, 0, 0, 0, 0, 0, 0]].concat()
}

/// A PNG image with a chunk behind its header.
fn with_chunk(png: &[u8], kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let chunk = [&kind[..], data].concat();
    let mut crc = Crc::new();
    crc.update(&chunk);
    let header_end = 33; // signature, length, `IHDR`, 13 bytes, checksum
    let length = (data.len() as u32).to_be_bytes();
    [&png[..header_end], &length, &chunk, &crc.sum().to_be_bytes(), &png[header_end..]].concat()
}

/// A JPEG image with a segment of EXIF behind its start.
fn with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let length = (8 + exif.len() as u16).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, b"Exif\0\0", exif, &jpeg[2..]].concat()
}

/// What a viewer shows of an image of two rows, 1 2 3 and 4 5 6, for each orientation of EXIF, which says where the
/// first row and the first column of the file are: 1 at the top and the left, 2 top right, 3 bottom right, 4 bottom
/// left, 5 left top, 6 right top, 7 right bottom, 8 left bottom.
const SHOWN: [(&[&[i32]], u8); 9] = [
    (&[&[1, 2, 3], &[4, 5, 6]], 1),
    (&[&[3, 2, 1], &[6, 5, 4]], 2),
    (&[&[6, 5, 4], &[3, 2, 1]], 3),
    (&[&[4, 5, 6], &[1, 2, 3]], 4),
    (&[&[1, 4], &[2, 5], &[3, 6]], 5),
    (&[&[4, 1], &[5, 2], &[6, 3]], 6),
    (&[&[6, 3], &[5, 2], &[4, 1]], 7),
    (&[&[3, 6], &[2, 5], &[1, 4]], 8),
    // No orientation that there is.
    (&[&[1, 2, 3], &[4, 5, 6]], 9),
];

#[test]
fn images_are_turned_as_viewers_show_them() {
    let stored = RgbImage::from_fn(3, 2, |x, y| Rgb([40 * (1 + x + 3 * y) as u8; 3]));
    let png = png(stored.into());
    // Blocks of 16 x 16 of one color come through JPEG unchanged except for rounding.
    let large = RgbImage::from_fn(48, 32, |x, y| Rgb([40 * (1 + x / 16 + 3 * (y / 16)) as u8; 3]));
    let mut jpeg = std::io::Cursor::new(Vec::new());
    large.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    for (shown, orientation) in SHOWN {
        let expected: Vec<i32> = shown.concat();
        let size = [shown.len(), shown[0].len()];
        let (values, shape) =
            pixels("a.png", &with_chunk(&png, b"eXIf", &exif(orientation)), "channels = 'gray'");
        let values: Vec<i32> = values.iter().map(|value| value / 40).collect();
        assert_eq!((values, shape), (expected.clone(), size), "PNG, orientation {orientation}");
        let (values, shape) = pixels("a.jpg", &with_exif(&jpeg, &exif(orientation)), "channels = 'gray'");
        assert_eq!(shape, size.map(|side| 16 * side), "JPEG, orientation {orientation}");
        let middles = (0..size[0]).flat_map(|y| (0..size[1]).map(move |x| (y, x)));
        let middles = middles.map(|(y, x)| (values[(16 * y + 8) * shape[1] + 16 * x + 8] + 10) / 40);
        assert_eq!(middles.collect::<Vec<_>>(), expected, "JPEG, orientation {orientation}");
    }
}

#[test]
fn transparent_pixels_are_laid_over_white() {
    let colors = [[200, 0, 100, 255], [200, 0, 100, 0], [200, 0, 100, 51]];
    // 255 - (255 - c) 51 / 255.
    let expected = vec![200, 255, 244, 0, 255, 204, 100, 255, 224];
    let rgba = RgbaImage::from_fn(3, 1, |x, _| Rgba(colors[x as usize]));
    assert_eq!(pixels("a.png", &png(rgba.clone().into()), "").0, expected);
    // 16 bits: 257 times as much.
    let wide = DynamicImage::from(rgba).into_rgba16();
    assert_eq!(pixels("a.png", &png(wide.into()), "").0, expected);
    let gray = GrayAlphaImage::from_fn(3, 1, |x, _| LumaA([200, [255, 0, 51][x as usize]]));
    assert_eq!(pixels("a.png", &png(gray.into()), "channels = 'gray'").0, [200, 255, 244]);
    // A palette of three colors with these alphas.
    let palette = colors.map(|[r, g, b, _]| [r, g, b]).concat();
    let header = [&b"\0\0\0\x03\0\0\0\x01"[..], &[8, 3, 0, 0, 0]].concat();
    let mut data = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut data, &[0, 0, 1, 2]).unwrap();
    let data = data.finish().unwrap();
    let chunks: [(&[u8; 4], &[u8]); 5] =
        [(b"IHDR", &header), (b"PLTE", &palette), (b"tRNS", &[255, 0, 51]), (b"IDAT", &data), (b"IEND", &[])];
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        let chunk = [&kind[..], data].concat();
        let mut crc = Crc::new();
        crc.update(&chunk);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(&chunk);
        file.extend(crc.sum().to_be_bytes());
    }
    assert_eq!(pixels("a.png", &file, "").0, expected);
}
