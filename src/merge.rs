//! Putting the parts of a sharded run together: `physics merge`.

use std::path::Path;

use crate::batch::check::CHECK;
use crate::batch::{self, Parts};
use crate::compare::shards::{self, COMPARE};
use crate::compare::tables;
use crate::physics::{Error, Result};
use crate::report;
use crate::survey::outputs::{BandsVerb, DosVerb, EigenvaluesVerb, FermiVerb};
use crate::survey::{self, Answer, Verb};
use crate::trained::{self, EVALUATE, PREDICT};

/// Merges the parts under `out`, whatever verb they are of, and writes there what it would have written at once.
///
/// # Errors
/// No parts, parts that are missing, of different options or of inputs that have changed; those of the verb.
pub fn merge(out: &Path) -> Result<Answer> {
    let parts = Parts::open(out)?;
    match parts.description.verb.as_str() {
        BandsVerb::NAME => survey::merge::<BandsVerb>(&parts, out),
        DosVerb::NAME => survey::merge::<DosVerb>(&parts, out),
        FermiVerb::NAME => survey::merge::<FermiVerb>(&parts, out),
        EigenvaluesVerb::NAME => survey::merge::<EigenvaluesVerb>(&parts, out),
        CHECK => {
            let found = batch::check::merge(&parts)?;
            report::write_json(&out.join("check.json"), &found)?;
            Ok(Answer { ok: found.ok, value: value(&found)?, text: found.screen() })
        }
        PREDICT => {
            let files = trained::merge_predictions(&parts, out)?;
            let text = files.iter().map(|file| format!("{}\n", file.display())).collect();
            Ok(Answer { ok: true, value: trained::predicted(&files), text })
        }
        COMPARE => {
            let found = shards::merge(&parts, out)?;
            Ok(Answer { ok: true, value: shards::value(&found)?, text: tables::screen(&found) })
        }
        EVALUATE => {
            let found = trained::merge_evaluations(&parts, out)?;
            let text = report::evaluation_table(&found);
            Ok(Answer { ok: true, value: report::without_points(&found)?, text })
        }
        other => Err(Error::Mismatch {
            what: "parts".into(),
            expected: "those of a verb of this version".into(),
            found: other.into(),
        }),
    }
}

fn value(found: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(found).map_err(|e| Error::Io { path: CHECK.into(), source: std::io::Error::other(e) })
}
