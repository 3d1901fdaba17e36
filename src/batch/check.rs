//! `data check` in shards: a unit is a structure. Copies are not compared, since they may be in different shards.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use super::{Batch, Description, Parts, Shard, ShardReport};
use crate::data::{self, Checked};
use crate::datasets::deeph;
use crate::datasets::deeph::validate::Problem;
use crate::nn::train::{Observer, Silent};
use crate::physics::Result;
use crate::physics::check::{Options, Report, structures};

/// Name of the verb.
pub const CHECK: &str = "check";

/// Structures and the rules for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Structures, or folders of them.
    pub roots: Vec<PathBuf>,
    /// What is checked.
    pub options: Options,
}

struct Units {
    folders: Vec<PathBuf>,
    names: Vec<String>,
    options: Options,
}

impl Batch for Units {
    type Part = (Vec<Problem>, Report);

    fn units(&self) -> &[String] {
        &self.names
    }

    fn work(&mut self, unit: usize, _: &mut dyn Observer) -> Result<Self::Part> {
        let looked = structures(&self.folders[unit..=unit], &self.options, &mut Silent)?;
        Ok(looked.into_iter().map(|one| (one.problems, one.report)).next().unwrap_or_default())
    }
}

impl Check {
    /// The units; folders of different roots may have the same name, so they are numbered.
    fn units(&self) -> Result<(Units, Description)> {
        let folders = deeph::find_structures(&self.roots)?;
        let last = |f: &PathBuf| f.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let names: Vec<String> = folders.iter().enumerate().map(|(n, f)| format!("{n:05}-{}", last(f))).collect();
        let files = ["POSCAR", "info.json", "overlap.h5", "hamiltonian.h5"];
        let legacy = ["element.dat", "site_positions.dat", "lat.dat", "overlaps.h5", "hamiltonians.h5"];
        let inputs = folders.iter().flat_map(|f| files.iter().chain(&legacy).map(|name| f.join(name)));
        let description = Description::new(CHECK, self, &inputs.collect::<Vec<_>>(), &names)?;
        Ok((Units { folders, names, options: self.options.clone() }, description))
    }

    /// Checks the structures of a shard; the parts go under `out`.
    ///
    /// # Errors
    /// As [`data::check()`]; a folder that cannot be written.
    pub fn run(&self, out: &Path, shard: Shard, observer: &mut dyn Observer) -> Result<ShardReport> {
        let (mut units, description) = self.units()?;
        Parts::create(out, description)?.run(&mut units, shard, observer)
    }
}

/// What one run of `data check` finds, from the parts of the shards.
///
/// # Errors
/// Parts that are missing, inputs that have changed.
pub fn merge(parts: &Parts) -> Result<Checked> {
    let check: Check = parts.options()?;
    let (units, description) = check.units()?;
    parts.check(&description)?;
    Ok(data::check::conclude(&check.roots, &units.folders, parts.collect()?))
}
