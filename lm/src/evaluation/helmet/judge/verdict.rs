//! The JSON within what a judge wrote.

use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The last `{..}` of a verdict on an answer; `None` where it is no JSON.
pub fn parse_answer_verdict(text: &str) -> Option<Map<String, Value>> {
    object(last_braces(text)?)
}

/// As [`parse_answer_verdict`], and where that is no JSON, what is fenced by ```` ```json ```` and ```` ``` ````.
pub fn parse_summary_verdict(text: &str) -> Option<Map<String, Value>> {
    static FENCED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?s)```json(.+)```").ok());
    object(last_braces(text)?).or_else(|| {
        let fenced = FENCED.as_ref()?.captures_iter(text).last()?;
        object(fenced.get(1)?.as_str())
    })
}

/// From each `{` to the next `}`, one after the other: the last.
fn last_braces(text: &str) -> Option<&str> {
    let (mut found, mut rest) = (None, text);
    while let Some(start) = rest.find('{') {
        let Some(end) = rest[start..].find('}') else { break };
        found = Some(&rest[start..=start + end]);
        rest = &rest[start + end + 1..];
    }
    found
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// A number of a verdict that is in a range; of any size where `bound` is none.
pub(super) fn number(verdict: &Map<String, Value>, name: &str, bound: Option<f64>) -> Option<f64> {
    let number = verdict.get(name)?.as_f64()?;
    let within = bound.is_none_or(|bound| (0.0..=bound).contains(&number));
    within.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::super::golden;
    use super::*;

    #[test]
    fn verdicts_are_parsed_as_by_the_original() {
        for case in golden::cases("judge_parse.json") {
            let text = case["text"].as_str().unwrap();
            let same = |found: Option<Map<String, Value>>, expected: &Value| {
                assert_eq!(found.map_or(Value::Null, Value::Object), *expected, "{text:?}");
            };
            same(parse_answer_verdict(text), &case["longqa_parse_json"]);
            same(parse_summary_verdict(text), &case["summ_parse_json"]);
        }
    }

    #[test]
    fn fences_help_where_braces_are_nested() {
        let text = "```json\n{\"recall\": {\"found\": 1}, \"x\": 2}\n```";
        assert_eq!(parse_answer_verdict(text), None);
        assert_eq!(parse_summary_verdict(text).unwrap()["x"], 2);
        assert_eq!(parse_summary_verdict("```json x ```"), None);
    }

    #[test]
    fn numbers_have_ranges() {
        let verdict = parse_answer_verdict("{\"a\": 4, \"b\": \"4\"}").unwrap();
        assert_eq!(number(&verdict, "a", Some(3.0)), None);
        assert_eq!(number(&verdict, "a", Some(4.0)), Some(4.0));
        assert_eq!(number(&verdict, "a", None), Some(4.0));
        assert_eq!(number(&verdict, "b", None), None);
    }
}
