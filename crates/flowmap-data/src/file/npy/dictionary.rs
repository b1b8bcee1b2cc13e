//! The header of an NPY file: a dictionary in the notation of Python.

use super::Dtype;
use crate::error::FormatFault;

/// How much of a bad header a message shows.
const N_SHOWN: usize = 80;

/// The rest of a header that is still to be read.
pub(super) struct Dictionary<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Dictionary<'a> {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`, keys in any order.
    pub(super) fn read(&mut self) -> Result<(Dtype, bool, Vec<u64>), FormatFault> {
        let (mut dtype, mut is_fortran_order, mut shape) = (None, None, None);
        self.expect('{', "{")?;
        while !self.take('}') {
            let start = self.rest;
            let key = self.string("a key in quotes")?;
            let comes_again = match key {
                "descr" => dtype.is_some(),
                "fortran_order" => is_fortran_order.is_some(),
                _ => key == "shape" && shape.is_some(),
            };
            if comes_again {
                self.rest = start;
                return Err(self.fault("each key once"));
            }
            match key {
                "descr" => {
                    self.expect(':', "`:`")?;
                    dtype = Some(self.dtype()?);
                }
                "fortran_order" => {
                    self.expect(':', "`:`")?;
                    is_fortran_order = Some(self.truth()?);
                }
                "shape" => {
                    self.expect(':', "`:`")?;
                    shape = Some(self.shape()?);
                }
                _ => {
                    self.rest = start;
                    return Err(self.fault("one of the keys descr, fortran_order and shape"));
                }
            }
            if !self.take(',') {
                self.expect('}', "`,` or `}`")?;
                break;
            }
        }
        match (dtype, is_fortran_order, shape) {
            (Some(dtype), Some(is_fortran_order), Some(shape)) => Ok((dtype, is_fortran_order, shape)),
            _ => Err(self.fault("the keys descr, fortran_order and shape")),
        }
    }

    fn dtype(&mut self) -> Result<Dtype, FormatFault> {
        self.trim();
        if !self.rest.starts_with(['\'', '"']) {
            // The list of a structured type: kept for the message, read by no one.
            let end = self.rest.find("'fortran_order'").unwrap_or(self.rest.len());
            let descr = self.rest[..end].trim_end_matches([' ', ',']).chars().take(N_SHOWN).collect();
            let tail = self.rest[..end].trim_end_matches([' ', ',']).len();
            self.rest = &self.rest[tail..];
            return Ok(Dtype { descr, kind: 'V', size: 0, is_big_endian: false });
        }
        let descr = self.string("a type in quotes")?;
        let (order, rest) = match descr.chars().next() {
            Some(order @ ('<' | '>' | '|' | '=')) => (order, &descr[1..]),
            _ => ('=', descr),
        };
        let kind = rest.chars().next().unwrap_or('?');
        let size = rest.get(kind.len_utf8()..).and_then(|size| size.parse().ok()).unwrap_or(0);
        let is_big_endian = order == '>' || (order == '=' && cfg!(target_endian = "big"));
        Ok(Dtype { descr: descr.chars().take(N_SHOWN).collect(), kind, size, is_big_endian })
    }

    fn truth(&mut self) -> Result<bool, FormatFault> {
        self.trim();
        for (word, truth) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(truth);
            }
        }
        Err(self.fault("True or False"))
    }

    fn shape(&mut self) -> Result<Vec<u64>, FormatFault> {
        let mut shape = Vec::new();
        self.expect('(', "`(`")?;
        while !self.take(')') {
            self.trim();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let extent = self.rest[..end].parse().map_err(|_| self.fault("a length below 2^64"))?;
            shape.push(extent);
            self.rest = self.rest[end..].strip_prefix('L').unwrap_or(&self.rest[end..]); // Python 2
            if !self.take(',') {
                self.expect(')', "`,` or `)`")?;
                break;
            }
        }
        Ok(shape)
    }

    fn string(&mut self, expected: &'static str) -> Result<&'a str, FormatFault> {
        self.trim();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let quote = quote.ok_or_else(|| self.fault(expected))?;
        let (inside, rest) = self.rest[1..].split_once(quote).ok_or_else(|| self.fault(expected))?;
        self.rest = rest;
        Ok(inside)
    }

    fn take(&mut self, c: char) -> bool {
        self.trim();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, c: char, expected: &'static str) -> Result<(), FormatFault> {
        if self.take(c) { Ok(()) } else { Err(self.fault(expected)) }
    }

    fn trim(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn fault(&self, expected: &'static str) -> FormatFault {
        FormatFault::NpyHeader { expected, found: self.rest.chars().take(N_SHOWN).collect() }
    }
}
