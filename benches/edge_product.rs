//! The weighted tensor product of stage 1 in the edge frame, at DeepH-E3's default widths, forward and with gradients.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tesseral::nn::Parameters;
use tesseral::nn::equivariant::irreps::{Convention, Irreps, concat};
use tesseral::nn::equivariant::so2::EdgeProduct;
use tesseral::nn::equivariant::tensor_product::SeparateWeights;
use tesseral::nn::kernels::memory::keep_freed_blocks;
use tesseral::nn::rng::Streams;

/// Edges of the graphene structure 0000 of the sample's family; 8 of them self-loops.
const EDGES: usize = 248;
const SELF_LOOPS: usize = 8;

fn edge_product(criterion: &mut Criterion) {
    keep_freed_blocks();
    let features: Irreps = "64x0e+32x1o+16x2e+8x3o+8x4e".parse().unwrap();
    // Features with one gate for each channel above l = 0.
    let output: Irreps = "128x0e+32x1o+16x2e+8x3o+8x4e".parse().unwrap();
    let pair = concat(&[&features, &features]);
    let product = EdgeProduct::new(&pair, &features, 4, &output, Convention::V035);
    let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
    let weights = SeparateWeights::new(&parameters.root(), product.paths()).unwrap();
    let values = |columns: usize| {
        let wave = (0..EDGES * columns).map(|n| (n as f32 * 0.37).sin()).collect::<Vec<_>>();
        Tensor::from_vec(wave, (EDGES, columns), &Device::Cpu).unwrap()
    };
    let [first, second, _] = product.layouts();
    let (x, e) = (values(first.irreps().dim()), values(second.irreps().dim()));

    let mut group = criterion.benchmark_group("edge_product");
    group.throughput(Throughput::Elements(EDGES as u64)).sample_size(30);
    group.bench_function("forward", |bencher| {
        bencher.iter(|| product.forward(&x, &e, &weights, SELF_LOOPS).unwrap().detach());
    });
    group.bench_function("forward and weight gradients", |bencher| {
        bencher.iter(|| {
            product.forward(&x, &e, &weights, SELF_LOOPS).unwrap().sqr().unwrap().sum_all().unwrap().backward()
        });
    });
    group.finish();
}

criterion_group!(benches, edge_product);
criterion_main!(benches);
