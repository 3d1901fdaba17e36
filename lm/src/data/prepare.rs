//! Files of documents to a folder of packed rows, once, for many runs.

use super::documents::{Documents, Reader};
use super::packing::{Document, Packer, Packing};
use super::rows::{Row, mds};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use tesseral_datasets::mds::writer::Options;

/// What [`prepare`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// The folder of rows.
    pub folder: PathBuf,
    /// Documents that were read.
    pub documents: u64,
    /// Their tokens.
    pub tokens_read: u64,
    /// Rows.
    pub rows: u64,
    /// Tokens in rows.
    pub tokens_packed: u64,
    /// Tokens in rows that are trained on.
    pub tokens_trained: u64,
}

/// Packs the documents of `paths`, in order, into an MDS folder, whole or not at all.
///
/// # Errors
/// Those of [`Reader::open`], [`Packer`] (a document longer than the row, where that is refused, by its number) and
/// [`mds::write`].
pub fn prepare(
    paths: &[PathBuf],
    reader: Reader<'_>,
    packing: &Packing,
    folder: &Path,
    options: Options,
) -> Result<Prepared> {
    let mut counts = Prepared { folder: folder.into(), ..Prepared::default() };
    let mut source = Source { documents: Box::new(std::iter::empty()), paths, opened: 0, reader };
    let mut packer = Packer::new(packing.clone())?;
    let (mut ready, mut ended) = (VecDeque::<Row>::new(), false);
    let first = source.next().transpose()?;
    let masked = first.as_ref().is_some_and(|(_, document)| document.mask.is_some());
    let mut documents = first.map(Ok).into_iter().chain(source);
    let mut next = || -> Result<Option<Row>> {
        while ready.is_empty() && !ended {
            match documents.next().transpose()? {
                Some((path, document)) => {
                    counts.documents += 1;
                    counts.tokens_read += document.ids.len() as u64;
                    ready.extend(packer.push(document).map_err(|e| Error::format(path, e.to_string()))?);
                }
                None => {
                    ready.extend(packer.finish());
                    ended = true;
                }
            }
        }
        let row = ready.pop_front();
        if let Some(row) = &row {
            let trained = row.mask.as_ref().map_or(row.input_ids.len(), |m| m.iter().filter(|m| **m != 0).count());
            counts.rows += 1;
            counts.tokens_packed += row.input_ids.len() as u64;
            counts.tokens_trained += trained as u64;
        }
        Ok(row)
    };
    mds::write(folder, masked, options, std::iter::from_fn(|| next().transpose()))?;
    Ok(counts)
}

/// All documents of some files, each with its file.
struct Source<'a, 'p> {
    documents: Documents<'a>,
    paths: &'p [PathBuf],
    opened: usize,
    reader: Reader<'a>,
}

impl<'p> Iterator for Source<'_, 'p> {
    type Item = Result<(&'p Path, Document)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(document) = self.documents.next() {
                let path = &self.paths[self.opened - 1];
                return Some(document.map(|document| (path.as_path(), document)));
            }
            let path = self.paths.get(self.opened)?;
            self.opened += 1;
            match self.reader.open(path) {
                Ok(documents) => self.documents = documents,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
