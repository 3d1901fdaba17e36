//! Which entailment model a task is to use, as its settings say.

use super::Entailment;
use super::deberta::Deberta;
use super::lexical::Lexical;
use super::recorded::Recorded;
use super::t5::T5;
use crate::Result;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A choice of model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// Words counted; not ALCE-grade.
    Lexical {
        /// Least share of the content words.
        #[serde(default = "threshold")]
        threshold: f64,
    },
    /// A table.
    Recorded {
        /// JSON, `[[premise, hypothesis, 0 or 1], ..]`.
        file: PathBuf,
    },
    /// T5 trained as TRUE.
    T5 {
        /// Hugging Face folder.
        folder: PathBuf,
        /// Most tokens of an input.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// A DeBERTa v2 or v3 classifier.
    Deberta {
        /// Hugging Face folder.
        folder: PathBuf,
        /// Most tokens of an input.
        #[serde(default)]
        limit: Option<usize>,
    },
}

fn threshold() -> f64 {
    0.8
}

impl Source {
    /// Loads the model.
    ///
    /// # Errors
    /// Those of each kind.
    pub fn open(&self) -> Result<Box<dyn Entailment>> {
        Ok(match self {
            Source::Lexical { threshold } => Box::new(Lexical::new(*threshold)?),
            Source::Recorded { file } => Box::new(Recorded::read(file)?),
            Source::T5 { folder, limit } => Box::new(T5::open(folder, *limit)?),
            Source::Deberta { folder, limit } => Box::new(Deberta::open(folder, *limit)?),
        })
    }
}
