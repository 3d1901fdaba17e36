//! Writing structures of any format in a DeepH layout; with or without the Hamiltonians of single atoms.

use serde::Serialize;
use std::path::{Path, PathBuf};

use super::{SPLIT, name, there};
use crate::datasets::deeph::validate::Limits;
use crate::datasets::deeph::{self, Layout, ReadOptions, Record, legacy, unified};
use crate::datasets::error::{Error, Result};
use crate::datasets::files;
use crate::datasets::import::{self, Source};
use crate::datasets::split::Split;
use crate::physics::hamiltonian::single_atoms::{Direction, SingleAtoms};

/// What a folder is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A DeepH folder.
    DeepH(Layout),
    /// A folder of another code.
    Code(Source),
}

impl Format {
    /// Its name in commands and results.
    pub fn name(self) -> &'static str {
        match self {
            Format::DeepH(Layout::Unified) => "unified",
            Format::DeepH(Layout::Legacy) => "legacy",
            Format::Code(source) => source.name(),
        }
    }

    /// The format of a folder, by the files it has; `None` when it is no structure.
    pub fn of(folder: &Path) -> Option<Self> {
        match import::source(folder) {
            // Its hamiltonians.h5 has the name of the legacy layout's.
            Some(Source::DeePtb) => Some(Format::Code(Source::DeePtb)),
            source => deeph::layout(folder).map(Format::DeepH).or(source.map(Format::Code)),
        }
    }
}

/// How structures are read and changed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The format to read; by default every one that is found.
    pub from: Option<Format>,
    /// The only frame to read of folders that have several; by default all.
    pub frame: Option<usize>,
    /// The file of a unified folder that takes the place of `hamiltonian.h5`: `hamiltonian_pred.h5`.
    pub hamiltonian: Option<String>,
    /// Single atoms to take from every Hamiltonian, or to give back.
    pub single_atoms: Option<Correction>,
}

/// Hamiltonians of single atoms, taken from the structures' or given back.
#[derive(Clone, Debug)]
pub struct Correction {
    /// Structure folders of one atom each.
    pub folder: PathBuf,
    /// Which way.
    pub direction: Direction,
    /// Whether the cores are taken from the blocks of pairs of atoms too.
    pub offsite: bool,
}

/// Result of [`convert`].
#[derive(Clone, Debug, Serialize)]
pub struct Converted {
    /// Structures written.
    pub structures: usize,
    /// Their layout.
    pub layout: &'static str,
    /// What they were read as; several formats joined by commas.
    pub from: String,
    /// The new folder.
    pub out: PathBuf,
    /// Blocks of zeros added to give H and S the same pairs, over all structures.
    pub padded_pairs: usize,
    /// "subtracted" or "added", where Hamiltonians of single atoms were.
    pub single_atoms: Option<&'static str>,
}

