//! Stored results computed again: winners from the completions with the patterns of the settings, statistics from the
//! winners.

use super::config::ModuleConfig;
use super::outcome::rated;
use super::parse::Parsers;
use super::statistics::{Judged, Statistics};
use super::stored::{Judgement, Outcome, ResultFolder, Tree};
use super::strategy::{Kind, is_conflict, kind};
use super::winner::{Order, Winner};
use crate::evaluation::compat::Compat;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub mod table;

/// What is not as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Below the folder.
    pub file: String,
    /// From 0; none of what concerns the whole file.
    pub example: Option<usize>,
    /// What was expected of the stored value, and what it is.
    pub what: String,
}

/// Results of a folder computed again.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// Files `result.json`.
    pub files: usize,
    /// Examples in them.
    pub examples: usize,
    /// Completions with a winner, or none, stored of them.
    pub completions: usize,
    /// Of these, those whose winner is the stored one.
    pub winners_equal: usize,
    /// Files `statistics.json`.
    pub statistics: usize,
    /// Of these, those equal in every digit.
    pub statistics_equal: usize,
    /// Everything that is not as stored.
    pub differences: Vec<Difference>,
    /// Of winners computed again, by LLM and strategy.
    pub table: Vec<table::Row>,
}

/// One file computed again.
#[derive(Default)]
struct File {
    judged: Vec<Judged>,
    completions: usize,
    winners_equal: usize,
    statistics: usize,
    statistics_equal: usize,
    differences: Vec<Difference>,
}

impl Replay {
    /// Of every `result.json` below a folder, with the settings of `evaluators`, or those of the benchmark's
    /// `LLMEvaluator/evaluators` in the folder or above it. Winners and statistics are those of the original.
    ///
    /// # Errors
    /// [`Error::Config`] of a folder without results or settings; [`Error::Io`]. A file that does not parse is a
    /// difference.
    pub fn of(folder: &Path, evaluators: Option<&Path>) -> Result<Self> {
        let tree = Tree::walk(folder)?;
        if tree.results.is_empty() {
            let what = format!("expected files result.json below {}, found none", folder.display());
            return Err(Error::config("folder", what));
        }
        let evaluators = evaluators.map_or_else(|| tree.evaluators(), |path| Ok(path.to_path_buf()))?;
        let names: BTreeSet<_> = tree.results.iter().map(|result| (&result.llm, &result.strategy)).collect();
        let mut parsers = Parsers::default();
        let names = names.into_iter();
        let kinds: BTreeMap<_, _> =
            names.map(|name| (name, kinds(&evaluators, name.0, name.1, &mut parsers))).collect();
        let one = |result: &ResultFolder| match kinds.get(&(&result.llm, &result.strategy)) {
            Some(Ok(kinds)) => File::replay(&tree, result, kinds),
            Some(Err(e)) => File::failed(&tree, &result.path.join("result.json"), e.to_string()),
            None => File::default(),
        };
        let files: Vec<File> = tree.results.par_iter().map(one).collect();
        let sum = |count: fn(&File) -> usize| files.iter().map(count).sum();
        let judged = tree.results.iter().zip(&files).filter(|(_, file)| !file.judged.is_empty());
        Ok(Replay {
            files: files.len(),
            examples: sum(|file| file.judged.len()),
            completions: sum(|file| file.completions),
            winners_equal: sum(|file| file.winners_equal),
            statistics: sum(|file| file.statistics),
            statistics_equal: sum(|file| file.statistics_equal),
            table: table::rows(judged.map(|(result, file)| (result, Statistics::of(&file.judged)))),
            differences: files.into_iter().flat_map(|file| file.differences).collect(),
        })
    }

    /// Whether everything is as stored.
    pub fn is_exact(&self) -> bool {
        self.differences.is_empty()
    }
}

/// What the modules of a strategy do, prompts left aside.
fn kinds(evaluators: &Path, llm: &str, strategy: &str, parsers: &mut Parsers) -> Result<Vec<Kind>> {
    let path = evaluators.join("config").join(llm).join(format!("{strategy}.json"));
    ModuleConfig::read(&path)?.iter().map(|config| kind(config, &path, parsers)).collect()
}

impl File {
    fn failed(tree: &Tree, path: &Path, what: String) -> Self {
        let difference = Difference { file: tree.name(path), example: None, what };
        File { differences: vec![difference], ..File::default() }
    }

