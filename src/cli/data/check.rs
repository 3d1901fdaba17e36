//! `tesseral data check`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::data;
use tesseral::datasets::deeph::validate::Limits;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Check {
    /// Structures, or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Largest |O_ij(R) - O_ji(-R)^dagger| that is accepted: eV for H, 1 for S
    #[arg(long, default_value_t = Limits::default().hermiticity)]
    hermiticity: f64,
}

impl Check {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let limits = Limits { hermiticity: self.hermiticity, ..Limits::default() };
        let checked = data::check(&self.paths, &limits)?;
        common.print(&checked, || {
            let mut text = String::new();
            for problem in &checked.problems {
                text += &format!("{}: {} [{}]\n", problem.structure, problem.message, problem.rule);
            }
            text + &format!("{} structures, {} problems", checked.structures, checked.problems.len())
        })?;
        Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
