//! `tesseral lm eval run | ls | validate | helmet | llmbar | alce | in-context`: benchmarks of language models.

mod alce;
mod helmet;
mod in_context;
mod judge;
mod llmbar;
mod ls;
mod model;
mod run;
mod validate;

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tesseral::lm::evaluation::tasks::{TaskFile, find};
use tesseral::nn::train::files::write_atomic;

use crate::cli::{Common, Pictures};

#[derive(Subcommand)]
pub(crate) enum Eval {
    /// Ask a model and score its answers; a run that was stopped goes on where it was
    Run(run::Run),
    /// List tasks
    Ls(ls::Ls),
    /// Check task files and their data without a model, and show the first request of each
    Validate(validate::Validate),
    /// Long contexts (HELMET): generate, judge, report
    #[command(subcommand)]
    Helmet(helmet::Helmet),
    /// Judges of instruction following (LLMBar): replay, bias
    #[command(subcommand)]
    Llmbar(llmbar::LlmBar),
    /// Answers with citations (ALCE): score
    #[command(subcommand)]
    Alce(alce::Alce),
    /// Task recognition and task learning: report
    #[command(subcommand)]
    InContext(in_context::InContext),
}

impl Eval {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        match self {
            Eval::Run(verb) => verb.run(common),
            Eval::Ls(verb) => verb.run(common),
            Eval::Validate(verb) => verb.run(common),
            Eval::Helmet(verb) => verb.run(common),
            Eval::Llmbar(verb) => verb.run(common),
            Eval::Alce(verb) => verb.run(common),
            Eval::InContext(verb) => verb.run(common),
        }
    }
}

/// Writes `report.json`, and the picture `name` in the formats asked for.
fn write_report(
    out: &Path,
    value: &Value,
    pictures: &Pictures,
    name: &str,
    draw: impl Fn(&Path) -> tesseral::physics::Result<()>,
) -> Result<()> {
    write_atomic(&out.join("report.json"), format!("{value:#}\n").as_bytes())?;
    for format in &pictures.formats {
        draw(&format.file(&out.join(name)))?;
    }
    Ok(())
}

/// The task files of some files and folders.
fn task_files(paths: &[PathBuf]) -> Result<Vec<(PathBuf, TaskFile)>> {
    let mut all = Vec::new();
    for path in paths {
        for file in find(path)? {
            let task = TaskFile::read(&file)?;
            all.push((file, task));
        }
    }
    Ok(all)
}
