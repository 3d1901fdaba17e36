use tesseral_physics::*;
fn main() {
    tesseral_nn::kernels::memory::keep_freed_blocks();
    let path = std::env::args().nth(1).unwrap();
    let r = tesseral_datasets::deeph::read(std::path::Path::new(&path), &tesseral_datasets::deeph::ReadOptions { overlap: false, hamiltonian: true, validate: false }).unwrap();
    let rep = benchmark::benchmark(&r, &Default::default(), 30).unwrap();
    println!("{:#?}", rep);
}
