//! One row under construction, emitted whenever it is full.

use std::mem;

use super::{Method, Packing, Piece};
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

    pub(super) fn push(&mut self, mut piece: Piece) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut start = self.row.input_ids.len();
        loop {
            let room = self.length - self.row.input_ids.len();
            let (head, rest) = piece.split_at(room.min(piece.ids.len()));
            extend(&mut self.row, head);
            close(&mut self.row, start);
            if self.row.input_ids.len() < self.length {
                return rows;
            }
            let empty = Row { domain: self.row.domain.clone(), ..Row::default() };
            rows.push(mem::replace(&mut self.row, empty));
            if self.intact || self.overlap + rest.ids.len() < self.min_length.max(1) {
                return rows;
            }
            if let Some(full) = rows.last() {
                carry(full, self.overlap, self.continuation, rest, &mut self.row);
            }
            (piece, start) = (rest, 0);
        }
    }

    /// Drops what is buffered: it fills no row.
    pub(super) fn clear(&mut self) -> Vec<Row> {
        self.row = Row { domain: mem::take(&mut self.row.domain), ..Row::default() };
        Vec::new()
    }
}

/// What begins the row after `full`, of a document of which `rest` is to follow.
fn carry(full: &Row, overlap: usize, continuation: Option<u32>, rest: Piece, row: &mut Row) {
    let repeated =
        Piece { ids: &full.input_ids, mask: full.mask.as_deref() }.split_at(full.input_ids.len() - overlap).1;
    let first = repeated.ids.first().or(rest.ids.first());
    if let Some(token) = continuation.filter(|token| first != Some(token)) {
        extend(row, Piece { ids: &[token], mask: full.mask.as_ref().map(|_| &[0][..]) });
    }
    extend(row, repeated);
}

/// Lays a document behind those of the row.
pub(super) fn append(row: &mut Row, piece: Piece) {
    let start = row.input_ids.len();
    extend(row, piece);
    close(row, start);
}

fn extend(row: &mut Row, piece: Piece) {
    row.input_ids.extend(piece.ids);
    if let Some(mask) = piece.mask {
        row.mask.get_or_insert_default().extend(mask);
    }
}

/// Ends the document that begins at `start`; the length of a row was checked to fit u32.
fn close(row: &mut Row, start: usize) {
    row.documents.push((start as u32, row.input_ids.len() as u32));
}
