//! Evidence for the screenshot models (PTP) at a size that two cores train: does it read, and not guess; do pixels and text
//! together help; does a screenshot help the text behind it; what does drawing cost.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release --example screenshot_evidence -- OUT [SHARE]` writes `screenshot-evidence.json`
//! and `screenshot-evidence.md` into OUT, the runs below it; SHARE of the steps (1) is trained. Runs go side by side; a model
//! is too small for two threads.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tesseral::lm::configuration::Configuration;
use tesseral::lm::screenshot::glyphs::Glyphs;
use tesseral::lm::screenshot::patches::Screenshot;
use tesseral::lm::screenshot::render::{RenderConfig, Renderer};
use tesseral::lm::screenshot::training::{ScreenshotConfig, evaluate, train};
use tesseral::nn::rng::Streams;
use tesseral::nn::train::files::write_atomic;
use tesseral::nn::train::{Silent, on_large_stack};

const SEEDS: [u64; 3] = [1, 2, 3];
/// Steps of a masked and of an autoregressive run.
const STEPS: [f64; 2] = [2400.0, 4000.0];
/// Twenty words; five in a row are a topic.
const WORDS: [&str; 20] = [
    "arm", "bed", "cup", "dog", "egg", "fig", "gas", "hut", "ink", "jam", "key", "lip", "map", "net", "oak", "pig",
    "rug", "sun", "tax", "van",
];
const FRAME: [&str; 6] = ["<s>", "<pad>", "<mask>", "<img>", "</img>", "<patch>"];

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    tesseral::nn::kernels::memory::keep_freed_blocks();
    let out = PathBuf::from(std::env::args().nth(1).ok_or("expected a folder to write to")?);
    let share: f64 = std::env::args().nth(2).map_or(Ok(1.0), |share| share.parse())?;
    fs::create_dir_all(&out)?;
    let clock = Instant::now();
    let speed = speed()?;
    write_texts(&out)?;
    let mut jobs: Vec<(&str, u64)> = Vec::new();
    for seed in SEEDS {
        jobs.extend(["both", "pixels", "text", "random", "facts"].map(|arm| (arm, seed)));
    }
    let jobs = Mutex::new(jobs.into_iter());
    let found = Mutex::new(BTreeMap::new());
    let work = || -> Result<(), String> {
        while let Some((arm, seed)) = { jobs.lock().map_err(|e| e.to_string())?.next() } {
            let one = || one(&out, arm, seed, share).map_err(|e| e.to_string());
            let value = on_large_stack(one).map_err(|e| e.to_string())??;
            eprintln!("{arm}, seed {seed}: {value}");
            found.lock().map_err(|e| e.to_string())?.insert((arm, seed), value);
        }
        Ok(())
    };
    let workers = std::thread::available_parallelism()?.get().min(4);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a run panicked".to_string())?)
    })?;
    let found = found.into_inner()?;
    report(&out, &speed, &found, clock.elapsed().as_secs_f64())
}

/// Screenshots a second of one thread: 16 x 8176 pixels, about 256 tokens.
fn speed() -> Result<Value, Failure> {
    let renderer = Renderer::new(&RenderConfig::default())?;
    let mut random = Streams::new(1).stream("text", &[]);
    let mut text = String::from("Beginning of the sequence:");
    while text.len() < 1150 {
        text = format!("{text} {}ing", WORDS[pick(&mut random, WORDS.len())]);
    }
    let patches = Screenshot::of_text(&renderer.render(&text))?.len();
    let rate = |work: &mut dyn FnMut() -> Result<(), Failure>| -> Result<f64, Failure> {
        let (clock, mut pages) = (Instant::now(), 0);
        while clock.elapsed().as_secs_f64() < 1.0 {
            work()?;
            pages += 1;
        }
        Ok(f64::from(pages) / clock.elapsed().as_secs_f64())
    };
    let image = rate(&mut || {
        std::hint::black_box(renderer.render(&text));
        Ok(())
    })?;
    let with_patches = rate(&mut || {
        std::hint::black_box(Screenshot::of_text(&renderer.render(&text))?);
        Ok(())
    })?;
    // As the original: the font opened for each page, each glyph drawn each time it occurs.
    let again = rate(&mut || {
        let anew = Renderer::with_glyphs(&RenderConfig::default(), Glyphs::built_in(1000.0 / 72.0));
        text.chars().for_each(|c| drop(std::hint::black_box(Glyphs::built_in(1000.0 / 72.0).glyph(c))));
        std::hint::black_box(anew.render(&text));
        Ok(())
    })?;
    Ok(json!({"characters": text.len(), "patches": patches, "images_per_s": image, "with_patches_per_s": with_patches,
        "fonts_opened_and_glyphs_drawn_anew_per_s": again}))
}

