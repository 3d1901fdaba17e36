//! Results as the benchmark stores them: `…/SUBSET/evaluators/LLM/STRATEGY/{result,statistics}.json`.

use super::dataset::subset;
use super::winner::Winner;
use crate::{Error, Result};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// A folder with a `result.json` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFolder {
    /// The folder.
    pub path: PathBuf,
    /// Name of the subset, as [`subset`] makes it.
    pub subset: String,
    /// The judge.
    pub llm: String,
    /// Its strategy.
    pub strategy: String,
}

/// Files of a tree that matter here.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The root, absolute.
    pub root: PathBuf,
    /// Folders with results, sorted by path.
    pub results: Vec<ResultFolder>,
    /// Files `dataset.json`, sorted by path.
    pub datasets: Vec<PathBuf>,
}

impl Tree {
    /// Walks a folder.
    ///
    /// # Errors
    /// [`Error::Io`] of a folder that cannot be read.
    pub fn walk(folder: &Path) -> Result<Self> {
        let root = std::fs::canonicalize(folder).map_err(Error::io(folder))?;
        let mut tree = Tree::default();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
                let entry = entry.map_err(Error::io(&folder))?;
                if entry.file_type().map_err(Error::io(&folder))?.is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name() == "result.json" {
                    tree.results.push(ResultFolder::of(&folder));
                } else if entry.file_name() == "dataset.json" {
                    tree.datasets.push(entry.path());
                }
            }
        }
        tree.results.sort_by(|one, other| one.path.cmp(&other.path));
        tree.datasets.sort();
        Ok(Tree { root, ..tree })
    }

    /// A path as it is below the root.
    pub fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// The benchmark's folder of settings and prompts, `LLMEvaluator/evaluators` in the root or in a folder above it.
    ///
    /// # Errors
    /// [`Error::Config`] where there is none.
    pub fn evaluators(&self) -> Result<PathBuf> {
        let folders = self.root.ancestors().map(|folder| folder.join("LLMEvaluator").join("evaluators"));
        folders.into_iter().find(|folder| folder.is_dir()).ok_or_else(|| {
            let what =
                format!("expected a folder LLMEvaluator/evaluators in {} or above it, found none", self.root.display());
            Error::config("evaluators", what)
        })
    }
}

impl ResultFolder {
    fn of(path: &Path) -> Self {
        let above = |levels: usize| path.ancestors().nth(levels);
        let name = |levels: usize| {
            above(levels).and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let subset = subset(above(3).unwrap_or(path));
        ResultFolder { path: path.into(), subset, llm: name(1), strategy: name(0) }
    }
}

/// One example of a `result.json`, as far as a judge's results go.
#[derive(Debug, Deserialize)]
pub struct Judgement<'a> {
    /// 1 or 2.
    pub label: u64,
    /// Module by module.
    #[serde(borrow)]
    pub results: Vec<Outcome<'a>>,
}

/// One example of a `result.json`, its texts with it.
#[derive(Debug, Deserialize)]
pub struct Pair<'a> {
    /// The instruction.
    #[serde(borrow)]
    pub input: Cow<'a, str>,
    /// An output.
    #[serde(borrow)]
    pub output_1: Cow<'a, str>,
    /// The other.
    #[serde(borrow)]
    pub output_2: Cow<'a, str>,
    /// 1 or 2.
    pub label: u64,
    /// Module by module.
    #[serde(borrow)]
    pub results: Vec<Outcome<'a>>,
}

