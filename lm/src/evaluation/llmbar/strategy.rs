//! A strategy: modules asked one after the other, each with its prompt.

use super::config::{Generation, ModuleConfig};
use super::dataset::Example;
use super::outcome::{Answer, Outcome};
use super::parse::{Parser, Parsers, exchange_outputs};
use super::prompt::{Field, Template, unknown};
use super::winner::{Order, Winner};
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tesseral_datasets::files::sha256;

/// Strategies of the paper, by the names of their files.
pub const STRATEGIES: [&str; 15] = [
    "Vanilla_NoRules",
    "Vanilla",
    "Vanilla_1shot",
    "Vanilla_2shot",
    "CoT",
    "Metrics",
    "Reference",
    "Metrics_Reference",
    "Swap",
    "Swap_CoT",
    "Rating_NoRules",
    "Rating",
    "Rating_Metrics",
    "Rating_Reference",
    "Rating_Metrics_Reference",
];

/// What a module does; the folder of its prompt says which.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Writes a text for later modules, of the instruction alone.
    Auxiliary,
    /// Compares the outputs in both orders.
    Comparison(Arc<Parser>),
    /// Decides, in both orders, between the explanations of the comparison before it, where their winners differ.
    SwapAndSynthesize(Arc<Parser>),
    /// Rates each output alone.
    Rating,
}

/// A prompt and what is made of its completions.
#[derive(Clone, Debug)]
pub struct Module {
    /// What it does.
    pub kind: Kind,
    /// Its prompt.
    pub template: Template,
    /// How its completions are generated.
    pub generation: Generation,
}

/// A strategy of one LLM's folder of settings.
#[derive(Clone, Debug)]
pub struct Strategy {
    /// Name of its file, without the ending.
    pub name: String,
    /// In the order asked.
    pub modules: Vec<Module>,
    /// File of its settings.
    pub path: PathBuf,
    /// Of the bytes of that file, in hexadecimal.
    pub sha256: String,
}

impl Strategy {
    /// Of the folder that has `config` and `prompts` in it (`LLMEvaluator/evaluators`): settings in
    /// `config/LLM/NAME.json`, prompts where these say.
    ///
    /// # Errors
    /// [`Error::Config`] of a strategy that is not there; [`Error::Io`]; [`Error::Format`] of settings or prompts that
    /// do not fit together.
    pub fn open(evaluators: &Path, llm: &str, name: &str) -> Result<Self> {
        let folder = evaluators.join("config").join(llm);
        let path = folder.join(format!("{name}.json"));
        if folder.is_dir() && !path.is_file() {
            let known: Vec<&str> =
                STRATEGIES.into_iter().filter(|name| folder.join(format!("{name}.json")).is_file()).collect();
            let what = format!("expected one of {} in {}, found {name}", known.join(", "), folder.display());
            return Err(Error::config("strategy", what));
        }
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let mut modules: Vec<Module> = Vec::new();
        let mut parsers = Parsers::default();
        for config in ModuleConfig::parse(&path, &bytes)? {
            let generation = config.generation(&path)?;
            let kind = kind(&config, &path, &mut parsers)?;
            let template = Template::read(&evaluators.join("prompts").join(&config.prompt))?;
            let auxiliaries = modules.iter().filter(|module| matches!(module.kind, Kind::Auxiliary)).count();
            let known = known_fields(&kind, auxiliaries);
            if let Some(field) = template.fields().find(|field| !known.iter().any(|known| known == field)) {
                return Err(Error::format(&template.path, unknown(field, known.iter())));
            }
            let before = modules.last().map(|module| &module.kind);
            if matches!(kind, Kind::SwapAndSynthesize(_)) && !matches!(before, Some(Kind::Comparison(_))) {
                let what = format!("{}: expected a module of comparison/ before it, found none", config.prompt);
                return Err(Error::format(&path, what));
            }
            modules.push(Module { kind, template, generation });
        }
        if modules.last().is_none_or(|module| matches!(module.kind, Kind::Auxiliary)) {
            return Err(Error::format(&path, "expected a module that decides at the end, found one of auxiliary/"));
        }
        Ok(Strategy { name: name.into(), modules, sha256: sha256(&bytes), path })
    }

    /// Files that it was read from, with the SHA-256 of each.
    pub fn files(&self) -> BTreeMap<String, String> {
        let prompts = self.modules.iter().map(|module| (&module.template.path, &module.template.sha256));
        let files = prompts.chain([(&self.path, &self.sha256)]);
        files.map(|(path, sha256)| (path.display().to_string(), sha256.clone())).collect()
    }
}

/// What a module does, by the folder of its prompt.
pub(super) fn kind(config: &ModuleConfig, path: &Path, parsers: &mut Parsers) -> Result<Kind> {
    let folder = config.prompt.split('/').next().unwrap_or_default();
    match (folder, config.parser(path, parsers)?) {
        ("auxiliary", None) => Ok(Kind::Auxiliary),
        ("rating", None) => Ok(Kind::Rating),
        ("comparison", Some(parser)) => Ok(Kind::Comparison(parser)),
        ("swap_and_synthesize", Some(parser)) => Ok(Kind::SwapAndSynthesize(parser)),
        ("auxiliary" | "rating", Some(_)) => {
            Err(Error::format(path, format!("{}: parsing: expected null, found patterns", config.prompt)))
        }
        ("comparison" | "swap_and_synthesize", None) => {
            Err(Error::format(path, format!("{}: parsing: expected patterns, found null", config.prompt)))
        }
        _ => Err(Error::format(
            path,
            format!(
                "prompt: expected a file in auxiliary/, comparison/, swap_and_synthesize/ or rating/, found {}",
                config.prompt
            ),
        )),
    }
}

