//! The task: prompts of a data set asked and scored.

use super::data::{self, Row};
use super::dataset::Dataset;
use super::example::{Example, Rendered};
use super::length::{Achieved, Budget, Manifest, most_units};
use super::load;
use super::sampling::Sampling;
use super::scoring::{RANKS, score, unparsable};
use super::template::Template;
use super::truncate::{Tokens, fit, shorten};
use crate::evaluation::ask::Asker;
use crate::evaluation::compat::Compat;
use crate::evaluation::request::{Decoding, Prompt, Request};
use crate::evaluation::task::{Sample, Task};
use crate::model::chat::Message;
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tesseral_datasets::files::sha256_file;

/// How a prompt is brought to its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// What is too long is cut at the end of the context, as the original does.
    #[default]
    Cut,
    /// Whole units are left out, those that answer never; a context that is one text is cut.
    Units,
}

/// A task of HELMET.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Name in results; absent: `helmet_` and the data set.
    #[serde(default)]
    pub name: Option<String>,
    /// Name of the data set in the benchmark (`kilt_nq`, `json_kv`, `icl_trec_coarse_400shot_balance`).
    pub dataset: String,
    /// Its file.
    pub file: PathBuf,
    /// File that solved examples are drawn from; training rows of labels; ALCE's prompt file.
    #[serde(default)]
    pub demos: Option<PathBuf>,
    /// File of the key points of summaries: rows of `id` and `keypoints` (or `summary/short_keypoints`).
    #[serde(default)]
    pub keypoints: Option<PathBuf>,
    /// Solved examples in a prompt; absent: as the original.
    #[serde(default)]
    pub shots: Option<usize>,
    /// Of everything that is drawn.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Most samples, drawn (of questions with passages: most questions); absent: all.
    #[serde(default)]
    pub max_test_samples: Option<usize>,
    /// Whether the model is asked in a conversation. The original asks instruction-tuned models so where
    /// [`super::dataset::Settings::chat`] says.
    #[serde(default)]
    pub chat: bool,
    /// Tokens that the model's template of conversations puts around a turn, of which lengths must know.
    #[serde(default = "turns")]
    pub turns: usize,
    /// Most tokens of a prompt and its answer together; absent: the model's context, where the back-end tells.
    #[serde(default)]
    pub length: Option<usize>,
    /// How the length is kept.
    #[serde(default)]
    pub fit: Fit,
    /// Most tokens of an answer; absent: as the original.
    #[serde(default)]
    pub max_tokens: Option<usize>,
    /// `tokenizer.json`, or a folder with it, that counts tokens; absent: the back-end's.
    #[serde(default)]
    pub tokenizer: Option<PathBuf>,
    /// Which code the scores are to equal.
    #[serde(default)]
    pub compat: Compat,
}

fn seed() -> u64 {
    42
}

fn turns() -> usize {
    32
}

/// A data set ready to be asked.
pub struct Helmet {
    name: String,
    options: Options,
    dataset: Dataset,
    template: Template,
    examples: Vec<Example>,
    tokenizer: Option<Tokenizer>,
    files: Map<String, Value>,
}

/// A prompt of a length.
struct Fitted {
    prompt: Rendered,
    /// Units that are shown.
    units: Vec<usize>,
    tokens: Option<usize>,
}

