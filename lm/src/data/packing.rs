//! Documents into rows of a fixed length, one document at a time (ProLong, arXiv 2410.02660, section 3).
//!
//! Three ways: one buffer that is emitted whenever it is full, pieces of given lengths that fill rows of their own kind,
//! and the open row that a document fits best.

mod bins;
mod buffer;

use super::rows::Row;
use crate::{Error, Result};
use bins::Bins;
use buffer::Buffer;

/// The way documents are laid into rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// One row at a time; only the last document of a row is cut. What is left over when the documents end is dropped.
    Single {
        /// A remainder shorter than this does not start the next row.
        min_length: usize,
        /// The remainder of a cut document is dropped whatever its length (fine-tuning).
        intact: bool,
        /// So many last tokens of a row are repeated at the beginning of the next; they may reach back over a document.
        overlap: usize,
        /// Begins a row that begins within a document, unless it is there already.
        continuation: Option<u32>,
    },
    /// Pieces of these lengths from the front of each document, the longest that fits first; shorter tails are dropped.
    /// Rows hold pieces of one length, which divides the row's.
    Lengths(Vec<usize>),
    /// Each document whole into the open row with the least room that holds it; rows come out short of the length. A longer
    /// document is an error.
    BestFit {
        /// Open rows; when a document needs another, the fullest is emitted.
        bins: usize,
    },
}

/// How rows are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Tokens of a row.
    pub length: usize,
    /// Put before each document that does not begin with it; its mask is 0.
    pub bos: Option<u32>,
    /// Put after each document that does not end with it; its mask is 1.
    pub eos: Option<u32>,
    /// Which documents lie in which row.
    pub method: Method,
    /// A document longer than a row is an error instead of being cut.
    pub refuse_longer: bool,
    /// The domain of the rows; pieces of length l in rows of length L add `l-L` to it.
    pub domain: String,
}

/// A document's tokens, with its mask where only part of it is trained on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Of the length of `ids`: 1 for a token that is trained on.
    pub mask: Option<Vec<u8>>,
}

impl From<Vec<u32>> for Document {
    fn from(ids: Vec<u32>) -> Self {
        Document { ids, mask: None }
    }
}

impl Packing {
    /// Rows of `length` tokens from one buffer; every remainder is kept, nothing is added.
    pub fn new(length: usize) -> Self {
        let method = Method::Single { min_length: 1, intact: false, overlap: 0, continuation: None };
        Packing { length, bos: None, eos: None, method, refuse_longer: false, domain: ".".into() }
    }

    /// The domain of rows of pieces of `piece` tokens.
    fn domain_of(&self, piece: usize) -> String {
        let subset = format!("{piece}-{}", self.length);
        if self.domain == "." { subset } else { format!("{}/{subset}", self.domain) }
    }

    fn check(&self) -> Result<()> {
        let refuse = |key: &str, what: String| Err(Error::config(format!("packing.{key}"), what));
        if self.length < 2 || u32::try_from(self.length).is_err() {
            return refuse("length", format!("expected 2 to 2^32 - 1 tokens, found {}", self.length));
        }
        match &self.method {
            Method::Single { overlap, .. } if overlap.saturating_add(1) >= self.length => {
                refuse("overlap", format!("expected fewer than {} tokens, found {overlap}", self.length - 1))
            }
            Method::Lengths(lengths) if lengths.is_empty() => {
                refuse("lengths", "expected one at least, found none".into())
            }
            Method::Lengths(lengths) => match lengths.iter().find(|&&l| l == 0 || !self.length.is_multiple_of(l)) {
                Some(l) => {
                    refuse("lengths", format!("expected divisors of the row's {} tokens, found {l}", self.length))
                }
                None => Ok(()),
            },
            Method::BestFit { bins: 0 } => refuse("bins", "expected one at least, found 0".into()),
            _ => Ok(()),
        }
    }
}

enum State {
    Single(Buffer),
    Lengths(Vec<(usize, Buffer)>),
    BestFit(Bins),
}

/// Turns a stream of documents into rows.
pub struct Packer {
    packing: Packing,
    state: State,
    masked: Option<bool>,
    documents: u64,
}

impl Packer {
    /// An empty packer. Errors: [`Error::Config`] for options out of their range.
    pub fn new(packing: Packing) -> Result<Self> {
        packing.check()?;
        let state = match &packing.method {
            Method::Single { .. } => State::Single(Buffer::new(&packing)),
            Method::BestFit { bins } => State::BestFit(Bins::new(&packing, *bins)),
            Method::Lengths(lengths) => {
                let mut lengths = lengths.clone();
                lengths.sort_unstable_by(|a, b| b.cmp(a));
                lengths.dedup();
                State::Lengths(
                    lengths
                        .into_iter()
                        .map(|l| (l, Buffer::new(&Packing { domain: packing.domain_of(l), ..packing.clone() })))
                        .collect(),
                )
            }
        };
        Ok(Packer { packing, state, masked: None, documents: 0 })
    }

