//! Tasks as TOML files: the family, and what the family asks for.

pub mod choice;
pub mod generation;
pub mod rows;

use super::entailment::source::Source;
use super::task::Task;
use super::{alce, helmet, in_context, llmbar};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A task file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "kebab-case")]
pub enum TaskFile {
    /// The most probable of some options.
    Choice(choice::ChoiceOptions),
    /// A short text beside right answers.
    Generation(generation::GenerationOptions),
    /// Long contexts.
    Helmet(helmet::task::Options),
    /// Which of two answers follows an instruction.
    Llmbar(llmbar::task::Options),
    /// Answers with citations.
    Alce(Box<alce::options::Options>),
    /// Labels after demonstrations with gold, random or abstract labels.
    InContext(in_context::task::Options),
}

impl TaskFile {
    /// Reads a task file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] that names the file and the key that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        toml::from_str(&text).map_err(|e| Error::config(path.display().to_string(), e.to_string().trim()))
    }

    /// The task with its data, whose files are named from the folder `data`.
    ///
    /// # Errors
    /// Those of the data.
    pub fn open(mut self, data: &Path) -> Result<Box<dyn Task>> {
        self.paths().into_iter().for_each(|path| *path = data.join(&*path));
        Ok(match self {
            TaskFile::Choice(options) => Box::new(choice::Choice::open(options)?),
            TaskFile::Generation(options) => Box::new(generation::Generation::open(options)?),
            TaskFile::Helmet(options) => Box::new(helmet::task::Helmet::open(options)?),
            TaskFile::Llmbar(options) => Box::new(llmbar::task::LlmBar::open(options)?),
            TaskFile::InContext(options) => Box::new(in_context::task::InContext::open(options)?),
            TaskFile::Alce(options) => Box::new(alce::task::Alce::open(*options)?),
        })
    }

    /// Everything that names a file or folder.
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        match self {
            TaskFile::Choice(o) => [&mut o.file].into_iter().chain(&mut o.shots_file).collect(),
            TaskFile::Generation(o) => vec![&mut o.file],
            TaskFile::Helmet(o) => {
                let optional = [&mut o.demos, &mut o.keypoints, &mut o.tokenizer];
                [&mut o.file].into_iter().chain(optional.into_iter().flatten()).collect()
            }
            TaskFile::InContext(o) => [&mut o.data.path].into_iter().chain(&mut o.data.test).collect(),
            TaskFile::Llmbar(o) => vec![&mut o.dataset, &mut o.evaluators],
            TaskFile::Alce(o) => {
                let model = match &mut o.entailment {
                    Source::Lexical { .. } => None,
                    Source::Recorded { file } => Some(file),
                    Source::T5 { folder, .. } | Source::Deberta { folder, .. } => Some(folder),
                };
                let optional = [o.collection.as_mut(), o.verdicts.as_mut(), model];
                [&mut o.data, &mut o.prompts].into_iter().chain(optional.into_iter().flatten()).collect()
            }
        }
    }
}

/// All task files of a folder, by name; or the one file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a folder without a task file.
pub fn find(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut files: Vec<PathBuf> = entries.map_err(Error::io(path))?.iter().map(std::fs::DirEntry::path).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
    files.sort();
    if files.is_empty() {
        return Err(Error::format(path, "expected at least one task file (.toml), found none"));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_files_of_this_repository_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/eval");
        for file in find(&folder).unwrap() {
            let task = TaskFile::read(&file).unwrap();
            let text = toml::to_string(&task).unwrap();
            assert_eq!(toml::from_str::<TaskFile>(&text).unwrap(), task, "{}", file.display());
        }
    }
}
