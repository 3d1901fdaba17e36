//! `tesseral physics bands`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tesseral::spectrum::{BandOptions, PathChoice, SolverChoice, SolverKind, Sources};
use tesseral::survey::outputs::BandsVerb;

use super::options::{Sharded, States, Zero, absolute, answer};
use crate::cli::{Common, Pictures, window};

#[derive(Args)]
pub(crate) struct Bands {
    /// Structures, or folders of them
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Another Hamiltonian, such as hamiltonian_pred.h5, or a folder of predictions; may be repeated
    #[arg(long)]
    hamiltonian: Vec<PathBuf>,
    /// For these: leave out eigenvectors of the overlap below this eigenvalue (against ghost bands, try 0.005)
    #[arg(long)]
    overlap_threshold: Option<f64>,
    /// Write bands.json, tables, band.h5 and pictures here
    #[arg(long)]
    out: Option<PathBuf>,
    /// A K_PATH file, a band_config.json, or auto (from the crystal); by default the folder's K_PATH, else auto
    #[arg(long)]
    path: Option<PathBuf>,
    /// Points of a path from the crystal
    #[arg(long, default_value_t = 120)]
    points: usize,
    /// Energies of the picture, eV from the Fermi level
    #[arg(long, value_parser = window, default_value = "-8,6", allow_hyphen_values = true)]
    window: [f64; 2],
    /// Dense: all bands. Sparse: --bands of them next to --around, for large cells
    #[arg(long, value_enum, default_value = "auto")]
    solver: SolverName,
    /// Bands at each k, of the sparse solver
    #[arg(long, default_value_t = 50)]
    bands: usize,
    /// Energy that these are nearest to, eV; by default the Fermi level
    #[arg(long, allow_hyphen_values = true)]
    around: Option<f64>,
    #[command(flatten)]
    zero: Zero,
    #[command(flatten)]
    states: States,
    #[command(flatten)]
    pictures: Pictures,
    #[command(flatten)]
    sharded: Sharded,
}

/// Which solver.
#[derive(Clone, Copy, ValueEnum)]
enum SolverName {
    /// Sparse for large cells of which little is filled, else dense
    Auto,
    /// All bands
    Dense,
    /// Some bands
    Sparse,
}

impl Bands {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let path = match &self.path {
            None => PathChoice::Folder,
            Some(path) if path.as_os_str() == "auto" => PathChoice::Crystal,
            Some(path) => PathChoice::File(std::path::absolute(path)?),
        };
        let sources = Sources {
            hamiltonians: absolute(&self.hamiltonian)?,
            replace: false,
            overlap_threshold: self.overlap_threshold,
        };
        let kind = match self.solver {
            SolverName::Auto => SolverKind::Auto,
            SolverName::Dense => SolverKind::Dense,
            SolverName::Sparse => SolverKind::Sparse,
        };
        let options = BandOptions {
            sources,
            path,
            points: self.points,
            solver: SolverChoice { kind, bands: self.bands, around_ev: self.around },
            level: self.zero.level()?,
            mesh: self.states.mesh(),
            filling: self.states.filling(),
        };
        let structures = absolute(&self.structures)?;
        let formats = self.pictures.formats.clone();
        let verb = BandsVerb { structures, options, window: self.window, formats };
        answer(&verb, self.out.as_deref(), &self.sharded, common)
    }
}
