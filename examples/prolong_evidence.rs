//! What ProLong's recipe does to a tiny model, with its controls, over three seeds: recall by length and depth.
//!
//! `cargo run --release --example prolong_evidence -- OUT` writes `prolong-recall.csv` and `prolong-recall.svg` into OUT, and
//! the runs into OUT/runs. Six minutes on one thread (RAYON_NUM_THREADS=1; the model is too small for more).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tesseral::lm::configuration::Configuration;
use tesseral::lm::long_context::recall::{Recall, measure};
use tesseral::lm::model::decoder::Decoder;
use tesseral::lm::model::weights::{Storage, Weights};
use tesseral::lm::training::{LmConfig, train};
use tesseral::nn::train::Silent;
use tesseral::nn::train::files::write_atomic;
use tesseral::plot;

const SHORT: &str = "configs/prolong-tiny-short.toml";
const LONG: &str = "configs/prolong-tiny-long.toml";
const SHORT_DATA: &str = "{facts = 8, questions = 8, repeats = true, documents = 32, batches = 1000, seed = 32}";
const LONG_DATA: &str = "{facts = 64, questions = 64, repeats = true, documents = 5, batches = 1000, seed = 31}";

type Found = BTreeMap<String, Vec<Recall>>;

fn main() -> Result<(), Box<dyn Error>> {
    tesseral::nn::kernels::memory::keep_freed_blocks();
    let out = PathBuf::from(std::env::args().nth(1).ok_or("expected a folder to write to")?);
    tesseral::nn::train::on_large_stack(move || run(&out).map_err(|e| e.to_string()))??;
    Ok(())
}

fn run(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut seeds: Vec<Found> = Vec::new();
    for seed in 1..=3 {
        let mut found = Found::new();
        let folder = out.join(format!("runs/{seed}"));
        let arm = |name: &str, config: &str, set: &[String]| -> Result<Vec<Recall>, Box<dyn Error>> {
            let set: Vec<String> = set.iter().cloned().chain([format!("seed={seed}")]).collect();
            let config = LmConfig::read(config.as_ref(), &set)?;
            let report = train(&config, &folder.join(name), false, &mut Silent, &AtomicBool::new(false))?;
            Ok(report.recall.into_values().collect())
        };
        found.insert("0 base 100, no long data".into(), arm("short", SHORT, &[])?);
        found.insert("1 base 1e4, no training".into(), untrained(&folder.join("short/model"), 1e4)?);
        let from = format!("model.init_from={:?}", std::path::absolute(folder.join("short"))?);
        let theta = |theta: &str| format!("model.rope_theta={theta}");
        let data = |data: &str| format!("data.recall=[{data}]");
        let arms = [
            ("2 base 100, long and short", vec![theta("100.0")]),
            ("3 base 1e4, long and short", vec![]),
            ("4 base 1e4, short data", vec![data(SHORT_DATA)]),
            ("5 base 1e4, long data", vec![data(LONG_DATA)]),
        ];
        for (name, mut set) in arms {
            set.push(from.clone());
            found.insert(name.into(), arm(&format!("arm-{}", &name[..1]), LONG, &set)?);
        }
        // Documents with conflicting keys in one row: what masks are worth, at equal steps, from nothing.
        let unmasked = [2, 4, 8].map(|facts: usize| {
            let documents = 256 / facts;
            format!(
                "{{facts = {facts}, questions = {facts}, repeats = true, documents = {documents}, batches = 4000, \
                 unmasked = true, seed = {}}}",
                11 + facts.ilog2() - 1
            )
        });
        found.insert("6 no document masks".into(), arm("unmasked", SHORT, &[data(&unmasked.join(", "))])?);
        for (name, recalls) in &found {
            let shares: Vec<String> = recalls.iter().map(|r| format!("{}: {:.3}", r.length, r.accuracy)).collect();
            println!("seed {seed}, {name}: {}", shares.join(", "));
        }
        seeds.push(found);
    }
    let mut csv = String::from("arm,seed,tokens,recall,loss_nats,depth_1,depth_2,depth_3,depth_4,depth_5\n");
    for (seed, found) in seeds.iter().enumerate() {
        for (name, recall) in found.iter().flat_map(|(name, all)| all.iter().map(move |recall| (name, recall))) {
            let depths: Vec<String> = recall.by_depth.iter().map(|a| format!("{a:.4}")).collect();
            let (length, accuracy, loss) = (recall.length, recall.accuracy, recall.loss);
            writeln!(csv, "{:?},{},{length},{accuracy:.4},{loss:.4},{}", &name[2..], seed + 1, depths.join(","))?;
        }
    }
    write_atomic(&out.join("prolong-recall.csv"), csv.as_bytes())?;
    let means: Vec<(String, Vec<Recall>)> =
        seeds[0].keys().map(|name| (name[2..].to_string(), mean(&seeds, name))).collect();
    let panels: Vec<(&str, &[Recall])> = means.iter().take(4).map(|(name, all)| (name.as_str(), &all[..])).collect();
    plot::recall::draw(&out.join("prolong-recall.svg"), &panels)?;
    Ok(())
}

/// The trained model with another base, as it is.
fn untrained(model: &Path, theta: f64) -> Result<Vec<Recall>, Box<dyn Error>> {
    let mut weights = Weights::open(model, Storage::F32)?;
    weights.config.rope_theta = theta;
    let decoder = Decoder::from_tensors(&weights.config, &weights.tensors)?;
    let tasks = LmConfig::read(SHORT.as_ref(), &[])?.data.validation_recall;
    Ok(tasks.values().map(|task| measure(&decoder, task, 5)).collect::<Result<_, _>>()?)
}

/// Shares averaged over the seeds.
fn mean(seeds: &[Found], name: &str) -> Vec<Recall> {
    let count = seeds.len() as f64;
    let mut all = seeds[0][name].clone();
    for (k, recall) in all.iter_mut().enumerate() {
        let of_seeds = || seeds.iter().map(|found| &found[name][k]);
        recall.accuracy = of_seeds().map(|r| r.accuracy).sum::<f64>() / count;
        for (depth, share) in recall.by_depth.iter_mut().enumerate() {
            *share = of_seeds().map(|r| r.by_depth[depth]).sum::<f64>() / count;
        }
    }
    all
}
