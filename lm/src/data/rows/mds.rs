//! Packed rows in MDS folders, in the columns of ProLong: `input_ids`, `indices` `[n, 2]`, `length`, `domain`, `mask`. Those of
//! Sheared LLaMA, `tokens` (bytes, two an id, little-endian) and `set`, are read too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tesseral_datasets::mds::value::{Array, Value};
use tesseral_datasets::mds::{Reader, Sample, writer};

use super::{Row, RowSource};
use crate::{Error, Result};

/// Rows of an MDS folder; `input_ids` (or `tokens`) alone must be there.
#[derive(Debug)]
pub struct MdsRows {
    folder: PathBuf,
    reader: Reader,
}

impl MdsRows {
    /// Opens a folder. Errors: those of [`Reader::open`].
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(MdsRows { folder: folder.into(), reader: Reader::open(folder)? })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of its rows, uncompressed.
    pub fn bytes(&self) -> u64 {
        self.reader.index().shards.iter().map(|shard| shard.raw_data.bytes).sum()
    }

    /// Compares the files with the hashes of the index. Errors: those of [`Reader::verify`].
    pub fn verify(&self) -> Result<()> {
        Ok(self.reader.verify()?)
    }
}

impl RowSource for MdsRows {
    fn len(&self) -> usize {
        self.reader.len()
    }

    fn row(&self, i: usize) -> Result<Row> {
        let sample = self.reader.sample(i)?;
        let row = decode(&sample).map_err(|(column, what)| Error::config(column, what));
        let checked = row.and_then(|row| row.check().map(|()| row));
        checked.map_err(|e| Error::format(&self.folder, format!("row {i}: {e}")))
    }
}

fn decode(sample: &Sample) -> Result<Row, (&'static str, String)> {
    let ids = match sample.get("tokens") {
        Some(Value::Bytes(bytes)) if !sample.contains_key("input_ids") => pairs(bytes)?,
        _ => numbers::<u32>(sample, "input_ids")?.ok_or(("input_ids", "expected an array, found none".to_string()))?,
    };
    if let Some(Value::Int(length)) = sample.get("length").filter(|n| **n != Value::Int(ids.len() as i128)) {
        return Err(("length", format!("expected {} as input_ids, found {length}", ids.len())));
    }
    let bounds = numbers::<u32>(sample, "indices")?.unwrap_or_default();
    if !bounds.len().is_multiple_of(2) {
        return Err(("indices", format!("expected pairs, found {} numbers", bounds.len())));
    }
    let domain = match sample.get("domain").or(sample.get("set")) {
        Some(Value::Str(domain)) => domain.clone(),
        _ => String::new(),
    };
    let documents = bounds.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    Ok(Row { input_ids: ids, documents, mask: numbers(sample, "mask")?, domain })
}

/// Ids of two bytes each.
fn pairs(bytes: &[u8]) -> Result<Vec<u32>, (&'static str, String)> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(("tokens", format!("expected two bytes an id, found {} bytes", bytes.len())));
    }
    Ok(pairs.iter().map(|pair| u32::from(u16::from_le_bytes(*pair))).collect())
}

fn numbers<T: TryFrom<i128>>(sample: &Sample, column: &'static str) -> Result<Option<Vec<T>>, (&'static str, String)> {
    let Some(value) = sample.get(column) else { return Ok(None) };
    let integers = if let Value::Array(array) = value { array.integers() } else { None };
    let integers = integers.ok_or((column, "expected an array of integers, found another value".to_string()))?;
    let fit = |n| T::try_from(n).map_err(|_| (column, format!("expected numbers of its type, found {n}")));
    integers.into_iter().map(fit).collect::<Result<_, _>>().map(Some)
}

/// Writes rows to an MDS folder, whole or not at all; with a column `mask` when `masked`, for rows that all have one.
/// Returns how many.
///
/// Errors: those of `rows`, of [`Row::check`] and of [`writer::write`].
pub fn write(
    folder: &Path,
    masked: bool,
    options: writer::Options,
    rows: impl IntoIterator<Item = Result<Row>>,
) -> Result<usize> {
    let array = "ndarray:uint32".to_string();
    let mut columns = BTreeMap::from([
        ("domain".to_string(), "str".to_string()),
        ("indices".to_string(), array.clone()),
        ("input_ids".to_string(), array),
        ("length".to_string(), "int".to_string()),
    ]);
    if masked {
        columns.insert("mask".into(), "ndarray:uint8".into());
    }
    writer::write(folder, &columns, options, rows.into_iter().map(|row| row.and_then(encode)))
}

fn encode(row: Row) -> Result<Sample> {
    row.check()?;
    let length = row.input_ids.len();
    let bounds = row.documents.iter().flat_map(|&(a, b)| [a, b]);
    let mut sample = Sample::from([
        ("domain".to_string(), Value::Str(row.domain)),
        ("indices".to_string(), Value::Array(Array::of_u32(vec![row.documents.len(), 2], bounds))),
        ("input_ids".to_string(), Value::Array(Array::of_u32(vec![length], row.input_ids))),
        ("length".to_string(), Value::Int(length as i128)),
    ]);
    if let Some(mask) = row.mask {
        sample.insert("mask".into(), Value::Array(Array::of_u8(vec![length], mask)));
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_folder_row_and_column() {
        let folder = tempfile::tempdir().unwrap();
        let array = |ids: Vec<u32>| Value::Array(Array::of_u32(vec![ids.len()], ids));
        let cases = [
            (vec![("indices", array(vec![0, 9]))], "row 0: indices: expected boundaries in order within 0..2"),
            (vec![("indices", array(vec![0]))], "row 0: indices: expected pairs, found 1 numbers"),
            (vec![("mask", array(vec![1, 256]))], "row 0: mask: expected numbers of its type, found 256"),
            (vec![("length", Value::Int(3))], "row 0: length: expected 2 as input_ids, found 3"),
        ];
        for (more, message) in cases {
            let path = folder.path().join("rows");
            let mut sample = Sample::from([("input_ids".to_string(), array(vec![7, 8]))]);
            sample.extend(more.into_iter().map(|(name, value)| (name.to_string(), value)));
            let encoding = |value: &Value| if matches!(value, Value::Int(_)) { "int" } else { "ndarray:uint32" };
            let columns = sample.iter().map(|(name, value)| (name.clone(), encoding(value).to_string())).collect();
            writer::write::<Error>(&path, &columns, Default::default(), [Ok(sample)]).unwrap();
            let error = MdsRows::open(&path).unwrap().row(0).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("rows: "), "{error}");
        }
    }

    #[test]
    fn rows_survive_with_and_without_mask() {
        let folder = tempfile::tempdir().unwrap();
        for mask in [None, Some(vec![0, 1, 1])] {
            let path = folder.path().join("rows");
            let row = Row { input_ids: vec![7, 8, 9], documents: vec![(0, 1), (1, 3)], mask, domain: "a".into() };
            let rows = [Ok(row.clone()), Ok(row.clone())];
            assert_eq!(write(&path, row.mask.is_some(), Default::default(), rows).unwrap(), 2);
            let source = MdsRows::open(&path).unwrap();
            assert_eq!((source.len(), source.row(1).unwrap()), (2, row));
            let broken = Row { documents: vec![(0, 9)], ..Row::default() };
            assert!(write(&path, false, Default::default(), [Ok(broken)]).is_err());
            assert_eq!(MdsRows::open(&path).unwrap().len(), 2); // the old folder still stands
        }
    }
}
