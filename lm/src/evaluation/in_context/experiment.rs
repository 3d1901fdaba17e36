//! The experiment: every kind of label, number of demonstrations, template and seed on the same examples.

use super::dataset::{Dataset, Example};
use super::demonstrations::Pool;
use super::labels::Mode;
use super::prompt::{Question, question};
use super::score::{average, choose, clustered};
use super::task::Options;
use super::template::Template;
use crate::evaluation::ask::Asker;
use crate::evaluation::request::{Request, Response};
use crate::{Error, Result};
use rand::seq::SliceRandom;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tesseral_nn::rng::Streams;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    /// Labels of the demonstrations.
    pub mode: Mode,
    /// How many demonstrations.
    pub demonstrations: usize,
    /// Name of the template.
    pub template: String,
    /// Of the demonstrations and labels.
    pub seed: u64,
}

/// An example asked in one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The setting.
    pub cell: Cell,
    /// Place of the example among those asked.
    pub place: usize,
    /// Its id in the data.
    pub id: String,
    /// Ids of the demonstrations in order.
    pub shown: Vec<String>,
    /// Prompt and continuations.
    pub question: Question,
    /// Labels of the classes.
    pub labels: Vec<String>,
    /// The right one.
    pub right: usize,
}

impl Asked {
    /// One request a label.
    pub fn requests(&self) -> Vec<Request> {
        let request = |continuation: &String| Request::log_likelihood(self.question.prompt.as_str(), continuation);
        self.question.continuations.iter().map(request).collect()
    }

    /// The label of the greatest log-likelihood, and whether it is the right one, from the answers to
    /// [`Self::requests`].
    pub fn judge(&self, responses: &[Response]) -> (Option<&str>, bool) {
        let sums: Vec<f64> = responses.iter().map(Response::sum).collect();
        let chosen = choose(&sums).and_then(|k| self.labels.get(k));
        (chosen.map(String::as_str), chosen.is_some() && chosen == self.labels.get(self.right))
    }
}

/// Examples that are asked, as many of each class as of any other, and those that may be shown.
fn split<'a>(data: &'a Dataset, options: &Options) -> Result<(Vec<&'a Example>, Vec<&'a Example>)> {
    let mut from: Vec<&Example> = data.test.as_ref().unwrap_or(&data.examples).iter().collect();
    from.shuffle(&mut Streams::new(options.split_seed).stream("examples", &[]));
    let classes = data.words.len();
    let quota = |class: usize| options.examples / classes + usize::from(class < options.examples % classes);
    let mut taken = vec![0; classes];
    let (mut asked, mut rest) = (Vec::new(), Vec::new());
    for example in from {
        let Some(taken) = taken.get_mut(example.class) else { continue };
        if *taken < quota(example.class) {
            *taken += 1;
            asked.push(example);
        } else {
            rest.push(example);
        }
    }
    if let Some((class, found)) = taken.iter().enumerate().find(|(class, found)| **found < quota(*class)) {
        let what = format!("expected {} rows of class {class} ({}), found {found}", quota(class), data.words[class]);
        return Err(Error::config("examples", what));
    }
    Ok((asked, if data.test.is_some() { data.examples.iter().collect() } else { rest }))
}

/// Everything that is asked, the settings of one example after the other, at most `limit`. Demonstrations depend on
/// seed, example and their number alone, so that modes and templates are compared on the same ones; labels are drawn
/// anew for each too.
///
/// # Errors
/// [`Error::Config`] for options that contradict the data: too few rows, a template that does not exist or fit, too
/// many classes.
pub fn plan(data: &Dataset, options: &Options, limit: Option<usize>) -> Result<Vec<Asked>> {
    let (asked, pool) = split(data, options)?;
    let classes = data.words.len();
    let pool = Pool::new(pool, classes)?;
    let mut plan = Vec::new();
    for (place, example) in asked.into_iter().enumerate() {
        for (seed, count) in options.seeds.iter().flat_map(|seed| options.demonstrations.iter().map(move |k| (seed, k)))
        {
            let stream = |name: &str| Streams::new(*seed).stream(name, &[place as u64, *count as u64]);
            let demonstrations = pool.draw(*count, example, &mut stream("demonstrations"))?;
            for mode in &options.modes {
                let mut random = stream(mode.name());
                let labels = mode.labels(&data.words, &mut random, options.compat)?;
                let shown =
                    demonstrations.iter().map(|d| mode.shown(d.class, classes, &mut random)).collect::<Vec<_>>();
                for number in &options.templates {
                    if limit.is_some_and(|limit| plan.len() >= limit) {
                        return Ok(plan);
                    }
                    let template = Template::named(&data.template(*mode, *number))?;
                    let words: Vec<String> = labels.iter().map(|label| template.word(label).to_string()).collect();
                    let told = demonstrations.iter().zip(&shown);
                    let told: Vec<_> = told.map(|(d, class)| (&d.content, words[*class].as_str())).collect();
                    plan.push(Asked {
                        cell: Cell {
                            mode: *mode,
                            demonstrations: *count,
                            template: template.name.clone(),
                            seed: *seed,
                        },
                        place,
                        id: example.id.clone(),
                        shown: demonstrations.iter().map(|d| d.id.clone()).collect(),
                        question: question(template, &told, &example.content, &words, options.compat)?,
                        labels: words,
                        right: example.class,
                    });
                }
            }
        }
    }
    Ok(plan)
}

