//! `tesseral config init | check`.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tesseral::physics::Error;
use tesseral::physics::config::Config;

use super::Common;

/// The commented configuration that `init physics` prints.
const PHYSICS: &str = include_str!("../../configs/physics-graphene.toml");

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
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        match self {
            Verb::Init { kind: Kind::Physics } => {
                common.no_config()?;
                let defaults = Config::parse(PHYSICS, Path::new("physics-graphene.toml"), &[])?;
                common.print(&defaults, || PHYSICS.to_owned())?;
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
