//! `tesseral lm recall`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tesseral::lm::long_context::text_recall::TextRecall;
use tesseral::lm::model::generate::TextModel;
use tesseral::lm::model::weights::Storage;
use tesseral::nn::train::observer::Observer;
use tesseral::plot::recall;

use crate::cli::{Common, Pictures, at_least_one};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Recall {
    /// A Hugging Face folder, a GGUF file, or a folder with one
    #[arg(long)]
    model: PathBuf,
    /// Tokens of the texts
    #[arg(long, value_delimiter = ',', default_value = "512,1024,2048")]
    lengths: Vec<usize>,
    /// Parts of a text, by the place of the fact that is asked for
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..100))]
    depths: u16,
    /// Questions of a text
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    questions: usize,
    /// Texts of each length
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    texts: usize,
    /// Of the random streams
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A folder for recall.json and the picture
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: Pictures,
}

impl Recall {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let model = TextModel::open(&self.model, Storage::F32)?;
        let (mut found, mut progress) = (Vec::new(), Progress::new(common.quiet));
        let longest = model.decoder.config().max_position_embeddings;
        if let Some(length) = self.lengths.iter().find(|length| **length > longest) {
            progress.on_message(&format!("{length} tokens: more than the {longest} that the model was made for"));
        }
        for length in &self.lengths {
            let task = TextRecall { length: *length, questions: self.questions, texts: self.texts, seed: self.seed };
            found.push(task.measure(&model.decoder, &model.tokenizer, self.depths.into(), &mut progress)?);
        }
        let value = json!({"model": self.model, "recall": found});
        if let Some(out) = &self.out {
            let text = format!("{value:#}\n");
            tesseral::nn::train::files::write_atomic(&out.join("recall.json"), text.as_bytes())?;
            for format in &self.pictures.formats {
                recall::draw(&format.file(&out.join("recall")), &[("recall", &found)])?;
            }
        }
        common.print(&value, || found.iter().map(|r| r.line() + "\n").collect())
    }
}
