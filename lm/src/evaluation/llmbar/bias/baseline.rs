//! Judges without a model: the longer output, or the one with more words of the instruction.

use super::words;
use crate::evaluation::llmbar::dataset::Example;
use crate::evaluation::llmbar::winner::Winner;
use regex::Regex;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Words of the instruction with fewer letters do not count as overlap.
const LETTERS: usize = 4;

/// Accuracies of simple rules, as shares; a tie counts half.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Baselines {
    /// How many.
    pub examples: usize,
    /// Of the output with more words, cut at blanks.
    pub longer: f64,
    /// Of the output with more different words of the instruction: runs of letters, digits and `_`, in lower case, of
    /// four characters or more.
    pub overlap: f64,
}

impl Baselines {
    /// On examples; not a number without any.
    pub fn of(examples: &[Example]) -> Self {
        let accuracy = |measure: fn(&Example) -> [usize; 2]| {
            let halves = examples.iter().map(|example| {
                let [first, second] = measure(example);
                match (first.cmp(&second), example.label) {
                    (std::cmp::Ordering::Equal, _) => 1,
                    (std::cmp::Ordering::Greater, Winner::First) | (std::cmp::Ordering::Less, Winner::Second) => 2,
                    _ => 0,
                }
            });
            halves.sum::<usize>() as f64 / (2 * examples.len()) as f64
        };
        Baselines { examples: examples.len(), longer: accuracy(lengths), overlap: accuracy(overlaps) }
    }
}

fn lengths(example: &Example) -> [usize; 2] {
    example.outputs.each_ref().map(|output| words(output))
}

fn overlaps(example: &Example) -> [usize; 2] {
    let instruction = long_words(&example.input);
    example.outputs.each_ref().map(|output| long_words(output).intersection(&instruction).count())
}

fn long_words(text: &str) -> HashSet<String> {
    // \w of Python has no marks; that of the regex crate has.
    static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").ok());
    let text = text.to_lowercase();
    let words = WORD.as_ref().map(|word| word.find_iter(&text).map(|found| found.as_str().to_string()));
    words.into_iter().flatten().filter(|word| word.chars().count() >= LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half() {
        let example = |input: &str, first: &str, second: &str, label| Example {
            input: input.into(),
            outputs: [first.into(), second.into()],
            label,
        };
        let examples = [
            example("Name planets.", "one two", "one", Winner::First),
            example("Name planets.", "PLANETS: a", "no planet", Winner::Second),
        ];
        let baselines = Baselines::of(&examples);
        assert_eq!((baselines.longer, baselines.overlap), (0.75, 0.25));
    }
}
