//! Arrays of token ids: `.npy` and flat little-endian `.bin`. A range is read without the rest of the file.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use npyz::{DType, Endianness, NpyFile, Order, TypeChar, WriterBuilder};

use crate::error::{Error, Result, Rule};
use crate::files;

/// Ids that are read at once where a file is read from end to end.
const BLOCK: u64 = 1 << 18;

/// A file of token ids; its header is read, its tokens are not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    path: PathBuf,
    start: u64,
    width: usize,
    signed: bool,
    big: bool,
    shape: Vec<u64>,
}

impl Tokens {
    /// A NumPy array of u16, u32, i32 or i64 in either byte order, of rank 1, or of rank 2 in C order.
    ///
    /// Errors: [`Error::Missing`]; [`Error::Invalid`] for another type or rank, or a file of another length than its
    /// header says.
    pub fn npy(path: &Path) -> Result<Self> {
        let mut reader = BufReader::new(files::open(path, "a .npy file of tokens")?);
        let header = NpyFile::new(&mut reader)
            .map_err(|e| Error::invalid(Rule::Format, path, "header", "a NumPy array", e.to_string()))?
            .header()
            .clone();
        let start = reader.stream_position().map_err(Error::io(path, "read"))?;
        let dtype = header.dtype();
        let plain = match &dtype {
            DType::Plain(kind) => Some((kind.type_char(), kind.size_field(), kind.endianness())),
            _ => None,
        };
        let (signed, width, order) = match plain {
            Some((TypeChar::Uint, width @ (2 | 4), order)) => (false, width, order),
            Some((TypeChar::Int, width @ (4 | 8), order)) => (true, width, order),
            _ => return Err(Error::invalid(Rule::Dtype, path, "dtype", "u16, u32, i32 or i64", dtype.descr())),
        };
        let shape = header.shape().to_vec();
        if !matches!(shape.len(), 1 | 2) || (shape.len() == 2 && header.order() != Order::C) {
            let found = format!("{shape:?} in {:?} order", header.order());
            return Err(Error::invalid(Rule::Rank, path, "shape", "rank 1, or rank 2 in C order", found));
        }
        let tokens =
            Tokens { path: path.into(), start, width: width as usize, signed, big: order == Endianness::Big, shape };
        let bytes = tokens.shape.iter().try_fold(width, |n, &axis| n.checked_mul(axis));
        let found = length_of(path, reader.get_ref())?.checked_sub(start);
        if bytes.is_none() || bytes != found {
            let expected = format!("{width} bytes for each of {:?}", tokens.shape);
            let found = found.map_or_else(|| "none".into(), |bytes| format!("{bytes} bytes"));
            return Err(Error::invalid(Rule::Size, path, "file", expected, found));
        }
        Ok(tokens)
    }

    /// Flat little-endian ids of 2 or 4 bytes.
    ///
    /// Errors: [`Error::Missing`]; [`Error::Invalid`] for another width, or a file that ends within an id.
    pub fn bin(path: &Path, width: usize) -> Result<Self> {
        let length = length_of(path, &files::open(path, "a .bin file of tokens")?)?;
        if !matches!(width, 2 | 4) {
            return Err(Error::invalid(Rule::Dtype, path, "width", "2 or 4 bytes", width.to_string()));
        }
        if !length.is_multiple_of(width as u64) {
            let expected = format!("a multiple of {width} bytes");
            return Err(Error::invalid(Rule::Size, path, "file", expected, length.to_string()));
        }
        let shape = vec![length / width as u64];
        Ok(Tokens { path: path.into(), start: 0, width, signed: false, big: false, shape })
    }

    /// The lengths of the axes; rank 2 is rows of equal length.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// All ids.
    pub fn len(&self) -> u64 {
        self.shape.iter().product() // checked when the file was opened
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids `from..to` of the flat array.
    ///
    /// Errors: [`Error::Invalid`] for a range beyond the end, and for an id that is negative or beyond u32.
    pub fn range(&self, from: u64, to: u64) -> Result<Vec<u32>> {
        if from > to || to > self.len() {
            let expected = format!("within 0..{}", self.len());
            return Err(Error::invalid(Rule::Size, &self.path, "range", expected, format!("{from}..{to}")));
        }
        let mut bytes = vec![0; (to - from) as usize * self.width];
        let mut file = files::open(&self.path, "a file of tokens")?;
        let at = self.start + from * self.width as u64;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(Error::io(&self.path, "read"))?;
        let ids = bytes.chunks_exact_mut(self.width).zip(from..).map(|(bytes, place)| {
            if self.big {
                bytes.reverse();
            }
            let fill = if self.signed && bytes[self.width - 1] >> 7 == 1 { 0xff } else { 0 };
            let mut wide = [fill; 8];
            wide[..self.width].copy_from_slice(bytes);
            let id = i64::from_le_bytes(wide);
            u32::try_from(id).map_err(|_| {
                let field = format!("token {place}");
                Error::invalid(Rule::Format, &self.path, field, "an id from 0 to 2^32 - 1", id.to_string())
            })
        });
        ids.collect()
    }
}

impl Tokens {
    /// The documents of the file in order, as [`documents`] cuts them; only the one at hand is in memory. After an
    /// error nothing more comes.
    pub fn documents(self, end: u32) -> impl Iterator<Item = Result<Vec<u32>>> {
        self.documents_by(BLOCK, end)
    }

