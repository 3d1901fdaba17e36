//! The data sets of the benchmark by their names, and how the original runs each.

use crate::{Error, Result};

/// One of the seven groups whose scores are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Needles and key-value pairs found again.
    Recall,
    /// Questions with retrieved passages.
    Rag,
    /// Labels by many examples.
    InContext,
    /// Answers that cite their passages.
    Cite,
    /// Passages ordered by relevance.
    Rerank,
    /// Questions about whole stories.
    LongQa,
    /// Summaries of books and law cases.
    Summarization,
}

/// A task of RULER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruler {
    /// One value of one key.
    Needle,
    /// Several values, of one key or several keys.
    Needles,
    /// Chains of assignments to variables.
    Variables,
    /// Common words.
    CommonWords,
    /// Frequent coded words.
    FrequentWords,
    /// Questions with documents.
    Questions,
}

/// A task of InfiniteBench on books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Book {
    /// Questions.
    Questions,
    /// Questions with four options.
    Choice,
    /// Summaries.
    Summary,
}

/// Many-shot labelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelling {
    /// Examples in the prompt.
    pub shots: usize,
    /// As many of each label as can be; else drawn alike.
    pub balance: bool,
    /// Labels by their names; else by numbers, given out anew for each question.
    pub natural: bool,
    /// Field of the label in a row.
    pub field: &'static str,
    /// How many labels there are, where the name of the data set tells.
    pub labels: Option<usize>,
}

/// What kind of task a data set is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Questions with passages; `popularity`: only questions about things less known than that (PopQA), as log10.
    Passages {
        /// Bound on log10 of `s_pop`.
        popularity: Option<f64>,
    },
    /// A value by its key.
    KeyValue,
    /// An order of passages.
    Ranking,
    /// RULER.
    Ruler(Ruler),
    /// Labels by examples.
    Labels(Labelling),
    /// Questions about a story (NarrativeQA).
    Story,
    /// Books (InfiniteBench).
    Book(Book),
    /// Law cases (Multi-LexSum).
    Cases,
    /// Answers with citations (ALCE), of so many documents.
    Citation {
        /// The first documents that are shown.
        documents: usize,
    },
}

/// A data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Its name in the benchmark: `kilt_nq`, `icl_trec_coarse_400shot_balance`, `narrativeqa_7892`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Most tokens of the context, where the name says so (stories, books, law cases).
    pub context: Option<usize>,
}

/// How the original runs a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its group.
    pub category: Category,
    /// The scores that are reported.
    pub metrics: &'static [&'static str],
    /// Solved examples in the prompt.
    pub shots: usize,
    /// Whether models with a chat template get a conversation.
    pub chat: bool,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Whether the answer is meant to end at a newline. (The original names this setting wrongly, so that it does not.)
    pub stop_newline: bool,
    /// Samples, or questions.
    pub samples: usize,
}

impl Dataset {
    /// By the name in the benchmark.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is none, or one whose number is missing.
    pub fn named(name: &str) -> Result<Self> {
        let number = || name.rsplit('_').next().and_then(|last| last.parse::<usize>().ok());
        let has = |part: &str| name.contains(part);
        let kind = if has("popqa") {
            let bound = name.rsplit('_').next().and_then(|last| last.parse::<f64>().ok());
            let bound = bound.ok_or_else(|| wrong(name, "a bound of log10 popularity at the end (kilt_popqa_3)"))?;
            Kind::Passages { popularity: Some(bound) }
        } else if ["nq", "hotpotqa", "triviaqa"].iter().any(|part| has(part)) {
            Kind::Passages { popularity: None }
        } else if name == "json_kv" {
            Kind::KeyValue
        } else if has("narrativeqa") {
            Kind::Story
        } else if has("msmarco") {
            Kind::Ranking
        } else if has("alce") {
            let documents = number().ok_or_else(|| wrong(name, "a number of documents at the end (alce_asqa_30)"))?;
            Kind::Citation { documents }
        } else if has("icl") {
            Kind::Labels(Labelling::named(name)?)
        } else if has("multi_lexsum") {
            Kind::Cases
        } else if has("ruler") {
            Kind::Ruler(ruler(name)?)
        } else if has("infbench") {
            Kind::Book(book(name)?)
        } else {
            return Err(wrong(name, "a data set of HELMET"));
        };
        let context = match kind {
            Kind::Story | Kind::Book(_) | Kind::Cases => number(),
            _ => None,
        };
        Ok(Dataset { name: name.into(), kind, context })
    }

