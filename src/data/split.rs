//! Drawing a random split of a folder of structures.

use std::path::{Path, PathBuf};

use super::{SPLIT, name, there};
use crate::datasets::deeph;
use crate::datasets::error::Result;
use crate::datasets::split::Split;

/// Draws a split of the structures below `root` and writes it to `out`, by default the `dataset_split.json` of `root`,
/// which must not exist then. Returns it with its place.
///
/// # Errors
/// No structure, fractions out of range, the same id twice, a split that is there already.
pub fn split(root: &Path, fractions: [f64; 3], seed: u64, out: Option<&Path>) -> Result<(Split, PathBuf)> {
    let folders = deeph::find_structures(&[root.to_path_buf()])?;
    let split = Split::random(&folders.iter().map(|f| name(f)).collect::<Vec<_>>(), fractions, seed)?;
    let path = out.map_or_else(|| root.join(SPLIT), Path::to_path_buf);
    if out.is_none() && path.exists() {
        return Err(there(&path, "no split yet, or --out"));
    }
    split.write(&path)?;
    Ok((split, path))
}
