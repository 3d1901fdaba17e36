//! A forward pass and a train step of stage 1 at DeepH-E3's default widths on one graphene structure of the sample.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use candle_core::{DType, Device};
use criterion::{Criterion, Throughput};
use tesseral::datasets::deeph::{self, ReadOptions};
use tesseral::nn::Parameters;
use tesseral::nn::kernels::backward;
use tesseral::nn::kernels::memory::keep_freed_blocks;
use tesseral::nn::optim::{AdamConfig, AdamW};
use tesseral::nn::rng::Streams;
use tesseral::nn::train::on_large_stack;
use tesseral::physics::hamiltonian::basis::Basis;
use tesseral::physics::hamiltonian::targets::Targets;
use tesseral::physics::model::covariant::{Covariant, CovariantConfig};
use tesseral::physics::sample::Sample;

fn train_step(criterion: &mut Criterion) {
    keep_freed_blocks();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample/dft/0001");
    let record = deeph::read(&folder, &ReadOptions::default()).unwrap();
    let basis = Basis::from_info(&record.info).unwrap().sorted();
    let targets = Targets::new(&basis);
    let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
    let config = CovariantConfig::default();
    let model = Covariant::new(&parameters.root(), &config, &targets, basis.elements().len()).unwrap();
    let sample = Sample::new(&record, &basis, &targets, model.geometry_options(), true, DType::F32).unwrap();
    let mut adam = AdamW::new(&parameters, AdamConfig::default()).unwrap();

    let mut group = criterion.benchmark_group("stage1");
    group.throughput(Throughput::Elements(sample.graph.edges.len() as u64)).sample_size(20);
    group.bench_function("forward", |bencher| {
        bencher.iter(|| model.forward(&sample.geometry).unwrap().blocks.detach());
    });
    group.bench_function("train step", |bencher| {
        bencher.iter(|| {
            let loss = sample.squared_error(&model.forward(&sample.geometry).unwrap().blocks).unwrap();
            adam.step(&backward(loss).unwrap(), 1e-4).unwrap();
        });
    });
    group.finish();
}

fn main() {
    on_large_stack(|| {
        let mut criterion = Criterion::default().configure_from_args();
        train_step(&mut criterion);
        criterion.final_summary();
    })
    .unwrap();
}
