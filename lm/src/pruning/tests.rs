//! Masked, pruned and trained models of every kind: grouped heads, tied or not, with biases.

use super::constraint::{Constraint, Goal};
use super::domain_weights::WeightConfig;
use super::domains::{Domain, Loader};
use super::extract::{Extracted, agreement, extract};
use super::fold::{Compatibility, masked};
use super::masks::{Kind, LearnedMasks};
use super::shape::{Shape, Target};
use super::task::{DomainTask, Learning, model_tensors};
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::objective::{Batch, Recompute};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use tesseral_nn::Parameters;
use tesseral_nn::kernels::backward;
use tesseral_nn::optim::Gradients;
use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{StepContext, Task};

const TARGET: Target = Target { layers: Some(2), heads: Some(4), hidden: Some(12), intermediate: Some(16) };

/// Six query heads of width 4 on three key heads, so that a head's width follows from nothing else.
fn tiny(tied: bool, biased: bool) -> (Parameters, LlamaConfig, LearnedMasks) {
    let text = format!(
        r#"{{"hidden_size": 18, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 6, "head_dim": 4,
        "num_key_value_heads": 3, "vocab_size": 31, "rope_theta": 100.0, "tie_word_embeddings": {tied},
        "attention_bias": {biased}, "mlp_bias": {biased}}}"#
    );
    let config = LlamaConfig::parse(&text, "config.json".as_ref()).unwrap();
    let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
    Decoder::declare(&parameters.root(), &config, 0.3).unwrap();
    let (source, target) = (Shape::of(&config), TARGET.shape(&config).unwrap());
    let masks = LearnedMasks::declare(&parameters, &source, &Kind::between(&source, &target)).unwrap();
    scatter(&parameters);
    (parameters, config, masks)
}

/// Random masks, gains and biases, so that nothing is hidden by ones and zeros.
fn scatter(parameters: &Parameters) {
    let random = Parameters::new(Streams::new(9), DType::F64, &Device::Cpu);
    for (name, variable) in parameters.to_vec() {
        let sigma = if name.starts_with("pruning.masks") { 2.0 } else { 0.1 };
        let shift = random.root().parameter(&name, variable.dims(), tesseral_nn::Init::Normal(sigma)).unwrap();
        variable.set(&(variable.as_detached_tensor() * 0.4 + shift.detach()).unwrap()).unwrap();
    }
}

const KINDS: [(bool, bool); 3] = [(false, false), (true, false), (false, true)];

#[test]
fn what_is_written_is_what_was_masked() {
    for (tied, biased) in KINDS {
        let (parameters, config, masks) = tiny(tied, biased);
        let target = TARGET.shape(&config).unwrap();
        let values = masks.deterministic(Some(&target)).unwrap();
        let tensors = model_tensors(&parameters);
        let found = extract(&config, &tensors, &values, Compatibility::default()).unwrap();
        assert_eq!(found.kept.shape(&Shape::of(&config)), target);
        assert_eq!(Shape::of(&found.config), target);
        assert_eq!(found.config.head_dim, Some(4));
        let names: BTreeMap<String, Vec<usize>> = found.config.tensors().into_iter().collect();
        let dims = found.tensors.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())).collect();
        assert_eq!(names, dims);
        let ids: Vec<u32> = (0..20).map(|k| (k * 7 + 3) % 31).collect();
        let same = agreement(&config, &tensors, &values, &found, &ids).unwrap();
        assert!(same.difference < 1e-12 && same.largest > 0.1, "tied {tied}, biases {biased}: {same:?}");
        // One mask left out of the fold would show.
        let mut wrong = found.tensors.clone();
        let name = "model.layers.1.mlp.up_proj.weight";
        wrong.insert(name.into(), (&wrong[name] * 0.9).unwrap());
        let wrong = Extracted { tensors: wrong, ..found };
        assert!(!agreement(&config, &tensors, &values, &wrong, &ids).unwrap().holds());
    }
}