fn pick(random: &mut impl rand::Rng, count: usize) -> usize {
    random.random_range(0..count)
}

/// Words in any order to learn reading from, topics to classify, facts to ask for; and the tokenizer of their words.
fn write_texts(out: &Path) -> Result<(), Failure> {
    let vocabulary = FRAME.iter().chain(&WORDS).enumerate().map(|(k, w)| (w.to_string(), k.into()));
    let vocabulary: serde_json::Map<_, _> = vocabulary.collect();
    let tokenizer = json!({"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "post_processor": null, "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": FRAME[0]}});
    fs::write(out.join("tokenizer.json"), tokenizer.to_string())?;
    fs::write(out.join("common.toml"), COMMON)?;
    let write = |name: &str, count: u64, line: &dyn Fn(u64) -> Value| {
        let lines: String = (0..count).map(|k| line(k).to_string() + "\n").collect();
        fs::write(out.join(name), lines)
    };
    let words = |name: &'static str| {
        move |k: u64| {
            let mut random = Streams::new(7).stream(name, &[k]);
            let words: Vec<&str> = (0..5).map(|_| WORDS[pick(&mut random, WORDS.len())]).collect();
            json!({"text": words.join(" ")})
        }
    };
    write("words.jsonl", 16_384, &words("words"))?;
    write("words-test.jsonl", 512, &words("words/test"))?;
    // Three of five words are of the topic, the others of two other topics.
    let topic = |name: &'static str| {
        move |k: u64| {
            use rand::seq::SliceRandom;
            let mut random = Streams::new(7).stream(name, &[k]);
            let mut topics = [0, 1, 2, 3];
            topics.shuffle(&mut random);
            let of = [topics[0], topics[0], topics[0], topics[1], topics[2]];
            let mut words = of.map(|topic| WORDS[5 * topic + pick(&mut random, 5)]);
            words.shuffle(&mut random);
            json!({"text": words.join(" "), "label": format!("topic{}", topics[0])})
        }
    };
    write("topics.jsonl", 512, &topic("topics"))?;
    write("topics-test.jsonl", 512, &topic("topics/test"))?;
    // Three facts, a word and its value; then the same facts in another order.
    let facts = |name: &'static str| {
        move |k: u64| {
            use rand::seq::SliceRandom;
            let mut random = Streams::new(7).stream(name, &[k]);
            let mut keys: Vec<usize> = (0..10).collect();
            keys.shuffle(&mut random);
            let mut facts: Vec<[&str; 2]> =
                keys[..3].iter().map(|key| [WORDS[*key], WORDS[10 + pick(&mut random, 10)]]).collect();
            let mut text = facts.concat();
            facts.shuffle(&mut random);
            text.extend(facts.concat());
            json!({"text": text.join(" ")})
        }
    };
    write("facts.jsonl", 16_384, &facts("facts"))?;
    Ok(write("facts-test.jsonl", 512, &facts("facts/test"))?)
}

/// What all runs share.
const COMMON: &str = r#"
[render]
cell = 32
[writing]
prefix = ""
drawn_mask = "_"
[data]
tokenizer = "tokenizer.json"
[train]
checkpoint_every = 100000
validate_every = 100000
keep_last = 1
[train.optimizer]
weight_decay = 0.0
clip = { norm = 1.0 }
[train.schedule]
kind = "cosine"
warmup_steps = 100
minimum_rate = 1e-5
"#;

/// Probe C2: 11 patches, five words of twenty that nothing predicts.
const MASKED: [&str; 4] = [
    "render.width=176",
    "data.tokens=5",
    "data.pages=16",
    "model.shape={ mask_ratio = 0.1, vision_config = { hidden_size = 64, num_hidden_layers = 2, num_attention_heads = 4, \
     intermediate_size = 128, decoder_hidden_size = 32, decoder_num_hidden_layers = 1, decoder_num_attention_heads = 2, \
     decoder_intermediate_size = 64 }, text_config = { vocab_size = 26, hidden_size = 64, d_kv = 16, d_ff = 128, \
     num_layers = 2, num_heads = 4, max_positions = 16 } }",
];

