//! Whether answers say what they should, citations apart. All scores 0 to 1 of one answer.

use super::data::{Annotation, QuestionPair};
use super::text;
use crate::Result;
use crate::evaluation::entailment::Entailment;
use crate::evaluation::metrics::rouge::{self, Vocabulary};
use crate::evaluation::metrics::text::{Answer, normalize_answer};
use crate::python::text::{split, strip};
use std::collections::HashSet;

/// Length in words.
pub fn words(output: &str) -> usize {
    split(output).count()
}

/// For each question, whether one of its short answers stands in the output, both normalized.
pub fn presence(output: &str, pairs: &[QuestionPair]) -> Vec<bool> {
    let output = Answer::new(output);
    let any = |pair: &QuestionPair| pair.short_answers.iter().any(|answer| output.contains(&Answer::new(answer)));
    pairs.iter().map(any).collect()
}

/// String match: the share of the questions that are answered, and whether all are. `None` without questions.
pub fn string_match(output: &str, pairs: &[QuestionPair]) -> Option<(f64, bool)> {
    let found = presence(output, pairs);
    let answered = found.iter().filter(|present| **present).count();
    (!found.is_empty()).then(|| (answered as f64 / found.len() as f64, answered == found.len()))
}

/// A list against the list it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ListMatch {
    /// Entries of the output.
    pub predictions: usize,
    /// Share of the entries that are right; an entry that is there twice counts twice.
    pub precision: f64,
    /// Share of the things that are on the list.
    pub recall: f64,
    /// As recall, but five things are enough.
    pub recall_5: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Harmonic mean of precision and [`ListMatch::recall_5`].
    pub f1_5: f64,
}

/// Matches a list, its entries between commas, with the names of each thing. `after_colon`: only what stands after the
/// first colon is the list (before it a model may think); nothing without one.
pub fn list_match(output: &str, answers: &[Vec<String>], after_colon: bool) -> ListMatch {
    let list = match after_colon {
        true => output.split_once(':').map_or("", |(_, list)| list),
        false => output,
    };
    let predictions: Vec<String> = text::parts(list).map(normalize_answer).filter(|entry| !entry.is_empty()).collect();
    let said: HashSet<&str> = predictions.iter().map(String::as_str).collect();
    let things: Vec<Vec<String>> =
        answers.iter().map(|names| names.iter().map(|name| normalize_answer(name)).collect()).collect();
    let names: HashSet<&str> = things.iter().flatten().map(String::as_str).collect();
    let right = predictions.iter().filter(|entry| names.contains(entry.as_str())).count();
    let hit = things.iter().filter(|names| names.iter().any(|name| said.contains(name.as_str()))).count();
    let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let precision = share(right, predictions.len());
    let (recall, recall_5) = (share(hit, things.len()), share(hit.min(5), things.len().min(5)));
    let mean = |recall: f64| match precision + recall {
        0.0 => 0.0,
        sum => 2.0 * precision * recall / sum,
    };
    ListMatch { predictions: predictions.len(), precision, recall, recall_5, f1: mean(recall), f1_5: mean(recall_5) }
}

/// ROUGE-Lsum F1 by sentences, lower case and stemmed: the better of the first two references.
pub fn rouge_lsum(output: &str, references: &[&str]) -> f64 {
    let mut vocabulary = Vocabulary::default();
    let mut read = |text: &str| vocabulary.read(&rouge::sentences_as_lines(text));
    let output = read(output);
    let scores = references.iter().take(2).map(|reference| rouge::rouge_lsum(&read(reference), &output).f1);
    scores.fold(0.0, f64::max)
}

/// The references of ROUGE: two annotations where there are any, else the answer.
pub fn references<'a>(annotations: Option<&'a [Annotation]>, answer: Option<&'a str>) -> Vec<&'a str> {
    match annotations {
        Some(annotations) => annotations.iter().map(|annotation| annotation.long_answer.as_str()).collect(),
        None => answer.into_iter().collect(),
    }
}

