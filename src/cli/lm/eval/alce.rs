//! `tesseral lm eval alce score`: answers that are there already.

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use std::str::FromStr;
use tesseral::lm::evaluation::alce::data::{self, Dataset};
use tesseral::lm::evaluation::alce::score::{self, Style};
use tesseral::lm::evaluation::compat::Compat;
use tesseral::lm::evaluation::entailment::Entailment;
use tesseral::lm::evaluation::entailment::cached::Cached;
use tesseral::lm::evaluation::entailment::source::Source;

use crate::cli::{Common, Usage};

#[derive(Subcommand)]
pub(crate) enum Alce {
    /// Score the outputs of a file of ALCE's results
    Score(Score),
}

impl Alce {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        match self {
            Alce::Score(verb) => verb.run(common),
        }
    }
}

/// `lexical`, `t5:FOLDER`, `deberta:FOLDER` or `recorded:FILE`.
#[derive(Clone)]
struct Judge(Source);

impl FromStr for Judge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Judge(match text.split_once(':') {
            None if text == "lexical" => Source::Lexical { threshold: 0.8 },
            Some(("t5", folder)) => Source::T5 { folder: folder.into(), limit: None },
            Some(("deberta", folder)) => Source::Deberta { folder: folder.into(), limit: None },
            Some(("recorded", file)) => Source::Recorded { file: file.into() },
            _ => return Err("expected lexical, t5:FOLDER, deberta:FOLDER or recorded:FILE".into()),
        }))
    }
}

#[derive(Args)]
pub(crate) struct Score {
    /// A JSON list of questions with their `output` and documents, or an object with the list as `data`
    file: PathBuf,
    /// Which set: asqa, qampari or eli5; absent: by the name of the file
    #[arg(long)]
    dataset: Option<String>,
    /// What judges citations and claims: t5:FOLDER (TRUE), deberta:FOLDER, recorded:FILE, or lexical, words counted, which is
    /// not ALCE-grade
    #[arg(long)]
    entailment: Judge,
    /// A file of verdicts that are kept; those of another judge are refused
    #[arg(long)]
    verdicts: Option<PathBuf>,
    /// Score by HELMET's copy of the rules
    #[arg(long)]
    helmet: bool,
    /// Move marks after a period before it first
    #[arg(long)]
    reattach: bool,
    /// Keep the original's defects
    #[arg(long)]
    original: bool,
}

impl Score {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let dataset = match &self.dataset {
            Some(name) => serde_json::from_value(json!(name)).map_err(|e| anyhow!(e)).context(Usage("--dataset"))?,
            None => {
                std::fs::metadata(&self.file).with_context(|| self.file.display().to_string())?;
                Dataset::of(&self.file)?
            }
        };
        let rows = data::read(&self.file, dataset)?;
        let model = self.entailment.0.open()?;
        let model = match &self.verdicts {
            Some(file) => Cached::load(model, file)?,
            None => Cached::new(model),
        };
        let style = if self.helmet { Style::Helmet } else { Style::Alce };
        let options = score::Options { style, reattach: self.reattach, ..score::Options::default() };
        let compat = if self.original { Compat::Original } else { Compat::Mended };
        let found = score::evaluate(&rows, dataset, &options, compat, &model)?;
        if let Some(file) = &self.verdicts {
            model.save(file)?;
        }
        let value = json!({"answers": rows.len(), "entailment": model.identity(), "scores": found.scores});
        common.print(&value, || {
            let scores = found.scores.iter().map(|(name, score)| format!("{name} {score:.2}\n"));
            scores.chain(found.counts.line()).chain([format!("\njudged by {}", model.identity())]).collect()
        })
    }
}
