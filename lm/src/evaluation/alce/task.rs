//! The benchmark as a task: questions are asked, answers are chosen, cited and scored.

use super::data::{self, Dataset, Document, Row, Texts};
use super::interactive::{self, Action, Session};
use super::options::{Answering, Options, PostHoc};
use super::prompt::{Prompts, Shown};
use super::rerank::{self, Candidates};
use super::score::{self, Scored};
use super::search::Collection;
use super::{DEVIATIONS, interactive::STOP, post_hoc};
use crate::Result;
use crate::evaluation::ask::Asker;
use crate::evaluation::entailment::Entailment;
use crate::evaluation::entailment::cached::Cached;
use crate::evaluation::request::{Decoding, Prompt, Request, Response};
use crate::evaluation::task::{Sample, Scores, Task};
use crate::model::chat::Message;
use serde_json::{Value, json};
use tesseral_datasets::files::sha256_file;

/// What the original tells a chat model before everything else.
const SYSTEM: &str = "You are a helpful assistant that answers the following questions with proper citations.";

/// A set of questions with prompts, and what judges the answers.
pub struct Alce {
    name: String,
    options: Options,
    dataset: Dataset,
    rows: Vec<Row>,
    prompts: Prompts,
    model: Cached<Box<dyn Entailment>>,
    files: Value,
}

/// What was asked and answered of one output.
#[derive(Clone, Debug, Default)]
struct Asked {
    output: String,
    requests: Vec<Request>,
    responses: Vec<Response>,
    history: Vec<Vec<usize>>,
}

impl Alce {
    /// Reads the files and loads the model.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options that contradict each other; those of the files and the model.
    pub fn open(options: Options) -> Result<Self> {
        options.check()?;
        let dataset = options.dataset.map_or_else(|| Dataset::of(&options.data), Ok)?;
        let prompts = Prompts::read(&options.prompts, options.compat)?;
        let mut rows = data::read(&options.data, dataset)?;
        let mut files = json!({"data": sha256_file(&options.data)?, "prompts": sha256_file(&options.prompts)?});
        if let Some(file) = &options.collection {
            let collection = Collection::read(file)?;
            files["collection"] = sha256_file(file)?.into();
            rows.iter_mut().for_each(|row| row.docs = collection.find(&row.question, options.retrieved));
        }
        let model = options.entailment.open()?;
        let model = match &options.verdicts {
            Some(file) => Cached::load(model, file)?,
            None => Cached::new(model),
        };
        let stem = options.prompts.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = options.name.clone().unwrap_or_else(|| format!("alce_{stem}"));
        Ok(Alce { name, options, dataset, rows, prompts, model, files })
    }

    /// The model that judges, with what it was asked so far.
    pub fn entailment(&self) -> &Cached<Box<dyn Entailment>> {
        &self.model
    }

    fn shown(&self) -> Shown {
        Shown { documents: self.options.documents, passages: self.options.passages }
    }

    /// The documents that an answer may cite.
    fn documents(&self, row: &Row) -> Vec<Document> {
        match self.options.all_documents || self.options.post_hoc.is_some() {
            true => row.docs.clone(),
            false => self.shown().of(&row.docs).into_iter().cloned().collect(),
        }
    }

    /// A request to go on after a text; `None` where the model has no room for an answer.
    fn request(&self, asker: &Asker<'_>, text: String, stop: &[&str], sample: usize) -> Result<Option<Request>> {
        let mut decoding = self.options.decoding.clone();
        decoding.seed += sample as u64;
        if !stop.is_empty() {
            decoding.stop = stop.iter().map(|s| (*s).to_string()).collect();
        }
        if let (Some(tokenizer), Some(context)) = (asker.backend().tokenizer(), asker.backend().context()) {
            let room = context.saturating_sub(tokenizer.encode(&text, true)?.len());
            if room == 0 {
                return Ok(None);
            }
            decoding = Decoding { max_tokens: decoding.max_tokens.min(room), ..decoding };
        }
        let prompt: Prompt = match self.options.chat {
            true => vec![Message::new("system", SYSTEM), Message::new("user", &text)].into(),
            false => text.into(),
        };
        Ok(Some(Request::generate(prompt, decoding)))
    }

