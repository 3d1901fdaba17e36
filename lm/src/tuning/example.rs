//! Questions as tokens: prompts in the length that a model reads, options as its last tokens.
//!
//! Rules of MeZO's `encode_prompt`: demonstrations before the question, blanks trimmed, the tokens of an option counted
//! without demonstrations, what is too long cut from the left.

use super::task::Question;
use crate::model::decoder::Text;
use crate::{Error, Result};

/// How texts become tokens.
pub struct Encoder<'a> {
    /// Ids of a text, a beginning token included where the tokenizer puts one.
    pub encode: &'a dyn Fn(&str) -> Result<Vec<u32>>,
    /// That beginning token, which stays when a text is cut.
    pub beginning: Option<u32>,
    /// Most tokens of a text.
    pub longest: usize,
}

/// Which prompt an option follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompting {
    /// Demonstrations and the question.
    Whole,
    /// The prompt without content, alone: for calibration.
    Bare,
    /// The same after the demonstrations.
    BareAfterDemonstrations,
}

/// Ids of a text whose last `option` tokens are the option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// All of it.
    pub ids: Vec<u32>,
    /// Tokens at its end that are scored.
    pub option: usize,
}

impl Encoder<'_> {
    /// One text for each option. A prompt that ends in a blank gives it to the option.
    ///
    /// # Errors
    /// Those of the tokenizer; a question without the prompt that is asked for.
    pub fn options(
        &self,
        question: &Question,
        before: &[Question],
        separator: &str,
        which: Prompting,
    ) -> Result<Vec<Sequence>> {
        let prompt = match which {
            Prompting::Whole => &question.prompt,
            _ => question.bare.as_ref().ok_or_else(|| {
                Error::config("bare", "expected a prompt without content for calibration, found none")
            })?,
        };
        let before = if which == Prompting::Bare { &[] } else { before };
        let before = demonstrations(before, separator);
        let alone = (self.encode)(prompt.trim_matches(' '))?.len();
        let sequence = |option: &String| {
            let verbal = format!("{prompt}{option}");
            let verbal = verbal.trim_matches(' ');
            let option = (self.encode)(verbal)?.len().saturating_sub(alone);
            let ids = (self.encode)(trimmed(&format!("{before}{verbal}")))?;
            Ok(Sequence { ids: self.cut(ids, self.longest), option })
        };
        question.options.iter().map(sequence).collect()
    }

    /// The prompt alone, with room for `room` tokens after it.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn prompt(&self, question: &Question, before: &[Question], separator: &str, room: usize) -> Result<Vec<u32>> {
        let before = demonstrations(before, separator);
        let text = format!("{before}{}", question.prompt.trim_matches(' '));
        Ok(self.cut((self.encode)(trimmed(&text))?, self.longest.saturating_sub(room)))
    }

    fn cut(&self, ids: Vec<u32>, longest: usize) -> Vec<u32> {
        let Some(extra) = ids.len().checked_sub(longest).filter(|extra| *extra > 0) else { return ids };
        match self.beginning.filter(|id| ids.first() == Some(id) && longest > 0) {
            Some(id) => std::iter::once(id).chain(ids[extra + 1..].iter().copied()).collect(),
            None => ids[extra..].to_vec(),
        }
    }
}

/// Questions with their right answers, each followed by the separator.
fn demonstrations(questions: &[Question], separator: &str) -> String {
    let one = |q: &Question| {
        let answer = q.right.first().and_then(|place| q.options.get(*place)).map_or("", String::as_str);
        format!("{}{answer}", q.prompt).trim().to_string() + separator
    };
    questions.iter().map(one).collect()
}

/// Without white space before, without blanks after.
fn trimmed(text: &str) -> &str {
    text.trim_start().trim_end_matches(' ')
}

/// The options of one question, what they share read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// One text with all options where they begin alike, else one a text.
    pub texts: Vec<Text>,
    /// By option: its text, its place there, and how many of its last tokens are scored.
    pub options: Vec<Scored>,
    /// Places of the right options.
    pub right: Vec<usize>,
    /// Right answers, where they are generated.
    pub answers: Vec<String>,
}

/// Where an option stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Of [`Example::texts`].
    pub text: usize,
    /// Of its continuations.
    pub continuation: usize,
    /// Last tokens of that.
    pub tokens: usize,
}