/// For each answer the share of its claims that it entails, its citations removed. All pairs in one batch; `None`
/// without claims.
///
/// # Errors
/// Those of the model.
pub fn claims(answers: &[(&str, &[String])], model: &dyn Entailment) -> Result<Vec<Option<f64>>> {
    let premises: Vec<String> = answers.iter().map(|(output, _)| text::remove_citations(output)).collect();
    let pairs: Vec<(&str, &str)> = answers
        .iter()
        .zip(&premises)
        .flat_map(|((_, claims), premise)| claims.iter().map(move |claim| (premise.as_str(), claim.as_str())))
        .collect();
    let mut verdicts = model.entails(&pairs)?.into_iter();
    let share = |(_, claims): &(&str, &[String])| {
        let supported = verdicts.by_ref().take(claims.len()).filter(|verdict| *verdict).count();
        (!claims.is_empty()).then(|| supported as f64 / claims.len() as f64)
    };
    Ok(answers.iter().map(share).collect())
}

/// Short answers that a reader found in the output, against the right ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Mean over the questions of whether it is one of the answers.
    pub exact: f64,
    /// Mean over the questions of the best word F1.
    pub f1: f64,
    /// Whether all are exact.
    pub hit: bool,
}

/// What a reader is to read: an empty output is one blank.
pub fn context(output: &str) -> &str {
    if output.is_empty() { " " } else { output }
}

/// Scores what a reader found, one text a question. `None` without questions.
pub fn reading(found: &[&str], pairs: &[QuestionPair]) -> Option<Reading> {
    let mut sum = Reading::default();
    for (found, pair) in found.iter().zip(pairs) {
        let found = Answer::new(found);
        let answers: Vec<Answer> = pair.short_answers.iter().map(|answer| Answer::new(answer)).collect();
        sum.exact += f64::from(answers.iter().any(|answer| found.equals(answer)));
        sum.f1 += answers.iter().map(|answer| found.squad_f1(answer)).fold(0.0, f64::max);
    }
    let questions = found.len().min(pairs.len());
    let count = questions as f64;
    (questions > 0).then(|| Reading { exact: sum.exact / count, f1: sum.f1 / count, hit: sum.exact == count })
}

