//! `tesseral physics dos`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tesseral::spectrum::{Broadening, DosOptions, Sources};
use tesseral::survey::outputs::DosVerb;

use super::options::{Sharded, States, Zero, absolute, answer};
use crate::cli::{Common, Pictures, window};

#[derive(Args)]
pub(crate) struct Dos {
    /// Structures, or folders of them
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Another Hamiltonian, such as hamiltonian_pred.h5, or a folder of predictions; may be repeated
    #[arg(long)]
    hamiltonian: Vec<PathBuf>,
    /// For these: leave out eigenvectors of the overlap below this eigenvalue
    #[arg(long)]
    overlap_threshold: Option<f64>,
    /// How states become a density
    #[arg(long, value_enum, default_value = "gaussian")]
    method: MethodName,
    /// Standard deviation of the Gaussians, eV
    #[arg(long, default_value_t = 0.1)]
    sigma: f64,
    /// Energies, eV from the Fermi level (of H itself where none is known); by default all states
    #[arg(long, value_parser = window, allow_hyphen_values = true)]
    window: Option<[f64; 2]>,
    /// Energies in the window
    #[arg(long, default_value_t = 1001)]
    points: usize,
    /// Write dos.json, tables, dos.h5 and pictures here
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    zero: Zero,
    #[command(flatten)]
    states: States,
    #[command(flatten)]
    pictures: Pictures,
    #[command(flatten)]
    sharded: Sharded,
}

#[derive(Clone, Copy, ValueEnum)]
enum MethodName {
    /// Gaussians of width --sigma
    Gaussian,
    /// Linear tetrahedra
    Tetrahedra,
}

impl Dos {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let broadening = match self.method {
            MethodName::Gaussian => Broadening::Gaussian(self.sigma),
            MethodName::Tetrahedra => Broadening::Tetrahedra,
        };
        let sources = Sources {
            hamiltonians: absolute(&self.hamiltonian)?,
            replace: false,
            overlap_threshold: self.overlap_threshold,
        };
        let options = DosOptions {
            sources,
            broadening,
            mesh: self.states.mesh(),
            window: self.window,
            points: self.points,
            level: self.zero.level()?,
            filling: self.states.filling(),
        };
        let verb = DosVerb { structures: absolute(&self.structures)?, options, formats: self.pictures.formats.clone() };
        answer(&verb, self.out.as_deref(), &self.sharded, common)
    }
}