impl Helmet {
    /// Reads the files, draws the samples and their demonstrations.
    ///
    /// # Errors
    /// [`Error::Config`] for options that contradict each other; [`Error::Io`], [`Error::Format`] for the files.
    pub fn open(options: Options) -> Result<Self> {
        let dataset = Dataset::named(&options.dataset)?;
        let settings = dataset.settings();
        let sampling = Sampling {
            shots: options.shots.unwrap_or(settings.shots),
            seed: options.seed,
            samples: options.max_test_samples,
        };
        let rows = data::read(&options.file)?;
        let demos = options.demos.as_deref().map(data::read).transpose()?.unwrap_or_default();
        let mut examples = load::examples(&dataset, rows, demos, &sampling, options.compat)?;
        if examples.is_empty() {
            return Err(Error::format(&options.file, "expected examples, found none"));
        }
        if let Some(path) = &options.keypoints {
            add_keypoints(&mut examples, path)?;
        }
        let mut options = options;
        if let Some(path) = options.tokenizer.as_mut().filter(|path| path.is_dir()) {
            *path = path.join("tokenizer.json");
        }
        let tokenizer = options.tokenizer.as_deref().map(Tokenizer::read).transpose()?;
        let files =
            [Some(&options.file), options.demos.as_ref(), options.keypoints.as_ref(), options.tokenizer.as_ref()];
        let digest = |path: &PathBuf| Ok((path.display().to_string(), Value::from(sha256_file(path)?)));
        let files = files.into_iter().flatten().map(digest).collect::<Result<_>>()?;
        let name = options.name.clone().unwrap_or_else(|| format!("helmet_{}", dataset.name));
        Ok(Helmet { name, template: Template::of(&dataset.kind), options, dataset, examples, tokenizer, files })
    }

    /// The data set.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The examples, as drawn.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The lengths of samples that were run; `None` where no length was asked for or nothing counted tokens.
    pub fn manifest(&self, samples: &[Sample]) -> Option<Manifest> {
        let number =
            |sample: &Sample, name: &str| sample.document.get(name).and_then(Value::as_u64).map(|n| n as usize);
        let requested = samples.first().and_then(|sample| number(sample, "length"))?;
        let achieved = |sample: &Sample| {
            let depth = sample.document.get("depth").and_then(Value::as_f64);
            let (units, tokens) = (number(sample, "units")?, number(sample, "tokens")?);
            Some(Achieved { id: sample.id.clone(), units, tokens, depth })
        };
        let achieved: Vec<Achieved> = samples.iter().filter_map(achieved).collect();
        let tokenizer = samples.first().and_then(|sample| sample.document.get("tokenizer")).and_then(Value::as_str);
        Some(Manifest::new(requested, self.max_tokens(), tokenizer.unwrap_or_default(), achieved))
    }

    fn max_tokens(&self) -> usize {
        self.options.max_tokens.unwrap_or(self.dataset.settings().max_tokens)
    }

    /// The length, where there is one.
    fn budget(&self, context: Option<usize>) -> Option<Budget> {
        let length = self.options.length.or(context)?;
        Some(Budget { length, answer: self.max_tokens(), chat: self.options.chat, turns: self.options.turns })
    }

    /// The prompt of an example, with the length kept. `guess`: units of the example before it.
    fn fitted(
        &self,
        example: &Example,
        budget: Option<Budget>,
        tokens: Option<&dyn Tokens>,
        guess: Option<usize>,
    ) -> Result<Fitted> {
        let all: Vec<usize> = (0..example.units.len()).collect();
        let mut context = example.full_context();
        if let Some(most) = self.dataset.context {
            let tokens = tokens.ok_or_else(|| no_tokenizer("dataset", "the number at the end of its name"))?;
            context = shorten(&context, most, tokens)?;
        }
        let Some((budget, tokens)) = budget.zip(tokens) else {
            if self.options.length.is_some() {
                return Err(no_tokenizer("length", "it"));
            }
            return Ok(Fitted { prompt: example.render(&self.template, &context)?, units: all, tokens: None });
        };
        let count = |context: &str| budget.count(tokens, &example.render(&self.template, context)?);
        if self.options.fit == Fit::Units && all.len() > 1 {
            let least = example.units.iter().filter(|unit| unit.keep).count();
            let of = |units| count(&example.context(&example.chosen(units)));
            let (units, tokens) = most_units(least, all.len(), guess, budget.room()?, of)?;
            let units = example.chosen(units);
            let prompt = example.render(&self.template, &example.context(&units))?;
            return Ok(Fitted { prompt, units, tokens: Some(tokens) });
        }
        let (context, found) = fit(&context, budget.room()?, tokens, self.options.compat, count)?;
        Ok(Fitted { prompt: example.render(&self.template, &context)?, units: all, tokens: Some(found) })
    }

