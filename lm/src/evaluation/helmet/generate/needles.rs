//! Needles in the manner of RULER (arXiv 2404.06654): values of keys, hidden in a text, in noise, or among other needles.

use super::words::{ADJECTIVES, NOUNS};
use super::{Generator, place, stream, uuid};
use crate::python::mersenne::Random;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// What keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Two words (`tall-cat`).
    Words,
    /// UUIDs.
    Uuids,
}

/// What values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Seven digits.
    Numbers,
    /// UUIDs.
    Uuids,
}

/// What needles are hidden in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Haystack {
    /// Other needles.
    Needles,
    /// The same five short sentences again and again.
    Noise,
    /// Sentences of a text, from its beginning.
    Text(Arc<Vec<String>>),
}

/// RULER's noise.
const NOISE: &str = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

/// Sentences that end so are cut there.
const ENDS: [char; 3] = ['.', '!', '?'];

impl Haystack {
    /// The sentences of a text (of several files, joined).
    ///
    /// # Errors
    /// [`Error::Config`] for a text without sentences.
    pub fn text(text: &str) -> Result<Self> {
        let sentences =
            text.split_inclusive(ENDS).map(|sentence| sentence.split_whitespace().collect::<Vec<_>>().join(" "));
        let sentences: Vec<String> = sentences.filter(|sentence| sentence.len() > 1).collect();
        if sentences.is_empty() {
            return Err(Error::config("haystack", "expected a text of sentences, found none"));
        }
        Ok(Haystack::Text(Arc::new(sentences)))
    }
}

/// Needles; a unit is a sentence of the haystack (of noise, its five), or a needle.
#[derive(Clone, Debug, PartialEq)]
pub struct Needles {
    name: String,
    keys: Keys,
    values: Values,
    of_key: usize,
    haystack: Haystack,
    seed: u64,
}

impl Needles {
    /// One key's number among the numbers of many (`ruler_niah_mk_2`).
    pub fn multi_key(seed: u64) -> Self {
        Self::new("ruler_niah_mk_2", Keys::Words, Values::Numbers, 1, Haystack::Needles, seed)
    }

    /// One UUID's UUID among many (`ruler_niah_mk_3`).
    pub fn uuids(seed: u64) -> Self {
        Self::new("ruler_niah_mk_3", Keys::Uuids, Values::Uuids, 1, Haystack::Needles, seed)
    }

    /// Four numbers of one key in a haystack (`ruler_niah_mv`).
    pub fn multi_value(seed: u64, haystack: Haystack) -> Self {
        Self::new("ruler_niah_mv", Keys::Words, Values::Numbers, 4, haystack, seed)
    }

    /// One number of one key in a haystack (`ruler_niah_s_1`): the easiest.
    pub fn single(seed: u64, haystack: Haystack) -> Self {
        Self::new("ruler_niah_s_1", Keys::Words, Values::Numbers, 1, haystack, seed)
    }

    /// Any other: `name` must begin with `ruler_niah`, and with `ruler_niah_mv` for several values of a key.
    pub fn new(name: &str, keys: Keys, values: Values, of_key: usize, haystack: Haystack, seed: u64) -> Self {
        Needles { name: name.into(), keys, values, of_key, haystack, seed }
    }

    fn key(&self, random: &mut Random) -> String {
        match self.keys {
            Keys::Words => format!("{}-{}", word(&ADJECTIVES, random), word(&NOUNS, random)),
            Keys::Uuids => uuid(random),
        }
    }

    /// A key that was not drawn before; a third word tells apart what two cannot.
    fn new_key(&self, random: &mut Random, drawn: &mut HashSet<String>) -> String {
        let mut key = self.key(random);
        if drawn.contains(&key) {
            key = self.key(random);
        }
        while !drawn.insert(key.clone()) {
            key = [&key, "-", word(&NOUNS, random)].concat();
        }
        key
    }

    fn value(&self, random: &mut Random) -> String {
        match self.values {
            Values::Numbers => (1_000_000 + random.randbelow(9_000_000)).to_string(),
            Values::Uuids => uuid(random),
        }
    }

    /// What values are called: of many, and of one.
    fn called(&self) -> (&'static str, &'static str) {
        match self.values {
            Values::Numbers => ("numbers", "number"),
            Values::Uuids => ("uuids", "uuid"),
        }
    }

