//! `tesseral lm eval llmbar replay | bias`: stored results of judges, computed again and looked through.

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use tesseral::lm::evaluation::llmbar::bias::{self, Bias as Leanings};
use tesseral::lm::evaluation::llmbar::replay::{Replay as Replayed, table};

use crate::cli::Common;

#[derive(Subcommand)]
pub(crate) enum LlmBar {
    /// Compute stored winners and statistics again; fails if one differs
    Replay(Replay),
    /// What judges lean to: the output shown first, the longer one
    Bias(Bias),
}

impl LlmBar {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        match self {
            LlmBar::Replay(verb) => verb.run(common),
            LlmBar::Bias(verb) => verb.run(common),
        }
    }
}

#[derive(Args)]
pub(crate) struct Replay {
    /// LLMBar's folder, or one in it, with result.json and statistics.json of judges
    folder: PathBuf,
    /// LLMBar's folder LLMEvaluator/evaluators; found in the folder or above it if not given
    #[arg(long)]
    evaluators: Option<PathBuf>,
}

impl Replay {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let replayed = Replayed::of(&self.folder, self.evaluators.as_deref())?;
        common.print(&replayed, || replay_text(&replayed))?;
        let (count, plural) = (replayed.differences.len(), if replayed.differences.len() == 1 { "" } else { "s" });
        ensure!(replayed.is_exact(), "{}: {count} difference{plural} from what is stored", self.folder.display());
        Ok(())
    }
}

fn replay_text(replayed: &Replayed) -> String {
    let mut text = String::from("accuracy/agreement in percent\n");
    for row in &replayed.table {
        let _ = write!(text, "{:<13} {:<25}", row.llm, row.strategy);
        for (subset, cell) in ordered(&row.subsets) {
            let _ = write!(text, " {subset} {}", pair(cell.accuracy, cell.agreement));
        }
        for (name, average) in [("adversarial", row.adversarial), ("average", row.average)] {
            if let Some(average) = average {
                let _ = write!(text, " {name} {}", pair(average.accuracy, average.agreement));
            }
        }
        text.push('\n');
    }
    for difference in &replayed.differences {
        let example = difference.example.map(|example| format!(": example {example}")).unwrap_or_default();
        let _ = writeln!(text, "{}{example}: {}", difference.file, difference.what);
    }
    let _ = writeln!(
        text,
        "{} files: {} of {} winners and {} of {} statistics as stored",
        replayed.files, replayed.winners_equal, replayed.completions, replayed.statistics_equal, replayed.statistics
    );
    text
}

fn pair(accuracy: f64, agreement: f64) -> String {
    format!("{:.1}/{:.1}", accuracy * 100.0, agreement * 100.0)
}

/// The paper's subsets in its order, then the others.
fn ordered<T>(subsets: &BTreeMap<String, T>) -> Vec<(&String, &T)> {
    let place = |name: &str| ["Natural"].iter().chain(&table::ADVERSARIAL).position(|known| *known == name);
    let mut ordered: Vec<_> = subsets.iter().collect();
    ordered.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    ordered
}

#[derive(Args)]
pub(crate) struct Bias {
    /// LLMBar's folder, or one in it, with result.json of judges or dataset.json
    folder: PathBuf,
}

impl Bias {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let leanings = Leanings::of(&self.folder)?;
        common.print(&leanings, || bias_text(&leanings))
    }
}

fn bias_text(leanings: &Leanings) -> String {
    let mut text =
        String::from("percent of verdicts for the output shown first / for the longer one / without a winner\n");
    for row in &leanings.judges {
        let _ = write!(text, "{:<13} {:<25} all {}", row.llm, row.strategy, shares(&row.all));
        for (subset, found) in ordered(&row.subsets) {
            let _ = write!(text, " {subset} {}", shares(found));
        }
        text.push('\n');
    }
    text.push_str("percent right without a model: the longer output / the one with more words of the instruction\n");
    for (subset, found) in ordered(&leanings.baselines) {
        let _ = writeln!(text, "{subset:<39} {}", pair(found.longer, found.overlap));
    }
    text
}

fn shares(found: &bias::Shares) -> String {
    let percent = |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:.1}", share * 100.0));
    [found.first_shown, found.longer, found.unparsed].map(percent).join("/")
}