    /// Adds a document; returns the rows that it completes. An empty document is passed over.
    ///
    /// Errors: [`Error::Config`] naming the document by its number from 1 when its mask is not of its length, when some
    /// documents have a mask and some have none, or when it is longer than a row and that is refused. The packer is
    /// unchanged then.
    pub fn push(&mut self, document: Document) -> Result<Vec<Row>> {
        let name = || format!("document {}", self.documents + 1);
        if let Some(mask) = document.mask.as_ref().filter(|mask| mask.len() != document.ids.len()) {
            let what = format!("expected a mask of {} values, found {}", document.ids.len(), mask.len());
            return Err(Error::config(name(), what));
        }
        if self.masked.is_some_and(|masked| masked != document.mask.is_some()) {
            let what = "expected a mask for every document or for none, found both";
            return Err(Error::config(name(), what));
        }
        if document.ids.is_empty() {
            self.documents += 1;
            return Ok(Vec::new());
        }
        let document = self.framed(document);
        let whole = self.packing.refuse_longer || matches!(self.packing.method, Method::BestFit { .. });
        if whole && document.ids.len() > self.packing.length {
            let (length, found) = (self.packing.length, document.ids.len());
            let what = format!("expected at most {length} tokens, the length of a row, found {found}");
            return Err(Error::config(name(), what));
        }
        self.documents += 1;
        self.masked = Some(document.mask.is_some());
        let piece = Piece { ids: &document.ids, mask: document.mask.as_deref() };
        Ok(match &mut self.state {
            State::Single(buffer) => buffer.push(piece),
            State::BestFit(bins) => bins.push(piece),
            State::Lengths(buffers) => {
                let mut rows = Vec::new();
                let mut rest = piece;
                while let Some((length, buffer)) = buffers.iter_mut().find(|(l, _)| *l <= rest.ids.len()) {
                    let (head, tail) = rest.split_at(*length);
                    rows.extend(buffer.push(head));
                    rest = tail;
                }
                rows
            }
        })
    }

    /// The rows still open, where the method has them; the packer is empty then.
    pub fn finish(&mut self) -> Vec<Row> {
        match &mut self.state {
            State::BestFit(bins) => bins.finish(),
            State::Single(buffer) => buffer.clear(),
            State::Lengths(buffers) => buffers.iter_mut().flat_map(|(_, buffer)| buffer.clear()).collect(),
        }
    }

    /// The special tokens to put before and after these.
    fn frame(&self, ids: &[u32]) -> [Option<u32>; 2] {
        let missing = |special: Option<u32>, there: Option<&u32>| special.filter(|special| there != Some(special));
        [missing(self.packing.bos, ids.first()), missing(self.packing.eos, ids.last())]
    }

    /// Tokens of a document with the special ones that are put around it.
    pub(crate) fn tokens(&self, document: &Document) -> usize {
        match document.ids.as_slice() {
            [] => 0,
            ids => ids.len() + self.frame(ids).iter().flatten().count(),
        }
    }

    /// The document between its special tokens.
    fn framed(&self, document: Document) -> Document {
        let [bos, eos] = self.frame(&document.ids);
        let Document { mut ids, mut mask } = document;
        if let Some(bos) = bos {
            ids.insert(0, bos);
            mask.iter_mut().for_each(|mask| mask.insert(0, 0));
        }
        if let Some(eos) = eos {
            ids.push(eos);
            mask.iter_mut().for_each(|mask| mask.push(1));
        }
        Document { ids, mask }
    }
}

/// A part of a document.
#[derive(Clone, Copy)]
struct Piece<'a> {
    ids: &'a [u32],
    mask: Option<&'a [u8]>,
}

impl<'a> Piece<'a> {
    fn split_at(self, at: usize) -> (Piece<'a>, Piece<'a>) {
        let (head, tail) = self.ids.split_at(at);
        let (before, after) = self.mask.map(|mask| mask.split_at(at)).unzip();
        (Piece { ids: head, mask: before }, Piece { ids: tail, mask: after })
    }
}

