//! Whether the picture of a JPEG file is whole.
//!
//! ITU-T T.81 (ISO/IEC 10918-1): markers of annex B, Huffman codes of annexes F (sequential) and G (progressive).
//! A decoder that meets the end of a file, or a marker, too early fills up what is missing with gray.
//! Here the codes of every block are read and counted, without computing a pixel, so that the file is known to hold
//! each coefficient of each block to its last bit, and no more data than those.
//! What follows the end of the image, and what application segments hold, is not looked at.

mod entropy;

use std::rc::Rc;

use entropy::{Band, Bits, Code, Huffman, Progress};

use crate::error::JpegFault;

/// Second bytes of markers.
const SOF_BASELINE: u8 = 0xc0;
const SOF_EXTENDED: u8 = 0xc1;
const SOF_PROGRESSIVE: u8 = 0xc2;
const DHT: u8 = 0xc4;
const RST0: u8 = 0xd0;
const RST7: u8 = 0xd7;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DRI: u8 = 0xdd;
const TEM: u8 = 0x01;

/// Coefficients of a block.
const N_COEFFICIENTS: usize = 64;

/// Checks that the picture of a JPEG file is whole.
///
/// # Errors
/// A missing or damaged part, or a process that is not decoded.
pub(crate) fn check(file: &[u8]) -> Result<(), JpegFault> {
    let mut picture = Picture::default();
    let mut at = 2; // past the marker of the start
    loop {
        // Fill bytes, and what some writers leave between segments.
        let within = "the markers before the end of the image";
        let marker = loop {
            let rest = file.get(at..).unwrap_or_default();
            let start = rest.iter().position(|byte| *byte == 0xff).ok_or(JpegFault::Ends { within })?;
            at += start + 1;
            match *file.get(at).ok_or(JpegFault::Ends { within })? {
                0 | 0xff => {}
                marker => break marker,
            }
        };
        at += 1;
        match marker {
            EOI => return picture.is_complete(),
            SOI | TEM | RST0..=RST7 => continue,
            _ => {}
        }
        let segment = segment(file, at).ok_or(JpegFault::Ends { within: "a segment of the header" })?;
        at += 2 + segment.len();
        match marker {
            SOF_BASELINE | SOF_EXTENDED | SOF_PROGRESSIVE => {
                picture.frame = Some(picture.frame(segment, marker, file.len())?);
            }
            DHT => picture.tables(segment)?,
            0xc0..=0xcf => return Err(JpegFault::Process { marker }),
            DRI => {
                let [high, low] = segment[..] else { return Err(JpegFault::Segment { segment: "DRI" }) };
                picture.restart = u64::from(u16::from_be_bytes([high, low]));
            }
            SOS => at += picture.scan(segment, &file[at..])?,
            _ => {}
        }
    }
}

