//! `tesseral data check | inspect | split | convert`.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::data;
use tesseral::datasets::deeph::Layout;
use tesseral::datasets::deeph::validate::Limits;

use super::{Common, three_numbers};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Check structures by every rule; exit code 1 when one is broken
    Check {
        /// Structures, or folders of them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Largest |O_ij(R) - O_ji(-R)^dagger| that is accepted: eV for H, 1 for S
        #[arg(long, default_value_t = Limits::default().hermiticity)]
        hermiticity: f64,
    },
    /// Sum up what there is: elements, orbitals, pairs, sizes
    Inspect {
        /// A structure, or a folder of them
        path: PathBuf,
    },
    /// Draw a random split and write it as dataset_split.json
    Split {
        /// A folder of structures
        path: PathBuf,
        /// Shares of training, validation and test structures
        #[arg(long, value_parser = three_numbers, default_value = "0.8,0.1,0.1")]
        fractions: [f64; 3],
        /// Seed of the draw
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Where to write it; by default dataset_split.json in PATH, which must not exist then
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Write structures in the other DeepH layout
    Convert {
        /// A structure, or a folder of them
        input: PathBuf,
        /// The new folder
        output: PathBuf,
        /// The layout to write
        #[arg(long, default_value = "unified")]
        to: To,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum To {
    /// POSCAR, info.json, overlap.h5, hamiltonian.h5
    Unified,
    /// element.dat, lat.dat, .., hamiltonians.h5
    Legacy,
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        common.no_config()?;
        match self {
            Verb::Check { paths, hermiticity } => {
                let limits = Limits { hermiticity: *hermiticity, ..Limits::default() };
                let checked = data::check(paths, &limits)?;
                common.print(&checked, || {
                    let mut text = String::new();
                    for problem in &checked.problems {
                        text += &format!("{}: {} [{}]\n", problem.structure, problem.message, problem.rule);
                    }
                    text + &format!("{} structures, {} problems", checked.structures, checked.problems.len())
                })?;
                return Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Verb::Inspect { path } => {
                let found = data::inspect(path)?;
                common.print(&found, || serde_json::to_string_pretty(&found).unwrap_or_default())?;
            }
            Verb::Split { path, fractions, seed, out } => {
                let (split, out) = data::split(path, *fractions, *seed, out.as_deref())?;
                let counts = split.parts().map(|(_, ids)| ids.len());
                let [train, validate, test] = counts;
                let value = json!({"train": train, "validate": validate, "test": test, "out": out});
                common
                    .print(&value, || format!("{}: train {train}, validate {validate}, test {test}", out.display()))?;
            }
            Verb::Convert { input, output, to } => {
                let layout = match to {
                    To::Unified => Layout::Unified,
                    To::Legacy => Layout::Legacy,
                };
                let done = data::convert(input, output, layout)?;
                common.print(&done, || {
                    format!("{}: {} structures, {}", done.out.display(), done.structures, done.layout)
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
