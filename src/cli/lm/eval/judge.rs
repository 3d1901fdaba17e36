//! `tesseral lm eval helmet judge`.

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::SystemTime;
use tesseral::lm::evaluation::ask::Asker;
use tesseral::lm::evaluation::compat::Compat;
use tesseral::lm::evaluation::helmet::judge::{Judge as Judging, Prompts, Verdicts, judge_samples, judged};
use tesseral::lm::evaluation::report::{self, Done};
use tesseral::lm::evaluation::store::Store;

use super::model::Model;
use crate::cli::{Common, Usage, at_least_one};

#[derive(Args)]
pub(crate) struct Judge {
    /// Folders of finished runs of one model
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    model: Model,
    /// The judge's prompts, a TOML or JSON file of texts by name: judge_prompt of stories, fluency_prompt, recall_prompt and
    /// precision_prompt of summaries, the same with _book of books
    #[arg(long)]
    prompts: PathBuf,
    /// The folder of verdicts, samples and results
    #[arg(long)]
    out: PathBuf,
    /// At most so many samples of each task, for testing only
    #[arg(long, value_parser = at_least_one)]
    limit: Option<usize>,
    /// Most tokens of a verdict
    #[arg(long, default_value_t = 4096, conflicts_with = "likeliest")]
    max_tokens: usize,
    /// Take the likeliest of all verdicts that there can be, for a judge that writes none that parses
    #[arg(long)]
    likeliest: bool,
    /// Judge as the original does: at temperature 0.1, numbers out of their range counted
    #[arg(long)]
    original: bool,
}

impl Judge {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let prompts = Prompts::read(&self.prompts)?;
        let place = std::path::absolute(&self.out)?;
        if self.runs.iter().any(|run| std::path::absolute(run).is_ok_and(|run| run == place)) {
            return Err(anyhow!("expected another folder than the runs'").context(Usage("--out")));
        }
        let (model, found) = report::read_all(&self.runs)?;
        let of_kind = |task: Done| judged(&task.description).map(|dataset| (dataset, task));
        let tasks: Vec<_> = found.into_iter().filter_map(of_kind).collect();
        if tasks.is_empty() {
            return Err(anyhow!(
                "expected a task on narrativeqa, multi_lexsum or infbench_sum_eng in one of the runs, found none"
            ));
        }
        let judge = self.model.open()?;
        let compat = if self.original { Compat::Original } else { Compat::Mended };
        let mut judging = Judging::writing(prompts, compat);
        if self.likeliest {
            judging.verdicts = Verdicts::Likeliest;
        } else if let Verdicts::Written(decoding) = &mut judging.verdicts {
            decoding.max_tokens = self.max_tokens;
        }
        let mut store = Store::open(&self.out.join("answers.jsonl"))?;
        let mut done = Vec::new();
        for (dataset, mut task) in tasks {
            if !common.quiet {
                eprintln!("{} ({} verdicts kept)", task.name, store.len());
            }
            task.samples.truncate(self.limit.unwrap_or(usize::MAX));
            let mut asker = Asker::new(judge.as_ref(), &mut store);
            judge_samples(&mut asker, &judging, &dataset, &mut task.samples)?;
            let verdicts = if self.likeliest { "likeliest" } else { "written" };
            task.description["judge"] = json!({
                "model": judge.identity(), "prompts": self.prompts, "verdicts": verdicts, "compat": compat,
            });
            done.push(task);
        }
        let results = report::results(&done, &model, self.limit, SystemTime::now());
        report::write(&self.out, &done, &results)?;
        common.print(&results, || report::table(&done))
    }
}
