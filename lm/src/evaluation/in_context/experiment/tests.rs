//! Plans, answers and tables with rules in place of a model.

use super::*;
use crate::evaluation::backend::{Backend, Tell};
use crate::evaluation::in_context::dataset::{Columns, DataOptions, Label};
use crate::evaluation::in_context::report::{Experiment, Row};
use crate::evaluation::in_context::task::InContext;
use crate::evaluation::report::Done;
use crate::evaluation::request::Prompt;
use crate::evaluation::store::Store;
use crate::evaluation::task::Task;
use std::collections::{BTreeMap, BTreeSet};

/// A rule that answers from the prompt alone: what it says of each continuation.
struct Rule(&'static str, fn(&str, &str) -> f64);

impl Backend for Rule {
    fn identity(&self) -> &str {
        self.0
    }

    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
        for (place, request) in requests.iter().enumerate() {
            let Request::LogLikelihood { prompt: Prompt::Text(prompt), continuation } = request else { continue };
            let sum = (self.1)(prompt, continuation);
            tell(place, Response::LogLikelihood { sum, tokens: 1, greedy: false })?;
        }
        Ok(())
    }
}

/// Knows what the words of the data mean and nothing of the demonstrations: recognises the task.
const RECOGNISES: Rule = Rule("recognises", |prompt, continuation| {
    let asked = prompt.rsplit("\n\n\n").next().unwrap();
    let word = if asked.contains("good") { "positive" } else { "negative" };
    f64::from(u8::from(continuation.trim() == word))
});

/// Knows no labels; those of the demonstrations that are as the question is: learns the task.
const LEARNS: Rule = Rule("learns", |prompt, continuation| {
    let parts: Vec<&str> = prompt.split("\n\n\n").collect();
    let (asked, shown) = parts.split_last().unwrap();
    let key = if asked.contains("good") { "good" } else { "bad" };
    shown.iter().filter(|d| d.contains(key) && d.ends_with(continuation.trim_end())).count() as f64
});

const BROKEN: Rule = Rule("broken", |_, _| f64::NAN);

fn data(folder: &std::path::Path) -> Options {
    let mut text = String::from("text,label\n");
    for k in 0..60 {
        text += &format!("{} film number {k},{}\n", ["bad", "good"][k % 2], ["n", "p"][k % 2]);
    }
    let path = folder.join("films.csv");
    std::fs::write(&path, text).unwrap();
    let label = |value: &str, word: &str| Label { value: value.into(), word: word.into() };
    let labels = vec![label("n", "negative"), label("p", "positive")];
    let data = DataOptions { path, family: Some("sentiment".into()), labels, ..DataOptions::default() };
    Options {
        name: "films".into(),
        data,
        examples: 20,
        demonstrations: vec![4, 8],
        seeds: vec![1, 2],
        ..Options::default()
    }
}

fn with(rule: &Rule, options: &Options) -> Experiment {
    Experiment::of(rule.0, &done(rule, options).unwrap()).unwrap()
}

fn done(rule: &Rule, options: &Options) -> Result<Done> {
    Done::run(&InContext::open(options.clone())?, rule, &mut Store::in_memory(), None)
}

fn accuracy(experiment: &Experiment, mode: Mode) -> f64 {
    let rows: Vec<&Row> = experiment.rows.iter().filter(|row| row.mode == mode).collect();
    rows.iter().map(|row| row.accuracy).sum::<f64>() / rows.len() as f64
}

#[test]
fn recognising_and_learning_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { modes: vec![Mode::Gold, Mode::Random, Mode::Symbol], ..data(folder.path()) };
    let recognises = with(&RECOGNISES, &options);
    assert_eq!([Mode::Gold, Mode::Random].map(|mode| accuracy(&recognises, mode)), [1.0, 1.0]);
    // All sums are equal under abstract labels: the first label is chosen, which is right for half of the examples.
    assert_eq!(accuracy(&recognises, Mode::Symbol), 0.5);
    let learns = with(&LEARNS, &options);
    assert_eq!([Mode::Gold, Mode::Symbol].map(|mode| accuracy(&learns, mode)), [1.0, 1.0]);
    let random = accuracy(&learns, Mode::Random);
    assert!((0.3..0.7).contains(&random), "{random}");
    assert!(learns.rows.iter().all(|row| row.asked == 20 * 2 * 3 && row.unanswered == 0));
    assert_eq!((learns.rows.len(), learns.cells.len(), learns.chance), (6, 36, 0.5));
    assert!(learns.table().contains("symbol      8     1.000  0.000    120"), "{}", learns.table());
    assert!(learns.csv().contains("\"films\",\"learns\",gold,4,1.0000,0.0000,0.0000,0.5000,120,0"), "{}", learns.csv());
    let broken = done(&BROKEN, &options).unwrap_err().to_string();
    assert!(broken.contains("finite"), "{broken}");
}

