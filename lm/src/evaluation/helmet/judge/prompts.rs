//! The texts of a judge, from a file.

use crate::evaluation::helmet::template::fill;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Prompts by name.
#[derive(Clone, Debug)]
pub struct Prompts {
    texts: BTreeMap<String, String>,
    source: PathBuf,
}

/// The names a file may hold, those of books with `_book` after them; and the fields that each must show.
const FIELDS: [(&str, &[&str]); 4] = [
    ("judge_prompt", &["question", "correct_answers", "parsed_output"]),
    ("fluency_prompt", &["text"]),
    ("recall_prompt", &["keypoints", "summary"]),
    ("precision_prompt", &["expert_summary", "summary"]),
];

impl Prompts {
    /// Reads a `.toml` or `.json` file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a file that does not parse; those of [`Prompts::new`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let json = path.extension().is_some_and(|extension| extension == "json");
        let texts: BTreeMap<String, String> = match json {
            true => serde_json::from_str(&text).map_err(|e| Error::format(path, e.to_string()))?,
            false => toml::from_str(&text).map_err(|e| Error::format(path, e.to_string()))?,
        };
        Self::new(texts, path)
    }

    /// From texts by name; `source` is for the messages.
    ///
    /// # Errors
    /// [`Error::Format`] for a name that is none of a judge's, and for a prompt that does not show what is judged.
    pub fn new(texts: BTreeMap<String, String>, source: &Path) -> Result<Self> {
        for (name, text) in &texts {
            let plain = name.strip_suffix("_book").filter(|plain| *plain != "judge_prompt").unwrap_or(name);
            let Some((_, fields)) = FIELDS.iter().find(|(known, _)| *known == plain) else {
                let known = FIELDS.map(|(known, _)| known).join(", ");
                let what = format!("{name}: expected one of {known}, all but the first with or without _book");
                return Err(Error::format(source, what));
            };
            if let Some(field) = fields.iter().find(|field| !text.contains(&format!("{{{field}}}"))) {
                return Err(Error::format(source, format!("{name}: expected the field {{{field}}}, found none")));
            }
        }
        Ok(Prompts { texts, source: source.into() })
    }

    /// A prompt with its fields.
    ///
    /// # Errors
    /// [`Error::Format`] where there is no such prompt, or it asks for another field.
    pub fn render(&self, name: &str, fields: &[(&str, &str)]) -> Result<String> {
        let text = self
            .texts
            .get(name)
            .ok_or_else(|| Error::format(&self.source, format!("{name}: expected a prompt, found none")))?;
        let value = |field: &str| fields.iter().find(|(name, _)| *name == field).map(|(_, value)| *value);
        fill(text, value).map_err(|error| Error::format(&self.source, format!("{name}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_wrong_names_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let toml = Prompts::read(&file("a.toml", "fluency_prompt = '''Is {text} {{fine}}?'''")).unwrap();
        let json = Prompts::read(&file("a.json", r#"{"fluency_prompt": "Is {text} {{fine}}?"}"#)).unwrap();
        for prompts in [&toml, &json] {
            assert_eq!(prompts.render("fluency_prompt", &[("text", "{x}")]).unwrap(), "Is {x} {fine}?");
        }
        let told = |error: Error| error.to_string().rsplit_once("a.toml: ").unwrap().1.to_string();
        assert_eq!(
            told(toml.render("recall_prompt", &[]).unwrap_err()),
            "recall_prompt: expected a prompt, found none"
        );
        assert!(told(toml.render("fluency_prompt", &[]).unwrap_err()).contains("found none for {text}"));
        let wrong = Prompts::read(&file("b.toml", "fluent = 'x'")).unwrap_err().to_string();
        assert!(wrong.contains("fluent: expected one of judge_prompt"), "{wrong}");
        let blind =
            Prompts::read(&file("c.toml", "recall_prompt_book = 'Is {keypoints} told?'")).unwrap_err().to_string();
        assert!(blind.ends_with("recall_prompt_book: expected the field {summary}, found none"), "{blind}");
    }
}
