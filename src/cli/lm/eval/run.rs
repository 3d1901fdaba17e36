//! `tesseral lm eval run`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::time::SystemTime;
use tesseral::lm::evaluation::report::{self, Done};
use tesseral::lm::evaluation::store::Store;

use super::model::Model;
use super::task_files;
use crate::cli::{Common, Usage, at_least_one};

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    model: Model,
    /// Task files, or folders of them
    #[arg(long, value_delimiter = ',', required = true)]
    tasks: Vec<PathBuf>,
    /// The folder from which tasks name their data
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// The folder of answers, samples and results
    #[arg(long)]
    out: PathBuf,
    /// At most so many samples of each task, for testing only
    #[arg(long, value_parser = at_least_one)]
    limit: Option<usize>,
}

impl Run {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let files = task_files(&self.tasks)?;
        let tasks = files.into_iter().map(|(_, file)| Ok(file.open(&self.data)?)).collect::<Result<Vec<_>>>()?;
        let mut names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("expected tasks of different names, found {:?} twice", pair[0]);
            return Err(anyhow::anyhow!(message).context(Usage("--tasks")));
        }
        let backend = self.model.open()?;
        if let Some((model, kept)) = report::kept(&self.out)? {
            let wrong =
                |what: String| Err(anyhow::anyhow!("expected the folder of a run of {what}").context(Usage("--out")));
            if model != backend.identity() {
                return wrong(format!("{}, found one of {model}", backend.identity()));
            }
            if let Some(other) = kept.iter().find(|name| !names.contains(&name.as_str())) {
                return wrong(format!("these tasks, found one with {other:?} too, whose results this would replace"));
            }
        }
        let mut store = Store::open(&self.out.join("answers.jsonl"))?;
        let mut done = Vec::new();
        for task in &tasks {
            if !common.quiet {
                eprintln!("{} ({} answers kept)", task.name(), store.len());
            }
            done.push(Done::run(task.as_ref(), backend.as_ref(), &mut store, self.limit)?);
        }
        let results = report::results(&done, backend.identity(), self.limit, SystemTime::now());
        report::write(&self.out, &done, &results)?;
        common.print(&results, || report::table(&done))
    }
}
