//! Answers to questions, judged for fluency and correctness.

use super::prompts::Prompts;
use super::question::{Judge, Question};
use super::verdict::{number, parse_answer_verdict};
use crate::Result;
use crate::evaluation::ask::Asker;
use crate::evaluation::helmet::output::{Known, parse_known};
use crate::evaluation::request::Response;

/// An answer to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// The right answers; one alone where the data have no list.
    pub answers: Vec<String>,
    /// Whether there is one answer, not a list.
    pub single: bool,
    /// What the model wrote; the answer in it is judged.
    pub output: String,
}

/// What the judge found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerVerdict {
    /// 0 or 1.
    pub fluency: f64,
    /// 0 to 3.
    pub correctness: f64,
}

impl AnswerVerdict {
    /// Correctness of what is fluent, 0 to 3.
    pub fn score(&self) -> f64 {
        self.fluency * self.correctness
    }
}

/// The verdicts on a list of answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Each; `None` where the judge's text does not parse.
    pub verdicts: Vec<Option<AnswerVerdict>>,
    /// What the judge wrote.
    pub responses: Vec<Response>,
    /// `gpt-4-score` of the original: mean over those that parse, 0 to 3. `None` where none does (the original crashes).
    pub score: Option<f64>,
    /// Share of the verdicts that do not parse.
    pub unparsable: f64,
}

/// Asks a judge about each answer.
///
/// # Errors
/// Those of the prompts and the back-end.
pub fn judge_answers(asker: &mut Asker<'_>, judge: &Judge, answers: &[Answer]) -> Result<Answers> {
    let questions = answers.iter().map(|answer| question(&judge.prompts, answer)).collect::<Result<Vec<_>>>()?;
    let responses = judge.ask(asker, &questions)?;
    let verdicts: Vec<_> = responses.iter().map(|response| verdict(response.text(), judge)).collect();
    let scores: Vec<f64> = verdicts.iter().flatten().map(AnswerVerdict::score).collect();
    let score = (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64);
    let unparsable = (verdicts.len() - scores.len()) as f64 / verdicts.len().max(1) as f64;
    Ok(Answers { verdicts, responses, score, unparsable })
}

fn question(prompts: &Prompts, answer: &Answer) -> Result<Question> {
    let correct = match answer.answers.as_slice() {
        [one] if answer.single => one.clone(),
        list => python_list(list),
    };
    // All lines are one here, other than for the metrics of texts.
    let parsed = parse_known(&answer.output.replace('\n', " "), Known::Answer);
    let fields = [("question", answer.question.as_str()), ("correct_answers", &correct), ("parsed_output", &parsed)];
    let verdict = |fluency, correctness| format!("{{\"fluency\": {fluency}, \"correctness\": {correctness}}}");
    let verdicts = (0..=1).flat_map(|fluency| (0..=3).map(move |correctness| verdict(fluency, correctness))).collect();
    Ok(Question { prompt: prompts.render("judge_prompt", &fields)?, verdicts })
}

fn verdict(text: &str, judge: &Judge) -> Option<AnswerVerdict> {
    let verdict = parse_answer_verdict(text)?;
    let fluency = number(&verdict, "fluency", judge.bound(1.0))?;
    let correctness = number(&verdict, "correctness", judge.bound(3.0))?;
    Some(AnswerVerdict { fluency, correctness })
}

/// A list of texts as Python prints it, for so the prompt shows it.
fn python_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| python_text(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A text as Python prints it in a list: in single quotes, unless it holds those and no double ones.
fn python_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut printed = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => printed.push_str("\\\\"),
            '\n' => printed.push_str("\\n"),
            '\r' => printed.push_str("\\r"),
            '\t' => printed.push_str("\\t"),
            c if c == quote => printed.extend(['\\', c]),
            c if c.is_control() || (c != ' ' && c.is_whitespace()) || unseen(c) => {
                let code = u32::from(c);
                printed.push_str(&if code < 0x100 { format!("\\x{code:02x}") } else { format!("\\u{code:04x}") });
            }
            c => printed.push(c),
        }
    }
    printed.push(quote);
    printed
}

/// Marks of format that Python does not print as they are.
fn unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::super::super::golden;
    use super::super::tests::Scripted;
    use super::*;
    use crate::evaluation::compat::Compat;
    use crate::evaluation::store::Store;
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn judge(judge: &[&str], answers: &[Answer], template: &str, compat: Compat) -> (Answers, Vec<String>) {
        let texts = BTreeMap::from([("judge_prompt".into(), template.into())]);
        let prompts = Prompts::new(texts, Path::new("judge.toml")).unwrap();
        let backend = Scripted::new(judge);
        let mut store = Store::in_memory();
        let mut asker = Asker::new(&backend, &mut store);
        let found = judge_answers(&mut asker, &Judge::writing(prompts, compat), answers).unwrap();
        (found, backend.prompts())
    }

    #[test]
    fn prompts_and_scores_are_those_of_the_original() {
        let Some(file) = golden::file("judge_longqa.json") else { return };
        let runs = file["runs"].as_array().unwrap();
        assert!(!runs.is_empty());
        for run in runs {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
            let answer = |row: &Value| Answer {
                question: text(&row["question"]),
                answers: match &row["answer"] {
                    Value::Array(list) => list.iter().map(text).collect(),
                    one => vec![text(one)],
                },
                single: row["answer"].is_string(),
                output: text(&row["output"]),
            };
            let answers: Vec<Answer> = run["rows"].as_array().unwrap().iter().map(answer).collect();
            let outputs: Vec<String> = run["judge_outputs"].as_array().unwrap().iter().map(text).collect();
            let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
            let (found, asked) = judge(&outputs, &answers, file["prompt_template"].as_str().unwrap(), Compat::Original);
            if let Some(prompts) = run["prompts"].as_array() {
                assert_eq!(asked, prompts.iter().map(text).collect::<Vec<_>>());
            }
            match run["error"].as_str() {
                None => assert!(golden::close(found.score.unwrap(), &run["gpt-4-score"])),
                // Where the original crashes, those that parse are averaged, and the others counted.
                Some(_) => assert!(found.unparsable > 0.0),
            }
        }
    }

    #[test]
    fn verdicts_that_do_not_parse_are_counted() {
        let one = |question: &str| Answer {
            question: question.into(),
            answers: vec!["it's".into()],
            single: false,
            output: "Answer: x".into(),
        };
        let answers = [one("a"), one("b"), one("c"), one("d")];
        let said = [
            "{\"fluency\": 1, \"correctness\": 9}",
            "none",
            "{\"fluency\": 1}",
            "{\"fluency\": 1, \"correctness\": 2}",
        ];
        let template = "{question} {correct_answers} {parsed_output}";
        let (found, asked) = judge(&said, &answers, template, Compat::Mended);
        assert_eq!(asked[0], "a [\"it's\"] x");
        assert_eq!((found.score, found.unparsable), (Some(2.0), 0.75));
        let (found, _) = judge(&said, &answers, template, Compat::Original);
        assert_eq!((found.score, found.unparsable), (Some(5.5), 0.5));
        let (found, _) = judge(&["", "", "", ""], &answers, template, Compat::Mended);
        assert_eq!((found.score, found.unparsable), (None, 1.0));
    }

    #[test]
    fn lists_are_printed_as_python_prints_them() {
        let texts = ["a", "it's", "\"q\"", "'\"", "é\u{a0}\\\n\u{7}\u{2028}"].map(String::from);
        let expected = r#"['a', "it's", '"q"', '\'"', 'é\xa0\\\n\x07\u2028']"#;
        assert_eq!(python_list(&texts), expected);
    }
}
