//! The task with scripted answers.

use super::*;
use crate::evaluation::backend::{Backend, Tell};
use crate::evaluation::store::Store;
use std::cell::RefCell;
use std::path::PathBuf;

/// Answers by a rule on the prompt and the seed, and keeps the prompts.
struct Scripted<F> {
    rule: F,
    prompts: RefCell<Vec<String>>,
}

impl<F: Fn(&str, u64) -> String> Backend for Scripted<F> {
    fn identity(&self) -> &str {
        "scripted"
    }

    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
        for (place, request) in requests.iter().enumerate() {
            let Request::Generate { prompt, decoding } = request else { panic!("only texts are asked for") };
            let text = match prompt {
                Prompt::Text(text) => text.clone(),
                Prompt::Chat(turns) => turns.last().unwrap().content.clone(),
            };
            tell(place, Response::Text { text: (self.rule)(&text, decoding.seed) })?;
            self.prompts.borrow_mut().push(text);
        }
        Ok(())
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let docs = json!([
            {"title": "Rain", "text": "Rain falls in the town."},
            {"title": "Moose", "text": "The moose is the largest deer.", "summary": "Moose: irrelevant"},
        ]);
        let row = |question: &str, answer: &str| {
            json!({"sample_id": question, "question": question, "docs": docs,
                   "qa_pairs": [{"question": question, "short_answers": [answer]}]})
        };
        folder.write("asqa.json", &json!([row("What is a moose?", "deer"), row("Where is rain?", "town")]));
        let prompts = json!({
            "instruction": "Answer.", "demo_sep": "\n\n", "demo_prompt": "{INST}\nQuestion: {Q}\n{D}\nAnswer: {A}",
            "doc_prompt": "[{ID}] {T}: {P}\n", "demos": [{"question": "d", "answer": " e [1].", "docs": docs}]
        });
        folder.write("asqa_default.json", &prompts);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.path(name), value.to_string()).unwrap();
    }

    fn options(&self, more: Value) -> Options {
        let mut options = json!({
            "data": self.path("asqa.json"), "prompts": self.path("asqa_default.json"), "shots": 1,
            "entailment": {"kind": "lexical"}
        });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(options).unwrap()
    }

    fn run(&self, more: Value, rule: impl Fn(&str, u64) -> String) -> (Vec<Sample>, Vec<String>, Scores) {
        let task = Alce::open(self.options(more)).unwrap();
        let backend = Scripted { rule, prompts: RefCell::default() };
        let mut store = Store::in_memory();
        let samples = task.run(&mut Asker::new(&backend, &mut store), None).unwrap();
        let overall = task.overall(&samples);
        (samples, backend.prompts.into_inner(), overall)
    }
}

/// The question that is asked last.
fn asked(prompt: &str) -> &str {
    prompt.rsplit("Question: ").next().unwrap().split('\n').next().unwrap()
}

#[test]
fn answers_are_asked_for_and_scored() {
    let folder = Folder::new();
    let answer = |prompt: &str, _: u64| match asked(prompt).contains("moose") {
        true => " A moose is the largest deer [2].\nMore.".to_string(),
        false => " In the town [2].".to_string(),
    };
    let (samples, prompts, overall) = folder.run(json!({}), answer);
    assert_eq!(
        prompts[0],
        "Answer.\nQuestion: d\n[1] Rain: Rain falls in the town.\n[2] Moose: The moose is the largest deer.\n\n\
         Answer: e [1].\n\nAnswer.\nQuestion: What is a moose?\n[1] Rain: Rain falls in the town.\n\
         [2] Moose: The moose is the largest deer.\n\nAnswer:"
    );
    let scores = |place: usize, name: &str| samples[place].scores[name];
    assert_eq!(samples[0].id, "What is a moose?");
    assert_eq!([scores(0, "str_em"), scores(0, "citation_rec"), scores(0, "citation_prec")], [100.0; 3]);
    assert_eq!([scores(1, "str_em"), scores(1, "citation_rec"), scores(1, "citation_prec")], [100.0, 0.0, 0.0]);
    assert_eq!(overall, Scores::from([("multiple_citations".into(), 0.0), ("no_statement".into(), 0.0)]));
}

