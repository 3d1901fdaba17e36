//! Templates: how an input is told, before its label.

use crate::evaluation::compat::Compat;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What is classified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// One text.
    One(String),
    /// Two texts.
    Pair(String, String),
}

/// What is done to the end of a text before it goes into a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ending {
    #[default]
    AsIs,
    Strip,
    Period,
    SpacedPeriod,
}

/// A way to tell an input; the label follows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Whether Yes, No and Unknown are told as True, False and Unknown.
    #[serde(default)]
    pub true_false: bool,
    text: String,
    mended: Option<String>,
    #[serde(default)]
    ending: Ending,
}

#[derive(Deserialize)]
struct File {
    template: Vec<Template>,
}

// An error in the included file is an empty table here, and every test of this module fails.
static TEMPLATES: LazyLock<BTreeMap<String, Template>> = LazyLock::new(|| {
    let file = toml::from_str::<File>(include_str!("templates.toml"));
    file.map(|file| file.template.into_iter().map(|t| (t.name.clone(), t)).collect()).unwrap_or_default()
});

/// All templates, by name.
pub fn all() -> &'static BTreeMap<String, Template> {
    &TEMPLATES
}

impl Template {
    /// The template of a name.
    ///
    /// # Errors
    /// [`Error::Config`] with all names, where there is none.
    pub fn named(name: &str) -> Result<&'static Self> {
        all().get(name).ok_or_else(|| {
            let known: Vec<&str> = all().keys().map(String::as_str).collect();
            Error::config("template", format!("expected one of {}, found {name}", known.join(", ")))
        })
    }

    /// What templates are called without their numbers, in order.
    pub fn families() -> Vec<&'static str> {
        let mut families: Vec<&str> =
            all().keys().map(|name| name.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
        families.dedup();
        families
    }

    /// The text before the label, its last blank included.
    ///
    /// # Errors
    /// [`Error::Config`] for a pair where the template wants one text, or the other way round.
    pub fn render(&self, content: &Content, compat: Compat) -> Result<String> {
        let template = self.text(compat);
        match content {
            Content::One(text) if template.contains("{text}") => Ok(template.replacen("{text}", &self.end(text), 1)),
            Content::Pair(first, second) if template.contains("{sentence1}") => Ok(fill(template, first, second)),
            Content::One(_) => Err(self.mismatch("two sentences", "one text")),
            Content::Pair(..) => Err(self.mismatch("one text", "two sentences")),
        }
    }

    /// What stands between the end of a prompt, which has no blanks there, and the label.
    pub fn lead(&self, compat: Compat) -> &str {
        match compat {
            Compat::Original => " ",
            Compat::Mended => {
                let text = self.text(compat);
                &text[strip_end(text).len()..]
            }
        }
    }

    /// A label word as this template tells it.
    pub fn word<'a>(&self, label: &'a str) -> &'a str {
        match label {
            "Yes" | "entailment" if self.true_false => "True",
            "No" | "contradiction" if self.true_false => "False",
            "neutral" if self.true_false => "Unknown",
            other => other,
        }
    }

    fn text(&self, compat: Compat) -> &str {
        match compat {
            Compat::Original => &self.text,
            Compat::Mended => self.mended.as_deref().unwrap_or(&self.text),
        }
    }

    fn end(&self, text: &str) -> String {
        match self.ending {
            Ending::AsIs => text.into(),
            Ending::Strip => strip(text).into(),
            Ending::Period => with_period(text),
            Ending::SpacedPeriod => match strip_end(text) {
                text if text.ends_with('.') => text.into(),
                text => format!("{text} ."),
            },
        }
    }

    fn mismatch(&self, expected: &str, found: &str) -> Error {
        Error::config(format!("template {}", self.name), format!("expected {expected}, found {found}"))
    }
}

/// Both fields in one pass: a sentence that contains the name of a field stays as it is.
fn fill(template: &str, first: &str, second: &str) -> String {
    let mut text = String::with_capacity(template.len() + first.len() + second.len());
    let mut rest = template;
    while let Some(at) = rest.find("{sentence") {
        text.push_str(&rest[..at]);
        let is_first = rest[at..].starts_with("{sentence1}");
        text.push_str(if is_first { first } else { second });
        rest = &rest[at + "{sentence1}".len()..];
    }
    text + rest
}

/// Adds "." where the last character is no ASCII punctuation; blanks at the end go.
pub fn with_period(text: &str) -> String {
    let text = strip_end(text);
    match text.chars().last() {
        Some(last) if last.is_ascii_punctuation() => text.into(),
        _ => format!("{text}."),
    }
}

/// What Python's `str.strip` takes for a blank.
fn blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Without blanks at both ends, as Python's `str.strip`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(blank)
}

/// Without blanks at the end, as Python's `str.rstrip`.
pub fn strip_end(text: &str) -> &str {
    text.trim_end_matches(blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_43_and_each_tells_its_kind_of_content() {
        assert_eq!(all().len(), 43);
        let (one, pair) = (Content::One("a b".into()), Content::Pair("a".into(), "{sentence2}".into()));
        for template in all().values() {
            for compat in [Compat::Mended, Compat::Original] {
                let told = [&one, &pair].map(|content| template.render(content, compat));
                assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 1, "{}", template.name);
                let told = told.into_iter().find_map(Result::ok).unwrap();
                assert!(!told.contains("{text}") && !told.contains("{sentence1}"), "{told}");
                assert!(told.contains("a b") || told.contains('a') && told.matches("{sentence2}").count() == 1);
            }
        }
    }

    #[test]
    fn what_leads_to_the_label_is_what_leads_to_it_in_demonstrations() {
        let lead = |name: &str, compat| Template::named(name).unwrap().lead(compat);
        assert_eq!(lead("minimal1", Compat::Mended), "\n");
        assert_eq!(lead("minimal1", Compat::Original), " ");
        assert_eq!(lead("sentiment3", Compat::Mended), " ");
        assert_eq!(lead("nli_minimal2", Compat::Mended), " ");
    }

    #[test]
    fn slips_are_mended_and_kept_where_asked() {
        let pair = Content::Pair("It rains.".into(), "It is wet.".into());
        let told = |compat| Template::named("nli_entailment2").unwrap().render(&pair, compat).unwrap();
        assert!(told(Compat::Original).contains("Hypothesis: It rains.\nPremise: It is wet.\\Do"));
        assert!(told(Compat::Mended).starts_with("Premise: It rains.\nHypothesis: It is wet.\nDo"));
    }

    #[test]
    fn a_wrong_name_or_content_is_told() {
        assert!(Template::named("sentiment9").unwrap_err().to_string().contains("sentiment1, sentiment2"));
        let pair = Content::Pair("a".into(), "b".into());
        let message = Template::named("minimal1").unwrap().render(&pair, Compat::Mended).unwrap_err().to_string();
        assert_eq!(message, "template minimal1: expected one text, found two sentences");
    }
}
