//! Answers written in turns: the model checks documents or searches for one, sees it, writes a sentence, and goes on.
//!
//! A [`Session`] knows what to ask the model next and takes what it says; who asks the model is not its business.

use super::data::{Dataset, Document};
use super::prompt::{Passages, Prompts};
use super::search::Search;
use super::text;
use crate::evaluation::metrics::sentences;
use crate::python::text::{is_space, strip};

/// What ends a turn.
pub const STOP: [&str; 2] = ["\n", "\n\n"];

/// What a model may do with the documents.
#[derive(Clone, Copy)]
pub enum Action<'a> {
    /// Read those whose numbers it writes, at most so many at a time.
    Check(usize),
    /// Search for one.
    Search(&'a dyn Search),
}

/// How a session goes.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Sentences or a list.
    pub dataset: Dataset,
    /// What `Check:` and `Search:` do.
    pub action: Action<'a>,
    /// Most turns.
    pub turns: usize,
    /// The citations that the model writes are replaced by the documents it saw last.
    pub cite_shown: bool,
}

/// An answer in the making.
pub struct Session<'a> {
    rules: Rules<'a>,
    prompts: &'a Prompts,
    documents: &'a [Document],
    /// What was said so far.
    prompt: String,
    /// Shown in the next turn only.
    shown: String,
    answer: String,
    history: Vec<Vec<usize>>,
    turns: usize,
    done: bool,
}

/// What a session came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub output: String,
    /// The documents that were shown at each `Check:` or `Search:`.
    pub history: Vec<Vec<usize>>,
    /// The prompt with all that was said.
    pub prompt: String,
}

impl<'a> Session<'a> {
    /// Starts after a prompt.
    pub fn new(prompt: &str, documents: &'a [Document], prompts: &'a Prompts, rules: Rules<'a>) -> Self {
        Session {
            rules,
            prompts,
            documents,
            prompt: format!("{}\n", prompt.trim_end_matches(is_space)),
            shown: String::new(),
            answer: String::new(),
            history: Vec::new(),
            turns: 0,
            done: rules.turns == 0,
        }
    }

    /// What the model is to continue; `None` once the session is over.
    pub fn prompt(&self) -> Option<String> {
        (!self.done).then(|| format!("{}{}", self.prompt, self.shown))
    }

    /// Takes what the model said.
    pub fn take(&mut self, said: &str) {
        self.turns += 1;
        // "Output:" stood at the end of what was shown.
        let said = if self.shown.is_empty() { said.to_string() } else { format!("Output: {said}") };
        self.shown.clear();
        self.prompt.extend([said.as_str(), "\n"]);
        let lower = said.to_lowercase();
        let begins = |word: &str| strip(&said).to_lowercase().starts_with(word);
        let no_such = lower.contains("relevant document") || lower.contains("relevant information");
        if begins("end") || lower.contains("sorry") && no_such || lower.contains("none of the documents") {
            self.done = true;
        } else if begins("check") || begins("search") {
            let places = self.places(&said);
            let document = |place: &usize| {
                let found = self.documents.get(*place);
                found.map(|document| self.prompts.document(document, *place, Passages::Text))
            };
            self.shown = places.iter().filter_map(document).chain(["Output:".to_string()]).collect();
            self.history.push(places);
        } else if begins("output") {
            let sentence = strip(&strip(&said).replace("Output:", "")).to_string();
            self.answer.extend([" ", &self.cited(sentence)]);
        } else {
            self.done = true;
        }
        self.done |= self.turns >= self.rules.turns;
    }

    /// The documents that an action is about.
    fn places(&self, said: &str) -> Vec<usize> {
        match self.rules.action {
            Action::Search(search) => {
                let query = said.replace("Search:", "").replace("search:", "");
                search.best(strip(&query), self.documents).into_iter().collect()
            }
            Action::Check(most) => {
                let places = text::citations(said).into_iter().filter_map(|place| usize::try_from(place).ok());
                places.filter(|place| *place < self.documents.len()).take(most).collect()
            }
        }
    }

