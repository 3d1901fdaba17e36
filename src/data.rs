//! What the `data` commands do: check, inspect, count, split and convert folders of structures.

pub mod check;
pub mod convert;
pub mod inspect;
mod screen;
pub mod split;
pub mod stats;

pub use check::{Checked, check};
pub use convert::{Converted, convert};
pub use inspect::{Inspected, inspect};
pub use split::split;
pub use stats::{stats, stats_screen, write_stats};

use std::path::Path;

use crate::datasets::deeph::id_of as name;
use crate::datasets::error::{Error, Rule};

/// Name of the file of a split.
const SPLIT: &str = "dataset_split.json";

/// Something that exists already.
fn there(path: &Path, expected: &str) -> Error {
    let (expected, found) = (expected.into(), "one that exists already".into());
    Error::Invalid { rule: Rule::Format, path: path.into(), field: "output".into(), expected, found }
}
