//! Tunes a trained Hamiltonian model on what has no gradient: the error of its band gaps.
//!
//! `cargo run --release --example mezo_band_gap -- RUN STRUCTURE.. [--steps 200] [--mesh 4,4,1] [--held-out STRUCTURE]..`
//!
//! RUN is the folder of `tesseral physics train` (or `RUN/run` of the demo). The gap is the lowest level above the filled
//! bands minus the highest filled one on a mesh of k, with the overlap of DFT; the loss is the mean modulus of its error.
//! Weights move by the loss alone (`nn::optim::zeroth_order`); held-out structures are never looked at before the end.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use tesseral::datasets::deeph::{self, ReadOptions, Record};
use tesseral::nn::optim::zeroth_order::{Normal, ZerothOrder, ZerothOrderConfig};
use tesseral::nn::rng::Streams;
use tesseral::physics::electronic::bands::occupied_bands;
use tesseral::physics::electronic::dense::{Conditioning, Options, solve};
use tesseral::physics::electronic::{Bloch, Mesh};
use tesseral::physics::hamiltonian::Basis;
use tesseral::physics::model::Model;
use tesseral::physics::prediction::predict;
use tesseral::physics::structure::Crystal;

#[derive(Parser)]
struct Arguments {
    /// Run folder of a trained model.
    run: PathBuf,
    /// Structures with H and S to tune on.
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Structures to test on.
    #[arg(long)]
    held_out: Vec<PathBuf>,
    /// Steps.
    #[arg(long, default_value_t = 200)]
    steps: u64,
    /// Electrons of a cell, where info.json has none.
    #[arg(long)]
    electrons: Option<f64>,
    /// Divisions of the mesh of k.
    #[arg(long, value_delimiter = ',', default_value = "4,4,1")]
    mesh: Vec<usize>,
    /// Learning rate.
    #[arg(long, default_value_t = 1e-6)]
    rate: f64,
    /// How far along a direction.
    #[arg(long, default_value_t = 1e-3)]
    epsilon: f64,
    /// Eigenvectors of S(k) below this are left out.
    #[arg(long, default_value_t = 5e-3)]
    overlap_threshold: f64,
    /// Of directions.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// A structure with its gap by DFT.
struct Target {
    record: Record,
    overlap: Bloch,
    basis: Basis,
    crystal: Crystal,
    filled: usize,
    gap_ev: f64,
}

impl Target {
    fn read(folder: &Path, arguments: &Arguments, mesh: &Mesh) -> Result<Self, Box<dyn Error>> {
        let mut record = deeph::read(folder, &ReadOptions::default())?;
        let crystal = Crystal::from_poscar(&record.poscar)?;
        let basis = Basis::from_info(&record.info)?;
        let overlap = record.overlap.as_ref().ok_or("expected an overlap, found none")?;
        let overlap = Bloch::new(overlap, &basis, &crystal.species)?;
        let own = record.hamiltonian.take().ok_or("expected a Hamiltonian, found none")?;
        let own = Bloch::new(&own, &basis, &crystal.species)?;
        let electrons = record.info.occupation.or(arguments.electrons).ok_or("expected --electrons, found none")?;
        let filled = occupied_bands(electrons, record.info.spinful);
        let gap_ev = gap(&own, &overlap, filled, mesh, arguments.overlap_threshold)?;
        Ok(Target { record, overlap, basis, crystal, filled, gap_ev })
    }

    fn error(&self, model: &Model, mesh: &Mesh, threshold: f64) -> Result<f64, Box<dyn Error>> {
        let h = Bloch::new(&predict(model, &self.record)?, &self.basis, &self.crystal.species)?;
        Ok(gap(&h, &self.overlap, self.filled, mesh, threshold)? - self.gap_ev)
    }
}

/// The lowest empty level minus the highest filled one, eV.
fn gap(h: &Bloch, s: &Bloch, filled: usize, mesh: &Mesh, threshold: f64) -> Result<f64, Box<dyn Error>> {
    let options = Options { conditioning: Conditioning::Project { threshold }, ..Options::default() };
    let (mut below, mut above) = (f64::NEG_INFINITY, f64::INFINITY);
    for solution in solve(&[h], s, &mesh.points, options)?.into_iter().flatten() {
        let missing = || format!("expected more than {filled} bands, found {}", solution.values.len());
        below = below.max(*solution.values.get(filled - 1).ok_or_else(missing)?);
        above = above.min(*solution.values.get(filled).ok_or_else(missing)?);
    }
    Ok(above - below)
}

fn mean_error(model: &Model, targets: &[Target], mesh: &Mesh, threshold: f64) -> Result<f64, Box<dyn Error>> {
    let errors = targets.iter().map(|target| Ok(target.error(model, mesh, threshold)?.abs()));
    let errors = errors.collect::<Result<Vec<f64>, Box<dyn Error>>>()?;
    Ok(errors.iter().sum::<f64>() / errors.len().max(1) as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let model = Model::load(&arguments.run)?;
    let divisions = arguments.mesh.clone().try_into().map_err(|_| "expected three divisions")?;
    let mesh = Mesh::new(divisions, true)?;
    let read =
        |folders: &[PathBuf]| folders.iter().map(|f| Target::read(f, &arguments, &mesh)).collect::<Result<Vec<_>, _>>();
    let (train, test) = (read(&arguments.structures)?, read(&arguments.held_out)?);
    let threshold = arguments.overlap_threshold;
    let error = |targets: &[Target]| mean_error(&model, targets, &mesh, threshold);
    println!("gaps by DFT, eV: {:?}", train.iter().chain(&test).map(|t| t.gap_ev).collect::<Vec<_>>());
    println!("step 0: mean error of the gap {:.4} eV, held out {:.4} eV", error(&train)?, error(&test)?);
    // The last stage is what is tuned: stage 2 where there is one.
    let parameters = model.refinement.as_ref().map_or(&model.parameters, |stage| &stage.parameters);
    let config = ZerothOrderConfig {
        learning_rate: arguments.rate,
        epsilon: arguments.epsilon,
        largest_loss: Some(100.0),
        ..ZerothOrderConfig::default()
    };
    let directions = Normal::new(Streams::new(arguments.seed));
    let mut run = ZerothOrder::new(parameters, config, arguments.steps, directions)?;
    let mut average = None;
    for step in 1..=arguments.steps {
        let report = run.step(&mut || {
            let whole = error(&train).map_err(|e| candle_core::Error::Msg(e.to_string()))?;
            Ok(whole)
        })?;
        let average = average.insert(average.map_or(report.loss, |a: f64| 0.95 * a + 0.05 * report.loss));
        if step % (arguments.steps / 10).max(1) == 0 {
            println!("step {step}: running mean {average:.4} eV");
        }
    }
    println!("after: mean error of the gap {:.4} eV, held out {:.4} eV", error(&train)?, error(&test)?);
    Ok(())
}
