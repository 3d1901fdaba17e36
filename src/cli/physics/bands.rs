//! `tesseral physics bands`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::{plot, report, spectrum};

use crate::cli::{Common, Pictures, window};

#[derive(Args)]
pub(crate) struct Bands {
    /// A structure folder
    structure: PathBuf,
    /// Another Hamiltonian of the structure, such as hamiltonian_pred.h5; may be repeated
    #[arg(long)]
    hamiltonian: Vec<PathBuf>,
    /// For these: leave out eigenvectors of the overlap below this eigenvalue (against ghost bands, try 0.005)
    #[arg(long)]
    overlap_threshold: Option<f64>,
    /// Write bands.svg, bands.json and tables here
    #[arg(long)]
    out: Option<PathBuf>,
    /// A K_PATH file; by default the folder's, else the usual path of a layer
    #[arg(long)]
    path: Option<PathBuf>,
    /// Points of the usual path
    #[arg(long, default_value_t = 120)]
    points: usize,
    /// Energies of the picture, eV from the Fermi level
    #[arg(long, value_parser = window, default_value = "-8,6", allow_hyphen_values = true)]
    window: [f64; 2],
    #[command(flatten)]
    pictures: Pictures,
}

impl Bands {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let path = self.path.as_deref();
        let bands = spectrum::bands_of(&self.structure, &self.hamiltonian, self.overlap_threshold, path, self.points)?;
        if let Some(out) = &self.out {
            report::create_folder(out)?;
            plot::bands::write_numbers(out, &bands)?;
            for file in self.pictures.files(&out.join("bands")) {
                plot::bands::draw(&file, &bands, self.window)?;
            }
        }
        common.print(&bands, || report::bands_table(&bands))
    }
}