    /// Answers to all prompts at once.
    fn plain(&self, asker: &mut Asker<'_>, prompts: &[String]) -> Result<Vec<Vec<Asked>>> {
        let samples = self.options.samples;
        let mut asked = vec![vec![Asked::default(); samples]; prompts.len()];
        let (mut requests, mut places) = (Vec::new(), Vec::new());
        for (place, prompt) in prompts.iter().enumerate() {
            for sample in 0..samples {
                if let Some(request) = self.request(asker, prompt.clone(), &[], sample)? {
                    requests.push(request);
                    places.push((place, sample));
                }
            }
        }
        let responses = asker.ask(&requests)?;
        for (((place, sample), request), response) in places.into_iter().zip(requests).zip(responses) {
            let output = interactive::trim(response.text());
            asked[place][sample] =
                Asked { output, requests: vec![request], responses: vec![response], history: Vec::new() };
        }
        Ok(asked)
    }

    /// Answers in turns; each turn of all sessions at once.
    fn in_turns(
        &self,
        asker: &mut Asker<'_>,
        prompts: &[String],
        documents: &[Vec<Document>],
        action: Action<'_>,
    ) -> Result<Vec<Vec<Asked>>> {
        let rules = interactive::Rules {
            dataset: self.dataset,
            action,
            turns: self.options.turns,
            cite_shown: self.options.cite_shown,
        };
        let samples = self.options.samples;
        let starts = prompts.iter().zip(documents).flat_map(|pair| std::iter::repeat_n(pair, samples));
        let mut sessions: Vec<(Session<'_>, Asked)> = starts
            .map(|(prompt, documents)| (Session::new(prompt, documents, &self.prompts, rules), Asked::default()))
            .collect();
        loop {
            let (mut requests, mut speaking) = (Vec::new(), Vec::new());
            for (place, (session, _)) in sessions.iter_mut().enumerate() {
                let Some(prompt) = session.prompt() else { continue };
                match self.request(asker, prompt, &STOP, place % samples)? {
                    Some(request) => {
                        requests.push(request);
                        speaking.push(place);
                    }
                    // Nothing said ends a session.
                    None => session.take(""),
                }
            }
            if requests.is_empty() && sessions.iter().all(|(session, _)| session.prompt().is_none()) {
                break;
            }
            let responses = asker.ask(&requests)?;
            for ((place, request), response) in speaking.into_iter().zip(requests).zip(responses) {
                if let Some((session, asked)) = sessions.get_mut(place) {
                    session.take(response.text());
                    asked.requests.push(request);
                    asked.responses.push(response);
                }
            }
        }
        let finished = sessions.into_iter().map(|(session, asked)| {
            let outcome = session.finish();
            Asked { output: outcome.output, history: outcome.history, ..asked }
        });
        let finished: Vec<Asked> = finished.collect();
        Ok(finished.chunks(samples).map(<[Asked]>::to_vec).collect())
    }

    /// Of each question's outputs the one that counts, with citations put in where that is wanted.
    fn choose(&self, rows: &[Row], asked: &[Vec<Asked>], documents: &[Vec<Document>]) -> Result<Vec<String>> {
        let outputs: Vec<Vec<String>> =
            asked.iter().map(|samples| samples.iter().map(|asked| asked.output.clone()).collect()).collect();
        let mut chosen: Vec<String> = match self.options.rerank {
            Some(mode) => {
                let candidates: Vec<Candidates<'_>> = rows
                    .iter()
                    .zip(&outputs)
                    .zip(documents)
                    .map(|((row, outputs), documents)| Candidates { question: &row.question, outputs, documents })
                    .collect();
                let at_most = self.options.score.at_most();
                let rules = rerank::Rules { dataset: self.dataset, mode, at_most, compat: self.options.compat };
                rerank::best(&candidates, rules, &self.model)?
            }
            None => outputs.into_iter().map(|outputs| outputs.into_iter().next().unwrap_or_default()).collect(),
        };
        if let Some(how) = self.options.post_hoc {
            for ((output, row), documents) in chosen.iter_mut().zip(rows).zip(documents) {
                let overwrite = how == PostHoc::Overwrite;
                *output =
                    post_hoc::cite(self.dataset, &row.question, output, documents, overwrite, &self.options.search);
            }
        }
        Ok(chosen)
    }
}

impl Task for Alce {
    fn name(&self) -> &str {
        &self.name
    }

