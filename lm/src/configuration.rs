//! What the configurations of all recipes share: TOML with overrides, all mistakes at once, files named absolutely.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The configuration of a run, a TOML file whose unknown keys are refused.
pub trait Configuration: Serialize + DeserializeOwned {
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

    /// As [`Self::read`] from text, paths as they are; `path` is for messages only.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self> {
        let fail = |problems| Error::Invalid { path: path.into(), problems };
        tesseral_nn::configuration::parse(text, overrides, Self::problems).map_err(fail)
    }

    /// The whole configuration as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written so (a bug).
    fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|e| Error::config("configuration", e.to_string()))
    }
}
