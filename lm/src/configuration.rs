//! What the configurations of all recipes share: TOML with overrides, all mistakes at once, files named absolutely.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use tesseral_nn::configuration::fill;

/// The configuration of a run, a TOML file whose unknown keys are refused.
pub trait Configuration: Serialize + DeserializeOwned + Default {
    /// Everything that is wrong beside the form, as `key: expected .., found ..`.
    fn problems(&self) -> Vec<String>;

    /// Everything that names a file or folder.
    fn paths(&mut self) -> Vec<&mut PathBuf>;

    /// Reads a file and applies `key.path=value` overrides; relative paths are taken from the file's folder and made absolute,
    /// so that the configuration in a run folder names the same files.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Invalid`] with every mistake found.
    fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let mut config = Self::parse(&text, path, overrides)?;
        let place = std::path::absolute(path).map_err(Error::io(path))?;
        let folder = place.parent().unwrap_or(Path::new("/"));
        config.paths().into_iter().for_each(|file| *file = folder.join(&*file));
        Ok(config)
    }

    /// As [`Self::read`] from text, paths as they are; `path` is for messages only. Keys of a section `train` that are missing
    /// are those of the recipe's own default, whether or not others are given.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self> {
        let fail = |problems| Error::Invalid { path: path.into(), problems };
        let complete = |given: &mut toml::Table| fill_training(given, &Self::default());
        tesseral_nn::configuration::parse_over(text, overrides, complete, Self::problems).map_err(fail)
    }

    /// The whole configuration as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written so (a bug).
    fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|e| Error::config("configuration", e.to_string()))
    }
}

/// Keys, by section, of which one that is given takes the place of all.
const ALTERNATIVES: [(&[&str], &[&str]); 2] =
    [(&["train"], &["steps", "epochs", "max_seconds"]), (&["train", "schedule"], &["warmup_steps", "warmup_fraction"])];

fn section<'a>(table: &'a mut toml::Table, path: &[&str]) -> Option<&'a mut toml::Table> {
    path.iter().try_fold(table, |table, part| table.get_mut(*part)?.as_table_mut())
}

fn number(table: &mut toml::Table, path: &[&str], key: &str) -> Option<f64> {
    let value = section(table, path)?.get(key)?;
    value.as_float().or(value.as_integer().map(|n| n as f64))
}

fn has(table: &mut toml::Table, path: &[&str], keys: &[&str]) -> bool {
    section(table, path).is_some_and(|section| keys.iter().any(|key| section.contains_key(*key)))
}

/// Completes the section `train` by that of `defaults`. A learning rate takes the least rate of its schedule along; a schedule
/// whose kind is given is all its own; one of a run that time alone limits goes by time.
fn fill_training(given: &mut toml::Table, defaults: &impl Serialize) {
    let (train, optimizer, schedule) = (["train"], ["train", "optimizer"], ["train", "schedule"]);
    let mut defaults = toml::Table::try_from(defaults).unwrap_or_default();
    defaults.retain(|key, _| key == "train");
    for (path, keys) in ALTERNATIVES.into_iter().filter(|(path, keys)| has(given, path, keys)) {
        if let Some(section) = section(&mut defaults, path) {
            keys.iter().for_each(|key| drop(section.remove(*key)));
        }
    }
    if has(given, &schedule, &["kind"]) {
        section(&mut defaults, &train).map(|train| train.remove("schedule"));
    }
    let by_time = has(given, &train, &["max_seconds"]) && !has(given, &train, &["steps", "epochs"]);
    let [wanted, own] = [&mut *given, &mut defaults].map(|table| number(table, &optimizer, "learning_rate"));
    if let Some(schedule) = section(&mut defaults, &schedule) {
        if by_time {
            schedule.insert("by".into(), "time".into());
        }
        let least = schedule.get("minimum_rate").and_then(toml::Value::as_float);
        if let (Some(wanted), Some(own), Some(least)) = (wanted, own.filter(|own| *own > 0.0), least) {
            schedule.insert("minimum_rate".into(), (least * wanted / own).into());
        }
    }
    fill(given, &defaults);
}
