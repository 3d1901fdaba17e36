//! The experiment: every kind of label, number of demonstrations, template and seed on the same examples.

use super::dataset::{Dataset, Example};
use super::demonstrations::Pool;
use super::labels::Mode;
use super::prompt::{Question, question};
use super::score::choose;
use super::task::Options;
use super::template::Template;
use crate::evaluation::ask::Asker;
use crate::evaluation::request::{Request, Response};
use crate::{Error, Result};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tesseral_nn::rng::Streams;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// Everything that is asked, the settings of one example after the other, of at most `limit` examples. Demonstrations depend on
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
    for (place, example) in asked.into_iter().take(limit.unwrap_or(usize::MAX)).enumerate() {
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

#[cfg(test)]
mod tests;
