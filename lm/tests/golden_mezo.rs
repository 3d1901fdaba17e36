//! Tasks, losses, prefixes and low-rank additions against the original MeZO code (f64).

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/recorded.rs"]
mod recorded;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor};
use golden::{Golden, cases, difference, file, load, values};
use recorded::Recorded;
use serde_json::Value;
use std::path::Path;
use tesseral_lm::evaluation::metrics::answer;
use tesseral_lm::evaluation::tasks::rows::Row;
use tesseral_lm::model::decoder::{Branches, Decoder, LowRank, Prefix, PrefixPositions, Text};
use tesseral_lm::model::llama::LlamaConfig;
use tesseral_lm::model::weights::Weights;
use tesseral_lm::python::numpy::RandomState;
use tesseral_lm::tuning::example::{Encoder, Example, Prompting, Sequence};
use tesseral_lm::tuning::objective::{Objective, likelihoods};
use tesseral_lm::tuning::task::{Question, TaskConfig};
use tesseral_lm::tuning::tuned::{Scope, Tuned};
use tesseral_nn::kernels::backward;
use tesseral_nn::optim::zeroth_order::{ZerothOrder, ZerothOrderConfig};
use tesseral_nn::rng::Streams;

const FAMILY: &str = "mezo";

fn json(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(file(FAMILY, name)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn config(keys: &str) -> LlamaConfig {
    LlamaConfig::parse(keys, "golden".as_ref()).unwrap()
}

/// Tensors whose names begin with a prefix, without it, f64.
fn weights(golden: &Golden, prefix: &str, config: LlamaConfig) -> Weights {
    let named = golden.tensors.keys().filter_map(|name| Some((name.strip_prefix(prefix)?, name)));
    let model = named.filter(|(name, _)| name.starts_with("model.") || name.starts_with("lm_head"));
    let tensors = model.map(|(name, full)| (name.to_string(), golden.tensor(full))).collect();
    Weights { config, tensors, source: ".".into() }
}

fn integers(golden: &Golden, name: &str) -> Vec<i64> {
    golden.indices(name).into_iter().map(|x| x as i64).collect()
}

/// Rows of left-padded ids as texts whose last tokens are options.
fn sequences(golden: &Golden, prefix: &str) -> Vec<Sequence> {
    let [ids, mask] = ["ids", "mask"].map(|name| golden.tensors[&format!("{prefix}.{name}")].to_vec2::<i64>().unwrap());
    let options = golden.indices(&format!("{prefix}.option_len"));
    let row = |((ids, mask), option): ((&Vec<i64>, &Vec<i64>), &usize)| {
        let ids = ids.iter().zip(mask).filter(|(_, m)| **m > 0).map(|(id, _)| *id as u32).collect();
        Sequence { ids, option: *option }
    };
    ids.iter().zip(&mask).zip(&options).map(row).collect()
}

/// Consecutive rows as the options of one question each.
fn examples(sequences: &[Sequence], counts: &[usize], labels: &[i64]) -> Vec<Example> {
    let (mut start, mut examples) = (0, Vec::new());
    while start < sequences.len() {
        let end = start + counts[start];
        let right = vec![labels[start] as usize];
        examples.push(Example::new(&sequences[start..end], right, Vec::new()).unwrap());
        start = end;
    }
    examples
}

#[test]
fn golden_mezo_losses_of_options_and_steps_on_them() {
    for name in cases(FAMILY, "tiny_llama_options") {
        let golden = load(FAMILY, &name).unwrap();
        let json = &golden.json;
        let shape = config(&json["config"].to_string());
        let tuned = Tuned::new(weights(&golden, "", shape), Scope::Full, Streams::new(0)).unwrap();
        let expect = |key: &str| json[key].as_f64().unwrap();
        let rows = sequences(&golden, "in");
        let counts = vec![2; rows.len()];
        let pairs = examples(&rows, &counts, &integers(&golden, "in.labels"));

        let found = likelihoods(&tuned, &pairs).unwrap().concat();
        for (k, option) in found.iter().enumerate() {
            let [mean, sum] = ["option_mean_logprob", "option_sum_logprob"].map(|key| json[key][k].as_f64().unwrap());
            assert!(
                (option.mean() - mean).abs() < tolerances::OPTIONS && (option.sum - sum).abs() < tolerances::OPTIONS
            );
        }
        let logits = golden.tensor("out.logits");
        for (k, row) in rows.iter().enumerate() {
            let branches = Branches::new(&[Text { prompt: row.ids.clone(), continuations: vec![] }]).unwrap();
            let found = tuned.decoder().logits(&tuned.decoder().branched(&branches, None).unwrap()).unwrap();
            let all = logits.get(k).unwrap();
            let own = all.narrow(0, all.dim(0).unwrap() - row.ids.len(), row.ids.len()).unwrap();
            assert!(difference(&found, &own) < tolerances::OPTIONS, "logits of row {k}");
        }
        let ragged = sequences(&golden, "in5");
        let ragged = examples(&ragged, &golden.indices("in5.num_options"), &integers(&golden, "in5.labels"));
        for (objective, batch, key) in [
            (Objective::Classification, &pairs, "classification_loss"),
            (Objective::Classification, &ragged, "multichoice_varlen_loss"),
        ] {
            let value = objective.value(&tuned, batch, None).unwrap();
            assert!((value - expect(key)).abs() < tolerances::OPTIONS, "{key}: {value}");
            let tensor = objective.tensor(&tuned, batch).unwrap();
            assert!((tensor.to_scalar::<f64>().unwrap() - value).abs() < tolerances::OPTIONS);
            let gradients = backward(tensor).unwrap();
            for (name, variable) in tuned.parameters().to_vec() {
                assert!(values(gradients.get(&variable).unwrap()).iter().any(|g| *g != 0.0), "{name}");
            }
        }
        // Each row as a text of its own: the loss of all option tokens.
        let alone: Vec<Example> =
            rows.iter().map(|row| Example::new(std::slice::from_ref(row), vec![0], vec![]).unwrap()).collect();
        let value = Objective::TeacherForcing.value(&tuned, &alone, None).unwrap();
        assert!((value - expect("lm_option_loss")).abs() < tolerances::OPTIONS);
        let tensor = Objective::TeacherForcing.tensor(&tuned, &alone).unwrap();
        assert!((tensor.to_scalar::<f64>().unwrap() - value).abs() < tolerances::OPTIONS);

        let zo = &json["zo"];
        let steps = zo["steps"].as_array().unwrap();
        let prefixes: Vec<String> = (0..steps.len()).map(|t| format!("zo.step{t}.z.")).collect();
        let directions = Recorded::new(&golden, tuned.parameters(), &prefixes);
        let config = ZerothOrderConfig {
            learning_rate: zo["lr0"].as_f64().unwrap(),
            epsilon: zo["eps"].as_f64().unwrap(),
            weight_decay: zo["weight_decay"].as_f64().unwrap(),
            // The original's rule by name lets the last norm decay.
            no_decay: ["*bias*", "*layer_norm*", "*layernorm*"].map(String::from).to_vec(),
            ..Default::default()
        };
        let mut run = ZerothOrder::new(tuned.parameters(), config, steps.len() as u64, directions).unwrap();
        for (t, step) in steps.iter().enumerate() {
            let report = run.step(&mut || Ok(Objective::Classification.value(&tuned, &pairs, None)?)).unwrap();
            let error = (report.scalars[0] - step["projected_grad"].as_f64().unwrap()).abs();
            assert!(error < tolerances::OPTIONS_DERIVATIVE, "step {t}: {error:e}");
        }
        for (name, variable) in tuned.parameters().to_vec() {
            let after = golden.tensor(&format!("zo.step{}.after.{name}", steps.len() - 1));
            let error = difference(&variable, &after);
            // Stored in f32.
            assert!(error < 1e-6, "{name}: {error:e}");
        }
    }
}

#[test]
fn golden_mezo_prefixes() {
    for name in cases(FAMILY, "tiny_llama_prefix") {
        let golden = load(FAMILY, &name).unwrap();
        for (case, about) in golden.json["cases"].as_object().unwrap() {
            let keys = format!(
                r#"{{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                "num_key_value_heads": {}, "vocab_size": 48, "rms_norm_eps": 1e-5, "rope_theta": 1e4}}"#,
                about["num_key_value_heads"]
            );
            let Weights { config, tensors, .. } = weights(&golden, &format!("{case}."), config(&keys));
            let decoder = Decoder::from_tensors(&config, &tensors).unwrap();
            let ids = golden.tensors[&format!("{case}.in.ids")].to_vec2::<i64>().unwrap();
            let tokens: Vec<u32> =
                golden.indices(&format!("{case}.in.prefix_tokens")).iter().map(|x| *x as u32).collect();
            let prefix = Prefix::of_tokens(&decoder, &tokens).unwrap();
            for layer in 0..config.num_hidden_layers {
                for (kind, found) in [("keys", &prefix.keys[layer]), ("values", &prefix.values[layer])] {
                    let expected = golden.tensor(&format!("{case}.layer{layer}.prefix_{kind}"));
                    assert!(difference(found, &expected) < tolerances::OPTIONS, "{case} layer {layer} {kind}");
                }
            }
            let prompt =
                |row: &Vec<i64>| Text { prompt: row.iter().map(|id| *id as u32).collect(), continuations: vec![] };
            let texts: Vec<Text> = ids.iter().map(prompt).collect();
            let branches = Branches::new(&texts).unwrap();
            for (key, given) in [
                ("plain", None),
                ("prefix_original_positions", Some((&prefix, PrefixPositions::Original))),
                ("prefix_shifted_positions", Some((&prefix, PrefixPositions::Shifted))),
            ] {
                let found = decoder.logits(&decoder.branched(&branches, given).unwrap()).unwrap();
                let expected = golden.tensor(&format!("{case}.out.{key}"));
                let error = difference(&found.reshape(expected.dims()).unwrap(), &expected);
                assert!(error < tolerances::OPTIONS, "{case} {key}: {error:e}");
            }
        }
    }
}

#[test]
fn golden_mezo_low_rank_addition() {
    for name in cases(FAMILY, "lora_linear") {
        let golden = load(FAMILY, &name).unwrap();
        let scale = golden.json["alpha"].as_f64().unwrap() / golden.json["r"].as_f64().unwrap();
        let addition = LowRank { a: golden.tensor("lora_A"), b: golden.tensor("lora_B"), scale };
        let (x, weight, bias) = (golden.tensor("x"), golden.tensor("weight"), golden.tensor("bias"));
        let plain = |weight: &Tensor| x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
        let apart = (plain(&weight) + addition.forward(&x).unwrap()).unwrap();
        for found in [apart, plain(&addition.merged(&weight).unwrap())] {
            assert!(difference(&found, &golden.tensor("y")) < tolerances::TABLES);
        }
        assert_eq!(x.dtype(), DType::F64);
        assert!(x.device().same_device(&Device::Cpu));
    }
}

fn task(name: &str) -> TaskConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/tune/tasks").join(name);
    TaskConfig::read(&path.with_extension("toml")).unwrap()
}

#[test]
fn golden_mezo_prompts_of_tasks() {
    let Some(golden) = json("templates.json") else { return };
    for (name, case) in golden["templates"].as_object().unwrap() {
        let task = task(match name.as_str() {
            "SST2Template" => "sst2",
            "CopaTemplate" => "copa",
            "BoolQTemplateV3" => "boolq",
            "MultiRCTemplate" => "multirc",
            "CBTemplate" => "cb",
            "WICTemplate" => "wic",
            "WSCTemplate" => "wsc",
            "ReCoRDTemplateGPT3" => "record",
            "RTETemplate" => "rte",
            "SQuADv2Template" => "squad",
            "DROPTemplate" => "drop",
            other => panic!("no task file for {other}"),
        });
        let row: Row = serde_json::from_value(case["data"].clone()).unwrap();
        let source = Path::new("golden");
        let prompt = task.write_prompt(&row, 0, source).unwrap();
        assert_eq!(prompt, case["encode"].as_str().unwrap(), "{name}");
        // A candidate by its text, its place, as the first of its names, or as the first right answer.
        let option = |candidate: &Value| {
            let candidate = match candidate {
                Value::String(text) => text.clone(),
                Value::Array(names) => names[0].as_str().unwrap().into(),
                Value::Number(place) => {
                    task.candidates_of(&row, 0, source).unwrap()[place.as_u64().unwrap() as usize].clone()
                }
                _ => task.candidates_of(&row, 0, source).unwrap()[0].clone(),
            };
            task.write_option(&row, &candidate, 0, source).unwrap()
        };
        for pair in case["verbalize"].as_array().unwrap() {
            assert_eq!(format!("{prompt}{}", option(&pair[0])), pair[1].as_str().unwrap(), "{name}");
        }
        let Some(expected) = case["encode_sfc"].as_str() else { continue };
        let bare = task.write_bare(&row, 0, source).unwrap().unwrap();
        assert_eq!(bare.trim_end_matches(' '), expected.trim_end_matches(' '), "{name}");
        for pair in case["verbalize_sfc"].as_array().unwrap() {
            assert_eq!(format!("{bare}{}", option(&pair[0])), pair[1].as_str().unwrap(), "{name}");
        }
    }
}

#[test]
fn golden_mezo_encoded_prompts() {
    let Some(golden) = json("encode_prompt.json") else { return };
    let source = Path::new("golden");
    for case in golden["cases"].as_array().unwrap() {
        let beginning = case["add_bos"].as_bool().unwrap().then_some(256);
        let encode = |text: &str| Ok(beginning.into_iter().chain(text.bytes().map(u32::from)).collect());
        let longest = case["max_length"].as_u64().unwrap() as usize;
        let room = case["max_new_tokens"].as_u64().unwrap_or(0) as usize;
        let encoder = Encoder { encode: &encode, beginning, longest: longest - room };
        let of = |found: Vec<Sequence>| found.into_iter().map(|s| (s.ids, s.option)).unzip();
        let (ids, options): (Vec<Vec<u32>>, Vec<usize>) = if case["task"] == "SST2" {
            let question = |text: &Value, label: u64| {
                let row = serde_json::json!({"sentence": text, "label": label});
                task("sst2").question(&serde_json::from_value(row).unwrap(), 0, source).unwrap()
            };
            let demos = case["demos"].as_array().unwrap();
            let before: Vec<Question> = demos.iter().map(|d| question(&d[0], d[1].as_u64().unwrap())).collect();
            let which = match (case["sfc"] == true, case["icl_sfc"] == true) {
                (true, _) => Prompting::Bare,
                (_, true) => Prompting::BareAfterDemonstrations,
                _ => Prompting::Whole,
            };
            of(encoder.options(&question(&golden["eval_sentence"], 0), &before, "\n\n", which).unwrap())
        } else {
            let row: Row = serde_json::from_value(golden["squad"].clone()).unwrap();
            let question = task("squad").question(&row, 0, source).unwrap();
            match case["generation_with_gold"] == true {
                true => of(encoder.options(&question, &[], "\n\n", Prompting::Whole).unwrap()),
                false => (vec![encoder.prompt(&question, &[], "\n\n", 0).unwrap()], vec![0]),
            }
        };
        assert_eq!(serde_json::json!(ids), case["encodings"], "{case}");
        assert_eq!(serde_json::json!(options), case["option_lens"], "{case}");
    }
}

#[test]
fn golden_mezo_metrics_and_draws() {
    if let Some(golden) = json("metrics.json") {
        let cases = golden["f1"].as_array().unwrap();
        let mut sums = [0.0, 0.0];
        for case in cases {
            let references: Vec<&str> = case["gold"].as_array().unwrap().iter().map(|g| g.as_str().unwrap()).collect();
            let found = answer::matches(case["pred"].as_str().unwrap(), &references);
            assert!((found["f1"] - case["f1"].as_f64().unwrap()).abs() < tolerances::TABLES, "{case}");
            sums = [sums[0] + found["f1"], sums[1] + found["exact_match"]];
        }
        for (sum, key) in sums.iter().zip(["metric_f1", "metric_em"]) {
            assert!((sum / cases.len() as f64 - golden[key].as_f64().unwrap()).abs() < tolerances::TABLES, "{key}");
        }
    }
    let Some(golden) = json("sampling.json") else { return };
    for case in golden["sample_subset"].as_array().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let found = RandomState::new(number("seed") as u32).choice(number("n"), number("k")).unwrap();
        assert_eq!(serde_json::json!(found), case["index"]);
    }
    for (key, top) in [("per_eval_icl_seeds_seed0", 10_000), ("zo_seeds_np_seed0", 1_000_000_000)] {
        let mut state = RandomState::new(0);
        for seed in golden[key].as_array().unwrap() {
            assert_eq!(state.randint(0..top).unwrap(), seed.as_i64().unwrap(), "{key}");
        }
    }
}