    fn describe(&self) -> Value {
        json!({
            "options": self.options,
            "dataset": self.dataset,
            "files": self.files,
            "entailment": self.model.identity(),
            "deviations": DEVIATIONS,
        })
    }

    fn run(&self, asker: &mut Asker<'_>, limit: Option<usize>) -> Result<Vec<Sample>> {
        let rows = self.rows.get(..limit.unwrap_or(usize::MAX).min(self.rows.len())).unwrap_or_default();
        let drawn = self.prompts.draw(self.options.seed, self.options.shots)?;
        let shown = self.shown();
        let in_head = self.options.demonstration_documents.unwrap_or(shown.documents);
        let head = self.prompts.demonstrations(&drawn, Shown { documents: in_head, ..shown })?;
        let prompts: Vec<String> = rows.iter().map(|row| head.clone() + &self.prompts.unanswered(row, shown)).collect();
        let documents: Vec<Vec<Document>> = rows.iter().map(|row| self.documents(row)).collect();
        let asked = match self.options.answering {
            Answering::Plain => self.plain(asker, &prompts)?,
            Answering::Check => self.in_turns(asker, &prompts, &documents, Action::Check(self.options.checked))?,
            Answering::Search => self.in_turns(asker, &prompts, &documents, Action::Search(&self.options.search))?,
        };
        let outputs = self.choose(rows, &asked, &documents)?;
        let cited: Vec<Row> = rows
            .iter()
            .zip(outputs)
            .zip(documents)
            .map(|((row, output), docs)| Row { output: Some(Texts::One(output)), docs, ..row.clone() })
            .collect();
        let found = score::evaluate(&cited, self.dataset, &self.options.score, self.options.compat, &self.model)?;
        if let Some(file) = &self.options.verdicts {
            self.model.save(file)?;
        }
        let samples = cited.iter().zip(asked).zip(found.answers).enumerate();
        Ok(samples.map(|(place, ((row, asked), scored))| sample(row, place, asked, scored)).collect())
    }

    /// How much the answers cite: percent of the statements with several citations, of those that are supported, and of
    /// citations among those that are not needed; and percent of the answers without any statement.
    fn overall(&self, samples: &[Sample]) -> Scores {
        let sum = |key: &str| samples.iter().filter_map(|sample| sample.parsed[key].as_f64()).sum::<f64>();
        let mut scores = Scores::new();
        let mut share = |name: &str, part: f64, whole: f64| {
            if whole > 0.0 {
                scores.insert(name.into(), 100.0 * part / whole);
            }
        };
        share("multiple_citations", sum("multiple"), sum("statements"));
        share("multiple_supported", sum("supported"), sum("multiple"));
        share("overcite", sum("needless"), sum("supported"));
        let empty = samples.iter().filter(|sample| sample.parsed["statements"] == 0).count();
        share("no_statement", empty as f64, samples.len() as f64);
        scores
    }
}

fn sample(row: &Row, place: usize, asked: Vec<Asked>, scored: Scored) -> Sample {
    let titles: Vec<&str> = row.docs.iter().map(|document| document.title.as_str()).collect();
    let counts = scored.citations.map(|citations| citations.counts).unwrap_or_default();
    let history: Vec<&Vec<Vec<usize>>> = asked.iter().map(|asked| &asked.history).filter(|h| !h.is_empty()).collect();
    let parsed = json!({
        "answer": scored.answer,
        "shown": history,
        "statements": counts.statements,
        "multiple": counts.multiple,
        "supported": counts.supported,
        "needless": counts.needless,
    });
    let target = json!({"qa_pairs": row.qa_pairs, "answers": row.answers, "claims": row.claims, "answer": row.answer});
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    for asked in asked {
        requests.extend(asked.requests);
        responses.extend(asked.responses);
    }
    Sample {
        id: row.name(place),
        document: json!({"question": row.question, "documents": titles}),
        requests,
        responses,
        parsed,
        target,
        scores: scored.scores,
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
