//! Texts in memory, and the examples that are drawn of them when they are asked for.

use super::super::autoregressive::{Frame, Sequence};
use super::super::classifier::Labels;
use super::super::encoder::View;
use super::super::masked::Example;
use super::super::masks;
use super::super::patches::{SIDE, Screenshot};
use super::super::render::Renderer;
use super::super::text::{Writing, readable};
use super::config::{DataConfig, Objective, ScreenshotConfig};
use crate::data::documents::{Content, Reader};
use crate::error::kind;
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};
use rand::Rng;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use tesseral_datasets::jsonl::Lines;

/// The label of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// A class by its name.
    Class(String),
    /// A value.
    Value(f32),
}

/// A text that is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Its tokens; none for classification.
    pub ids: Vec<u32>,
    /// Autoregressive: the tokens after it.
    pub following: Vec<u32>,
    /// Classification: the text.
    pub text: String,
    /// Classification: its label.
    pub label: Option<Label>,
}

/// What draws and writes: all that examples need beside a piece.
pub struct Desk {
    pub(super) renderer: Renderer,
    pub(super) tokenizer: Option<Tokenizer>,
    writing: Writing,
    text_mask: f64,
}

impl Desk {
    /// With the fonts and the tokenizer that a configuration names.
    ///
    /// # Errors
    /// Those of the font and the tokenizer, which has a mask token where words are to be hidden.
    pub fn open(config: &ScreenshotConfig) -> Result<Self> {
        let file = |path: &PathBuf| if path.is_dir() { path.join("tokenizer.json") } else { path.clone() };
        let tokenizer = match config.objective {
            Objective::Classification => None,
            _ => config.data.tokenizer.as_ref().map(|path| Tokenizer::read(&file(path))).transpose()?,
        };
        if let (Objective::Masked, Some(tokenizer)) = (config.objective, &tokenizer) {
            config.writing.mask(tokenizer)?;
        }
        let renderer = Renderer::new(&config.render)?;
        // An image of whole patches, or an error before anything is read.
        Screenshot::of_text(&renderer.render(""))?;
        Ok(Desk { renderer, tokenizer, writing: config.writing.clone(), text_mask: config.data.text_mask })
    }

    /// Patches of a full image.
    pub fn patches(&self) -> usize {
        self.renderer.config().width / SIDE * (self.renderer.config().height / SIDE)
    }

    fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| Error::config("data.tokenizer", "expected a tokenizer, found none"))
    }

    /// The pieces of some files.
    ///
    /// # Errors
    /// Those of the files; [`Error::Config`] where there is no piece.
    pub fn pieces(&self, paths: &[PathBuf], data: &DataConfig, objective: Objective) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut left = data.documents.unwrap_or(usize::MAX);
        for path in paths {
            match objective {
                Objective::Classification => labelled(path, data, &mut left, &mut pieces)?,
                _ => self.tokens(path, data, objective, &mut left, &mut pieces)?,
            }
        }
        match pieces.is_empty() {
            true => Err(Error::config("data", "expected at least one text, found none")),
            false => Ok(pieces),
        }
    }

    fn tokens(
        &self,
        path: &Path,
        data: &DataConfig,
        objective: Objective,
        left: &mut usize,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let content = Content::Text(data.field.clone());
        let reader = Reader::new(&content, Some(self.tokenizer()?));
        let after = if objective == Objective::Autoregressive { data.text_tokens } else { 0 };
        for document in reader.open(path)?.take(*left) {
            *left -= 1;
            for ids in document?.ids.chunks(data.tokens + after) {
                let (ids, following) = ids.split_at(ids.len().min(data.tokens));
                if ids.len() >= data.min_tokens && (after == 0 || !following.is_empty()) {
                    pieces.push(Piece { ids: ids.into(), following: following.into(), ..Piece::default() });
                }
            }
        }
        Ok(())
    }

    /// The text of a piece with some tokens hidden, drawn; how many of its tokens can be read.
    fn draw(&self, piece: &Piece, hidden: &[bool]) -> Result<(Screenshot, usize)> {
        let tokenizer = self.tokenizer()?;
        let text = self.writing.write(tokenizer, &piece.ids, hidden)?;
        let image = self.renderer.render(&text);
        let count = readable(tokenizer, &text, image.drawn, piece.ids.len())?;
        Ok((Screenshot::of_text(&image)?, count))
    }

    /// A piece with patches and words hidden at random, and which words those are.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn masked(&self, piece: &Piece, patch_mask: f64, random: &mut impl Rng) -> Result<(Example, Vec<bool>)> {
        let mut hidden = masks::words(piece.ids.len(), self.text_mask, random);
        let (screenshot, count) = self.draw(piece, &hidden)?;
        hidden.truncate(count);
        let patches = masks::spans(self.patches(), patch_mask, random);
        let text = piece.ids[..count].to_vec();
        Ok((Example { view: View::masked(screenshot, &patches), text }, hidden))
    }

    /// A piece as the autoregressive model reads it.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn sequence(&self, piece: &Piece, frame: &Frame) -> Result<Sequence> {
        let (screenshot, _) = self.draw(piece, &[])?;
        Ok(Sequence::new(frame, screenshot, self.patches(), &piece.following))
    }

    /// A text to be classified.
    ///
    /// # Errors
    /// An image that is not made of whole patches.
    pub fn view(&self, piece: &Piece) -> Result<View> {
        let image = self.renderer.render(&self.writing.line(&piece.text));
        Ok(View::whole(Screenshot::of_text(&image)?))
    }
}

