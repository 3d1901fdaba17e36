//! What the original code did, reproduced: every case of `golden/llmbar`, and the stored results of `data/llmbar`.

use super::bias::Bias;
use super::bias::baseline::Baselines;
use super::dataset::{Dataset, Example};
use super::outcome::Outcome;
use super::parse::{Parser, exchange_outputs};
use super::prompt::{Field, Template};
use super::rendering::{falcon, llama2, palm};
use super::replay::Replay;
use super::statistics::{Judged, Statistics};
use super::stored::{self, Tree};
use super::strategy::{STRATEGIES, Strategy};
use super::verdict::Verdict;
use super::winner::{Order, Winner};
use crate::Result;
use crate::evaluation::ask::Asker;
use crate::evaluation::backend::{Backend, Tell};
use crate::evaluation::compat::Compat;
use crate::evaluation::request::{Request, Response};
use crate::evaluation::store::Store;
use crate::python::text::strip;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder of `shared`, or why it is skipped.
fn shared(path: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(path);
    if !folder.exists() {
        println!("skipped: {} is not here", folder.display());
        return None;
    }
    Some(folder)
}

/// Cases of a golden file, or why they are skipped.
fn cases(name: &str) -> Option<Vec<Value>> {
    let given = std::env::var_os("TESSERAL_GOLDEN").map(PathBuf::from);
    let path = match given {
        Some(folder) => folder.join("llmbar").join(name),
        None => shared("golden/llmbar")?.join(name),
    };
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not here", path.display());
        return None;
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    Some(cases)
}

/// Data sets by the names that golden files have for them, read once.
#[derive(Default)]
struct Datasets(RefCell<BTreeMap<String, Dataset>>);

impl Datasets {
    fn example(&self, data: &Path, case: &Value) -> Example {
        let subset = case["subset"].as_str().unwrap();
        let mut read = self.0.borrow_mut();
        let dataset = read
            .entry(subset.into())
            .or_insert_with(|| Dataset::read(&data.join("Dataset/LLMBar").join(subset)).unwrap());
        dataset.examples[case["index"].as_u64().unwrap() as usize].clone()
    }
}

