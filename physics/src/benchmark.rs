//! How fast stage 1 runs on one structure, beside what the machine's matrix product could do.

use crate::Result;
use crate::hamiltonian::basis::Basis;
use crate::hamiltonian::targets::Targets;
use crate::model::covariant::{Covariant, CovariantConfig};
use crate::sample::Sample;
use candle_core::{DType, Device};
use serde::Serialize;
use std::time::Instant;
use tesseral_datasets::deeph::Record;
use tesseral_nn::Parameters;
use tesseral_nn::kernels::backward;
use tesseral_nn::kernels::matmul::{View, ViewMut, flops, multiply};
use tesseral_nn::kernels::memory::peak_resident_mb;
use tesseral_nn::kernels::parallel;
use tesseral_nn::optim::{AdamConfig, AdamW};
use tesseral_nn::rng::Streams;

/// What [`benchmark`] measured. Times are medians.
#[derive(Clone, Debug, Serialize)]
pub struct BenchmarkReport {
    /// Name of the structure.
    pub structure: String,
    /// Its edges, self-loops included.
    pub edges: usize,
    /// Scalars of stage 1.
    pub parameters: usize,
    /// Threads of the pool.
    pub threads: usize,
    /// Network and H blocks, without gradients, s.
    pub forward_s: f64,
    /// Forward, loss, backward and Adam, s.
    pub train_s: f64,
    /// Edges over `forward_s`.
    pub forward_edges_per_s: f64,
    /// Edges over `train_s`.
    pub train_edges_per_s: f64,
    /// Largest resident memory of the process, MB.
    pub peak_rss_mb: Option<f64>,
    /// Matrix-product operations of one train step, GFLOP.
    pub train_gemm_gflop: f64,
    /// f32 product of 1024 x 1024 matrices on all threads, GFLOP/s.
    pub machine_gemm_gflops: f64,
    /// `train_gemm_gflop / train_s` over the machine's rate.
    pub gemm_share: f64,
}

/// Measures `repeats` forward passes and train steps in f32 after a few to warm up.
///
/// # Errors
/// A structure without Hamiltonian, or as the network.
pub fn benchmark(record: &Record, config: &CovariantConfig, repeats: usize) -> Result<BenchmarkReport> {
    let basis = Basis::from_info(&record.info)?.sorted();
    let targets = Targets::new(&basis);
    let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
    let model = Covariant::new(&parameters.root(), config, &targets, basis.elements().len())?;
    let sample = Sample::new(record, &basis, &targets, model.geometry_options(), true, DType::F32)?;
    let mut adam = AdamW::new(&parameters, AdamConfig { learning_rate: 1e-4, ..AdamConfig::default() })?;
    let mut train = || -> Result<()> {
        let loss = sample.squared_error(&model.forward(&sample.geometry)?.blocks)?;
        adam.step(&backward(loss)?, 1e-4)?;
        Ok(())
    };
    let repeats = repeats.max(1);
    for _ in 0..3 {
        train()?;
    }
    let before = flops();
    train()?;
    let train_gemm_gflop = (flops() - before) as f64 * 1e-9;
    let train_s = median(repeats, &mut train)?;
    let forward_s = median(repeats, || {
        // Gradients are not asked for, so the graph that candle keeps is dropped at once.
        model.forward(&sample.geometry)?.blocks.detach();
        Ok(())
    })?;
    let machine_gemm_gflops = machine_rate()?;
    let edges = sample.graph.edges.len();
    Ok(BenchmarkReport {
        structure: record.id.clone(),
        edges,
        parameters: parameters.count(),
        threads: parallel::threads(),
        forward_s,
        train_s,
        forward_edges_per_s: edges as f64 / forward_s,
        train_edges_per_s: edges as f64 / train_s,
        peak_rss_mb: peak_resident_mb(),
        train_gemm_gflop,
        machine_gemm_gflops,
        gemm_share: train_gemm_gflop / train_s / machine_gemm_gflops,
    })
}

fn median(repeats: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// GFLOP/s of one f32 product of 1024 x 1024 matrices, rows split over all threads.
fn machine_rate() -> Result<f64> {
    const N: usize = 1024;
    let (a, b, mut c) = (vec![1.0f32; N * N], vec![0.5f32; N * N], vec![0.0f32; N * N]);
    let rows = N.div_ceil(parallel::threads());
    let seconds = median(7, || {
        parallel::for_each(c.chunks_mut(rows * N).enumerate(), |(k, c)| {
            let n = c.len() / N;
            let a = View::rows(&a[k * rows * N..], [n, N], N, 0);
            multiply(a, View::rows(&b, [N, N], N, 0), &mut ViewMut::rows(c, [n, N], N, 0), 1.0, false);
        });
        Ok(())
    })?;
    Ok(2e-9 * (N * N * N) as f64 / seconds)
}
