//! The command line: nouns and verbs. Each verb parses, calls one public function of the library, and prints.

pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod lm;
pub(crate) mod physics;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tesseral::physics::config::Config;
use tesseral::plot::Format;

const EXAMPLES: &str = "Examples:
  tesseral demo                                               train on the bundled DFT data, predict, draw bands
  tesseral physics train configs/physics-graphene.toml --out runs/graphene
  tesseral physics bands datasets/sample/dft/0001 --out bands";

/// Learns Kohn-Sham Hamiltonians and predicts them.
#[derive(Parser)]
#[command(name = "tesseral", version, about, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every verb understands.
#[derive(Args)]
pub(crate) struct Common {
    /// Print one JSON value to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Change a value of the configuration, e.g. seed=3 or data.train_limit=20; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// No progress, warnings and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Train both stages on the bundled DFT data, predict an unseen structure, draw its bands
    Demo(demo::Demo),
    /// Hamiltonians: train, evaluate, compare, predict, bands, eigenvalues, fermi, bench
    #[command(subcommand)]
    Physics(physics::Verb),
    /// Folders of structures: check, inspect, stats, split, convert
    #[command(subcommand)]
    Data(data::Verb),
    /// Language models: train, tune, prune, context, screenshot, generate, pack, recall, perplexity, eval, bench
    #[command(subcommand)]
    Lm(lm::Verb),
    /// Configurations: init, check
    #[command(subcommand)]
    Config(config::Verb),
}

/// Runs a command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Demo(demo) => demo.run(common),
        Command::Physics(verb) => verb.run(common),
        Command::Data(verb) => verb.run(common),
        Command::Lm(verb) => verb.run(common),
        Command::Config(verb) => verb.run(common),
    }
}

/// Marks an error as a mistake of usage or configuration: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) &'static str);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Usage {}

impl Common {
    /// The configuration in `file` with the `--set` values; the defaults where there is no file.
    pub(crate) fn config(&self, file: Option<&Path>) -> Result<Config> {
        let read = match file {
            Some(file) => Config::read(file, &self.set),
            None => Config::parse("", Path::new("--set"), &self.set),
        };
        read.context(Usage("configuration"))
    }

    /// Refuses `--set` for a verb without configuration.
    pub(crate) fn no_config(&self) -> Result<()> {
        if self.set.is_empty() {
            return Ok(());
        }
        Err(Usage("--set: this command has no configuration").into())
    }

    /// Prints the value as JSON or the text for people.
    pub(crate) fn print(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let text = if self.json { serde_json::to_string(value)? } else { text() };
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
            // Whoever read it has seen enough (`| head`).
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Which pictures to write, of every verb that draws some.
#[derive(Args)]
pub(crate) struct Pictures {
    /// Pictures to write into --out, with commas between them: svg, png
    #[arg(long = "plot", value_name = "svg,png", value_delimiter = ',', default_value = "svg", requires = "out")]
    pub(crate) formats: Vec<Format>,
}

/// Parses a number of things of which there must be one.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a number from 1 on".into())
}

/// Parses `a,b,c`.
pub(crate) fn three_numbers(text: &str) -> Result<[f64; 3], String> {
    let numbers: Vec<f64> =
        text.split(',').filter_map(|n| n.trim().parse().ok()).filter(|n: &f64| n.is_finite()).collect();
    match (<[f64; 3]>::try_from(numbers), text.split(',').count()) {
        (Ok(numbers), 3) => Ok(numbers),
        _ => Err("expected three finite numbers with commas between them, such as 0.5,0,0".into()),
    }
}

/// Parses `n1,n2,n3`.
pub(crate) fn three_counts(text: &str) -> Result<[usize; 3], String> {
    let counts: Vec<usize> = text.split(',').filter_map(|n| n.trim().parse().ok()).filter(|&n| n > 0).collect();
    match (<[usize; 3]>::try_from(counts), text.split(',').count()) {
        (Ok(counts), 3) => Ok(counts),
        _ => Err("expected three positive integers with commas between them, such as 12,12,1".into()),
    }
}

/// Parses `low,high`.
pub(crate) fn window(text: &str) -> Result<[f64; 2], String> {
    let [low, high, _] = three_numbers(&format!("{text},0"))
        .map_err(|_| "expected two finite numbers with a comma between them, such as -8,6".to_string())?;
    if low < high { Ok([low, high]) } else { Err("expected the lower number first".into()) }
}

/// Parses the divisions of a mesh, `a,b,c`.
pub(crate) fn divisions(text: &str) -> Result<[usize; 3], String> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok().filter(|n| *n > 0)).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "expected three positive integers with commas between them, such as 12,12,1".into())
}

/// Folders on a line.
pub(crate) fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")
}
