//! The comparison as a task.

use super::dataset::{DataOptions, Dataset};
use super::experiment::{answers, plan};
use super::labels::Mode;
use super::template::Template;
use crate::evaluation::ask::Asker;
use crate::evaluation::compat::Compat;
use crate::evaluation::task::{Sample, Scores, Task};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Data, and what is compared on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Name in results.
    pub name: String,
    /// Labels of the demonstrations.
    pub modes: Vec<Mode>,
    /// Numbers of demonstrations.
    pub demonstrations: Vec<usize>,
    /// Numbers of templates: `2` is the family's second natural one and the second minimal one.
    pub templates: Vec<usize>,
    /// Seeds of demonstrations and labels; everything is asked once with each.
    pub seeds: Vec<u64>,
    /// Examples asked, as many of each class as of any other.
    pub examples: usize,
    /// Which examples these are.
    pub split_seed: u64,
    /// Whether defects of the original are kept.
    pub compat: Compat,
    /// The data.
    pub data: DataOptions,
}

impl Default for Options {
    /// Kinds of labels, numbers of demonstrations and templates are those of the paper, but that letters alone stand
    /// for abstract labels.
    fn default() -> Self {
        Options {
            name: "in-context".into(),
            modes: vec![Mode::Gold, Mode::Random, Mode::Letter],
            demonstrations: vec![8, 16, 32],
            templates: vec![1, 2, 3],
            seeds: vec![0],
            examples: 100,
            split_seed: 0,
            compat: Compat::default(),
            data: DataOptions::default(),
        }
    }
}

impl Options {
    /// # Errors
    /// [`Error::Config`] for an empty list, an empty path, labels without their data, or a template that does not
    /// exist.
    pub fn validate(&self) -> Result<()> {
        let empty = [
            ("modes", self.modes.is_empty()),
            ("demonstrations", self.demonstrations.is_empty()),
            ("templates", self.templates.is_empty()),
            ("seeds", self.seeds.is_empty()),
            ("examples", self.examples == 0),
            ("data.path", self.data.path.as_os_str().is_empty()),
        ];
        if let Some((key, _)) = empty.iter().find(|(_, empty)| *empty) {
            return Err(Error::config(*key, "expected at least one, found none"));
        }
        let (family, labels) = self.data.resolve()?;
        let words = labels.into_iter().map(|label| label.word).collect();
        let pair = self.data.columns.second.is_some();
        let families = Template::families();
        if !families.contains(&family.as_str()) {
            let what = format!("expected one of {}, found {family}", families.join(", "));
            return Err(Error::config("data.family", what));
        }
        let data = Dataset { family, words, pair, examples: Vec::new(), test: None, sources: Vec::new() };
        for (mode, number) in self.modes.iter().flat_map(|mode| self.templates.iter().map(move |n| (mode, n))) {
            Template::named(&data.template(*mode, *number))?;
        }
        Ok(())
    }
}

/// In-context learning as a task.
#[derive(Clone, Debug)]
pub struct InContext {
    options: Options,
    data: Dataset,
}

impl InContext {
    /// Reads the data.
    ///
    /// # Errors
    /// Those of [`Options::validate`] and [`DataOptions::read`].
    pub fn open(options: Options) -> Result<Self> {
        options.validate()?;
        let data = options.data.read()?;
        Ok(InContext { options, data })
    }

    /// What is asked.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

impl Task for InContext {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn describe(&self) -> Value {
        let deviations = if self.options.compat.is_original() { &[][..] } else { super::DEVIATIONS };
        json!({
            "options": self.options,
            "files": self.data.sources,
            "chance": 1.0 / self.data.words.len() as f64,
            "deviations": deviations,
        })
    }

    /// One sample for each example and setting; the score `accuracy_gold_8` is that of gold labels and 8
    /// demonstrations.
    fn run(&self, asker: &mut Asker<'_>, limit: Option<usize>) -> Result<Vec<Sample>> {
        let plan = plan(&self.data, &self.options, limit)?;
        let answers = answers(asker, &plan)?;
        let sample = |(asked, responses): (&super::experiment::Asked, Vec<_>)| {
            let (chosen, right) = asked.judge(&responses);
            let score = format!("accuracy_{}_{}", asked.cell.mode.name(), asked.cell.demonstrations);
            let chosen = json!(chosen);
            Sample {
                id: format!("{}/{}", asked.id, serde_json::to_string(&asked.cell).unwrap_or_default()),
                document: json!({
                    "cell": asked.cell,
                    "example": asked.id,
                    "labels": asked.labels,
                    "shown": asked.shown,
                }),
                requests: asked.requests(),
                parsed: chosen,
                target: json!(asked.labels.get(asked.right)),
                scores: Scores::from([(score, f64::from(u8::from(right)))]),
                responses,
            }
        };
        Ok(plan.iter().zip(answers).map(sample).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let options: Result<Options, _> = toml::from_str(text);
        options.map_err(|e| e.to_string()).and_then(|o| InContext::open(o).map_err(|e| e.to_string())).unwrap_err()
    }

    #[test]
    fn mistakes_are_told() {
        assert!(wrong("exmples = 3").contains("unknown field `exmples`"));
        assert!(wrong("modes = [\"golden\"]").contains("golden"));
        assert!(wrong("seeds = []").ends_with("seeds: expected at least one, found none"));
        assert!(wrong("[data]\nschema = \"sst2\"").ends_with("data.path: expected at least one, found none"));
        let family = "templates = [4]\n[data]\npath = \"a.csv\"\nschema = \"sst2\"";
        assert!(wrong(family).ends_with("found sentiment4"), "{}", wrong(family));
        assert!(wrong("[data]\npath = \"a.csv\"\nschema = \"sst2\"").contains("a.csv"));
        let labels = "labels = [{value = \"0\", word = \"a\"}, {value = \"1\", word = \"b\"}]";
        let foo = wrong(&format!("[data]\npath = \"a.csv\"\nfamily = \"foo\"\n{labels}"));
        assert!(foo.contains("data.family: expected one of") && foo.ends_with("found foo"), "{foo}");
    }
}
