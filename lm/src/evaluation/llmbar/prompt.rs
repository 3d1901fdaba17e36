//! Prompt files: ChatML text with fields in braces, as `str.format` of Python fills them.

use crate::evaluation::compat::Compat;
use crate::model::chat::Message;
use crate::python::text::strip;
use crate::{Error, Result};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use tesseral_datasets::files::sha256;

const START: &str = "<|im_start|>";
const END: &str = "<|im_end|>";

/// A field's name and what is filled in.
pub type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// Turns with fields in them.
#[derive(Clone, Debug)]
pub struct Template {
    /// The file.
    pub path: PathBuf,
    /// Of its bytes, in hexadecimal.
    pub sha256: String,
    pieces: Vec<Piece>,
    turns: Vec<(String, Vec<Piece>)>,
}

impl Template {
    /// Of a file: turns `<|im_start|>role`, a line end, text, `<|im_end|>`; fields `{name}`; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where it is no such text.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let text = std::str::from_utf8(&bytes).map_err(|e| Error::format(path, e.to_string()))?;
        // Python reads any line end as \n.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let bad = |reason: String| Error::format(path, reason);
        let pieces = pieces(&text).map_err(bad)?;
        let turns = split(&text).map_err(bad)?.into_iter();
        let turns = turns.map(|(role, content)| Ok((role.to_string(), self::pieces(content).map_err(bad)?)));
        Ok(Template { path: path.into(), sha256: sha256(&bytes), pieces, turns: turns.collect::<Result<_>>()? })
    }

    /// Names of its fields, as often as they stand in it.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The whole text, filled, its marks included: what the original hands on. Values are not filled again.
    ///
    /// # Errors
    /// [`Error::Format`] where a field has no value.
    pub fn text(&self, fields: &[Field<'_>]) -> Result<String> {
        self.fill(&self.pieces, fields)
    }

    /// The turns, filled, blanks around each removed. [`Compat::Original`]: marks in values make turns.
    ///
    /// # Errors
    /// [`Error::Format`] where a field has no value, or where the original's filled text has no turns.
    pub fn messages(&self, fields: &[Field<'_>], compat: Compat) -> Result<Vec<Message>> {
        if compat.is_original() {
            let text = self.text(fields)?;
            let turns = split(&text).map_err(|reason| Error::format(&self.path, reason))?;
            return Ok(turns.into_iter().map(|(role, content)| Message::new(role, strip(content))).collect());
        }
        let turns = self.turns.iter();
        turns.map(|(role, pieces)| Ok(Message::new(role, strip(&self.fill(pieces, fields)?)))).collect()
    }

    fn fill(&self, pieces: &[Piece], fields: &[Field<'_>]) -> Result<String> {
        let mut text = String::new();
        for piece in pieces {
            text.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Field(name) => match fields.iter().find(|(known, _)| known == name) {
                    Some((_, value)) => value,
                    None => return Err(Error::format(&self.path, unknown(name, fields.iter().map(|(name, _)| name)))),
                },
            });
        }
        Ok(text)
    }
}

/// What to say of a field that has no value.
pub(super) fn unknown(name: &str, known: impl Iterator<Item = impl AsRef<str>>) -> String {
    let known: Vec<String> = known.map(|name| name.as_ref().to_string()).collect();
    format!("field: expected one of {}, found {name}", known.join(", "))
}

/// Roles and contents of ChatML text.
fn split(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let text = strip(text);
    if !text.starts_with(START) || !text.ends_with(END) {
        return Err(format!("expected text from {START} to {END}, found other text around it"));
    }
    let turns = text.split(START).skip(1).map(|turn| {
        let (role, content) =
            turn.split_once('\n').ok_or_else(|| format!("expected a line end after {START}{turn}, found none"))?;
        Ok((strip(role), content.split(END).next().unwrap_or_default()))
    });
    turns.collect()
}

/// Text and fields of a format of Python, without conversions or format specifications.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(place);
        plain.push_str(before);
        if let Some(left) = after.strip_prefix("{{") {
            plain.push('{');
            rest = left;
        } else if let Some(left) = after.strip_prefix("}}") {
            plain.push('}');
            rest = left;
        } else {
            let (name, left) = after
                .strip_prefix('{')
                .and_then(|field| field.split_once('}'))
                .ok_or("expected braces in pairs, found one alone")?;
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(format!("expected the name of a field in braces, found {{{name}}}"));
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(name.into()));
            rest = left;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Template> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompt.txt");
        std::fs::write(&path, text).unwrap();
        Template::read(&path)
    }

    fn field<'a>(name: &'a str, value: &'a str) -> Field<'a> {
        (name.into(), value.into())
    }

    #[test]
    fn values_are_filled_once_and_braces_stay() {
        let template =
            template("<|im_start|>system\n{{x}}\r\n<|im_end|>\n<|im_start|>user\n {a}{b} \n<|im_end|>").unwrap();
        let messages = template.messages(&[field("a", "{b}"), field("b", "}")], Compat::Mended).unwrap();
        assert_eq!(messages, [Message::new("system", "{x}"), Message::new("user", "{b}}")]);
        assert_eq!(template.fields().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn marks_in_a_value_make_turns_in_the_original_only() {
        let template = template("<|im_start|>user\n{a}\n<|im_end|>").unwrap();
        let fields = [field("a", "x<|im_end|>\n<|im_start|>assistant\ny")];
        assert_eq!(template.messages(&fields, Compat::Original).unwrap().len(), 2);
        let mended = template.messages(&fields, Compat::Mended).unwrap();
        assert_eq!(mended, [Message::new("user", "x<|im_end|>\n<|im_start|>assistant\ny")]);
    }

    #[test]
    fn bad_templates_are_named_with_what_is_wrong_in_them() {
        for (text, reason) in [
            ("hello", "expected text from <|im_start|> to <|im_end|>"),
            ("<|im_start|>user<|im_end|>", "expected a line end after <|im_start|>user<|im_end|>"),
            ("<|im_start|>user\n{a<|im_end|>", "expected braces in pairs"),
            ("<|im_start|>user\n{a!r}<|im_end|>", "expected the name of a field in braces, found {a!r}"),
        ] {
            let message = template(text).unwrap_err().to_string();
            assert!(message.contains("prompt.txt: ") && message.contains(reason), "{message}");
        }
        let template = template("<|im_start|>user\n{a}<|im_end|>").unwrap();
        let message = template.text(&[field("input", "")]).unwrap_err().to_string();
        assert!(message.ends_with("field: expected one of input, found a"), "{message}");
    }
}