/// The masked forward pass, written out with activations masked one by one, as the paper has it.
#[test]
fn a_masked_decoder_is_one_whose_activations_are_masked() {
    let (parameters, config, masks) = tiny(false, false);
    let values = masks.deterministic(Some(&TARGET.shape(&config).unwrap())).unwrap();
    let t = model_tensors(&parameters);
    let z = |kind: Kind| &values.0[&kind];
    let ids = [3_u32, 1, 4, 1, 5, 9, 2, 6];
    let z_hidden = z(Kind::Hidden);
    let kept = z_hidden.ne(0.0).unwrap().to_dtype(DType::F64).unwrap();
    let count = kept.sum_all().unwrap().to_scalar::<f64>().unwrap();
    let norm = |x: &Tensor, gain: &Tensor| {
        let square = x.sqr().unwrap().broadcast_mul(&kept).unwrap().sum_keepdim(1).unwrap();
        let root = ((square / count).unwrap() + config.rms_norm_eps).unwrap().sqrt().unwrap();
        x.broadcast_div(&root).unwrap().broadcast_mul(gain).unwrap().broadcast_mul(z_hidden).unwrap()
    };
    let project = |x: &Tensor, w: &Tensor| x.matmul(&w.t().unwrap()).unwrap();
    let table = Tensor::new(&ids, &Device::Cpu).unwrap();
    let mut x = t["model.embed_tokens.weight"].index_select(&table, 0).unwrap().broadcast_mul(z_hidden).unwrap();
    let layout = Decoder::connected(&config, &t).unwrap().layout(&[ids.len()]).unwrap();
    for layer in 0..config.num_hidden_layers {
        let w = |name: &str| &t[&format!("model.layers.{layer}.{name}.weight")];
        let n = norm(&x, w("input_layernorm"));
        let turn = |name: &str| tesseral_nn::layers::rope::rotate(&project(&n, w(name)), &layout.rotations).unwrap();
        let (q, k, v) = (turn("self_attn.q_proj"), turn("self_attn.k_proj"), project(&n, w("self_attn.v_proj")));
        let seen = tesseral_nn::attention::varlen::attention(&q, &k, &v, &layout.segments, layout.heads).unwrap();
        let groups = z(Kind::Head).get(layer).unwrap().reshape((3, 1)).unwrap().broadcast_as((3, 8)).unwrap();
        let seen = seen.broadcast_mul(&groups.contiguous().unwrap().reshape((1, 24)).unwrap()).unwrap();
        let z_layer = z(Kind::Layer).narrow(1, layer, 1).unwrap();
        let add = |x: &Tensor, part: Tensor| {
            (x + part.broadcast_mul(&z_layer).unwrap().broadcast_mul(z_hidden).unwrap()).unwrap()
        };
        x = add(&x, project(&seen, w("self_attn.o_proj")));
        let n = norm(&x, w("post_attention_layernorm"));
        let up = project(&n, w("mlp.up_proj")).broadcast_mul(&z(Kind::Intermediate).get(layer).unwrap()).unwrap();
        let gated = (project(&n, w("mlp.gate_proj")).silu().unwrap() * up).unwrap();
        x = add(&x, project(&gated, w("mlp.down_proj")));
    }
    let expected = project(&norm(&x, &t["model.norm.weight"]), &t["lm_head.weight"]);
    let decoder = masked(&config, &t, &values, Compatibility::default()).unwrap();
    let found = decoder.logits(&decoder.hidden(&ids.into(), &layout).unwrap()).unwrap();
    let far = (found - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    assert!(far < 1e-12, "{far:e}");
}

fn domains() -> Vec<Domain> {
    let rows = |start: u32| -> Vec<Batch> {
        let row = |k: u32| Batch::whole(&(0..24).map(|t| (start + k + t * t) % 31).collect::<Vec<_>>()).unwrap();
        (0..9).map(row).collect()
    };
    ["a", "b"].iter().zip([0, 11]).map(|(name, start)| Domain::new(name, Box::new(rows(start)), 2).unwrap()).collect()
}

#[test]
fn every_weight_mask_and_multiplier_has_its_gradient() {
    for (tied, biased) in KINDS {
        let (parameters, config, masks) = tiny(tied, biased);
        let target = TARGET.shape(&config).unwrap();
        let constraint = Constraint::declare(&parameters, &masks, Goal::Shape(target), 1).unwrap();
        // Multipliers that pull, and masks that noise leaves between 0 and 1.
        for (name, variable) in parameters.to_vec() {
            let value = if name.starts_with("pruning.multipliers") { 0.7 } else { 0.2 };
            if name.starts_with("pruning.") {
                variable.set(&(variable.zeros_like().unwrap() + value).unwrap()).unwrap();
            }
        }
        let domains = domains();
        let sizes: Vec<usize> = domains.iter().map(Domain::rows).collect();
        let streams = Streams::new(3);
        let run = |recompute: Recompute, split: bool| {
            let compatibility = Compatibility::default();
            let mut task = DomainTask {
                config: &config,
                tensors: model_tensors(&parameters),
                learning: Some(Learning { masks: &masks, constraint: &constraint, compatibility }),
                domains: &domains,
                loader: Loader::new(&sizes, &[1.0, 1.0], streams).unwrap(),
                references: &[1.0, 1.0],
                update: WeightConfig::default(),
                recompute,
                finished: 0,
                step_rows: BTreeMap::new(),
            };
            let context = StepContext { step: 4, micro_batch: 0, epoch: 0, streams };
            if split {
                return task.loss_and_gradients(0, &context, &parameters).unwrap();
            }
            let loss = task.loss(0, &context).unwrap();
            let gradients = Gradients::collect(&parameters, &backward(loss.clone()).unwrap());
            (loss.to_scalar::<f64>().unwrap(), gradients)
        };
        let (whole, reference) = run(Recompute::None, false);
        assert_every_variable_has_gradient(&parameters, &reference).unwrap();
        for recompute in [Recompute::None, Recompute::FeedForward, Recompute::Layers] {
            let (value, gradients) = run(recompute, true);
            assert!((value - whole).abs() < 1e-12);
            for (name, expected) in reference.iter() {
                let far = (expected - gradients.get(name).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
                assert!(far.to_scalar::<f64>().unwrap() < 1e-12, "{recompute:?} {name}");
            }
        }
    }
}

#[test]
fn validation_moves_weights_to_the_domain_that_lags() {
    let (parameters, config, masks) = tiny(true, false);
    let constraint = Constraint::declare(&parameters, &masks, Goal::Shape(TARGET.shape(&config).unwrap()), 1).unwrap();
    let domains = domains();
    let sizes: Vec<usize> = domains.iter().map(Domain::rows).collect();
    let compatibility = Compatibility::default();
    let mut task = DomainTask {
        config: &config,
        tensors: model_tensors(&parameters),
        learning: Some(Learning { masks: &masks, constraint: &constraint, compatibility }),
        domains: &domains,
        loader: Loader::new(&sizes, &[1.0, 1.0], Streams::new(3)).unwrap(),
        references: &[9.0, 1.0],
        update: WeightConfig { cap: 0.8, ..WeightConfig::default() },
        recompute: Recompute::None,
        finished: 0,
        step_rows: BTreeMap::new(),
    };
    let found = task.validate().unwrap().unwrap();
    assert!(found.metrics["weight_b"] > 0.6 && found.metrics["weight_b"] <= 0.8, "{:?}", found.metrics);
    assert!((found.metrics["gap_b"] - (found.metrics["loss_b"] - 1.0)).abs() < 1e-12);
    assert!(found.metrics.contains_key("sparsity_head") && found.metrics.contains_key("target_layer"));
    // Its state is all that another task needs.
    let state = task.state().unwrap();
    let picks: Vec<_> = (0..20).map(|k| task.loader.next(&[k])).collect();
    task.restore(&state).unwrap();
    assert!(picks.iter().enumerate().all(|(k, pick)| task.loader.next(&[k as u64]) == *pick));
    assert!(task.restore(&serde_json::json!({"weights": [1.0], "drawn": [0]})).is_err());
}

#[test]
fn half_a_layer_is_no_model() {
    let (parameters, config, _) = tiny(false, false);
    let mask = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let masks =
        super::masks::Masks([(Kind::HeadLayer, mask(&[1.0, 0.0, 1.0])), (Kind::Mlp, mask(&[1.0, 1.0, 1.0]))].into());
    let tensors = model_tensors(&parameters);
    let message = extract(&config, &tensors, &masks, Compatibility::default()).unwrap_err().to_string();
    assert!(message.contains("layers: expected whole ones"), "{message}");
}