/// The text of which MAUVE takes features: question and answer, 100 words, no punctuation at the end. MAUVE itself needs
/// a model and is not computed here.
pub fn mauve_text(question: &str, answer: &str) -> String {
    let text = format!("{question} {}", strip(answer));
    let text = split(&text).take(100).collect::<Vec<_>>().join(" ");
    text.trim_end_matches(|letter: char| letter.is_ascii_punctuation()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::alce::recorded::{number, recorded, rows};
    use crate::evaluation::entailment::Pair;
    use crate::evaluation::metrics::golden;
    use serde_json::{Value, json};
    use std::sync::Mutex;

    fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn close(found: f64, expected: &Value) {
        assert!((100.0 * found - number(expected)).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn golden_string_matches() {
        for case in golden::cases("alce/str_em.json") {
            let lists: Vec<Vec<String>> = read(&case["short_answers"]);
            let pair = |answers: Vec<String>| json!({"question": "", "short_answers": answers});
            let pairs: Vec<QuestionPair> = read(&lists.into_iter().map(pair).collect());
            let output = case["output"].as_str().unwrap();
            assert_eq!(json!(presence(output, &pairs)), case["presence"], "{output}");
            let (share, all) = string_match(output, &pairs).unwrap();
            close(share, &case["str_em"]);
            close(f64::from(all), &case["str_hit"]);
        }
    }

    fn list_scores(found: &ListMatch) -> [(&'static str, f64); 6] {
        [
            ("num_preds", found.predictions as f64 / 100.0),
            ("qampari_prec", found.precision),
            ("qampari_rec", found.recall),
            ("qampari_rec_top5", found.recall_5),
            ("qampari_f1", found.f1),
            ("qampari_f1_top5", found.f1_5),
        ]
    }

    #[test]
    fn golden_lists() {
        for case in golden::cases("alce/qampari_f1.json") {
            let answers: Vec<Vec<String>> = read(&case["answers"]);
            for (key, after_colon) in [("cot_false", false), ("cot_true", true)] {
                let found = list_match(case["output"].as_str().unwrap(), &answers, after_colon);
                list_scores(&found).iter().for_each(|(name, score)| close(*score, &case[key][*name]));
            }
        }
        let Some(file) = golden::file("alce/qampari_f1_dataset.json") else { return };
        let items = file["items"].as_array().unwrap();
        let found: Vec<_> = items
            .iter()
            .map(|item| {
                list_scores(&list_match(item["output"].as_str().unwrap(), &read::<Vec<_>>(&item["answers"]), false))
            })
            .collect();
        for place in 0..6 {
            let name = found[0][place].0;
            close(found.iter().map(|scores| scores[place].1).sum::<f64>() / items.len() as f64, &file["result"][name]);
        }
    }

    #[test]
    fn golden_rouge() {
        for case in golden::cases("alce/rouge_lsum.json") {
            let text = |key: &str| case[key].as_str().unwrap();
            close(rouge_lsum(text("output"), &[text("reference")]), &case["compute_rouge_single_item"]);
            assert_eq!(words(text("output")) as f64, case["compute_len"].as_f64().unwrap());
        }
    }

    #[test]
    fn golden_claims() {
        struct Listening<E>(E, Mutex<Vec<(String, String)>>);
        impl<E: Entailment> Entailment for Listening<E> {
            fn identity(&self) -> &str {
                self.0.identity()
            }
            fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
                let copies = pairs.iter().map(|pair| (pair.0.to_string(), pair.1.to_string()));
                self.1.lock().unwrap().extend(copies);
                self.0.entails(pairs)
            }
        }
        for case in golden::cases("alce/claims_nli.json") {
            let model = Listening(recorded(&case["nli_calls"]), Mutex::default());
            let claims_of: Vec<String> = read(&case["claims"]);
            let found = claims(&[(case["output"].as_str().unwrap(), &claims_of)], &model).unwrap();
            close(found[0].unwrap(), &case["claims_nli"]);
            let expected: Vec<_> = rows(&case["nli_calls"]).into_iter().map(|(p, h, _)| (p, h)).collect();
            assert_eq!(*model.1.lock().unwrap(), expected);
        }
    }

    #[test]
    fn golden_answers_of_a_reader() {
        let Some(file) = golden::file("alce/qa_metrics.json") else { return };
        let table: Vec<(String, String, String)> = read(&file["qa_table"]);
        let mut sum = [0.0; 3];
        let items = file["items"].as_array().unwrap();
        for item in items {
            let pairs: Vec<QuestionPair> = read(&item["qa_pairs"]);
            let context = context(item["output"].as_str().unwrap());
            let answer = |pair: &QuestionPair| {
                let row = table.iter().find(|row| row.0 == pair.question && row.1 == context);
                row.map(|row| row.2.as_str()).unwrap()
            };
            let found = reading(&pairs.iter().map(answer).collect::<Vec<_>>(), &pairs).unwrap();
            sum = [sum[0] + found.exact, sum[1] + found.f1, sum[2] + f64::from(found.hit)];
        }
        for (sum, name) in sum.into_iter().zip(["QA-EM", "QA-F1", "QA-Hit"]) {
            close(sum / items.len() as f64, &file["result"][name]);
        }
    }

    #[test]
    fn golden_exact_and_f1() {
        for case in golden::cases("alce/f1_exact.json") {
            // A reference that is null is an empty one.
            let gold = case["gold"].as_str().unwrap_or_default().to_string();
            let pair: QuestionPair = read(&json!({"question": "", "short_answers": [gold]}));
            let found = reading(&[case["pred"].as_str().unwrap_or_default()], &[pair]).unwrap();
            assert!((found.f1 - number(&case["f1"])).abs() < 1e-9, "{case}");
            assert_eq!(found.exact, number(&case["exact"]), "{case}");
        }
    }

    #[test]
    fn golden_texts_for_mauve() {
        let Some(file) = golden::file("alce/mauve_inputs.json") else { return };
        for (place, item) in file["items"].as_array().unwrap().iter().enumerate() {
            let text = |key: &str| item[key].as_str().unwrap();
            assert_eq!(mauve_text(text("question"), text("answer")), file["p_text"][place].as_str().unwrap());
            assert_eq!(mauve_text(text("question"), text("output")), file["q_text"][place].as_str().unwrap());
        }
    }
}
