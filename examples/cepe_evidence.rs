//! What parallel contexts (CEPE) do for a tiny model on real text, with their controls, over three seeds; and what reading
//! costs beside a decoder that reads everything in its own window, from 2,048 tokens to 131,072.
//!
//! `cargo run --release --example cepe_evidence -- OUT TEXT` writes `cepe.json`, `cepe.md` and the pictures into OUT, the
//! runs into OUT/runs. TEXT holds folders of JSON lines: files that end in `1.jsonl` are trained on, the others validate.
//! `.. -- OUT TEXT quality` or `speed` does the one part alone; `.. -- point KIND TOKENS` measures one point of the second
//! part in this process.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tesseral::lm::configuration::Configuration;
use tesseral::lm::data::documents::{Content, Reader};
use tesseral::lm::model::decoder::{Cache, Decoder};
use tesseral::lm::model::llama::LlamaConfig;
use tesseral::lm::model::tokenizer::{Tokenizer, learn::byte_pairs};
use tesseral::lm::model::weights::save::SaveOptions;
use tesseral::lm::model::weights::{Storage, Weights};
use tesseral::lm::parallel_context::evaluate::{Measure, Point, Source};
use tesseral::lm::parallel_context::files::{ContextWeights, hash, names};
use tesseral::lm::parallel_context::memory::{Keep, Reading};
use tesseral::lm::parallel_context::retrieval::{Neighbour, Retriever};
use tesseral::lm::parallel_context::training::{self as stages, ContextConfig};
use tesseral::lm::parallel_context::windows::{Placing, Windows};
use tesseral::lm::parallel_context::{ContextModel, ContextShape, EncodeMode};
use tesseral::lm::training::{LmConfig, train};
use tesseral::nn::kernels::memory::{keep_freed_blocks, peak_resident_mb};
use tesseral::nn::kernels::parallel;
use tesseral::nn::rng::Streams;
use tesseral::nn::train::Silent;
use tesseral::nn::train::files::write_atomic;
use tesseral::nn::{Init, Parameters};
use tesseral::plot::lines::{Chart, draw};

type Any<T> = Result<T, Box<dyn Error>>;

/// Tokens of a context, of the decoder, and of these the ones that are counted.
const CONTEXT: usize = 32;
const DECODER: usize = 64;
const COUNTED: usize = 48;
const COUNTS: [usize; 7] = [0, 1, 2, 4, 8, 16, 32];
/// Contexts that fit the window that the decoder was trained with.
const IN_WINDOW: usize = 6;
const SEEDS: u64 = 3;

const BASE: &str = r#"{"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 3,
    "vocab_size": 1024, "rope_theta": 10000.0, "max_position_embeddings": 256, "tie_word_embeddings": true, "eos_token_id": 0}"#;

fn main() -> Any<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["point", kind, tokens] => {
            println!("{}", point(kind, tokens.parse()?)?);
            Ok(())
        }
        [out, text, parts @ ..] => {
            keep_freed_blocks();
            let (out, text, parts) = (PathBuf::from(out), PathBuf::from(text), parts.join(" "));
            tesseral::nn::train::on_large_stack(move || run(&out, &text, &parts).map_err(|e| e.to_string()))??;
            Ok(())
        }
        _ => Err("expected OUT TEXT".into()),
    }
}

fn run(out: &Path, text: &Path, parts: &str) -> Any<()> {
    let kept = out.join("cepe.json");
    let mut all: Value = match std::fs::read_to_string(&kept) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => json!({}),
    };
    if parts != "speed" {
        all["quality"] = quality(out, text)?;
        write_atomic(&kept, format!("{all:#}\n").as_bytes())?;
    }
    if parts != "quality" {
        all["speed"] = speed()?;
        write_atomic(&kept, format!("{all:#}\n").as_bytes())?;
    }
    write_atomic(&out.join("cepe.md"), table(&all)?.as_bytes())?;
    pictures(out, &all)
}

/// Files of the text, those trained on or the others.
fn files(text: &Path, trained: bool) -> Any<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in std::fs::read_dir(text)? {
        for file in std::fs::read_dir(folder?.path())? {
            let path = file?.path();
            let first = path.to_string_lossy().ends_with("1.jsonl");
            if path.extension().is_some_and(|e| e == "jsonl") && first == trained {
                all.push(path);
            }
        }
    }
    all.sort();
    Ok(all)
}

/// A list of paths as TOML.
fn listed(paths: &[PathBuf]) -> Any<String> {
    let paths = paths.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{paths:?}"))
}

