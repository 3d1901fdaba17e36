//! Zeroth-order steps against the original MeZO code, its recorded directions put in place of ours (f64 and f32).

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/recorded.rs"]
mod recorded;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{D, DType, Device, Tensor};
use golden::{Golden, cases, difference, load, values};
use recorded::Recorded;
use serde_json::Value;
use std::collections::BTreeMap;
use tesseral_nn::optim::zeroth_order::config::{SamplesSchedule, ScaleBy, Variant};
use tesseral_nn::optim::zeroth_order::{Rule, ZerothOrder, ZerothOrderConfig};
use tesseral_nn::optim::{Clip, ScheduleConfig, ScheduleKind};
use tesseral_nn::rng::Streams;
use tesseral_nn::{Init, Parameters};

const FAMILY: &str = "mezo";

fn declared(golden: &Golden, dtype: DType) -> Parameters {
    let parameters = Parameters::new(Streams::new(0), dtype, &Device::Cpu);
    let mut start = BTreeMap::new();
    for name in golden.json["order"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let tensor = golden.tensor(&format!("init.{name}"));
        parameters.root().parameter(name, tensor.dims(), Init::Constant(0.0)).unwrap();
        start.insert(name.to_string(), tensor);
    }
    parameters.load(&start).unwrap();
    parameters
}

fn linear(parameters: &Parameters, x: &Tensor, name: &str) -> Tensor {
    let get = |kind: &str| parameters.get(&format!("{name}.{kind}"));
    let y = x.matmul(&get("weight").unwrap().t().unwrap()).unwrap();
    get("bias").map_or(y.clone(), |bias| y.broadcast_add(&bias).unwrap())
}

fn layer_norm(parameters: &Parameters, x: &Tensor, name: &str) -> Tensor {
    let get = |kind: &str| parameters.get(&format!("{name}.{kind}")).unwrap();
    let far = x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap();
    let deviation = (far.sqr().unwrap().mean_keepdim(D::Minus1).unwrap() + 1e-5).unwrap().sqrt().unwrap();
    let y = far.broadcast_div(&deviation).unwrap();
    y.broadcast_mul(&get("weight")).unwrap().broadcast_add(&get("bias")).unwrap()
}

fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    let sums = logits.exp().unwrap().sum_keepdim(1).unwrap().log().unwrap();
    let chosen = logits.gather(&labels.unsqueeze(1).unwrap(), 1).unwrap();
    (sums - chosen).unwrap().mean_all().unwrap()
}

