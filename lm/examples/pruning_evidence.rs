//! What learned masks and dynamic loading are worth on a tiny model of bytes, with controls, over three seeds.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p tesseral-lm --example pruning_evidence -- TEXT OUT [SEEDS]` reads a folder of `.jsonl`
//! files for each domain and writes `pruning.json` and `pruning.md`. The seeds run beside each other.
//!
//! A source of 4 layers, width 64, 4 heads, 176 intermediate dimensions is trained, then cut to 3, 48, 3 and 112 by learned masks, at
//! random, by magnitude, or not used at all; every arm gets the same number of steps of the same size afterwards, those of pruning
//! included. Losses are nats a byte on rows that are held out, averaged over domains.

#![allow(missing_docs, reason = "a program")]

use candle_core::{DType, Device, Tensor};
use rand::seq::index;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tesseral_datasets::jsonl::Lines;
use tesseral_lm::model::decoder::Decoder;
use tesseral_lm::model::llama::LlamaConfig;
use tesseral_lm::objective::{Batch, Recompute};
use tesseral_lm::pruning::constraint::{Constraint, Goal};
use tesseral_lm::pruning::domain_weights::{Rule, WeightConfig};
use tesseral_lm::pruning::domains::{Domain, Loader};
use tesseral_lm::pruning::extract::{Extracted, extract};
use tesseral_lm::pruning::fold::{Compatibility, Tensors};
use tesseral_lm::pruning::masks::{Kind, LearnedMasks, Masks};
use tesseral_lm::pruning::scaling_law::ScalingLaw;
use tesseral_lm::pruning::shape::{Shape, Target, pruned_config};
use tesseral_lm::pruning::task::{DomainTask, Learning, model_tensors};
use tesseral_nn::Parameters;
use tesseral_nn::optim::{AdamConfig, Clip, ParamGroup, ScheduleConfig, ScheduleKind};
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{Silent, TrainConfig, Trainer, on_large_stack};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DOMAINS: [&str; 5] = ["arxiv", "book", "c4-rp", "github", "stackexchange"];
/// Bytes of a row, rows of a step, rows of a domain and those of them that are held out.
const ROW: usize = 128;
const BATCH: u64 = 4;
const ROWS: usize = 20_000;
const HELD_OUT: usize = 48;
/// Steps of the source, and of pruning and training together.
const SOURCE_STEPS: u64 = 12_000;
const BUDGETS: [u64; 2] = [300, 900];
/// Steps of pruning with dynamic loading, and of each model of the scaling law.
const LOADING_STEPS: u64 = 400;
const LAW_STEPS: u64 = 400;
const TARGET: Target = Target { layers: Some(3), heads: Some(3), hidden: Some(48), intermediate: Some(112) };

fn main() -> Result<()> {
    tesseral_nn::kernels::memory::keep_freed_blocks();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, out] = [0, 1].map(|k| arguments.get(k).map(PathBuf::from));
    let (text, out) = text.zip(out).ok_or("expected a folder of domains and one to write to")?;
    let count: u64 = arguments.get(2).map_or(Ok(3), |n| n.parse())?;
    let clock = Instant::now();
    let found: Vec<Value> = std::thread::scope(|scope| -> Result<Vec<Value>> {
        let text = &text;
        let one = |seed| scope.spawn(move || on_large_stack(|| seed_of(text, seed).map_err(|e| e.to_string())));
        let running: Vec<_> = (1..=count).map(one).collect();
        let join = |seed: std::thread::ScopedJoinHandle<'_, _>| -> Result<Value> {
            let found: tesseral_nn::Result<std::result::Result<Value, String>> =
                seed.join().map_err(|_| "a seed panicked")?;
            Ok(found??)
        };
        running.into_iter().map(join).collect()
    })?;
    std::fs::create_dir_all(&out)?;
    let all = json!({"seeds": found, "seconds": clock.elapsed().as_secs()});
    tesseral_nn::train::files::write_atomic(&out.join("pruning.json"), format!("{all:#}\n").as_bytes())?;
    let table = tables(&found);
    tesseral_nn::train::files::write_atomic(&out.join("pruning.md"), table.as_bytes())?;
    println!("{table}");
    Ok(())
}

fn config(layers: usize, hidden: usize, heads: usize, intermediate: usize) -> Result<LlamaConfig> {
    let text = json!({"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
        "num_attention_heads": heads, "vocab_size": 256, "rms_norm_eps": 1e-5});
    Ok(LlamaConfig::parse(&text.to_string(), Path::new("tiny"))?)
}

