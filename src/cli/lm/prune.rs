//! `tesseral lm prune`.

use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use tesseral::lm::configuration::Configuration;
use tesseral::lm::pruning::shape::Target;
use tesseral::lm::pruning::{PruneConfig, prune};
use tesseral::plot::course;

use crate::cli::{Common, Pictures, Usage};
use crate::progress::{Progress, TEXT, stop_on_interrupt};

#[derive(Args)]
pub(crate) struct Prune {
    /// A TOML file (see configs/prune); without one the defaults, which are the published run's
    config: Option<PathBuf>,
    /// A Hugging Face folder, a GGUF file, or a folder with one
    #[arg(long)]
    model: Option<PathBuf>,
    /// The shape to cut to: layers=..,heads=..,hidden=..,intermediate=..; what is not named stays
    #[arg(long)]
    target: Option<String>,
    /// A folder with a folder of .jsonl files, or of packed rows, for each domain; or one such folder or file
    #[arg(long)]
    data: Option<PathBuf>,
    /// The run folder; the smaller model is the folder `model` in it
    #[arg(long)]
    out: PathBuf,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    pictures: Pictures,
}

impl Prune {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let read = match &self.config {
            Some(file) => PruneConfig::read(file, &common.set),
            None => PruneConfig::parse("", Path::new("--set"), &common.set),
        };
        let mut config = read.context(Usage("configuration"))?;
        if let Some(target) = &self.target {
            config.target = target.parse::<Target>().context(Usage("--target"))?;
        }
        config.source = self.model.clone().unwrap_or(config.source);
        config.data.folder = self.data.clone().unwrap_or(config.data.folder);
        for (option, path) in [("--model", &config.source), ("--data", &config.data.folder)] {
            if path.as_os_str().is_empty() {
                return Err(anyhow::anyhow!("{option}: expected a path, found none").context(Usage("configuration")));
            }
        }
        let mut progress = Progress::with_units(common.quiet, TEXT);
        let found = prune(&config, &self.out, self.resume, &mut progress, stop_on_interrupt())?;
        for format in &self.pictures.formats {
            course::draw(&format.file(&self.out.join("pruning")), &self.out.join("metrics.jsonl"), &course::PRUNING)?;
        }
        common.print(&found, || found.table())
    }
}
