//! MosaicML streaming datasets (MDS, version 2): an `index.json` and shards of samples with typed columns.
//!
//! A shard is `u32 n`, `u32 offsets[n + 1]` from its beginning, a JSON text, then the samples. A sample is a `u32` size
//! for each column without a fixed one, then the columns in order. Everything is little-endian. A compressed shard is
//! the same as one zstd stream.
//!
//! Modules, each using only those above it: `python_json`, [`value`], [`index`], `shard`, [`writer`].

pub mod index;
mod python_json;
mod shard;
pub mod value;
pub mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result, Rule};
use index::Index;
use value::{Column, Value};

/// One sample: column name to value.
pub type Sample = BTreeMap<String, Value>;

/// A folder of samples with random access over all its shards.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    index: Index,
    columns: Vec<Vec<Column>>,
    /// The first sample of each shard, then their total.
    starts: Vec<usize>,
    /// The compressed shard that was read last.
    unpacked: Mutex<Option<(usize, shard::Bytes)>>,
}

impl Reader {
    /// Opens a folder; shards are opened when a sample of theirs is asked for.
    ///
    /// Errors: [`Error::Missing`]; [`Error::Invalid`] for an index that contradicts itself, names files outside of the
    /// folder, or has columns of an encoding that is not read (`pkl`, which can run any code, and images).
    pub fn open(folder: &Path) -> Result<Self> {
        let (index, columns) = Index::read(&folder.join("index.json"))?;
        let mut starts = vec![0_usize];
        for shard in &index.shards {
            let next = starts.last().copied().unwrap_or_default().checked_add(shard.samples);
            starts.push(next.ok_or_else(|| {
                Error::invalid(Rule::Size, &folder.join("index.json"), "samples", "a total below 2^64", "more")
            })?);
        }
        Ok(Reader { folder: folder.into(), index, columns, starts, unpacked: Mutex::new(None) })
    }

    /// Samples in all shards.
    pub fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `index.json` says.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Checks size and SHA-1 of every file against the index, where it has a SHA-1.
    ///
    /// Errors: [`Error::Missing`], or [`Error::Invalid`] with the two values.
    pub fn verify(&self) -> Result<()> {
        self.index.shards.iter().try_for_each(|info| shard::verify(&self.folder, info))
    }

    /// Sample `i`, counted over all shards.
    ///
    /// Errors: [`Error::Invalid`] beyond the end, or for bytes that are not what the index says; [`Error::Missing`].
    pub fn sample(&self, i: usize) -> Result<Sample> {
        if i >= self.len() {
            let expected = format!("an index below {}", self.len());
            return Err(Error::invalid(Rule::Size, &self.folder, "sample", expected, i.to_string()));
        }
        let k = self.starts.partition_point(|&start| start <= i) - 1;
        let (info, at) = (&self.index.shards[k], i - self.starts[k]);
        let path = self.folder.join(&info.raw_data.basename);
        let bytes = match &info.zip_data {
            None => shard::read_sample(&path, info, at)?,
            Some(_) => {
                let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                let shard = match unpacked.take().filter(|(kept, _)| *kept == k) {
                    Some((_, shard)) => shard,
                    None => shard::unpack(&self.folder, info)?,
                };
                let bytes = shard::sample_of(&shard, &path, info, at);
                *unpacked = Some((k, shard));
                bytes?
            }
        };
        self.decode(&bytes, k).map_err(|(column, expected, found)| {
            Error::invalid(Rule::Format, &path, format!("sample {at}: {column}"), expected, found)
        })
    }

    fn decode(&self, bytes: &[u8], shard: usize) -> Result<Sample, (String, String, String)> {
        let columns = &self.columns[shard];
        let variable = columns.iter().filter(|column| column.encoding.size().is_none()).count();
        let short = || ("size".to_string(), format!("{variable} sizes of columns"), format!("{} bytes", bytes.len()));
        let (sizes, mut rest) = bytes.split_at_checked(4 * variable).ok_or_else(short)?;
        let mut sizes = sizes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let mut sample = Sample::new();
        for column in columns {
            let size = column.encoding.size().or_else(|| sizes.next()).unwrap_or_default();
            let found = || (column.name.clone(), format!("{size} bytes"), format!("{} left", rest.len()));
            let (value, after) = rest.split_at_checked(size).ok_or_else(found)?;
            rest = after;
            let value = column.encoding.decode(value);
            let value = value.map_err(|(expected, found)| (column.name.clone(), expected, found))?;
            sample.insert(column.name.clone(), value);
        }
        match rest.len() {
            0 => Ok(sample),
            more => Err(("end".into(), "nothing after the last column".into(), format!("{more} bytes"))),
        }
    }
}