/// Rows of bytes of each domain; every fourth document is held out first.
fn domains(folder: &Path) -> Result<Vec<Domain>> {
    let read = |name: &&str| -> Result<Domain> {
        let (mut held, mut seen) = (Vec::new(), Vec::new());
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join(name))?.flatten().map(|e| e.path()).collect();
        files.sort();
        for file in files {
            for (k, line) in Lines::<serde_json::Map<String, Value>>::open(&file)?.enumerate() {
                let line = line?;
                let bytes = line.get("text").and_then(Value::as_str).unwrap_or_default().as_bytes();
                if k % 4 == 0 { held.extend(bytes) } else { seen.extend(bytes) }
            }
        }
        let rows = |bytes: &[u8], most: usize| -> Result<Vec<Batch>> {
            let row = |row: &[u8]| Ok(Batch::whole(&row.iter().map(|b| u32::from(*b)).collect::<Vec<_>>())?);
            bytes.chunks_exact(ROW).take(most).map(row).collect()
        };
        let mut all = rows(&held, HELD_OUT)?;
        let held_out = all.len();
        all.extend(rows(&seen, ROWS)?);
        Ok(Domain::new(name, Box::new(all), held_out)?)
    };
    DOMAINS.iter().map(read).collect()
}

/// A phase of training.
#[derive(Clone, Copy)]
struct Phase<'a> {
    domains: &'a [Domain],
    streams: Streams,
    steps: u64,
    rate: f64,
    references: &'a [f64],
    rule: Rule,
    /// Learning rate of masks, where masks are learned.
    masks: Option<f64>,
}

/// Expected sparsity and target by kind.
type Sparsities = BTreeMap<String, (f64, f64)>;
/// Scores of the entries of a kind of mask.
type Score<'a> = &'a mut dyn FnMut(Kind) -> Result<Vec<Vec<f64>>>;

struct Done {
    tensors: Tensors,
    /// What was cut out, with expected sparsities and targets.
    extracted: Option<(Extracted, Sparsities)>,
    weights: Vec<f64>,
    milliseconds_a_step: f64,
}

impl Phase<'_> {
    fn run(&self, config: &LlamaConfig, tensors: &Tensors) -> Result<Done> {
        let parameters = Parameters::new(self.streams, DType::F32, &Device::Cpu);
        Decoder::declare_from(&parameters, config, tensors)?;
        let mut groups = Vec::new();
        let (source, target) = (Shape::of(config), TARGET.shape(config));
        let learned = match self.masks {
            Some(rate) => {
                let target = target?;
                let masks = LearnedMasks::declare(&parameters, &source, &Kind::between(&source, &target))?;
                let constraint = Constraint::declare(&parameters, &masks, Goal::Shape(target), self.steps / 5)?;
                for (part, ascend) in [("masks", false), ("multipliers", true)] {
                    let (pattern, learning_rate_scale) = (format!("pruning.{part}"), rate / self.rate);
                    groups.push(ParamGroup { pattern, learning_rate_scale, ascend, ..ParamGroup::default() });
                }
                Some((masks, constraint, target))
            }
            None => None,
        };
        let train = TrainConfig {
            steps: Some(self.steps),
            batch: BATCH,
            validate_every: (self.steps / 20).max(1),
            optimizer: AdamConfig {
                learning_rate: self.rate,
                betas: (0.9, 0.95),
                clip: Clip::Norm(1.0),
                groups,
                ..AdamConfig::default()
            },
            schedule: ScheduleConfig {
                kind: ScheduleKind::Cosine,
                warmup_fraction: 0.1,
                minimum_rate: 0.1 * self.rate,
                ..ScheduleConfig::default()
            },
            ..TrainConfig::default()
        };
        let validates = self.rule != Rule::Constant;
        let train = TrainConfig { validate_every: if validates { train.validate_every } else { self.steps }, ..train };
        let sizes: Vec<usize> = self.domains.iter().map(Domain::rows).collect();
        let mut task = DomainTask {
            config,
            tensors: model_tensors(&parameters),
            learning: learned.as_ref().map(|(masks, constraint, _)| {
                let compatibility = Compatibility::default();
                Learning { masks, constraint, compatibility }
            }),
            domains: self.domains,
            loader: Loader::new(&sizes, &vec![1.0; sizes.len()], self.streams)?,
            references: self.references,
            update: WeightConfig { rule: self.rule, ..WeightConfig::default() },
            recompute: Recompute::None,
            finished: 0,
            step_rows: BTreeMap::new(),
        };
        let clock = Instant::now();
        let mut trainer = Trainer::new(&parameters, self.streams, train, None, "")?;
        trainer.run(&mut task, &mut Silent, &AtomicBool::new(false))?;
        let milliseconds_a_step = clock.elapsed().as_secs_f64() * 1e3 / self.steps as f64;
        let weights = task.loader.state().weights.clone();
        let tensors = model_tensors(&parameters);
        let extracted = match &learned {
            Some((masks, constraint, target)) => {
                masks.clamp()?;
                let values = masks.deterministic(Some(target))?;
                let extracted = extract(config, &tensors, &values, Compatibility::default())?;
                let (expected, targets) = (constraint.expected(masks)?, constraint.targets(masks, self.steps));
                let pair = |(name, target): (&&str, &f64)| ((*name).to_string(), (expected[name], *target));
                Some((extracted, targets.iter().map(pair).collect()))
            }
            None => None,
        };
        let tensors = tensors.into_iter().map(|(name, t)| (name, t.detach())).collect();
        Ok(Done { tensors, extracted, weights, milliseconds_a_step })
    }
}