impl Dataset {
    /// Name of the template of a number: natural where labels are words, minimal where they are abstract.
    pub fn template(&self, mode: Mode, number: usize) -> String {
        match (mode.is_abstract(), self.pair) {
            (false, _) => format!("{}{number}", self.family),
            (true, false) => format!("minimal{number}"),
            (true, true) => format!("nli_minimal{number}"),
        }
    }
}

/// The answers to a plan, one list a question.
///
/// # Errors
/// Those of the back-end and the store; [`Error::Config`] for a prompt that does not fit the model.
pub fn answers(asker: &mut Asker<'_>, plan: &[Asked]) -> Result<Vec<Vec<Response>>> {
    if let (Some(tokenizer), Some(most)) = (asker.backend().tokenizer(), asker.backend().context()) {
        for asked in plan {
            let longest = asked.question.continuations.iter().max_by_key(|text| text.len()).map_or("", String::as_str);
            let tokens = tokenizer.encode(&format!("{}{longest}", asked.question.prompt), true)?.len();
            if tokens > most {
                let shown = asked.cell.demonstrations;
                let what = format!(
                    "expected prompts of at most {most} tokens, found {tokens} with {shown} of example {}",
                    asked.id
                );
                return Err(Error::config("demonstrations", what));
            }
        }
    }
    let requests: Vec<Request> = plan.iter().flat_map(Asked::requests).collect();
    let mut all = asker.ask(&requests)?.into_iter();
    Ok(plan.iter().map(|asked| all.by_ref().take(asked.labels.len()).collect()).collect())
}

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

/// Reads the data, asks everything and counts.
///
/// # Errors
/// Those of [`plan`] and [`answers`]; data that cannot be read.
pub fn run(asker: &mut Asker<'_>, options: &Options) -> Result<Experiment> {
    options.validate()?;
    let data = options.data.read()?;
    let plan = plan(&data, options, None)?;
    let answers = answers(asker, &plan)?;
    Ok(count(&options.name, asker.backend().identity(), data.words.len(), &plan, &answers))
}

/// Counts right answers.
pub fn count(name: &str, model: &str, classes: usize, plan: &[Asked], answers: &[Vec<Response>]) -> Experiment {
    /// Example, right or not, answered or not.
    type Marks = Vec<(usize, f64, bool)>;
    let mut pooled: BTreeMap<(Mode, usize), Marks> = BTreeMap::new();
    let mut cells: BTreeMap<&Cell, (f64, f64)> = BTreeMap::new();
    for (asked, responses) in plan.iter().zip(answers) {
        let (chosen, right) = asked.judge(responses);
        let mark = f64::from(u8::from(right));
        let key = (asked.cell.mode, asked.cell.demonstrations);
        pooled.entry(key).or_default().push((asked.place, mark, chosen.is_some()));
        let (sum, count) = cells.entry(&asked.cell).or_default();
        (*sum, *count) = (*sum + mark, *count + 1.0);
    }
    let cells: Vec<(Cell, f64)> = cells.into_iter().map(|(cell, (sum, count))| (cell.clone(), sum / count)).collect();
    let row = |((mode, demonstrations), marks): ((Mode, usize), Marks)| {
        let (accuracy, standard_error) = clustered(marks.iter().map(|(place, mark, _)| (*place, *mark)));
        let of_row = cells.iter().filter(|(cell, _)| (cell.mode, cell.demonstrations) == (mode, demonstrations));
        let episodes: Vec<_> = of_row.map(|(_, share)| BTreeMap::from([("accuracy".to_string(), *share)])).collect();
        let deviation = average(&episodes).get("accuracy").map_or(f64::NAN, |spread| spread.1);
        let unanswered = marks.iter().filter(|(_, _, answered)| !answered).count();
        Row { mode, demonstrations, accuracy, standard_error, deviation, asked: marks.len(), unanswered }
    };
    let rows = pooled.into_iter().map(row).collect();
    Experiment { name: name.into(), model: model.into(), chance: 1.0 / classes.max(1) as f64, rows, cells }
}

impl Experiment {
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
mod tests;
