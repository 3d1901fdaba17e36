//! What Punkt learnt of a language.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// How a word was written in the training text, as far as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Never in lower case; also a word that never stood there.
    NeverLower,
    /// In lower case, and never in upper case inside of a sentence.
    Lower,
    /// In lower case, and in upper case inside of a sentence.
    Both,
    /// In lower case at the start of a sentence, and never in upper case.
    LowerAtStart,
}

/// Learnt lists of words, all in lower case.
#[derive(Default)]
pub(super) struct Parameters {
    abbreviations: HashSet<&'static str>,
    collocations: HashSet<(&'static str, &'static str)>,
    starters: HashSet<&'static str>,
    words: HashMap<&'static str, Case>,
}

impl Parameters {
    /// Of English.
    pub(super) fn english() -> &'static Self {
        static ENGLISH: LazyLock<Parameters> = LazyLock::new(|| Parameters::read(include_str!("punkt_english.txt")));
        &ENGLISH
    }

    fn read(text: &'static str) -> Self {
        let mut parameters = Parameters::default();
        let mut section = "";
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
                continue;
            }
            let (word, sign) = line.split_once('\t').unwrap_or((line, ""));
            match section {
                "abbreviations" => _ = parameters.abbreviations.insert(word),
                "collocations" => _ = parameters.collocations.insert((word, sign)),
                "starters" => _ = parameters.starters.insert(word),
                _ => {
                    let case = match sign {
                        "u" => Case::Both,
                        "l" => Case::LowerAtStart,
                        _ => Case::Lower,
                    };
                    parameters.words.insert(word, case);
                }
            }
        }
        parameters
    }

    /// A word (without the period) that is an abbreviation, or whose part after the last hyphen is one.
    pub(super) fn is_abbreviation(&self, word: &str) -> bool {
        let last = word.rsplit('-').next().unwrap_or(word);
        self.abbreviations.contains(word) || self.abbreviations.contains(last)
    }

    /// Two words that stand together more often than by chance, a period between them.
    pub(super) fn is_collocation(&self, first: &str, second: &str) -> bool {
        self.collocations.contains(&(first, second))
    }

    /// A word that often starts sentences.
    pub(super) fn is_starter(&self, word: &str) -> bool {
        self.starters.contains(word)
    }

    pub(super) fn case(&self, word: &str) -> Case {
        self.words.get(word).copied().unwrap_or(Case::NeverLower)
    }
}
