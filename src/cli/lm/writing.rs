//! Options of the verbs that write text, and how it appears.

use anyhow::{Context, Result};
use clap::Args;
use std::io::Write;
use tesseral::lm::model::generate::GenerateOptions;
use tesseral::lm::model::sampling::Sampling;

use crate::cli::{Common, Usage};

#[derive(Args)]
pub(crate) struct Writing {
    /// The text to continue; `-` reads it from standard input
    #[arg(long)]
    prompt: String,
    /// Most new tokens
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// 0: always the most probable token
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f64,
    /// At a temperature above 0: draw from the k most probable tokens; 0: from all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// At a temperature above 0: draw from the fewest tokens that have this probability together
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Of the random stream
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End before this text; may be repeated
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
}

impl Writing {
    pub(crate) fn prompt(&self) -> Result<String> {
        Ok(match self.prompt.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()).context("standard input: expected a text in UTF-8")?,
            text => text.to_string(),
        })
    }

    pub(crate) fn options(&self) -> Result<GenerateOptions> {
        let sampling =
            Sampling { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, seed: self.seed };
        sampling.validate().context(Usage("sampling"))?;
        let (max_tokens, stop) = (self.max_tokens, self.stop.clone());
        Ok(GenerateOptions { max_tokens, sampling, stop, ..Default::default() })
    }
}

/// Writes text as it is made; with --json it comes whole. Nobody reading is no failure.
pub(crate) fn tell(common: &Common) -> impl FnMut(&str) {
    let json = common.json;
    move |piece| {
        if !json {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "{piece}").and_then(|()| out.flush());
        }
    }
}