    fn request(&self, prompt: &Rendered) -> Request {
        // The original's configuration wants it, but names it so that it does not happen.
        let newline = self.dataset.settings().stop_newline && !self.options.compat.is_original();
        let stop: &[&str] = if newline { &["\n"] } else { &[] };
        let decoding = Decoding::greedy(self.max_tokens(), stop);
        let prompt = match self.options.chat {
            true => Prompt::Chat(vec![Message::new("user", &prompt.user)]),
            false => Prompt::Text(prompt.completion.clone()),
        };
        Request::generate(prompt, decoding)
    }

    /// Ids and relevance of the passages that are shown, and the ranks to score.
    fn judged(&self, example: &Example, units: &[usize]) -> (Vec<(String, i64)>, Vec<usize>) {
        let judged = units.iter().filter_map(|place| example.units.get(*place)?.judged.clone()).collect();
        // The original takes the ranks of the first question for all.
        let passages = match self.options.compat {
            Compat::Original => self.examples.first().map_or(0, |first| first.units.len()),
            Compat::Mended => units.len(),
        };
        (judged, RANKS.iter().copied().filter(|rank| *rank <= passages).collect())
    }

    /// What a reader of the results needs of an example.
    fn document(&self, example: &Example, fitted: &Fitted, output: &str, asked: Option<(&Budget, &str)>) -> Value {
        let mut document = json!({"question": example.question, "output": output, "units": fitted.units.len()});
        let mut add = |name: &str, value: Value| document[name] = value;
        if let Some(depth) = example.depth_among(&fitted.units) {
            add("depth", json!(depth));
        }
        if let Some((budget, tokenizer)) = asked {
            add("length", json!(budget.length));
            add("tokenizer", json!(tokenizer));
        }
        if let Some(tokens) = fitted.tokens {
            add("tokens", json!(tokens));
        }
        for (name, value) in &example.details {
            // Documents that are not shown cannot be cited.
            let shown = match value.as_array().filter(|_| name == "docs") {
                Some(docs) => fitted.units.iter().filter_map(|place| docs.get(*place).cloned()).collect(),
                None => value.clone(),
            };
            add(name, shown);
        }
        document
    }
}

impl Task for Helmet {
    fn name(&self) -> &str {
        &self.name
    }

    fn describe(&self) -> Value {
        let settings = self.dataset.settings();
        json!({
            "options": self.options,
            "metrics": settings.metrics,
            "shots": self.options.shots.unwrap_or(settings.shots),
            "max_tokens": self.max_tokens(),
            "files": self.files,
            "deviations": if self.options.compat.is_original() { &[] } else { super::DEVIATIONS },
        })
    }

    fn run(&self, asker: &mut Asker<'_>, limit: Option<usize>) -> Result<Vec<Sample>> {
        let examples = self.examples.get(..limit.unwrap_or(usize::MAX).min(self.examples.len())).unwrap_or_default();
        let backend = asker.backend();
        let tokenizer = self.tokenizer.as_ref().or(backend.tokenizer());
        let named = tokenizer.map(|tokenizer| tokenizer.source().display().to_string()).unwrap_or_default();
        let budget = self.budget(backend.context().filter(|_| tokenizer.is_some()));
        let (mut fitted, mut guess) = (Vec::new(), None);
        for example in examples {
            let one = self.fitted(example, budget, tokenizer.map(|tokenizer| tokenizer as &dyn Tokens), guess)?;
            guess = Some(one.units.len());
            fitted.push(one);
        }
        let requests: Vec<Request> = fitted.iter().map(|fitted| self.request(&fitted.prompt)).collect();
        let responses = asker.ask(&requests)?;
        let asked = budget.as_ref().map(|budget| (budget, named.as_str()));
        let all = examples.iter().zip(&fitted).zip(requests).zip(responses);
        let sample = |(((example, fitted), request), response): (((&Example, &Fitted), _), _)| {
            let response: crate::evaluation::request::Response = response;
            let output = example.whole_output(&fitted.prompt.prefill, response.text(), self.options.chat);
            let (judged, ranks) = self.judged(example, &fitted.units);
            let mut scored = score(&self.dataset.kind, &output, &example.answers, &judged, &ranks);
            let shown = fitted.units.iter().filter_map(|place| Some(example.units.get(*place)?.text.as_str()));
            let shown: Vec<&str> = shown.collect();
            if let Some(unparsable) = unparsable(&self.dataset.kind, &scored.parsed, &judged, &shown) {
                scored.scores.insert("unparsed".into(), f64::from(u8::from(unparsable)));
            }
            Sample {
                id: example.id.clone(),
                document: self.document(example, fitted, &output, asked),
                requests: vec![request],
                parsed: scored.parsed,
                target: example.target(),
                scores: scored.scores,
                responses: vec![response],
            }
        };
        Ok(all.map(sample).collect())
    }
}

