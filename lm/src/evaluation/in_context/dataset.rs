//! Data of a classification task: a CSV or JSON lines file whose columns and labels are told.

use super::template::Content;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tesseral_datasets::files::sha256;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Number of the row in its file, from 0.
    pub id: String,
    /// What is classified.
    pub content: Content,
    /// Its class: the place of its label.
    pub class: usize,
}

/// Labels and templates of a data set that the paper uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Its natural templates are `family1`, `family2` and so on.
    pub family: String,
    /// Label words in the order of the label numbers in its files.
    pub labels: Vec<String>,
    /// Whether two sentences are classified together.
    #[serde(default)]
    pub pair: bool,
    default_template: Option<String>,
}

#[derive(Deserialize)]
struct Schemas {
    schema: Vec<Schema>,
}

// An error in the included file is an empty table here, and tests of this module fail.
static SCHEMAS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
    let file = toml::from_str::<Schemas>(include_str!("schemas.toml"));
    file.map(|file| file.schema.into_iter().map(|s| (s.name.clone(), s)).collect()).unwrap_or_default()
});

impl Schema {
    /// All of them, by name.
    pub fn all() -> &'static BTreeMap<String, Schema> {
        &SCHEMAS
    }

    /// The schema of a name.
    ///
    /// # Errors
    /// [`Error::Config`] with all names, where there is none.
    pub fn named(name: &str) -> Result<&'static Self> {
        SCHEMAS.get(name).ok_or_else(|| {
            let known: Vec<&str> = SCHEMAS.keys().map(String::as_str).collect();
            Error::config("data.schema", format!("expected one of {}, found {name}", known.join(", ")))
        })
    }

    /// The template that is taken where none is asked for.
    pub fn default_template(&self) -> String {
        self.default_template.clone().unwrap_or_else(|| format!("{}1", self.family))
    }
}

/// A label as the file has it and as prompts tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// In the file.
    pub value: String,
    /// In prompts.
    pub word: String,
}

/// Names of columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The text, or the first of a pair.
    pub text: String,
    /// The second text of a pair; none: there are no pairs.
    pub second: Option<String>,
    /// The label.
    pub label: String,
}

impl Default for Columns {
    fn default() -> Self {
        Columns { text: "text".into(), second: None, label: "label".into() }
    }
}

/// Where a data set is and how it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// `.csv` or `.jsonl`: demonstrations, and the examples asked unless `test` is given.
    pub path: PathBuf,
    /// The examples asked.
    pub test: Option<PathBuf>,
    /// Names of columns.
    pub columns: Columns,
    /// A data set of the paper: its family and labels, whose values are numbers from 0.
    pub schema: Option<String>,
    /// Without `schema`: its natural templates are `family1`, `family2` and so on.
    pub family: Option<String>,
    /// Without `schema`: all labels, in order.
    pub labels: Vec<Label>,
    /// Only so many rows of a file, the first (the original: 500); none: all.
    pub rows: Option<usize>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Where.
    pub path: PathBuf,
    /// Of its bytes.
    pub sha256: String,
    /// Rows used.
    pub rows: usize,
}

/// A data set in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its natural templates are `family1`, `family2` and so on.
    pub family: String,
    /// Label words, one a class.
    pub words: Vec<String>,
    /// Whether two texts are classified together.
    pub pair: bool,
    /// Rows of the data file.
    pub examples: Vec<Example>,
    /// Rows of the test file, if there is one.
    pub test: Option<Vec<Example>>,
    /// The files.
    pub sources: Vec<Source>,
}

