//! Questions with the passage that answers and passages of other texts, in the row format of KILT.

use super::{Generator, place, stream};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;

/// A passage of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Passage {
    /// The text it is of.
    of: String,
    title: String,
    text: String,
}

/// A question that one passage answers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    text: String,
    answers: Vec<String>,
    /// Place of the passage.
    gold: usize,
}

/// Questions with passages; a unit is a passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passages {
    passages: Vec<Passage>,
    questions: Vec<Question>,
    seed: u64,
    /// Most passages of one question, the one that answers included.
    most: usize,
}

impl Passages {
    /// Of texts (id, title, text) and questions (id of the text, question, answers). Texts are cut into passages of
    /// `words` words; a question stays if a passage of its text holds one of its answers, whatever the case, and the first
    /// such passage is the one that answers.
    ///
    /// # Errors
    /// [`Error::Config`] where no question stays, or there is one text only.
    pub fn new(
        texts: &[(String, String, String)],
        questions: &[(String, String, Vec<String>)],
        words: usize,
        seed: u64,
    ) -> Result<Self> {
        let mut passages = Vec::new();
        let mut lowered = Vec::new();
        for (id, title, text) in texts {
            let all: Vec<&str> = text.split_whitespace().collect();
            for part in all.chunks(words.max(1)) {
                let text = part.join(" ");
                lowered.push(text.to_lowercase());
                passages.push(Passage { of: id.clone(), title: title.clone(), text });
            }
        }
        let holds = |text: &str, answers: &[String]| answers.iter().any(|answer| text.contains(&answer.to_lowercase()));
        let question = |(id, text, answers): &(String, String, Vec<String>)| {
            let bare = |answer: &String| answer.trim().trim_end_matches('.').to_string();
            let bare: Vec<String> = answers.iter().map(bare).filter(|answer| !answer.is_empty()).collect();
            let mut own = passages.iter().zip(&lowered).enumerate().filter(|(_, (passage, _))| passage.of == *id);
            let gold = own.find(|(_, (_, text))| holds(text, &bare)).map(|(place, _)| place)?;
            Some(Question { text: text.clone(), answers: answers.clone(), gold })
        };
        let questions: Vec<Question> = questions.iter().filter_map(question).collect();
        if questions.is_empty() {
            return Err(Error::config("questions", "expected one whose answer is in its text, found none"));
        }
        let longest = |id: &String| passages.iter().filter(|passage| passage.of == *id).count();
        let own = texts.iter().map(|(id, ..)| longest(id)).max().unwrap_or(0);
        let most = passages.len() - own + 1;
        if most < 2 {
            return Err(Error::config("passages", "expected at least two texts, found one"));
        }
        Ok(Passages { passages, questions, seed, most })
    }

    /// Of two files of rows: texts with `id`, `text` and perhaps `title`; questions with `question`, `answers` and
    /// `passage_id`.
    ///
    /// # Errors
    /// [`Error::Format`] with file, row and field; as [`Passages::new`].
    pub fn read(texts: &Path, questions: &Path, words: usize, seed: u64) -> Result<Self> {
        let mut found = Vec::new();
        for row in super::super::data::read(texts)? {
            let id = row.key("id")?;
            let title = row.get("title").map(|_| row.text("title")).transpose()?;
            found.push((id.clone(), title.map_or(format!("Text {id}"), String::from), row.text("text")?.into()));
        }
        let mut asked = Vec::new();
        for row in super::super::data::read(questions)? {
            asked.push((row.key("passage_id")?, row.text("question")?.into(), row.texts("answers")?));
        }
        Self::new(&found, &asked, words, seed)
    }

    /// How many questions there are.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there are none: never.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }
}

impl Generator for Passages {
    fn dataset(&self) -> &str {
        "kilt_nq"
    }

    fn units(&self) -> (usize, usize) {
        (1, self.most)
    }

    fn row(&self, number: usize, units: usize, depth: f64) -> Result<Value> {
        let questions = self.questions.len();
        // Questions in a random order, the same for every length.
        let order = crate::evaluation::helmet::sampling::shuffled(questions, self.seed);
        let question = order
            .get(number)
            .and_then(|place| self.questions.get(*place))
            .ok_or_else(|| Error::config("questions", format!("expected at most {questions}, found {}", number + 1)))?;
        if !(1..=self.most).contains(&units) {
            return Err(Error::config("units", format!("expected 1 to {} passages, found {units}", self.most)));
        }
        let gold = self.passages.get(question.gold);
        let own = gold.map_or("", |gold| gold.of.as_str());
        let mut others: Vec<&Passage> = self.passages.iter().filter(|passage| passage.of != own).collect();
        stream("passages", self.seed, number).shuffle(&mut others);
        others.truncate(units - 1);
        if let Some(gold) = gold {
            others.insert(place(depth, units), gold);
        }
        let passage = |passage: &&Passage| {
            let gold = gold.is_some_and(|gold| std::ptr::eq(gold, *passage));
            json!({"id": passage.of, "title": passage.title, "text": passage.text, "gold": gold})
        };
        Ok(json!({
            "id": number.to_string(),
            "question": question.text,
            "answers": question.answers,
            "ctxs": others.iter().map(passage).collect::<Vec<_>>(),
            "depth": depth,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrative_texts_at_hand_make_rows() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/qa");
        let (texts, questions) =
            (shared.join("narrativeqa_passages.jsonl"), shared.join("narrativeqa_questions.jsonl"));
        if !texts.is_file() {
            println!("not tried: {}: absent", texts.display());
            return;
        }
        let passages = Passages::read(&texts, &questions, 100, 42).unwrap();
        assert!(passages.len() > 50, "{}", passages.len());
        let row = passages.row(3, 9, 0.5).unwrap();
        let ctxs = row["ctxs"].as_array().unwrap();
        assert_eq!(ctxs.len(), 9);
        assert_eq!(ctxs.iter().position(|passage| passage["gold"] == true), Some(4));
        // The others are the same in a longer context.
        let longer = passages.row(3, 20, 0.0).unwrap();
        let in_longer = |passage: &Value| longer["ctxs"].as_array().unwrap().contains(passage);
        assert!(ctxs.iter().all(in_longer));
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let text = |id: &str| (id.to_string(), "t".to_string(), "a b c".to_string());
        let question = |answer: &str| ("1".to_string(), "q".to_string(), vec![answer.to_string()]);
        let told = |texts: &[_], answer: &str| Passages::new(texts, &[question(answer)], 2, 1).unwrap_err().to_string();
        assert!(told(&[text("1"), text("2")], "x").contains("expected one whose answer is in its text"));
        assert!(told(&[text("1")], "B").contains("expected at least two texts"));
        let passages = Passages::new(&[text("1"), text("2")], &[question("B")], 2, 1).unwrap();
        assert!(passages.row(1, 1, 0.0).unwrap_err().to_string().contains("expected at most 1, found 2"));
        assert!(passages.row(0, 4, 0.0).unwrap_err().to_string().contains("expected 1 to 3 passages"));
    }
}