    fn replay(tree: &Tree, result: &ResultFolder, kinds: &[Kind]) -> Self {
        let path = result.path.join("result.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) => return File::failed(tree, &path, e.to_string()),
        };
        let judgements: Vec<Judgement<'_>> = match serde_json::from_slice(&bytes) {
            Ok(judgements) => judgements,
            Err(e) => return File::failed(tree, &path, e.to_string()),
        };
        let mut file = File::default();
        for (example, judgement) in judgements.iter().enumerate() {
            if let Err(what) = file.example(judgement, kinds) {
                file.differences.push(Difference { file: tree.name(&path), example: Some(example), what });
            }
        }
        file.compare_statistics(tree, &result.path.join("statistics.json"));
        file
    }

    /// Walks modules and what is stored of them side by side.
    fn example(&mut self, judgement: &Judgement<'_>, kinds: &[Kind]) -> Result<(), String> {
        let label = judgement.label;
        let label = Winner::from_label(label).ok_or_else(|| format!("label: expected 1 or 2, found {label}"))?;
        let mut winners = [None; 2];
        let mut stored = judgement.results.iter();
        let mut wrong = Vec::new();
        for kind in kinds {
            // Orders that agree, or of which one says nothing, are not debated.
            if matches!(kind, Kind::SwapAndSynthesize(_)) && !is_conflict(winners) {
                continue;
            }
            let outcome = stored.next().ok_or("expected a result of each module, found one too few")?;
            winners = match (kind, outcome) {
                (Kind::Auxiliary, Outcome::Auxiliary) => continue,
                (
                    Kind::Comparison(parser) | Kind::SwapAndSynthesize(parser),
                    Outcome::Comparison { completions, .. },
                ) => {
                    let [as_given, swapped] = completions;
                    [(Order::AsGiven, as_given), (Order::Swapped, swapped)]
                        .map(|(order, completion)| parser.winner(completion).map(|place| order.turn(place)))
                }
                (Kind::Rating, Outcome::Rating { ratings: [first, second], .. }) => {
                    rated(first, second, Compat::Original)
                }
                (kind, outcome) => return Err(format!("expected {}, found {}", expected(kind), outcome.name())),
            };
            self.completions += 2;
            for ((order, winner), stored) in ["as given", "swapped"].iter().zip(winners).zip(outcome.winners()) {
                if winner == stored {
                    self.winners_equal += 1;
                } else {
                    let number = |winner: Option<Winner>| winner.map_or("none".into(), |w| w.number().to_string());
                    wrong.push(format!("winner {order}: expected {}, found {}", number(winner), number(stored)));
                }
            }
        }
        self.judged.push(Judged { winners, label });
        if stored.next().is_some() {
            wrong.push("expected a result of each module, found one too many".into());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn compare_statistics(&mut self, tree: &Tree, path: &Path) {
        let differ = |what: String| Difference { file: tree.name(path), example: None, what };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => return self.differences.push(differ(e.to_string())),
        };
        self.statistics += 1;
        // Python writes a number that is none as no other JSON does.
        let stored: Map<String, Value> = match serde_json::from_str(&text.replace(": NaN", ": null")) {
            Ok(stored) => stored,
            Err(e) => return self.differences.push(differ(e.to_string())),
        };
        let found = Statistics::of(&self.judged).original();
        let keys: BTreeSet<&String> = stored.keys().chain(found.keys()).collect();
        let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
        let unequal = keys.into_iter().filter(|key| stored.get(*key) != found.get(*key));
        let unequal: Vec<Difference> = unequal
            .map(|key| differ(format!("{key}: expected {}, found {}", text(found.get(key)), text(stored.get(key)))))
            .collect();
        self.statistics_equal += usize::from(unequal.is_empty());
        self.differences.extend(unequal);
    }
}

fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Auxiliary => "a text",
        Kind::Comparison(_) | Kind::SwapAndSynthesize(_) => "a comparison",
        Kind::Rating => "ratings",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"[{"prompt": "comparison/x.txt", "model_name": "m", "generate_kwargs": {"max_new_tokens": 5},
        "parsing": {"1": "Output \\(a\\)", "2": "Output \\(b\\)"}}]"#;

    fn replay(result: &str, statistics: &str) -> Replay {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("LLMEvaluator/evaluators/config/m/s.json", CONFIG);
        write("Dataset/X/evaluators/m/s/result.json", result);
        write("Dataset/X/evaluators/m/s/statistics.json", statistics);
        Replay::of(folder.path(), None).unwrap()
    }

    fn result(winner: &str) -> String {
        format!(
            r#"[{{"label": 1, "results": [{{"swap = False": {{"completion": ["Output (a)", "stop"], "winner": {winner}}},
            "swap = True": {{"completion": ["Output (b)", "stop"], "winner": "1"}}}}]}}]"#
        )
    }

    const STATISTICS: &str = r#"{"correct_False": "1 / 1 = 100.0%", "correct_True": "1 / 1 = 100.0%",
        "correct_average": "100.0%", "correct_both": "1 / 1 = 100.0%", "equal": "1 / 1 = 100.0%",
        "kappa_False": NaN, "kappa_True": NaN, "kappa_average": NaN, "kappa_agreement": NaN}"#;

    #[test]
    fn what_is_as_stored_has_no_differences() {
        let replay = replay(&result("\"1\""), STATISTICS);
        assert!(replay.is_exact(), "{:?}", replay.differences);
        assert_eq!((replay.files, replay.completions, replay.winners_equal, replay.statistics_equal), (1, 2, 2, 1));
        assert_eq!(replay.table[0].subsets["X"].accuracy, 1.0);
    }

    #[test]
    fn differences_say_what_and_where() {
        let file = "Dataset/X/evaluators/m/s/result.json".to_string();
        let winner = replay(&result("null"), STATISTICS);
        let what = "winner as given: expected 1, found none".to_string();
        assert_eq!(winner.differences, [Difference { file: file.clone(), example: Some(0), what }]);
        assert_eq!((winner.completions, winner.winners_equal, winner.statistics_equal), (2, 1, 1));

        let number = replay(&result("\"1\""), &STATISTICS.replacen("NaN", "0.5", 1));
        assert_eq!(number.differences[0].what, "kappa_False: expected null, found 0.5");
        assert_eq!(number.statistics_equal, 0);

        let broken = replay("[{", STATISTICS);
        assert_eq!((&broken.differences[0].file, broken.completions), (&file, 0));
        let module = replay(r#"[{"label": 1, "results": [["x", "stop"]]}]"#, STATISTICS);
        assert_eq!(module.differences[0].what, "expected a comparison, found a text");
    }

    #[test]
    fn a_folder_without_results_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let message = Replay::of(folder.path(), None).unwrap_err().to_string();
        assert!(message.starts_with("folder: expected files result.json below "), "{message}");
    }
}
