//! Writing structures in the other DeepH layout.

use serde::Serialize;
use std::path::{Path, PathBuf};

use super::{SPLIT, name, there};
use crate::datasets::deeph::{self, Layout, ReadOptions, legacy, unified};
use crate::datasets::error::Result;
use crate::datasets::files;
use crate::datasets::split::Split;

/// Result of [`convert`].
#[derive(Clone, Debug, Serialize)]
pub struct Converted {
    /// Structures written.
    pub structures: usize,
    /// Their layout.
    pub layout: &'static str,
    /// The new folder.
    pub out: PathBuf,
}

/// Writes all structures below `root` in the other layout to the new folder `out`: one structure folder where `root`
/// is one, else `out/dft/<id>` with the split where there is one. `out` appears whole or not at all.
///
/// # Errors
/// `out` exists already, structures of the same name, a structure that is broken.
pub fn convert(root: &Path, out: &Path, to: Layout) -> Result<Converted> {
    if out.exists() {
        return Err(there(out, "a folder that does not exist yet"));
    }
    let folders = deeph::find_structures(&[root.to_path_buf()])?;
    let single = folders.len() == 1 && folders[0] == root;
    files::write_folder_atomic(out, |temporary| {
        for folder in &folders {
            let record = deeph::read(folder, &ReadOptions::present(folder))?;
            let target = if single { temporary.to_path_buf() } else { temporary.join("dft").join(name(folder)) };
            if !single && target.exists() {
                return Err(there(folder, "a name that no other structure has"));
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
    let layout = if to == Layout::Legacy { "legacy" } else { "unified" };
    Ok(Converted { structures: folders.len(), layout, out: out.to_path_buf() })
}