fn winner(value: &Value) -> Option<Winner> {
    serde_json::from_value(value.clone()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn data_sets_are_those_of_the_manifest() {
    let Some(data) = shared("data/llmbar") else { return };
    let Some(golden) = shared("golden/llmbar/dataset_manifest.json") else { return };
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    for file in manifest["files"].as_array().unwrap() {
        let dataset = Dataset::read(&data.join(text(&file["path"]))).unwrap();
        assert_eq!(dataset.sha256, text(&file["sha256"]));
        let ones = dataset.examples.iter().filter(|example| example.label == Winner::First).count();
        assert_eq!((json!(dataset.examples.len()), json!(ones)), (file["n"].clone(), file["label_1"].clone()));
    }
}

#[test]
fn winners_are_parsed_as_the_original_parses_them() {
    let Some(cases) = cases("parse_winner.json") else { return };
    let direct = Parser::new(r"(?:^|\n) ?Output \(a\)", r"(?:^|\n) ?Output \(b\)").unwrap();
    let cot = Parser::new(r"Output \(a\) is better.", r"Output \(b\) is better.").unwrap();
    assert!(direct.is_direct() && !cot.is_direct());
    for case in &cases {
        let output = text(&case["output"]);
        assert_eq!(strip(output), text(&case["stripped"]));
        assert_eq!(
            (direct.winner(output), cot.winner(output)),
            (winner(&case["direct"]), winner(&case["cot"])),
            "{case}"
        );
    }
}

#[test]
fn winners_of_real_completions() {
    let Some(cases) = cases("real_completions.json") else { return };
    for case in &cases {
        let parser = Parser::new(text(&case["regex"]["1"]), text(&case["regex"]["2"])).unwrap();
        let order = if case["swap"] == true { Order::Swapped } else { Order::AsGiven };
        let found = parser.winner(text(&case["completion"])).map(|place| order.turn(place));
        assert_eq!(found, winner(&case["winner"]), "{case}");
    }
}

#[test]
fn explanations_are_exchanged_as_in_the_original() {
    let Some(cases) = cases("reverse_output_ab.json") else { return };
    for case in &cases {
        assert_eq!(exchange_outputs(text(&case["in"])), text(&case["out"]));
    }
}

/// Values of `statistics.json` equal those of a case, texts and numbers in every digit; "NaN" is no number.
fn same_statistics(found: &Statistics, expected: &Value) {
    for (key, found) in found.original() {
        let expected = if expected[&key] == "NaN" { &Value::Null } else { &expected[&key] };
        assert_eq!(&found, expected, "{key}");
    }
}

#[test]
fn statistics_of_made_up_winners() {
    let Some(cases) = cases("aggregate.json") else { return };
    for case in &cases {
        let winners = case["winners"].as_array().unwrap().iter().zip(case["labels"].as_array().unwrap());
        let judged = winners.map(|(pair, label)| Judged {
            winners: [winner(&pair[0]), winner(&pair[1])],
            label: Winner::from_label(label.as_u64().unwrap()).unwrap(),
        });
        same_statistics(&Statistics::of(&judged.collect::<Vec<_>>()), &case["statistics"]);
    }
}

/// Winners that golden files have as one text of 1, 2 and N.
fn judged(case: &Value) -> Vec<Judged> {
    let winners = |key: &str| -> Vec<Option<Winner>> {
        text(&case[key]).chars().map(|c| Winner::from_label(c.to_digit(10).unwrap_or(0).into())).collect()
    };
    let (as_given, swapped, labels) = (winners("winner_noswap"), winners("winner_swap_unswapped"), winners("labels"));
    assert!(as_given.len() == labels.len() && swapped.len() == labels.len() && !labels.is_empty());
    let pairs = as_given.into_iter().zip(swapped).zip(labels);
    pairs.map(|((one, other), label)| Judged { winners: [one, other], label: label.unwrap() }).collect()
}

#[test]
fn statistics_of_every_published_judge() {
    let Some(cases) = cases("replay_statistics.json") else { return };
    for case in &cases {
        same_statistics(&Statistics::of(&judged(case)), &case["statistics"]);
    }
}

/// Prompt of a case, filled with an example and the case's own values.
fn fields<'a>(case: &'a Value, example: &'a Example) -> Vec<Field<'a>> {
    let order = if case["swap"] == true { Order::Swapped } else { Order::AsGiven };
    let mut fields: Vec<Field<'a>> = vec![
        ("input".into(), example.input.as_str().into()),
        ("output_1".into(), example.shown(order, Winner::First).into()),
        ("output_2".into(), example.shown(order, Winner::Second).into()),
    ];
    if let Some(scored) = case["scored_output"].as_u64() {
        fields.push(("output".into(), example.output(Winner::from_label(scored).unwrap()).into()));
    }
    let own = case["vars"].as_object().into_iter().flatten();
    fields.extend(own.map(|(name, value)| (name.as_str().into(), text(value).into())));
    fields
}

#[test]
fn prompts_are_filled_as_in_the_original() {
    let (Some(cases), Some(data)) = (cases("prompt_render.json"), shared("data/llmbar")) else { return };
    let datasets = Datasets::default();
    for case in &cases {
        let example = datasets.example(&data, case);
        let path = data.join("LLMEvaluator/evaluators/prompts").join(text(&case["prompt_file"]));
        let template = Template::read(&path).unwrap();
        for compat in [Compat::Original, Compat::Mended] {
            let messages = template.messages(&fields(case, &example), compat).unwrap();
            assert_eq!(json!(messages), case["messages"], "{}", case["prompt_file"]);
        }
    }
}

#[test]
fn prompts_are_written_out_for_three_other_models() {
    let (Some(cases), Some(data)) = (cases("backend_render.json"), shared("data/llmbar")) else { return };
    let datasets = Datasets::default();
    for case in &cases {
        let example = datasets.example(&data, case);
        let path = data.join("LLMEvaluator/evaluators/prompts").join(text(&case["prompt_file"]));
        let turns = Template::read(&path).unwrap().messages(&fields(case, &example), Compat::Original).unwrap();
        assert_eq!(llama2(&turns).unwrap(), text(&case["llama2"]));
        assert_eq!(falcon(&turns).unwrap(), text(&case["falcon"]));
        // Examples in the prompt are not for PaLM.
        assert_eq!(palm(&turns).ok().as_deref(), case["palm"].as_str());
    }
}

/// Says what it is told to, and keeps what it is asked.
struct Script {
    outputs: Vec<String>,
    said: Cell<usize>,
    asked: RefCell<Vec<Request>>,
}

impl Backend for Script {
    fn identity(&self) -> &str {
        "script"
    }

    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
        for (place, request) in requests.iter().enumerate() {
            let text = self.outputs[self.said.replace(self.said.get() + 1)].clone();
            self.asked.borrow_mut().push(request.clone());
            tell(place, Response::Text { text })?;
        }
        Ok(())
    }
}

