//! Whether the quirks of a benchmark's original code are kept.

use serde::{Deserialize, Serialize};

/// Which code the numbers are to equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Defects of the original are mended; each difference is listed in the results.
    #[default]
    Mended,
    /// As the original computes it, defects included.
    Original,
}

impl Compat {
    /// Whether quirks are kept.
    pub fn is_original(self) -> bool {
        self == Compat::Original
    }
}
