//! A few rows open at once; each document goes where it leaves the least room.

use super::{Packing, Piece, buffer::append};
use crate::data::rows::Row;

pub(super) struct Bins {
    length: usize,
    most: usize,
    domain: String,
    open: Vec<Row>,
}

impl Bins {
    pub(super) fn new(packing: &Packing, most: usize) -> Self {
        Bins { length: packing.length, most, domain: packing.domain.clone(), open: Vec::new() }
    }

    /// A document of at most the length of a row.
    pub(super) fn push(&mut self, piece: Piece) -> Vec<Row> {
        let mut rows = Vec::new();
        let room = |row: &Row| self.length - row.input_ids.len();
        let fitting = (0..self.open.len()).filter(|&k| room(&self.open[k]) >= piece.ids.len());
        let best = match fitting.min_by_key(|&k| room(&self.open[k])) {
            Some(best) => best,
            None => {
                if self.open.len() == self.most {
                    rows.extend(self.take_fullest());
                }
                self.open.push(Row { domain: self.domain.clone(), ..Row::default() });
                self.open.len() - 1
            }
        };
        append(&mut self.open[best], piece);
        if self.open[best].input_ids.len() == self.length {
            rows.push(self.open.remove(best));
        }
        rows
    }

    pub(super) fn finish(&mut self) -> Vec<Row> {
        std::iter::from_fn(|| self.take_fullest()).collect()
    }

    fn take_fullest(&mut self) -> Option<Row> {
        // Of equals the oldest, so that the order of documents is kept where it can be.
        let fullest = (0..self.open.len()).min_by_key(|&k| self.length - self.open[k].input_ids.len())?;
        Some(self.open.remove(fullest))
    }
}
