//! `physics compare --shard i/n`: a structure is a unit of work, its part the sums of its errors.

use std::path::{Path, PathBuf};

use super::pairing::{self, Pairing};
use super::{Report, Task};
use crate::batch::{Batch, Description, Parts, Shard, ShardReport};
use crate::nn::train::Observer;
use crate::physics::comparison::{Collection, Options, StructureErrors, compare_structure};
use crate::physics::{Error, Result};

/// Name of the verb.
pub const COMPARE: &str = "compare";

/// Files of a reference that the errors depend on, where they are there.
const INPUTS: [&str; 10] = [
    "POSCAR",
    "info.json",
    "overlap.h5",
    "hamiltonian.h5",
    "density_matrix.h5",
    "element.dat",
    "site_positions.dat",
    "orbital_types.dat",
    "overlaps.h5",
    "hamiltonians.h5",
];

impl Task {
    fn description(&self, pairing: &Pairing) -> Result<Description> {
        let names: Vec<String> = pairing.pairs.iter().map(|(reference, _)| pairing::name_of(reference)).collect();
        let inputs: Vec<PathBuf> = pairing
            .pairs
            .iter()
            .flat_map(|(reference, source)| {
                let predicted = source.folder();
                let below = INPUTS.iter().flat_map(move |file| [reference.join(file), predicted.join(file)]);
                below.chain([source.path().to_path_buf()])
            })
            .collect();
        Description::new(COMPARE, self, &inputs, &names)
    }

    /// Compares the structures of a shard; the parts go under `out`.
    ///
    /// # Errors
    /// As [`Task::compare`].
    pub fn compare_shard(&self, out: &Path, shard: Shard, observer: &mut dyn Observer) -> Result<ShardReport> {
        let pairing = pairing::pair(&self.references, &self.predictions)?;
        let description = self.description(&pairing)?;
        let names = description.units.clone();
        let parts = Parts::create(out, description)?;
        let options = self.options(&pairing);
        parts.run(&mut Units { task: self, pairing, options, names }, shard, observer)
    }
}

/// One unit a structure.
struct Units<'a> {
    task: &'a Task,
    pairing: Pairing,
    options: Options,
    names: Vec<String>,
}

impl Batch for Units<'_> {
    type Part = StructureErrors;

    fn units(&self) -> &[String] {
        &self.names
    }

    fn work(&mut self, unit: usize, _: &mut dyn Observer) -> Result<StructureErrors> {
        compare_structure(&self.task.read(&self.pairing, unit)?, &self.options)
    }
}

/// The report for programs.
///
/// # Errors
/// Numbers that JSON does not have.
pub fn value(report: &Report) -> Result<serde_json::Value> {
    serde_json::to_value(report).map_err(|e| Error::Io { path: "comparison".into(), source: std::io::Error::other(e) })
}

/// Puts the parts of all shards together: the files and the report of one run.
///
/// # Errors
/// Parts that are missing, inputs that have changed, a folder that cannot be written.
pub fn merge(parts: &Parts, out: &Path) -> Result<Report> {
    let task: Task = parts.options()?;
    let pairing = pairing::pair(&task.references, &task.predictions)?;
    parts.check(&task.description(&pairing)?)?;
    let mut collection = Collection::default();
    parts.collect::<StructureErrors>()?.into_iter().try_for_each(|errors| collection.add(errors))?;
    let report = Task::report(collection.finish(&task.options(&pairing)), pairing);
    super::write(&report, out, &task.formats)?;
    Ok(report)
}
