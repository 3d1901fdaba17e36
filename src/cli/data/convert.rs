//! `tesseral data convert`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::data;
use tesseral::datasets::deeph::Layout;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Convert {
    /// A structure, or a folder of them
    input: PathBuf,
    /// The new folder
    output: PathBuf,
    /// The layout to write
    #[arg(long, default_value = "unified")]
    to: To,
}

#[derive(Clone, Copy, ValueEnum)]
enum To {
    /// POSCAR, info.json, overlap.h5, hamiltonian.h5
    Unified,
    /// element.dat, lat.dat, .., hamiltonians.h5
    Legacy,
}

impl Convert {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let layout = match self.to {
            To::Unified => Layout::Unified,
            To::Legacy => Layout::Legacy,
        };
        let done = data::convert(&self.input, &self.output, layout)?;
        common.print(&done, || format!("{}: {} structures, {}", done.out.display(), done.structures, done.layout))?;
        Ok(ExitCode::SUCCESS)
    }
}