    /// The sentence with the citations that count.
    fn cited(&self, sentence: String) -> String {
        if !self.rules.cite_shown {
            return sentence;
        }
        let sentence = text::remove_citations(&sentence);
        let Some(last) = self.history.last() else { return sentence };
        let marks: String = last.iter().map(|place| format!("[{}]", place + 1)).collect();
        match self.rules.dataset {
            Dataset::Qampari => {
                let parts = sentence.trim_end_matches(is_space).trim_end_matches(',').split(',');
                parts.map(|part| format!("{marks} {}, ", strip(part))).collect()
            }
            _ => {
                let cited = sentences::split(&sentence).into_iter().map(|sentence| format!("{marks} {sentence}"));
                cited.collect::<Vec<_>>().join(" ") + "."
            }
        }
    }

    /// What it came to.
    pub fn finish(self) -> Outcome {
        let answer = match self.rules.dataset {
            Dataset::Qampari => self.answer.trim_end_matches(is_space).trim_end_matches(',').to_string(),
            _ => self.answer,
        };
        Outcome { output: trim(&answer), history: self.history, prompt: self.prompt }
    }
}

/// An answer without what some models write at its end.
pub fn trim(answer: &str) -> String {
    let answer = answer.replace("<|im_end|>", "");
    let answer = answer.trim_end_matches(is_space);
    answer.strip_suffix("End.").unwrap_or(answer).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::alce::search::Shared;
    use crate::evaluation::metrics::golden;
    use serde_json::{Value, json};

    fn prompts() -> Prompts {
        serde_json::from_value(json!({
            "instruction": "", "demo_sep": "", "demo_prompt": "{INST}{Q}{A}", "demos": [],
            "doc_prompt": "Document [{ID}](Title: {T}): {P}\n"
        }))
        .unwrap()
    }

    /// An option as a flag or a number, written as a text or not.
    fn option(case: &Value, key: &str) -> Option<String> {
        let value = case["options"].get(key)?;
        Some(value.as_str().map_or_else(|| value.to_string(), String::from))
    }

    #[test]
    fn golden_sessions() {
        let prompts = prompts();
        for case in golden::cases("alce/interactive.json") {
            let mut documents: Vec<Document> = serde_json::from_value(case["eval_docs"].clone()).unwrap();
            let action = match case["mode"].as_str().unwrap() {
                "search" => Action::Search(&Shared),
                _ => {
                    documents.truncate(case["ndoc"].as_u64().unwrap() as usize);
                    Action::Check(option(&case, "max_doc_show").map_or(3, |most| most.parse().unwrap()))
                }
            };
            let rules = Rules {
                dataset: serde_json::from_value(case["dataset"].clone()).unwrap(),
                action,
                turns: option(&case, "max_turn").map_or(10, |turns| turns.parse().unwrap()),
                cite_shown: option(&case, "force_cite_show").is_some_and(|flag| flag.to_lowercase() == "true"),
            };
            assert_eq!(json!(STOP), case["stops"]);
            let script: Vec<String> = serde_json::from_value(case["script"].clone()).unwrap();
            let mut session = Session::new("Question\n\nAnswer:", &documents, &prompts, rules);
            let tail = |prompt: &str| prompt.strip_prefix("Question\n\n").unwrap().to_string();
            let mut tails = Vec::new();
            for said in script.iter().cycle() {
                let Some(prompt) = session.prompt() else { break };
                tails.push(tail(&prompt));
                session.take(said);
            }
            assert_eq!(json!(tails), case["step_prompt_tails"]);
            let outcome = session.finish();
            assert_eq!(outcome.output, case["output"].as_str().unwrap());
            assert_eq!(json!(outcome.history), case["doc_history"]);
            assert_eq!(tail(&outcome.prompt), case["final_prompt_tail"].as_str().unwrap());
        }
    }

    #[test]
    fn a_session_that_never_ends_is_ended() {
        let prompts = prompts();
        let rules = Rules { dataset: Dataset::Qampari, action: Action::Check(3), turns: 4, cite_shown: true };
        let documents = [Document { title: "t".into(), text: "x".into(), ..Document::default() }];
        let mut session = Session::new("Answer:", &documents, &prompts, rules);
        for said in ["Check: [1][2]", " a [7], b,", "Output: c", "Check: [1]", "Output: d"] {
            if session.prompt().is_some() {
                session.take(said);
            }
        }
        let outcome = session.finish();
        assert_eq!(outcome.output, " [1] a, [1] b,  [1] c");
        assert_eq!(outcome.history, [vec![0], vec![0]]);
        let never = Session::new("Answer:", &documents, &prompts, Rules { turns: 0, ..rules });
        assert!(never.prompt().is_none());
    }
}
