//! `tesseral lm pack`.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tesseral::datasets::mds::writer::Options;
use tesseral::lm::data::documents::{Content, Reader};
use tesseral::lm::data::packing::{Method, Packer, Packing};
use tesseral::lm::data::prepare::prepare;
use tesseral::lm::model::chat::ChatTemplate;
use tesseral::lm::model::tokenizer::Tokenizer;

use crate::cli::{Common, Usage, at_least_one};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// One row at a time; the document at its end is cut and goes on in the next
    Single,
    /// Pieces of the lengths of --lengths, each in rows of its own kind
    Lengths,
    /// Documents whole, each into the open row that it fits best; one longer than a row is an error
    BestFit,
}

#[derive(Args)]
pub(crate) struct Pack {
    /// Lines of JSON (files or folders of .jsonl), or arrays of token ids (.npy, .bin)
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The folder of rows (MDS) to write; one of rows that is there is replaced
    #[arg(long)]
    out: PathBuf,
    /// A folder with tokenizer.json (and chat template), or a GGUF file; arrays of ids do without
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Tokens of a row
    #[arg(long)]
    row: usize,
    /// Which documents lie in which row
    #[arg(long, value_enum, default_value_t = By::Single)]
    by: By,
    /// With --by lengths: tokens of the pieces, divisors of the row
    #[arg(long, value_delimiter = ',')]
    lengths: Vec<usize>,
    /// With --by best-fit: open rows
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    bins: usize,
    /// With --by single: the rest of a cut document begins the next row if it has so many tokens
    #[arg(long, default_value_t = 2, value_parser = at_least_one)]
    min_document: usize,
    /// The field with the text
    #[arg(long, default_value = "text")]
    field: String,
    /// Lines are conversations: the field with the list of turns. Only what the assistant says is trained on, and the rest
    /// of a cut conversation is dropped. Another field than `messages` as --chat=FIELD
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "messages", conflicts_with = "field")]
    chat: Option<String>,
    /// A token (or its id) to put before each document
    #[arg(long)]
    bos: Option<String>,
    /// A token (or its id) to put after each document; it closes the documents of an array of ids
    #[arg(long)]
    eos: Option<String>,
    /// Bytes of an id in a .bin file
    #[arg(long, default_value = "2", value_parser = ["2", "4"])]
    id_bytes: String,
    /// A document longer than a row is an error instead of being cut
    #[arg(long)]
    refuse_longer: bool,
    /// Where the text comes from, for statistics
    #[arg(long, default_value = ".")]
    domain: String,
    /// Compress with zstd
    #[arg(long)]
    zstd: bool,
}

impl Pack {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let tokenizer = self.tokenizer.as_deref().map(Tokenizer::open).transpose()?;
        let template = match &self.tokenizer {
            Some(path) => ChatTemplate::open(path)?,
            None => None,
        };
        let id = |option: &'static str, token: &Option<String>| -> Result<Option<u32>> {
            let Some(token) = token else { return Ok(None) };
            let below = |id: &u32| tokenizer.as_ref().is_none_or(|t| (*id as usize) < t.vocabulary());
            let known = tokenizer.as_ref().and_then(|t| t.id(token)).or(token.parse().ok().filter(below));
            let what = || format!("{option}: expected a token of the tokenizer or an id, found {token:?}");
            Ok(Some(known.with_context(what).context(Usage("token"))?))
        };
        let method = match self.by {
            By::Single => Method::Single {
                min_length: self.min_document,
                intact: self.chat.is_some(),
                overlap: 0,
                continuation: None,
            },
            By::Lengths => Method::Lengths(self.lengths.clone()),
            By::BestFit => Method::BestFit { bins: self.bins },
        };
        let (bos, eos) = (id("--bos", &self.bos)?, id("--eos", &self.eos)?);
        let refuse_longer = self.refuse_longer;
        let packing = Packing { length: self.row, bos, eos, method, refuse_longer, domain: self.domain.clone() };
        Packer::new(packing.clone()).context(Usage("packing"))?;
        let content = match &self.chat {
            Some(field) => Content::Conversation(field.clone()),
            None => Content::Text(self.field.clone()),
        };
        let id_bytes = if self.id_bytes == "4" { 4 } else { 2 };
        let (tokenizer, template) = (tokenizer.as_ref(), template.as_ref());
        let reader = Reader { template, end: eos, id_bytes, ..Reader::new(&content, tokenizer) };
        let options = Options { compress: self.zstd, ..Options::default() };
        let found = prepare(&self.paths, reader, &packing, &self.out, options)?;
        common.print(&found, || {
            format!(
                "{}: {} rows of {} documents ({} longer than a row); {} of {} tokens packed, {} trained on",
                found.folder.display(),
                found.rows,
                found.documents,
                found.longer,
                found.tokens_packed,
                found.tokens_read,
                found.tokens_trained
            )
        })
    }
}