/// Tokenizer and decoder from nothing, in a window of 256 tokens.
fn base(out: &Path, text: &Path) -> Any<PathBuf> {
    let (start, run) = (out.join("runs/start"), out.join("runs/decoder"));
    if run.join("model").is_dir() {
        return Ok(run.join("model"));
    }
    let trained = files(text, true)?;
    let mut texts = Vec::new();
    for file in &trained {
        for line in std::fs::read_to_string(file)?.lines().take(200) {
            let line: Value = serde_json::from_str(line)?;
            texts.push(line["text"].as_str().unwrap_or_default().chars().take(20_000).collect::<String>());
        }
    }
    let config = LlamaConfig::parse(BASE, Path::new("config.json"))?;
    let parameters = Parameters::new(Streams::new(1), candle_core::DType::F32, &candle_core::Device::Cpu);
    Decoder::declare(&parameters.root(), &config, 0.05)?;
    let weights = Weights { config, tensors: parameters.snapshot()?, source: start.clone() };
    weights.save(&start, SaveOptions::default())?;
    byte_pairs(&texts, 1024, "<end>", &start.join("tokenizer.json"))?;
    let set = [
        format!("model.path={:?}", std::path::absolute(&start)?),
        format!("data.text={{paths = {}, row = 256}}", listed(&trained)?),
        format!("data.validation_text={{paths = {}, row = 256, rows = 64}}", listed(&files(text, false)?)?),
        "train={steps = 600, batch = 8, checkpoint_every = 500, validate_every = 500, optimizer = {learning_rate = 3e-3, \
         betas = [0.9, 0.999], weight_decay = 0.0, clip = {norm = 1.0}}, schedule = {kind = \"cosine\", \
         warmup_fraction = 0.05, minimum_rate = 0.0}}"
            .into(),
    ];
    let clock = Instant::now();
    let config = LmConfig::parse("", Path::new("decoder"), &set)?;
    let report = train(&config, &run, false, &mut Silent, &AtomicBool::new(false))?;
    println!(
        "decoder: {} parameters, validation {:?}, {:.0?}",
        report.parameters,
        report.best_validation,
        clock.elapsed()
    );
    Ok(report.model)
}

/// A stage, unless its model is there from an earlier call; the folder of the model.
fn stage(config: &str, run: &Path, seed: u64, set: Vec<String>) -> Any<PathBuf> {
    let model = run.join("model");
    if model.is_dir() {
        return Ok(model);
    }
    let set: Vec<String> = set.into_iter().chain([format!("seed={seed}")]).collect();
    let config = ContextConfig::read(Path::new(config), &set)?;
    let report = stages::train(&config, run, false, &mut Silent, &AtomicBool::new(false))?;
    println!("{}", report.table());
    Ok(report.model)
}

