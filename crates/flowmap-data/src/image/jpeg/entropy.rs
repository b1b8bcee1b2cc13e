//! The data of a scan: bits, Huffman codes, and what the codes of one block are.

use std::rc::Rc;

use crate::error::JpegFault;

/// Codes of up to this many bits are looked up.
const LOOKAHEAD: u32 = 9;

/// Position in a scan.
pub(super) struct Progress {
    /// Whole blocks so far.
    pub block: u64,
    /// Blocks that the scan should have.
    pub of: u64,
    /// Blocks to come that end where they begin.
    pub end_of_band: u32,
}

impl Progress {
    fn missing(&self) -> JpegFault {
        JpegFault::MissingBlocks { block: self.block, of: self.of }
    }

    fn damaged(&self) -> JpegFault {
        JpegFault::Damaged { block: self.block, of: self.of }
    }
}

/// The bits up to a marker, or up to the end of the file.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The bits at hand, the next one at the top, zeros behind them.
    buffer: u64,
    n: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, n: 0 }
    }

    /// The next byte of the data with the place behind it, `None` at a marker and at the end.
    fn byte(&self) -> Option<(u8, usize)> {
        match (self.data.get(self.at)?, self.data.get(self.at + 1)) {
            (0xff, Some(0)) => Some((0xff, self.at + 2)),
            (0xff, _) => None,
            (byte, _) => Some((*byte, self.at + 1)),
        }
    }

    /// Takes bytes until 32 bits are at hand, which is enough for a code and its value, or none are left.
    fn fill(&mut self) {
        while self.n < 32 {
            let Some((byte, behind)) = self.byte() else { break };
            self.buffer |= u64::from(byte) << (56 - self.n);
            self.n += 8;
            self.at = behind;
        }
    }

    /// The next bits as a number, at most 16 of them.
    fn take(&mut self, n: u32, progress: &Progress) -> Result<u32, JpegFault> {
        if self.n < n {
            self.fill();
        }
        if self.n < n {
            return Err(progress.missing());
        }
        let value = if n == 0 { 0 } else { (self.buffer >> (64 - n)) as u32 };
        self.buffer <<= n;
        self.n -= n;
        Ok(value)
    }

    /// The next symbol.
    fn symbol(&mut self, table: &Huffman, progress: &Progress) -> Result<u8, JpegFault> {
        if self.n < 16 {
            self.fill();
        }
        match table.find((self.buffer >> 48) as u32) {
            Some((length, symbol)) if length <= self.n => {
                self.buffer <<= length;
                self.n -= length;
                Ok(symbol)
            }
            None if self.n >= 16 => Err(progress.damaged()),
            _ => Err(progress.missing()),
        }
    }

    /// Goes to the marker behind the last block; how far it is from the start.
    ///
    /// # Errors
    /// Data that are left over, except zeros, with which some writers fill up; the end of the file.
    pub fn end(&mut self, progress: &Progress) -> Result<usize, JpegFault> {
        let excess = JpegFault::Excess { of: progress.block };
        // The rest of the last byte has any value.
        let whole = self.buffer << (self.n % 8);
        if whole != 0 || progress.end_of_band != 0 {
            return Err(excess);
        }
        while let Some((byte, behind)) = self.byte() {
            if byte != 0 {
                return Err(excess);
            }
            self.at = behind;
        }
        if self.at + 1 >= self.data.len() {
            return Err(JpegFault::Ends { within: "the marker behind a scan" });
        }
        Ok(self.at)
    }

    /// Goes past the restart marker that has to come here.
    ///
    /// # Errors
    /// Another marker, or none.
    pub fn restart(&mut self, expected: u8, progress: &mut Progress) -> Result<(), JpegFault> {
        let at = self.end(progress).map_err(|fault| match fault {
            JpegFault::Ends { .. } => progress.missing(),
            other => other,
        })?;
        let fill = self.data[at..].iter().take_while(|byte| **byte == 0xff).count();
        let Some(found) = self.data.get(at + fill).copied() else { return Err(progress.missing()) };
        if found != expected {
            let (block, of) = (progress.block, progress.of);
            return Err(JpegFault::Restart { expected, found, block, of });
        }
        *self = Self { data: self.data, at: at + fill + 1, buffer: 0, n: 0 };
        Ok(())
    }
}

