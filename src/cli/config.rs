//! `tesseral config init | check`.

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tesseral::lm::parallel_context::training::ContextConfig;
use tesseral::lm::{self, training::LmConfig};
use tesseral::physics::Error;
use tesseral::physics::config::Config;

use super::{Common, Usage};

/// The commented configurations that `init` prints.
const PHYSICS: &str = include_str!("../../configs/physics-graphene.toml");
const LM: &str = include_str!("../../configs/lm-template.toml");

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
}

/// Language models have a section `model`, Hamiltonians have none.
fn is_lm(file: &Path) -> bool {
    has(file, "model")
}

/// Stages of parallel contexts say which they are.
fn is_context(file: &Path) -> bool {
    has(file, "stage")
}

fn has(file: &Path, key: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key(key))
}

/// Prints the mistakes of a language model's configuration, or that there are none.
fn checked(common: &Common, file: &Path, found: lm::Result<()>) -> Result<ExitCode> {
    match found {
        Err(lm::Error::Invalid { problems, path }) if common.json => {
            common.print(&json!({"ok": false, "path": path, "problems": problems}), String::new)?;
            return Ok(ExitCode::from(2));
        }
        other => {
            other.context(Usage("configuration"))?;
            let value = json!({"ok": true, "path": file, "problems": []});
            common.print(&value, || format!("{}: no mistakes", file.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        match self {
            Verb::Init { kind: Kind::Physics } => {
                common.no_config()?;
                let defaults = Config::parse(PHYSICS, Path::new("physics-graphene.toml"), &[])?;
                common.print(&defaults, || PHYSICS.to_owned())?;
            }
            Verb::Init { kind: Kind::Lm } => {
                common.no_config()?;
                let defaults = LmConfig::parse(LM, Path::new("lm-template.toml"), &[])?;
                common.print(&defaults, || LM.to_owned())?;
            }
            Verb::Check { file } if is_context(file) => {
                return checked(common, file, ContextConfig::read(file, &common.set).map(|_| ()));
            }
            Verb::Check { file } if is_lm(file) => {
                return checked(common, file, LmConfig::read(file, &common.set).map(|_| ()));
            }
            Verb::Check { file } => match Config::read(file, &common.set) {
                Err(Error::Config { problems, path }) if common.json => {
                    common.print(&json!({"ok": false, "path": path, "problems": problems}), String::new)?;
                    return Ok(ExitCode::from(2));
                }
                other => {
                    other?;
                    let value = json!({"ok": true, "path": file, "problems": []});
                    common.print(&value, || format!("{}: no mistakes", file.display()))?;
                }
            },
        }
        Ok(ExitCode::SUCCESS)
    }
}
