//! Times the ways to a spectrum on one structure folder: our side of `benches/peers/spectrum.py`, and an example of the
//! library: reading, Bloch sums, bands in full, levels next to an energy, the Fermi level by counting and by inertia.
//!
//!     cargo run --release --example spectrum -- DIR --k 0,0,0 --k 0.5,0,0 --mesh 21,21,1 --tasks bands,inertia
//!
//! One line of JSON: for each task its seconds and its result.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use serde_json::{Value, json};
use tesseral::datasets::deeph::{self, ReadOptions};
use tesseral::physics::electronic::{Bloch, Mesh, dense, fermi, sparse};
use tesseral::physics::hamiltonian::Basis;
use tesseral::physics::structure::Crystal;

#[derive(Parser)]
struct Arguments {
    /// Structure folder with H and S.
    folder: PathBuf,
    /// Fractional point of the bands; may be repeated.
    #[arg(long = "k", value_parser = point, allow_negative_numbers = true)]
    points: Vec<[f64; 3]>,
    /// Divisions of the mesh of the Fermi level.
    #[arg(long, value_parser = divisions, default_value = "1,1,1")]
    mesh: [usize; 3],
    /// Electrons; by default those of info.json.
    #[arg(long)]
    electrons: Option<f64>,
    /// Energy next to which levels are wanted, eV.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    around: f64,
    /// How many levels next to it.
    #[arg(long, default_value_t = 20)]
    count: usize,
    /// Of bands, sparse, counting, inertia.
    #[arg(long, value_delimiter = ',', default_value = "bands")]
    tasks: Vec<String>,
}

fn numbers<T: std::str::FromStr>(text: &str) -> Result<[T; 3], String> {
    let numbers: Vec<T> = text.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    numbers.try_into().map_err(|_| format!("expected three numbers with commas, found `{text}`"))
}

fn point(text: &str) -> Result<[f64; 3], String> {
    numbers(text)
}

fn divisions(text: &str) -> Result<[usize; 3], String> {
    numbers(text)
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let record = deeph::read(&arguments.folder, &ReadOptions::default())?;
    let crystal = Crystal::from_poscar(&record.poscar)?;
    let basis = Basis::from_info(&record.info)?;
    let bloch = |matrix: Option<&_>| {
        let matrix = matrix.ok_or_else(|| anyhow::anyhow!("{}: expected H and S", record.id))?;
        Ok::<_, anyhow::Error>(Bloch::new(matrix, &basis, &crystal.species)?)
    };
    let (h, s) = (bloch(record.hamiltonian.as_ref())?, bloch(record.overlap.as_ref())?);
    let read = start.elapsed().as_secs_f64();

    let mesh = Mesh::new(arguments.mesh, h.is_real() && s.is_real())?;
    let electrons = arguments.electrons.or(record.info.occupation);
    let electrons = || electrons.ok_or_else(|| anyhow::anyhow!("expected --electrons, found nothing"));
    let mut found = json!({ "orbitals": h.size(), "read_s": read, "mesh_points": mesh.points.len() });
    for task in &arguments.tasks {
        let start = Instant::now();
        let result: Value = match task.as_str() {
            "bands" => json!(dense::eigenvalues(&h, &s, &arguments.points)?),
            "sparse" => {
                let (around_ev, count) = (arguments.around, arguments.count);
                let options = sparse::Options { around_ev, count, vectors: false, points_in_all: None };
                let windows = sparse::solve(&h, &s, &arguments.points, options)?;
                json!(windows.into_iter().map(|window| window.values).collect::<Vec<_>>())
            }
            "counting" => {
                let values = dense::eigenvalues(&h, &s, &mesh.points)?;
                json!(fermi::by_counting(&values, &mesh.weights, electrons()?, basis.spinful())?)
            }
            "inertia" => json!(fermi::by_inertia(&h, &s, &mesh, electrons()?, basis.spinful())?),
            other => anyhow::bail!("--tasks: expected bands, sparse, counting or inertia, found `{other}`"),
        };
        found[task] = json!({ "seconds": start.elapsed().as_secs_f64(), "result": result });
    }
    println!("{found}");
    Ok(())
}