/// What is stored of one module.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A text for later modules, not read.
    Auxiliary,
    /// Completions of both orders, and the winners made of them.
    Comparison {
        /// As given, then swapped.
        completions: [Cow<'a, str>; 2],
        /// By the places in the data.
        winners: [Option<Winner>; 2],
    },
    /// Ratings of both outputs, and the winners made of them.
    Rating {
        /// Of the first, then the second output.
        ratings: [Cow<'a, str>; 2],
        /// As given, then swapped.
        winners: [Option<Winner>; 2],
    },
}

impl Outcome<'_> {
    /// Stored winners, as given, then swapped; none of an auxiliary text.
    pub fn winners(&self) -> [Option<Winner>; 2] {
        match self {
            Outcome::Auxiliary => [None; 2],
            Outcome::Comparison { winners, .. } | Outcome::Rating { winners, .. } => *winners,
        }
    }

    /// Which it is, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Auxiliary => "a text",
            Outcome::Comparison { .. } => "a comparison",
            Outcome::Rating { .. } => "ratings",
        }
    }
}

/// The parts of an outcome that is an object.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(rename = "swap = False", borrow)]
    as_given: Answer<'a>,
    #[serde(rename = "swap = True", borrow)]
    swapped: Answer<'a>,
    #[serde(borrow)]
    score_1: Option<Completion<'a>>,
    #[serde(borrow)]
    score_2: Option<Completion<'a>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    completion: Option<Completion<'a>>,
    winner: Option<Winner>,
}

/// A text, alone or first in an array.
struct Completion<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Outcome<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Outcome<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a module's result: an array with a text, or an object with both orders")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
                while values.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Outcome::Auxiliary)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Parts { as_given, swapped, score_1, score_2 } =
                    Parts::deserialize(MapAccessDeserializer::new(map))?;
                let winners = [as_given.winner, swapped.winner];
                match (score_1, score_2, as_given.completion, swapped.completion) {
                    (Some(first), Some(second), None, None) => {
                        Ok(Outcome::Rating { ratings: [first.0, second.0], winners })
                    }
                    (None, None, Some(as_given), Some(swapped)) => {
                        Ok(Outcome::Comparison { completions: [as_given.0, swapped.0], winners })
                    }
                    _ => Err(serde::de::Error::custom("expected completions of both orders, or two scores")),
                }
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Completion<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Completion<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, alone or first in an array")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Completion(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Completion(Cow::Owned(text.into())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
                let first = values.next_element::<Completion<'de>>()?;
                while values.next_element::<IgnoredAny>()?.is_some() {}
                first.ok_or_else(|| serde::de::Error::invalid_length(0, &self))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_with_their_judges() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Dataset/LLMBar/Adversarial/Manual/evaluators/m/Vanilla");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("result.json"), "[]").unwrap();
        let tree = Tree::walk(folder.path()).unwrap();
        let [found] = tree.results.as_slice() else { panic!("{tree:?}") };
        assert_eq!((found.subset.as_str(), found.llm.as_str(), found.strategy.as_str()), ("Manual", "m", "Vanilla"));
        assert!(tree.evaluators().unwrap_err().to_string().starts_with("evaluators: expected a folder"));
        assert!(Tree::walk(Path::new("/nowhere")).unwrap_err().to_string().starts_with("/nowhere: "));
    }

    #[test]
    fn outcomes_are_told_apart() {
        let text = r#"{"label": 1, "results": [["m", "stop"],
            {"swap = False": {"completion": ["a", "stop"], "winner": "1"}, "swap = True": {"completion": "é", "winner": null}},
            {"score_1": ["7", "stop"], "score_2": ["6", "stop"], "swap = False": {"winner": "1"}, "swap = True": {"winner": "1"}}]}"#;
        let judgement: Judgement<'_> = serde_json::from_str(text).unwrap();
        let names: Vec<&str> = judgement.results.iter().map(Outcome::name).collect();
        assert_eq!(names, ["a text", "a comparison", "ratings"]);
        assert_eq!(judgement.results[1].winners(), [Some(Winner::First), None]);
        let bad = r#"{"label": 1, "results": [{"swap = False": {"winner": "1"}, "swap = True": {"winner": "1"}}]}"#;
        let message = serde_json::from_str::<Judgement<'_>>(bad).unwrap_err().to_string();
        assert!(message.starts_with("expected completions of both orders, or two scores"), "{message}");
    }
}