fn quality(out: &Path, text: &Path) -> Any<Value> {
    let decoder = base(out, text)?;
    let data = [
        format!("data.paths={}", listed(&files(text, true)?)?),
        format!("data.validation.paths={}", listed(&files(text, false)?)?),
    ];
    let path = |key: &str, path: &Path| -> Any<String> { Ok(format!("model.{key}={:?}", std::path::absolute(path)?)) };
    let tokenizer = Tokenizer::open(&decoder)?;
    let content = Content::Text("text".into());
    let reader = Reader::new(&content, Some(&tokenizer));
    let mut documents = Vec::new();
    for file in files(text, false)? {
        for document in reader.open(&file)? {
            documents.push(document?.ids);
        }
    }
    let windows = Windows::new(&documents, COUNTS[6] * CONTEXT, DECODER, Placing::Filtered)?;
    let retriever = Retriever::new(&documents, CONTEXT, Neighbour::None, &tokenizer)?;
    let measure = |model: &ContextModel, sources: &[Source], counts: &[usize]| -> Any<Vec<Point>> {
        let measure = Measure {
            counts: counts.to_vec(),
            context_tokens: CONTEXT,
            decoder_tokens: DECODER,
            counted: COUNTED,
            sources: sources.to_vec(),
            windows: 64,
        };
        Ok(measure.run(model, &windows, Some(&retriever))?)
    };
    let mut arms: BTreeMap<String, Vec<Vec<Point>>> = BTreeMap::new();
    let clock = Instant::now();
    for seed in 1..=SEEDS {
        let run = |name: &str| out.join(format!("runs/{seed}/{name}"));
        let with = |more: Vec<String>| more.into_iter().chain(data.clone()).collect::<Vec<_>>();
        stage("configs/cepe-masked.toml", &run("masked"), seed, with(vec![path("decoder", &decoder)?]))?;
        let parts = vec![path("decoder", &decoder)?, path("encoder", &run("masked"))?];
        stage("configs/cepe-warm-up.toml", &run("warm-up"), seed, with(parts))?;
        let from = || -> Any<Vec<String>> { Ok(with(vec![path("init_from", &run("warm-up"))?])) };
        let main = stage("configs/cepe-contexts.toml", &run("contexts"), seed, from()?)?;
        let distil = stage("configs/cepe-distil.toml", &run("distil"), seed, from()?)?;
        let mut add = |name: &str, points: Vec<Point>| arms.entry(name.into()).or_default().push(points);
        let open = |folder: &Path| -> Any<ContextModel> { Ok(ContextWeights::open(folder, Storage::F32)?.model()?) };
        let model = open(&main)?;
        for source in [Source::Previous, Source::Shuffled, Source::Retrieved] {
            add(source.name(), measure(&model, &[source], &COUNTS)?);
        }
        add("previous, warm-up alone", measure(&open(&run("warm-up/model"))?, &[Source::Previous], &COUNTS)?);
        add("previous, distilled", measure(&open(&distil)?, &[Source::Previous], &COUNTS)?);
        if seed == 1 {
            let counts: Vec<usize> = COUNTS.into_iter().filter(|n| *n <= IN_WINDOW).chain([IN_WINDOW]).collect();
            add("in the decoder's window", measure(&model, &[Source::InWindow], &counts)?);
            add("replug", measure(&model, &[Source::Replug], &counts)?);
        }
        println!("seed {seed}: {:.0?}", clock.elapsed());
        let part = json!({"seeds": seed, "arms": arms});
        write_atomic(&out.join("cepe-quality.json"), format!("{part:#}\n").as_bytes())?;
    }
    let sha256 = hash(&Weights::open(&decoder, Storage::F32)?.tensors)?;
    Ok(json!({"decoder_sha256": sha256, "seeds": SEEDS, "context_tokens": CONTEXT, "decoder_tokens": DECODER,
        "counted": COUNTED, "threads": parallel::threads(), "seconds": clock.elapsed().as_secs_f64(), "arms": arms}))
}

const KINDS: [&str; 3] = ["window", "states", "keys-values"];
const LENGTHS: [usize; 7] = [2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072];
/// Tokens that are generated after reading.
const NEW: usize = 32;

/// Each point in a process of its own, so that its peak of memory is its own.
fn speed() -> Any<Value> {
    let own = std::env::current_exe()?;
    let mut points = Vec::new();
    for tokens in LENGTHS {
        for kind in KINDS {
            let output = Command::new(&own).args(["point", kind, &tokens.to_string()]).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
            print!("{text}");
            points.push(serde_json::from_str::<Value>(&text)?);
        }
    }
    Ok(points.into())
}

/// Reads `tokens` tokens and generates a few: all in the decoder's window, or all but the last 512 as contexts of 256.
fn point(kind: &str, tokens: usize) -> Any<Value> {
    let decoder = r#"{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2,
        "vocab_size": 512, "max_position_embeddings": 131072}"#;
    let encoder = r#"{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": 513}"#;
    let read = |text: &str| LlamaConfig::parse(text, Path::new("shape"));
    let encoder = LlamaConfig { tie_word_embeddings: true, ..read(encoder)? };
    let shape = ContextShape { decoder: read(decoder)?, encoder, cross_layers: 4, mode: EncodeMode::ContextOnly };
    let parameters = Parameters::new(Streams::new(1), candle_core::DType::F32, &candle_core::Device::Cpu);
    for (name, dims) in names(&shape) {
        let init = if dims.len() == 1 { Init::Constant(1.0) } else { Init::Normal(0.1) };
        parameters.root().parameter(&name, dims, init)?;
    }
    let tensors = parameters.to_vec().into_iter().map(|(n, v)| (n, v.as_tensor().detach())).collect();
    let model = ContextModel::from_tensors(&shape, &tensors)?;
    let ids: Vec<u32> = (0..tokens as u64).map(|k| (k * 7919 % 511) as u32).collect();
    let contexts_end = if kind == "window" { 0 } else { tokens - 512 };
    let contexts: Vec<Vec<u32>> = ids[..contexts_end].chunks(256).map(<[u32]>::to_vec).collect();
    let keep = if kind == "keys-values" { Keep::KeysValues } else { Keep::States };
    let before = peak_resident_mb();
    let clock = Instant::now();
    let memory = model.read(&contexts, &[], Reading { keep, ..Reading::default() })?;
    let mut cache = Cache::new(&shape.decoder, ids.len() - contexts_end + NEW);
    let mut logits = model.last_logits(&mut cache, &ids[contexts_end..], &memory)?;
    let read_s = clock.elapsed().as_secs_f64();
    let clock = Instant::now();
    for _ in 0..NEW {
        let best = (0u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(id, _)| id);
        logits = model.last_logits(&mut cache, &[best], &memory)?;
    }
    let new_s = clock.elapsed().as_secs_f64();
    Ok(json!({"kind": kind, "tokens": tokens, "read_s": read_s, "read_tokens_per_s": tokens as f64 / read_s,
        "new_tokens_per_s": NEW as f64 / new_s, "kept_bytes": memory.bytes() + cache.bytes(),
        "peak_rss_mb": peak_resident_mb(), "rss_before_mb": before, "threads": parallel::threads()}))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Over the seeds: number of contexts, mean loss, its standard error (of one seed: over the windows).
