//! What came of an evaluation, in the form of lm-evaluation-harness: `results.json`, samples line by line, a table.

use super::ask::Asker;
use super::backend::Backend;
use super::store::Store;
use super::task::{Sample, Scores, Task};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tesseral_datasets::files::{sha256, write_atomic};
use tesseral_datasets::jsonl::Lines;

/// One task done.
#[derive(Clone, Debug)]
pub struct Done {
    /// [`Task::name`].
    pub name: String,
    /// [`Task::version`].
    pub version: u32,
    /// [`Task::describe`].
    pub description: Value,
    /// Everything asked and answered.
    pub samples: Vec<Sample>,
    /// [`Task::overall`].
    pub overall: Scores,
}

/// A mean over samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Standard error: the deviation of the samples (n - 1) over the root of n; none for one sample.
    pub standard_error: Option<f64>,
    /// Samples that have the metric.
    pub samples: usize,
}

/// The mean of some scores; `None` of none.
pub fn mean(scores: &[f64]) -> Option<Mean> {
    let n = scores.len() as f64;
    let value = scores.iter().sum::<f64>() / n;
    let squares: f64 = scores.iter().map(|score| (score - value) * (score - value)).sum();
    let standard_error = (scores.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt());
    (!scores.is_empty()).then_some(Mean { value, standard_error, samples: scores.len() })
}

impl Done {
    /// Runs a task; at most `limit` samples.
    ///
    /// # Errors
    /// Those of the task.
    pub fn run(task: &dyn Task, backend: &dyn Backend, store: &mut Store, limit: Option<usize>) -> Result<Self> {
        let samples = task.run(&mut Asker::new(backend, store), limit)?;
        if samples.is_empty() {
            return Err(Error::config(task.name(), "expected at least one sample, found none"));
        }
        let overall = task.overall(&samples);
        let (name, version) = (task.name().to_string(), task.version());
        Ok(Done { name, version, description: task.describe(), samples, overall })
    }

    /// The mean of each metric over the samples that have it, by name.
    pub fn means(&self) -> Vec<(String, Mean)> {
        let mut names: Vec<&String> = self.samples.iter().flat_map(|sample| sample.scores.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let scores = |name: &String| -> Vec<f64> {
            self.samples.iter().filter_map(|sample| sample.scores.get(name).copied()).collect()
        };
        names.into_iter().filter_map(|name| Some((name.clone(), mean(&scores(name))?))).collect()
    }

    /// Share of the samples whose answers did not parse; where a sample has several answers, its score `unparsed` is its share.
    pub fn parse_failures(&self) -> f64 {
        let failed = |sample: &Sample| {
            sample.scores.get("unparsed").copied().unwrap_or(f64::from(u8::from(sample.parsed.is_null())))
        };
        self.samples.iter().map(failed).sum::<f64>() / self.samples.len().max(1) as f64
    }

    fn results(&self) -> Value {
        let mut all = Map::new();
        all.insert("alias".into(), json!(self.name));
        for (name, mean) in self.means() {
            all.insert(format!("{name},none"), json!(mean.value));
            all.insert(format!("{name}_stderr,none"), mean.standard_error.map_or(json!("N/A"), |e| json!(e)));
        }
        for (name, value) in &self.overall {
            all.insert(format!("{name},none"), json!(value));
        }
        all.insert("parse_failure,none".into(), json!(self.parse_failures()));
        Value::Object(all)
    }

    /// A line of the samples file.
    fn line(&self, number: usize, sample: &Sample) -> Value {
        let text = |value: &Value| sha256(value.to_string().as_bytes());
        let requests = json!(sample.requests);
        let mut line = json!({"doc_id": number, "id": sample.id, "doc": sample.document, "target": sample.target,
            "resps": sample.responses, "filtered_resps": sample.parsed, "doc_hash": text(&sample.document),
            "prompt_hash": text(&requests), "target_hash": text(&sample.target), "arguments": requests});
        for (name, score) in &sample.scores {
            line[name] = json!(score);
        }
        line
    }
}

/// The object of `results.json`. Everything but the date follows from the tasks, the model and the answers.
pub fn results(done: &[Done], model: &str, limit: Option<usize>, date: SystemTime) -> Value {
    let by_task = |value: &dyn Fn(&Done) -> Value| -> Value {
        Value::Object(done.iter().map(|task| (task.name.clone(), value(task))).collect())
    };
    json!({
        "results": by_task(&Done::results),
        "configs": by_task(&|task| task.description.clone()),
        "versions": by_task(&|task| json!(task.version)),
        "n-samples": by_task(&|task| json!(task.samples.len())),
        "task_hashes": by_task(&|task| {
            let samples: Vec<Value> = task.samples.iter().map(|sample| json!(sample.requests)).collect();
            json!(sha256(json!(samples).to_string().as_bytes()))
        }),
        "config": {"model": model, "limit": limit, "limit_note": limit.map(|_| "for testing only")},
        "tesseral_version": env!("CARGO_PKG_VERSION"),
        "date": humantime::format_rfc3339_seconds(date).to_string(),
    })
}

/// Writes `results.json`, `samples_TASK.jsonl` of each task and `results.md`; each file appears whole or not at all.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(out: &Path, done: &[Done], results: &Value) -> Result<()> {
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    for task in done {
        let file = samples_file(out, &task.name);
        write_atomic(&file, |file| {
            task.samples.iter().enumerate().try_for_each(|(k, sample)| writeln!(file, "{}", task.line(k, sample)))
        })?;
    }
    write_atomic(&out.join("results.md"), |file| file.write_all(table(done).as_bytes()))?;
    Ok(write_atomic(&out.join("results.json"), |file| writeln!(file, "{results:#}"))?)
}