/// A table of codes, annex C.
pub(super) struct Huffman {
    /// Length and symbol by the first bits, length 0 for a longer code.
    short: Vec<(u8, u8)>,
    /// For each length the code behind its last, shifted to 16 bits, and what to add to a code for its symbol.
    long: [(u32, i64); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// Reads a table and gives what follows it.
    pub fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (counts, rest) = bytes.split_at_checked(16)?;
        let n: usize = counts.iter().map(|n| usize::from(*n)).sum();
        let (symbols, rest) = rest.split_at_checked(n).filter(|_| n <= 256)?;
        let mut table =
            Self { short: vec![(0, 0); 1 << LOOKAHEAD], long: [(0, 0); 17], symbols: symbols.to_vec() };
        let (mut code, mut index) = (0u32, 0usize);
        for (length, count) in (1..=16u32).zip(counts) {
            table.long[length as usize].1 = index as i64 - i64::from(code);
            for _ in 0..*count {
                if length <= LOOKAHEAD {
                    let from = (code << (LOOKAHEAD - length)) as usize;
                    let to = from + (1 << (LOOKAHEAD - length));
                    table.short.get_mut(from..to)?.fill((length as u8, symbols[index]));
                }
                (code, index) = (code + 1, index + 1);
            }
            if code > 1 << length {
                return None; // more codes than there are
            }
            table.long[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Some((table, rest))
    }

    /// Length and symbol of the code that these 16 bits start with.
    fn find(&self, bits: u32) -> Option<(u32, u8)> {
        let (length, symbol) = self.short[(bits >> (16 - LOOKAHEAD)) as usize];
        if length > 0 {
            return Some((length.into(), symbol));
        }
        let length = (LOOKAHEAD + 1..=16).find(|length| bits < self.long[*length as usize].0)?;
        let index = i64::from(bits >> (16 - length)) + self.long[length as usize].1;
        Some((length, *self.symbols.get(usize::try_from(index).ok()?)?))
    }
}

/// Which coefficients a scan has, and which of their bits: those above `low`, where those above `high` came before.
#[derive(Clone, Copy)]
pub(super) struct Band {
    pub first: u8,
    pub last: u8,
    pub high: u8,
    pub low: u8,
}

/// How the blocks of a component are coded in a scan.
pub(super) enum Code {
    /// All coefficients, F.2.2.
    Sequential { dc: Rc<Huffman>, ac: Rc<Huffman> },
    /// The first bits of the DC coefficient, G.1.2.1.
    DcFirst { dc: Rc<Huffman> },
    /// One bit more of it.
    DcNext,
    /// The first bits of some AC coefficients, G.1.2.2.
    AcFirst { ac: Rc<Huffman>, band: Band },
    /// One bit more of them, G.1.2.3.
    AcNext { ac: Rc<Huffman>, band: Band },
}

impl Code {
    /// The code of a scan; `None` if it lacks a table.
    pub fn new(
        is_progressive: bool,
        band: Band,
        dc: Option<Rc<Huffman>>,
        ac: Option<Rc<Huffman>>,
    ) -> Option<Self> {
        Some(match (is_progressive, band.first, band.high) {
            (false, ..) => Self::Sequential { dc: dc?, ac: ac? },
            (true, 0, 0) => Self::DcFirst { dc: dc? },
            (true, 0, _) => Self::DcNext,
            (true, _, 0) => Self::AcFirst { ac: ac?, band },
            (true, ..) => Self::AcNext { ac: ac?, band },
        })
    }

    /// Reads a block; `nonzero` says which of its coefficients are not zero so far.
    pub fn block(
        &self,
        bits: &mut Bits<'_>,
        nonzero: &mut u64,
        progress: &mut Progress,
    ) -> Result<(), JpegFault> {
        match self {
            Self::Sequential { dc, ac } => {
                dc_first(bits, dc, progress)?;
                let band = Band { first: 1, last: 63, high: 0, low: 0 };
                ac_first(bits, ac, band, nonzero, progress)?;
                // Runs of blocks are those of progressive pictures.
                if progress.end_of_band > 0 { Err(progress.damaged()) } else { Ok(()) }
            }
            Self::DcFirst { dc } => dc_first(bits, dc, progress),
            Self::DcNext => bits.take(1, progress).map(drop),
            Self::AcFirst { ac, band } => ac_first(bits, ac, *band, nonzero, progress),
            Self::AcNext { ac, band } => ac_next(bits, ac, *band, nonzero, progress),
        }
    }
}

fn dc_first(bits: &mut Bits<'_>, dc: &Huffman, progress: &Progress) -> Result<(), JpegFault> {
    let size = bits.symbol(dc, progress)?;
    if size > 15 {
        return Err(progress.damaged());
    }
    bits.take(size.into(), progress).map(drop)
}

fn ac_first(
    bits: &mut Bits<'_>,
    ac: &Huffman,
    band: Band,
    nonzero: &mut u64,
    progress: &mut Progress,
) -> Result<(), JpegFault> {
    if progress.end_of_band > 0 {
        progress.end_of_band -= 1;
        return Ok(());
    }
    let mut k = band.first;
    while k <= band.last {
        let symbol = bits.symbol(ac, progress)?;
        let (run, size) = (symbol >> 4, symbol & 15);
        match (run, size) {
            (15, 0) => k += 16,
            (_, 0) => {
                progress.end_of_band = (1 << run) - 1 + bits.take(run.into(), progress)?;
                return Ok(());
            }
            _ => {
                k += run;
                bits.take(size.into(), progress)?;
                if k > band.last {
                    return Err(progress.damaged());
                }
                *nonzero |= 1 << k;
                k += 1;
            }
        }
    }
    if k > band.last + 1 { Err(progress.damaged()) } else { Ok(()) }
}

fn ac_next(
    bits: &mut Bits<'_>,
    ac: &Huffman,
    band: Band,
    nonzero: &mut u64,
    progress: &mut Progress,
) -> Result<(), JpegFault> {
    let mut k = band.first;
    if progress.end_of_band == 0 {
        while k <= band.last {
            let symbol = bits.symbol(ac, progress)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (15, 0) => {}
                (_, 0) => {
                    progress.end_of_band = (1 << run) + bits.take(run.into(), progress)?;
                    break;
                }
                // The sign of a coefficient that becomes one.
                (_, 1) => drop(bits.take(1, progress)?),
                _ => return Err(progress.damaged()),
            }
            // Coefficients that are not zero have a bit each, whatever the run.
            while k <= band.last {
                if *nonzero >> k & 1 == 1 {
                    bits.take(1, progress)?;
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
            if size == 1 {
                if k > band.last {
                    return Err(progress.damaged());
                }
                *nonzero |= 1 << k;
            }
            k += 1;
        }
    }
    if progress.end_of_band > 0 {
        for k in k..=band.last {
            if *nonzero >> k & 1 == 1 {
                bits.take(1, progress)?;
            }
        }
        progress.end_of_band -= 1;
    }
    Ok(())
}