#[test]
fn strategies_ask_what_the_original_asks() {
    let (Some(cases), Some(data)) = (cases("annotate_flow.json"), shared("data/llmbar")) else { return };
    let datasets = Datasets::default();
    for case in &cases {
        let (llm, name) = text(&case["evaluator"]).split_once('/').unwrap();
        let strategy = Strategy::open(&data.join("LLMEvaluator/evaluators"), llm, name).unwrap();
        let example = datasets.example(&data, case);
        let outputs = case["scripted_outputs"].as_array().unwrap().iter().map(|output| text(output).into()).collect();
        let script = Script { outputs, said: Cell::new(0), asked: RefCell::default() };
        let mut store = Store::in_memory();
        let mut asker = Asker::new(&script, &mut store);
        let examples = std::slice::from_ref(&example);
        let judgements = strategy.judge(&mut asker, examples, Verdict::Text, Compat::Original).unwrap();
        assert_eq!(json!(judgements[0].outcomes), case["results"], "{}", case["evaluator"]);

        let calls = case["calls"].as_array().unwrap();
        let prompts = strategy.prompts(&example, &judgements[0].outcomes).unwrap();
        assert_eq!(prompts.len(), calls.len());
        for ((prompt, call), response) in prompts.iter().zip(calls).zip(&judgements[0].responses) {
            assert_eq!(tesseral_datasets::files::sha256(prompt.as_bytes()), text(&call["prompt_sha256"]));
            assert!(call["prompt"].is_null() || *prompt == text(&call["prompt"]));
            assert_eq!(response.text(), text(&call["output"]));
        }
        assert_eq!(*script.asked.borrow(), judgements[0].requests);
        assert_eq!(script.said.get(), calls.len());
    }
}

#[test]
fn every_strategy_of_every_judge_opens() {
    let Some(data) = shared("data/llmbar") else { return };
    let evaluators = data.join("LLMEvaluator/evaluators");
    let mut opened = 0;
    for llm in ["GPT-4", "ChatGPT", "ChatGPT-0301", "LLaMA2", "Falcon", "PaLM2"] {
        for name in STRATEGIES {
            if evaluators.join(format!("config/{llm}/{name}.json")).exists() {
                let strategy = Strategy::open(&evaluators, llm, name).unwrap();
                assert!(strategy.modules.iter().all(|module| module.generation.max_tokens >= 50));
                opened += 1;
            }
        }
    }
    let files = std::fs::read_dir(evaluators.join("config")).unwrap();
    let files: usize = files.map(|llm| std::fs::read_dir(llm.unwrap().path()).unwrap().count()).sum();
    assert_eq!(opened, files);
}

#[test]
fn stored_results_are_reproduced_exactly() {
    let Some(data) = shared("data/llmbar") else { return };
    let replay = Replay::of(&data, None).unwrap();
    assert!(replay.is_exact(), "{:?}", replay.differences);
    assert!(replay.files > 0 && replay.statistics == replay.files && replay.statistics_equal == replay.files);
    assert!(replay.completions > 0 && replay.winners_equal == replay.completions);
    let row = replay.table.iter().find(|row| row.llm == "ChatGPT" && row.strategy == "Vanilla_NoRules").unwrap();
    // Of the paper's table.
    for (subset, accuracy, agreement) in [("Natural", 79.0, 68.0), ("Manual", 37.0, 47.8)] {
        let cell = row.subsets[subset];
        assert!((cell.accuracy * 100.0 - accuracy).abs() < 0.051 && (cell.agreement * 100.0 - agreement).abs() < 0.051);
    }
}

