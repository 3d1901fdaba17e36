//! Domains of text: rows to train on and rows that are held out, and which row comes next (arXiv 2310.06694, section 2.2).
//!
//! A row's domain is drawn by the present weights; within a domain rows come in a shuffled order, each once before any comes again.

use super::domain_weights::normalised;
use crate::data::rows::RowSource;
use crate::data::rows::mds::MdsRows;
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;
use crate::objective::{Batch, losses};
use crate::training::config::{RowsConfig, TextConfig};
use crate::training::corpus::Corpus;
use crate::training::text::{self, MixedRows};
use crate::{Error, Result};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tesseral_nn::rng::Streams;

/// Where domains are and how their text becomes rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DomainsConfig {
    /// A folder with a folder for each domain, of `.jsonl` files or packed rows (MDS); or one such folder or file, a single domain.
    /// A relative path is taken from the configuration file.
    pub folder: PathBuf,
    /// The field with the text.
    pub field: String,
    /// Tokens of a row made from text.
    pub row: usize,
    /// Whether tokens see those of other documents in their row, as in the paper.
    pub unmasked: bool,
    /// Only so many rows of each domain, the first; none: all.
    pub rows: Option<usize>,
    /// Of these the first so many are held out: losses are measured on them.
    pub held_out: usize,
}

impl Default for DomainsConfig {
    fn default() -> Self {
        DomainsConfig {
            folder: PathBuf::new(),
            field: "text".into(),
            row: 512,
            unmasked: false,
            rows: None,
            held_out: 16,
        }
    }
}

/// A domain.
pub struct Domain {
    name: String,
    corpus: Box<dyn Corpus>,
    held_out: usize,
}

impl Domain {
    /// All domains of a folder, by name, for a model of `vocabulary` tokens.
    ///
    /// # Errors
    /// A folder or file that cannot be read; a row with an id beyond the vocabulary; [`Error::Config`] for no domain, or one with too few rows.
    pub fn open(
        config: &DomainsConfig,
        vocabulary: usize,
        tokenizer: Option<&Tokenizer>,
        end: Option<u32>,
    ) -> Result<Vec<Domain>> {
        let mut domains = Vec::new();
        for path in folders(&config.folder)? {
            let name = path.file_stem().map_or_else(|| "text".into(), |name| name.to_string_lossy().into_owned());
            let corpus: Box<dyn Corpus> = if path.join("index.json").is_file() {
                let count = MdsRows::open(&path)?.len().min(config.rows.unwrap_or(usize::MAX));
                let sources = vec![format!("{}", path.display())];
                let rows = RowsConfig { sources, unmasked: config.unmasked, ..RowsConfig::default() };
                Box::new(First { count, rows: MixedRows::open(&rows, vocabulary, Streams::new(0))? })
            } else {
                let text = TextConfig {
                    paths: vec![path],
                    field: config.field.clone(),
                    row: config.row,
                    unmasked: config.unmasked,
                    rows: config.rows,
                    ..TextConfig::default()
                };
                Box::new(text::batches(&text, tokenizer, end)?)
            };
            domains.push(Domain::new(&name, corpus, config.held_out)?);
        }
        if domains.is_empty() {
            return Err(Error::config(
                "data.folder",
                format!("expected domains in {}, found none", config.folder.display()),
            ));
        }
        Ok(domains)
    }

    /// A domain of these rows, of which the first are held out.
    ///
    /// # Errors
    /// [`Error::Config`] where none is held out, or none is left.
    pub fn new(name: &str, corpus: Box<dyn Corpus>, held_out: usize) -> Result<Self> {
        if held_out == 0 || corpus.len() <= held_out {
            let what = format!("expected more rows than the {held_out} (at least 1) held out, found {}", corpus.len());
            return Err(Error::config(format!("domain {name}"), what));
        }
        Ok(Domain { name: name.into(), corpus, held_out })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows to train on.
    pub fn rows(&self) -> usize {
        self.corpus.len() - self.held_out
    }

    /// One of them.
    ///
    /// # Errors
    /// A source that cannot be read.
    pub fn batch(&self, row: usize) -> Result<Batch> {
        self.corpus.batch(self.held_out + row)
    }

    /// Mean loss over the tokens held out, nats.
    ///
    /// # Errors
    /// Ids beyond the vocabulary.
    pub fn loss(&self, decoder: &Decoder) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0_u32);
        for row in 0..self.held_out {
            for loss in losses(decoder, &self.corpus.batch(row)?)?.into_iter().flatten() {
                sum += loss;
                count += 1;
            }
        }
        Ok(sum / f64::from(count.max(1)))
    }

    /// The first row that is held out.
    ///
    /// # Errors
    /// A source that cannot be read.
    pub fn sample(&self) -> Result<Batch> {
        self.corpus.batch(0)
    }
}

/// The first rows of a mixture.
struct First {
    count: usize,
    rows: MixedRows,
}

impl Corpus for First {
    fn len(&self) -> usize {
        self.count
    }

    fn batch(&self, number: usize) -> Result<Batch> {
        self.rows.batch(number)
    }
}

/// The folders of the domains: those below that hold text or rows, else the path itself.
fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() || path.join("index.json").is_file() {
        return Ok(vec![path.into()]);
    }
    let list = |path: &Path| -> Result<Vec<PathBuf>> {
        let mut all: Vec<PathBuf> =
            std::fs::read_dir(path).map_err(Error::io(path))?.flatten().map(|e| e.path()).collect();
        all.sort();
        Ok(all)
    };
    let is_text = |path: &PathBuf| path.extension().is_some_and(|e| e == "jsonl");
    let mut found = Vec::new();
    for folder in list(path)?.into_iter().filter(|path| path.is_dir()) {
        if folder.join("index.json").is_file() || list(&folder)?.iter().any(is_text) {
            found.push(folder);
        }
    }
    if found.is_empty() && list(path)?.iter().any(is_text) {
        found.push(path.into());
    }
    Ok(found)
}