fn no_tokenizer(key: &str, what: &str) -> Error {
    let what =
        format!("expected a back-end with a tokenizer, or `tokenizer`, to count the tokens of {what}, found neither");
    Error::config(key, what)
}

fn add_keypoints(examples: &mut [Example], path: &Path) -> Result<()> {
    let keypoints = |row: Row| {
        let field = if row.get("keypoints").is_some() { "keypoints" } else { "summary/short_keypoints" };
        let list =
            row.get(field).and_then(Value::as_array).cloned().ok_or_else(|| row.wrong(field, "a list of texts"))?;
        Ok((row.key("id")?, Value::Array(list)))
    };
    let all = data::read(path)?.into_iter().map(keypoints).collect::<Result<HashMap<String, Value>>>()?;
    for example in examples {
        let id = &example.id;
        let found =
            all.get(id).ok_or_else(|| Error::format(path, format!("expected key points of {id:?}, found none")))?;
        example.details.insert("keypoints".into(), found.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::breakdown::{By, breakdown};
    use super::super::generate::{Generator, KeyValues, write};
    use super::*;
    use crate::evaluation::backend::{Backend, Tell};
    use crate::evaluation::request::Response;
    use crate::evaluation::store::Store;
    use tokenizers::models::wordlevel::WordLevel;
    use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;

    /// Knows the answer to each prompt by a rule.
    struct Rule {
        answer: fn(&str) -> String,
        tokenizer: Option<Tokenizer>,
        context: Option<usize>,
    }

    impl Backend for Rule {
        fn identity(&self) -> &str {
            "rule"
        }

        fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
            for (place, request) in requests.iter().enumerate() {
                let Request::Generate { prompt, .. } = request else { panic!() };
                let text = match prompt {
                    Prompt::Text(text) => text,
                    Prompt::Chat(turns) => &turns[0].content,
                };
                tell(place, Response::Text { text: (self.answer)(text) })?;
            }
            Ok(())
        }

        fn tokenizer(&self) -> Option<&Tokenizer> {
            self.tokenizer.as_ref()
        }

        fn context(&self) -> Option<usize> {
            self.context
        }
    }

    /// Words between blanks.
    fn words(folder: &Path) -> Tokenizer {
        let unknown = [("[UNK]".to_string(), 0)].into_iter().collect();
        let model = WordLevel::builder().vocab(unknown).unk_token("[UNK]".into()).build().unwrap();
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
        let path = folder.join("tokenizer.json");
        tokenizer.save(&path, false).unwrap();
        Tokenizer::read(&path).unwrap()
    }

    fn options(value: Value) -> Options {
        serde_json::from_value(value).unwrap()
    }

    fn run(helmet: &Helmet, rule: Rule, limit: Option<usize>) -> Result<Vec<Sample>> {
        let mut store = Store::in_memory();
        helmet.run(&mut Asker::new(&rule, &mut store), limit)
    }

    /// The value of the last key in the prompt.
    fn look_up(prompt: &str) -> String {
        let key = prompt.rsplit("Key: ").next().unwrap().split_whitespace().next().unwrap();
        let value = prompt.split(&format!("\"{key}\": \"")).nth(1).and_then(|rest| rest.split('"').next());
        format!(" {}", value.unwrap_or("none"))
    }

    #[test]
    fn key_values_are_looked_up_at_any_length() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kv.jsonl");
        let generator = KeyValues { seed: 1, shots: 2 };
        let rows: Vec<Value> = (0..6).map(|n| generator.row(n, 60, f64::from(n as u8) / 5.0).unwrap()).collect();
        write(&rows, &file).unwrap();
        let tokenizer = words(folder.path());
        for (fit, all_right) in [("units", true), ("cut", false)] {
            let value = json!({"dataset": "json_kv", "file": file, "length": 140, "fit": fit, "max_tokens": 30});
            let helmet = Helmet::open(options(value)).unwrap();
            let rule = Rule { answer: look_up, tokenizer: Some(tokenizer.clone()), context: Some(4000) };
            let samples = run(&helmet, rule, None).unwrap();
            assert_eq!(samples.len(), 6);
            let right = samples.iter().filter(|sample| sample.scores["substring_exact_match"] == 1.0).count();
            assert_eq!(right == 6, all_right, "{fit} {right}");
            let manifest = helmet.manifest(&samples).unwrap();
            assert_eq!((manifest.requested, manifest.answer, manifest.samples.len()), (140, 30, 6));
            assert!(manifest.longest <= 110 && manifest.shortest >= 108, "{manifest:?}");
            assert_eq!(breakdown(&samples, "substring_exact_match", By::LengthAndDepth).len(), 6);
            assert!(samples[0].document["output"].as_str().unwrap().starts_with("Corresponding value: "));
        }
    }

    #[test]
    fn the_context_of_the_model_is_kept_where_no_length_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kv.jsonl");
        write(&[KeyValues { seed: 1, shots: 0 }.row(0, 200, 0.0).unwrap()], &file).unwrap();
        let value = json!({"dataset": "json_kv", "file": file, "shots": 0, "chat": true, "turns": 10, "max_tokens": 5});
        let helmet = Helmet::open(options(value)).unwrap();
        let rule = |tokenizer| Rule { answer: look_up, tokenizer, context: Some(100) };
        let samples = run(&helmet, rule(Some(words(folder.path()))), Some(1)).unwrap();
        assert_eq!(samples[0].document["tokens"], 95);
        assert_eq!(samples[0].scores["exact_match"], 1.0);
        // Nothing counts, so nothing is cut.
        let samples = run(&helmet, rule(None), None).unwrap();
        assert!(samples[0].document.get("tokens").is_none() && samples[0].document.get("length").is_none());
        assert!(helmet.manifest(&samples).is_none());
    }

    #[test]
    fn rankings_are_scored_for_the_passages_that_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rank.jsonl");
        let passage = |n: usize| json!({"id": n.to_string(), "text": "w ".repeat(20), "label": u8::from(n == 17)});
        let row = json!({"qid": "q", "query": "?", "ctxs": (0..30).map(passage).collect::<Vec<_>>()});
        write(&[row], &file).unwrap();
        let value = json!({"dataset": "msmarco_rerank_psg", "file": file, "shots": 0, "length": 500, "fit": "units"});
        let helmet = Helmet::open(options(value)).unwrap();
        let tokenizer = Some(words(folder.path()));
        let samples = run(&helmet, Rule { answer: |_| " 17 > 3".into(), tokenizer, context: None }, None).unwrap();
        let scores = &samples[0].scores;
        assert_eq!((scores["NDCG@10"], scores["MRR"], scores["unparsed"]), (1.0, 1.0, 0.0));
        assert!(!scores.contains_key("NDCG@20"), "{} passages", samples[0].document["units"]);
    }

    #[test]
    fn samples_of_stories_are_judged() {
        use super::super::judge::{Judge, Prompts, judge_samples};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stories.jsonl");
        write(&[json!({"id": "s", "context": "c", "question": "q?", "answers": ["a"]})], &file).unwrap();
        let helmet = Helmet::open(options(json!({"dataset": "narrativeqa", "file": file, "shots": 0}))).unwrap();
        let no_tokenizer = |answer| Rule { answer, tokenizer: None, context: None };
        let mut samples = run(&helmet, no_tokenizer(|_| " a".into()), None).unwrap();
        let texts = [("judge_prompt".to_string(), "{question} {correct_answers} {parsed_output}".to_string())];
        let prompts = Prompts::new(texts.into_iter().collect(), Path::new("p.toml")).unwrap();
        let judge = Judge::writing(prompts, Compat::Mended);
        for (said, score) in [("{\"fluency\": 1, \"correctness\": 3}", Some(3.0)), ("?", None)] {
            let rule = Rule {
                answer: if score.is_some() {
                    |p| {
                        assert_eq!(p, "q? ['a'] a");
                        "{\"fluency\": 1, \"correctness\": 3}".into()
                    }
                } else {
                    |_| "?".into()
                },
                tokenizer: None,
                context: None,
            };
            let mut store = Store::in_memory();
            let mut asker = Asker::new(&rule, &mut store);
            samples[0].scores.remove("gpt-4-score");
            judge_samples(&mut asker, &judge, helmet.dataset(), &mut samples).unwrap();
            assert_eq!(samples[0].scores.get("gpt-4-score").copied(), score, "{said}");
            assert_eq!(samples[0].scores["judge_unparsable"], f64::from(u8::from(score.is_none())));
        }
    }

    #[test]
    fn options_that_cannot_be_met_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kv.jsonl");
        write(&[KeyValues { seed: 1, shots: 0 }.row(0, 20, 0.0).unwrap()], &file).unwrap();
        let told = |result: Result<Helmet>| result.err().unwrap().to_string();
        let unknown = serde_json::from_value::<Options>(json!({"dataset": "json_kv", "file": file, "shot": 1}));
        assert!(unknown.unwrap_err().to_string().contains("unknown field `shot`"));
        assert!(told(Helmet::open(options(json!({"dataset": "kv", "file": file})))).starts_with("dataset: expected"));
        let absent = told(Helmet::open(options(json!({"dataset": "json_kv", "file": "absent.jsonl"}))));
        assert!(absent.starts_with("absent.jsonl: "), "{absent}");
        let many = told(Helmet::open(options(json!({"dataset": "json_kv", "file": file, "shots": 2}))));
        assert!(many.contains("line 1: demos: expected at least 2 pairs"), "{many}");

        let helmet =
            |length| Helmet::open(options(json!({"dataset": "json_kv", "file": file, "shots": 0, "length": length})));
        let rule = |tokenizer| Rule { answer: look_up, tokenizer, context: None };
        let message = run(&helmet(500).unwrap(), rule(None), None).unwrap_err().to_string();
        assert!(message.starts_with("length: expected a back-end with a tokenizer"), "{message}");
        let message = run(&helmet(90).unwrap(), rule(Some(words(folder.path()))), None).unwrap_err().to_string();
        assert!(message.starts_with("length: expected more than the 100 tokens of the answer"), "{message}");
    }

    #[test]
    fn a_task_describes_what_its_scores_depend_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kv.jsonl");
        write(&[KeyValues { seed: 1, shots: 0 }.row(0, 20, 0.0).unwrap()], &file).unwrap();
        let helmet = Helmet::open(options(json!({"dataset": "json_kv", "file": file, "shots": 0}))).unwrap();
        assert_eq!(helmet.name(), "helmet_json_kv");
        let told = helmet.describe();
        assert_eq!(told["options"]["seed"], 42);
        assert_eq!(told["files"][file.to_str().unwrap()].as_str().unwrap().len(), 64);
        assert!(!told["deviations"].as_array().unwrap().is_empty());
    }
}
