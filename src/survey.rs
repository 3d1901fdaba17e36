//! Verbs that compute from eigenvalues, over many structures or over the k points of one, at once or in shards: the
//! files they write and what they print.
//!
//! Module: [`outputs`], what each verb writes.

pub mod outputs;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

use crate::batch::{Batch, Description, Parts, Shard};
use crate::datasets::deeph;
use crate::nn::train::{Observer, Silent};
use crate::physics::{Error, Result};
use crate::spectrum::solve::{Solved, Solver};
use crate::spectrum::system::PREDICTION;
use crate::spectrum::{Measure, Spectrum};

/// Blocks that the k points of one structure are cut into, at most.
const BLOCKS: usize = 64;

/// What a command answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For programs.
    pub value: Value,
    /// For people.
    pub text: String,
    /// Whether what was asked is so; a check may find that it is not.
    pub ok: bool,
}

/// A verb with its options.
pub trait Verb: Serialize + DeserializeOwned {
    /// What it computes of each structure.
    type Measure: Measure;
    /// Its name.
    const NAME: &'static str;

    /// The computation.
    fn measure(&self) -> &Self::Measure;

    /// Structures, or folders of them.
    fn structures(&self) -> &[PathBuf];

    /// Input files that are not in the folders of structures.
    fn inputs(&self) -> Vec<PathBuf> {
        self.measure().sources().hamiltonians.clone()
    }

    /// Writes the files of one structure into `folder`.
    ///
    /// # Errors
    /// A folder that cannot be written.
    fn write(&self, found: &<Self::Measure as Measure>::Found, folder: &Path) -> Result<()>;

    /// Writes the files of all structures together, where there is more than one.
    ///
    /// # Errors
    /// A folder that cannot be written.
    fn write_all(&self, found: &[<Self::Measure as Measure>::Found], folder: &Path) -> Result<()> {
        let _ = (found, folder);
        Ok(())
    }

    /// For people.
    fn table(&self, found: &<Self::Measure as Measure>::Found) -> String;

    /// Whether the k points of one structure can be shared out.
    fn splits_over_k(&self) -> bool {
        true
    }
}

type Found<V> = <<V as Verb>::Measure as Measure>::Found;

/// Runs a verb: all of it, or one shard, whose parts go under `out`.
///
/// # Errors
/// Those of the computation and of writing; a shard without `out`.
pub fn run<V: Verb>(verb: &V, out: Option<&Path>, shard: Option<Shard>, observer: &mut dyn Observer) -> Result<Answer> {
    let folders = folders_of(verb)?;
    let Some(shard) = shard else {
        let sources = verb.measure().sources();
        let mut found = Vec::with_capacity(folders.len());
        for folder in &folders {
            let spectrum = Spectrum::read(folder, sources)?;
            match folders.len() {
                1 => found.push(verb.measure().of(&spectrum, observer)?),
                total => {
                    found.push(verb.measure().of(&spectrum, &mut Silent)?);
                    observer.on_progress(found.len(), total, "structures");
                }
            }
        }
        return answer(verb, &folders, found, out);
    };
    let Some(out) = out else {
        let (what, expected) = ("--shard".into(), "--out, where parts are kept".into());
        return Err(Error::Mismatch { what, expected, found: "none".into() });
    };
    let mut work = Work::new(verb, &folders)?;
    let parts = Parts::create(out, work.description(&folders)?)?;
    let report = parts.run(&mut work, shard, observer)?;
    let text = report.line();
    Ok(Answer { value: json!(report), text, ok: true })
}

/// Puts the parts under `out` together and writes what the verb would have written at once.
///
/// # Errors
/// Parts that are missing or of other inputs, and those of the computation and of writing.
pub fn merge<V: Verb>(parts: &Parts, out: &Path) -> Result<Answer> {
    let verb: V = parts.options()?;
    let folders = folders_of(&verb)?;
    let work = Work::new(&verb, &folders)?;
    parts.check(&work.description(&folders)?)?;
    let found = work.finish(parts.collect()?)?;
    answer(&verb, &folders, found, Some(out))
}

/// The structures, each name once.
fn folders_of<V: Verb>(verb: &V) -> Result<Vec<PathBuf>> {
    let folders = deeph::find_structures(verb.structures())?;
    let mut names: Vec<_> = folders.iter().map(|folder| name(folder)).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let (what, expected) = (format!("structure {}", twice[0]), "a name that no other structure has".into());
        return Err(Error::Mismatch { what, expected, found: "two of this name".into() });
    }
    if let Some(file) = verb.measure().sources().hamiltonians.iter().find(|path| folders.len() > 1 && path.is_file()) {
        return Err(Error::Mismatch {
            what: format!("--hamiltonian {}", file.display()),
            expected: format!("for {} structures, a folder with NAME/{PREDICTION}", folders.len()),
            found: "a file".into(),
        });
    }
    Ok(folders)
}

