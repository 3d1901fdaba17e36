//! `tesseral config init | check`.

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tesseral::lm::configuration::Configuration;
use tesseral::lm::parallel_context::training::ContextConfig;
use tesseral::lm::pruning::PruneConfig;
use tesseral::lm::screenshot::training::ScreenshotConfig;
use tesseral::lm::training::LmConfig;
use tesseral::lm::tuning::TuneConfig;
use tesseral::physics::config::Config;
use tesseral::{lm, physics};

use super::{Common, Usage};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Print a commented configuration to start from
    Init {
        /// What it is for
        kind: Kind,
    },
    /// Read a configuration and list all its mistakes; exit code 2 when there are any
    Check {
        /// A TOML file
        file: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// Training of the two-stage Hamiltonian model
    Physics,
    /// Training of a language model
    Lm,
    /// Tuning of a language model to a task
    Tune,
    /// Pruning of a language model
    Prune,
    /// Reading contexts in parallel
    Context,
    /// Screenshot language models
    Screenshot,
}

impl Kind {
    /// What a file is for, by a key that only its kind has; none for a file without any key.
    fn of(file: &Path) -> Option<Self> {
        // What cannot be read is told of by whoever reads it next.
        let text = std::fs::read_to_string(file).unwrap_or_else(|_| "unread".into());
        let table = text.parse::<toml::Table>();
        if table.as_ref().is_ok_and(toml::Table::is_empty) {
            return None;
        }
        let table = table.unwrap_or_default();
        let kinds = [
            ("target", Kind::Prune),
            ("stage", Kind::Context),
            ("render", Kind::Screenshot),
            ("task", Kind::Tune),
            ("model", Kind::Lm),
        ];
        Some(kinds.iter().find(|(key, _)| table.contains_key(*key)).map_or(Kind::Physics, |(_, kind)| *kind))
    }

    /// A commented configuration, and the name of its file.
    fn template(self) -> (&'static str, &'static str) {
        match self {
            Kind::Physics => (include_str!("../../configs/physics-graphene.toml"), "physics-graphene.toml"),
            Kind::Lm => (include_str!("../../configs/lm-template.toml"), "lm-template.toml"),
            Kind::Tune => (include_str!("../../configs/tune/movie-sentiment-mezo.toml"), "movie-sentiment-mezo.toml"),
            Kind::Prune => (include_str!("../../configs/prune/smollm2-50m.toml"), "smollm2-50m.toml"),
            Kind::Context => (include_str!("../../configs/cepe-contexts.toml"), "cepe-contexts.toml"),
            Kind::Screenshot => (include_str!("../../configs/screenshot/masked.toml"), "masked.toml"),
        }
    }

    /// The configuration that a text makes, with its defaults, for `--json`.
    fn parse(self, text: &str, path: &Path) -> Result<serde_json::Value> {
        fn value<C: Configuration>(text: &str, path: &Path) -> Result<serde_json::Value> {
            Ok(serde_json::to_value(C::parse(text, path, &[])?)?)
        }
        match self {
            Kind::Physics => Ok(serde_json::to_value(Config::parse(text, path, &[])?)?),
            Kind::Lm => value::<LmConfig>(text, path),
            Kind::Tune => value::<TuneConfig>(text, path),
            Kind::Prune => value::<PruneConfig>(text, path),
            Kind::Context => value::<ContextConfig>(text, path),
            Kind::Screenshot => value::<ScreenshotConfig>(text, path),
        }
    }

    /// All mistakes of a file; none: it is fine.
    fn mistakes(self, file: &Path, set: &[String]) -> Result<Vec<String>> {
        let found = match self {
            Kind::Physics => match Config::read(file, set) {
                Err(physics::Error::Config { problems, .. }) => return Ok(problems),
                other => return other.map(|_| Vec::new()).context(Usage("configuration")),
            },
            Kind::Lm => LmConfig::read(file, set).map(drop),
            Kind::Tune => TuneConfig::read(file, set).map(drop),
            Kind::Prune => PruneConfig::read(file, set).map(drop),
            Kind::Context => ContextConfig::read(file, set).map(drop),
            Kind::Screenshot => ScreenshotConfig::read(file, set).map(drop),
        };
        match found {
            Err(lm::Error::Invalid { problems, .. }) => Ok(problems),
            other => Ok(other.map(|()| Vec::new()).context(Usage("configuration"))?),
        }
    }
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        match self {
            Verb::Init { kind } => {
                common.no_config()?;
                let (text, name) = kind.template();
                common.print(&kind.parse(text, Path::new(name))?, || text.to_owned())?;
            }
            Verb::Check { file } => {
                let problems = match Kind::of(file) {
                    Some(kind) => kind.mistakes(file, &common.set)?,
                    None if !common.set.is_empty() => Kind::Physics.mistakes(file, &common.set)?,
                    None => vec!["expected the keys of a configuration, found none".into()],
                };
                if problems.is_empty() {
                    let value = json!({"ok": true, "path": file, "problems": []});
                    common.print(&value, || format!("{}: no mistakes", file.display()))?;
                } else if common.json {
                    common.print(&json!({"ok": false, "path": file, "problems": problems}), String::new)?;
                    return Ok(ExitCode::from(2));
                } else {
                    let all = lm::Error::Invalid { path: file.clone(), problems };
                    return Err(anyhow::Error::from(all).context(Usage("configuration")));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
