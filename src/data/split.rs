//! Drawing a random split of a folder of structures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{SPLIT, name, there};
use crate::datasets::deeph;
use crate::datasets::error::Result;
use crate::datasets::split::Split;

/// Draws a split of the structures below `root` and writes it to `out`, by default the `dataset_split.json` of `root`,
/// which must not exist then. Returns it with its place. With `by_folder` the structures of each parent folder (tier)
/// are split by themselves, so that every part has its share of each.
///
/// # Errors
/// No structure, fractions out of range, the same id twice, a split that is there already.
pub fn split(
    root: &Path,
    fractions: [f64; 3],
    seed: u64,
    by_folder: bool,
    out: Option<&Path>,
) -> Result<(Split, PathBuf)> {
    let folders = deeph::find_structures(&[root.to_path_buf()])?;
    let path = out.map_or_else(|| root.join(SPLIT), Path::to_path_buf);
    let mut tiers: BTreeMap<Option<&Path>, Vec<String>> = BTreeMap::new();
    for folder in &folders {
        let tier = if by_folder { folder.parent() } else { None };
        tiers.entry(tier).or_default().push(name(folder));
    }
    let mut split = Split::default();
    for ids in tiers.values() {
        let tier = Split::random(ids, fractions, seed)?;
        split.train.extend(tier.train);
        split.validate.extend(tier.validate);
        split.test.extend(tier.test);
    }
    [&mut split.train, &mut split.validate, &mut split.test].into_iter().for_each(|part| part.sort_unstable());
    split.check(&path)?;
    if out.is_none() && path.exists() {
        return Err(there(&path, "no split yet, or --out"));
    }
    split.write(&path)?;
    Ok((split, path))
}