const FACTS: [&str; 5] = [
    "render.width=208",
    "data.tokens=6",
    "data.text_tokens=6",
    "data.pages=16",
    "model={ initial_deviation = 0.1, shape = { hidden_size = 64, intermediate_size = 128, num_hidden_layers = 3, \
     num_attention_heads = 2, vocab_size = 26, rope_theta = 1000.0, bos_token_id = 0, newline_token_id = 1, \
     img_begin_token_id = 3, img_end_token_id = 4, patch_token_id = 5 } }",
];

fn config(out: &Path, seed: u64, set: &[String]) -> Result<ScreenshotConfig, Failure> {
    let file = out.join("common.toml");
    let seed = format!("seed={seed}");
    let set: Vec<String> = set.iter().cloned().chain([seed]).collect();
    Ok(ScreenshotConfig::read(&file, &set)?)
}

fn run(config: &ScreenshotConfig, run: &Path) -> Result<Value, Failure> {
    if run.exists() {
        fs::remove_dir_all(run)?;
    }
    let report = train(config, run, false, &mut Silent, &AtomicBool::new(false))?;
    let mut value = json!({"seconds": report.seconds, "steps": report.steps, "parameters": report.parameters,
        "drawing_share": report.drawing_seconds / report.seconds, "drawn": report.drawn});
    let (mut average, mut spike, mut norm, mut tail) = (None, 0.0f64, 0.0f64, Vec::new());
    for line in fs::read_to_string(run.join("metrics.jsonl"))?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let (Some(loss), Some(gradient)) = (line["loss"].as_f64(), line["gradient_norm"].as_f64()) else { continue };
        let before: f64 = average.unwrap_or(loss);
        (spike, norm) = (spike.max(loss / before), norm.max(gradient));
        average = Some(0.98 * before + 0.02 * loss);
        tail.push((loss, gradient));
        value.as_object_mut().map(|v| v.entry("first_loss").or_insert(json!(loss)));
    }
    let last = &tail[tail.len().saturating_sub(100)..];
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| last.iter().map(of).sum::<f64>() / last.len() as f64;
    value["last_loss"] = json!(mean(&|x| x.0));
    value["last_gradient_norm"] = json!(mean(&|x| x.1));
    value["largest_gradient_norm"] = json!(norm);
    value["largest_loss_over_average"] = json!(spike);
    value["evaluation"] = serde_json::to_value(evaluate(run, &[])?)?;
    Ok(value)
}

/// Trains and evaluates one arm; then its encoder, held fixed, under a classifier of topics.
fn one(out: &Path, arm: &str, seed: u64, share: f64) -> Result<Value, Failure> {
    let path = out.join("runs").join(format!("{arm}-{seed}"));
    let steps = |all: f64| format!("train.steps={}", (share * all).max(200.0) as u64);
    let owned = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    if arm == "facts" {
        let mut set = owned(&FACTS);
        set.push(steps(STEPS[1]));
        set.extend(owned(&[
            "objective=autoregressive",
            "data.paths=[\"facts.jsonl\"]",
            "data.validation_paths=[\"facts-test.jsonl\"]",
            "train.optimizer.learning_rate=2e-3",
        ]));
        return run(&config(out, seed, &set)?, &path);
    }
    let mut set = owned(&MASKED);
    set.push(steps(STEPS[0]));
    set.extend(owned(&[
        "data.paths=[\"words.jsonl\"]",
        "data.validation_paths=[\"words-test.jsonl\"]",
        "train.optimizer.learning_rate=1e-3",
    ]));
    let mut first = config(out, seed, &set)?;
    if let Some(shape) = &mut first.model.shape {
        let weight = |on: bool| toml::Value::Float(if on { 1.0 } else { 0.0 });
        shape.insert("mae_weight".into(), weight(arm != "text"));
        shape.insert("text_weight".into(), weight(arm != "pixels"));
    }
    if arm == "random" {
        first.train.steps = Some(1);
        first.train.optimizer.learning_rate = 1e-12;
        first.train.schedule.minimum_rate = 0.0;
        first.train.schedule.warmup_steps = 0;
    }
    let mut value = run(&first, &path)?;
    let mut set = owned(&[
        "objective=classification",
        "data.paths=[\"topics.jsonl\"]",
        "render.width=176",
        "data.validation_paths=[\"topics-test.jsonl\"]",
        "data.pages=32",
        "train.steps=600",
        "model.pool=mean",
        "train.optimizer.learning_rate=3e-3",
        "train.optimizer.groups=[{ pattern = \"encoder\", frozen = true }]",
    ]);
    set.push(format!("model.path={:?}", fs::canonicalize(path.join("model"))?));
    let probe = run(&config(out, seed, &set)?, &out.join("runs").join(format!("{arm}-{seed}-probe")))?;
    value["probe"] = probe["evaluation"].clone();
    Ok(value)
}

