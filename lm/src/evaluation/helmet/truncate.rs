//! Contexts cut to a number of tokens.

use crate::evaluation::compat::Compat;
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};

/// Where the tokens of a text are.
pub trait Tokens {
    /// Byte ranges of the tokens of a text, with the tokens put around it (their range is empty).
    ///
    /// # Errors
    /// Those of the tokenizer.
    fn offsets(&self, text: &str) -> Result<Vec<(usize, usize)>>;

    /// How many tokens a text has, with those put around it.
    ///
    /// # Errors
    /// Those of the tokenizer.
    fn count(&self, text: &str) -> Result<usize> {
        Ok(self.offsets(text)?.len())
    }
}

impl Tokens for Tokenizer {
    fn offsets(&self, text: &str) -> Result<Vec<(usize, usize)>> {
        Tokenizer::offsets(self, text, true)
    }

    fn count(&self, text: &str) -> Result<usize> {
        Ok(self.encode(text, true)?.len())
    }
}

/// What stands for the rest of a text that was cut.
const OMITTED: &str = " ... [the rest of the text is omitted]";

/// The start of a text, so that with a remark about the rest it has about `most` tokens; the whole text where it has no
/// more.
///
/// # Errors
/// Those of the tokenizer; [`Error::Config`] where the remark alone has `most` tokens (the original then cuts anywhere).
pub fn shorten(text: &str, most: usize, tokens: &dyn Tokens) -> Result<String> {
    let offsets = tokens.offsets(text)?;
    if offsets.len() <= most {
        return Ok(text.into());
    }
    let remark = tokens.count(OMITTED)?;
    let last = most.checked_sub(remark).and_then(|last| offsets.get(last)).ok_or_else(|| {
        Error::config("dataset", format!("expected a context of more than {remark} tokens, found {most}"))
    })?;
    Ok([start(text, last.1), OMITTED].concat())
}

/// Cuts a context at its end, so that the prompt around it has at most `budget` tokens. `prompt` counts the tokens of the
/// prompt with a context. Gives the context and the tokens of its prompt.
///
/// As many tokens are cut as there are too many. The original does that once; mended, it is done until the prompt fits,
/// for tokens at the cut may differ from those before it.
///
/// # Errors
/// Those of the tokenizer and of `prompt`; [`Error::Config`] where the rest of the prompt alone is too long.
pub fn fit(
    context: &str,
    budget: usize,
    tokens: &dyn Tokens,
    compat: Compat,
    mut prompt: impl FnMut(&str) -> Result<usize>,
) -> Result<(String, usize)> {
    let mut context = context.to_string();
    let mut found = prompt(&context)?;
    while found > budget {
        let surplus = found - budget;
        let offsets = tokens.offsets(&context)?;
        let first = offsets.len().checked_sub(surplus).and_then(|place| offsets.get(place));
        let (from, _) = first.filter(|_| !context.is_empty()).ok_or_else(|| {
            let what = format!(
                "expected room for a prompt of {found} tokens, of which the context can give {}, found {budget}",
                offsets.len()
            );
            Error::config("length", what)
        })?;
        let cut = start(&context, *from);
        // A cut within the tokens around the text would change nothing.
        let cut = if cut.len() == context.len() { start(&context, context.len() - 1) } else { cut };
        context = cut.to_string();
        found = prompt(&context)?;
        if compat.is_original() {
            break;
        }
    }
    Ok((context, found))
}

/// The text up to a byte, or to the character before it.
fn start(text: &str, mut end: usize) -> &str {
    while !text.is_char_boundary(end.min(text.len())) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::golden;
    use super::*;
    use crate::evaluation::helmet::template::fill;

    /// Words between blanks, after a token for the beginning: that of the golden cases.
    pub(in super::super) struct Words;

    impl Tokens for Words {
        fn offsets(&self, text: &str) -> Result<Vec<(usize, usize)>> {
            let start = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
            let words = text.split_whitespace().map(|word| (start(word), start(word) + word.len()));
            Ok(std::iter::once((0, 0)).chain(words).collect())
        }
    }

    #[test]
    fn stories_are_shortened_as_by_the_original() {
        for case in golden::cases("truncate_llama2.json") {
            let most = case["max_length"].as_u64().unwrap() as usize;
            let found = shorten(case["context"].as_str().unwrap(), most, &Words).unwrap();
            assert_eq!(found, case["truncated"].as_str().unwrap(), "{most}");
        }
    }

    #[test]
    fn prompts_are_fitted_as_by_the_original() {
        let Some(file) = golden::file("tokenize_truncate.json") else { return };
        let templates = &file["_meta"]["templates"];
        for case in golden::cases("tokenize_truncate.json") {
            let number = |name: &str| case[name].as_u64().unwrap() as usize;
            let words: Vec<String> = (0..number("n_context_words")).map(|n| format!("c{n}")).collect();
            let chat = case["chat"].as_bool().unwrap();
            let template = templates[if chat { "user_template" } else { "prompt_template" }].as_str().unwrap();
            let prompt = |context: &str| {
                let value = |name: &str| Some(if name == "context" { context } else { "who is it ?" });
                let text = fill(template, value)?;
                // The chat of the golden cases: three more words around a turn of the user, two around the system's.
                let system = case["system_message"].as_str().map_or(0, |text| 2 + text.split_whitespace().count());
                Ok(Words.count(&text)? - 1 + if chat { 3 + system } else { 1 })
            };
            let budget = number("max_length") - number("generation_max_length");
            let (context, tokens) = fit(&words.join(" "), budget, &Words, Compat::Original, prompt).unwrap();
            assert_eq!(context, case["final_context"].as_str().unwrap());
            assert_eq!(tokens, number("final_n_tokens"));
        }
    }

    #[test]
    fn what_cannot_fit_is_told() {
        let message = shorten("a b c d", 3, &Words).unwrap_err().to_string();
        assert_eq!(message, "dataset: expected a context of more than 9 tokens, found 3");
        let long = |context: &str| Ok(100 + Words.count(context)?);
        let message = fit("a b", 50, &Words, Compat::Mended, long).unwrap_err().to_string();
        assert!(message.starts_with("length: expected room for a prompt of 103 tokens"), "{message}");
    }

    #[test]
    fn a_prompt_that_stays_too_long_is_cut_again_when_mended() {
        // A tokenizer of the prompt that counts each word of the context twice.
        let twice = |context: &str| Ok(2 * context.split_whitespace().count());
        let words = vec!["w"; 50].join(" ");
        let (_, original) = fit(&words, 60, &Words, Compat::Original, twice).unwrap();
        let (_, mended) = fit(&words, 60, &Words, Compat::Mended, twice).unwrap();
        assert_eq!((original, mended), (20, 20));
        let slow = |context: &str| Ok(2 + context.split_whitespace().count().div_ceil(2));
        let (_, original) = fit(&words, 20, &Words, Compat::Original, slow).unwrap();
        let (_, mended) = fit(&words, 20, &Words, Compat::Mended, slow).unwrap();
        assert!(original > 20 && mended <= 20 && mended > 15, "{original} {mended}");
    }
}
