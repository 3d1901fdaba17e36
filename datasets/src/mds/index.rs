//! `index.json` of an MDS folder.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::value::{Column, Encoding};
use crate::error::{Error, Result, Rule};
use crate::files;

/// The largest index that is read: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// The file as a whole. Keys stand in the order in which MosaicML writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// All shards in order.
    pub shards: Vec<Shard>,
    /// 2.
    pub version: u32,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// MosaicML's names of the encodings.
    pub column_encodings: Vec<String>,
    /// The columns, sorted.
    pub column_names: Vec<String>,
    /// The bytes of each column's values where they are fixed.
    pub column_sizes: Vec<Option<usize>>,
    /// `zstd`, `zstd:LEVEL` or none.
    pub compression: Option<String>,
    /// `mds`.
    pub format: String,
    /// Names of the hashes.
    pub hashes: Vec<String>,
    /// The shard uncompressed.
    pub raw_data: Data,
    /// How many samples it has.
    pub samples: usize,
    /// The writer's limit of bytes.
    pub size_limit: Option<u64>,
    /// 2.
    pub version: u32,
    /// The shard compressed.
    pub zip_data: Option<Data>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Its path below the folder.
    pub basename: String,
    /// Its length.
    pub bytes: u64,
    /// Name of a hash to its hexadecimal digits.
    pub hashes: std::collections::BTreeMap<String, String>,
}

impl Index {
    /// Reads and checks an index; also the columns of each shard.
    pub(super) fn read(path: &Path) -> Result<(Self, Vec<Vec<Column>>)> {
        let text = files::read_text(path, "the index of an MDS folder", MAX_BYTES)?;
        let index: Index = serde_json::from_str(&text).map_err(|e| {
            let field = format!("line {} column {}", e.line(), e.column());
            Error::invalid(Rule::Format, path, field, "an MDS index of version 2", e.to_string())
        })?;
        let columns = index.shards.iter().enumerate().map(|(k, shard)| {
            shard.check().map_err(|(field, expected, found)| {
                Error::invalid(Rule::Format, path, format!("shards[{k}].{field}"), expected, found)
            })
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok((index, columns))
    }
}

impl Shard {
    fn check(&self) -> Result<Vec<Column>, (String, String, String)> {
        let refuse = |field: &str, expected: &str, found: String| Err((field.into(), expected.into(), found));
        if (self.version, self.format.as_str()) != (2, "mds") {
            return refuse("format", "mds of version 2", format!("{} of version {}", self.format, self.version));
        }
        let count = self.column_names.len();
        if self.column_encodings.len() != count || self.column_sizes.len() != count {
            let found = format!("{} encodings and {} sizes", self.column_encodings.len(), self.column_sizes.len());
            return Err(("column_names".into(), format!("as many of {count} columns"), found));
        }
        if self.zip_data.is_some() && self.compression.as_deref().is_none_or(|c| c.split(':').next() != Some("zstd")) {
            return refuse("compression", "zstd or none", format!("{:?}", self.compression));
        }
        for data in [Some(&self.raw_data), self.zip_data.as_ref()].into_iter().flatten() {
            let below = Path::new(&data.basename).components().all(|part| matches!(part, Component::Normal(_)));
            if !below || data.basename.is_empty() || data.basename.contains(['\\', ':', '\0']) {
                return refuse("basename", "a path below the folder", format!("{:?}", data.basename));
            }
        }
        let mut columns = Vec::new();
        for ((name, encoding), size) in self.column_names.iter().zip(&self.column_encodings).zip(&self.column_sizes) {
            let encoding = Encoding::parse(encoding).map_err(|(expected, found)| (name.clone(), expected, found))?;
            if *size != encoding.size() {
                return Err((name.clone(), format!("size {:?}", encoding.size()), format!("{size:?}")));
            }
            columns.push(Column { name: name.clone(), encoding });
        }
        Ok(columns)
    }
}
