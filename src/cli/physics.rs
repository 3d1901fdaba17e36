//! `tesseral physics train | evaluate | predict | bands | eigenvalues | fermi | bench`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::physics::model::Model;
use tesseral::physics::{evaluation, training};
use tesseral::spectrum::{self, Spectrum};
use tesseral::{plot, report};

use super::{Common, three_numbers, window};
use crate::progress::{Progress, stop_on_interrupt};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Train the stages that a configuration names
    Train {
        /// A TOML file (`tesseral config init physics`)
        config: PathBuf,
        /// The run folder
        #[arg(long)]
        out: PathBuf,
        /// Continue an interrupted run
        #[arg(long)]
        resume: bool,
    },
    /// Errors of a trained model on structures with known H, for each stage
    Evaluate {
        /// A run folder
        run: PathBuf,
        /// Structures, or folders of them
        #[arg(required = true)]
        data: Vec<PathBuf>,
        /// Write the report, the parity plot and its points here
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Predict H of structures that need only POSCAR, info.json and overlap.h5
    Predict {
        /// A run folder
        run: PathBuf,
        /// Structures, or folders of them
        #[arg(required = true)]
        structures: Vec<PathBuf>,
        /// Each structure becomes a folder in it, with hamiltonian_pred.h5
        #[arg(long)]
        out: PathBuf,
    },
    /// Bands along a path through the zone, of the folder's H and of others over the same overlap
    Bands {
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
    },
    /// Eigenvalues at given k
    Eigenvalues {
        /// A structure folder
        structure: PathBuf,
        /// A fractional k; may be repeated
        #[arg(long, value_parser = three_numbers, required = true, allow_hyphen_values = true)]
        k: Vec<[f64; 3]>,
        /// Another Hamiltonian in place of the folder's
        #[arg(long)]
        hamiltonian: Option<PathBuf>,
        /// Leave out eigenvectors of the overlap below this eigenvalue
        #[arg(long)]
        overlap_threshold: Option<f64>,
    },
    /// Fermi level and gap by counting states on a mesh
    Fermi {
        /// A structure folder
        structure: PathBuf,
        /// Another Hamiltonian in place of the folder's
        #[arg(long)]
        hamiltonian: Option<PathBuf>,
        /// Distance of mesh points, inverse angstrom (2 pi included)
        #[arg(long, default_value_t = 0.1)]
        spacing: f64,
        /// Electrons in the cell, if info.json does not say
        #[arg(long)]
        electrons: Option<f64>,
        /// Leave out eigenvectors of the overlap below this eigenvalue
        #[arg(long)]
        overlap_threshold: Option<f64>,
    },
    /// Speed and memory of stage 1 on one structure
    Bench {
        /// A structure, or a folder of them (the first is taken)
        structure: PathBuf,
        /// A TOML file; by default DeepH-E3's own widths
        #[arg(long)]
        config: Option<PathBuf>,
        /// Measured steps
        #[arg(long, default_value_t = 20)]
        repeats: usize,
    },
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        if !matches!(self, Verb::Train { .. } | Verb::Bench { .. }) {
            common.no_config()?;
        }
        match self {
            Verb::Train { config, out, resume } => {
                let config = common.config(Some(config))?;
                let mut progress = Progress::new(common.quiet);
                let report = training::train(&config, out, *resume, &mut progress, stop_on_interrupt())?;
                report::write_loss_curves(out)?;
                common.print(&report, || report::training_table(&report))?;
            }
            Verb::Evaluate { run, data, out } => {
                let model = Model::load(run)?;
                let found = evaluation::evaluate(&model, data, &mut Progress::new(common.quiet))?;
                if let Some(out) = out {
                    report::write_evaluation(&found, out)?;
                }
                common.print(&report::without_points(&found)?, || report::evaluation_table(&found))?;
            }
            Verb::Predict { run, structures, out } => {
                let model = Model::load(run)?;
                let written = report::predict(&model, structures, out, &mut Progress::new(common.quiet))?;
                let value = json!({"structures": written.len(), "files": written});
                common.print(&value, || super::listed(&written).replace(' ', "\n"))?;
            }
            Verb::Bands { structure, hamiltonian, overlap_threshold, out, path, points, window } => {
                let bands = spectrum::bands_of(structure, hamiltonian, *overlap_threshold, path.as_deref(), *points)?;
                if let Some(out) = out {
                    report::create_folder(out)?;
                    plot::bands::write_numbers(out, &bands)?;
                    plot::bands::draw(&out.join("bands.svg"), &bands, *window)?;
                }
                common.print(&bands, || report::bands_table(&bands))?;
            }
            Verb::Eigenvalues { structure, k, hamiltonian, overlap_threshold } => {
                let found = open(structure, hamiltonian, overlap_threshold)?.eigenvalues(k)?;
                common.print(&found, || report::eigenvalue_table(&found))?;
            }
            Verb::Fermi { structure, hamiltonian, spacing, electrons, overlap_threshold } => {
                let found = open(structure, hamiltonian, overlap_threshold)?.fermi(*spacing, *electrons)?;
                common.print(&found, || {
                    format!(
                        "Fermi level {:.6} eV, gap {:.6} eV, {} electrons",
                        found.fermi_ev, found.gap_ev, found.electrons
                    )
                })?;
            }
            Verb::Bench { structure, config, repeats } => {
                let config = common.config(config.as_deref())?;
                let found = report::bench(structure, &config.covariant, *repeats)?;
                common.print(&found, || serde_json::to_string_pretty(&found).unwrap_or_default())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open(folder: &std::path::Path, hamiltonian: &Option<PathBuf>, threshold: &Option<f64>) -> Result<Spectrum> {
    let options = spectrum::Options { hamiltonian: hamiltonian.clone(), overlap_threshold: *threshold };
    Ok(Spectrum::read(folder, &options)?)
}
