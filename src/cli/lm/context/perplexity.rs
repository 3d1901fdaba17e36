//! `tesseral lm context perplexity`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use tesseral::lm::data::documents::{Content, Reader};
use tesseral::lm::model::weights::Storage;
use tesseral::lm::parallel_context::evaluate::{Measure, Point, Source};
use tesseral::lm::parallel_context::generate::ContextTextModel;
use tesseral::lm::parallel_context::retrieval::{Neighbour, Retriever};
use tesseral::lm::parallel_context::windows::{Placing, Windows};
use tesseral::plot::lines;

use crate::cli::{Common, Pictures};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The text before
    Previous,
    /// The same of another document: the control
    Shuffled,
    /// One token over and over: a control
    Dummy,
    /// Passages of other documents, by BM25
    Retrieved,
    /// The text before, in the decoder's own window
    InWindow,
    /// Each context in a pass of its own, passes mixed
    Replug,
}

#[derive(Args)]
pub(crate) struct Perplexity {
    /// Lines of JSON (files or folders of .jsonl)
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The folder of a model that reads contexts
    #[arg(long)]
    model: PathBuf,
    /// Numbers of contexts
    #[arg(long, value_delimiter = ',', default_value = "0,1,2,4,8,16")]
    contexts: Vec<usize>,
    /// Kinds of contexts
    #[arg(long, value_enum, value_delimiter = ',', default_value = "previous,shuffled")]
    kinds: Vec<Kind>,
    /// Tokens of a context
    #[arg(long, default_value_t = 256)]
    context_tokens: usize,
    /// Tokens of the decoder
    #[arg(long, default_value_t = 2048)]
    decoder_tokens: usize,
    /// Tokens that are counted: the last ones
    #[arg(long, default_value_t = 256)]
    window: usize,
    /// Windows at most, spread over all documents that are long enough
    #[arg(long, default_value_t = 64)]
    windows: usize,
    /// The field with the text
    #[arg(long, default_value = "text")]
    field: String,
    /// A folder for perplexity.json and the picture
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: Pictures,
}

impl Perplexity {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let model = ContextTextModel::open(&self.model, Storage::F32)?;
        let content = Content::Text(self.field.clone());
        let reader = Reader::new(&content, Some(&model.tokenizer));
        let mut documents = Vec::new();
        for path in &self.paths {
            for document in reader.open(path)? {
                documents.push(document?.ids);
            }
        }
        let most = self.contexts.iter().copied().max().unwrap_or(0);
        let windows = Windows::new(&documents, most * self.context_tokens, self.decoder_tokens, Placing::Filtered)?;
        let source = |kind: &Kind| match kind {
            Kind::Previous => Source::Previous,
            Kind::Shuffled => Source::Shuffled,
            Kind::Dummy => Source::Dummy,
            Kind::Retrieved => Source::Retrieved,
            Kind::InWindow => Source::InWindow,
            Kind::Replug => Source::Replug,
        };
        let retriever = match self.kinds.contains(&Kind::Retrieved) {
            true => Some(Retriever::new(&documents, self.context_tokens, Neighbour::None, &model.tokenizer)?),
            false => None,
        };
        let measure = Measure {
            counts: self.contexts.clone(),
            context_tokens: self.context_tokens,
            decoder_tokens: self.decoder_tokens,
            counted: self.window,
            sources: self.kinds.iter().map(source).collect(),
            windows: self.windows,
        };
        let found = measure.run(&model.model, &windows, retriever.as_ref())?;
        let value = json!({"model": self.model, "context_tokens": self.context_tokens,
            "decoder_tokens": self.decoder_tokens, "window": self.window, "perplexity": found});
        if let Some(out) = &self.out {
            let text = format!("{value:#}\n");
            tesseral::nn::train::files::write_atomic(&out.join("perplexity.json"), text.as_bytes())?;
            let chart = lines::Chart {
                x: "contexts".into(),
                y: "perplexity".into(),
                lines: measure.sources.iter().map(|source| line(*source, &found)).collect(),
                ..lines::Chart::default()
            };
            for format in &self.pictures.formats {
                lines::draw(&format.file(&out.join("perplexity")), &chart)?;
            }
        }
        common.print(&value, || {
            let row = |p: &Point| {
                format!(
                    "{:>4} {:<9} perplexity {:.3}, loss {:.4} ({:.4})\n",
                    p.contexts,
                    p.source.name(),
                    p.perplexity,
                    p.loss,
                    p.error
                )
            };
            found.iter().map(row).collect()
        })
    }
}

fn line(source: Source, points: &[Point]) -> (String, Vec<(f64, f64)>) {
    let of = points.iter().filter(|point| point.source == source);
    (source.name().into(), of.map(|point| (point.contexts as f64, point.perplexity)).collect())
}
