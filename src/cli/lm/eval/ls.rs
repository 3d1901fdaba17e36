//! `tesseral lm eval ls`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

use super::task_files;
use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Ls {
    /// Task files, or folders of them
    #[arg(default_value = "configs/eval")]
    tasks: Vec<PathBuf>,
}

impl Ls {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let mut rows = Vec::new();
        for (file, task) in task_files(&self.tasks)? {
            let value = serde_json::to_value(&task)?;
            rows.push(json!({"name": value["name"], "family": value["family"], "file": file}));
        }
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_string();
        common.print(&rows, || {
            let line =
                |r: &serde_json::Value| format!("{}\t{}\t{}\n", text(&r["name"]), text(&r["family"]), text(&r["file"]));
            rows.iter().map(line).collect()
        })
    }
}
