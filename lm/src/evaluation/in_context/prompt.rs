//! Demonstrations, then the question.

use super::template::{Content, Template, strip};
use crate::Result;
use crate::evaluation::compat::Compat;

/// Between demonstrations: three newlines.
pub const SEPARATOR: &str = "\n\n\n";

/// A prompt, and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Demonstrations and the input, without blanks at the end.
    pub prompt: String,
    /// For each class what is scored after the prompt: its label and the blank before it.
    pub continuations: Vec<String>,
}

/// Tells `demonstrations` (content and the label shown) and `asked` by a template; `labels` are those of the classes.
///
/// # Errors
/// Content that the template does not tell.
pub fn question(
    template: &Template,
    demonstrations: &[(&Content, &str)],
    asked: &Content,
    labels: &[String],
    compat: Compat,
) -> Result<Question> {
    let mut text = String::new();
    for (content, label) in demonstrations {
        text += &template.render(content, compat)?;
        text += label;
        text += SEPARATOR;
    }
    text += &template.render(asked, compat)?;
    let lead = template.lead(compat);
    let continuations = labels.iter().map(|label| format!("{lead}{label}")).collect();
    Ok(Question { prompt: strip(&text).into(), continuations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_and_its_continuation_read_as_one_more_demonstration() {
        let contents = ["good", "bad", "fine"].map(|text| Content::One(text.into()));
        let labels = ["A".to_string(), "B".to_string()];
        let demonstrations = [(&contents[0], "A"), (&contents[1], "B")];
        for name in ["minimal1", "minimal2", "sentiment1", "sentiment3", "topic2"] {
            let template = Template::named(name).unwrap();
            let asked = question(template, &demonstrations, &contents[2], &labels, Compat::Mended).unwrap();
            let whole = format!("{}{}{SEPARATOR}", asked.prompt, asked.continuations[0]);
            let more = [&demonstrations[..], &[(&contents[2], "A")]].concat();
            let next = question(template, &more, &contents[0], &labels, Compat::Mended).unwrap();
            assert!(next.prompt.starts_with(&whole), "{name}");
        }
    }
}
