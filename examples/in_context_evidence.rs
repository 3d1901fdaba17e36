//! Task recognition and task learning in a small transformer trained by this project's own trainer: by number of
//! demonstrations and by size, over three seeds, with controls.
//!
//! `cargo run --release --example in_context_evidence -- OUT` writes `in-context-synthetic.csv` and
//! `in-context-synthetic.svg` into OUT and prints the table. RAYON_NUM_THREADS=1: runs go side by side, a model is
//! too small for more than one thread.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use tesseral::lm::evaluation::in_context::synthetic::ideal::ideal;
use tesseral::lm::evaluation::in_context::synthetic::learner::{Learner, Shape};
use tesseral::lm::evaluation::in_context::synthetic::measure::{Point, measure};
use tesseral::lm::evaluation::in_context::synthetic::{Labels, World};
use tesseral::nn::train::files::write_atomic;
use tesseral::nn::train::{Silent, on_large_stack};
use tesseral::plot::in_context::{Line, Panel, draw};

const SHAPES: [Shape; 5] = [
    Shape { layers: 1, width: 64, heads: 2, feed_forward: 32 },
    Shape { layers: 2, width: 8, heads: 2, feed_forward: 8 },
    Shape { layers: 2, width: 12, heads: 2, feed_forward: 12 },
    Shape { layers: 2, width: 16, heads: 2, feed_forward: 16 },
    Shape { layers: 2, width: 64, heads: 2, feed_forward: 32 },
];
const SEEDS: [u64; 3] = [1, 2, 3];
/// Sequences asked of each model and kind of label.
const ASKED: usize = 1024;
/// Numbers of demonstrations in the table and the picture.
const SHOWN: [usize; 6] = [0, 1, 2, 4, 8, 16];

/// One model: its name, its place in the table, seed, scalars, and what it does with each kind of label.
struct Run {
    order: usize,
    model: String,
    seed: u64,
    parameters: usize,
    points: BTreeMap<Labels, Vec<Point>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    tesseral::nn::kernels::memory::keep_freed_blocks();
    let out = PathBuf::from(std::env::args().nth(1).ok_or("expected a folder to write to")?);
    std::fs::create_dir_all(&out)?;
    let mut jobs: Vec<(Shape, bool, u64)> = Vec::new();
    for seed in SEEDS {
        jobs.extend(SHAPES.iter().rev().map(|shape| (*shape, true, seed)));
        jobs.push((SHAPES[4], false, seed));
    }
    let jobs = Mutex::new(jobs.into_iter());
    let runs = Mutex::new(Vec::new());
    let work = || -> Result<(), String> {
        while let Some((shape, trained, seed)) = { jobs.lock().map_err(|e| e.to_string())?.next() } {
            let done = on_large_stack(|| one(shape, trained, seed).map_err(|e| e.to_string()))
                .map_err(|e| e.to_string())??;
            eprintln!("{}, seed {seed}: done", done.model);
            runs.lock().map_err(|e| e.to_string())?.push(done);
        }
        Ok(())
    };
    let workers = std::thread::available_parallelism()?.get().min(4);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a run panicked".to_string())?)
    })?;
    let mut runs = runs.into_inner()?;
    runs.sort_by_key(|run| (run.order, run.seed));
    report(&out, &runs)
}

fn world(seed: u64) -> World {
    World { seed, ..World::default() }
}

/// Trains and asks; sequences asked are of another seed than those trained on.
fn one(shape: Shape, trained: bool, seed: u64) -> Result<Run, Box<dyn Error>> {
    // At the higher rate the wide model stays, with one seed in three, with the labels of the last few words.
    let learning_rate = if shape.width < 64 { 5e-3 } else { 2.5e-3 };
    let learner = Learner { shape, seed, learning_rate, ..Learner::default() };
    let (world, asked) = (world(seed), world(1000 + seed));
    let (parameters, decoder) = if trained {
        let (parameters, decoder, _) = learner.train(&world, &mut Silent, &AtomicBool::new(false))?;
        (parameters, decoder)
    } else {
        let (parameters, decoder) = learner.declare(&world)?;
        (parameters.count(), decoder)
    };
    let points = Labels::ALL.iter().map(|kind| Ok((*kind, measure(&decoder, &asked, *kind, ASKED)?)));
    let points = points.collect::<tesseral::lm::Result<_>>()?;
    let model = if trained {
        format!("{} x {}, {:.0}k parameters", shape.layers, shape.width, parameters as f64 / 1000.0)
    } else {
        "untrained".into()
    };
    let order = SHAPES.iter().position(|one| trained && *one == shape).map_or(0, |place| place + 1);
    Ok(Run { order, model, seed, parameters, points })
}

fn report(out: &Path, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let mut csv = String::from("model,parameters,seed,labels,demonstrations,accuracy,open_accuracy,asked\n");
    for run in runs {
        for (kind, point) in run.points.iter().flat_map(|(kind, points)| points.iter().map(move |p| (kind, p))) {
            let (model, kind, shown) = (&run.model, kind.name(), point.demonstrations);
            let scores = format!("{:.4},{:.4},{}", point.accuracy, point.open_accuracy, point.asked);
            writeln!(csv, "{model:?},{},{},{kind},{shown},{scores}", run.parameters, run.seed)?;
        }
    }
    let best = ideal(&world(1001), 4 * ASKED)?;
    for point in &best {
        writeln!(csv, "\"ideal\",,,abstract,{},{:.4},,{}", point.demonstrations, point.accuracy, point.asked)?;
    }
    write_atomic(&out.join("in-context-synthetic.csv"), csv.as_bytes())?;

    let mut models: Vec<&str> = Vec::new();
    runs.iter().filter(|run| run.seed == SEEDS[0]).for_each(|run| models.push(&run.model));
    let mut panels = Vec::new();
    for model in models {
        let mut lines = Vec::new();
        for kind in Labels::ALL {
            let of: Vec<&[Point]> =
                runs.iter().filter(|r| r.model == model).map(|r| r.points[&kind].as_slice()).collect();
            let points: Vec<_> = SHOWN.iter().map(|shown| mean(of.iter().map(|points| &points[*shown]))).collect();
            let texts: Vec<String> =
                points.iter().map(|(k, mean, error)| format!("{k}: {mean:.3} ({error:.3})")).collect();
            println!("{model:28} {:16} {}", kind.name(), texts.join("  "));
            lines.push(Line { name: kind.name().into(), points });
        }
        let points = SHOWN.iter().map(|shown| (*shown, best[*shown].accuracy, f64::NAN)).collect();
        lines.push(Line { name: "abstract, best possible".into(), points });
        panels.push(Panel { name: model.into(), chance: 1.0 / world(0).classes as f64, lines });
    }
    let texts: Vec<String> = SHOWN.iter().map(|k| format!("{k}: {:.3}", best[*k].accuracy)).collect();
    println!("{:28} {:16} {}", "best possible", "abstract", texts.join("          "));
    draw(&out.join("in-context-synthetic.svg"), &panels)?;
    Ok(())
}

/// Demonstrations, mean over seeds, and its standard error from their spread.
fn mean<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> (usize, f64, f64) {
    let count = points.clone().count() as f64;
    let mean = points.clone().map(|p| p.accuracy).sum::<f64>() / count;
    let variance = points.clone().map(|p| (p.accuracy - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (points.map(|p| p.demonstrations).next().unwrap_or(0), mean, (variance / count).sqrt())
}
