//! Writes an MDS folder, byte for byte as MosaicML's writer does where shards are not compressed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::Sample;
use super::index::{Data, Index, Shard};
use super::python_json::python_json;
use super::shard::sha1;
use super::value::Encoding;
use crate::error::{Error, Result, Rule};
use crate::files;

/// How a folder is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Compress shards with zstd.
    pub compress: bool,
    /// A shard is closed before it passes so many bytes uncompressed, unless its only sample alone does.
    pub size_limit: u32,
}

impl Default for Options {
    /// Not compressed, 64 MiB, as MosaicML.
    fn default() -> Self {
        Options { compress: false, size_limit: 1 << 26 }
    }
}

/// The JSON text of every shard; keys in the order of their names.
#[derive(Serialize)]
struct Header<'a> {
    column_encodings: &'a [String],
    column_names: &'a [String],
    column_sizes: &'a [Option<usize>],
    compression: Option<&'a str>,
    format: &'a str,
    hashes: [&'a str; 1],
    size_limit: u32,
    version: u32,
}

/// Writes `samples` to `folder`, whole or not at all; returns how many. `columns` maps names to encodings as MosaicML
/// writes them (`ndarray:uint32`).
///
/// Errors: those of `samples`; [`Error::Invalid`] for an unknown encoding, a sample without one of the columns or with
/// a value of another type, or one that alone passes 2^32 bytes; [`Error::Io`].
pub fn write<E: From<Error>>(
    folder: &Path,
    columns: &BTreeMap<String, String>,
    options: Options,
    samples: impl IntoIterator<Item = Result<Sample, E>>,
) -> Result<usize, E> {
    let mut failed = None;
    let mut count = 0;
    let written = files::write_folder_atomic(folder, |temporary| {
        let mut writer = Writer::new(temporary, columns, options)?;
        for sample in samples {
            match sample {
                Ok(sample) => writer.push(&sample)?,
                Err(error) => {
                    failed = Some(error);
                    // Any error leaves the target as it was; the caller gets the one above.
                    return Err(Error::invalid(Rule::Format, folder, "samples", "samples", "an error"));
                }
            }
            count += 1;
        }
        writer.finish()
    });
    match failed {
        Some(error) => Err(error),
        None => written.map(|()| count).map_err(E::from),
    }
}

struct Writer<'a> {
    folder: &'a Path,
    names: Vec<String>,
    encodings: Vec<Encoding>,
    template: Shard,
    header: Vec<u8>,
    options: Options,
    samples: Vec<Vec<u8>>,
    size: usize,
    shards: Vec<Shard>,
}

impl<'a> Writer<'a> {
    fn new(folder: &'a Path, columns: &BTreeMap<String, String>, options: Options) -> Result<Self> {
        let names: Vec<String> = columns.keys().cloned().collect();
        let texts: Vec<String> = columns.values().cloned().collect();
        let parse = |(name, text): (&String, &String)| {
            Encoding::parse(text).map_err(|(expected, found)| invalid(folder, name.clone(), expected, found))
        };
        let encodings = columns.iter().map(parse).collect::<Result<Vec<_>>>()?;
        let sizes: Vec<_> = encodings.iter().map(Encoding::size).collect();
        let compression = options.compress.then_some("zstd");
        let header = python_json(&Header {
            column_encodings: &texts,
            column_names: &names,
            column_sizes: &sizes,
            compression,
            format: "mds",
            hashes: ["sha1"],
            size_limit: options.size_limit,
            version: 2,
        })
        .map_err(Error::io(folder, "write"))?;
        let template = Shard {
            column_encodings: texts,
            column_names: names.clone(),
            column_sizes: sizes,
            compression: compression.map(String::from),
            format: "mds".into(),
            hashes: vec!["sha1".into()],
            raw_data: Data { basename: String::new(), bytes: 0, hashes: BTreeMap::new() },
            samples: 0,
            size_limit: Some(options.size_limit.into()),
            version: 2,
            zip_data: None,
        };
        let size = 8 + header.len();
        Ok(Writer { folder, names, encodings, template, header, options, samples: vec![], size, shards: vec![] })
    }

    fn push(&mut self, sample: &Sample) -> Result<()> {
        let number = self.shards.iter().map(|shard| shard.samples).sum::<usize>() + self.samples.len();
        let field = |name: &str| format!("sample {number}: {name}");
        let (mut sizes, mut body) = (Vec::new(), Vec::new());
        for (name, encoding) in self.names.iter().zip(&self.encodings) {
            let value = sample.get(name);
            let value = value.ok_or_else(|| invalid(self.folder, field(name), "a value".into(), "none".into()))?;
            let bytes = encoding
                .encode(value)
                .map_err(|(expected, found)| invalid(self.folder, field(name), expected, found))?;
            if encoding.size().is_none() {
                sizes.extend((bytes.len() as u32).to_le_bytes());
            }
            body.extend(bytes);
        }
        sizes.extend(body);
        let size = sizes.len().saturating_add(4);
        if size.saturating_add(8 + self.header.len()) > u32::MAX as usize {
            return Err(invalid(self.folder, field("size"), "fewer than 2^32 bytes".into(), size.to_string()));
        }
        if !self.samples.is_empty() && self.size + size > self.options.size_limit as usize {
            self.flush()?;
        }
        self.size += size;
        self.samples.push(sizes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let samples = std::mem::take(&mut self.samples);
        self.size = 8 + self.header.len();
        let mut offset = 4 * (samples.len() + 2) + self.header.len();
        let mut raw = (samples.len() as u32).to_le_bytes().to_vec();
        raw.extend((offset as u32).to_le_bytes());
        for sample in &samples {
            offset += sample.len();
            raw.extend((offset as u32).to_le_bytes());
        }
        raw.extend(&self.header);
        samples.iter().for_each(|sample| raw.extend(sample));

        let basename = format!("shard.{:05}.mds", self.shards.len());
        let mut shard = Shard { samples: samples.len(), raw_data: data(&basename, &raw), ..self.template.clone() };
        let mut bytes = raw;
        if self.options.compress {
            bytes = zstd::encode_all(&bytes[..], 0).map_err(Error::io(self.folder, "compress"))?;
            shard.zip_data = Some(data(&format!("{basename}.zstd"), &bytes));
        }
        let path = self.folder.join(&shard.zip_data.as_ref().unwrap_or(&shard.raw_data).basename);
        files::write_atomic(&path, |w| w.write_all(&bytes))?;
        self.shards.push(shard);
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if !self.samples.is_empty() {
            self.flush()?;
        }
        let index = python_json(&Index { shards: self.shards, version: 2 }).map_err(Error::io(self.folder, "write"))?;
        files::write_atomic(&self.folder.join("index.json"), |w| w.write_all(&index))
    }
}

fn data(basename: &str, bytes: &[u8]) -> Data {
    let hashes = BTreeMap::from([("sha1".to_string(), sha1(bytes))]);
    Data { basename: basename.into(), bytes: bytes.len() as u64, hashes }
}

fn invalid(folder: &Path, field: String, expected: String, found: String) -> Error {
    Error::invalid(Rule::Format, folder, field, expected, found)
}
