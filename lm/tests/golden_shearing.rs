//! Structured pruning against Sheared LLaMA's own code: masks, Lagrangian, masked and pruned models, twelve steps of pruning, dynamic
//! loading, scaling laws, schedule, rows (f32).

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor};
use golden::{Golden, difference, load};
use serde_json::Value;
use std::collections::BTreeMap;
use tesseral_lm::data::rows::RowSource;
use tesseral_lm::data::rows::mds::MdsRows;
use tesseral_lm::model::decoder::Decoder;
use tesseral_lm::model::llama::LlamaConfig;
use tesseral_lm::objective::{Batch, loss};
use tesseral_lm::pruning::constraint::{Constraint, Goal, expected_size};
use tesseral_lm::pruning::domain_weights::{Rule, WeightConfig};
use tesseral_lm::pruning::extract::{agreement, extract};
use tesseral_lm::pruning::fold::{Compatibility, Tensors, masked};
use tesseral_lm::pruning::hard_concrete::{self, Zeros};
use tesseral_lm::pruning::masks::{Kind, LearnedMasks, Masks, PREFIX};
use tesseral_lm::pruning::scaling_law::ScalingLaw;
use tesseral_lm::pruning::shape::Shape;
use tesseral_nn::kernels::backward;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::optim::{AdamConfig, AdamW, Clip, Gradients, ParamGroup, Schedule, ScheduleConfig, ScheduleKind};
use tesseral_nn::rng::Streams;
use tesseral_nn::{Init, Parameters};

const FAMILY: &str = "shearing";

fn json(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(golden::file(FAMILY, name)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number expected, found {value}"))
}

fn kind(name: &str) -> Kind {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or_else(|| panic!("mask {name}"))
}

fn shape(value: &Value) -> Shape {
    let n = |key: &str| value[key].as_u64().unwrap() as usize;
    let (hidden, groups) = (n("d_model"), n("n_heads"));
    let (layers, intermediate) = (n("n_layers"), n("intermediate_size"));
    Shape { layers, groups, group_heads: 1, head_width: 8, hidden, intermediate }
}

/// The tensor in the two axes that masks have here.
fn rows(tensor: &Tensor, kind: Kind, source: &Shape) -> Tensor {
    tensor.reshape(kind.sizes(source)).unwrap()
}

fn near(found: f64, expected: &Value, tolerance: f64, what: &str) {
    assert!((found - number(expected)).abs() <= tolerance, "{what}: {found} instead of {expected}");
}

fn close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let far = difference(&found.flatten_all().unwrap(), &expected.flatten_all().unwrap());
    assert!(far <= tolerance, "{what}: {far:e}");
}

#[test]
fn golden_masks() {
    let Some(Golden { json, tensors: t, .. }) = load(FAMILY, "masks") else { return };
    let (source, target) = (shape(&json["base"]), shape(&json["target"]));
    for name in json["modules"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()) {
        let of = |what: &str| rows(&t[&format!("{what}.{name}")], kind(name), &source);
        let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
        let (count, width) = kind(name).sizes(&source);
        parameters.root().parameter("l", (count, width), Init::Constant(0.0)).unwrap();
        let l = parameters.get("l").unwrap();
        l.set(&of("loga_raw")).unwrap();
        hard_concrete::clamp(&l).unwrap();
        close(&l, &of("loga"), tolerances::MASKS, name);
        let probability = hard_concrete::probability(&l).unwrap();
        close(&probability, &of("score"), tolerances::MASKS, name);
        let sparsity = (1.0 - probability.mean(1).unwrap()).unwrap();
        close(&sparsity, &t[&format!("sparsity.{name}")], tolerances::MASKS, name);
        let z = hard_concrete::sample(&l, &of("u")).unwrap();
        close(&z, &of("z_train"), tolerances::MASKS, name);
        let gradients = (z * of("w")).unwrap().sum_all().unwrap().backward().unwrap();
        close(gradients.get(&l).unwrap(), &of("grad_loga_of_sum_wz"), 10.0 * tolerances::MASKS, name);
        let kept = kind(name).sizes(&target).1;
        for (zeros, what) in [(Zeros::AllBut(kept), "z_eval_target"), (Zeros::Expected, "z_eval_soft")] {
            close(&hard_concrete::deterministic(&l, zeros).unwrap(), &of(what), tolerances::MASKS, name);
        }
    }
}

