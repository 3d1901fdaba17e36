//! Verdicts that were recorded before.

use super::table::Table;
use super::{Entailment, Pair};
use crate::{Error, Result};
use std::path::Path;

/// Answers from a table and from nothing else.
#[derive(Clone, Debug)]
pub struct Recorded {
    table: Table,
    identity: String,
}

impl Recorded {
    /// Of a table; `identity` names whose verdicts they are.
    pub fn new(table: Table, identity: &str) -> Self {
        Recorded { table, identity: identity.into() }
    }

    /// Of a file `[[premise, hypothesis, 0 or 1], ..]`.
    ///
    /// # Errors
    /// Those of [`Table::read`].
    pub fn read(file: &Path) -> Result<Self> {
        Ok(Self::new(Table::read(file)?.0, &format!("recorded in {}", file.display())))
    }
}

impl Entailment for Recorded {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
        Ok(self.probabilities(pairs)?.into_iter().map(|p| p >= 0.5).collect())
    }

    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        let missing = |(premise, hypothesis): &Pair<'_>| {
            let what = format!(
                "expected a verdict on premise {:?} and hypothesis {:?}, found none ({})",
                beginning(premise),
                beginning(hypothesis),
                self.identity
            );
            Error::config("entailment", what)
        };
        pairs.iter().map(|pair| self.table.get(*pair).ok_or_else(|| missing(pair))).collect()
    }
}

/// Enough of a text to know it by.
fn beginning(text: &str) -> String {
    let mut start: String = text.chars().take(100).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_was_recorded_and_says_what_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.json");
        std::fs::write(&file, r#"[["p", "h", 1], ["p", "g", 0]]"#).unwrap();
        let recorded = Recorded::read(&file).unwrap();
        assert_eq!(recorded.entails(&[("p", "g"), ("p", "h")]).unwrap(), [false, true]);
        let error = recorded.entails(&[("p", "unheard")]).unwrap_err().to_string();
        assert!(error.contains("unheard") && error.contains("verdicts.json"), "{error}");
    }

    #[test]
    fn a_table_must_not_contradict_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.json");
        for (text, expected) in [
            (r#"[["p", "h", 1], ["p", "h", 0]]"#, "expected 1 as for the same pair"),
            (r#"[["p", "h", 2]]"#, "from 0 to 1, found 2"),
            (r#"{"p": 1}"#, "expected a list of [premise"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Recorded::read(&file).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
