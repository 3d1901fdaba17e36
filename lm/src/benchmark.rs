//! How fast a model of a shape trains, beside what the machine's matrix product could do.

use crate::Result;
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::objective::{Batch, Recompute, loss_and_gradients};
use candle_core::{DType, Device};
use serde::Serialize;
use std::time::Instant;
use tesseral_nn::Parameters;
use tesseral_nn::kernels::matmul::flops;
use tesseral_nn::kernels::memory::peak_resident_mb;
use tesseral_nn::kernels::parallel;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::optim::{AdamConfig, AdamW};
use tesseral_nn::rng::Streams;

/// What [`train_step`] measured. Times are medians.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// Scalars of the model.
    pub parameters: usize,
    /// Tokens of a step, one sequence.
    pub tokens: usize,
    /// Threads of the pool.
    pub threads: usize,
    /// Forward, loss, backward and AdamW, s.
    pub train_s: f64,
    /// Tokens over `train_s`.
    pub train_tokens_per_s: f64,
    /// Largest resident memory of the process, MB.
    pub peak_rss_mb: Option<f64>,
    /// Matrix-product operations of a step, GFLOP.
    pub train_gemm_gflop: f64,
}

/// Measures `repeats` train steps on one sequence of `tokens` tokens, f32, after one to warm up.
///
/// # Errors
/// Those of the model.
pub fn train_step(config: &LlamaConfig, tokens: usize, repeats: usize, recompute: Recompute) -> Result<TrainReport> {
    let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
    let decoder = Decoder::declare(&parameters.root(), config, 0.02)?;
    let ids: Vec<u32> = (0..tokens as u64).map(|k| (k * 7919 % config.vocab_size as u64) as u32).collect();
    let batch = Batch::whole(&ids)?;
    let mut adam = AdamW::new(&parameters, AdamConfig { learning_rate: 1e-5, ..AdamConfig::default() })?;
    let mut step = || -> Result<f64> {
        let clock = Instant::now();
        let (_, gradients) = loss_and_gradients(&decoder, &parameters, &batch, Reduction::Mean, recompute)?;
        adam.step(&gradients, 1e-5)?;
        Ok(clock.elapsed().as_secs_f64())
    };
    step()?;
    let before = flops();
    let mut times = vec![step()?];
    let train_gemm_gflop = (flops() - before) as f64 * 1e-9;
    for _ in 1..repeats.max(1) {
        times.push(step()?);
    }
    times.sort_by(f64::total_cmp);
    let train_s = times[times.len() / 2];
    Ok(TrainReport {
        parameters: parameters.count(),
        tokens,
        threads: parallel::threads(),
        train_s,
        train_tokens_per_s: tokens as f64 / train_s,
        peak_rss_mb: peak_resident_mb(),
        train_gemm_gflop,
    })
}
