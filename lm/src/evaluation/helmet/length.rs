//! Prompts of a length: as many units as give so many tokens of the model's own tokenizer, and a record of what was
//! achieved. (The original takes fixed numbers of units, from Llama 2's tokenizer, for every model.)

use super::dataset::{Dataset, Kind};
use super::example::Rendered;
use super::truncate::Tokens;
use crate::{Error, Result};
use serde::Serialize;
use std::io::Write;
use tesseral_datasets::files::write_atomic;

/// The lengths of the original, in tokens of Llama 2.
pub const LENGTHS: [usize; 6] = [4096, 8192, 16384, 32768, 65536, 131072];

/// The units by which the original makes a data set so long ([`LENGTHS`]): passages, pairs, documents, shots; for stories,
/// books and law cases tokens of context. `None` for another length, and where there are no units (RULER).
pub fn original_units(dataset: &Dataset, length: usize) -> Option<usize> {
    let place = LENGTHS.iter().position(|known| *known == length)?;
    let named = |part: &str| dataset.name.contains(part);
    let table: [usize; 6] = match &dataset.kind {
        Kind::Passages { .. } => [20, 50, 105, 220, 440, 1000],
        Kind::KeyValue => [50, 105, 220, 440, 900, 1800],
        Kind::Citation { .. } => [8, 30, 75, 165, 345, 700],
        Kind::Ranking => [14, 50, 130, 285, 600, 1000],
        Kind::Labels(_) if named("trec_coarse") => [200, 400, 800, 1600, 3300, 6600],
        Kind::Labels(_) if named("trec_fine") => [200, 400, 800, 1600, 3200, 6400],
        Kind::Labels(_) if named("banking77") => [180, 360, 720, 1450, 2900, 5900],
        Kind::Labels(_) if named("clinic150") => [220, 440, 880, 1750, 3525, 7050],
        Kind::Labels(_) if named("nlu") => [250, 510, 1020, 2040, 4080, 8296],
        Kind::Labels(_) | Kind::Ruler(_) => return None,
        Kind::Cases => return length.checked_sub(300 + dataset.settings().max_tokens),
        Kind::Story | Kind::Book(_) => return length.checked_sub(200 + dataset.settings().max_tokens),
    };
    table.get(place).copied()
}

/// What a prompt may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most tokens of a prompt and its answer together.
    pub length: usize,
    /// Most tokens of the answer.
    pub answer: usize,
    /// Whether the prompt is a turn of a conversation.
    pub chat: bool,
    /// Tokens that the model's template of conversations puts around a turn.
    pub turns: usize,
}

impl Budget {
    /// Most tokens of a prompt.
    ///
    /// # Errors
    /// [`Error::Config`] where the answer takes all.
    pub fn room(&self) -> Result<usize> {
        let room = self.length.checked_sub(self.answer).filter(|room| *room > 0);
        room.ok_or_else(|| {
            let what = format!("expected more than the {} tokens of the answer, found {}", self.answer, self.length);
            Error::config("length", what)
        })
    }

    /// The tokens of a prompt.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn count(&self, tokens: &dyn Tokens, prompt: &Rendered) -> Result<usize> {
        match self.chat {
            true => Ok(tokens.count(&prompt.user)? + self.turns),
            false => tokens.count(&prompt.completion),
        }
    }
}

/// The most units, up to `most`, with which a prompt has at most `budget` tokens, and its tokens. `tokens` counts those of
/// a prompt of so many units, and must not fall as they grow; it is asked seldom: four times where all units are alike.
///
/// # Errors
/// Those of `tokens`; [`Error::Config`] where even `least` units are too long.
pub fn most_units(
    least: usize,
    most: usize,
    guess: Option<usize>,
    budget: usize,
    mut tokens: impl FnMut(usize) -> Result<usize>,
) -> Result<(usize, usize)> {
    let first = tokens(least)?;
    if first > budget {
        let what = format!("expected room for {least} units, {first} tokens, found {budget}");
        return Err(Error::config("length", what));
    }
    // `low` fits; `high` does not, or is one too many.
    let (mut low, mut of_low, mut high, mut of_high) = (least, first, most.max(least) + 1, None);
    let mut guess = guess.unwrap_or(least + 1);
    for turn in 0.. {
        if high - low == 1 {
            break;
        }
        let middle = guess.clamp(low + 1, high - 1);
        let found = tokens(middle)?;
        if found > budget {
            (high, of_high) = (middle, Some(found));
        } else {
            (low, of_low) = (middle, found);
        }
        let room = budget - of_low;
        guess = match of_high {
            // Every third time half way, should units differ much.
            Some(_) if turn % 3 == 2 => low + (high - low) / 2,
            Some(of_high) => low + room * (high - low) / (of_high - of_low),
            // By the tokens of a unit so far, but not at once to a number that may be far too large.
            None => low + (room / ((of_low - first) / (low - least).max(1)).max(1)).min(3 * low + 16),
        };
    }
    Ok((low, of_low))
}