impl DataOptions {
    /// Labels (value and word) and family, of the schema or as they are given.
    ///
    /// # Errors
    /// [`Error::Config`] for both or neither, fewer than two labels, or a value or word that comes twice.
    pub fn resolve(&self) -> Result<(String, Vec<Label>)> {
        let fail = |key: &str, what: String| Err(Error::config(format!("data.{key}"), what));
        let (family, labels) = match (&self.schema, &self.family) {
            (Some(name), None) if self.labels.is_empty() => {
                let schema = Schema::named(name)?;
                if schema.pair != self.columns.second.is_some() {
                    let expected = if schema.pair { "the second text's column" } else { "no second column" };
                    return fail("columns.second", format!("expected {expected} for {name}, found otherwise"));
                }
                let label = |(k, word): (usize, &String)| Label { value: k.to_string(), word: word.clone() };
                (schema.family.clone(), schema.labels.iter().enumerate().map(label).collect())
            }
            (None, Some(family)) => (family.clone(), self.labels.clone()),
            (schema, family) => {
                let found = format!("schema {schema:?}, family {family:?}, {} labels", self.labels.len());
                return fail("schema", format!("expected a schema alone, or a family and labels, found {found}"));
            }
        };
        if labels.len() < 2 {
            return fail("labels", format!("expected at least 2, found {}", labels.len()));
        }
        for (k, label) in labels.iter().enumerate() {
            if labels.iter().take(k).any(|other| other.value == label.value || other.word == label.word) {
                return fail("labels", format!("expected each value and word once, found {label:?} again"));
            }
        }
        Ok((family, labels))
    }

    /// Reads the files.
    ///
    /// # Errors
    /// Those of [`Self::resolve`]; [`Error::Io`]; [`Error::Format`] names file, row and column.
    pub fn read(&self) -> Result<Dataset> {
        let (family, labels) = self.resolve()?;
        let (examples, source) = self.read_file(&self.path, &labels)?;
        let mut sources = vec![source];
        let mut test = None;
        if let Some(path) = &self.test {
            let (examples, source) = self.read_file(path, &labels)?;
            sources.push(source);
            test = Some(examples);
        }
        let words = labels.into_iter().map(|label| label.word).collect();
        Ok(Dataset { family, words, pair: self.columns.second.is_some(), examples, test, sources })
    }

    fn read_file(&self, path: &Path, labels: &[Label]) -> Result<(Vec<Example>, Source)> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let second = self.columns.second.as_deref();
        let names: Vec<&str> = [self.columns.text.as_str(), &self.columns.label].into_iter().chain(second).collect();
        let rows = match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => csv_rows(path, &bytes, &names, self.rows)?,
            Some("jsonl") => json_rows(path, &bytes, &names, self.rows)?,
            _ => return Err(Error::format(path, "expected a file that ends in .csv or .jsonl")),
        };
        let class = |value: &str| labels.iter().position(|label| label.value == value);
        let example = |(number, row): (usize, Vec<String>)| {
            let mut fields = row.into_iter();
            let mut next = || fields.next().unwrap_or_default();
            let (text, value) = (next(), next());
            let class = class(&value).ok_or_else(|| {
                let known: Vec<&str> = labels.iter().map(|label| label.value.as_str()).collect();
                let what = format!("{}: expected one of {}, found {value}", self.columns.label, known.join(", "));
                Error::format(path, format!("row {}: {what}", number + 1))
            })?;
            if text.trim().is_empty() {
                let what = format!("row {}: {}: expected a text, found nothing", number + 1, self.columns.text);
                return Err(Error::format(path, what));
            }
            let content = if second.is_some() { Content::Pair(text, next()) } else { Content::One(text) };
            Ok(Example { id: number.to_string(), content, class })
        };
        let examples = rows.into_iter().enumerate().map(example).collect::<Result<Vec<_>>>()?;
        let sha256 = sha256(&bytes);
        let source = Source { path: path.into(), sha256, rows: examples.len() };
        Ok((examples, source))
    }
}

/// The named columns of each row.
fn csv_rows(path: &Path, bytes: &[u8], names: &[&str], limit: Option<usize>) -> Result<Vec<Vec<String>>> {
    let mut reader = csv::Reader::from_reader(bytes);
    let wrong = |e: csv::Error| Error::format(path, e.to_string());
    let header = reader.headers().map_err(wrong)?;
    let place = |name: &&str| {
        header.iter().position(|found| found == *name).ok_or_else(|| {
            let found: Vec<&str> = header.iter().collect();
            Error::format(path, format!("expected a column {name}, found {}", found.join(", ")))
        })
    };
    let places = names.iter().map(place).collect::<Result<Vec<_>>>()?;
    let row = |record: csv::Result<csv::StringRecord>| {
        let record = record.map_err(wrong)?;
        Ok(places.iter().map(|place| record.get(*place).unwrap_or_default().to_string()).collect())
    };
    reader.records().take(limit.unwrap_or(usize::MAX)).map(row).collect()
}