/// Lines with a label.
fn labelled(path: &Path, data: &DataConfig, left: &mut usize, pieces: &mut Vec<Piece>) -> Result<()> {
    let mut lines = Lines::<Map<String, Value>>::open(path)?;
    while *left > 0 {
        let Some(line) = lines.next() else { break };
        *left -= 1;
        let line = line?;
        let wrong = |field: &str, what: &str| {
            let (file, number) = lines.place().unwrap_or((path, 0));
            Error::format(
                file,
                format!("line {number}: {field}: expected {what}, found {}", line.get(field).map_or("none", kind)),
            )
        };
        let text = |field: &str| line.get(field).and_then(Value::as_str).ok_or_else(|| wrong(field, "a text"));
        let mut drawn = text(&data.field)?.to_string();
        if let Some(second) = &data.second_field {
            drawn = format!("{drawn} // {}", text(second)?);
        }
        let label = match line.get(&data.label) {
            Some(Value::String(name)) => Label::Class(name.clone()),
            Some(Value::Number(number)) if number.is_f64() => Label::Value(number.as_f64().unwrap_or(0.0) as f32),
            Some(Value::Number(number)) => Label::Class(number.to_string()),
            _ => return Err(wrong(&data.label, "a text or a number")),
        };
        pieces.push(Piece { text: drawn, label: Some(label), ..Piece::default() });
    }
    Ok(())
}

/// The names of the classes of some pieces, in order; none where their labels are values.
///
/// # Errors
/// [`Error::Config`] for both kinds of label together.
pub fn classes(pieces: &[Piece]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for piece in pieces {
        if let Some(Label::Class(name)) = &piece.label {
            names.push(name.clone());
        }
    }
    if !names.is_empty() && names.len() < pieces.len() {
        return Err(Error::config("data.label", "expected classes or values, found both"));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The labels of some pieces among known classes (none: values).
///
/// # Errors
/// [`Error::Config`] for a label that is not among them.
pub fn labels<'a>(pieces: impl Iterator<Item = &'a Piece>, classes: &[String]) -> Result<Labels> {
    let (mut numbers, mut values) = (Vec::new(), Vec::new());
    for piece in pieces {
        let wrong = |found: &str| Error::config("data.label", format!("expected one of {classes:?}, found {found}"));
        match &piece.label {
            Some(Label::Value(value)) if classes.is_empty() => values.push(*value),
            Some(Label::Class(name)) => {
                let number = classes.binary_search(name).map_err(|_| wrong(name))?;
                numbers.push(number as u32);
            }
            Some(Label::Value(value)) => return Err(wrong(&value.to_string())),
            None => return Err(wrong("nothing")),
        }
    }
    Ok(if classes.is_empty() { Labels::Values(values) } else { Labels::Classes(numbers) })
}
