//! Bands at one k and the Fermi level of one graphene structure of the sample, by full spectra and by inertia.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{Criterion, Throughput};
use tesseral::datasets::deeph::{self, ReadOptions};
use tesseral::physics::electronic::{Bloch, Mesh, dense, fermi, sparse};
use tesseral::physics::hamiltonian::Basis;
use tesseral::physics::structure::Crystal;

fn spectrum(criterion: &mut Criterion) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample/dft/0001");
    let record = deeph::read(&folder, &ReadOptions::default()).unwrap();
    let crystal = Crystal::from_poscar(&record.poscar).unwrap();
    let basis = Basis::from_info(&record.info).unwrap();
    let bloch = |matrix: &Option<_>| Bloch::new(matrix.as_ref().unwrap(), &basis, &crystal.species).unwrap();
    let (h, s) = (bloch(&record.hamiltonian), bloch(&record.overlap));
    let electrons = record.info.occupation.unwrap();
    let mesh = Mesh::new([8, 8, 1], true).unwrap();

    let mut group = criterion.benchmark_group("spectrum");
    group.sample_size(10).throughput(Throughput::Elements(1));
    let k = [0.137, 0.291, 0.0];
    group.bench_function("dense, one k", |bencher| bencher.iter(|| dense::eigenvalues(&h, &s, &[k]).unwrap()));
    let options = sparse::Options { around_ev: 0.0, count: 8, vectors: false, points_in_all: None };
    group.bench_function("8 levels, one k", |bencher| bencher.iter(|| sparse::solve(&h, &s, &[k], options).unwrap()));
    group.throughput(Throughput::Elements(mesh.points.len() as u64));
    group.bench_function("Fermi level by counting", |bencher| {
        bencher.iter(|| {
            let values = dense::eigenvalues(&h, &s, &mesh.points).unwrap();
            fermi::by_counting(&values, &mesh.weights, electrons, basis.spinful()).unwrap()
        });
    });
    group.bench_function("Fermi level by inertia", |bencher| {
        bencher.iter(|| fermi::by_inertia(&h, &s, &mesh, electrons, basis.spinful()).unwrap());
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    spectrum(&mut criterion);
    criterion.final_summary();
}