#[test]
fn golden_lagrangian() {
    let Some(Golden { json, tensors: t, .. }) = load(FAMILY, "lagrangian") else { return };
    let Some(of_masks) = self::json("masks.json") else { return };
    let (source, target) = (shape(&of_masks["base"]), shape(&of_masks["target"]));
    for (name, case) in json["cases"].as_object().unwrap() {
        let kinds: Vec<Kind> = case["modules"].as_array().unwrap().iter().map(|m| kind(m.as_str().unwrap())).collect();
        let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
        let masks = LearnedMasks::declare(&parameters, &source, &kinds).unwrap();
        let by_shape = name.starts_with("target");
        let goal = if by_shape { Goal::Shape(target) } else { Goal::Sparsity(number(&case["target_sparsity"])) };
        let constraint = Constraint::declare(&parameters, &masks, goal, case["warmup"].as_u64().unwrap()).unwrap();
        for (kind, l) in masks.iter() {
            l.set(&rows(&t[&format!("{name}.loga.{}", kind.name())], kind, &source)).unwrap();
        }
        // Their names of multipliers, and ours.
        let mut multipliers = BTreeMap::new();
        for (theirs, value) in case["lambdas"].as_object().unwrap() {
            let (order, module) = (&theirs[..8], theirs.get(9..).unwrap_or("size"));
            let ours = if order == "lambda_1" { "linear" } else { "quadratic" };
            if let Some(variable) = parameters.get(&format!("{PREFIX}.multipliers.{module}.{ours}")) {
                variable.set(&Tensor::new(&[number(value) as f32], &Device::Cpu).unwrap()).unwrap();
                multipliers.insert(theirs.clone(), variable);
            }
        }
        assert_eq!(masks.shape().prunable() as u64, case["prunable_model_size"].as_u64().unwrap());
        let size = expected_size(&masks.probabilities().unwrap(), &source).unwrap();
        near(f64::from(size.to_scalar::<f32>().unwrap()), &case["expected_num_params"], 0.1, name);
        for (step, expected) in case["steps"].as_object().unwrap() {
            let what = format!("{name} step {step}");
            let lagrangian = constraint.lagrangian(&masks, step.parse().unwrap()).unwrap();
            near(f64::from(lagrangian.to_scalar::<f32>().unwrap()), &expected["loss"], tolerances::LAGRANGIAN, &what);
            let gradients = backward(lagrangian).unwrap();
            for (kind, l) in masks.iter() {
                if let Some(expected) = t.get(&format!("{name}.step{step}.grad_loga.{}", kind.name())) {
                    close(gradients.get(l).unwrap(), expected, tolerances::LAGRANGIAN, &what);
                }
            }
            for (theirs, variable) in &multipliers {
                let found = gradients.get(variable.as_tensor()).unwrap().to_vec1::<f32>().unwrap()[0];
                near(f64::from(found), &expected["grad_lambdas"][theirs], tolerances::LAGRANGIAN, &what);
            }
            let targets = constraint.targets(&masks, step.parse().unwrap());
            for (name, found) in constraint.expected(&masks).unwrap() {
                let key = if name == "size" { "sparsity".into() } else { format!("{name}_sparsity") };
                near(found, &expected["info"][format!("expected_{key}")], tolerances::LAGRANGIAN, &what);
                if let Some(found) = targets.get(name) {
                    near(*found, &expected["info"][format!("target_{key}")], tolerances::LAGRANGIAN, &what);
                }
            }
        }
    }
}

