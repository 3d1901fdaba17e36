//! One row under construction, emitted whenever it is full.

use std::mem;

use super::{Document, Method, Packing};
use crate::data::rows::Row;

pub(super) struct Buffer {
    length: usize,
    min_length: usize,
    intact: bool,
    overlap: usize,
    continuation: Option<u32>,
    /// Less than `length` tokens between calls.
    row: Row,
}

impl Buffer {
    /// For pieces of given lengths, which never need cutting, the options of a cut are without effect.
    pub(super) fn new(packing: &Packing) -> Self {
        let (min_length, intact, overlap, continuation) = match packing.method {
            Method::Single { min_length, intact, overlap, continuation } => (min_length, intact, overlap, continuation),
            _ => (0, false, 0, None),
        };
        let row = Row { domain: packing.domain.clone(), ..Row::default() };
        Buffer { length: packing.length, min_length, intact, overlap, continuation, row }
    }

    pub(super) fn push(&mut self, mut document: Document) -> Vec<Row> {
        let mut rows = Vec::new();
        loop {
            let room = self.length - self.row.input_ids.len();
            let rest = document.split_off(room.min(document.ids.len()));
            append(&mut self.row, document);
            if self.row.input_ids.len() < self.length {
                return rows;
            }
            let empty = Row { domain: self.row.domain.clone(), ..Row::default() };
            let full = mem::replace(&mut self.row, empty);
            document = self.continued(&full, rest);
            rows.push(full);
            if document.ids.is_empty() {
                return rows;
            }
        }
    }

    /// What begins the next row after `full`, of a document cut before `rest`; empty where nothing does.
    fn continued(&self, full: &Row, mut rest: Document) -> Document {
        if self.intact || self.overlap + rest.ids.len() < self.min_length.max(1) {
            return Document::default();
        }
        let from = self.length - self.overlap;
        rest.ids.splice(..0, full.input_ids[from..].iter().copied());
        if let (Some(mask), Some(before)) = (&mut rest.mask, &full.mask) {
            mask.splice(..0, before[from..].iter().copied());
        }
        if let Some(token) = self.continuation.filter(|token| rest.ids.first() != Some(token)) {
            rest.ids.insert(0, token);
            rest.mask.iter_mut().for_each(|mask| mask.insert(0, 0));
        }
        rest
    }

    /// Drops what is buffered: it fills no row.
    pub(super) fn clear(&mut self) -> Vec<Row> {
        self.row = Row { domain: mem::take(&mut self.row.domain), ..Row::default() };
        Vec::new()
    }
}

/// Lays a document behind those of the row.
pub(super) fn append(row: &mut Row, document: Document) {
    // The length of a row was checked to fit u32.
    let start = row.input_ids.len() as u32;
    row.input_ids.extend(document.ids);
    row.documents.push((start, row.input_ids.len() as u32));
    if let Some(mask) = document.mask {
        row.mask.get_or_insert_default().extend(mask);
    }
}
