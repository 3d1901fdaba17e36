//! What a model does: accuracy by kind of label and number of demonstrations, of a finished task.

use super::experiment::Cell;
use super::labels::Mode;
use super::score::{average, clustered};
use crate::evaluation::report::Done;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Accuracy in one setting, or over all templates and seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Labels of the demonstrations.
    pub mode: Mode,
    /// How many demonstrations.
    pub demonstrations: usize,
    /// Share of right answers.
    pub accuracy: f64,
    /// Its standard error, from the spread over examples.
    pub standard_error: f64,
    /// Population standard deviation over templates and seeds.
    pub deviation: f64,
    /// Answers.
    pub asked: usize,
    /// Answers whose log-likelihoods are no numbers: counted as wrong.
    pub unanswered: usize,
}

/// What a model does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiment {
    /// Of the task.
    pub name: String,
    /// Who answered.
    pub model: String,
    /// Share of right answers by chance.
    pub chance: f64,
    /// Over all templates and seeds, by mode and number of demonstrations.
    pub rows: Vec<Row>,
    /// Accuracy of every setting.
    pub cells: Vec<(Cell, f64)>,
}

/// An answer: its setting, its example, whether it is right, whether there is one.
struct Mark {
    cell: Cell,
    example: usize,
    right: bool,
    answered: bool,
}

fn counted(name: &str, model: &str, chance: f64, marks: &[Mark]) -> Experiment {
    let mut pooled: BTreeMap<(Mode, usize), Vec<&Mark>> = BTreeMap::new();
    let mut cells: BTreeMap<&Cell, (f64, f64)> = BTreeMap::new();
    let right = |mark: &Mark| f64::from(u8::from(mark.right));
    for mark in marks {
        pooled.entry((mark.cell.mode, mark.cell.demonstrations)).or_default().push(mark);
        let (sum, count) = cells.entry(&mark.cell).or_default();
        (*sum, *count) = (*sum + right(mark), *count + 1.0);
    }
    let cells: Vec<(Cell, f64)> = cells.into_iter().map(|(cell, (sum, count))| (cell.clone(), sum / count)).collect();
    let row = |((mode, demonstrations), marks): ((Mode, usize), Vec<&Mark>)| {
        let (accuracy, standard_error) = clustered(marks.iter().map(|mark| (mark.example, right(mark))));
        let of_row = cells.iter().filter(|(cell, _)| (cell.mode, cell.demonstrations) == (mode, demonstrations));
        let episodes: Vec<_> = of_row.map(|(_, share)| BTreeMap::from([("accuracy".to_string(), *share)])).collect();
        let deviation = average(&episodes).get("accuracy").map_or(f64::NAN, |spread| spread.1);
        let unanswered = marks.iter().filter(|mark| !mark.answered).count();
        Row { mode, demonstrations, accuracy, standard_error, deviation, asked: marks.len(), unanswered }
    };
    let rows = pooled.into_iter().map(row).collect();
    Experiment { name: name.into(), model: model.into(), chance, rows, cells }
}

impl Experiment {
    /// Of a task that a model has finished; `None` of a task of another family.
    pub fn of(model: &str, done: &Done) -> Option<Self> {
        let chance = done.description["chance"].as_f64()?;
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut marks = Vec::new();
        for sample in &done.samples {
            let cell = Cell::deserialize(&sample.document["cell"]).ok()?;
            let next = places.len();
            let example = *places.entry(sample.document["example"].as_str()?).or_insert(next);
            let right = sample.scores.values().next().is_some_and(|score| *score > 0.0);
            marks.push(Mark { cell, example, right, answered: !sample.parsed.is_null() });
        }
        Some(counted(&done.name, model, chance, &marks))
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}, {}; chance {:.3}\nlabels  shown  accuracy  s.e.   asked\n",
            self.name, self.model, self.chance
        );
        for row in &self.rows {
            let (mode, shown, accuracy) = (row.mode.name(), row.demonstrations, row.accuracy);
            let _ = writeln!(text, "{mode:7} {shown:5}  {accuracy:8.3}  {:.3}  {:5}", row.standard_error, row.asked);
        }
        text
    }

    /// For programs: one line a row, with a header.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "task,model,labels,demonstrations,accuracy,standard_error,deviation,chance,asked,unanswered\n",
        );
        for row in &self.rows {
            let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let (task, model, mode) = (quoted(&self.name), quoted(&self.model), row.mode.name());
            let (shown, accuracy, error) = (row.demonstrations, row.accuracy, row.standard_error);
            let rest = format!("{:.4},{:.4},{},{}", row.deviation, self.chance, row.asked, row.unanswered);
            let _ = writeln!(text, "{task},{model},{mode},{shown},{accuracy:.4},{error:.4},{rest}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::task::{Sample, Scores};
    use serde_json::{Value, json};

    fn sample(mode: &str, count: usize, example: &str, right: f64) -> Sample {
        Sample {
            id: String::new(),
            document: json!({"cell": {"mode": mode, "demonstrations": count, "template": "t", "seed": 0}, "example": example}),
            requests: Vec::new(),
            responses: Vec::new(),
            parsed: Value::Null,
            target: Value::Null,
            scores: Scores::from([(format!("accuracy_{mode}_{count}"), right)]),
        }
    }

    #[test]
    fn finished_tasks_are_counted_by_mode_and_number() {
        let samples = vec![
            sample("letter", 16, "a", 1.0),
            sample("gold", 16, "a", 1.0),
            sample("gold", 4, "a", 0.0),
            sample("gold", 16, "b", 1.0),
            sample("gold", 16, "c", 0.0),
        ];
        let description = json!({"chance": 0.5});
        let mut done = Done { name: "t".into(), version: 1, description, samples, overall: Scores::new() };
        let found = Experiment::of("m", &done).unwrap();
        let rows: Vec<_> = found.rows.iter().map(|row| (row.mode, row.demonstrations, row.accuracy)).collect();
        assert_eq!(rows, [(Mode::Gold, 4, 0.0), (Mode::Gold, 16, 2.0 / 3.0), (Mode::Letter, 16, 1.0)]);
        // Residuals 1/3, 1/3, -2/3: the root of (6/9)(3/2) over 3.
        assert!((found.rows[1].standard_error - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((found.rows[1].asked, found.rows[1].unanswered), (3, 3));
        done.description = Value::Null;
        assert_eq!(Experiment::of("m", &done), None);
    }
}
