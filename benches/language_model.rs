//! The operations in which a language model spends its time, at the widths of SmolLM2-135M: products with weights, attention
//! and the loss over a vocabulary, forward and with gradients; and the product of one token with each form of a weight.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use candle_core::{DType, Device, Tensor, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use tesseral::nn::attention::varlen::{Heads, Segments, attention};
use tesseral::nn::kernels::backward;
use tesseral::nn::kernels::memory::keep_freed_blocks;
use tesseral::nn::layers::cross_entropy::{BLOCK, Reduction, cross_entropy};
use tesseral::nn::layers::{Compact, linear};

const TOKENS: usize = 512;
const WIDTH: usize = 576;
const HIDDEN: usize = 1536;
const VOCABULARY: usize = 49_152;

fn values(rows: usize, columns: usize) -> Var {
    let wave = (0..rows * columns).map(|n| (n as f32 * 0.37).sin() * 0.1).collect::<Vec<_>>();
    Var::from_vec(wave, (rows, columns), &Device::Cpu).unwrap()
}

fn gradients(y: &Tensor) {
    backward(y.sqr().unwrap().sum_all().unwrap()).unwrap();
}

fn products(criterion: &mut Criterion) {
    keep_freed_blocks();
    let (x, w) = (values(TOKENS, WIDTH), values(HIDDEN, WIDTH));
    let mut group = criterion.benchmark_group("linear");
    group.throughput(Throughput::Elements(TOKENS as u64)).sample_size(20);
    group.bench_function("forward", |bencher| bencher.iter(|| linear(&x.detach(), &w.detach()).unwrap()));
    group.bench_function("forward and gradients", |bencher| bencher.iter(|| gradients(&linear(&x, &w).unwrap())));
    group.finish();

    // Values of 16 levels, as a file of 4 bits holds them.
    let levels = (0..HIDDEN * WIDTH).map(|n| ((n * n) % 16) as f32 * 0.125 - 1.0).collect::<Vec<_>>();
    let wide = Tensor::from_vec(levels, (HIDDEN, WIDTH), &Device::Cpu).unwrap();
    let narrow = wide.to_dtype(DType::BF16).unwrap();
    let compact = Compact::of(&wide).unwrap().unwrap();
    let one = values(1, WIDTH).detach();
    let mut group = criterion.benchmark_group("one token");
    group.throughput(Throughput::Elements((HIDDEN * WIDTH) as u64)).sample_size(50);
    group.bench_function("f32", |bencher| bencher.iter(|| linear(&one, &wide).unwrap()));
    group.bench_function("bf16", |bencher| bencher.iter(|| linear(&one, &narrow).unwrap()));
    group.bench_function("4 bits", |bencher| bencher.iter(|| compact.linear(&one).unwrap()));
    group.finish();
}

fn attended(criterion: &mut Criterion) {
    let heads = Heads::new(9, 3, 64);
    let segments = Arc::new(Segments::packed(&[TOKENS], true));
    let (q, k, v) = (values(TOKENS, 9 * 64), values(TOKENS, 3 * 64), values(TOKENS, 3 * 64));
    let mut group = criterion.benchmark_group("attention");
    group.throughput(Throughput::Elements(TOKENS as u64)).sample_size(20);
    group.bench_function("forward", |bencher| {
        bencher.iter(|| attention(&q.detach(), &k.detach(), &v.detach(), &segments, heads).unwrap());
    });
    group.bench_function("forward and gradients", |bencher| {
        bencher.iter(|| gradients(&attention(&q, &k, &v, &segments, heads).unwrap()));
    });
    group.finish();
}

fn losses(criterion: &mut Criterion) {
    let tokens = TOKENS / 4;
    let (hidden, weight) = (values(tokens, WIDTH), values(VOCABULARY, WIDTH));
    let targets: Arc<[i64]> = (0..tokens).map(|n| (n * 7919 % VOCABULARY) as i64).collect();
    let mut group = criterion.benchmark_group("cross entropy");
    group.throughput(Throughput::Elements(tokens as u64)).sample_size(10);
    group.bench_function("loss and gradients", |bencher| {
        bencher.iter(|| {
            backward(cross_entropy(&hidden, &weight, &targets, Reduction::Mean, BLOCK).unwrap()).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, products, attended, losses);
criterion_main!(benches);