/// All rows of some documents at once. Errors: those of [`Packer`].
pub fn pack(packing: &Packing, documents: impl IntoIterator<Item = Document>) -> Result<Vec<Row>> {
    let mut packer = Packer::new(packing.clone())?;
    let mut rows = Vec::new();
    for document in documents {
        rows.extend(packer.push(document)?);
    }
    rows.extend(packer.finish());
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn documents(lengths: &[usize]) -> Vec<Document> {
        let mut next = 10;
        let mut ids = |n: usize| {
            (0..n)
                .map(|_| {
                    next += 1;
                    next
                })
                .collect::<Vec<u32>>()
        };
        lengths.iter().map(|&n| Document::from(ids(n))).collect()
    }

    #[test]
    fn masks_follow_their_tokens_and_special_tokens_have_their_own() {
        let packing = Packing { bos: Some(1), eos: Some(2), ..Packing::new(4) };
        let rows = pack(&packing, [Document { ids: vec![7, 8], mask: Some(vec![0, 1]) }]).unwrap();
        assert_eq!(rows[0].input_ids, [1, 7, 8, 2]);
        let packer = Packer::new(packing.clone()).unwrap();
        let tokens = |ids: &[u32]| packer.tokens(&ids.to_vec().into());
        assert_eq!([tokens(&[7, 8]), tokens(&[1, 7]), tokens(&[1, 7, 2]), tokens(&[])], [4, 3, 3, 0]);
        assert_eq!(rows[0].mask.as_deref(), Some(&[0, 0, 1, 1][..]));
        let present = pack(&packing, [Document { ids: vec![1, 7, 8, 2], mask: Some(vec![1, 0, 1, 0]) }]).unwrap();
        assert_eq!(present[0].mask.as_deref(), Some(&[1, 0, 1, 0][..]));
    }

    #[test]
    fn a_cut_document_goes_on_behind_its_marker_and_its_last_tokens() {
        let method = Method::Single { min_length: 1, intact: false, overlap: 2, continuation: Some(9) };
        let packing = Packing { method, ..Packing::new(6) };
        let rows = pack(&packing, [Document { ids: (11..21).collect(), mask: Some(vec![1; 10]) }]).unwrap();
        assert_eq!(rows[1].input_ids, [9, 15, 16, 17, 18, 19]);
        assert_eq!(rows[1].mask.as_deref(), Some(&[0, 1, 1, 1, 1, 1][..]));
        assert_eq!((rows.len(), &rows[1].documents), (2, &vec![(0, 6)]));
    }

    #[test]
    fn mistakes_have_names() {
        let refused = |packing| Packer::new(packing).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused(Packing::new(1)).contains("packing.length"));
        let method = |method| Packing { method, ..Packing::new(8) };
        assert!(refused(method(Method::Lengths(vec![3]))).contains("divisors of the row's 8 tokens, found 3"));
        assert!(refused(method(Method::BestFit { bins: 0 })).contains("packing.bins"));
        let mut packer = Packer::new(Packing { refuse_longer: true, ..Packing::new(4) }).unwrap();
        packer.push(vec![1].into()).unwrap();
        let error = packer.push(vec![1; 5].into()).unwrap_err().to_string();
        assert_eq!(error, "document 2: expected at most 4 tokens, the length of a row, found 5");
        assert!(packer.push(Document { ids: vec![1], mask: Some(vec![1]) }).is_err());
        assert!(packer.push(Document { ids: vec![1], mask: Some(vec![]) }).is_err());
    }

    proptest! {
        #[test]
        fn one_buffer_keeps_every_token_in_order(lengths in prop::collection::vec(0usize..40, 0..30), row in 2usize..20) {
            let documents = documents(&lengths);
            let all: Vec<u32> = documents.iter().flat_map(|d| d.ids.clone()).collect();
            let rows = pack(&Packing::new(row), documents).unwrap();
            let packed: Vec<u32> = rows.iter().flat_map(|r| r.input_ids.clone()).collect();
            prop_assert_eq!(&packed[..], &all[..all.len() / row * row]);
            for r in &rows {
                r.check().unwrap();
                prop_assert_eq!(r.documents.iter().map(|&(a, b)| (b - a) as usize).sum::<usize>(), row);
            }
        }

        #[test]
        fn best_fit_keeps_every_document_whole(lengths in prop::collection::vec(1usize..=16, 0..60), bins in 1usize..6) {
            let documents = documents(&lengths);
            let packing = Packing { method: Method::BestFit { bins }, ..Packing::new(16) };
            let rows = pack(&packing, documents.clone()).unwrap();
            let mut packed = Vec::new();
            for r in &rows {
                r.check().unwrap();
                prop_assert!(r.input_ids.len() <= 16);
                packed.extend(r.documents.iter().map(|&(a, b)| r.input_ids[a as usize..b as usize].to_vec()));
            }
            packed.sort();
            prop_assert_eq!(packed, documents.into_iter().map(|d| d.ids).collect::<Vec<_>>());
        }
    }
}