    fn sentence(&self, key: &str, value: &str) -> String {
        format!("One of the special magic {} for {key} is: {value}.", self.called().0)
    }
}

fn word(list: &[&'static str], random: &mut Random) -> &'static str {
    list.get(random.randbelow(list.len())).copied().unwrap_or("")
}

impl Generator for Needles {
    fn dataset(&self) -> &str {
        &self.name
    }

    fn units(&self) -> (usize, usize) {
        let most = match &self.haystack {
            Haystack::Text(sentences) => sentences.len(),
            // The places of words are found by trial.
            Haystack::Needles | Haystack::Noise => 1 << 24,
        };
        (self.of_key, most + self.of_key)
    }

    fn row(&self, number: usize, units: usize, depth: f64) -> Result<Value> {
        let (least, most) = self.units();
        if !(least..=most).contains(&units) {
            return Err(Error::config("units", format!("expected {least} to {most} sentences, found {units}")));
        }
        let mut random = stream(&self.name, self.seed, number);
        let mut drawn = HashSet::new();
        let key = self.new_key(&mut random, &mut drawn);
        let mut values = Vec::new();
        while values.len() < self.of_key {
            let value = self.value(&mut random);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        let others = units - self.of_key;
        let (mut sentences, join): (Vec<String>, &str) = match &self.haystack {
            Haystack::Needles => {
                let other = |_| {
                    let key = self.new_key(&mut random, &mut drawn);
                    let value = self.value(&mut random);
                    self.sentence(&key, &value)
                };
                ((0..others).map(other).collect(), "\n")
            }
            Haystack::Noise => (vec![NOISE.into(); others], "\n"),
            Haystack::Text(text) => {
                // Each row begins elsewhere.
                let from = random.randbelow(text.len());
                (text.iter().cycle().skip(from).take(others).cloned().collect(), " ")
            }
        };
        // Several values are spread over the whole, the first of them at the depth.
        let at = |n: usize| {
            let depth = depth + n as f64 / self.of_key as f64;
            if depth > 1.0 { depth - 1.0 } else { depth }
        };
        let mut places: Vec<(usize, &String)> =
            values.iter().enumerate().map(|(n, value)| (place(at(n), others + 1), value)).collect();
        places.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        for (place, value) in places {
            sentences.insert(place.min(sentences.len()), self.sentence(&key, value));
        }
        let (many, one) = self.called();
        Ok(json!({
            "index": number,
            "context": sentences.join(join),
            "query": key,
            "type_needle_v": if self.of_key > 1 { many } else { one },
            "outputs": values,
            "units": units,
            "depth": depth,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_however_many() {
        let row = Needles::multi_key(3).row(0, 9000, 0.3).unwrap();
        let context = row["context"].as_str().unwrap();
        let keys: Vec<&str> = context.lines().map(|line| line.split(" for ").nth(1).unwrap()).collect();
        let keys: HashSet<&str> = keys.iter().map(|rest| rest.split(" is: ").next().unwrap()).collect();
        assert_eq!(keys.len(), 9000);
        let line = context.lines().position(|line| line.contains(row["query"].as_str().unwrap())).unwrap();
        assert_eq!(line, place(0.3, 9000));
    }

    #[test]
    fn several_values_are_spread() {
        let row = Needles::multi_value(3, Haystack::Noise).row(0, 104, 0.1).unwrap();
        let context = row["context"].as_str().unwrap();
        let lines: Vec<usize> =
            context.lines().enumerate().filter(|(_, line)| line.starts_with("One of")).map(|(n, _)| n).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.windows(2).all(|pair| pair[1] - pair[0] >= 25), "{lines:?}");
        assert_eq!(row["type_needle_v"], "numbers");
        assert_eq!(row["outputs"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn texts_without_sentences_and_units_out_of_range_are_told() {
        assert!(Haystack::text(" \n").unwrap_err().to_string().contains("haystack: expected a text"));
        let needles = Needles::single(1, Haystack::text("One. Two! Three?").unwrap());
        assert_eq!(needles.units(), (1, 4));
        assert!(needles.row(0, 5, 0.0).unwrap_err().to_string().contains("expected 1 to 4 sentences, found 5"));
    }
}
