//! A tiny CEPE against the original's own model code (f32): layer, logits, encode modes, gradients, six steps of AdamW.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor};
use golden::{difference, file, relative_difference, tensors, values};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tesseral_lm::model::decoder::{Cache, Decoder};
use tesseral_lm::model::weights::Storage;
use tesseral_lm::model::weights::save::SaveOptions;
use tesseral_lm::objective::Batch;
use tesseral_lm::parallel_context::distil::{Rest, Targets};
use tesseral_lm::parallel_context::examples::{ContextBatch, Contexts, Masking, Selection};
use tesseral_lm::parallel_context::files::ContextWeights;
use tesseral_lm::parallel_context::files::{encoder_names, hash};
use tesseral_lm::parallel_context::masked::{MaskedBatch, MaskedModel};
use tesseral_lm::parallel_context::memory::{Keep, Reading};
use tesseral_lm::parallel_context::model::Trained;
use tesseral_lm::parallel_context::objective::{self, Weights};
use tesseral_lm::parallel_context::replug::mixture;
use tesseral_lm::parallel_context::start::{self, CrossStart};
use tesseral_lm::parallel_context::windows::{self, Placing, Windows};
use tesseral_lm::parallel_context::{Context, ContextModel, ContextShape, EncodeMode};
use tesseral_nn::Parameters;
use tesseral_nn::kernels::backward;
use tesseral_nn::kernels::reverse::foreign_operations;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
use tesseral_nn::optim::{AdamConfig, AdamW, Clip, Gradients};
use tesseral_nn::rng::Streams;

const FAMILY: &str = "cepe";

struct Case {
    shape: ContextShape,
    weights: BTreeMap<String, Tensor>,
    io: BTreeMap<String, Tensor>,
    scalars: Value,
}

fn json_file(name: &str) -> Option<Value> {
    Some(serde_json::from_str(&std::fs::read_to_string(file(FAMILY, name)?).unwrap()).unwrap())
}

fn case() -> Option<Case> {
    let config = json_file("cepe_tiny_config.json")?;
    // The golden file keeps the three parts apart; a checkpoint of the original has them in one.
    let mut all = config["decoder"].clone();
    all["rope_theta"] = config["rope_theta_both"].clone();
    let mut encoder = config["encoder"].clone();
    encoder["rope_theta"] = config["rope_theta_both"].clone();
    all["encoder_config"] = encoder;
    all["architectures"] = json!(["LlamaForCausalContextLM"]);
    all.as_object_mut().unwrap().extend(config["cepe"].as_object().unwrap().clone());
    Some(Case {
        shape: ContextShape::parse(&all.to_string(), Path::new("config.json")).unwrap(),
        weights: tensors(FAMILY, "cepe_tiny")?,
        io: tensors(FAMILY, "cepe_tiny_io")?,
        scalars: json_file("scalars.json")?,
    })
}