/// Fields that have a value in a prompt after some auxiliary modules.
fn known_fields(kind: &Kind, auxiliaries: usize) -> Vec<String> {
    let own: &[&str] = match kind {
        Kind::Auxiliary => &[],
        Kind::Comparison(_) => &["output_1", "output_2"],
        Kind::SwapAndSynthesize(_) => &["output_1", "output_2", "explanation_1", "explanation_2"],
        Kind::Rating => &["output"],
    };
    let texts = (0..auxiliaries).map(|place| format!("auxiliary_input_{place}"));
    ["input"].iter().chain(own).map(|name| (*name).to_string()).chain(texts).collect()
}

impl Module {
    /// What its prompt is filled with, once for each call, in the order asked; nothing where it is not needed.
    pub fn calls<'a>(&self, example: &'a Example, before: &'a [Outcome]) -> Vec<Vec<Field<'a>>> {
        let mut shared: Vec<Field<'a>> = vec![("input".into(), example.input.as_str().into())];
        let texts = before.iter().filter_map(|outcome| match outcome {
            Outcome::Auxiliary(text) => Some(text.as_str()),
            _ => None,
        });
        shared.extend(texts.enumerate().map(|(place, text)| (format!("auxiliary_input_{place}").into(), text.into())));
        let call = |own: Vec<(&'static str, Cow<'a, str>)>| -> Vec<Field<'a>> {
            shared.iter().cloned().chain(own.into_iter().map(|(name, value)| (name.into(), value))).collect()
        };
        let shown = |order: Order| -> Vec<(&'static str, Cow<'a, str>)> {
            vec![
                ("output_1", example.shown(order, Winner::First).into()),
                ("output_2", example.shown(order, Winner::Second).into()),
            ]
        };
        match self.kind {
            Kind::Auxiliary => vec![call(vec![])],
            Kind::Comparison(_) => Order::BOTH.map(|order| call(shown(order))).into(),
            Kind::Rating => {
                [Winner::First, Winner::Second].map(|one| call(vec![("output", example.output(one).into())])).into()
            }
            Kind::SwapAndSynthesize(_) => match conflict(before.last()) {
                None => vec![],
                Some(answers) => Order::BOTH
                    .map(|order| {
                        let mut fields = shown(order);
                        fields.push(("explanation_1", explanation(answers, order, Winner::First)));
                        fields.push(("explanation_2", explanation(answers, order, Winner::Second)));
                        call(fields)
                    })
                    .into(),
            },
        }
    }
}

/// Answers of which each has a winner, and not the same.
fn conflict(outcome: Option<&Outcome>) -> Option<&[Answer; 2]> {
    match outcome {
        Some(Outcome::Comparison(answers)) if is_conflict(outcome?.winners()) => Some(answers),
        _ => None,
    }
}

/// Whether each order has a winner, and not the same.
pub fn is_conflict(winners: [Option<Winner>; 2]) -> bool {
    matches!(winners, [Some(one), Some(other)] if one != other)
}

/// The explanation for the output at a place of an order, worded for that order.
fn explanation<'a>(answers: &'a [Answer; 2], order: Order, place: Winner) -> Cow<'a, str> {
    let found = Order::BOTH.into_iter().zip(answers).find(|(_, answer)| answer.winner == Some(order.turn(place)));
    match found {
        Some((written, answer)) if written == order => Cow::Borrowed(&answer.completion),
        Some((_, answer)) => exchange_outputs(&answer.completion),
        None => Cow::Borrowed(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of settings with one strategy and its prompts.
    fn open(config: &str, prompts: &[(&str, &str)]) -> Result<Strategy> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("config/m")).unwrap();
        std::fs::write(folder.path().join("config/m/s.json"), config).unwrap();
        for (name, text) in prompts {
            let path = folder.path().join("prompts").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("<|im_start|>user\n{text}\n<|im_end|>")).unwrap();
        }
        Strategy::open(folder.path(), "m", "s")
    }

    fn module(prompt: &str, parsing: &str) -> String {
        format!(
            r#"{{"prompt": "{prompt}", "model_name": "m", "generate_kwargs": {{"max_new_tokens": 5}}, "parsing": {parsing}}}"#
        )
    }

    const PATTERNS: &str = r#"{"1": "a", "2": "b"}"#;

    #[test]
    fn modules_that_do_not_fit_together_are_refused() {
        for (modules, reason) in [
            (vec![module("auxiliary/x", "null")], "expected a module that decides at the end"),
            (vec![module("auxiliary/x", PATTERNS)], "auxiliary/x: parsing: expected null, found patterns"),
            (vec![module("comparison/x", "null")], "comparison/x: parsing: expected patterns, found null"),
            (vec![module("swap_and_synthesize/x", PATTERNS)], "expected a module of comparison/ before it"),
            (vec![module("other/x", "null")], "prompt: expected a file in auxiliary/, comparison/"),
            (vec![module("rating/one", "null")], "field: expected one of input, output, found auxiliary_input_0"),
        ] {
            let prompts = ["auxiliary/x", "comparison/x", "swap_and_synthesize/x"].map(|name| (name, "{input}"));
            let prompts = [prompts.as_slice(), &[("rating/one", "{auxiliary_input_0}")]].concat();
            let message = open(&format!("[{}]", modules.join(",")), &prompts).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn a_strategy_that_is_not_there_is_named_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("config/m")).unwrap();
        std::fs::write(folder.path().join("config/m/Rating.json"), "[]").unwrap();
        let message = Strategy::open(folder.path(), "m", "Rank").unwrap_err().to_string();
        assert!(
            message.starts_with("strategy: expected one of Rating in ") && message.ends_with("found Rank"),
            "{message}"
        );
    }
}
