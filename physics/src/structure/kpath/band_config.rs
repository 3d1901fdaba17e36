//! The k path inside a DeePTB band configuration (JSON).
//!
//! The keys stand at the top level or under `task_options`:
//! * `kline_type` `"abacus"`: `kpath` lists `[kx, ky, kz, n]`, n steps from this point to the next, 1 where the path
//!   jumps or ends; `klabels` names them.
//! * `kline_type` `"vasp"`: `kpath` lists `"A-B"`, `high_sym_kpoints` gives the places, `number_in_line` the points.
//! * lines `"n kx ky kz kx ky kz L1 L2"` in `kpath`, as in a `K_PATH` file, under any `kline_type` or none.

use serde_json::Value;

use super::{KPath, MOST_POINTS, Segment};
use crate::{Error, Result};

/// Read the path from the JSON `text`; `name` stands for it in errors.
pub(super) fn parse(text: &str, name: &str) -> Result<KPath> {
    let wrong = |field: &str, expected: &str, found: String| Error::Mismatch {
        what: format!("{name}: {field}"),
        expected: expected.into(),
        found,
    };
    let json: Value = serde_json::from_str(text).map_err(|error| wrong("the file", "JSON", error.to_string()))?;
    let options = json.get("task_options").unwrap_or(&json);
    let list = |field: &str| options.get(field).and_then(Value::as_array);
    let rows = list("kpath").filter(|rows| !rows.is_empty());
    let rows = rows.ok_or_else(|| wrong("kpath", "a list that is not empty", shown(options.get("kpath"))))?;
    let kind = options.get("kline_type").and_then(Value::as_str).unwrap_or_default();
    let strings: Option<Vec<&str>> = rows.iter().map(Value::as_str).collect();
    match (strings, kind) {
        (Some(lines), kind) if kind != "vasp" || lines.iter().all(|line| line.split_whitespace().count() == 9) => {
            KPath::parse(&lines.join("\n"), name)
        }
        (Some(pairs), _) => {
            let points = options.get("number_in_line").and_then(Value::as_u64).map(|n| n as usize);
            let points = points.filter(|n| (2..=MOST_POINTS).contains(n)).ok_or_else(|| {
                wrong("number_in_line", &format!("2 to {MOST_POINTS}"), shown(options.get("number_in_line")))
            })?;
            let place = |label: &str| {
                let value = options.get("high_sym_kpoints").and_then(|all| all.get(label));
                numbers(value, 3)
                    .map(|k| [k[0], k[1], k[2]])
                    .ok_or_else(|| wrong(&format!("high_sym_kpoints: {label}"), "three finite numbers", shown(value)))
            };
            let segment = |pair: &&str| {
                let ends = pair.split_once('-').map(|(a, b)| [a.trim(), b.trim()]);
                let [first, last] = ends.ok_or_else(|| wrong("kpath", "`A-B`", format!("`{pair}`")))?;
                let labels = [first.to_owned(), last.to_owned()];
                Ok(Segment { from: place(first)?, to: place(last)?, labels, points })
            };
            Ok(KPath { segments: pairs.iter().map(segment).collect::<Result<_>>()? })
        }
        (None, _) => {
            let labels = list("klabels").map(Vec::as_slice).unwrap_or_default();
            let mut corners = Vec::with_capacity(rows.len());
            for (number, row) in rows.iter().enumerate() {
                let field = format!("kpath: entry {}", number + 1);
                let row_numbers = numbers(Some(row), 4).ok_or_else(|| {
                    wrong(&field, "[kx, ky, kz, steps] or a line `n kx ky kz kx ky kz L1 L2`", shown(Some(row)))
                })?;
                let steps = row_numbers[3];
                if !(1.0..MOST_POINTS as f64).contains(&steps) || steps.fract() != 0.0 {
                    return Err(wrong(&field, &format!("1 to {} steps", MOST_POINTS - 1), steps.to_string()));
                }
                let label = labels.get(number).and_then(Value::as_str).unwrap_or_default().to_owned();
                corners.push(([row_numbers[0], row_numbers[1], row_numbers[2]], steps as usize, label));
            }
            let segments: Vec<Segment> = corners
                .windows(2)
                .filter(|ends| ends[0].1 > 1)
                .map(|ends| Segment {
                    from: ends[0].0,
                    to: ends[1].0,
                    labels: [ends[0].2.clone(), ends[1].2.clone()],
                    points: ends[0].1 + 1,
                })
                .collect();
            if segments.is_empty() {
                return Err(wrong(
                    "kpath",
                    "at least two points, the first with more than 1 step",
                    shown(options.get("kpath")),
                ));
            }
            Ok(KPath { segments })
        }
    }
}

/// A list of exactly `count` finite numbers.
fn numbers(value: Option<&Value>, count: usize) -> Option<Vec<f64>> {
    let found: Option<Vec<f64>> = value?.as_array()?.iter().map(Value::as_f64).collect();
    found.filter(|found| found.len() == count && found.iter().all(|x| x.is_finite()))
}

/// A value as far as a message needs it.
fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".into(), |value| value.to_string().chars().take(60).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_give_the_same_path() {
        let abacus = r#"{"task_options": {"task": "band", "kline_type": "abacus", "klabels": ["G", "M", "K"],
            "kpath": [[0, 0, 0, 10], [0.5, 0, 0, 10], [0.25, 0.25, 0, 1]]}}"#;
        let vasp = r#"{"kline_type": "vasp", "kpath": ["G-M", "M-K"], "number_in_line": 11,
            "high_sym_kpoints": {"G": [0, 0, 0], "M": [0.5, 0, 0], "K": [0.25, 0.25, 0]}}"#;
        let lines = r#"{"task_options": {"kpath": ["11 0 0 0 0.5 0 0 G M", "11 0.5 0 0 0.25 0.25 0 M K"]}}"#;
        let expected = parse(abacus, "band_config.json").unwrap();
        assert_eq!(expected.points().len(), 22);
        assert_eq!(parse(vasp, "band_config.json").unwrap(), expected);
        assert_eq!(parse(lines, "band_config.json").unwrap(), expected);
    }

    #[test]
    fn a_step_of_one_is_a_jump() {
        let text = r#"{"kline_type": "abacus", "klabels": ["X", "G", "Z", "N"],
            "kpath": [[0.5, 0, 0, 20], [0, 0, 0, 1], [0, 0, 0.5, 20], [0, 0.5, 0.5, 1]]}"#;
        let path = parse(text, "band.json").unwrap();
        assert_eq!(path.segments.len(), 2);
        assert_eq!(path.segments[1].labels, ["Z", "N"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("{", "JSON"),
            ("{}", "kpath"),
            (r#"{"kpath": []}"#, "kpath"),
            (r#"{"kpath": [[0, 0, 0]]}"#, "entry 1"),
            (r#"{"kpath": [[0, 0, 0, 1e30], [1, 0, 0, 1]]}"#, "steps"),
            (r#"{"kpath": ["5 0 0 0 1 0 A B"]}"#, "line 1"),
            (r#"{"kline_type": "vasp", "kpath": ["A-B"]}"#, "number_in_line"),
            (r#"{"kline_type": "vasp", "kpath": ["A-B"], "number_in_line": 5}"#, "high_sym_kpoints: A"),
        ] {
            let message = parse(text, "band_config.json").unwrap_err().to_string();
            assert!(message.starts_with("band_config.json") && message.contains(word), "{message}");
        }
    }
}