impl Example {
    /// From the texts of the options.
    ///
    /// # Errors
    /// [`Error::Config`] for an option without a token, or without one before it.
    pub fn new(sequences: &[Sequence], right: Vec<usize>, answers: Vec<String>) -> Result<Self> {
        if sequences.iter().any(|s| s.option == 0 || s.option >= s.ids.len()) {
            let what = "expected options of at least one token after a prompt of at least one, found another";
            return Err(Error::config("option", what));
        }
        let shared = shared(sequences);
        let (mut texts, mut options) = (Vec::new(), Vec::new());
        for sequence in sequences {
            let split = if shared > 0 { shared } else { sequence.ids.len() - sequence.option };
            let (prompt, rest) = sequence.ids.split_at(split);
            if texts.is_empty() || shared == 0 {
                texts.push(Text { prompt: prompt.to_vec(), continuations: Vec::new() });
            }
            let text = texts.len() - 1;
            let continuation = texts[text].continuations.len();
            texts[text].continuations.push(rest.to_vec());
            options.push(Scored { text, continuation, tokens: sequence.option });
        }
        Ok(Example { texts, options, right, answers })
    }

    /// With the first right option alone.
    ///
    /// # Errors
    /// None for an example that was made by [`Self::new`].
    pub fn right_alone(&self) -> Result<Self> {
        let place = self.right.first().and_then(|place| self.options.get(*place));
        let scored = place.ok_or_else(|| Error::config("target", "expected a right option, found none"))?;
        let text = &self.texts[scored.text];
        let continuation = text.continuations[scored.continuation].clone();
        // What was shared with other options only is prompt now.
        let unscored = continuation.len() - scored.tokens;
        let prompt = [&text.prompt[..], &continuation[..unscored]].concat();
        let texts = vec![Text { prompt, continuations: vec![continuation[unscored..].to_vec()] }];
        let options = vec![Scored { text: 0, continuation: 0, tokens: scored.tokens }];
        Ok(Example { texts, options, right: vec![0], answers: self.answers.clone() })
    }

    /// The first tokens that all texts of some examples share, with at least one left to each prompt.
    pub fn shared(examples: &[Example]) -> usize {
        let mut texts = examples.iter().flat_map(|example| &example.texts).map(|text| &text.prompt);
        let Some(first) = texts.next() else { return 0 };
        let mut shared = first.len().saturating_sub(1);
        for prompt in texts {
            let same = first.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            shared = shared.min(same).min(prompt.len().saturating_sub(1));
        }
        shared
    }

    /// Without the first tokens of its texts.
    pub fn after(&self, tokens: usize) -> Self {
        let mut example = self.clone();
        example.texts.iter_mut().for_each(|text| drop(text.prompt.drain(..tokens)));
        example
    }
}

/// Tokens that all begin with, options left out.
fn shared(sequences: &[Sequence]) -> usize {
    let Some(first) = sequences.first() else { return 0 };
    sequences.iter().fold(usize::MAX, |shortest, s| {
        let same = first.ids.iter().zip(&s.ids).take_while(|(a, b)| a == b).count();
        shortest.min(same).min(s.ids.len() - s.option)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(text: &str, option: usize) -> Sequence {
        Sequence { ids: text.bytes().map(u32::from).collect(), option }
    }

    #[test]
    fn options_share_what_they_begin_with() {
        let example =
            Example::new(&[sequence("it was bad", 3), sequence("it was better", 6)], vec![1], vec![]).unwrap();
        assert_eq!(example.texts.len(), 1);
        assert_eq!(example.texts[0].prompt.len(), 7);
        assert_eq!(example.texts[0].continuations[1].len(), 6);
        let alone = example.right_alone().unwrap();
        assert_eq!((alone.texts[0].prompt.len(), alone.options[0].tokens, &alone.right[..]), (7, 6, &[0][..]));
        // Cut from the left, options of different lengths begin at different places.
        let example = Example::new(&[sequence("was bad", 3), sequence("better", 3)], vec![0], vec![]).unwrap();
        assert_eq!((example.texts.len(), example.options[1].text), (2, 1));
        assert!(Example::new(&[sequence("bad", 3)], vec![0], vec![]).is_err());
        assert!(Example::new(&[sequence("bad", 0)], vec![0], vec![]).is_err());
    }

    #[test]
    fn examples_share_demonstrations() {
        let example = |text: &str| Example::new(&[sequence(text, 1)], vec![0], vec![]).unwrap();
        let examples = [example("demo. one? y"), example("demo. two? n"), example("demo. o? n")];
        let shared = Example::shared(&examples);
        assert_eq!(shared, 6);
        assert_eq!(examples[2].after(shared).texts[0].prompt.len(), 3);
        assert_eq!(Example::shared(&[example("ab"), example("ab")]), 0);
        assert_eq!(Example::shared(&[]), 0);
    }
}
