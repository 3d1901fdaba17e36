//! `tesseral lm eval validate`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tesseral::lm::evaluation::backend::rule::RuleBackend;
use tesseral::lm::evaluation::report::Done;
use tesseral::lm::evaluation::store::Store;

use super::task_files;
use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Validate {
    /// Task files, or folders of them
    #[arg(required = true)]
    tasks: Vec<PathBuf>,
    /// The folder from which tasks name their data
    #[arg(long, default_value = ".")]
    data: PathBuf,
}

impl Validate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let nobody: RuleBackend = "empty".parse()?;
        let mut found = Vec::new();
        for (file, task) in task_files(&self.tasks)? {
            let task = task.open(&self.data)?;
            let done = Done::run(task.as_ref(), &nobody, &mut Store::in_memory(), Some(1))?;
            let first = done.samples.first().and_then(|sample| sample.requests.first());
            found.push(json!({"name": task.name(), "file": file, "version": task.version(), "first_request": first,
                "config": done.description}));
        }
        common.print(&found, || {
            let line = |task: &serde_json::Value| format!("{}\n{:#}\n\n", task["name"], task["first_request"]);
            found.iter().map(line).collect()
        })
    }
}