    fn documents_by(self, block: u64, end: u32) -> impl Iterator<Item = Result<Vec<u32>>> {
        let mut place = 0; // of the first id that is not read yet
        let mut read = Vec::new().into_iter();
        std::iter::from_fn(move || {
            let mut document = Vec::new();
            loop {
                for id in read.by_ref() {
                    document.push(id);
                    if id == end {
                        return Some(Ok(document));
                    }
                }
                if place == self.len() {
                    return Some(document).filter(|document| !document.is_empty()).map(Ok);
                }
                let from = place;
                place = self.len().min(from.saturating_add(block));
                match self.range(from, place) {
                    Ok(ids) => read = ids.into_iter(),
                    Err(error) => {
                        place = self.len();
                        return Some(Err(error));
                    }
                }
            }
        })
    }
}

/// The documents of a run of ids, each with the `end` of text that closes it; what follows the last `end` is one more.
pub fn documents(ids: &[u32], end: u32) -> impl Iterator<Item = &[u32]> {
    ids.split_inclusive(move |&id| id == end)
}

/// Writes a one-dimensional `.npy` of u32, whole or not at all.
pub fn write_npy(path: &Path, ids: &[u32]) -> Result<()> {
    files::write_atomic(path, |w| {
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&[ids.len() as u64]).writer(w).begin_nd()?;
        writer.extend(ids)?;
        writer.finish()
    })
}

/// Writes a `.bin` of ids of `width` bytes, whole or not at all.
///
/// Errors: [`Error::Invalid`] for a width other than 2 and 4, or an id that it does not hold.
pub fn write_bin(path: &Path, ids: &[u32], width: usize) -> Result<()> {
    if !matches!(width, 2 | 4) {
        return Err(Error::invalid(Rule::Dtype, path, "width", "2 or 4 bytes", width.to_string()));
    }
    if let Some(k) = ids.iter().position(|&id| width == 2 && id > u32::from(u16::MAX)) {
        return Err(Error::invalid(Rule::Format, path, format!("token {k}"), "an id below 2^16", ids[k].to_string()));
    }
    files::write_atomic(path, |w| ids.iter().try_for_each(|id| w.write_all(&id.to_le_bytes()[..width])))
}

fn length_of(path: &Path, file: &File) -> Result<u64> {
    Ok(file.metadata().map_err(Error::io(path, "read"))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn what_is_written_is_read_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let ids = [1, 2, 65_535, 0, 7];
        write_npy(&path, &ids).unwrap();
        assert_eq!(Tokens::npy(&path).unwrap().range(1, 4).unwrap(), ids[1..4]);
        for width in [2, 4] {
            write_bin(&path, &ids, width).unwrap();
            let tokens = Tokens::bin(&path, width).unwrap();
            assert_eq!((tokens.len(), tokens.range(2, 5).unwrap()), (5, ids[2..].to_vec()));
            assert!(tokens.range(2, 6).is_err());
        }
        assert!(Tokens::bin(&path, 3).is_err());
        assert!(write_bin(&path, &[65_536], 2).is_err());
        assert_eq!(documents(&ids, 0).collect::<Vec<_>>(), [&ids[..4], &ids[4..]]);
        write_bin(&path, &ids, 4).unwrap();
        for block in 1..7 {
            let tokens = Tokens::bin(&path, 4).unwrap();
            let read: Vec<_> = tokens.clone().documents_by(block, 0).map(Result::unwrap).collect();
            assert_eq!(read, [&ids[..4], &ids[4..]], "blocks of {block}");
        }
    }

    #[test]
    fn types_byte_orders_and_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let read = |bytes: Vec<u8>| {
            std::fs::write(&path, bytes).unwrap();
            Tokens::npy(&path).and_then(|t| t.range(0, t.len())).map_err(|e| e.to_string())
        };
        assert_eq!(read(array("<u2", "(2,)", &[1, 2, 3, 4])).unwrap(), [513, 1027]);
        assert_eq!(read(array(">i4", "(1, 1)", &[0, 0, 1, 2])).unwrap(), [258]);
        assert!(
            read(array("<i8", "(1,)", &[255; 8]))
                .unwrap_err()
                .contains("token 0: expected an id from 0 to 2^32 - 1, found -1")
        );
        let negative: Vec<_> = Tokens::npy(&path).unwrap().documents(0).collect();
        assert!(matches!(negative[..], [Err(_)])); // nothing after an error
        assert!(read(array("<i8", "(1,)", &[0, 0, 0, 0, 1, 0, 0, 0])).unwrap_err().contains("found 4294967296"));
        assert!(read(array("<f4", "(1,)", &[0; 4])).unwrap_err().contains("u16, u32, i32 or i64"));
        assert!(read(array("<u4", "(2,)", &[0; 7])).unwrap_err().contains("4 bytes for each of [2]"));
        assert!(read(array("<u4", "(1, 1, 1)", &[0; 4])).unwrap_err().contains("rank 1"));
        assert!(read(b"no".to_vec()).unwrap_err().contains("expected a NumPy array"));
    }
}