/// The content of the segment whose length is at `at`.
fn segment(file: &[u8], at: usize) -> Option<&[u8]> {
    let length = file.get(at..at + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    file.get(at + 2..at + length.max(2))
}

/// Contents of the headers, and the data so far.
#[derive(Default)]
struct Picture {
    frame: Option<Frame>,
    dc: [Option<Rc<Huffman>>; 4],
    ac: [Option<Rc<Huffman>>; 4],
    restart: u64,
}

struct Frame {
    is_progressive: bool,
    /// Columns and rows of minimum coded units where components are interleaved.
    units: [usize; 2],
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Blocks of a unit, across and down.
    sampling: [usize; 2],
    /// Blocks that hold pixels, across and down, which are those of a scan of this component alone.
    blocks: [usize; 2],
    /// Blocks from one row to the next, those that fill up a unit included.
    stride: usize,
    /// The lowest bit of each coefficient that came, `None` before the first.
    lowest: [Option<u8>; N_COEFFICIENTS],
    /// Which coefficients of each block are not zero so far, in a progressive picture.
    nonzero: Vec<u64>,
}

impl Picture {
    fn frame(&self, segment: &[u8], marker: u8, length: usize) -> Result<Frame, JpegFault> {
        let damaged = || JpegFault::Segment { segment: "SOF" };
        let [_, y1, y0, x1, x0, n, components @ ..] = segment else { return Err(damaged()) };
        let size = [u16::from_be_bytes([*x1, *x0]), u16::from_be_bytes([*y1, *y0])].map(usize::from);
        let is_new = self.frame.is_none();
        let is_whole = components.len() == 3 * usize::from(*n) && (1..=4).contains(n);
        if !is_new || !is_whole || size.contains(&0) {
            return Err(damaged());
        }
        let sampling: Vec<[usize; 2]> =
            components.chunks_exact(3).map(|c| [usize::from(c[1] >> 4), usize::from(c[1] & 15)]).collect();
        if sampling.iter().flatten().any(|factor| !(1..=4).contains(factor)) {
            return Err(damaged());
        }
        let max = [0, 1].map(|axis| sampling.iter().map(|s| s[axis]).max().unwrap_or(1));
        let units = [0, 1].map(|axis| size[axis].div_ceil(8 * max[axis]));
        let n_blocks: usize = sampling.iter().map(|s| s[0] * s[1] * units[0] * units[1]).sum();
        // A block takes a bit or more; without it there is no need to make room.
        if n_blocks > 8 * length {
            return Err(JpegFault::MissingBlocks { block: 0, of: n_blocks as u64 });
        }
        let is_progressive = marker == SOF_PROGRESSIVE;
        let component = |(bytes, sampling): (&[u8], &[usize; 2])| {
            let stride = units[0] * sampling[0];
            let n_blocks = if is_progressive { stride * units[1] * sampling[1] } else { 0 };
            Component {
                id: bytes[0],
                sampling: *sampling,
                blocks: [0, 1].map(|axis| (size[axis] * sampling[axis]).div_ceil(max[axis]).div_ceil(8)),
                stride,
                lowest: [None; N_COEFFICIENTS],
                nonzero: vec![0; n_blocks],
            }
        };
        let components = components.chunks_exact(3).zip(&sampling).map(component).collect();
        Ok(Frame { is_progressive, units, components })
    }

    fn tables(&mut self, mut segment: &[u8]) -> Result<(), JpegFault> {
        let damaged = || JpegFault::Segment { segment: "DHT" };
        while let Some((place, rest)) = segment.split_first() {
            let (table, rest) = Huffman::parse(rest).ok_or_else(damaged)?;
            let tables = if place >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(place & 15)).ok_or_else(damaged)? = Some(Rc::new(table));
            segment = rest;
        }
        Ok(())
    }

    /// Reads the scan of a header from the data that follow it; how many bytes there are up to the next marker.
    fn scan(&mut self, segment: &[u8], data: &[u8]) -> Result<usize, JpegFault> {
        let damaged = || JpegFault::Segment { segment: "SOS" };
        let frame = self.frame.as_mut().ok_or_else(damaged)?;
        let (n, rest) = segment.split_first().ok_or_else(damaged)?;
        let selected = rest.get(..2 * usize::from(*n)).filter(|s| !s.is_empty()).ok_or_else(damaged)?;
        let [first, last, bits] = rest[selected.len()..] else { return Err(damaged()) };
        let mut band = Band { first, last, high: bits >> 4, low: bits & 15 };
        if !frame.is_progressive {
            band = Band { first: 0, last: 63, high: 0, low: 0 };
        }
        let is_single = selected.len() == 2;
        if band.last > 63 || band.first > band.last || band.low > 13 || (band.first > 0 && !is_single) {
            return Err(damaged());
        }
        // The DC coefficient has scans of its own.
        if frame.is_progressive && band.first == 0 && band.last > 0 {
            return Err(damaged());
        }
        let mut parts = Vec::new();
        for selected in selected.chunks_exact(2) {
            let index = frame.components.iter().position(|component| component.id == selected[0]);
            let index = index.ok_or_else(damaged)?;
            let table =
                |tables: &[Option<Rc<Huffman>>; 4], number: u8| tables.get(usize::from(number))?.clone();
            let (dc, ac) = (table(&self.dc, selected[1] >> 4), table(&self.ac, selected[1] & 15));
            let code = Code::new(frame.is_progressive, band, dc, ac).ok_or(JpegFault::MissingTable)?;
            let lowest = &mut frame.components[index].lowest;
            lowest[usize::from(band.first)..=usize::from(band.last)].fill(Some(band.low));
            parts.push((index, code));
        }
        let units = if is_single { frame.components[parts[0].0].blocks } else { frame.units };
        let n_units = units[0] as u64 * units[1] as u64;
        let per_unit = |index: usize| {
            if is_single { [1, 1] } else { frame.components[index].sampling }
        };
        let in_unit: u64 =
            parts.iter().map(|(index, _)| per_unit(*index).iter().product::<usize>() as u64).sum();
        let parts: Vec<(usize, [usize; 2], Code)> =
            parts.into_iter().map(|(index, code)| (index, per_unit(index), code)).collect();
        let mut bits = Bits::new(data);
        let mut progress = Progress { block: 0, of: n_units * in_unit, end_of_band: 0 };
        for unit in 0..n_units {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                let expected = RST0 + ((unit / self.restart - 1) % 8) as u8;
                bits.restart(expected, &mut progress)?;
            }
            let [x, y] = [unit as usize % units[0], unit as usize / units[0]];
            for (index, [across, down], code) in &parts {
                let component = &mut frame.components[*index];
                for (i, j) in (0..*down).flat_map(|j| (0..*across).map(move |i| (i, j))) {
                    let block = (y * down + j) * component.stride + x * across + i;
                    let mut unused = 0;
                    let nonzero = component.nonzero.get_mut(block).unwrap_or(&mut unused);
                    code.block(&mut bits, nonzero, &mut progress)?;
                    progress.block += 1;
                }
            }
        }
        bits.end(&progress)
    }

    fn is_complete(&self) -> Result<(), JpegFault> {
        let missing = JpegFault::Segment { segment: "frame" };
        let components = &self.frame.as_ref().ok_or(missing)?.components;
        let is_whole = |component: &Component| component.lowest.iter().all(|low| *low == Some(0));
        match components.iter().position(|component| !is_whole(component)) {
            Some(component) => Err(JpegFault::MissingScan { component }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The shipped images: sequential and progressive, gray and in color, with restarts, with scans of one component.
    fn files() -> Vec<(String, Vec<u8>)> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images");
        let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let jpegs = paths.filter(|path| path.extension().unwrap() == "jpg");
        jpegs.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
    }

    #[test]
    fn every_cut_is_found_with_and_without_an_end() {
        assert_eq!(files().len(), 10);
        for (name, file) in files() {
            assert_eq!(check(&file), Ok(()), "{name}");
            for length in 2..file.len() {
                assert!(check(&file[..length]).is_err(), "{name} cut at {length}");
                // Without the marker of its end and with another one, the file is whole.
                if length < file.len() - 2 {
                    let closed = [&file[..length], &[0xff, EOI]].concat();
                    assert!(check(&closed).is_err(), "{name} cut at {length} and closed");
                }
            }
        }
    }

    #[test]
    fn pieces_that_are_missing_double_or_damaged_are_found() {
        for (name, file) in files() {
            let last = file.windows(2).rposition(|two| two == [0xff, SOS]).unwrap();
            let scan = last + 10..file.len() - 2;
            let (start, third) = (scan.start + scan.len() / 3, scan.len() / 3);
            let removed = [&file[..start], &file[start + third..]].concat();
            assert!(check(&removed).is_err(), "{name}: a third is missing");
            let doubled = [&file[..start + third], &file[start..]].concat();
            assert!(check(&doubled).is_err(), "{name}: a third comes twice");
            let mut same = file.clone();
            same[start..start + third].fill(0xfe);
            assert!(check(&same).is_err(), "{name}: a third is 0xfe");
        }
    }

    #[test]
    fn sizes_that_no_file_of_this_length_has_make_no_room() {
        for (name, mut file) in files() {
            let frame = file
                .windows(2)
                .rposition(|two| two[0] == 0xff && (SOF_BASELINE..=SOF_PROGRESSIVE).contains(&two[1]));
            let height = frame.unwrap() + 5;
            file[height..height + 4].fill(0xff);
            assert!(matches!(check(&file), Err(JpegFault::MissingBlocks { block: 0, .. })), "{name}");
        }
    }
}
