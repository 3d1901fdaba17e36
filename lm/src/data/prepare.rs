//! Files of documents to a folder of packed rows, once, for many runs.

use super::documents::{Documents, Reader};
use super::packing::{Document, Packer, Packing};
use super::rows::{Row, mds};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use tesseral_datasets::jsonl;
use tesseral_datasets::mds::writer::Options;

/// What [`prepare`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// The folder of rows.
    pub folder: PathBuf,
    /// Documents that were read.
    pub documents: u64,
    /// Of these, longer than a row: cut, or of fine-tuning the rest left out.
    pub longer: u64,
    /// Their tokens, with those that are put before and after each.
    pub tokens_read: u64,
    /// Rows.
    pub rows: u64,
    /// Tokens in rows.
    pub tokens_packed: u64,
    /// Tokens in rows that are trained on.
    pub tokens_trained: u64,
}

/// Packs the documents of `paths`, in order, into an MDS folder, whole or not at all. A folder of rows that is there is
/// replaced; anything else is left alone.
///
/// # Errors
/// [`Error::Config`] for a folder that holds something else, or the documents; [`Error::Format`] for documents that fill no
/// row; those of [`Reader::open`], [`Packer`] (a document longer than the row, where that is refused, by its number) and
/// [`mds::write`].
pub fn prepare(
    paths: &[PathBuf],
    reader: Reader<'_>,
    packing: &Packing,
    folder: &Path,
    options: Options,
) -> Result<Prepared> {
    check_folder(folder, paths)?;
    let mut counts = Prepared { folder: folder.into(), ..Prepared::default() };
    let files = files(paths)?;
    let mut source = Source { documents: Box::new(std::iter::empty()), paths: &files, opened: 0, number: 0, reader };
    let mut packer = Packer::new(packing.clone())?;
    let (mut ready, mut ended) = (VecDeque::<Row>::new(), false);
    let first = source.next().transpose()?;
    let masked = first.as_ref().is_some_and(|(_, document)| document.mask.is_some());
    let mut documents = first.map(Ok).into_iter().chain(source);
    let mut next = || -> Result<Option<Row>> {
        while ready.is_empty() && !ended {
            match documents.next().transpose()? {
                Some((place, document)) => {
                    counts.documents += 1;
                    let tokens = packer.tokens(&document);
                    counts.longer += u64::from(tokens > packing.length);
                    counts.tokens_read += tokens as u64;
                    ready.extend(packer.push(document).map_err(|error| place.name(error))?);
                }
                None => {
                    ready.extend(packer.finish());
                    ended = true;
                }
            }
        }
        let row = ready.pop_front();
        if row.is_none() && counts.rows == 0 {
            let (documents, tokens) = (counts.documents, counts.tokens_read);
            let what = format!(
                "expected documents for one row of {} tokens at least, found {documents} of {tokens} tokens",
                packing.length
            );
            return Err(Error::format(paths.first().map_or(folder, PathBuf::as_path), what));
        }
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

/// Whether nothing but rows would be lost if the folder were replaced.
fn check_folder(folder: &Path, paths: &[PathBuf]) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let wrong = |found: String| {
        Err(Error::config("out", format!("expected a new folder or one of rows, found {} {found}", folder.display())))
    };
    if !folder.is_dir() {
        return wrong("that is no folder".into());
    }
    let whole = |path: &Path| path.canonicalize().map_err(Error::io(path));
    let own = whole(folder)?;
    for path in paths {
        if path.exists() && whole(path)?.starts_with(&own) {
            return wrong(format!("with the documents {}", path.display()));
        }
    }
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        let name = name.to_string_lossy();
        if name != "index.json" && !name.starts_with("shard.") {
            return wrong(format!("with {name:?} in it"));
        }
    }
    Ok(())
}

/// The files of lines or ids behind some paths.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(if path.is_dir() { jsonl::files(path)? } else { vec![path.clone()] });
    }
    Ok(files)
}

/// Where a document comes from: its file, and its number there from 1.
pub(crate) struct Place<'p> {
    pub(crate) file: &'p Path,
    pub(crate) number: usize,
}

impl Place<'_> {
    /// A mistake of a document, with its place instead of its number among all.
    pub(crate) fn name(&self, error: Error) -> Error {
        let what = match error {
            Error::Config { what, .. } => what,
            other => other.to_string(),
        };
        Error::format(self.file, format!("document {}: {what}", self.number))
    }
}

/// All documents of some files, each with its place.
struct Source<'a, 'p> {
    documents: Documents<'a>,
    paths: &'p [PathBuf],
    opened: usize,
    number: usize,
    reader: Reader<'a>,
}

impl<'p> Iterator for Source<'_, 'p> {
    type Item = Result<(Place<'p>, Document)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(document) = self.documents.next() {
                self.number += 1;
                let place = Place { file: &self.paths[self.opened - 1], number: self.number };
                return Some(document.map(|document| (place, document)));
            }
            let path = self.paths.get(self.opened)?;
            (self.opened, self.number) = (self.opened + 1, 0);
            match self.reader.open(path) {
                Ok(documents) => self.documents = documents,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::documents::Content;
    use crate::data::packing::Method;

    fn pack(folder: &Path, documents: &Path) -> Result<Prepared> {
        let packing = Packing {
            length: 4,
            bos: None,
            eos: None,
            method: Method::Single { min_length: 1, intact: false, overlap: 0, continuation: None },
            refuse_longer: false,
            domain: ".".into(),
        };
        let content = Content::Text("text".into());
        let reader = Reader { end: Some(0), ..Reader::new(&content, None) };
        prepare(&[documents.into()], reader, &packing, folder, Options::default())
    }

    fn ids(path: &Path, ids: &[u16]) {
        std::fs::write(path, ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    }

    #[test]
    fn rows_alone_are_replaced() {
        let place = tempfile::tempdir().unwrap();
        let (documents, rows) = (place.path().join("ids.bin"), place.path().join("rows"));
        ids(&documents, &[5, 6, 7, 0, 8, 9, 10, 0]);
        assert_eq!(pack(&rows, &documents).unwrap().rows, 2);
        assert_eq!(pack(&rows, &documents).unwrap().rows, 2);
        std::fs::write(rows.join("thesis.txt"), "x").unwrap();
        for (folder, found) in [(&rows, "\"thesis.txt\""), (&documents, "no folder")] {
            let message = pack(folder, &documents).unwrap_err().to_string();
            assert!(
                message.starts_with("out: expected a new folder or one of rows") && message.contains(found),
                "{message}"
            );
        }
        let message = pack(place.path(), &documents).unwrap_err().to_string();
        assert!(message.contains("with the documents"), "{message}");
        assert!(rows.join("thesis.txt").exists() && documents.exists());
    }

    #[test]
    fn no_row_is_no_folder() {
        let place = tempfile::tempdir().unwrap();
        let (documents, rows) = (place.path().join("ids.bin"), place.path().join("rows"));
        ids(&documents, &[5, 6, 7, 0]);
        pack(&rows, &documents).unwrap();
        // Too few tokens: an unfinished row is dropped.
        ids(&documents, &[5, 0]);
        let message = pack(&rows, &documents).unwrap_err().to_string();
        assert!(
            message.ends_with("expected documents for one row of 4 tokens at least, found 1 of 2 tokens"),
            "{message}"
        );
        assert!(rows.join("index.json").exists());
    }
}
