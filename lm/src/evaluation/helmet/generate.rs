//! Data made at any length and depth: needles in the manner of RULER, key-value pairs, passages with one that answers.
//!
//! A [`Generator`] makes one row, in the row format of the original's files, from a number, a count of units and a depth;
//! the same of these give the same row, and more units only add to it. [`build`] finds for each row the units that make
//! its prompt as long as is asked, in tokens of the model's own tokenizer, and records what was achieved.

mod key_values;
mod needles;
mod passages;
mod words;

pub use key_values::KeyValues;
pub use needles::{Haystack, Keys, Needles, Values};
pub use passages::Passages;

use super::data::Row;
use super::dataset::Dataset;
use super::length::{Achieved, Budget, Manifest, most_units};
use super::load;
use super::sampling::Sampling;
use super::template::Template;
use super::truncate::Tokens;
use crate::evaluation::compat::Compat;
use crate::python::mersenne::Random;
use crate::python::text_seed;
use crate::{Error, Result};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tesseral_datasets::files::write_atomic;

/// Makes rows of one data set.
pub trait Generator {
    /// The data set's name in the benchmark: it tells how the rows are prompted and scored.
    fn dataset(&self) -> &str;

    /// Fewest and most units of a context.
    fn units(&self) -> (usize, usize);

    /// The row of a number, with so many units, the answer at `depth` (0: first, 1: last).
    ///
    /// # Errors
    /// [`Error::Config`] where the number or the units are out of range.
    fn row(&self, number: usize, units: usize, depth: f64) -> Result<Value>;
}

/// What is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Questions; each is asked at every depth.
    pub questions: usize,
    /// Depths of the answer, 0 to 1; not empty.
    pub depths: Vec<f64>,
    /// Solved examples that the prompts will hold, which make them longer.
    pub shots: usize,
    /// The length.
    pub budget: Budget,
}

/// `count` depths from 0 to 1; the middle for one.
pub fn depths(count: usize) -> Vec<f64> {
    match count {
        1 => vec![0.5],
        count => (0..count).map(|place| place as f64 / (count - 1) as f64).collect(),
    }
}

/// Rows of a length. `demos`: rows that solved examples are drawn from, for kinds that need a file of them; `tokenizer`
/// names what counts.
///
/// # Errors
/// Those of the generator; [`Error::Config`] where even the fewest units are too long, or a depth is none.
pub fn build(
    generator: &dyn Generator,
    plan: &Plan,
    demos: &[Row],
    tokens: &dyn Tokens,
    tokenizer: &str,
) -> Result<(Vec<Value>, Manifest)> {
    if plan.depths.is_empty() || plan.depths.iter().any(|depth| !(0.0..=1.0).contains(depth)) {
        return Err(Error::config("depths", format!("expected numbers from 0 to 1, found {:?}", plan.depths)));
    }
    let dataset = Dataset::named(generator.dataset())?;
    let template = Template::of(&dataset.kind);
    let sampling = Sampling { shots: plan.shots, seed: 42, samples: None };
    let file = Arc::new(PathBuf::from(generator.dataset()));
    let count = |row: Value| {
        let row = Row::new(row, &file, "generated row".into())?;
        let examples = load::examples(&dataset, vec![row], demos.to_vec(), &sampling, Compat::Mended)?;
        let Some(example) = examples.first() else { return Ok(0) };
        plan.budget.count(tokens, &example.render(&template, &example.full_context())?)
    };
    let (least, most) = generator.units();
    let (mut rows, mut achieved, mut guess) = (Vec::new(), Vec::new(), None);
    for number in 0..plan.questions {
        for depth in &plan.depths {
            let prompt = |units| count(generator.row(number, units, *depth)?);
            let (units, tokens) = most_units(least, most, guess, plan.budget.room()?, prompt)?;
            guess = Some(units);
            rows.push(generator.row(number, units, *depth)?);
            achieved.push(Achieved { id: number.to_string(), units, tokens, depth: Some(*depth) });
        }
    }
    Ok((rows, Manifest::new(plan.budget.length, plan.budget.answer, tokenizer, achieved)))
}

/// Rows that solved examples are drawn from: the `count` questions after the first `questions`, each with the fewest units
/// (of passages, the one that answers). For the kinds whose solved examples are in a file of their own.
///
/// # Errors
/// Those of the generator, for fewer questions.
pub fn solved(generator: &dyn Generator, questions: usize, count: usize) -> Result<Vec<Value>> {
    let (least, _) = generator.units();
    (questions..questions + count).map(|number| generator.row(number, least, 0.0)).collect()
}