/// One row of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pick {
    /// Number of the domain.
    pub domain: usize,
    /// Number of the row.
    pub row: usize,
}

/// What a loader must remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderState {
    /// Weights of the domains, which sum to 1.
    pub weights: Vec<f64>,
    /// Rows drawn of each so far.
    pub drawn: Vec<u64>,
}

/// Draws rows.
pub struct Loader {
    state: LoaderState,
    sizes: Vec<usize>,
    streams: Streams,
    /// The order of the rows of each domain in its present pass.
    orders: Vec<Option<(u64, Vec<usize>)>>,
}

impl Loader {
    /// A loader of domains of these numbers of rows.
    ///
    /// # Errors
    /// [`Error::Config`] for weights that are negative, not finite, all zero, or of another number.
    pub fn new(sizes: &[usize], weights: &[f64], streams: Streams) -> Result<Self> {
        let fits = weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().sum::<f64>() > 0.0;
        if sizes.len() != weights.len() || !fits || sizes.contains(&0) {
            let what = format!("expected {} numbers from 0 on, of domains with rows, found {weights:?}", sizes.len());
            return Err(Error::config("weights", what));
        }
        let state = LoaderState { weights: normalised(weights.to_vec()), drawn: vec![0; sizes.len()] };
        Ok(Loader { state, sizes: sizes.to_vec(), streams, orders: vec![None; sizes.len()] })
    }

    /// What is remembered.
    pub fn state(&self) -> &LoaderState {
        &self.state
    }

    /// Goes on from there.
    ///
    /// # Errors
    /// [`Error::Config`] for another number of domains.
    pub fn restore(&mut self, state: LoaderState) -> Result<()> {
        if state.weights.len() != self.sizes.len() || state.drawn.len() != self.sizes.len() {
            let what = format!("expected those of {} domains, found {}", self.sizes.len(), state.weights.len());
            return Err(Error::config("state of the loader", what));
        }
        self.state = state;
        Ok(())
    }

    /// Other weights from now on.
    pub fn reweigh(&mut self, weights: Vec<f64>) {
        self.state.weights = weights;
    }

    /// The next row; `counters` tell draws apart.
    pub fn next(&mut self, counters: &[u64]) -> Pick {
        let u: f64 = self.streams.stream("pruning.domain", counters).random_range(0.0..1.0);
        let mut sum = 0.0;
        let reached = self.state.weights.iter().position(|w| {
            sum += w;
            u < sum
        });
        // Rounding may leave the sum below u: the last domain with any weight.
        let last = || self.state.weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
        let domain = reached.unwrap_or_else(last);
        let (size, drawn) = (self.sizes[domain] as u64, self.state.drawn[domain]);
        self.state.drawn[domain] += 1;
        let pass = drawn / size;
        let streams = self.streams;
        let order = match &mut self.orders[domain] {
            Some((of, order)) if *of == pass => order,
            slot => {
                let mut order: Vec<usize> = (0..size as usize).collect();
                order.shuffle(&mut streams.stream("pruning.rows", &[domain as u64, pass]));
                &mut slot.insert((pass, order)).1
            }
        };
        Pick { domain, row: order[(drawn % size) as usize] }
    }

    /// How often the rows of each domain were seen, on average.
    pub fn passes(&self) -> Vec<f64> {
        self.state.drawn.iter().zip(&self.sizes).map(|(n, size)| *n as f64 / *size as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_by_weight_each_once_a_pass_and_go_on_from_a_state() {
        let make = || Loader::new(&[40, 10], &[3.0, 1.0], Streams::new(5)).unwrap();
        let (mut loader, mut seen) = (make(), Vec::new());
        for k in 0..4000 {
            if k == 1500 {
                let mut other = make();
                other.restore(loader.state().clone()).unwrap();
                loader = other;
            }
            seen.push(loader.next(&[k]));
        }
        let mut whole = make();
        assert!(seen.iter().enumerate().all(|(k, pick)| whole.next(&[k as u64]) == *pick));
        let first: Vec<usize> = seen.iter().filter(|p| p.domain == 0).map(|p| p.row).collect();
        assert!((first.len() as f64 / 4000.0 - 0.75).abs() < 0.03);
        for pass in first.chunks_exact(40) {
            let mut rows = pass.to_vec();
            rows.sort_unstable();
            assert_eq!(rows, (0..40).collect::<Vec<_>>());
        }
        assert_ne!(first[..40], first[40..80]);
        assert!((loader.passes()[0] - first.len() as f64 / 40.0).abs() < 1e-12);
        // A domain without weight is not seen.
        loader.reweigh(vec![0.0, 1.0]);
        assert!((0..50).all(|k| loader.next(&[k, 1]).domain == 1));
        assert!(Loader::new(&[1, 1], &[0.0, 0.0], Streams::new(1)).is_err());
        assert!(Loader::new(&[1, 1], &[0.5], Streams::new(1)).is_err());
    }

    #[test]
    fn a_domain_needs_rows_beside_those_held_out() {
        let rows = || Box::new(vec![Batch::whole(&[1, 2]).unwrap(); 3]);
        let domain = Domain::new("a", rows(), 2).unwrap();
        assert_eq!((domain.name(), domain.rows()), ("a", 1));
        for held_out in [0, 3] {
            let message = Domain::new("a", rows(), held_out).err().unwrap().to_string();
            assert!(message.starts_with("domain a: expected more rows"), "{message}");
        }
    }
}