fn config(shape: &Shape, base: &Value) -> LlamaConfig {
    let text = serde_json::json!({
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.groups, "vocab_size": base["vocab"], "rms_norm_eps": base["rms_norm_eps"],
        "rope_theta": base["rope_theta"],
    });
    LlamaConfig::parse(&text.to_string(), "golden".as_ref()).unwrap()
}

/// The masks of a case of `masked_vs_pruned`.
fn case_masks(t: &BTreeMap<String, Tensor>, case: &str, source: &Shape) -> Masks {
    let names = [
        ("hidden_z", Kind::Hidden),
        ("head_z", Kind::Head),
        ("intermediate_z", Kind::Intermediate),
        ("head_layer_z", Kind::HeadLayer),
        ("mlp_z", Kind::Mlp),
    ];
    Masks(names.map(|(name, kind)| (kind, rows(&t[&format!("{case}.{name}")], kind, source))).into())
}

fn named(t: &BTreeMap<String, Tensor>, prefix: &str) -> Tensors {
    t.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor.clone()))).collect()
}

/// Logits of all sequences of `ids` `[sequences, tokens]`, in their order.
fn logits(decoder: &Decoder, ids: &Tensor) -> Tensor {
    let (sequences, tokens) = ids.dims2().unwrap();
    let flat: Vec<u32> = ids.flatten_all().unwrap().to_vec1::<i64>().unwrap().iter().map(|id| *id as u32).collect();
    let hidden = decoder.hidden(&flat.into(), &decoder.layout(&vec![tokens; sequences]).unwrap()).unwrap();
    decoder.logits(&hidden).unwrap()
}

#[test]
fn golden_masked_and_pruned_models() {
    let Some(Golden { json, tensors: t, .. }) = load(FAMILY, "masked_vs_pruned") else { return };
    let source = shape(&json["base"]);
    let config = config(&source, &json["base"]);
    let weights = named(&t, "base.");
    let near = |decoder: &Decoder, expected: &str| {
        close(&logits(decoder, &t["ids"]), &t[expected], tolerances::PRUNED_LOGITS, expected);
    };
    near(&Decoder::from_tensors(&config, &weights).unwrap(), "logits.full");
    for case in json["cases"].as_object().unwrap().keys() {
        let masks = case_masks(&t, case, &source);
        let decoder = masked(&config, &weights, &masks, Compatibility::default()).unwrap();
        near(&decoder, &format!("{case}.logits_masked"));
        near(&decoder, &format!("{case}.logits_pruned_fixed"));
        let expected = named(&t, &format!("{case}.pruned_fixed."));
        if expected.is_empty() {
            // Layers of different widths are no model of one shape.
            let message = extract(&config, &weights, &masks, Compatibility::default()).unwrap_err().to_string();
            assert!(message.contains("heads: expected equally many in each layer"), "{message}");
            continue;
        }
        let found = extract(&config, &weights, &masks, Compatibility::default()).unwrap();
        assert_eq!(found.tensors.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, tensor) in &expected {
            assert_eq!(tensor.dims(), found.tensors[name].dims(), "{name}");
            close(&found.tensors[name], tensor, tolerances::MASKS, name);
        }
        near(&Decoder::from_tensors(&found.config, &found.tensors).unwrap(), &format!("{case}.logits_pruned_fixed"));
        let ids: Vec<u32> = t["ids"].get(0).unwrap().to_vec1::<i64>().unwrap().iter().map(|id| *id as u32).collect();
        let same = agreement(&config, &weights, &masks, &found, &ids).unwrap();
        assert!(same.holds() && same.difference < tolerances::PRUNED_LOGITS, "{same:?}");
        // What the released code writes: one tensor differs.
        let original = extract(&config, &weights, &masks, Compatibility::ORIGINAL).unwrap();
        if let Some(head) = t.get(&format!("{case}.pruned_original.lm_head.weight")) {
            close(&original.tensors["lm_head.weight"], head, tolerances::MASKS, case);
        }
        near(
            &Decoder::from_tensors(&original.config, &original.tensors).unwrap(),
            &format!("{case}.logits_pruned_original"),
        );
    }
}