/// Writes rows, one a line.
///
/// # Errors
/// [`Error::Io`].
pub fn write(rows: &[Value], path: &Path) -> Result<()> {
    Ok(write_atomic(path, |file| rows.iter().try_for_each(|row| writeln!(file, "{row}")))?)
}

/// The stream of random numbers of a row.
fn stream(kind: &str, seed: u64, number: usize) -> Random {
    Random::new(text_seed(&format!("{kind} {seed} {number}")).into())
}

/// A UUID of random bits (version 4).
fn uuid(random: &mut Random) -> String {
    let bits = (u128::from(random.getrandbits(64)) << 64) | u128::from(random.getrandbits(64));
    let bits = bits & !(0xf000u128 << 64) & !(0xc000u128 << 48) | (0x4000u128 << 64) | (0x8000u128 << 48);
    let text = format!("{bits:032x}");
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// The place of something at a depth among `count` things.
fn place(depth: f64, count: usize) -> usize {
    (depth * count.saturating_sub(1) as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::super::truncate::tests::Words;
    use super::*;
    use crate::evaluation::helmet::scoring::score;

    fn text(paragraphs: usize) -> String {
        let sentence = |n: usize| format!("Sentence number {n} says this and that of nothing. ");
        (0..paragraphs).map(sentence).collect()
    }

    fn generators() -> Vec<Box<dyn Generator>> {
        let passages: Vec<(String, String, String)> = (0..30)
            .map(|n| {
                (n.to_string(), format!("T{n}"), format!("{} The hero is called Name{n}x. {}", text(20), text(20)))
            })
            .collect();
        let question = |n: usize| (n.to_string(), format!("Who is hero {n}?"), vec![format!("name{n}x")]);
        let questions: Vec<_> = (0..30).map(question).collect();
        vec![
            Box::new(KeyValues { seed: 1, shots: 2 }),
            Box::new(Needles::multi_key(1)),
            Box::new(Needles::uuids(1)),
            Box::new(Needles::multi_value(1, Haystack::Noise)),
            Box::new(Needles::multi_value(1, Haystack::text(&text(5000)).unwrap())),
            Box::new(Passages::new(&passages, &questions, 60, 1).unwrap()),
        ]
    }

    #[test]
    fn rows_are_as_long_and_deep_as_asked_and_answerable() {
        for generator in generators() {
            let shots = if generator.dataset() == "json_kv" { 2 } else { 0 };
            for length in [600, 1500] {
                let budget = Budget { length, answer: 50, chat: false, turns: 0 };
                let plan = Plan { questions: 2, depths: depths(3), shots, budget };
                let (rows, manifest) = build(generator.as_ref(), &plan, &[], &Words, "words").unwrap();
                assert_eq!(rows.len(), 6);
                // Whole units only, so that up to the longest of them is missing.
                assert!(manifest.longest <= length - 50 && manifest.shortest + 90 > length - 50, "{manifest:?}");
                let dataset = Dataset::named(generator.dataset()).unwrap();
                let file = Arc::new(PathBuf::from("x"));
                let rows = rows.into_iter().map(|row| Row::new(row, &file, String::new()).unwrap()).collect();
                let sampling = Sampling { shots, seed: 42, samples: None };
                let examples = load::examples(&dataset, rows, Vec::new(), &sampling, Compat::Mended).unwrap();
                for (example, achieved) in examples.iter().zip(&manifest.samples) {
                    let context = example.full_context();
                    for answer in &example.answers {
                        let found = context.to_lowercase().find(&answer.to_lowercase()).unwrap();
                        if example.answers.len() == 1 {
                            let depth = found as f64 / context.len() as f64;
                            assert!((depth - achieved.depth.unwrap()).abs() < 0.2, "{depth} {achieved:?}");
                        }
                    }
                    assert_eq!(example.depth, achieved.depth);
                    let scores = score(&dataset.kind, &example.answers.join(" "), &example.answers, &[], &[]).scores;
                    assert_eq!(scores[dataset.settings().metrics[0]], 1.0);
                }
            }
        }
    }

    #[test]
    fn lengths_are_kept_by_a_models_own_tokenizer() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
        let file = shared.join("models/smollm2-135m-instruct/tokenizer.json");
        let qa = |name: &str| shared.join("data/qa").join(name);
        let (texts, questions) = (qa("narrativeqa_passages.jsonl"), qa("narrativeqa_questions.jsonl"));
        if !file.is_file() || !texts.is_file() {
            println!("not tried: {} or {}: absent", file.display(), texts.display());
            return;
        }
        let tokenizer = crate::model::tokenizer::Tokenizer::read(&file).unwrap();
        let generators: [(Box<dyn Generator>, usize); 4] = [
            (Box::new(KeyValues { seed: 42, shots: 0 }), 90),
            (Box::new(Needles::multi_key(42)), 30),
            (Box::new(Needles::uuids(42)), 110),
            (Box::new(Passages::read(&texts, &questions, 100, 42).unwrap()), 350),
        ];
        for (generator, unit) in generators {
            for length in [512, 1024, 2048, 4096] {
                let start = std::time::Instant::now();
                let budget = Budget { length, answer: 50, chat: false, turns: 0 };
                let plan = Plan { questions: 4, depths: depths(3), shots: 0, budget };
                let (_, manifest) = build(generator.as_ref(), &plan, &[], &tokenizer, "smollm2").unwrap();
                let (shortest, longest) = (manifest.shortest, manifest.longest);
                println!("{} {length}: {shortest} to {longest}, {:?}", generator.dataset(), start.elapsed());
                // No prompt is too long, and none lacks a whole unit.
                assert!(longest <= length - 50 && shortest + unit > length - 50, "{shortest} {longest} {length}");
            }
        }
    }

    #[test]
    fn the_same_numbers_give_the_same_row_and_others_another() {
        for generator in generators() {
            let (least, _) = generator.units();
            let row = |number| {
                let mut row = generator.row(number, least + 5, 0.5).unwrap();
                let _ = ["id", "index"].map(|name| row.as_object_mut().unwrap().remove(name));
                row
            };
            assert_eq!(row(1), row(1));
            assert_ne!(row(1), row(2));
        }
    }

    #[test]
    fn rows_are_written_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let rows: Vec<Value> = (0..3).map(|n| KeyValues { seed: 1, shots: 0 }.row(n, 4, 0.0).unwrap()).collect();
        write(&rows, &path).unwrap();
        let read = super::super::data::read(&path).unwrap();
        assert_eq!(read.iter().map(|row| Value::Object(row.value().clone())).collect::<Vec<_>>(), rows);
    }

    #[test]
    fn what_cannot_be_built_is_told() {
        let budget = Budget { length: 60, answer: 20, chat: false, turns: 0 };
        let plan = Plan { questions: 1, depths: vec![0.5], shots: 0, budget };
        let build = |plan: &Plan| build(&Needles::multi_value(1, Haystack::Noise), plan, &[], &Words, "words");
        let message = build(&plan).unwrap_err().to_string();
        assert!(message.starts_with("length: expected room for 4 units"), "{message}");
        let message = build(&Plan { depths: vec![2.0], ..plan }).unwrap_err().to_string();
        assert!(message.starts_with("depths: expected numbers from 0 to 1"), "{message}");
    }

    #[test]
    fn solved_examples_are_of_other_questions() {
        let generators = generators();
        let passages = generators.last().unwrap();
        let demos = solved(passages.as_ref(), 2, 5).unwrap();
        assert_eq!(demos.len(), 5);
        assert!(demos.iter().all(|row| row["ctxs"].as_array().unwrap().len() == 1 && row["ctxs"][0]["gold"] == true));
        let file = Arc::new(PathBuf::from("x"));
        let demos: Vec<Row> = demos.into_iter().map(|row| Row::new(row, &file, String::new()).unwrap()).collect();
        let budget = Budget { length: 900, answer: 20, chat: false, turns: 0 };
        let plan = Plan { questions: 2, depths: depths(1), shots: 2, budget };
        let (_, with) = build(passages.as_ref(), &plan, &demos, &Words, "words").unwrap();
        let (_, without) = build(passages.as_ref(), &Plan { shots: 0, ..plan }, &[], &Words, "words").unwrap();
        assert!(with.samples[0].units < without.samples[0].units && with.longest <= 880);
        assert!(solved(passages.as_ref(), 28, 5).unwrap_err().to_string().contains("expected at most 30"));
    }

    #[test]
    fn uuids_are_of_version_four() {
        let mut random = stream("x", 1, 1);
        for _ in 0..100 {
            let uuid = uuid(&mut random);
            let parts: Vec<&str> = uuid.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert!(parts[2].starts_with('4') && "89ab".contains(&parts[3][..1]), "{uuid}");
        }
    }
}