fn mean(arm: &Value) -> Vec<(f64, f64, f64)> {
    let seeds: Vec<&Vec<Value>> = arm.as_array().into_iter().flatten().filter_map(Value::as_array).collect();
    let of = |k: usize| {
        let losses: Vec<f64> = seeds.iter().map(|points| number(&points[k]["loss"])).collect();
        let n = losses.len() as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let variance = losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let error = if losses.len() > 1 { (variance / n).sqrt() } else { number(&seeds[0][k]["error"]) };
        (number(&seeds[0][k]["contexts"]), mean, error)
    };
    (0..seeds.first().map_or(0, |points| points.len())).map(of).collect()
}

fn table(all: &Value) -> Any<String> {
    let mut text = String::new();
    if let Some(arms) = all["quality"]["arms"].as_object() {
        writeln!(text, "| contexts | {} |", COUNTS.map(|n| n.to_string()).join(" | "))?;
        writeln!(text, "|---|{}", "---|".repeat(COUNTS.len()))?;
        for (name, arm) in arms {
            let points = mean(arm);
            let cell = |count: usize| {
                let found = points.iter().find(|p| p.0 == count as f64);
                found.map_or("".into(), |(_, loss, error)| format!("{:.2} ({:.2})", loss.exp(), loss.exp() * error))
            };
            writeln!(text, "| {name} | {} |", COUNTS.map(cell).join(" | "))?;
        }
        writeln!(text)?;
    }
    if let Some(points) = all["speed"].as_array() {
        writeln!(
            text,
            "| tokens | kind | read, tokens/s | new, tokens/s | kept, MB | peak memory, MB | times faster | times less memory |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|---|")?;
        for p in points {
            let whole = points.iter().find(|w| w["kind"] == "window" && w["tokens"] == p["tokens"]).unwrap_or(p);
            let ratio = |key: &str| number(&p[key]) / number(&whole[key]);
            writeln!(
                text,
                "| {} | {} | {:.0} | {:.0} | {:.1} | {:.0} | {:.1} | {:.1} |",
                p["tokens"],
                p["kind"].as_str().unwrap_or_default(),
                number(&p["read_tokens_per_s"]),
                number(&p["new_tokens_per_s"]),
                number(&p["kept_bytes"]) / 1e6,
                number(&p["peak_rss_mb"]),
                ratio("read_tokens_per_s"),
                1.0 / ratio("peak_rss_mb")
            )?;
        }
    }
    Ok(text)
}

fn pictures(out: &Path, all: &Value) -> Any<()> {
    if let Some(arms) = all["quality"]["arms"].as_object() {
        let line = |(name, arm): (&String, &Value)| {
            (name.clone(), mean(arm).into_iter().map(|(n, loss, _)| (n, loss.exp())).collect())
        };
        let (x, y) = ("contexts of 32 tokens".into(), "perplexity of the same tokens".into());
        let chart = Chart { x, y, logarithmic: false, lines: arms.iter().map(line).collect() };
        draw(&out.join("cepe-perplexity.svg"), &chart)?;
    }
    let Some(points) = all["speed"].as_array() else { return Ok(()) };
    for (key, y, file) in [
        ("read_tokens_per_s", "tokens read per second", "cepe-speed.svg"),
        ("peak_rss_mb", "peak memory, MB", "cepe-memory.svg"),
    ] {
        let line = |kind: &str| {
            let of = points.iter().filter(|p| p["kind"] == kind);
            (kind.to_string(), of.map(|p| (number(&p["tokens"]), number(&p[key]))).collect())
        };
        let chart = Chart { x: "tokens".into(), y: y.into(), logarithmic: true, lines: KINDS.map(line).into() };
        draw(&out.join(file), &chart)?;
    }
    Ok(())
}
