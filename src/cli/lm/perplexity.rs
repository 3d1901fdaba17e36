//! `tesseral lm perplexity`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tesseral::lm::data::documents::{Content, Reader};
use tesseral::lm::long_context::perplexity::by_length;
use tesseral::lm::model::generate::TextModel;
use tesseral::lm::model::weights::Storage;

use crate::cli::{Common, at_least_one};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Perplexity {
    /// Lines of JSON (files or folders of .jsonl)
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// A Hugging Face folder, a GGUF file, or a folder with one
    #[arg(long)]
    model: PathBuf,
    /// Tokens of context and window; documents shorter than the largest are left out
    #[arg(long, value_delimiter = ',', default_value = "512,1024,2048")]
    lengths: Vec<usize>,
    /// Tokens that are counted: the last ones, the same at every length
    #[arg(long, default_value_t = 256, value_parser = at_least_one)]
    window: usize,
    /// Documents at most
    #[arg(long, default_value_t = 16, value_parser = at_least_one)]
    documents: usize,
    /// The field with the text
    #[arg(long, default_value = "text")]
    field: String,
}

impl Perplexity {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let model = TextModel::open(&self.model, Storage::F32)?;
        let content = Content::Text(self.field.clone());
        let reader = Reader::new(&content, Some(&model.tokenizer));
        let largest = self.lengths.iter().copied().max().unwrap_or(0);
        let (mut documents, mut longest) = (Vec::new(), Vec::new());
        'paths: for path in &self.paths {
            for document in reader.open(path)? {
                if documents.len() >= self.documents {
                    break 'paths;
                }
                let ids = document?.ids;
                if ids.len() >= largest {
                    documents.push(ids);
                } else if ids.len() > longest.len() {
                    longest = ids; // for the message, where none is long enough
                }
            }
        }
        documents.extend(if documents.is_empty() { Some(longest) } else { None });
        let found =
            by_length(&model.decoder, &documents, &self.lengths, self.window, &mut Progress::new(common.quiet))?;
        let value =
            json!({"model": self.model, "documents": documents.len(), "window": self.window, "perplexity": found});
        common.print(&value, || {
            let line = |p: &tesseral::lm::long_context::perplexity::Perplexity| {
                format!("{} tokens: perplexity {:.3} over {} tokens\n", p.length, p.perplexity, p.tokens)
            };
            found.iter().map(line).collect()
        })
    }
}
