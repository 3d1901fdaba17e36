//! Reads a legacy folder three times and prints the time of the fastest: our side of benches/peers/legacy_read.py.
//!
//! `read_legacy DIR` prints one JSON object: seconds, elements of H and S, peak memory in all and what reading added.

use std::path::PathBuf;
use std::time::Instant;

use tesseral::datasets::deeph::validate::Limits;
use tesseral::datasets::deeph::{ReadOptions, legacy};
use tesseral::nn::kernels::memory::peak_resident_mb;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: read_legacy DIR")?);
    let options = ReadOptions { validate: false, ..ReadOptions::default() };
    let before = peak_resident_mb().unwrap_or(f64::NAN);
    let (mut best, mut elements) = (f64::INFINITY, 0);
    for _ in 0..3 {
        let start = Instant::now();
        let record = legacy::read(&folder, &options, &Limits::default())?;
        best = best.min(start.elapsed().as_secs_f64());
        elements = [&record.hamiltonian, &record.overlap].into_iter().flatten().map(|m| m.entries.len()).sum();
    }
    let peak = peak_resident_mb().unwrap_or(f64::NAN);
    println!(
        "{}",
        serde_json::json!({"seconds": best, "elements": elements, "peak_mb": peak, "grown_mb": peak - before})
    );
    Ok(())
}