/// Mean and standard error over seeds.
fn mean(values: &[f64]) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    format!("{mean:.3} ({:.3})", (variance / n).sqrt())
}

fn report(out: &Path, speed: &Value, found: &BTreeMap<(&str, u64), Value>, seconds: f64) -> Result<(), Failure> {
    let runs: Vec<Value> = found.iter().map(|((arm, seed), v)| json!({"arm": arm, "seed": seed, "found": v})).collect();
    let value = json!({"speed": speed, "runs": runs, "seconds": seconds});
    write_atomic(&out.join("screenshot-evidence.json"), format!("{value:#}\n").as_bytes())?;
    let of = |arm: &str, pointer: &str| {
        let values: Vec<f64> =
            SEEDS.iter().filter_map(|seed| found.get(&(arm, *seed))?.pointer(pointer)?.as_f64()).collect();
        if values.len() == SEEDS.len() { mean(&values) } else { "-".into() }
    };
    let number = |key: &str| speed[key].as_f64().unwrap_or(0.0);
    let mut text = format!("Mean and standard error over {} seeds; {seconds:.0} s in all.\n\n", SEEDS.len());
    writeln!(
        text,
        "| pretrained on | visible word | hidden word | visible, wrong image | visible, blank image | pixels | topics, encoder fixed |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for arm in ["both", "pixels", "text", "random"] {
        write!(text, "| {arm} |")?;
        for pointer in ["visible/loss", "hidden/loss", "visible_wrong_image/loss", "visible_blank_image/loss", "pixels"]
        {
            write!(text, " {} |", of(arm, &format!("/evaluation/{pointer}")))?;
        }
        writeln!(text, " {} |", of(arm, "/probe/accuracy"))?;
    }
    writeln!(
        text,
        "\n| run | first loss | last loss | largest loss / its average | last gradient norm | largest | drawing, share of time |\n|---|---|---|---|---|---|---|"
    )?;
    for ((arm, seed), value) in found.iter().filter(|((arm, _), _)| *arm != "random") {
        let number = |key: &str| value[key].as_f64().unwrap_or(f64::NAN);
        writeln!(
            text,
            "| {arm}, seed {seed} | {:.2} | {:.3} | {:.2} | {:.2} | {:.1} | {:.2} % |",
            number("first_loss"),
            number("last_loss"),
            number("largest_loss_over_average"),
            number("last_gradient_norm"),
            number("largest_gradient_norm"),
            100.0 * number("drawing_share")
        )?;
    }
    writeln!(text, "\n| autoregressive: perplexity of the text | its screenshot | blank | wrong |\n|---|---|---|---|")?;
    let perplexity = |k: usize| of("facts", &format!("/evaluation/perplexity/{k}"));
    writeln!(
        text,
        "| three facts, asked in another order | {} | {} | {} |",
        perplexity(0),
        perplexity(1),
        perplexity(2)
    )?;
    writeln!(
        text,
        "\nDrawing, one thread, 16 x 8176 pixels, {} characters on {} patches: {:.0} images/s, {:.0} with their patches as \
         numbers, {:.1} with the font opened and every glyph drawn anew.",
        speed["characters"],
        speed["patches"],
        number("images_per_s"),
        number("with_patches_per_s"),
        number("fonts_opened_and_glyphs_drawn_anew_per_s")
    )?;
    write_atomic(&out.join("screenshot-evidence.md"), text.as_bytes())?;
    println!("{text}");
    Ok(())
}
