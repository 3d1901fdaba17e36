//! `tesseral config init | check`.

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tesseral::lm::pruning::PruneConfig;
use tesseral::lm::{self, training::LmConfig};
use tesseral::physics::Error;
use tesseral::physics::config::Config;

use super::{Common, Usage};

/// The commented configurations that `init` prints.
const PHYSICS: &str = include_str!("../../configs/physics-graphene.toml");
const LM: &str = include_str!("../../configs/lm-template.toml");
const PRUNE: &str = include_str!("../../configs/prune/smollm2-50m.toml");

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
    /// Pruning of a language model
    Prune,
}

/// Language models have a section `model`, pruning has `target`, Hamiltonians have neither.
fn has_section(file: &Path, name: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key(name))
}

/// Reads a configuration of training or pruning a language model.
fn lm_check(file: &Path, common: &Common) -> lm::Result<()> {
    if has_section(file, "target") {
        return PruneConfig::read(file, &common.set).map(|_| ());
    }
    LmConfig::read(file, &common.set).map(|_| ())
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
            Verb::Init { kind: Kind::Prune } => {
                common.no_config()?;
                let defaults = PruneConfig::parse(PRUNE, Path::new("smollm2-50m.toml"), &[])?;
                common.print(&defaults, || PRUNE.to_owned())?;
            }
            Verb::Check { file } if has_section(file, "model") || has_section(file, "target") => {
                match lm_check(file, common) {
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
