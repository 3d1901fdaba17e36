//! Files of documents to a folder of packed rows, once, for many runs.

use super::documents::Reader;
use super::packing::{Document, Packer, Packing};
use super::rows::{Row, mds};
use crate::Result;
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
    let mut source = Source { documents: Box::new(std::iter::empty()), files: paths.iter(), reader };
    let mut packer = Packer::new(packing.clone())?;
    let (mut ready, mut ended) = (VecDeque::<Row>::new(), false);
    let first = source.next().transpose()?;
    let masked = first.as_ref().is_some_and(|document| document.mask.is_some());
    let mut documents = first.map(Ok).into_iter().chain(source);
    let mut next = || -> Result<Option<Row>> {
        while ready.is_empty() && !ended {
            match documents.next().transpose()? {
                Some(document) => {
                    counts.documents += 1;
                    counts.tokens_read += document.ids.len() as u64;
                    ready.extend(packer.push(document)?);
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

/// All documents of some files.
struct Source<'a, 'f> {
    documents: super::documents::Documents<'a>,
    files: std::slice::Iter<'f, PathBuf>,
    reader: Reader<'a>,
}

impl Iterator for Source<'_, '_> {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(document) = self.documents.next() {
                return Some(document);
            }
            match self.reader.open(self.files.next()?) {
                Ok(documents) => self.documents = documents,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