fn losses(config: &LlamaConfig, tensors: &Tensors, domains: &[Domain]) -> Result<Vec<f64>> {
    let decoder = Decoder::from_tensors(config, tensors)?;
    Ok(domains.iter().map(|d| d.loss(&decoder)).collect::<tesseral_lm::Result<_>>()?)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64]) -> f64 {
    let m = mean(values);
    (values.iter().map(|x| (x - m).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

fn random_model(config: &LlamaConfig, streams: Streams) -> Result<Tensors> {
    let parameters = Parameters::new(streams, DType::F32, &Device::Cpu);
    Decoder::declare(&parameters.root(), config, 0.08)?;
    Ok(parameters.snapshot()?)
}

/// Masks of ones and zeros that keep the entries of the largest scores.
fn slice(source: &Shape, target: &Shape, score: &mut dyn FnMut(Kind) -> Result<Vec<Vec<f64>>>) -> Result<Masks> {
    let mut masks = BTreeMap::new();
    for kind in Kind::between(source, target) {
        let (rows, width) = kind.sizes(source);
        let mut ones = Vec::new();
        for row in score(kind)? {
            let mut order: Vec<usize> = (0..width).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let mut kept = vec![0.0_f32; width];
            order.iter().take(kind.sizes(target).1).for_each(|k| kept[*k] = 1.0);
            ones.extend(kept);
        }
        masks.insert(kind, Tensor::from_vec(ones, (rows, width), &Device::Cpu)?);
    }
    Ok(Masks(masks))
}

/// Sums of squares of all weights that belong to an entry.
fn magnitudes(kind: Kind, source: &Shape, tensors: &Tensors) -> Result<Vec<Vec<f64>>> {
    let squares = |name: &str, dim: usize| -> Result<Vec<f64>> {
        Ok(tensors[name].sqr()?.sum(1 - dim)?.to_dtype(DType::F64)?.to_vec1()?)
    };
    let layer = |k: usize, name: &str| format!("model.layers.{k}.{name}.weight");
    let add = |sum: &mut Vec<f64>, more: Vec<f64>| sum.iter_mut().zip(more).for_each(|(s, m)| *s += m);
    let mut rows = Vec::new();
    let (count, width) = kind.sizes(source);
    for k in 0..count {
        let mut sum = vec![0.0; width];
        match kind {
            Kind::Hidden => {
                add(&mut sum, squares("model.embed_tokens.weight", 1)?);
                add(&mut sum, squares("lm_head.weight", 1)?);
                for l in 0..source.layers {
                    add(&mut sum, squares(&layer(l, "self_attn.o_proj"), 0)?);
                    add(&mut sum, squares(&layer(l, "mlp.down_proj"), 0)?);
                    for name in
                        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"]
                    {
                        add(&mut sum, squares(&layer(l, name), 1)?);
                    }
                }
            }
            Kind::Head => {
                for (name, dim) in [("q_proj", 0), ("k_proj", 0), ("v_proj", 0), ("o_proj", 1)] {
                    let all = squares(&layer(k, &format!("self_attn.{name}")), dim)?;
                    add(&mut sum, all.chunks(source.head_width).map(|head| head.iter().sum()).collect());
                }
            }
            Kind::Intermediate => {
                for (name, dim) in [("gate_proj", 0), ("up_proj", 0), ("down_proj", 1)] {
                    add(&mut sum, squares(&layer(k, &format!("mlp.{name}")), dim)?);
                }
            }
            _ => {
                for (l, sum) in sum.iter_mut().enumerate() {
                    for name in ["self_attn.o_proj", "self_attn.v_proj", "mlp.down_proj", "mlp.up_proj"] {
                        *sum += squares(&layer(l, name), 0)?.iter().sum::<f64>();
                    }
                }
            }
        }
        rows.push(sum);
    }
    Ok(rows)
}

#[derive(Serialize)]
struct Arm {
    name: String,
    budget: u64,
    /// Before any training of the smaller model.
    cut: Option<f64>,
    /// At the end of the budget.
    end: f64,
}

/// Everything of one seed.
fn seed_of(text: &Path, seed: u64) -> Result<Value> {
    let domains = domains(text)?;
    let streams = Streams::new(seed);
    let none = vec![0.0; domains.len()];
    let phase = |streams, steps, rate| Phase {
        domains: &domains,
        streams,
        steps,
        rate,
        references: &none,
        rule: Rule::Constant,
        masks: None,
    };
    let source = config(4, 64, 4, 176)?;
    let trained = phase(streams, SOURCE_STEPS, 3e-3).run(&source, &random_model(&source, streams)?)?;
    let own = losses(&source, &trained.tensors, &domains)?;
    eprintln!("seed {seed}: source {:.4} at {:.0} ms a step", mean(&own), trained.milliseconds_a_step);
    let (shape, target) = (Shape::of(&source), TARGET.shape(&source)?);
    let small = pruned_config(&source, &target)?;
    let later = Streams::new(100 + seed);
    let (mut arms, mut sparsities, mut speeds) = (Vec::new(), Vec::new(), Vec::new());
    for budget in BUDGETS {
        for (name, rate) in [("learned masks", 1.0), ("learned masks, slower", 0.3)] {
            let pruned =
                Phase { masks: Some(rate), ..phase(later, budget / 2, 1e-3) }.run(&source, &trained.tensors)?;
            let (extracted, sparsity) = pruned.extracted.ok_or("no masks")?;
            let cut = mean(&losses(&small, &extracted.tensors, &domains)?);
            let on = phase(Streams::new(200 + seed), budget - budget / 2, 2e-3).run(&small, &extracted.tensors)?;
            let end = mean(&losses(&small, &on.tensors, &domains)?);
            speeds.push((pruned.milliseconds_a_step, on.milliseconds_a_step));
            sparsities.push(json!({"rate": rate, "steps": budget / 2, "sparsity": sparsity}));
            arms.push(Arm { name: name.into(), budget, cut: Some(cut), end });
        }
        let mut random = |kind: Kind| -> Result<Vec<Vec<f64>>> {
            let (rows, width) = kind.sizes(&shape);
            let draw = |row: u64| {
                let mut stream = later.stream(kind.name(), &[row]);
                let mut order = vec![0.0; width];
                index::sample(&mut stream, width, width)
                    .into_iter()
                    .enumerate()
                    .for_each(|(k, at)| order[at] = k as f64);
                order
            };
            Ok((0..rows as u64).map(draw).collect())
        };
        let mut by_size = |kind: Kind| magnitudes(kind, &shape, &trained.tensors);
        let slices: [(&str, Score<'_>); 2] = [("random slice", &mut random), ("magnitude slice", &mut by_size)];
        for (name, score) in slices {
            let masks = slice(&shape, &target, score)?;
            let sliced = extract(&source, &trained.tensors, &masks, Compatibility::default())?;
            let cut = mean(&losses(&small, &sliced.tensors, &domains)?);
            let on = phase(later, budget, 2e-3).run(&small, &sliced.tensors)?;
            let end = mean(&losses(&small, &on.tensors, &domains)?);
            arms.push(Arm { name: name.into(), budget, cut: Some(cut), end });
        }
        let scratch = phase(later, budget, 3e-3).run(&small, &random_model(&small, later)?)?;
        let end = mean(&losses(&small, &scratch.tensors, &domains)?);
        arms.push(Arm { name: "from scratch".into(), budget, cut: None, end });
        let line: Vec<String> =
            arms.iter().filter(|a| a.budget == budget).map(|a| format!("{} {:.3}", a.name, a.end)).collect();
        eprintln!("seed {seed}, {budget} steps: {}", line.join(", "));
    }
    // Dynamic loading while pruning: gaps to the source's own losses.
    let mut loading = Vec::new();
    for rule in [Rule::Constant, Rule::Paper, Rule::Doremi] {
        let run = Phase { masks: Some(1.0), rule, references: &own, ..phase(later, LOADING_STEPS, 1e-3) };
        let done = run.run(&source, &trained.tensors)?;
        let (extracted, _) = done.extracted.ok_or("no masks")?;
        let gaps: Vec<f64> =
            losses(&small, &extracted.tensors, &domains)?.iter().zip(&own).map(|(loss, own)| loss - own).collect();
        eprintln!("seed {seed}, {rule:?}: gaps {gaps:.3?}");
        loading.push(json!({"rule": rule, "gaps": gaps, "weights": done.weights, "mean": mean(&gaps), "deviation": deviation(&gaps)}));
    }
    // A scaling law through three sizes, read at a fourth.
    let mut points = Vec::new();
    for (layers, hidden, heads, intermediate) in [(2, 24, 2, 64), (2, 32, 2, 88), (3, 40, 3, 112), (3, 48, 3, 128)] {
        let mut config = config(layers, 48, heads, intermediate)?;
        (config.hidden_size, config.head_dim) = (hidden, Some(16));
        let done = phase(later, LAW_STEPS, 3e-3).run(&config, &random_model(&config, later)?)?;
        points.push((config.parameters() as f64, losses(&config, &done.tensors, &domains)?));
    }
    let mut law = Vec::new();
    for (k, domain) in domains.iter().enumerate() {
        let known: Vec<(f64, f64)> = points.iter().take(3).map(|(n, losses)| (*n, losses[k])).collect();
        let (size, found) = (points[3].0, points[3].1[k]);
        let predicted = ScalingLaw::fit(&known).map(|law| law.loss(size)).ok();
        law.push(json!({"domain": domain.name(), "predicted": predicted, "found": found}));
    }
    Ok(
        json!({"seed": seed, "source": mean(&own), "source_losses": own, "arms": arms, "sparsities": sparsities, "loading": loading,
        "scaling_law": law, "milliseconds_a_step": speeds}),
    )
}

/// Mean and standard error over seeds.
fn over(seeds: &[Value], pick: impl Fn(&Value) -> Option<f64>) -> String {
    let values: Vec<f64> = seeds.iter().filter_map(pick).collect();
    match values.len() {
        0 => "-".into(),
        1 => format!("{:.3}", values[0]),
        n => format!("{:.3} ({:.3})", mean(&values), deviation(&values) / ((n - 1) as f64).sqrt()),
    }
}

fn tables(seeds: &[Value]) -> String {
    let mut text = format!(
        "Source: {} nats a byte.\n\n| arm | budget | after the cut | at the end |\n|---|---|---|---|\n",
        over(seeds, |s| s["source"].as_f64())
    );
    let Some(first) = seeds.first() else { return text };
    // Writing to a string does not fail.
    for (k, arm) in first["arms"].as_array().into_iter().flatten().enumerate() {
        let cell = |key: &'static str| over(seeds, move |s| s["arms"][k][key].as_f64());
        let name = arm["name"].as_str().unwrap_or_default();
        let _ = writeln!(text, "| {name} | {} | {} | {} |", arm["budget"], cell("cut"), cell("end"));
    }
    text +=
        "\n| masks, rate, steps | largest distance of an expected sparsity from its target, over seeds |\n|---|---|\n";
    for (k, run) in first["sparsities"].as_array().into_iter().flatten().enumerate() {
        let pairs = seeds.iter().flat_map(|s| s["sparsities"][k]["sparsity"].as_object().into_iter().flatten());
        let far = pairs.filter_map(|(_, pair)| Some((pair[0].as_f64()? - pair[1].as_f64()?).abs()));
        let _ = writeln!(text, "| {}, {} | {:.4} |", run["rate"], run["steps"], far.fold(0.0, f64::max));
    }
    text += "\n| loading | mean gap | spread of gaps | weights |\n|---|---|---|---|\n";
    for (k, run) in first["loading"].as_array().into_iter().flatten().enumerate() {
        let cell = |key: &'static str| over(seeds, move |s| s["loading"][k][key].as_f64());
        let weight =
            |d: usize| mean(&seeds.iter().filter_map(|s| s["loading"][k]["weights"][d].as_f64()).collect::<Vec<_>>());
        let weights: Vec<String> =
            DOMAINS.iter().enumerate().map(|(d, name)| format!("{name} {:.2}", weight(d))).collect();
        let rule = run["rule"].as_str().unwrap_or_default();
        let _ = writeln!(text, "| {rule} | {} | {} | {} |", cell("mean"), cell("deviation"), weights.join(", "));
    }
    text += "\n| domain | loss by scaling law | found |\n|---|---|---|\n";
    for (k, name) in DOMAINS.iter().enumerate() {
        let cell = |key: &'static str| over(seeds, move |s| s["scaling_law"][k][key].as_f64());
        let _ = writeln!(text, "| {name} | {} | {} |", cell("predicted"), cell("found"));
    }
    text
}