fn scalar(x: &Tensor) -> f64 {
    x.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn batch(golden: &Golden, number: usize, dtype: DType) -> (Tensor, Tensor) {
    let x = golden.tensor("x").get(number).unwrap().to_dtype(dtype).unwrap();
    (x, golden.tensors["y"].to_dtype(DType::I64).unwrap().get(number).unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn golden_mezo_steps_of_the_large_models() {
    for name in cases(FAMILY, "zo_large_mlp") {
        let golden = load(FAMILY, &name).unwrap();
        let (dtype, weight_tolerance, gradient_tolerance) = match name.ends_with("f64") {
            true => (DType::F64, tolerances::ZEROTH_ORDER, tolerances::ZEROTH_ORDER_DERIVATIVE),
            false => (DType::F32, tolerances::ZEROTH_ORDER_F32, tolerances::ZEROTH_ORDER_DERIVATIVE_F32),
        };
        for (case, json) in golden.json["cases"].as_object().unwrap() {
            let steps = json["steps"].as_array().unwrap();
            let kind = if text(&json["schedule"]) == "linear" { ScheduleKind::Linear } else { ScheduleKind::Constant };
            let config = ZerothOrderConfig {
                learning_rate: json["lr0"].as_f64().unwrap(),
                epsilon: golden.json["eps"].as_f64().unwrap(),
                schedule: ScheduleConfig { kind, ..Default::default() },
                weight_decay: json["weight_decay"].as_f64().unwrap(),
                no_decay: ["*bias*", "*layer_norm*", "*layernorm*"].map(String::from).to_vec(),
                ..Default::default()
            };
            let parameters = declared(&golden, dtype);
            let prefixes: Vec<String> = (0..steps.len()).map(|t| format!("{case}.step{t}.z.")).collect();
            let directions = Recorded::new(&golden, &parameters, &prefixes);
            let mut run =
                ZerothOrder::new(&parameters, config.clone(), steps.len() as u64, directions.clone()).unwrap();
            let mut again = Vec::new();
            for (t, expected) in steps.iter().enumerate() {
                let (x, y) = batch(&golden, t, dtype);
                let report = run
                    .step(&mut || {
                        let h = layer_norm(&parameters, &linear(&parameters, &x, "fc1"), "layer_norm").tanh()?;
                        Ok(scalar(&cross_entropy(&linear(&parameters, &h, "fc2"), &y)))
                    })
                    .unwrap();
                let expect = |key: &str| expected[key].as_f64().unwrap();
                let error = (report.scalars[0] - expect("projected_grad")).abs();
                assert!(error < gradient_tolerance, "{name} {case} {t}: {error:e}");
                assert!((report.loss - expect("loss_plus")).abs() < gradient_tolerance, "{name} {case} {t}");
                assert!((report.learning_rate - expect("lr")).abs() < 1e-15);
                again.push(vec![expect("projected_grad")]);
                for (parameter, variable) in parameters.to_vec() {
                    let after = golden.tensor(&format!("{case}.step{t}.after.{parameter}"));
                    let error = difference(&variable, &after);
                    assert!(error < weight_tolerance, "{name} {case} step {t} {parameter}: {error:e}");
                }
            }
            // The recorded scalars alone, without a loss.
            let replayed = declared(&golden, dtype);
            let mut run = ZerothOrder::new(&replayed, config, steps.len() as u64, directions).unwrap();
            run.replay(&again).unwrap();
            for (parameter, variable) in replayed.to_vec() {
                let after = golden.tensor(&format!("{case}.step{}.after.{parameter}", steps.len() - 1));
                assert!(difference(&variable, &after) < weight_tolerance, "{name} {case} {parameter}");
            }
        }
    }
}

/// embeddings -> two layers of LayerNorm(x + tanh(dense x)) -> lm_head.
fn logits(parameters: &Parameters, x: &Tensor) -> Tensor {
    let mut h = linear(parameters, x, "embeddings");
    for layer in ["encoder.layer.0", "encoder.layer.1"] {
        let dense = linear(parameters, &h, &format!("{layer}.dense")).tanh().unwrap();
        h = layer_norm(parameters, &(h + dense).unwrap(), &format!("{layer}.LayerNorm"));
    }
    linear(parameters, &h, "lm_head")
}

const LAYERS: [(&str, &str); 4] =
    [("*embed*", "embed"), ("*lm_head*", "lm_head"), ("*layer.0.*", "layer.0."), ("*layer.1.*", "layer.1.")];

/// What the original's arguments mean here.
fn translated(arguments: &Value, golden: &Golden) -> ZerothOrderConfig {
    let number = |key: &str| arguments[key].as_f64().unwrap();
    let flag = |key: &str| arguments[key].as_bool().unwrap();
    let by_trainer = flag("zero_order_use_trainer_optim");
    let linear_rate = by_trainer && text(&arguments["lr_scheduler_type"]) == "linear";
    let adam = by_trainer && text(&arguments["optimizer"]) == "adam";
    let samples = arguments["zero_order_sample_scheduler"].as_str();
    let norm = arguments["zo_variant"].as_str();
    let mut config = ZerothOrderConfig {
        learning_rate: number("learning_rate"),
        epsilon: number("zero_order_eps"),
        schedule: ScheduleConfig {
            kind: if linear_rate { ScheduleKind::Linear } else { ScheduleKind::Constant },
            ..Default::default()
        },
        samples: samples.map_or(1, |_| number("zero_order_sample") as usize),
        samples_schedule: if samples == Some("linear") { SamplesSchedule::Linear } else { SamplesSchedule::Constant },
        sum_samples: flag("scale_lr_with_samples"),
        rule: match adam {
            true => Rule::Adam { betas: (number("adam_beta1"), number("adam_beta2")), epsilon: number("adam_epsilon") },
            false => Rule::Sgd,
        },
        weight_decay: number("weight_decay"),
        no_decay: if by_trainer { vec!["*bias*".into(), "*LayerNorm.weight*".into()] } else { Vec::new() },
        clip: if flag("zero_order_clip_grad") { Clip::Norm(number("max_grad_norm")) } else { Clip::None },
        variant: match (norm, flag("change_grad_estimate")) {
            (None, _) => Variant::Plain,
            (_, false) => Variant::Variance,
            (_, true) => Variant::Expectation,
        },
        scale_by: if norm == Some("grad_norm") { ScaleBy::GradientNorm } else { ScaleBy::ParameterNorm },
        layers: LAYERS.map(|(pattern, _)| pattern.to_string()).to_vec(),
        by_layer: flag("zo_by_layer"),
        running_scales: flag("norm_running_update"),
        ..Default::default()
    };
    if norm == Some("grad_norm") && !flag("use_zo_grad_est") {
        config.scales = true_gradient_norms(golden);
    }
    config
}

fn true_gradient_norms(golden: &Golden) -> BTreeMap<String, f64> {
    let parameters = declared(golden, DType::F64);
    let (x, y) = batch(golden, 0, DType::F64);
    let gradients = cross_entropy(&logits(&parameters, &x), &y).backward().unwrap();
    let norm = |key: &str| {
        let of_layer = parameters.to_vec().into_iter().filter(|(name, _)| name.contains(key));
        of_layer.map(|(_, v)| values(gradients.get(&v).unwrap()).iter().map(|g| g * g).sum::<f64>()).sum::<f64>().sqrt()
    };
    LAYERS.iter().map(|(pattern, key)| (pattern.to_string(), norm(key))).collect()
}

#[test]
fn golden_mezo_variants_of_the_medium_models() {
    for name in cases(FAMILY, "zo_medium_variants") {
        let golden = load(FAMILY, &name).unwrap();
        for (case, json) in golden.json["cases"].as_object().unwrap() {
            let (arguments, pairs) = (&json["args"], json["pairs"].as_array().unwrap());
            let parameters = declared(&golden, DType::F64);
            let prefixes: Vec<String> = (0..pairs.len()).map(|k| format!("{case}.pair{k}.z.")).collect();
            let directions = Recorded::new(&golden, &parameters, &prefixes);
            let steps = arguments["max_steps"].as_u64().unwrap();
            let config = translated(arguments, &golden);
            let mut run = ZerothOrder::new(&parameters, config, steps, directions.clone()).unwrap();
            let mut losses = Vec::new();
            for step in 0..steps {
                let (x, y) = batch(&golden, step as usize % 2, DType::F64);
                let report = run.step(&mut || {
                    let logits = logits(&parameters, &x);
                    let loss = if arguments["optimize_acc"] == true {
                        let right = logits.argmax(1)?.to_dtype(DType::I64)?.eq(&y)?;
                        -scalar(&right.to_dtype(DType::F64)?.mean_all()?)
                    } else {
                        scalar(&cross_entropy(&logits, &y))
                    };
                    losses.push(loss);
                    Ok(loss)
                });
                assert!(!report.unwrap().rejected);
            }
            assert_eq!(losses.len(), 2 * pairs.len(), "{case}");
            for (k, (pair, losses)) in pairs.iter().zip(losses.chunks(2)).enumerate() {
                for (key, found) in [("loss_plus", losses[0]), ("loss_minus", losses[1])] {
                    let error = (found - pair[key].as_f64().unwrap()).abs();
                    assert!(error < tolerances::ZEROTH_ORDER, "{case} pair {k} {key}: {error:e}");
                }
            }
            for (parameter, variable) in parameters.to_vec() {
                let error = difference(&variable, &golden.tensor(&format!("{case}.after.{parameter}")));
                assert!(error < tolerances::ZEROTH_ORDER, "{case} {parameter}: {error:e}");
            }
        }
    }
}
