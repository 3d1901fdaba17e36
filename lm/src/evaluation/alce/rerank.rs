//! The best of several answers to a question: the one whose statements its citations support most.

use super::data::{Dataset, Document};
use super::text;
use crate::Result;
use crate::evaluation::compat::Compat;
use crate::evaluation::entailment::{Entailment, Pair};
use crate::evaluation::metrics::sentences;
use crate::python::text::strip;
use serde::{Deserialize, Serialize};

/// What is summed over the statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Probabilities of entailment.
    #[default]
    Probability,
    /// Whether they are at least one half.
    Discrete,
}

/// How answers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Sentences or a list.
    pub dataset: Dataset,
    /// What is summed.
    pub mode: Mode,
    /// Most citations of a statement that count.
    pub at_most: Option<usize>,
    /// To the original the premise is all documents whatever is cited, and where no statement has support the answer is
    /// the empty one.
    pub compat: Compat,
}

/// Several answers to one question.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// The question.
    pub question: &'a str,
    /// The answers.
    pub outputs: &'a [String],
    /// What they may cite.
    pub documents: &'a [Document],
}

/// For each question the best of its answers, the first of equals; all pairs in one batch.
///
/// # Errors
/// Those of the model.
pub fn best(questions: &[Candidates<'_>], rules: Rules, model: &dyn Entailment) -> Result<Vec<String>> {
    let read: Vec<Vec<Vec<Statement>>> = questions
        .iter()
        .map(|question| {
            let all = question.documents.iter().map(|d| format!("Title: {}\n{}", d.title, d.text)).collect::<Vec<_>>();
            let all = if rules.compat.is_original() { all.join("\n") } else { String::new() };
            question.outputs.iter().map(|output| statements(question, output, rules, &all)).collect()
        })
        .collect();
    let asked = read.iter().flatten().flatten().filter_map(Option::as_ref);
    let pairs: Vec<Pair<'_>> = asked.map(|(premise, hypothesis)| (premise.as_str(), hypothesis.as_str())).collect();
    let mut probabilities = model.probabilities(&pairs)?.into_iter();
    let mut score = |statements: &Vec<Statement>| -> f64 {
        let asked = statements.iter().filter(|statement| statement.is_some()).count();
        let sum: f64 = probabilities
            .by_ref()
            .take(asked)
            .map(|probability| match rules.mode {
                Mode::Probability => probability,
                Mode::Discrete => f64::from(probability >= 0.5),
            })
            .sum();
        if statements.is_empty() { 0.0 } else { sum / statements.len() as f64 }
    };
    let choose = |(question, answers): (&Candidates<'_>, &Vec<Vec<Statement>>)| {
        let mut best = match rules.compat.is_original() {
            true => (0.0, ""),
            false => (f64::NEG_INFINITY, ""),
        };
        for (output, statements) in question.outputs.iter().zip(answers) {
            let score = score(statements);
            if score > best.0 {
                best = (score, output);
            }
        }
        best.1.to_string()
    };
    Ok(questions.iter().zip(&read).map(choose).collect())
}

/// Premise and hypothesis; `None` where nothing is cited or a citation is out of range.
type Statement = Option<(String, String)>;

fn statements(question: &Candidates<'_>, output: &str, rules: Rules, all: &str) -> Vec<Statement> {
    let sentences = match (rules.dataset, rules.compat.is_original()) {
        // The original's list keeps what the metric's has lost at its end.
        (Dataset::Qampari, true) => {
            let parts = output.trim_end_matches('.').split(',');
            parts.map(|part| format!("{} {}", question.question, strip(part))).collect()
        }
        (Dataset::Qampari, false) => text::statements(rules.dataset, question.question, output),
        _ => sentences::split(output),
    };
    let statement = |sentence: &String| {
        let places = text::citations(sentence).into_iter();
        let places = places.map(|place| text::document(place, question.documents.len(), rules.compat));
        let mut cited = places.collect::<Option<Vec<usize>>>().filter(|cited| !cited.is_empty())?;
        cited.truncate(rules.at_most.unwrap_or(usize::MAX));
        let premise = match rules.compat.is_original() {
            true => all.to_string(),
            false => {
                let premises = cited.iter().filter_map(|place| question.documents.get(*place)).map(Document::premise);
                premises.collect::<Vec<_>>().join("\n")
            }
        };
        Some((premise, strip(&text::remove_citations(sentence)).to_string()))
    };
    sentences.iter().map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::entailment::lexical::Lexical;
    use crate::evaluation::metrics::golden;
    use std::sync::Mutex;
    use tesseral_datasets::files::sha256;

    /// Knows premises by the start of their SHA-256, and keeps what it was asked.
    struct Digested {
        calls: Vec<(String, String, f64)>,
        asked: Mutex<Vec<(String, String)>>,
    }

    impl Entailment for Digested {
        fn identity(&self) -> &str {
            "golden"
        }

        fn entails(&self, _: &[Pair<'_>]) -> Result<Vec<bool>> {
            unreachable!("only probabilities are asked for")
        }

        fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
            let number = |(premise, hypothesis): &Pair<'_>| {
                let name = sha256(premise.as_bytes())[..12].to_string();
                let call = self.calls.iter().find(|call| call.0 == name && call.1 == *hypothesis).unwrap();
                self.asked.lock().unwrap().push((name, (*hypothesis).to_string()));
                call.2
            };
            Ok(pairs.iter().map(number).collect())
        }
    }

    #[test]
    fn golden_best_answers() {
        let Some(file) = golden::file("alce/rerank.json") else { return };
        for case in file["cases"].as_array().unwrap() {
            let documents: Vec<Document> =
                serde_json::from_value(file["_meta"][case["docs"].as_str().unwrap()].clone()).unwrap();
            let outputs: Vec<String> = serde_json::from_value(case["outputs"].clone()).unwrap();
            let calls: Vec<(String, String, f64)> = serde_json::from_value(case["nli_calls"].clone()).unwrap();
            let expected: Vec<_> = calls.iter().map(|(p, h, _)| (p.clone(), h.clone())).collect();
            let list = case["qampari"].as_bool().unwrap();
            let rules = Rules {
                dataset: if list { Dataset::Qampari } else { Dataset::Asqa },
                mode: if case["mode"] == "prob" { Mode::Probability } else { Mode::Discrete },
                at_most: Some(3),
                compat: Compat::Original,
            };
            // The question is told by the hypotheses alone.
            let question = if list { "What?" } else { "" };
            let model = Digested { calls, asked: Mutex::default() };
            let candidates = Candidates { question, outputs: &outputs, documents: &documents };
            assert_eq!(best(&[candidates], rules, &model).unwrap(), [case["best"].as_str().unwrap()]);
            assert_eq!(*model.asked.lock().unwrap(), expected);
        }
    }

    #[test]
    fn mended_it_sees_what_is_cited_and_never_answers_nothing() {
        let documents = ["moose", "deer"].map(|t| Document { title: t.into(), text: t.into(), ..Document::default() });
        let outputs = ["Moose [2].".to_string(), "Moose [1].".to_string()];
        let none = ["Bananas [1].".to_string(), "Moose.".to_string()];
        let candidates = [outputs.as_slice(), none.as_slice()].map(|outputs| Candidates {
            question: "",
            outputs,
            documents: &documents,
        });
        let rules = |compat| Rules { dataset: Dataset::Asqa, mode: Mode::Probability, at_most: Some(3), compat };
        let found = |compat| best(&candidates, rules(compat), &Lexical::default()).unwrap();
        assert_eq!(found(Compat::Original), ["Moose [2].", ""]);
        assert_eq!(found(Compat::Mended), ["Moose [1].", "Bananas [1]."]);
    }
}