#[test]
fn the_same_demonstrations_in_every_mode_and_new_ones_for_every_example() {
    let folder = tempfile::tempdir().unwrap();
    let options = data(folder.path());
    let read = options.data.read().unwrap();
    let all = plan(&read, &options, None).unwrap();
    assert_eq!(all, plan(&read, &options, None).unwrap());
    let asked: BTreeSet<&str> = all.iter().map(|a| a.id.as_str()).collect();
    assert!(all.iter().all(|a| a.shown.iter().all(|id| !asked.contains(id.as_str()))));
    let mut sets: BTreeMap<(usize, usize, u64), BTreeSet<&[String]>> = BTreeMap::new();
    for a in &all {
        sets.entry((a.place, a.cell.demonstrations, a.cell.seed)).or_default().insert(&a.shown);
        let counts = [0, 1].map(|c| a.shown.iter().filter(|id| id.parse::<usize>().unwrap() % 2 == c).count());
        assert_eq!(counts[0], counts[1]);
    }
    assert!(sets.values().all(|set| set.len() == 1));
    assert_eq!(sets.values().flatten().collect::<BTreeSet<_>>().len(), sets.len());
    let letters: BTreeSet<&[String]> =
        all.iter().filter(|a| a.cell.mode == Mode::Letter).map(|a| a.labels.as_slice()).collect();
    assert!(letters.len() > 60, "{}", letters.len()); // 80 draws of 650 pairs
    assert_eq!((all[0].cell.template.as_str(), all.len()), ("sentiment1", 20 * 2 * 2 * 3 * 3));
}

#[test]
fn a_task_gives_a_sample_for_each_question() {
    let folder = tempfile::tempdir().unwrap();
    let task = InContext::open(data(folder.path())).unwrap();
    let mut store = Store::in_memory();
    let samples = task.run(&mut Asker::new(&LEARNS, &mut store), Some(1)).unwrap();
    // One example in all settings.
    assert_eq!(samples.len(), 2 * 2 * 3 * 3);
    let names: BTreeSet<&str> = samples.iter().flat_map(|s| s.scores.keys().map(String::as_str)).collect();
    assert!(names.contains("accuracy_gold_4") && names.contains("accuracy_letter_8"), "{names:?}");
    assert_eq!(samples.iter().map(|s| &s.id).collect::<BTreeSet<_>>().len(), samples.len());
    assert!(samples.iter().all(|s| s.requests.len() == 2 && s.responses.len() == 2));
    let gold = samples.iter().filter(|s| s.scores.keys().any(|k| k.contains("gold")));
    assert!(gold.into_iter().all(|s| s.parsed == s.target));
    let described = task.describe();
    assert_eq!(described["files"][0]["rows"], 60);
    assert_eq!(described["deviations"].as_array().unwrap().len(), crate::evaluation::in_context::DEVIATIONS.len());
}

#[test]
fn data_that_does_not_suffice_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let message = |change: fn(&mut Options)| {
        let mut options = data(folder.path());
        change(&mut options);
        done(&LEARNS, &options).unwrap_err().to_string()
    };
    let found = message(|o| o.examples = 70);
    assert_eq!(found, "examples: expected 35 rows of class 0 (negative), found 30");
    assert!(message(|o| o.demonstrations = vec![48]).starts_with("demonstrations: expected at least 24 examples"));
    assert!(message(|o| o.templates = vec![9]).contains("found sentiment9"));
    let pairs = |o: &mut Options| o.data.columns = Columns { second: Some("text".into()), ..Columns::default() };
    assert!(message(pairs).contains("template sentiment1: expected one text, found two sentences"));
}