fn name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Writes the files, if somewhere is given, and answers: one structure as it is, several as a list.
fn answer<V: Verb>(verb: &V, folders: &[PathBuf], found: Vec<Found<V>>, out: Option<&Path>) -> Result<Answer> {
    if let Some(out) = out {
        crate::report::create_folder(out)?;
        if let [one] = found.as_slice() {
            verb.write(one, out)?;
        } else {
            for (folder, one) in folders.iter().zip(&found) {
                let own = out.join(name(folder));
                crate::report::create_folder(&own)?;
                verb.write(one, &own)?;
            }
            verb.write_all(&found, out)?;
        }
    }
    let text = found.iter().map(|one| verb.table(one)).collect::<Vec<_>>().join("");
    let value = match found.as_slice() {
        [one] => serde_json::to_value(one),
        all => serde_json::to_value(all).map(|list| json!({ "structures": list })),
    };
    let value = value.map_err(|e| Error::Io { path: V::NAME.into(), source: std::io::Error::other(e) })?;
    Ok(Answer { value, text, ok: true })
}

/// A verb cut into units: structures, or blocks of k points where there is one structure.
struct Work<'a, V: Verb> {
    verb: &'a V,
    folders: &'a [PathBuf],
    units: Vec<String>,
    /// The one structure, its points, and how many go into a block.
    single: Option<(Spectrum, Vec<[f64; 3]>, usize)>,
    /// How its eigenvalues are found, once that is known.
    solver: Option<Solver>,
}

/// What a unit leaves behind.
#[derive(Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part<T> {
    /// The result of a structure.
    Found(T),
    /// Eigenvalues of a block, `[k][hamiltonian]`.
    Solved(Vec<Vec<Solved>>),
}

impl<'a, V: Verb> Work<'a, V> {
    fn new(verb: &'a V, folders: &'a [PathBuf]) -> Result<Self> {
        match folders {
            [folder] if verb.splits_over_k() => {
                let spectrum = Spectrum::read(folder, verb.measure().sources())?;
                let points = verb.measure().points(&spectrum)?;
                let block = points.len().div_ceil(BLOCKS).max(1);
                let units = (0..points.len().div_ceil(block)).map(|n| format!("k-{n:02}")).collect();
                Ok(Work { verb, folders, units, single: Some((spectrum, points, block)), solver: None })
            }
            _ => {
                let units = folders.iter().map(|f| name(f)).collect();
                Ok(Work { verb, folders, units, single: None, solver: None })
            }
        }
    }

    fn description(&self, folders: &[PathBuf]) -> Result<Description> {
        let names = ["POSCAR", "info.json", "K_PATH", "overlap.h5", "hamiltonian.h5", PREDICTION];
        let legacy = ["element.dat", "site_positions.dat", "overlaps.h5", "hamiltonians.h5"];
        let extra = self.verb.inputs();
        let below = |f: &PathBuf| extra.iter().flat_map(|e| [e.join(name(f)), e.join("dft").join(name(f))]).collect();
        let predictions: Vec<PathBuf> = folders.iter().flat_map(|f| -> Vec<PathBuf> { below(f) }).collect();
        let all = folders.iter().chain(&extra).chain(&predictions);
        let files = all.flat_map(|f| names.iter().chain(&legacy).map(|name| f.join(name)));
        let inputs: Vec<PathBuf> = files.chain(extra.clone()).collect();
        Description::new(V::NAME, self.verb, &inputs, &self.units)
    }

    fn finish(&self, parts: Vec<Part<Found<V>>>) -> Result<Vec<Found<V>>> {
        let (mut found, mut solved) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Part::Found(one) => found.push(one),
                Part::Solved(mut rows) => solved.append(&mut rows),
            }
        }
        if let Some((spectrum, ..)) = &self.single {
            found.push(self.verb.measure().finish(spectrum, &solved)?);
        }
        Ok(found)
    }
}

impl<V: Verb> Batch for Work<'_, V> {
    type Part = Part<Found<V>>;

    fn units(&self) -> &[String] {
        &self.units
    }

    fn work(&mut self, unit: usize, _: &mut dyn Observer) -> Result<Self::Part> {
        let measure = self.verb.measure();
        match &self.single {
            Some((spectrum, points, block)) => {
                let own = &points[unit * block..points.len().min((unit + 1) * block)];
                let solver = match self.solver.take() {
                    Some(solver) => solver,
                    None => measure.solver(spectrum)?,
                };
                let solved = spectrum.solve(own, points.len(), &solver, &mut Silent)?;
                self.solver = Some(solver);
                Ok(Part::Solved(solved))
            }
            None => {
                let spectrum = Spectrum::read(&self.folders[unit], measure.sources())?;
                Ok(Part::Found(measure.of(&spectrum, &mut Silent)?))
            }
        }
    }
}