/// What was achieved for one sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Achieved {
    /// The example.
    pub id: String,
    /// Units in its context.
    pub units: usize,
    /// Tokens of its prompt.
    pub tokens: usize,
    /// Where the answer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<f64>,
}

/// Lengths asked for and achieved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// Most tokens of a prompt and its answer together.
    pub requested: usize,
    /// Most tokens of the answer, which `tokens` do not count.
    pub answer: usize,
    /// The file of the tokenizer that counted.
    pub tokenizer: String,
    /// Tokens of the shortest prompt.
    pub shortest: usize,
    /// Mean of the tokens of the prompts.
    pub mean: f64,
    /// Tokens of the longest prompt.
    pub longest: usize,
    /// Each sample.
    pub samples: Vec<Achieved>,
}

impl Manifest {
    /// Of samples.
    pub fn new(requested: usize, answer: usize, tokenizer: &str, samples: Vec<Achieved>) -> Self {
        let tokens = || samples.iter().map(|sample| sample.tokens);
        Manifest {
            requested,
            answer,
            tokenizer: tokenizer.into(),
            shortest: tokens().min().unwrap_or(0),
            mean: tokens().sum::<usize>() as f64 / samples.len().max(1) as f64,
            longest: tokens().max().unwrap_or(0),
            samples,
        }
    }

    /// Written as JSON.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &std::path::Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        Ok(write_atomic(path, |file| writeln!(file, "{text}"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_units_as_fit_in_few_questions() {
        for (base, each, budget, most) in
            [(100, 7, 1000, 5000), (0, 1, 64, 5), (10, 80, 100, 9), (5, 3, 131_072, 90_000)]
        {
            let mut asked = 0;
            let (units, tokens) = most_units(0, most, None, budget, |n| {
                asked += 1;
                Ok(base + each * n)
            })
            .unwrap();
            assert_eq!(units, ((budget - base) / each).min(most));
            assert_eq!(tokens, base + each * units);
            assert!(asked <= 12, "{asked}");
        }
    }

    #[test]
    fn units_that_differ_much_are_found_too() {
        // With far too many units at hand, a count that is too large is never tried.
        let of = |n: usize| {
            assert!(n < 1000, "{n}");
            Ok(5 * n)
        };
        assert_eq!(most_units(1, 1 << 40, None, 1000, of).unwrap(), (200, 1000));
        // Of growing size, and of none but a few.
        for of in [|n: usize| n * n, |n: usize| n / 50 * 1000, |n: usize| if n > 70 { 10_000 } else { n }] {
            let mut asked = 0;
            let (units, tokens) = most_units(1, 400, None, 5000, |n| {
                asked += 1;
                Ok(of(n))
            })
            .unwrap();
            assert!(tokens == of(units) && tokens <= 5000 && of(units + 1) > 5000, "{units}");
            assert!(asked <= 30, "{asked}");
        }
    }

    #[test]
    fn units_that_never_fit_are_told() {
        let message = most_units(2, 9, None, 50, |n| Ok(40 * n)).unwrap_err().to_string();
        assert_eq!(message, "length: expected room for 2 units, 80 tokens, found 50");
        assert_eq!(most_units(1, 1, Some(7), 50, |n| Ok(40 * n)).unwrap(), (1, 40));
    }

    #[test]
    fn units_of_the_original() {
        let units = |name: &str, length| original_units(&Dataset::named(name).unwrap(), length);
        assert_eq!(units("kilt_nq", 131_072), Some(1000));
        assert_eq!(units("json_kv", 4096), Some(50));
        assert_eq!(units("icl_nlu_250shot_balance", 131_072), Some(8296));
        assert_eq!(units("narrativeqa_130772", 131_072), Some(130_772));
        assert_eq!(units("infbench_sum_eng_129672", 131_072), Some(129_672));
        assert_eq!(units("multi_lexsum_130372", 131_072), Some(130_372));
        assert_eq!(units("ruler_niah_mk_2", 4096), None);
        assert_eq!(units("kilt_nq", 5000), None);
    }

    #[test]
    fn a_manifest_sums_up_its_samples() {
        let sample = |tokens| Achieved { id: "a".into(), units: 1, tokens, depth: None };
        let manifest = Manifest::new(512, 20, "t.json", vec![sample(400), sample(500)]);
        assert_eq!((manifest.shortest, manifest.mean, manifest.longest), (400, 450.0, 500));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        manifest.write(&path).unwrap();
        assert!(std::fs::read_to_string(path).unwrap().contains("\"requested\": 512"));
    }
}
