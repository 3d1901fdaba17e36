//! Texts as numbers of stemmed words.

use crate::evaluation::metrics::multiset::WordMap;
use crate::evaluation::metrics::porter::stem_bytes;

/// Words by number. Only texts read into the same vocabulary can be compared; one vocabulary a sample keeps it small.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// Number of each word as it stands, so that each is stemmed once.
    seen: WordMap<Vec<u8>, u32>,
    stems: WordMap<Vec<u8>, u32>,
    buffer: Vec<u8>,
}

/// A text as numbers of words, with its lines.
#[derive(Clone, Debug, Default)]
pub struct Words {
    words: Vec<u32>,
    /// Where each line ends in `words`.
    ends: Vec<usize>,
}

impl Words {
    /// Every word in order.
    pub(super) fn all(&self) -> &[u32] {
        &self.words
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.words[start..end])
    }
}

impl Vocabulary {
    /// Splits a text into words and lines.
    pub fn read(&mut self, text: &str) -> Words {
        let mut words = Words::default();
        let mut word = std::mem::take(&mut self.buffer);
        for letter in text.chars() {
            if letter.is_ascii_alphanumeric() {
                word.push(letter.to_ascii_lowercase() as u8);
            } else if letter.is_ascii() {
                self.push(&mut word, &mut words);
                if letter == '\n' {
                    words.ends.push(words.words.len());
                }
            } else {
                // A few letters become ASCII in lower case: the Kelvin sign, I with a dot.
                for lower in letter.to_lowercase() {
                    if lower.is_ascii_alphanumeric() {
                        word.push(lower as u8);
                    } else {
                        self.push(&mut word, &mut words);
                    }
                }
            }
        }
        self.push(&mut word, &mut words);
        self.buffer = word;
        words.ends.push(words.words.len());
        words
    }

    fn push(&mut self, word: &mut Vec<u8>, words: &mut Words) {
        if word.is_empty() {
            return;
        }
        let number = match self.seen.get(word) {
            Some(&number) => number,
            None => {
                let mut stem = word.clone();
                if stem.len() > 3 {
                    stem_bytes(&mut stem);
                }
                let next = self.stems.len() as u32;
                let number = *self.stems.entry(stem).or_insert(next);
                self.seen.insert(word.clone(), number);
                number
            }
        };
        words.words.push(number);
        word.clear();
    }
}
