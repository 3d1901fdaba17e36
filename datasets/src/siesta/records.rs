//! Fortran's unformatted sequential files: records between two equal lengths of 4 bytes, little-endian.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Rule};
use crate::files;

/// A file of records, in memory.
pub(super) struct Records {
    bytes: Vec<u8>,
    position: usize,
    path: PathBuf,
}

impl Records {
    /// Reads a file of at most `max_bytes`.
    pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Self> {
        use std::io::Read;
        let file = files::open(path, "a .HSX file")?;
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
        if bytes.len() as u64 > max_bytes {
            return Err(Error::invalid(Rule::Size, path, "file", format!("at most {max_bytes} bytes"), "more"));
        }
        Ok(Records { bytes, position: 0, path: path.to_path_buf() })
    }

    /// The length of the next record, without reading it; `None` at the end of the file.
    pub(super) fn peek(&self) -> Option<usize> {
        usize::try_from(self.length(self.position)?).ok()
    }

    fn length(&self, position: usize) -> Option<i32> {
        let bytes = self.bytes.get(position..position.checked_add(4)?)?;
        Some(i32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The next record, which must be `size` bytes long; `field` is what it holds.
    pub(super) fn next(&mut self, field: &str, size: usize) -> Result<Record<'_>> {
        let Some(length) = self.length(self.position) else {
            return Err(self.invalid(Rule::Size, field, "a record", "the end of the file: truncated"));
        };
        if usize::try_from(length) != Ok(size) {
            let expected = format!("a record of {size} bytes (little-endian)");
            return Err(self.invalid(Rule::Size, field, &expected, &format!("{length}")));
        }
        let start = self.position + 4;
        if start.checked_add(size).and_then(|end| self.length(end)) != Some(length) {
            let expected = format!("a record of {size} bytes and its length after it");
            return Err(self.invalid(
                Rule::Size,
                field,
                &expected,
                "another length, or the end of the file: truncated",
            ));
        }
        self.position = start + size + 4;
        Ok(Record { bytes: &self.bytes[start..start + size] })
    }

    /// A record of 4-byte integers.
    pub(super) fn integers(&mut self, field: &str, count: usize) -> Result<Vec<i64>> {
        Ok(self.next(field, count.saturating_mul(4))?.integers(count))
    }

    /// A record of numbers, of 8 bytes each when `double`, else 4; all must be finite.
    pub(super) fn numbers(&mut self, field: &str, count: usize, double: bool) -> Result<Vec<f64>> {
        let mut record = self.next(field, count.saturating_mul(if double { 8 } else { 4 }))?;
        let numbers = if double { record.doubles(count) } else { record.singles(count) };
        match numbers.iter().position(|x| !x.is_finite()) {
            None => Ok(numbers),
            Some(k) => {
                let found = format!("{} at place {}", numbers[k], k + 1);
                Err(self.invalid(Rule::NotFinite, field, "finite numbers", &found))
            }
        }
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<()> {
        match self.bytes.len() - self.position {
            0 => Ok(()),
            rest => Err(self.invalid(Rule::Size, "file", "its end after the overlap", &format!("{rest} bytes more"))),
        }
    }

    pub(super) fn invalid(&self, rule: Rule, field: &str, expected: &str, found: &str) -> Error {
        Error::invalid(rule, &self.path, field, expected, found)
    }
}

/// The bytes of one record, taken from the front; the caller has stated their number.
pub(super) struct Record<'a> {
    bytes: &'a [u8],
}

impl Record<'_> {
    fn take<const N: usize>(&mut self, count: usize) -> &[[u8; N]] {
        let (own, rest) = self.bytes.split_at(count * N);
        self.bytes = rest;
        own.as_chunks::<N>().0
    }

    pub(super) fn integers(&mut self, count: usize) -> Vec<i64> {
        self.take::<4>(count).iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()
    }

    pub(super) fn doubles(&mut self, count: usize) -> Vec<f64> {
        self.take::<8>(count).iter().map(|b| f64::from_le_bytes(*b)).collect()
    }

    fn singles(&mut self, count: usize) -> Vec<f64> {
        self.take::<4>(count).iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
    }

    /// Text padded with blanks; a byte that is no ASCII letter, digit or sign becomes "?".
    pub(super) fn text(&mut self, count: usize) -> String {
        let printable = |b: &[u8; 1]| if b[0].is_ascii_graphic() || b[0] == b' ' { char::from(b[0]) } else { '?' };
        let text: String = self.take::<1>(count).iter().map(printable).collect();
        text.trim().to_string()
    }
}
