//! `tesseral data split`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::data;

use crate::cli::{Common, three_numbers};

#[derive(Args)]
pub(crate) struct Split {
    /// A folder of structures
    path: PathBuf,
    /// Shares of training, validation and test structures
    #[arg(long, value_parser = three_numbers, default_value = "0.8,0.1,0.1")]
    fractions: [f64; 3],
    /// Seed of the draw
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Split the structures of each folder (tier) by themselves
    #[arg(long)]
    by_folder: bool,
    /// Where to write it; by default dataset_split.json in PATH, which must not exist then
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Split {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let (split, out) = data::split(&self.path, self.fractions, self.seed, self.by_folder, self.out.as_deref())?;
        let [train, validate, test] = split.parts().map(|(_, ids)| ids.len());
        let value = json!({"train": train, "validate": validate, "test": test, "seed": self.seed, "out": out});
        common.print(&value, || format!("{}: train {train}, validate {validate}, test {test}", out.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