#[test]
fn golden_norm_of_a_masked_stream() {
    let Some(Golden { json, tensors: t, .. }) = load(FAMILY, "rmsnorm_hidden_mask") else { return };
    let (width, x) = (t["z"].elem_count(), t["x"].flatten(0, 1).unwrap());
    // A decoder without layers is its last norm.
    let text = serde_json::json!({
        "hidden_size": width, "intermediate_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 1,
        "rms_norm_eps": json["eps"], "head_dim": 2,
    });
    let config = LlamaConfig::parse(&text.to_string(), "golden".as_ref()).unwrap();
    let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
    Decoder::declare(&parameters.root(), &config, 0.1).unwrap();
    let mut tensors: Tensors = parameters.snapshot().unwrap();
    tensors.insert("model.norm.weight".into(), t["weight"].clone());
    let finished = |masks: &Masks, x: &Tensor| {
        masked(&config, &tensors, masks, Compatibility::default()).unwrap().finish(x).unwrap()
    };
    let none = Masks::default();
    close(&finished(&none, &x), &t["out_nomask"], tolerances::MASKS, "without mask");
    let masks = Masks([(Kind::Hidden, t["z"].reshape((1, width)).unwrap())].into());
    // What the mask sets to zero is zero in a masked stream.
    let kept = t["z"].ne(0.0_f32).unwrap().to_dtype(DType::F32).unwrap();
    close(&finished(&masks, &x.broadcast_mul(&kept).unwrap()), &t["out"], tolerances::MASKS, "masked");
    let found = extract(&config, &tensors, &masks, Compatibility::default()).unwrap();
    close(&found.tensors["model.norm.weight"], &t["pruned_weight"], tolerances::MASKS, "gain");
    let kept: Vec<u32> = found.kept.hidden.iter().map(|k| *k as u32).collect();
    let x = x.index_select(&Tensor::new(kept, &Device::Cpu).unwrap(), 1).unwrap();
    let decoder = Decoder::from_tensors(&found.config, &found.tensors).unwrap();
    close(&decoder.finish(&x).unwrap(), &t["out_pruned"], tolerances::MASKS, "pruned");
}

