//! Prompts built of the files that ALCE ships (`prompts/*.json`), read at run time.

use super::data::{Document, Row, Texts};
use crate::evaluation::compat::Compat;
use crate::python::numpy::RandomState;
use crate::python::text::is_space;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a prompt shows of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passages {
    /// The whole passage.
    #[default]
    Text,
    /// Its summary; documents whose summary says that they are irrelevant are left out.
    Summary,
    /// What was extracted of it; left out as with summaries.
    Extraction,
}

impl Passages {
    fn of(self, document: &Document) -> Option<&str> {
        match self {
            Passages::Text => Some(&document.text),
            Passages::Summary => document.summary.as_deref(),
            Passages::Extraction => document.extraction.as_deref(),
        }
    }
}

/// How much of the documents a prompt shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How many documents, at most.
    pub documents: usize,
    /// What of each.
    pub passages: Passages,
}

impl Shown {
    /// The documents to show. The first ones; of summaries and extractions the first that are not irrelevant, up to the
    /// first document that has none, where the first of all is then shown as it is.
    pub fn of<'a>(&self, documents: &'a [Document]) -> Vec<&'a Document> {
        if self.passages == Passages::Text {
            return documents.iter().take(self.documents).collect();
        }
        let mut shown = Vec::new();
        for document in documents {
            match self.passages.of(document) {
                Some(text) if text.contains("irrelevant") || text.contains("Irrelevant") => continue,
                Some(_) => shown.push(document),
                None => {
                    if shown.is_empty() {
                        shown.push(document);
                    }
                    break;
                }
            }
            if shown.len() >= self.documents {
                break;
            }
        }
        shown
    }
}

/// A file of prompts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Prompts {
    /// What to do.
    pub instruction: String,
    /// Between demonstrations.
    pub demo_sep: String,
    /// One example: `{INST}`, `{Q}`, `{D}` (may be absent) and `{A}`.
    pub demo_prompt: String,
    /// One document: `{ID}`, `{T}` and `{P}`.
    pub doc_prompt: String,
    /// Examples with answers.
    pub demos: Vec<Row>,
    /// Whether a text that was put in may be changed by what is put in after it.
    #[serde(skip)]
    compat: Compat,
}

