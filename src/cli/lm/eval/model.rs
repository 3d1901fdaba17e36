//! Who answers: the options of every evaluation that asks.

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tesseral::lm::evaluation::backend::Backend;
use tesseral::lm::evaluation::backend::endpoint::{Endpoint, EndpointOptions};
use tesseral::lm::evaluation::backend::local::Local;
use tesseral::lm::evaluation::backend::rule::RuleBackend;
use tesseral::lm::evaluation::backend::table::Table;
use tesseral::lm::model::weights::Storage;

use crate::cli::Usage;

#[derive(Args)]
pub(super) struct Model {
    /// A Hugging Face folder or GGUF file; http://HOST/v1 of an OpenAI-compatible server; table:FILE of kept answers; or a
    /// rule: rule:empty, rule:echo, rule:constant:TEXT
    #[arg(long)]
    model: String,
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

impl Model {
    pub(super) fn open(&self) -> Result<Box<dyn Backend>> {
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
        if let Some((scheme, _)) = model.split_once("://") {
            let what = anyhow!("expected http:// or https://, found {scheme}://");
            return Err(what.context(Usage("--model")));
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