/// The tasks of some finished runs of one model, from their folders, and the model.
///
/// # Errors
/// As [`read`]; [`Error::Config`] for runs of different models, and for a task that comes twice.
pub fn read_all(runs: &[PathBuf]) -> Result<(String, Vec<Done>)> {
    let (mut model, mut all) = (None, Vec::<Done>::new());
    for run in runs {
        let (found, tasks) = read(run)?;
        let first = model.get_or_insert_with(|| found.clone());
        if *first != found {
            let what = format!("expected runs of one model, {first}, found {found} in {}", run.display());
            return Err(Error::config("runs", what));
        }
        if let Some(task) = tasks.iter().find(|task| all.iter().any(|other| other.name == task.name)) {
            let what = format!("expected each task once, found {} again in {}", task.name, run.display());
            return Err(Error::config("runs", what));
        }
        all.extend(tasks);
    }
    Ok((model.unwrap_or_default(), all))
}

fn read_results(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
    serde_json::from_str(&text).map_err(|e| Error::format(file, e.to_string()))
}

fn model_of(results: &Value) -> String {
    results["config"]["model"].as_str().unwrap_or_default().into()
}

/// The model of the finished run in a folder, and the names of its tasks, where there is one.
///
/// # Errors
/// A `results.json` that does not parse.
pub fn kept(run: &Path) -> Result<Option<(String, Vec<String>)>> {
    let file = run.join("results.json");
    if !file.exists() {
        return Ok(None);
    }
    let results = read_results(&file)?;
    let tasks = results["results"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    Ok(Some((model_of(&results), tasks)))
}

/// A finished run, from its folder: the model, as its back-end named it, and the tasks.
///
/// # Errors
/// A folder without results, or whose files are not those of [`write()`].
pub fn read(run: &Path) -> Result<(String, Vec<Done>)> {
    let file = run.join("results.json");
    let results = read_results(&file)?;
    let model = model_of(&results);
    let tasks = results["results"].as_object();
    let tasks = tasks.ok_or_else(|| Error::format(&file, "results: expected an object of tasks, found none"))?;
    let mut done = Vec::new();
    for (name, found) in tasks {
        let names: Vec<&str> =
            found.as_object().into_iter().flatten().filter_map(|(k, _)| k.strip_suffix(",none")).collect();
        let version = results["versions"][name].as_u64().unwrap_or_default() as u32;
        let path = samples_file(run, name);
        let mut samples = Vec::new();
        for line in Lines::<Map<String, Value>>::open(&path)? {
            let line = line?;
            let field = |key: &str| line.get(key).cloned().unwrap_or_default();
            let fail = |e: serde_json::Error| Error::format(&path, e.to_string());
            samples.push(Sample {
                id: field("id").as_str().unwrap_or_default().into(),
                document: field("doc"),
                requests: serde_json::from_value(field("arguments")).map_err(fail)?,
                responses: serde_json::from_value(field("resps")).map_err(fail)?,
                parsed: field("filtered_resps"),
                target: field("target"),
                scores: names.iter().filter_map(|k| Some(((*k).to_string(), line.get(*k)?.as_f64()?))).collect(),
            });
        }
        if results["n-samples"][name].as_u64().is_some_and(|expected| expected != samples.len() as u64) {
            let what =
                format!("expected {} samples as in results.json, found {}", results["n-samples"][name], samples.len());
            return Err(Error::format(&path, what));
        }
        let description = results["configs"][name].clone();
        done.push(Done { name: name.clone(), version, description, samples, overall: Scores::new() });
    }
    Ok((model, done))
}

fn samples_file(run: &Path, task: &str) -> PathBuf {
    run.join(format!("samples_{}.jsonl", task.replace(['/', '\\'], "_")))
}

/// A Markdown table: tasks, metrics, values with standard errors, and how many answers did not parse.
pub fn table(done: &[Done]) -> String {
    let mut text = String::from(
        "| task | version | samples | metric | value | stderr | unparsed |\n|---|---|---|---|---|---|---|\n",
    );
    for task in done {
        let unparsed = format!("{:.3}", task.parse_failures());
        let mut row = |metric: &str, samples: usize, value: f64, error: Option<f64>| {
            let error = error.map_or("".into(), |error| format!("{error:.4}"));
            let (name, version) = (&task.name, task.version);
            let _ = writeln!(text, "| {name} | {version} | {samples} | {metric} | {value:.4} | {error} | {unparsed} |");
        };
        for (name, mean) in task.means() {
            row(&name, mean.samples, mean.value, mean.standard_error);
        }
        for (name, value) in &task.overall {
            row(name, task.samples.len(), *value, None);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_standard_error_by_hand() {
        let found = mean(&[0.0, 1.0, 1.0, 1.0]).unwrap();
        // Squares 0.5625 + 3 * 0.0625 = 0.75; / 3 / 4 = 0.0625.
        assert_eq!(found, Mean { value: 0.75, standard_error: Some(0.25), samples: 4 });
        assert_eq!(mean(&[2.0]).unwrap().standard_error, None);
        assert_eq!(mean(&[]), None);
    }
}
