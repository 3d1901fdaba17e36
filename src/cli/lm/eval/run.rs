//! `tesseral lm eval run`.

use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::SystemTime;
use tesseral::lm::evaluation::backend::Backend;
use tesseral::lm::evaluation::backend::endpoint::{Endpoint, EndpointOptions};
use tesseral::lm::evaluation::backend::local::Local;
use tesseral::lm::evaluation::backend::rule::RuleBackend;
use tesseral::lm::evaluation::backend::table::Table;
use tesseral::lm::evaluation::report::{self, Done};
use tesseral::lm::evaluation::store::Store;
use tesseral::lm::model::weights::Storage;

use super::task_files;
use crate::cli::{Common, Usage};

#[derive(Args)]
pub(crate) struct Run {
    /// A Hugging Face folder or GGUF file; http://HOST/v1 of an OpenAI-compatible server; table:FILE of kept answers; or a
    /// rule: rule:empty, rule:echo, rule:constant:TEXT
    #[arg(long)]
    model: String,
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
    #[arg(long)]
    limit: Option<usize>,
    /// Keep the weights of a local model in bf16
    #[arg(long)]
    bf16: bool,
    /// With a server: the name of the model there
    #[arg(long)]
    served_model: Option<String>,
    /// With a server: most requests at a time
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// With a server: the environment variable that holds the key
    #[arg(long, default_value = "OPENAI_API_KEY")]
    key_variable: String,
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
        let backend = self.backend()?;
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

    fn backend(&self) -> Result<Box<dyn Backend>> {
        let model = self.model.as_str();
        if model.starts_with("http://") || model.starts_with("https://") {
            let served =
                self.served_model.clone().ok_or(Usage("--served-model: expected the name of the model there"))?;
            let options = EndpointOptions {
                url: model.into(),
                model: served,
                key_variable: self.key_variable.clone(),
                concurrency: self.concurrency,
                retries: 5,
                timeout_s: 600,
            };
            return Ok(Box::new(Endpoint::new(options).context(Usage("--model"))?));
        }
        if let Some(rule) = model.strip_prefix("rule:") {
            return Ok(Box::new(rule.parse::<RuleBackend>().context(Usage("--model"))?));
        }
        if let Some(file) = model.strip_prefix("table:") {
            return Ok(Box::new(Table::open(file.as_ref())?));
        }
        let storage = if self.bf16 { Storage::Bf16 } else { Storage::F32 };
        Ok(Box::new(Local::open(model.as_ref(), storage)?))
    }
}