/// Writes all structures at or below `root` in the layout `to` to the new folder `out`: one structure folder where
/// `root` is one, else `out/dft/<id>` (`<id>-<frame>` for a folder of several frames) with the split where there is
/// one. `out` appears whole or not at all.
///
/// # Errors
/// `out` exists already, structures of the same name, a structure that is broken, single atoms that do not fit.
pub fn convert(root: &Path, out: &Path, to: Layout, options: &Options) -> Result<Converted> {
    if out.exists() {
        return Err(there(out, "a folder that does not exist yet"));
    }
    let jobs = jobs(root, options)?;
    let single = matches!(jobs.as_slice(), [job] if job.folder == root);
    let atoms = options.single_atoms.as_ref().map(|correction| SingleAtoms::read(&correction.folder)).transpose()?;
    let mut padded_pairs = 0;
    files::write_folder_atomic(out, |temporary| {
        for job in &jobs {
            let (mut record, padded) = job.read(options)?;
            padded_pairs += padded;
            if let (Some(atoms), Some(correction)) = (&atoms, &options.single_atoms) {
                atoms.apply(&mut record, correction.direction, correction.offsite)?;
            }
            let target = if single { temporary.to_path_buf() } else { temporary.join("dft").join(&job.id) };
            if !single && target.exists() {
                return Err(there(&job.folder, "a name that no other structure has"));
            }
            match to {
                Layout::Unified => unified::write(&record, &target)?,
                Layout::Legacy => legacy::write(&record, &target)?,
            }
        }
        let split = root.join(SPLIT);
        if split.is_file() && !single {
            Split::read(&split)?.write(&temporary.join(SPLIT))?;
        }
        Ok(())
    })?;
    let mut formats: Vec<&str> = jobs.iter().map(|job| job.format.name()).collect();
    formats.sort_unstable();
    formats.dedup();
    Ok(Converted {
        structures: jobs.len(),
        layout: Format::DeepH(to).name(),
        from: formats.join(","),
        out: out.to_path_buf(),
        padded_pairs,
        single_atoms: options.single_atoms.as_ref().map(|correction| match correction.direction {
            Direction::Subtract => "subtracted",
            Direction::Add => "added",
        }),
    })
}

/// One structure to read.
struct Job {
    folder: PathBuf,
    format: Format,
    frame: usize,
    id: String,
}

impl Job {
    /// The structure and the number of blocks of zeros it took.
    fn read(&self, options: &Options) -> Result<(Record, usize)> {
        match self.format {
            Format::Code(source) => {
                let imported = import::read(&self.folder, source, self.frame, &Limits::default())?;
                Ok((imported.record, imported.padded_pairs))
            }
            Format::DeepH(_) => {
                let mut present = ReadOptions::present(&self.folder);
                present.hamiltonian &= options.hamiltonian.is_none();
                let mut record = deeph::read(&self.folder, &present)?;
                if let Some(file) = &options.hamiltonian {
                    record.hamiltonian = Some(unified::read_matrix(&self.folder.join(file))?);
                }
                Ok((record, 0))
            }
        }
    }
}

/// The structures at or below `root`, sorted by path.
fn jobs(root: &Path, options: &Options) -> Result<Vec<Job>> {
    let mut folders = Vec::new();
    let mut missing = None;
    if !matches!(options.from, Some(Format::Code(_))) {
        match deeph::find_structures(&[root.to_path_buf()]) {
            Ok(found) => folders.extend(found),
            Err(error @ Error::Missing { .. }) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    for source in [Source::DeePtb, Source::Abacus, Source::Siesta] {
        if root.is_dir() && options.from.is_none_or(|from| from == Format::Code(source)) {
            folders.extend(import::find(root, source)?);
        }
    }
    folders.sort_unstable();
    folders.dedup();
    let mut jobs = Vec::new();
    for folder in folders {
        // A format that is asked for is taken at its word: the reader says what is missing.
        let format = match options.from {
            Some(Format::Code(source)) => Some(Format::Code(source)),
            from => Format::of(&folder).filter(|format| from.is_none_or(|from| from == *format)),
        };
        let Some(format) = format else { continue };
        let frames = match format {
            Format::Code(source) => import::frames(&folder, source, &Limits::default())?,
            Format::DeepH(_) => vec![0],
        };
        let several = frames.len() > 1 && options.frame.is_none();
        for frame in options.frame.map_or(frames, |frame| vec![frame]) {
            let id = if several { format!("{}-{frame}", name(&folder)) } else { name(&folder) };
            jobs.push(Job { folder: folder.clone(), format, frame, id });
        }
    }
    if jobs.is_empty() {
        let wanted = options.from.map_or("structure".to_string(), |from| format!("{} structure", from.name()));
        let expected = format!("at least one {wanted} folder at or below it");
        return Err(missing.unwrap_or(Error::Missing { path: root.to_path_buf(), expected }));
    }
    Ok(jobs)
}