    /// The settings of the original's configuration files.
    pub fn settings(&self) -> Settings {
        let recall = |max_tokens, shots, metrics| Settings {
            category: Category::Recall,
            metrics,
            shots,
            chat: false,
            max_tokens,
            stop_newline: false,
            samples: 100,
        };
        let base = recall(20, 2, &["substring_exact_match"]);
        let chat = |category, max_tokens, metrics| Settings { category, metrics, chat: true, max_tokens, ..base };
        match &self.kind {
            Kind::Passages { .. } => Settings { category: Category::Rag, stop_newline: true, ..base },
            Kind::KeyValue => recall(100, 2, &["substring_exact_match"]),
            Kind::Ruler(Ruler::Questions) => recall(50, 0, &["substring_exact_match"]),
            Kind::Ruler(_) if self.name.contains("mk_3") => recall(100, 0, &["ruler_recall"]),
            Kind::Ruler(_) => recall(50, 0, &["ruler_recall"]),
            Kind::Ranking => {
                let metrics: &[&str] = &["NDCG@10"];
                Settings { category: Category::Rerank, metrics, max_tokens: 200, stop_newline: true, ..base }
            }
            Kind::Labels(_) => {
                let metrics: &[&str] = &["exact_match"];
                let category = Category::InContext;
                Settings { category, metrics, shots: 0, stop_newline: true, samples: 500, ..base }
            }
            Kind::Citation { .. } if self.name.contains("qampari") => {
                chat(Category::Cite, 300, &["qampari_rec_top5", "citation_rec", "citation_prec"])
            }
            Kind::Citation { .. } => chat(Category::Cite, 300, &["str_em", "citation_rec", "citation_prec"]),
            Kind::Story => chat(Category::LongQa, 100, &["gpt-4-score"]),
            Kind::Book(Book::Questions) => chat(Category::LongQa, 10, &["rougeL_f1"]),
            Kind::Book(Book::Choice) => chat(Category::LongQa, 10, &["exact_match"]),
            Kind::Book(Book::Summary) => chat(Category::Summarization, 1200, &["gpt-4-f1"]),
            Kind::Cases => chat(Category::Summarization, 400, &["gpt-4-f1"]),
        }
    }
}

impl Labelling {
    fn named(name: &str) -> Result<Self> {
        let before = name.split("shot").next().and_then(|before| before.rsplit('_').next());
        let shots = before.and_then(|number| number.parse().ok());
        let shots = shots.ok_or_else(|| wrong(name, "a number of shots (icl_banking77_360shot_balance)"))?;
        let lower = name.to_lowercase();
        let known = [
            ("trec_fine", "fine_label", 50),
            ("trec_coarse", "coarse_label", 6),
            ("banking77", "label", 77),
            ("clinic150", "intent", 151),
            ("nlu", "label", 68),
        ];
        let found = known.into_iter().find(|(part, ..)| lower.contains(part));
        let (field, labels) = found.map_or(("label", None), |(_, field, labels)| (field, Some(labels)));
        Ok(Labelling { shots, balance: has(name, "balance"), natural: has(name, "natural_label"), field, labels })
    }
}

fn has(name: &str, part: &str) -> bool {
    name.contains(part)
}

fn ruler(name: &str) -> Result<Ruler> {
    let known = [
        ("niah_mv", Ruler::Needles),
        ("niah_mq", Ruler::Needles),
        ("niah", Ruler::Needle),
        ("vt", Ruler::Variables),
        ("cwe", Ruler::CommonWords),
        ("fwe", Ruler::FrequentWords),
        ("qa", Ruler::Questions),
    ];
    let found = known.into_iter().find(|(part, _)| name.contains(part));
    found.map(|(_, task)| task).ok_or_else(|| wrong(name, "niah, vt, cwe, fwe or qa after ruler_"))
}

fn book(name: &str) -> Result<Book> {
    let known = [("qa_eng", Book::Questions), ("choice_eng", Book::Choice), ("sum_eng", Book::Summary)];
    let found = known.into_iter().find(|(part, _)| name.contains(part));
    found.map(|(_, task)| task).ok_or_else(|| wrong(name, "qa_eng, choice_eng or sum_eng after infbench_"))
}

fn wrong(name: &str, expected: &str) -> Error {
    Error::config("dataset", format!("expected {expected}, found {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds_numbers_and_settings() {
        let named = |name: &str| Dataset::named(name).unwrap();
        assert_eq!(named("kilt_popqa_3").kind, Kind::Passages { popularity: Some(3.0) });
        assert_eq!(named("ruler_niah_mk_3").settings().max_tokens, 100);
        assert_eq!(named("narrativeqa_7892").context, Some(7892));
        assert_eq!(named("infbench_choice_eng_130862").kind, Kind::Book(Book::Choice));
        assert_eq!(named("alce_qampari_30").settings().metrics[0], "qampari_rec_top5");
        let Kind::Labels(labels) = named("icl_trec_fine_200shot_balance").kind else { panic!() };
        assert_eq!((labels.shots, labels.balance, labels.natural, labels.labels), (200, true, false, Some(50)));
        assert_eq!(labels.field, "fine_label");
    }

    #[test]
    fn a_name_that_is_none_is_told() {
        for (name, part) in [
            ("squad", "a data set of HELMET"),
            ("alce_asqa", "documents"),
            ("icl_nlu", "shots"),
            ("ruler_x", "niah"),
            ("infbench_x", "qa_eng"),
            ("kilt_popqa", "popularity"),
        ] {
            let message = Dataset::named(name).unwrap_err().to_string();
            assert!(message.starts_with("dataset: expected") && message.contains(part), "{message}");
        }
    }
}