impl Prompts {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`], also where a place to fill is missing.
    pub fn read(file: &Path, compat: Compat) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
        let prompts: Prompts = serde_json::from_str(&text).map_err(|e| Error::format(file, e.to_string()))?;
        let wanted = [
            ("demo_prompt", &prompts.demo_prompt, ["{INST}", "{Q}", "{A}"]),
            ("doc_prompt", &prompts.doc_prompt, ["{ID}", "{T}", "{P}"]),
        ];
        for (name, template, places) in wanted {
            if let Some(place) = places.into_iter().find(|place| !template.contains(place)) {
                return Err(Error::format(file, format!("{name}: expected a place {place}, found none")));
            }
        }
        if let Some(place) = prompts.demos.iter().position(|demo| demo.answer.is_none()) {
            return Err(Error::format(file, format!("demos: row {}: expected an answer, found none", place + 1)));
        }
        Ok(Prompts { compat, ..prompts })
    }

    /// The text of one document at a place, from 0.
    pub fn document(&self, document: &Document, place: usize, passages: Passages) -> String {
        let text = passages.of(document).unwrap_or(&document.text);
        let number = (place + 1).to_string();
        fill(&self.doc_prompt, &[("{T}", &document.title), ("{P}", text), ("{ID}", &number)], self.compat)
    }

    /// Demonstrations `places`, in this order, each followed by the separator.
    ///
    /// # Errors
    /// [`Error::Config`] for a place that is not there.
    pub fn demonstrations(&self, places: &[usize], shown: Shown) -> Result<String> {
        let mut head = String::new();
        for place in places {
            let demo = self.demos.get(*place).ok_or_else(|| {
                Error::config("shots", format!("expected a demonstration below {}, found {place}", self.demos.len()))
            })?;
            head.push_str(&self.unanswered(demo, shown));
            match &demo.answer {
                Some(Texts::One(answer)) => head.push_str(answer),
                Some(Texts::Several(lines)) => lines.iter().for_each(|line| head.extend(["\n", line])),
                None => {}
            }
            head.push_str(&self.demo_sep);
        }
        Ok(head)
    }

    /// A question up to where its answer begins.
    pub fn unanswered(&self, row: &Row, shown: Shown) -> String {
        let template = match shown.documents {
            0 => self.demo_prompt.replace("{D}\n", ""),
            _ => self.demo_prompt.clone(),
        };
        let mut places = vec![("{INST}", self.instruction.as_str()), ("{Q}", row.question.as_str())];
        let mut documents = String::new();
        if shown.documents > 0 {
            let texts = shown.of(&row.docs).into_iter().enumerate();
            documents = texts.map(|(place, document)| self.document(document, place, shown.passages)).collect();
        }
        if shown.documents > 0 {
            places.push(("{D}", &documents));
        }
        places.push(("{A}", ""));
        fill(&template, &places, self.compat).trim_end_matches(is_space).to_string()
    }

    /// Places of `shots` demonstrations, as the original draws them from NumPy's generator.
    ///
    /// # Errors
    /// [`Error::Config`] for more than there are.
    pub fn draw(&self, seed: u32, shots: usize) -> Result<Vec<usize>> {
        let there = self.demos.len();
        if shots > there {
            return Err(Error::config("shots", format!("expected at most {there}, found {shots}")));
        }
        if shots == 0 {
            return Ok(Vec::new());
        }
        RandomState::new(seed).choice(there, shots)
    }
}

/// Puts texts in their places. To the original one after the other, so that a text with `{ID}` in it is changed too.
fn fill(template: &str, places: &[(&str, &str)], compat: Compat) -> String {
    if compat.is_original() {
        return places.iter().fold(template.to_string(), |text, (place, value)| text.replace(place, value));
    }
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    // The leftmost place that is left; texts put in are not looked at again.
    while let Some((start, place, value)) = places
        .iter()
        .filter_map(|(place, value)| Some((rest.find(place)?, place, value)))
        .min_by_key(|(start, ..)| *start)
    {
        filled.push_str(&rest[..start]);
        filled.push_str(value);
        rest = &rest[start + place.len()..];
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;
    use tesseral_datasets::files::sha256;

    fn passages(value: &serde_json::Value) -> Passages {
        serde_json::from_value(value.clone()).ok().flatten().unwrap_or_default()
    }

    #[test]
    fn golden_prompts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/alce");
        for case in golden::cases("alce/run_prompts.json") {
            let file = root.join(case["prompt_file"].as_str().unwrap());
            if !file.exists() {
                println!("skipped: {} is not here", file.display());
                continue;
            }
            let prompts = Prompts::read(&file, Compat::Original).unwrap();
            let number = |key: &str| case[key].as_u64().unwrap() as usize;
            let drawn = prompts.draw(number("seed") as u32, number("shot")).unwrap();
            assert_eq!(serde_json::json!(drawn), case["demo_ids"]);
            let shown = Shown { documents: number("ndoc"), passages: passages(&case["use_shorter"]) };
            let row = &prompts.demos[number("eval_item_is_demo")];
            let build =
                |prompts: &Prompts| prompts.demonstrations(&drawn, shown).unwrap() + &prompts.unanswered(row, shown);
            let prompt = build(&prompts);
            if let Some(expected) = case["prompt"].as_str() {
                assert_eq!(prompt, expected, "{}", file.display());
            }
            let digest = sha256(prompt.as_bytes());
            assert_eq!(digest, case["prompt_sha256"].as_str().unwrap(), "{}", file.display());
            // No text of these files holds a place, so mending changes nothing.
            assert_eq!(build(&Prompts { compat: Compat::Mended, ..prompts.clone() }), prompt);
        }
    }

    #[test]
    fn golden_shorter_texts() {
        for case in golden::cases("alce/get_shorter_text.json") {
            let documents: Vec<Document> = serde_json::from_value(case["docs"].clone()).unwrap();
            let shown = Shown { documents: case["ndoc"].as_u64().unwrap() as usize, passages: passages(&case["key"]) };
            let found = shown.of(&documents);
            let titles: Vec<&str> = found.iter().map(|document| document.title.as_str()).collect();
            assert_eq!(serde_json::json!(titles), case["returned_titles"]);
            let prompts = toy(Compat::Original);
            let text: String =
                found.iter().enumerate().map(|(place, d)| prompts.document(d, place, shown.passages)).collect();
            assert_eq!(text, case["docs_prompt"].as_str().unwrap());
        }
    }

    fn toy(compat: Compat) -> Prompts {
        let text = r#"{"instruction": "I", "demo_sep": "|", "demo_prompt": "{INST} {Q}\n{D}\nAnswer: {A}",
                       "doc_prompt": "Document [{ID}](Title: {T}): {P}\n", "demos": []}"#;
        Prompts { compat, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn a_passage_with_a_place_in_it_is_changed_by_the_original_only() {
        let document = Document { title: "{P}".into(), text: "{ID} {T}".into(), ..Document::default() };
        let text = |compat| toy(compat).document(&document, 6, Passages::Text);
        assert_eq!(text(Compat::Original), "Document [7](Title: 7 {T}): 7 {T}\n");
        assert_eq!(text(Compat::Mended), "Document [7](Title: {P}): {ID} {T}\n");
    }

    #[test]
    fn a_file_must_have_places_answers_and_enough_demonstrations() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.json");
        let good = r#"{"instruction": "", "demo_sep": "", "demo_prompt": "{INST}{Q}{A}", "doc_prompt": "{ID}{T}{P}",
                       "demos": [{"question": "q", "answer": "a"}]}"#;
        std::fs::write(&file, good).unwrap();
        let prompts = Prompts::read(&file, Compat::Mended).unwrap();
        assert!(prompts.draw(1, 2).unwrap_err().to_string().contains("expected at most 1, found 2"));
        for (from, to, expected) in [
            ("{Q}", "", "demo_prompt: expected a place {Q}"),
            ("{T}", "", "doc_prompt: expected a place {T}"),
            (r#", "answer": "a""#, "", "demos: row 1: expected an answer"),
        ] {
            std::fs::write(&file, good.replace(from, to)).unwrap();
            let error = Prompts::read(&file, Compat::Mended).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
