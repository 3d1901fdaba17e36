//! `tesseral data convert`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::data::{self, convert};
use tesseral::datasets::deeph::Layout;
use tesseral::datasets::import::Source;
use tesseral::physics::hamiltonian::single_atoms::Direction;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Convert {
    /// A structure or run, or a folder of them
    input: PathBuf,
    /// The new folder
    output: PathBuf,
    /// The format to read
    #[arg(long, default_value = "auto")]
    from: From,
    /// The layout to write
    #[arg(long, default_value = "unified")]
    to: To,
    /// Read only this frame of a DeePTB folder; by default all, each a structure
    #[arg(long, value_name = "N")]
    frame: Option<usize>,
    /// The file of each unified folder to read H from, e.g. hamiltonian_pred.h5
    #[arg(long, value_name = "NAME")]
    hamiltonian: Option<String>,
    /// Subtract the Hamiltonians of single atoms from on-site blocks: a folder of structures of one atom each
    #[arg(long, value_name = "DIR")]
    single_atoms: Option<PathBuf>,
    /// Add them instead: the inverse, for what was subtracted or predicted so
    #[arg(long, requires = "single_atoms")]
    add_single_atoms: bool,
    /// Also the cores in off-site blocks, of the shells in elements_core_orbital_index
    #[arg(long, requires = "single_atoms")]
    offsite: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    /// Whatever each folder is, by its files
    Auto,
    /// POSCAR, info.json, overlap.h5, hamiltonian.h5
    Unified,
    /// element.dat, lat.dat, .., hamiltonians.h5
    Legacy,
    /// positions.dat, .., hamiltonians.h5 of DeePTB
    Deeptb,
    /// INPUT, STRU and OUT.*/data-HR-sparse_SPIN0.csr
    Abacus,
    /// *.HSX
    Siesta,
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
        let from = match self.from {
            From::Auto => None,
            From::Unified => Some(convert::Format::DeepH(Layout::Unified)),
            From::Legacy => Some(convert::Format::DeepH(Layout::Legacy)),
            From::Deeptb => Some(convert::Format::Code(Source::DeePtb)),
            From::Abacus => Some(convert::Format::Code(Source::Abacus)),
            From::Siesta => Some(convert::Format::Code(Source::Siesta)),
        };
        let single_atoms = self.single_atoms.clone().map(|folder| convert::Correction {
            folder,
            direction: if self.add_single_atoms { Direction::Add } else { Direction::Subtract },
            offsite: self.offsite,
        });
        let options = convert::Options { from, frame: self.frame, hamiltonian: self.hamiltonian.clone(), single_atoms };
        let done = data::convert(&self.input, &self.output, layout, &options)?;
        common.print(&done, || {
            let mut text =
                format!("{}: {} structures, {} from {}", done.out.display(), done.structures, done.layout, done.from);
            if done.padded_pairs > 0 {
                text += &format!(", {} blocks of zeros added where H or S had none", done.padded_pairs);
            }
            text + &done.single_atoms.map_or(String::new(), |what| format!(", single atoms {what}"))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