fn integers(t: &Tensor) -> Vec<i64> {
    t.to_dtype(DType::I64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

impl Case {
    fn model(&self) -> ContextModel {
        ContextModel::from_tensors(&self.shape, &self.weights).unwrap()
    }

    /// Ids `[batch, tokens]` of the decoder, flat, and the lengths.
    fn text(&self) -> (Arc<[u32]>, Vec<usize>) {
        let (batch, tokens) = self.io["input_ids"].dims2().unwrap();
        let ids: Vec<u32> = integers(&self.io["input_ids"]).iter().map(|x| *x as u32).collect();
        (ids.into(), vec![tokens; batch])
    }

    /// Contexts of each text; with `masked` without the tokens that the mask hides (at the ends).
    fn contexts(&self, masked: bool) -> Vec<Vec<Context>> {
        let (_, count, length) = self.io["encoder_input_ids"].dims3().unwrap();
        let ids = integers(&self.io["encoder_input_ids"]);
        let mask = integers(&self.io["encoder_attention_mask"]);
        let all: Vec<Context> = ids
            .chunks(length)
            .zip(mask.chunks(length))
            .map(|(ids, mask)| {
                let seen = if masked { mask.iter().take_while(|m| **m == 1).count() } else { length };
                assert!(!masked || mask[seen..].iter().all(|m| *m == 0), "only ends are masked");
                ids[..seen].iter().map(|id| *id as u32).collect()
            })
            .collect();
        all.chunks(count).map(<[Context]>::to_vec).collect()
    }

    fn logits(&self, model: &ContextModel, contexts: Option<&[Vec<Context>]>) -> Tensor {
        let (ids, lengths) = self.text();
        let states = contexts.and_then(|contexts| model.encode(contexts, &ids, &lengths).unwrap());
        let hidden = model.hidden(&ids, &lengths, states.as_ref()).unwrap();
        model.decoder().logits(&hidden).unwrap()
    }

    fn near(&self, found: &Tensor, name: &str) {
        let expected = self.io[name].reshape(found.dims()).unwrap();
        let worst = difference(found, &expected);
        println!("{name}: {worst:.1e}");
        assert!(worst < tolerances::LOGITS, "{name}: {worst:e}");
    }
}

#[test]
fn golden_logits_with_and_without_contexts() {
    let Some(case) = case() else { return };
    let model = case.model();
    case.near(&case.logits(&model, None), "logits_nocontext");
    case.near(&case.logits(&model, Some(&case.contexts(false))), "logits_ctx");
    case.near(&case.logits(&model, Some(&case.contexts(true))), "logits_ctx_masked");
    for (mode, name) in [
        (EncodeMode::WithQuery(3), "logits_with_query_3"),
        (EncodeMode::WithQueryDropped(3), "logits_with_query_no_hid_3"),
    ] {
        let shape = ContextShape { mode, ..case.shape.clone() };
        let model = ContextModel::from_tensors(&shape, &case.weights).unwrap();
        case.near(&case.logits(&model, Some(&case.contexts(false))), name);
    }
    let shape = ContextShape { cross_layers: 1, ..case.shape.clone() };
    let last = ContextModel::from_tensors(&shape, &case.weights).unwrap();
    let reads: Vec<bool> = last.cross().iter().map(Option::is_some).collect();
    assert_eq!(json!(reads), case.scalars["cross_layers_when_num_cross_attn_layers_1"]);
    case.near(&case.logits(&last, Some(&case.contexts(false))), "logits_ctx_last1_cross");
    // Nothing to read, or only empty contexts: the wrapped model to the bit.
    let plain = Decoder::from_tensors(&case.shape.decoder, &case.weights).unwrap();
    let (ids, lengths) = case.text();
    let plain = plain.logits(&plain.hidden(&ids, &plain.layout(&lengths).unwrap()).unwrap()).unwrap();
    for contexts in [vec![Vec::new(); 2], vec![vec![Vec::new(); 3]; 2]] {
        assert_eq!(difference(&case.logits(&model, Some(&contexts)), &plain), 0.0);
    }
    // The first text has contexts and the second none: the second is as without.
    let mut half = case.contexts(false);
    half[1].clear();
    let (rows, tokens) = (lengths[0], lengths[1]);
    let half = case.logits(&model, Some(&half));
    assert_eq!(difference(&half.narrow(0, rows, tokens).unwrap(), &plain.narrow(0, rows, tokens).unwrap()), 0.0);
    let both = case.logits(&model, Some(&case.contexts(false)));
    let far = difference(&half.narrow(0, 0, rows).unwrap(), &both.narrow(0, 0, rows).unwrap());
    assert!(far < tolerances::CONTEXT_ORDER, "{far:e}");
}

#[test]
fn golden_states_of_the_encoder() {
    let Some(case) = case() else { return };
    let model = case.model();
    let (ids, lengths) = case.text();
    let (_, rows, width) = case.io["encoder_hidden_ctx"].dims3().unwrap();
    let found = model.encode(&case.contexts(false), &ids, &lengths).unwrap().unwrap();
    case.near(&found.hidden, "encoder_hidden_ctx");
    assert_eq!(found.lengths, vec![rows; 2]);
    // Masked: the rows that are not hidden.
    let found = model.encode(&case.contexts(true), &ids, &lengths).unwrap().unwrap();
    let seen: Vec<u32> =
        (0..).zip(integers(&case.io["encoder_attention_mask"])).filter(|(_, m)| *m == 1).map(|(k, _)| k).collect();
    let index = Tensor::new(seen, &Device::Cpu).unwrap();
    let expected =
        case.io["encoder_hidden_ctx_masked"].reshape((2 * rows, width)).unwrap().index_select(&index, 0).unwrap();
    assert!(difference(&found.hidden, &expected) < tolerances::LOGITS);
}

#[test]
fn golden_order_of_contexts_is_nothing() {
    let Some(case) = case() else { return };
    let model = case.model();
    let contexts = case.contexts(false);
    let before = case.logits(&model, Some(&contexts));
    let turned: Vec<Vec<Context>> = contexts.iter().map(|c| c.iter().rev().cloned().collect()).collect();
    let far = difference(&before, &case.logits(&model, Some(&turned)));
    assert!(far < tolerances::CONTEXT_ORDER, "{far:e}");
}

#[test]
fn golden_one_layer() {
    let Some(case) = case() else { return };
    let (model, io) = (case.model(), &case.io);
    let (batch, tokens, width) = io["xattn_hidden"].dims3().unwrap();
    let (_, rows, states) = io["xattn_enc"].dims3().unwrap();
    let x = io["xattn_hidden"].reshape((batch * tokens, width)).unwrap();
    let e = io["xattn_enc"].reshape((batch * rows, states)).unwrap();
    let segments = || tesseral_nn::attention::varlen::Segments::cross(&[tokens; 2], &[rows; 2], false).unwrap();
    let mask = values(&io["xattn_mask"]).iter().map(|m| *m > 0.5).collect();
    let cross = model.cross()[1].as_ref().unwrap();
    let keys_values = cross.keys_values(&e).unwrap();
    for (segments, name) in [(segments(), "xattn_out"), (segments().with_key_mask(mask).unwrap(), "xattn_out_masked")] {
        let segments = Arc::new(segments);
        let found = cross.read(&x, &keys_values, &segments).unwrap();
        let far = difference(&found, &io[name].reshape(found.dims()).unwrap());
        assert!(far < tolerances::CONTEXT_LAYER, "{name}: {far:e}");
        // The same, the other way round.
        let few = (cross.forward_few(&x, &e, &segments).unwrap() - &x).unwrap();
        assert!(difference(&few, &found) < tolerances::CONTEXT_LAYER);
    }
    let layer = &model.decoder().layers()[1];
    let layout = model.decoder().layout(&[tokens; 2]).unwrap();
    let without = layer.forward(&x, &layout).unwrap();
    let far = difference(&without, &io["layer_out_noctx"].reshape(without.dims()).unwrap());
    assert!(far < tolerances::CONTEXT_LAYER, "{far:e}");
}

#[test]
fn golden_starts_of_cross_attention() {
    let Some(case) = case() else { return };
    let (decoder, encoder): (BTreeMap<_, _>, BTreeMap<_, _>) = case
        .weights
        .clone()
        .into_iter()
        .filter(|(n, _)| !n.contains("cross_attn"))
        .partition(|(n, _)| !n.starts_with("encoder."));
    let begun = |start| {
        let tensors = start::tensors(&case.shape, &decoder, &encoder, start, Streams::new(1)).unwrap();
        ContextModel::from_tensors(&case.shape, &tensors).unwrap()
    };
    case.near(&case.logits(&begun(CrossStart::Copy), Some(&case.contexts(false))), "logits_init_copy");
    let zero = case.logits(&begun(CrossStart::Zero), Some(&case.contexts(false)));
    let far = difference(&zero, &case.logits(&case.model(), None));
    assert_eq!(Some(far), case.scalars["init_zero_max_abs_diff_vs_nocontext"].as_f64());
    for start in [CrossStart::Normal, CrossStart::Random] {
        let found = case.logits(&begun(start), Some(&case.contexts(false)));
        assert!(difference(&found, &zero) > 1e-3);
    }
}

#[test]
fn golden_greedy_generation_with_both_memories() {
    let Some(case) = case() else { return };
    let model = case.model();
    let (batch, steps) = case.io["gen_tokens"].dims2().unwrap();
    let prompts: Vec<Vec<i64>> = case.io["gen_prompt"].to_vec2().unwrap();
    let tokens: Vec<Vec<i64>> = case.io["gen_tokens"].to_vec2().unwrap();
    for (keep, block) in [(Keep::States, 1000), (Keep::States, 7), (Keep::KeysValues, 1000), (Keep::KeysValues, 1)] {
        for text in 0..batch {
            let contexts = &case.contexts(true)[text];
            let prompt: Vec<u32> = prompts[text].iter().map(|id| *id as u32).collect();
            let memory = model.read(contexts, &prompt, Reading { keep, block }).unwrap();
            let rows: usize = contexts.iter().map(Vec::len).sum();
            assert_eq!((memory.rows(), memory.bytes()), (rows, 4 * rows * keep.numbers(&case.shape)));
            let mut cache = Cache::new(&case.shape.decoder, 16);
            let mut next = prompt.clone();
            assert_eq!(tokens[text].len(), steps);
            for (step, expected_id) in tokens[text].iter().enumerate() {
                let hidden = model.continue_from(&mut cache, &next, &memory).unwrap();
                let last = hidden.narrow(0, hidden.dim(0).unwrap() - 1, 1).unwrap();
                let logits = model.decoder().logits(&last).unwrap();
                let expected = case.io["gen_step_logits"].get(text).unwrap().narrow(0, step, 1).unwrap();
                let far = difference(&logits, &expected);
                assert!(far < tolerances::LOGITS, "{keep:?} {text} {step}: {far:e}");
                let id = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap()[0];
                assert_eq!(i64::from(id), *expected_id);
                next = vec![id];
            }
        }
    }
}

#[test]
fn golden_folders_are_written_and_read_again() {
    let Some(case) = case() else { return };
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("model");
    let weights = ContextWeights { shape: case.shape.clone(), tensors: case.weights.clone(), source: "nowhere".into() };
    weights.save(&place, SaveOptions { largest_file: 20_000, ..SaveOptions::default() }).unwrap();
    let again = ContextWeights::open(&place, Storage::F32).unwrap();
    let contexts = case.contexts(true);
    let found = case.logits(&again.model().unwrap(), Some(&contexts));
    assert_eq!(difference(&found, &case.logits(&case.model(), Some(&contexts))), 0.0);
    // The bare model is found in it by names.
    assert!(again.tensors.keys().eq(case.weights.keys()));
    let run = |storage| {
        let model = ContextWeights::open(&place, storage).unwrap().model().unwrap();
        let memory = model.read(&contexts[0], &[3], Reading::default()).unwrap();
        values(&model.continue_from(&mut Cache::new(&case.shape.decoder, 4), &[3], &memory).unwrap())
    };
    let far = relative_difference(&run(Storage::Bf16), &run(Storage::F32));
    assert!(far > 0.0 && far < 0.03, "{far:e}");
    std::fs::remove_file(place.join("config.json")).unwrap();
    assert!(ContextWeights::open(&place, Storage::F32).is_err());
}

/// What is trained, in f32 or f64, and the batch with its contexts.
fn trainable(case: &Case, dtype: DType) -> (Parameters, ContextModel, ContextBatch) {
    let parameters = Parameters::new(Streams::new(0), dtype, &Device::Cpu);
    let weights = case.weights.iter().map(|(n, t)| (n.clone(), t.to_dtype(dtype).unwrap())).collect();
    let model = ContextModel::declare_from(&parameters, &case.shape, &weights, Trained { encoder: true }).unwrap();
    let (ids, lengths) = case.text();
    let text = Batch::new(&ids, &integers(&case.io["labels"]), &lengths).unwrap();
    (parameters, model, ContextBatch { text, contexts: case.contexts(true) })
}

fn scalar(t: &Tensor) -> f64 {
    values(t)[0]
}

#[test]
fn golden_losses_and_gradients() {
    let Some(case) = case() else { return };
    for dtype in [DType::F32, DType::F64] {
        let (parameters, model, masked) = trainable(&case, dtype);
        let unmasked = ContextBatch { contexts: case.contexts(false), ..masked.clone() };
        let none = ContextBatch { contexts: vec![Vec::new(); 2], ..masked.clone() };
        for (batch, name) in [(&unmasked, "lm_loss_ctx"), (&masked, "lm_loss_ctx_masked"), (&none, "lm_loss_nocontext")]
        {
            let found = scalar(&objective::loss(&model, batch, Reduction::Mean).unwrap());
            let expected = case.scalars[name].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < tolerances::LOSS, "{name}: {found}");
            let losses: Vec<f64> = objective::losses(&model, batch).unwrap().into_iter().flatten().collect();
            assert!((losses.iter().sum::<f64>() / losses.len() as f64 / found - 1.0).abs() < tolerances::LOSS);
        }
        let loss = objective::loss(&model, &masked, Reduction::Mean).unwrap();
        assert_eq!(foreign_operations(&loss), 0);
        let gradients = Gradients::collect(&parameters, &backward(loss).unwrap());
        assert_every_variable_has_gradient(&parameters, &gradients).unwrap();
        let mut names: Vec<&str> =
            case.scalars["trainable_params"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(gradients.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), names);
        let norm = gradients.norm().unwrap() / case.scalars["grad_global_norm"].as_f64().unwrap();
        assert!((norm - 1.0).abs() < tolerances::LM_GRADIENT);
        for (name, expected) in case.io.iter().filter_map(|(n, t)| Some((n.strip_prefix("grad.")?, t))) {
            let far = relative_difference(&values(gradients.get(name).unwrap()), &values(expected));
            assert!(far < tolerances::LM_GRADIENT, "{name}: {far:e}");
        }
    }
}

#[test]
fn golden_distillation() {
    let Some(case) = case() else { return };
    let (batch, tokens, vocabulary) = case.io["teacher_logits"].dims3().unwrap();
    let (_, _, top) = case.io["distill_index"].dims3().unwrap();
    let teacher = case.io["teacher_logits"].reshape((batch * tokens, vocabulary)).unwrap();
    let targets = Targets {
        ids: integers(&case.io["distill_index"]).iter().map(|id| *id as u32).collect(),
        probabilities: values(&case.io["distill_prob"]).iter().map(|p| *p as f32).collect(),
        top,
    };
    let ours = Targets::of_logits(&teacher, top).unwrap();
    assert_eq!(ours.ids, targets.ids);
    // The file was rounded to f16.
    assert!(ours.probabilities.iter().zip(&targets.probabilities).all(|(a, b)| (a - b).abs() < 1e-3));
    let targets = Arc::new(targets);
    let mut modes = 0;
    for (name, expected) in case.scalars.as_object().unwrap() {
        let Some(mode) = name.strip_prefix("ceped_total_loss_") else { continue };
        let rest = match mode.split_once('_') {
            None if mode == "drop" => Rest::Drop,
            None => Rest::None,
            Some((_, more)) => Rest::Smooth(more.parse().unwrap()),
        };
        let key = format!("grad_ceped_{}.", mode.replace("1e-6", "1em6"));
        let mut near = false;
        for masked in [true, false] {
            let (parameters, model, mut batch) = trainable(&case, DType::F64);
            batch.contexts = case.contexts(masked);
            let weights = Weights { language: 1.0, teacher: 2.0 };
            let loss = objective::distilled(&model, &batch, &targets, rest, weights).unwrap();
            let far = (scalar(&loss) / expected.as_f64().unwrap() - 1.0).abs();
            println!("{name}: masked {masked} {far:.1e}");
            if far > tolerances::DISTILLATION {
                continue;
            }
            near = true;
            let gradients = Gradients::collect(&parameters, &backward(loss).unwrap());
            for (name, expected) in case.io.iter().filter_map(|(n, t)| Some((n.strip_prefix(&key)?, t))) {
                let far = relative_difference(&values(gradients.get(name).unwrap()), &values(expected));
                assert!(far < tolerances::LM_GRADIENT, "{key}{name}: {far:e}");
                modes += 1;
            }
        }
        assert!(near, "{name}");
    }
    assert!(modes > 0);
}

#[test]
fn golden_six_steps_of_adamw() {
    let Some(case) = case() else { return };
    let (parameters, model, batch) = trainable(&case, DType::F32);
    let before = hash(&case.weights).unwrap();
    // The file does not name its rate: 3e-3, with clipping at 1, is the one that gives its losses.
    let rate = 3e-3;
    let config = AdamConfig { learning_rate: rate, clip: Clip::Norm(1.0), ..AdamConfig::default() };
    let mut optimizer = AdamW::new(&parameters, config).unwrap();
    for (k, expected) in case.scalars["adamw_trajectory"].as_array().unwrap().iter().enumerate() {
        let loss = objective::loss(&model, &batch, Reduction::Mean).unwrap();
        let gradients = Gradients::collect(&parameters, &backward(loss.clone()).unwrap());
        let report = optimizer.step(&gradients, rate).unwrap();
        for (found, key) in [(scalar(&loss), "loss"), (report.gradient_norm, "grad_norm")] {
            let expected = expected[key].as_f64().unwrap();
            println!("step {k} {key}: {found} {expected}");
            assert!((found - expected).abs() <= tolerances::TRAJECTORY * expected, "step {k} {key}: {found}");
        }
    }
    assert_eq!(hash(&case.weights).unwrap(), before);
}

#[test]
fn golden_masked_pretraining() {
    let (Some(case), Some(weights)) = (case(), tensors(FAMILY, "mlm_tiny")) else { return };
    let mut names: Vec<&str> =
        case.scalars["mlm_params"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(weights.keys().collect::<Vec<_>>(), names);
    let model = MaskedModel::from_tensors(&case.shape.encoder, &weights).unwrap();
    let (_, tokens) = case.io["mlm_input_ids"].dims2().unwrap();
    // Ends that are masked are left out.
    let mask: Vec<bool> = integers(&case.io["mlm_attention_mask"]).iter().map(|m| *m == 1).collect();
    let seen =
        |values: Vec<i64>| values.into_iter().zip(&mask).filter(|(_, m)| **m).map(|(v, _)| v).collect::<Vec<i64>>();
    let lengths: Vec<usize> = mask.chunks(tokens).map(|m| m.iter().filter(|m| **m).count()).collect();
    assert!(mask.chunks(tokens).zip(&lengths).all(|(m, n)| m[..*n].iter().all(|m| *m)));
    let batch = MaskedBatch {
        ids: seen(integers(&case.io["mlm_input_ids"])).iter().map(|id| *id as u32).collect(),
        labels: seen(integers(&case.io["mlm_labels"])).into(),
        lengths,
    };
    let found = values(&model.logits(&batch).unwrap());
    let (expected, width) = (values(&case.io["mlm_logits"]), case.shape.encoder.vocab_size);
    let expected: Vec<f64> =
        expected.chunks(width).zip(&mask).filter(|(_, m)| **m).flat_map(|(row, _)| row.to_vec()).collect();
    let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(far < tolerances::LOGITS && found.len() == expected.len(), "{far:e}");
    let loss = scalar(&model.loss(&batch).unwrap());
    assert!((loss / case.scalars["mlm_loss"].as_f64().unwrap() - 1.0).abs() < tolerances::LOSS, "{loss}");
}

#[test]
fn golden_replug() {
    let Some(case) = case() else { return };
    let (passes, tokens, _) = case.io["replug_in_logits"].dims3().unwrap();
    let (batch, count) = case.io["replug_scores"].dims2().unwrap();
    assert_eq!(passes, batch * count);
    let logits = case.io["replug_in_logits"].to_vec3::<f32>().unwrap();
    let scores = case.io["replug_scores"].to_vec2::<f32>().unwrap();
    let expected = case.io["replug_out_logp"].to_vec3::<f32>().unwrap();
    for text in 0..batch {
        for token in 0..tokens {
            let rows: Vec<&[f32]> = (0..count).map(|c| logits[text * count + c][token].as_slice()).collect();
            let scores: Vec<f64> = scores[text].iter().map(|s| f64::from(*s)).collect();
            let found = mixture(&rows, &scores, 1.0).unwrap();
            let far =
                found.iter().zip(&expected[text][token]).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
            assert!(far < tolerances::CONTEXT_LAYER, "{text} {token}: {far:e}");
        }
    }
}

fn list(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn golden_windows_of_documents() {
    let Some(data) = json_file("data.json") else { return };
    let array = list(&data["npy"]);
    let documents = windows::documents(&array).unwrap();
    assert_eq!(windows::array(&documents), array);
    let [previous, decoder] = ["encoder_tokens", "decoder_tokens"].map(|key| data[key].as_u64().unwrap() as usize);
    for (key, placing) in [("filter_length_windows", Placing::Filtered), ("concat_windows", Placing::Concatenated)] {
        let found = Windows::new(&documents, previous, decoder, placing).unwrap();
        let found: Vec<Vec<u32>> = (0..found.len())
            .map(|k| {
                let (a, b) = found.get(k);
                [a, b].concat()
            })
            .collect();
        let expected: Vec<Vec<u32>> = serde_json::from_value(data[key].clone()).unwrap();
        assert_eq!(found, expected, "{key}");
    }
    for (key, value) in data.as_object().unwrap() {
        let Some(chunk) = key.strip_prefix("retrieval_windows_chunk") else { continue };
        let found: Vec<Vec<u32>> =
            windows::passages(&documents, chunk.parse().unwrap()).into_iter().map(|p| p.1).collect();
        assert_eq!(json!(found), *value);
    }
}

#[test]
fn golden_examples_of_windows() {
    let Some(data) = json_file("data.json") else { return };
    for (name, expected) in data["get_item"].as_object().unwrap() {
        let labels: Vec<i64> = serde_json::from_value(expected["labels"].clone()).unwrap();
        let ids = list(&expected["input_ids"]);
        let contexts: Vec<Vec<u32>> = serde_json::from_value(expected["encoder_input_ids"].clone()).unwrap_or_default();
        let counted = labels.iter().filter(|l| **l >= 0).count();
        let kind = match name.as_str() {
            n if n.contains("duplicate") => Contexts::Duplicate,
            n if n.contains("put_in_decoder") => Contexts::InWindow,
            n if n.contains("dummy") => Contexts::Dummy(contexts[0][0]),
            n if n.contains("no_context") => Contexts::None,
            _ => Contexts::Previous,
        };
        let (count, length) = (3, 4);
        let decoder = if kind == Contexts::InWindow { ids.len() - count * length } else { ids.len() };
        let selection = Selection { contexts: kind, count, length, decoder, counted: Some(counted) };
        let found = selection.example(&list(&expected["prev_token_ids"]), &list(&expected["token_ids"]));
        assert_eq!((found.ids, found.labels, found.contexts), (ids, labels, contexts), "{name}");
    }
}

#[test]
fn golden_masking_of_contexts() {
    let Some(data) = json_file("data.json") else { return };
    let stats = &data["context_mask_stats"];
    let number = |key: &str| stats[key].as_f64().unwrap();
    let n = 200_000;
    let mut contexts = vec![vec![1; 4]; n];
    let masking = Masking { probability: number("mask_prob"), whole: number("mask_seq_prob") };
    masking.apply(&mut contexts, &mut Streams::new(1).stream("masking", &[]));
    let whole = contexts.iter().filter(|c| c.is_empty()).count() as f64 / n as f64;
    let cut: Vec<f64> = contexts.iter().filter(|c| (1..4).contains(&c.len())).map(|c| 4.0 - c.len() as f64).collect();
    let mean = cut.iter().sum::<f64>() / cut.len() as f64;
    // Within the errors of the 12,000 contexts that the file counted.
    for (found, key) in [(whole, "frac_fully_masked"), (cut.len() as f64 / n as f64, "frac_partially_masked")] {
        let error = (number(key) * (1.0 - number(key)) / number("n_contexts")).sqrt();
        assert!((found - number(key)).abs() < 3.5 * error, "{key}: {found}");
    }
    assert!((mean - number("mean_masked_tail_tokens_ctx4")).abs() < 0.06, "{mean}");
}

#[test]
fn golden_padded_texts_are_packed_ones() {
    let Some(case) = case() else { return };
    let model = case.model();
    let (batch, tokens) = case.io["dec_attention_mask"].dims2().unwrap();
    let seen: Vec<bool> = integers(&case.io["dec_attention_mask"]).iter().map(|m| *m == 1).collect();
    let (ids, _) = case.text();
    let ids: Arc<[u32]> = ids.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(id, _)| *id).collect();
    let lengths: Vec<usize> = seen.chunks(tokens).map(|m| m.iter().filter(|m| **m).count()).collect();
    let states = model.encode(&case.contexts(true), &ids, &lengths).unwrap();
    let found = model.decoder().logits(&model.hidden(&ids, &lengths, states.as_ref()).unwrap()).unwrap();
    let rows: Vec<u32> = (0..).zip(&seen).filter(|(_, seen)| **seen).map(|(k, _)| k).collect();
    let width = found.dim(1).unwrap();
    let expected = case.io["logits_ctx_leftpad"].reshape((batch * tokens, width)).unwrap();
    let far = difference(&found, &expected.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap());
    assert!(far < tolerances::LOGITS, "{far:e}");
}

#[test]
fn golden_bytes_of_a_token_of_context() {
    let Some(case) = case() else { return };
    let expected = &case.scalars["memory_model"];
    // Llama 2 7B and the encoder of the paper, two bytes a number.
    let text = r#"{"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "vocab_size": 32000, "encoder_config": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "vocab_size": 32000}}"#;
    let shape = ContextShape::parse(text, Path::new("config.json")).unwrap();
    for (keep, key) in [
        (Keep::States, "cepe_cached_encoder_state_bytes_per_ctx_token"),
        (Keep::KeysValues, "llama2_7b_kv_bytes_per_ctx_token"),
    ] {
        assert_eq!(Some(2 * keep.numbers(&shape) as u64), expected[key].as_u64());
    }
    // The encoder of 435.4 million parameters.
    let count: usize =
        encoder_names(&shape.encoder, "encoder").iter().map(|(_, dims)| dims.iter().product::<usize>()).sum();
    assert_eq!(count / 100_000, 4354);
}
