//! Conversations to documents with a mask, for supervised fine-tuning: only what the assistant says is trained on.

use super::packing::Document;
use crate::model::chat::Message;
use crate::{Error, Result};

/// What a tokenizer and its chat template give.
pub struct Format<'a> {
    /// Token ids of a text, without any added.
    pub encode: &'a dyn Fn(&str) -> Result<Vec<u32>>,
    /// The text of some first turns; with `true`, followed by what opens an answer of the assistant.
    pub render: &'a dyn Fn(&[Message], bool) -> Result<String>,
}

/// Token ids and mask of a conversation: 1 on the contents of the assistant and the tokens that end them, 0 elsewhere.
///
/// Each turn is what its rendering adds to that of the turns before it, and is encoded by itself.
///
/// Errors: those of the closures; [`Error::Config`] naming the turn where a rendering does not begin with the one
/// before, or for a conversation in which the assistant says nothing.
pub fn document(turns: &[Message], format: &Format) -> Result<Document> {
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    let mut append = |text: &str, value: u8| -> Result<()> {
        ids.extend((format.encode)(text)?);
        mask.resize(ids.len(), value);
        Ok(())
    };
    let added = |whole: &str, before: &str, k: usize| {
        whole.strip_prefix(before).map(String::from).ok_or_else(|| {
            Error::config(format!("messages[{k}]"), "expected a rendering that continues the one before, found another")
        })
    };
    let mut before = String::new();
    for (k, message) in turns.iter().enumerate() {
        if message.role == "assistant" {
            let opened = (format.render)(&turns[..k], true)?;
            append(&added(&opened, &before, k)?, 0)?;
            before = opened;
        }
        let whole = (format.render)(&turns[..=k], false)?;
        append(&added(&whole, &before, k)?, u8::from(message.role == "assistant"))?;
        before = whole;
    }
    if !mask.contains(&1) {
        return Err(Error::config("messages", "expected an answer of the assistant, found none"));
    }
    Ok(Document { ids, mask: Some(mask) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> Result<Vec<u32>> {
        Ok(text.chars().map(u32::from).collect())
    }

    fn render(messages: &[Message], open: bool) -> Result<String> {
        let turns = messages.iter().map(|m| format!("<{}>{}|", &m.role[..1], m.content));
        Ok(turns.collect::<String>() + if open { "<a>" } else { "" })
    }

    fn conversation(turns: &[(&str, &str)]) -> Vec<Message> {
        turns.iter().map(|(role, content)| Message::new(role, content)).collect()
    }

    #[test]
    fn only_answers_and_their_ends_are_trained_on() {
        let format = Format { encode: &encode, render: &render };
        let turns = [("user", "hi"), ("assistant", "yo"), ("user", "b"), ("assistant", "c")];
        let document = document(&conversation(&turns), &format).unwrap();
        let mask = document.mask.unwrap();
        let text = |wanted: u8| {
            let chosen = document.ids.iter().zip(&mask).filter(|(_, m)| **m == wanted);
            chosen.filter_map(|(id, _)| char::from_u32(*id)).collect::<String>()
        };
        assert_eq!((text(1).as_str(), text(0).as_str()), ("yo|c|", "<u>hi|<a><u>b|<a>"));
    }

    #[test]
    fn mistakes_name_the_turn() {
        let format = Format { encode: &encode, render: &render };
        assert!(document(&conversation(&[("user", "hi")]), &format).unwrap_err().to_string().contains("found none"));
        let unstable = |messages: &[Message], _: bool| Ok(messages.len().to_string());
        let format = Format { encode: &encode, render: &unstable };
        let error = document(&conversation(&[("user", "a"), ("assistant", "b")]), &format).unwrap_err().to_string();
        assert!(error.starts_with("messages[1]: expected a rendering that continues"), "{error}");
    }
}
