//! Time and memory of a step: forward alone, MeZO, AdamW, on the same model and batch, each in a process of its own.
//!
//! `cargo run --release -p tesseral-lm --example mezo_cost -- MODEL forward|twice|mezo|adam [EXAMPLES [TOKENS [REPEATS]]]`
//!
//! Examples are random prompts of TOKENS tokens with two options of one token. `twice` is two forward passes, the least that
//! a step of MeZO can cost. The peak is that of the steps: the model is there already (its loading is left out).

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use rand::Rng;
use tesseral_lm::model::weights::{Storage, Weights};
use tesseral_lm::tuning::example::{Example, Sequence};
use tesseral_lm::tuning::objective::Objective;
use tesseral_lm::tuning::tuned::{Scope, Tuned};
use tesseral_nn::kernels::backward;
use tesseral_nn::kernels::memory::peak_resident_mb;
use tesseral_nn::optim::zeroth_order::{Normal, ZerothOrder, ZerothOrderConfig};
use tesseral_nn::optim::{AdamConfig, AdamW, Gradients};
use tesseral_nn::rng::Streams;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, mode, rest @ ..] = arguments.as_slice() else {
        return Err("expected MODEL forward|twice|mezo|adam [EXAMPLES [TOKENS [REPEATS]]]".into());
    };
    let number = |k: usize, default: usize| rest.get(k).map_or(Ok(default), |text| text.parse());
    let (examples, tokens, repeats) = (number(0, 8)?, number(1, 256)?, number(2, 3)?);
    let weights = Weights::open(Path::new(model), Storage::F32)?;
    let vocabulary = weights.config.vocab_size as u32;
    let tuned = Tuned::new(weights, Scope::Full, Streams::new(0))?;
    let mut stream = Streams::new(1).stream("tokens", &[]);
    let mut batch = Vec::new();
    for _ in 0..examples {
        let prompt: Vec<u32> = (0..tokens).map(|_| stream.random_range(0..vocabulary)).collect();
        let option = |id: u32| Sequence { ids: prompt.iter().copied().chain([id]).collect(), option: 1 };
        batch.push(Example::new(&[option(11), option(12)], vec![0], Vec::new())?);
    }
    let loss = || Objective::Classification.value(&tuned, &batch, None);
    let mut mezo = ZerothOrder::new(
        tuned.parameters(),
        ZerothOrderConfig::default(),
        repeats as u64 + 1,
        Normal::new(Streams::new(0)),
    )?;
    let mut adam = None;
    // The largest resident memory from here on.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let mut seconds = Vec::new();
    for _ in 0..=repeats {
        let clock = Instant::now();
        match mode.as_str() {
            "forward" => drop(loss()?),
            "twice" => drop((loss()?, loss()?)),
            "mezo" => drop(mezo.step(&mut || Ok(loss()?))?),
            "adam" => {
                let adam = match &mut adam {
                    Some(adam) => adam,
                    None => adam.insert(AdamW::new(tuned.parameters(), AdamConfig::default())?),
                };
                let tensor = Objective::Classification.tensor(&tuned, &batch)?;
                let gradients = Gradients::collect(tuned.parameters(), &backward(tensor)?);
                adam.step(&gradients, 1e-6)?;
            }
            other => return Err(format!("expected forward, twice, mezo or adam, found {other}").into()),
        }
        seconds.push(clock.elapsed().as_secs_f64());
    }
    // The first is warm-up.
    let mut timed = seconds.split_off(1);
    timed.sort_by(f64::total_cmp);
    let median = timed.get(timed.len() / 2).copied().unwrap_or(f64::NAN);
    let peak = peak_resident_mb().unwrap_or(f64::NAN);
    println!("{mode}: {examples} examples of {tokens} tokens, median of {repeats}: {median:.3} s, peak {peak:.0} MB");
    Ok(())
}
