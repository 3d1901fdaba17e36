//! `tesseral lm eval in-context report`: accuracy by number of demonstrations, of finished runs of one or more models.

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use tesseral::lm::evaluation::in_context::report::Experiment;
use tesseral::lm::evaluation::report;
use tesseral::plot::in_context::{Line, Panel, draw};

use super::write_report;
use crate::cli::{Common, Pictures, Usage};

#[derive(Subcommand)]
pub(crate) enum InContext {
    /// Accuracy by kind of label and number of demonstrations, of finished runs
    Report(Report),
}

impl InContext {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        match self {
            InContext::Report(verb) => verb.run(common),
        }
    }
}

#[derive(Args)]
pub(crate) struct Report {
    /// Folders of finished runs, one a model; models are called as their folders
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// A folder for report.json and the picture
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: Pictures,
}

impl Report {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let mut names: Vec<_> = self.runs.iter().map(|run| run.file_name().unwrap_or(run.as_os_str())).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("expected folders of different names, found {} twice", pair[0].display());
            return Err(anyhow!(message).context(Usage("RUNS")));
        }
        let mut found = Vec::new();
        for run in &self.runs {
            let model = run.file_name().unwrap_or(run.as_os_str()).to_string_lossy();
            found.extend(report::read(run)?.1.iter().filter_map(|task| Experiment::of(&model, task)));
        }
        if found.is_empty() {
            return Err(anyhow!("expected a task of the family in-context in one of the runs, found none"));
        }
        if let Some(out) = &self.out {
            let panels: Vec<Panel> = found.iter().map(panel).collect();
            write_report(out, &json!(found), &self.pictures, "by_demonstrations", |path| draw(path, &panels))?;
        }
        common.print(&found, || found.iter().map(Experiment::table).collect())
    }
}

fn panel(experiment: &Experiment) -> Panel {
    let mut lines: Vec<Line> = Vec::new();
    for row in &experiment.rows {
        let point = (row.demonstrations, row.accuracy, row.standard_error);
        match lines.last_mut() {
            Some(line) if line.name == row.mode.name() => line.points.push(point),
            _ => lines.push(Line { name: row.mode.name().into(), points: vec![point] }),
        }
    }
    Panel { name: format!("{}: {}", experiment.model, experiment.name), chance: experiment.chance, lines }
}
