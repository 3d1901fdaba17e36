//! HELMET scaled down: recall and retrieval of a small model by the length of the prompt and the depth of the answer.
//!
//! `cargo run --release --example helmet_smollm2 -- MODEL OUT [QUESTIONS] [LENGTHS]` makes data of each length (512, 1024,
//! 2048 and 4096 tokens of the model's own tokenizer, answers included), asks each of QUESTIONS (4) at three depths, and
//! writes OUT/scores.csv, the data with the lengths achieved, and the answers, which a second run does not ask again. MODEL
//! is a GGUF file or a folder (`../shared/models/fetch-smollm2`); the passages are those of `../shared/data/qa`.

use serde_json::json;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tesseral::lm::evaluation::ask::Asker;
use tesseral::lm::evaluation::backend::local::Local;
use tesseral::lm::evaluation::helmet::breakdown::{By, breakdown};
use tesseral::lm::evaluation::helmet::data;
use tesseral::lm::evaluation::helmet::dataset::Dataset;
use tesseral::lm::evaluation::helmet::generate::{
    Generator, Haystack, KeyValues, Needles, Passages, Plan, build, depths, solved, write,
};
use tesseral::lm::evaluation::helmet::length::Budget;
use tesseral::lm::evaluation::helmet::task::{Helmet, Options};
use tesseral::lm::evaluation::store::Store;
use tesseral::lm::evaluation::task::{Sample, Task};
use tesseral::lm::model::weights::Storage;

const QA: &str = "../shared/data/qa";
const SEED: u64 = 42;

fn main() -> Result<(), Box<dyn Error>> {
    tesseral::nn::kernels::memory::keep_freed_blocks();
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().map(PathBuf::from).ok_or("expected a model")?;
    let out = arguments.next().map(PathBuf::from).ok_or("expected a folder to write to")?;
    let questions = arguments.next().map_or(Ok(4), |number| number.parse())?;
    let lengths = arguments.next().unwrap_or("512,1024,2048,4096".into());
    let lengths: Vec<usize> = lengths.split(',').map(str::parse).collect::<Result<_, _>>()?;

    std::fs::create_dir_all(&out)?;
    let backend = Local::open(&model, Storage::F32)?;
    let mut store = Store::open(&out.join("answers.jsonl"))?;
    let mut asker = Asker::new(&backend, &mut store);
    let qa = |name: &str| Path::new(QA).join(name);
    let passages = Passages::read(&qa("narrativeqa_passages.jsonl"), &qa("narrativeqa_questions.jsonl"), 60, SEED)?;
    let kinds: [(Box<dyn Generator>, usize); 5] = [
        (Box::new(Needles::single(SEED, Haystack::Noise)), 0),
        (Box::new(Needles::multi_key(SEED)), 0),
        (Box::new(Needles::uuids(SEED)), 0),
        (Box::new(KeyValues { seed: SEED, shots: 2 }), 2),
        (Box::new(passages), 2),
    ];
    let mut csv = String::from("dataset,metric,length,depth,mean,standard_error,samples\n");
    for (generator, shots) in kinds {
        let dataset = Dataset::named(generator.dataset())?;
        let metric = dataset.settings().metrics[0];
        let mut samples: Vec<Sample> = Vec::new();
        for length in &lengths {
            let plan = Plan { questions, depths: depths(3), shots, budget: budget(&dataset, *length) };
            samples.extend(ask(generator.as_ref(), &plan, &out, &mut asker)?);
        }
        println!("{} {metric}", dataset.name);
        for cell in breakdown(&samples, metric, By::Length) {
            println!("  {:>5} tokens {:>6.1}", cell.length.unwrap_or(0.0), 100.0 * cell.mean);
        }
        for cell in breakdown(&samples, metric, By::LengthAndDepth) {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let (length, depth, error) = (number(cell.length), number(cell.depth), number(cell.error));
            writeln!(csv, "{},{metric},{length},{depth},{},{error},{}", dataset.name, cell.mean, cell.samples)?;
        }
        std::fs::write(out.join("scores.csv"), &csv)?;
    }
    println!("{} tokens through the model", backend.work());
    Ok(())
}

fn budget(dataset: &Dataset, length: usize) -> Budget {
    Budget { length, answer: dataset.settings().max_tokens, chat: false, turns: 0 }
}

/// Makes the data of one length and asks it.
fn ask(
    generator: &dyn Generator,
    plan: &Plan,
    out: &Path,
    asker: &mut Asker<'_>,
) -> Result<Vec<Sample>, Box<dyn Error>> {
    let length = plan.budget.length;
    let file = |kind: &str| out.join(format!("{}_{length}.{kind}", generator.dataset()));
    let mut options = json!({
        "dataset": generator.dataset(),
        "file": file("jsonl"),
        "shots": plan.shots,
        "length": length,
    });
    // Passages have their solved examples in a file of their own.
    let mut demos = Vec::new();
    if generator.dataset() == "kilt_nq" {
        write(&solved(generator, plan.questions, 20)?, &file("demos.jsonl"))?;
        demos = data::read(&file("demos.jsonl"))?;
        options["demos"] = json!(file("demos.jsonl"));
    }
    let tokenizer = asker.backend().tokenizer().ok_or("expected a model with a tokenizer")?;
    let (rows, manifest) = build(generator, plan, &demos, tokenizer, &tokenizer.source().display().to_string())?;
    write(&rows, &file("jsonl"))?;
    manifest.write(&file("lengths.json"))?;
    let task = Helmet::open(serde_json::from_value::<Options>(options)?)?;
    Ok(task.run(asker, None)?)
}
