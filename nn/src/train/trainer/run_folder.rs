//! What a run writes: metrics, timings, checkpoints.

use super::Task;
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::files::write_synced;
use crate::train::metrics::{MetricsLog, write_csv};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(super) struct RunFolder {
    path: PathBuf,
    pub(super) config_text: String,
    metrics: Option<MetricsLog>,
    timing: Option<MetricsLog>,
}

impl RunFolder {
    pub(super) fn new(path: &Path, config_text: &str) -> Self {
        RunFolder { path: path.to_path_buf(), config_text: config_text.into(), metrics: None, timing: None }
    }

    /// Checkpoints of steps after `step` belong to another run: going on would mix the two, and deleting them is not ours
    /// to decide.
    pub(super) fn check(&self, step: u64) -> Result<()> {
        if let Some((later, _)) = checkpoint::list(&self.path)?.into_iter().rfind(|(found, _)| *found > step) {
            return Err(Error::Config {
                key: self.path.display().to_string(),
                what: format!(
                    "expected no checkpoint after step {step}, found one of step {later}: resume it or choose another run folder"
                ),
            });
        }
        Ok(())
    }

    /// Opens the logs for a run that goes on after `step`.
    pub(super) fn open(&mut self, step: u64) -> Result<()> {
        checkpoint::sweep(&self.path)?;
        self.metrics = Some(MetricsLog::open(&self.path.join("metrics.jsonl"), step)?);
        self.timing = Some(MetricsLog::open(&self.path.join("timing.jsonl"), step)?);
        Ok(())
    }

    pub(super) fn log(&mut self, line: &Value, seconds: f64) -> Result<()> {
        if let Some(metrics) = &mut self.metrics {
            metrics.write(line)?;
        }
        if let Some(timing) = &mut self.timing {
            let what = if line.get("validation").is_some() { "validation" } else { "step" };
            timing.write(&json!({"step": line["step"], "what": what, "seconds": seconds}))?;
        }
        Ok(())
    }

    /// Writes down the samples of a step that had to be given up: `non-finite-step-N.json`, which is returned.
    pub(super) fn save_fault(&self, step: u64, what: &str, samples: &[usize], task: &dyn Task) -> Result<PathBuf> {
        let described = |sample: &usize| json!({"sample": sample, "data": task.describe(*sample)});
        let batch: Vec<Value> = samples.iter().map(described).collect();
        let path = self.path.join(format!("non-finite-step-{step}.json"));
        let text = serde_json::to_vec_pretty(&json!({"step": step, "what": what, "batch": batch}))
            .map_err(|e| Error::Format { path: path.clone(), what: e.to_string() })?;
        write_synced(&path, &text)?;
        Ok(path)
    }

    /// Saves, with the metrics up to here on the disk first, then prunes.
    pub(super) fn save(&mut self, contents: &Checkpoint, keep_last: usize, best: Option<u64>) -> Result<PathBuf> {
        for log in [&self.metrics, &self.timing].into_iter().flatten() {
            log.sync()?;
        }
        let path = checkpoint::save(&self.path, contents)?;
        checkpoint::prune(&self.path, keep_last, best.as_slice())?;
        Ok(path)
    }

    pub(super) fn finish(&self) -> Result<()> {
        write_csv(&self.path.join("metrics.jsonl"), &self.path.join("metrics.csv"))
    }
}