/// The named fields of each line; numbers and truth values as JSON writes them.
fn json_rows(path: &Path, bytes: &[u8], names: &[&str], limit: Option<usize>) -> Result<Vec<Vec<String>>> {
    let text = std::str::from_utf8(bytes).map_err(|e| Error::format(path, e.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        let fail = |what: String| Error::format(path, format!("line {}: {what}", number + 1));
        let value: Value = serde_json::from_str(line).map_err(|e| fail(e.to_string()))?;
        let field = |name: &&str| match value.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other @ (Value::Number(_) | Value::Bool(_))) => Ok(other.to_string()),
            Some(other) => Err(fail(format!("{name}: expected a text or a number, found {other}"))),
            None => Err(fail(format!("expected a field {name}, found none"))),
        };
        names.iter().map(field).collect()
    };
    lines.take(limit.unwrap_or(usize::MAX)).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, options: DataOptions) -> Result<Dataset> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        DataOptions { path, ..options }.read()
    }

    fn two() -> DataOptions {
        let label = |value: &str, word: &str| Label { value: value.into(), word: word.into() };
        let labels = vec![label("neg", "negative"), label("pos", "positive")];
        DataOptions { family: Some("sentiment".into()), labels, ..DataOptions::default() }
    }

    #[test]
    fn csv_and_json_lines_give_the_same_examples() {
        let csv = read("a.csv", "label,x,text\npos,1,\"good, \"\"really\"\"\"\nneg,2,bad\n", two()).unwrap();
        let lines =
            "{\"text\": \"good, \\\"really\\\"\", \"label\": \"pos\"}\n\n{\"label\": \"neg\", \"text\": \"bad\"}\n";
        let json = read("a.jsonl", lines, two()).unwrap();
        assert_eq!(csv.examples, json.examples);
        assert_eq!(csv.examples[0].content, Content::One("good, \"really\"".into()));
        assert_eq!((csv.examples[0].class, csv.examples[1].class, csv.words[1].as_str()), (1, 0, "positive"));
        let first = read("a.csv", "text,label\na,pos\nb,neg\n", DataOptions { rows: Some(1), ..two() }).unwrap();
        assert_eq!(first.examples.len(), 1);
    }

    #[test]
    fn a_schema_of_pairs_reads_numbers() {
        let columns = Columns { text: "sent1".into(), second: Some("sent2".into()), label: "label".into() };
        let options = DataOptions { schema: Some("snli".into()), columns, ..DataOptions::default() };
        let data = read("a.csv", "sent1,sent2,label\nA,B,2\n", options).unwrap();
        assert_eq!(data.examples[0].content, Content::Pair("A".into(), "B".into()));
        assert_eq!((data.examples[0].class, data.words[2].as_str(), data.pair), (2, "No", true));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let message = |name: &str, text: &str| read(name, text, two()).unwrap_err().to_string();
        assert!(
            message("a.csv", "text,label\na,pos\nb,good\n")
                .ends_with("row 2: label: expected one of neg, pos, found good")
        );
        assert!(message("a.csv", "txt,label\n").ends_with("expected a column text, found txt, label"));
        assert!(message("a.csv", "text,label\n ,pos\n").ends_with("row 1: text: expected a text, found nothing"));
        assert!(message("a.jsonl", "{\"text\": \"a\"}\n").ends_with("line 1: expected a field label, found none"));
        assert!(message("a.jsonl", "{").contains("line 1"));
        assert!(message("a.txt", "").ends_with("expected a file that ends in .csv or .jsonl"));
        let options = |change: fn(&mut DataOptions)| {
            let mut options = two();
            change(&mut options);
            options.resolve().unwrap_err().to_string()
        };
        assert!(options(|o| o.schema = Some("sst2".into())).contains("expected a schema alone"));
        assert!(options(|o| o.labels.truncate(1)).contains("data.labels: expected at least 2, found 1"));
        assert!(options(|o| o.labels[1].word = "negative".into()).contains("found Label"));
        let schema = |name: &str| DataOptions { schema: Some(name.into()), ..DataOptions::default() };
        assert!(schema("sst3").resolve().unwrap_err().to_string().contains("found sst3"));
        assert!(schema("snli").resolve().unwrap_err().to_string().contains("the second text's column"));
        assert!(DataOptions { path: "no.csv".into(), ..two() }.read().unwrap_err().to_string().starts_with("no.csv"));
    }
}