#[test]
fn golden_pruning_run() {
    let Some(Golden { json, tensors: t, .. }) = load(FAMILY, "pruning_run") else { return };
    let Some(of_models) = self::json("masked_vs_pruned.json") else { return };
    let Some(of_masks) = self::json("masks.json") else { return };
    let (source, target) = (shape(&of_masks["base"]), shape(&of_masks["target"]));
    let config = config(&source, &of_models["base"]);
    let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
    let mut weights = named(&t, "init.");
    weights.retain(|name, _| !name.starts_with("loga."));
    Decoder::declare_from(&parameters, &config, &weights).unwrap();
    let names: Vec<String> = weights.into_keys().collect();
    let masks = LearnedMasks::declare(&parameters, &source, &Kind::between(&source, &target)).unwrap();
    let constraint = Constraint::declare(&parameters, &masks, Goal::Shape(target), 5).unwrap();
    for (kind, l) in masks.iter() {
        l.set(&rows(&t[&format!("init.loga.{}", kind.name())], kind, &source)).unwrap();
    }
    let group = |part: &str, ascend| ParamGroup {
        pattern: format!("{PREFIX}.{part}"),
        learning_rate_scale: 1e3,
        ascend,
        ..ParamGroup::default()
    };
    let adam = AdamConfig {
        learning_rate: 1e-3,
        betas: (0.9, 0.95),
        clip: Clip::Norm(1.0),
        groups: vec![group("masks", false), group("multipliers", true)],
        ..AdamConfig::default()
    };
    let schedule = ScheduleConfig {
        kind: ScheduleKind::Cosine,
        warmup_steps: 3,
        minimum_rate: 0.1 * adam.learning_rate,
        ..ScheduleConfig::default()
    };
    let schedule = Schedule::new(schedule, adam.learning_rate, 12).unwrap();
    let mut adam = AdamW::new(&parameters, adam).unwrap();
    let quirk = Compatibility { embedding_unmasked: true, ..Compatibility::default() };
    for (step, expected) in json["steps"].as_array().unwrap().iter().enumerate() {
        let (what, tolerance) =
            (format!("step {step}"), if step < 5 { tolerances::PRUNING_EARLY } else { tolerances::PRUNING_LATE });
        masks.clamp().unwrap();
        let noise = masks.iter().map(|(kind, _)| {
            let u = t[&format!("u.{}", kind.name())].get(step).unwrap();
            (kind, rows(&u, kind, &source))
        });
        let drawn = masks.sample(&noise.collect()).unwrap();
        let tensors: Tensors =
            names.iter().map(|name| (name.clone(), parameters.get(name).unwrap().as_tensor().clone())).collect();
        let decoder = masked(&config, &tensors, &drawn, quirk).unwrap();
        let ids = t["ids"].get(step).unwrap();
        let (sequences, tokens) = ids.dims2().unwrap();
        let labels = ids.flatten_all().unwrap().to_vec1::<i64>().unwrap();
        let flat: Vec<u32> = labels.iter().map(|id| *id as u32).collect();
        let batch = Batch::new(&flat, &labels, &vec![tokens; sequences]).unwrap();
        let ce = loss(&decoder, &batch, Reduction::Mean).unwrap();
        assert_eq!(tesseral_nn::kernels::reverse::foreign_operations(&ce), 0);
        let lagrangian = constraint.lagrangian(&masks, step as u64).unwrap();
        near(f64::from(ce.to_scalar::<f32>().unwrap()), &expected["ce"], tolerance, &what);
        near(f64::from(lagrangian.to_scalar::<f32>().unwrap()), &expected["lag"], tolerance, &what);
        let mut gradients = Gradients::collect(&parameters, &backward(ce).unwrap());
        gradients.accumulate(&Gradients::collect(&parameters, &backward(lagrangian).unwrap())).unwrap();
        if step == 3 {
            close(&logits(&decoder, &ids), &t["step3.logits"], tolerance, "logits");
            for (name, expected) in named(&t, "step3.grad.") {
                close(gradients.get(&name).unwrap(), &expected, tolerance, &name);
            }
            for kind in drawn.0.keys() {
                let name = format!("{PREFIX}.masks.{}", kind.name());
                let expected = &t[&format!("step3.grad_loga.{}", kind.name())];
                close(gradients.get(&name).unwrap(), expected, tolerance, &name);
                let z = t.get(&format!("step3.z.{}", kind.name()));
                z.into_iter().for_each(|z| close(&drawn.0[kind], z, tolerance, &name));
            }
        }
        let rate = schedule.learning_rate(step as u64);
        near(rate / 1e-3, &expected["alpha"], tolerances::SCHEDULE, &what);
        let report = adam.step(&gradients, rate).unwrap();
        near(report.gradient_norm, &expected["grad_norm"], 10.0 * tolerance, &what);
        for (theirs, value) in expected["lambdas_after"].as_object().unwrap() {
            let Some(module) = theirs.get(9..) else { continue };
            let ours = if theirs.starts_with("lambda_1") { "linear" } else { "quadratic" };
            let found = parameters.get(&format!("{PREFIX}.multipliers.{module}.{ours}")).unwrap();
            near(f64::from(found.to_vec1::<f32>().unwrap()[0]), value, tolerance, theirs);
        }
        for (kind, l) in masks.iter() {
            if let Some(expected) = t.get(&format!("after{step}.loga.{}", kind.name())) {
                close(l, expected, tolerance, &what);
            }
        }
    }
    for (name, expected) in named(&t, "final.") {
        close(&parameters.get(&name).unwrap(), &expected, tolerances::PRUNING_LATE, &name);
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn golden_weights_of_domains() {
    let Some(golden) = json("dynamic_loading.json") else { return };
    let references = numbers(&golden["target_loss"][golden["target_used"].as_str().unwrap()]);
    let mut series: Vec<(&str, &Value)> =
        golden["updates"].as_object().unwrap().iter().map(|(name, all)| (name.as_str(), all)).collect();
    series.push(("paper", &golden["paper_algorithm1_max0_nosmoothing"]));
    for (name, expected) in series {
        let rule: Rule = serde_json::from_value(name.into()).unwrap();
        let (rate, smoothing) = (number(&golden["eta"]), number(&golden["c"]));
        let config = WeightConfig { rule, rate, smoothing, ..WeightConfig::default() };
        let mut weights = numbers(&golden["proportion"]);
        for (losses, expected) in golden["losses"].as_array().unwrap().iter().zip(expected.as_array().unwrap()) {
            let gaps: Vec<f64> = numbers(losses).iter().zip(&references).map(|(l, r)| l - r).collect();
            weights = config.update(&weights, &gaps).unwrap();
            for (found, expected) in weights.iter().zip(expected.as_array().unwrap()) {
                near(*found, expected, tolerances::DOMAIN_WEIGHTS, name);
            }
        }
    }
}

#[test]
fn golden_scaling_laws() {
    let Some(golden) = json("dynamic_loading.json") else { return };
    let law = &golden["scaling_law"];
    for (domain, fit) in law["fits"].as_object().unwrap() {
        let points = numbers(&law["model_sizes"]).into_iter().zip(numbers(&fit["losses"]));
        let found = ScalingLaw::fit(&points.collect::<Vec<_>>()).unwrap();
        for (key, value) in [("a", found.a), ("b", found.b), ("c", found.c)] {
            let expected = number(&fit[key]);
            assert!((value - expected).abs() <= tolerances::SCALING_LAW * expected.abs(), "{domain} {key}: {value}");
        }
        for (model, size) in law["sizes"].as_object().unwrap() {
            near(found.loss(number(size)), &fit["predict"][model], tolerances::SCALING_LAW, domain);
        }
    }
}

#[test]
fn golden_schedule() {
    let Some(golden) = json("lr_schedule.json") else { return };
    let runs = golden.as_object().unwrap().iter().filter(|(_, run)| run["values"].is_object());
    for (name, run) in runs {
        let schedule = ScheduleConfig {
            kind: ScheduleKind::Cosine,
            warmup_steps: run["tw"].as_u64().unwrap(),
            minimum_rate: number(&run["af"]),
            ..ScheduleConfig::default()
        };
        let schedule = Schedule::new(schedule, 1.0, run["tmax"].as_u64().unwrap()).unwrap();
        for (step, expected) in run["values"].as_object().unwrap() {
            near(schedule.learning_rate(step.parse().unwrap()), expected, tolerances::SCHEDULE, name);
        }
    }
}

#[test]
fn golden_rows() {
    let (Some(folder), Some(expected)) = (golden::file(FAMILY, "mds_sample"), json("mds_sample/expected.json")) else {
        return;
    };
    let rows = MdsRows::open(&folder).unwrap();
    let expected = expected["samples"].as_array().unwrap();
    assert_eq!(rows.len(), expected.len());
    for (k, sample) in expected.iter().enumerate() {
        let row = rows.row(k).unwrap();
        assert_eq!(row.domain, sample["set"].as_str().unwrap());
        assert_eq!(serde_json::to_value(&row.input_ids).unwrap(), sample["tokens"]);
    }
}
