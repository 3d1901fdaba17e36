//! What `physics bands | dos | fermi | eigenvalues` write: JSON and tables always, DeepH's HDF5 files, pictures.

use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Verb;
use crate::datasets::deeph::band_file;
use crate::datasets::files;
use crate::physics::Result;
use crate::plot::{self, Format};
use crate::report::write_json;
use crate::spectrum::{
    BandOptions, Bands, DensityOfStates, DosOptions, EigenvalueOptions, Eigenvalues, Fermi, FermiOptions, PathChoice,
};

/// `physics bands`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BandsVerb {
    /// Structures, or folders of them.
    pub structures: Vec<PathBuf>,
    /// What to compute.
    pub options: BandOptions,
    /// Energies of the picture, eV.
    pub window: [f64; 2],
    /// Its files.
    pub formats: Vec<Format>,
}

impl Verb for BandsVerb {
    type Measure = BandOptions;
    const NAME: &'static str = "bands";

    fn measure(&self) -> &BandOptions {
        &self.options
    }

    fn structures(&self) -> &[PathBuf] {
        &self.structures
    }

    fn inputs(&self) -> Vec<PathBuf> {
        let mut inputs = self.options.sources.hamiltonians.clone();
        if let PathChoice::File(file) = &self.options.path {
            inputs.push(file.clone());
        }
        inputs
    }

    fn write(&self, found: &Bands, folder: &Path) -> Result<()> {
        write_bands(found, folder)?;
        self.formats.iter().try_for_each(|f| plot::bands::draw(&f.file(&folder.join("bands")), found, self.window))
    }

    fn table(&self, found: &Bands) -> String {
        found.table()
    }
}

/// Writes `bands.json`, and for each Hamiltonian `bands-NAME.csv` and (where a Fermi level is known) `band.h5` (the
/// first) or `band-NAME.h5`.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_bands(found: &Bands, folder: &Path) -> Result<()> {
    write_json(&folder.join("bands.json"), found)?;
    for (n, (name, bands)) in found.names.iter().zip(&found.bands).enumerate() {
        let name = file_name(name);
        write_text(&folder.join(format!("bands-{name}.csv")), &bands.to_csv())?;
        let file = if n == 0 { "band.h5".into() } else { format!("band-{name}.h5") };
        if let Some(bands) = found.band_file(n)? {
            bands.write(&folder.join(file))?;
        }
    }
    Ok(())
}

/// `physics dos`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DosVerb {
    /// Structures, or folders of them.
    pub structures: Vec<PathBuf>,
    /// What to compute.
    pub options: DosOptions,
    /// Files of the picture.
    pub formats: Vec<Format>,
}

impl Verb for DosVerb {
    type Measure = DosOptions;
    const NAME: &'static str = "dos";

    fn measure(&self) -> &DosOptions {
        &self.options
    }

    fn structures(&self) -> &[PathBuf] {
        &self.structures
    }

    /// `dos.json`, and for each Hamiltonian `dos-NAME.csv` and `dos.h5` (the first) or `dos-NAME.h5`.
    fn write(&self, found: &DensityOfStates, folder: &Path) -> Result<()> {
        write_json(&folder.join("dos.json"), found)?;
        for (n, curve) in found.curves.iter().enumerate() {
            let name = file_name(&curve.name);
            write_text(&folder.join(format!("dos-{name}.csv")), &curve.dos.to_csv())?;
            if let Some(fermi) = curve.fermi_ev {
                let file = if n == 0 { "dos.h5".into() } else { format!("dos-{name}.h5") };
                let energies: Vec<f64> = curve.dos.energies_ev.iter().map(|e| e - fermi).collect();
                band_file::write_dos(&folder.join(file), &energies, &curve.dos.states_per_ev, fermi)?;
            }
        }
        self.formats.iter().try_for_each(|f| plot::dos::draw(&f.file(&folder.join("dos")), found))
    }

    fn table(&self, found: &DensityOfStates) -> String {
        found.table()
    }
}

/// `physics fermi`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FermiVerb {
    /// Structures, or folders of them.
    pub structures: Vec<PathBuf>,
    /// What to compute.
    pub options: FermiOptions,
}

impl Verb for FermiVerb {
    type Measure = FermiOptions;
    const NAME: &'static str = "fermi";

    fn measure(&self) -> &FermiOptions {
        &self.options
    }

    fn structures(&self) -> &[PathBuf] {
        &self.structures
    }

    fn write(&self, found: &Fermi, folder: &Path) -> Result<()> {
        write_json(&folder.join("fermi.json"), found)?;
        write_text(&folder.join("fermi.csv"), &Fermi::to_csv(std::slice::from_ref(found)))
    }

    /// `fermi.csv` of all structures.
    fn write_all(&self, found: &[Fermi], folder: &Path) -> Result<()> {
        write_json(&folder.join("fermi.json"), &serde_json::json!({ "structures": found }))?;
        write_text(&folder.join("fermi.csv"), &Fermi::to_csv(found))
    }

    fn table(&self, found: &Fermi) -> String {
        found.line() + "\n"
    }

    fn splits_over_k(&self) -> bool {
        self.options.method.needs_eigenvalues()
    }
}

/// `physics eigenvalues`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EigenvaluesVerb {
    /// Structures, or folders of them.
    pub structures: Vec<PathBuf>,
    /// What to compute.
    pub options: EigenvalueOptions,
}

impl Verb for EigenvaluesVerb {
    type Measure = EigenvalueOptions;
    const NAME: &'static str = "eigenvalues";

    fn measure(&self) -> &EigenvalueOptions {
        &self.options
    }

    fn structures(&self) -> &[PathBuf] {
        &self.structures
    }

    fn write(&self, found: &Eigenvalues, folder: &Path) -> Result<()> {
        write_json(&folder.join("eigenvalues.json"), found)?;
        write_text(&folder.join("eigenvalues.csv"), &found.to_csv())
    }

    fn table(&self, found: &Eigenvalues) -> String {
        found.table()
    }
}

/// A name for a file: letters, digits, underscores, dashes.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(files::write_atomic(path, |w| w.write_all(text.as_bytes()))?)
}