#[test]
fn the_best_of_several_samples_is_scored() {
    let folder = Folder::new();
    let answer = |_: &str, seed: u64| match seed {
        1 => "The moose is the largest deer [2].".to_string(),
        _ => "The moose is the largest deer [1].".to_string(),
    };
    let (samples, prompts, _) = folder.run(json!({"samples": 3, "rerank": "probability"}), answer);
    assert_eq!((prompts.len(), samples[0].requests.len()), (6, 3));
    assert_eq!(samples[0].scores["citation_rec"], 100.0);
}

#[test]
fn documents_can_be_checked_and_searched_for() {
    let folder = Folder::new();
    let answer = |prompt: &str, _: u64| match prompt.rsplit('\n').next().unwrap() {
        "Output:" => " The moose is the largest deer [2].".to_string(),
        _ if prompt.contains("Output:") => "End".to_string(),
        _ => "Search: moose [2]".to_string(),
    };
    for answering in ["check", "search"] {
        let (samples, _, _) = folder.run(json!({"answering": answering}), answer);
        assert_eq!(samples[0].parsed["answer"], "The moose is the largest deer [2].");
        assert_eq!(samples[0].parsed["shown"], json!([[[1]]]));
        assert_eq!(samples[0].responses.len(), 3);
        assert_eq!(samples[0].scores["citation_rec"], 100.0);
    }
}

#[test]
fn citations_are_put_in_after_a_closed_book() {
    let folder = Folder::new();
    let verdicts = folder.path("verdicts.json");
    let more = json!({"documents": 0, "post_hoc": "missing", "verdicts": verdicts, "chat": true});
    let (samples, prompts, _) = folder.run(more, |_, _| "The moose is the largest deer.".to_string());
    assert!(!prompts[0].contains("[1] Rain"));
    assert_eq!(samples[0].parsed["answer"], "[2] The moose is the largest deer.");
    assert_eq!(samples[0].scores["citation_rec"], 100.0);
    assert!(std::fs::read_to_string(verdicts).unwrap().contains("largest deer"));
}

#[test]
fn documents_can_come_from_a_collection() {
    let folder = Folder::new();
    let collection = folder.path("collection.jsonl");
    std::fs::write(&collection, "{\"text\": \"A moose is an elk.\"}\n{\"text\": \"Rain is wet.\"}\n").unwrap();
    let (samples, prompts, _) =
        folder.run(json!({"collection": collection, "shots": 0}), |_, _| "A moose is an elk [1].".to_string());
    assert!(prompts[0].contains("[1] : A moose is an elk.") && !prompts[0].contains("Rain"));
    assert_eq!(samples[0].scores["citation_rec"], 100.0);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let folder = Folder::new();
    let error = |more: Value| Alce::open(folder.options(more)).err().unwrap().to_string();
    assert!(error(json!({"samples": 2})).contains("rerank: expected a way"));
    assert!(error(json!({"answering": "check", "documents": 0})).contains("documents: expected at least 1"));
    assert!(error(json!({"answering": "search", "documents": 0})).contains("all_documents"));
    assert!(error(json!({"passages": "summary", "post_hoc": "missing"})).contains("passages: expected text"));
    assert!(error(json!({"data": folder.path("nowhere/asqa.json")})).contains("nowhere"));
    let unknown = json!({"data": "a", "prompts": "b", "entailment": {"kind": "lexical"}, "colour": "red"});
    let unknown = serde_json::from_value::<Options>(unknown).unwrap_err().to_string();
    assert!(unknown.contains("unknown field `colour`"), "{unknown}");
    let task = Alce::open(folder.options(json!({"shots": 2}))).unwrap();
    let backend = Scripted { rule: |_: &str, _| String::new(), prompts: RefCell::default() };
    let shots = task.run(&mut Asker::new(&backend, &mut Store::in_memory()), None).unwrap_err().to_string();
    assert!(shots.contains("shots: expected at most 1, found 2"), "{shots}");
}