#[test]
fn debates_are_asked_as_they_were() {
    let Some(data) = shared("data/llmbar") else { return };
    let mut compared = 0;
    for result in Tree::walk(&data).unwrap().results.iter().filter(|result| result.strategy.starts_with("Swap")) {
        let strategy = Strategy::open(&data.join("LLMEvaluator/evaluators"), &result.llm, &result.strategy).unwrap();
        let bytes = std::fs::read(result.path.join("result.json")).unwrap();
        let pairs: Vec<stored::Pair<'_>> = serde_json::from_slice(&bytes).unwrap();
        let values: Value = serde_json::from_slice(&bytes).unwrap();
        for (pair, value) in pairs.iter().zip(values.as_array().unwrap()) {
            let outputs = [pair.output_1.to_string(), pair.output_2.to_string()];
            let label = Winner::from_label(pair.label).unwrap();
            let example = Example { input: pair.input.to_string(), outputs, label };
            let [stored::Outcome::Comparison { completions, winners }, _] = pair.results.as_slice() else { continue };
            let answer = |place: usize| super::outcome::Answer {
                completion: completions[place].to_string(),
                winner: winners[place],
                log_odds: None,
            };
            let prompts = strategy.prompts(&example, &[Outcome::Comparison([answer(0), answer(1)])]).unwrap();
            for (prompt, order) in prompts[2..].iter().zip(["swap = False", "swap = True"]) {
                assert_eq!(prompt, text(&value["results"][1][order]["prompt"]));
                compared += 1;
            }
        }
    }
    assert!(compared > 0);
}

#[test]
fn simple_rules_score_as_measured() {
    let Some(data) = shared("data/llmbar") else { return };
    // Accuracies in percent of the rules, as measured with Python (specs/lm-evaluation.md, 5.2).
    for (subset, longer, overlap) in [
        ("Natural", 55.0, 55.0),
        ("Adversarial/Neighbor", 13.4, 59.3),
        ("Adversarial/GPTInst", 16.3, 63.0),
        ("Adversarial/GPTOut", 44.7, 31.9),
        ("Adversarial/Manual", 19.6, 27.2),
    ] {
        let dataset = Dataset::read(&data.join("Dataset/LLMBar").join(subset)).unwrap();
        let found = Baselines::of(&dataset.examples);
        assert_eq!(((found.longer * 1e3).round() / 10.0, (found.overlap * 1e3).round() / 10.0), (longer, overlap));
    }
}

#[test]
fn published_judges_lean_as_measured() {
    let (Some(cases), Some(data)) = (cases("replay_statistics.json"), shared("data/llmbar")) else { return };
    let dataset = Dataset::read(&data.join("Dataset/LLMBar/Adversarial/Neighbor")).unwrap();
    // Percent of verdicts for the longer output (specs/lm-evaluation.md, 5.2).
    let measured = [("GPT-4", 46.2), ("PaLM2", 50.8), ("Falcon", 58.8), ("ChatGPT", 75.4), ("LLaMA2", 85.0)];
    let of = |case: &&Value| case["strategy"] == "Vanilla_NoRules" && case["subset"] == "Adversarial/Neighbor";
    for case in cases.iter().filter(of) {
        let Some((_, longer)) = measured.iter().find(|(llm, _)| case["llm"] == *llm) else { continue };
        let mut tally = super::bias::Tally::default();
        for (judged, example) in judged(case).iter().zip(&dataset.examples) {
            let words = example.outputs.each_ref().map(|output| super::bias::words(output));
            tally.count(judged.winners, judged.label, words, true);
        }
        assert_eq!((tally.shares().longer.unwrap() * 1e3).round() / 10.0, *longer, "{}", case["llm"]);
    }
}

#[test]
fn stored_judges_have_a_bias_report() {
    let Some(data) = shared("data/llmbar") else { return };
    let bias = Bias::of(&data).unwrap();
    assert!(bias.baselines.contains_key("Neighbor") && bias.baselines.contains_key("CaseStudy/Base_9"));
    let row = bias.judges.iter().find(|row| row.llm == "ChatGPT" && row.strategy == "Vanilla_NoRules").unwrap();
    let rated = bias.judges.iter().find(|row| row.strategy == "Rating").unwrap();
    assert_eq!(row.all.verdicts, row.subsets.values().map(|shares| shares.verdicts).sum::<usize>());
    assert!(row.all.first_shown.unwrap() > 0.6 && rated.all.first_shown.is_none());
}
