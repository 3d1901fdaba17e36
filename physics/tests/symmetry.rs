//! What must hold for any structure: covariance, translation, permutation, gradients everywhere.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

use candle_core::{DType, Device, Tensor};
use nalgebra::{Matrix3, Rotation3, Vector3};
use proptest::prelude::*;
use std::collections::HashMap;
use tesseral_datasets::deeph::matrix::BlockMatrix;
use tesseral_nn::Parameters;
use tesseral_nn::equivariant::irreps::Parity;
use tesseral_nn::equivariant::wigner::wigner_d;
use tesseral_nn::kernels::reverse::{backward, foreign_operations};
use tesseral_nn::layers::loss::{Power, summed_error};
use tesseral_nn::optim::assert_every_variable_has_gradient;
use tesseral_nn::rng::Streams;
use tesseral_physics::graph::CrystalGraph;
use tesseral_physics::hamiltonian::basis::Basis;
use tesseral_physics::hamiltonian::symmetry;
use tesseral_physics::hamiltonian::targets::Targets;
use tesseral_physics::model::covariant::{Covariant, CovariantConfig};
use tesseral_physics::model::geometry::Geometry;
use tesseral_physics::model::refine::statistics::Collector;
use tesseral_physics::model::refine::{Refine, RefineConfig};
use tesseral_physics::sample::unflatten;
use tesseral_physics::structure::crystal::Crystal;
use tesseral_physics::structure::lattice::Lattice;

/// Four atoms of two elements in a triclinic cell.
fn crystal() -> Crystal {
    let rows = Matrix3::new(3.1, 0.2, 0.0, -0.4, 3.6, 0.3, 0.1, -0.2, 4.2);
    let positions = [[0.1, 0.2, 0.3], [1.7, 1.5, 1.9], [0.4, 2.1, 3.0], [2.2, 0.3, 2.6]];
    Crystal {
        lattice: Lattice::new(rows).unwrap(),
        species: vec![6, 16, 6, 16],
        positions: positions.iter().map(|p| Vector3::from(*p)).collect(),
    }
}

fn basis() -> Basis {
    Basis::new(vec![(6, vec![0, 1]), (16, vec![0, 0, 1, 2])], false).unwrap()
}

/// All pairs closer than 3.4 angstrom.
fn pairs(c: &Crystal) -> Vec<[i64; 5]> {
    let mut pairs = Vec::new();
    for cell in c.lattice.images_within(8.0, [true; 3]) {
        for i in 0..c.len() {
            for j in 0..c.len() {
                if c.displacement(cell, i, j).norm() < 3.4 {
                    pairs.push([cell[0], cell[1], cell[2], i as i64, j as i64]);
                }
            }
        }
    }
    pairs
}

struct Network {
    parameters: Parameters,
    refine_parameters: Parameters,
    targets: Targets,
    covariant: Covariant,
    refine: Refine,
}

fn network() -> Network {
    let targets = Targets::new(&basis());
    let config = CovariantConfig {
        blocks: 2,
        irreps_embed: "8x0e".into(),
        irreps_mid: "8x0e+6x1o+4x2e+2x3o+2x4e".into(),
        lmax_harmonics: 3,
        radial_basis: 16,
        ..CovariantConfig::default()
    };
    let parameters = Parameters::new(Streams::new(7), DType::F64, &Device::Cpu);
    let covariant = Covariant::new(&parameters.root(), &config, &targets, 2).unwrap();
    let refine_parameters = Parameters::new(Streams::new(8), DType::F64, &Device::Cpu);
    let small = RefineConfig { width: 16, hidden: 24, blocks: 2, heads: 2, ..RefineConfig::default() };
    let refine = Refine::new(&refine_parameters.root(), &small, &covariant).unwrap();
    Network { parameters, refine_parameters, targets, covariant, refine }
}

impl Network {
    fn hamiltonian(&self, c: &Crystal, pairs: &[[i64; 5]]) -> BlockMatrix {
        let graph = CrystalGraph::new("test", c, pairs, &[6, 16]).unwrap();
        let geometry = Geometry::new(&graph, self.covariant.geometry_options(), DType::F64).unwrap();
        let flat = self.covariant.forward(&geometry).unwrap().blocks.flatten_all().unwrap().to_vec1().unwrap();
        unflatten(&flat, &graph, &basis(), &self.targets).unwrap()
    }
}

fn largest(a: &BlockMatrix, b: &BlockMatrix) -> f64 {
    let places: HashMap<_, _> = b.pairs.iter().enumerate().map(|(k, p)| (*p, k)).collect();
    let mut worst: f64 = 0.0;
    for (k, pair) in a.pairs.iter().enumerate() {
        let (x, y) = (a.real_block(k).unwrap(), b.real_block(places[pair]).unwrap());
        worst = (&x - &y).iter().fold(worst, |m, d| m.max(d.abs()));
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hamiltonian_turns_with_the_crystal(axis in prop::array::uniform3(-3.0..3.0f64), improper in any::<bool>(), shift in prop::array::uniform3(-5.0..5.0f64)) {
        let net = network();
        let c = crystal();
        let p = pairs(&c);
        let proper = *Rotation3::from_scaled_axis(Vector3::from(axis)).matrix();
        let r = if improper { -proper } else { proper };
        let before = net.hamiltonian(&c, &p);
        let after = net.hamiltonian(&c.rotated(&r).translated(&Vector3::from(shift)), &p);
        let d = |l: usize| wigner_d(l, Parity::of_spherical_harmonic(l as u32), &r);
        let expected = symmetry::rotated(&before, &basis(), &c.species, d, None).unwrap();
        prop_assert!(largest(&after, &expected) < 1e-9, "{:e}", largest(&after, &expected));
    }
}

#[test]
fn atoms_and_edges_may_be_listed_in_any_order() {
    let (net, c) = (network(), crystal());
    let p = pairs(&c);
    let h = net.hamiltonian(&c, &p);
    let mut reversed = p.clone();
    reversed.reverse();
    assert!(largest(&h, &net.hamiltonian(&c, &reversed)) < 1e-11);

    let order = [2, 0, 3, 1];
    let moved = c.permuted(&order).unwrap();
    let h_moved = net.hamiltonian(&moved, &pairs(&moved));
    assert!(largest(&symmetry::permuted(&h, &order).unwrap(), &h_moved) < 1e-11);
}

#[test]
fn a_larger_cell_of_the_same_crystal_gives_the_same_blocks() {
    // True for this network because averages over the graph do not change; with one odd atom they would.
    let (net, c) = (network(), crystal());
    let h = net.hamiltonian(&c, &pairs(&c));
    let big = c.supercell([2, 1, 1]).unwrap();
    let h_big = net.hamiltonian(&big, &pairs(&big));
    let onsite = |h: &BlockMatrix, atom: i64| {
        let k = h.pairs.iter().position(|p| *p == [0, 0, 0, atom, atom]).unwrap();
        h.real_block(k).unwrap().to_owned()
    };
    let same = (0..big.len() as i64).filter(|a| big.species[*a as usize] == c.species[0]);
    let closest = same.map(|a| (onsite(&h_big, a) - onsite(&h, 0)).iter().fold(0.0f64, |m, x| m.max(x.abs())));
    assert!(closest.fold(f64::INFINITY, f64::min) < 1e-10);
}

#[test]
fn every_variable_of_both_stages_gets_a_gradient() {
    let (net, c) = (network(), crystal());
    let graph = CrystalGraph::new("test", &c, &pairs(&c), &[6, 16]).unwrap();
    let geometry = Geometry::new(&graph, net.covariant.geometry_options(), DType::F64).unwrap();
    let output = net.covariant.forward(&geometry).unwrap();
    let zero = output.blocks.zeros_like().unwrap();
    let loss = summed_error(&output.blocks, &zero, None, Power::Squared, 1.0).unwrap();
    assert_eq!(foreign_operations(&loss), 0, "stage 1 trains by the fast reverse pass");
    let (grads, by_candle) = (backward(loss.clone()).unwrap(), loss.backward().unwrap());
    assert_every_variable_has_gradient(&net.parameters, &grads).unwrap();
    for (name, variable) in net.parameters.to_vec() {
        let [a, b] = [&grads, &by_candle].map(|g| g.get(&variable).unwrap().flatten_all().unwrap());
        let [a, b] = [a, b].map(|g| g.to_vec1::<f64>().unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs())), "{name}");
    }

    let mut collector = Collector::new(&net.covariant);
    let label = (&output.irreps + 1.0).unwrap().detach();
    collector.add(&output.detached(), &geometry, &label).unwrap();
    let statistics = collector.finish();
    let input = net.refine.input(&output.detached(), &geometry, &statistics).unwrap();
    let start = net.refine.forward(&input, None).unwrap();
    let change = (&start - &output.blocks).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    assert_eq!(change, 0.0, "refinement starts at the baseline");

    // Away from the zero start, where hidden layers get no gradient by design.
    for (name, variable) in net.refine_parameters.to_vec() {
        if name.starts_with("raw.") || name.starts_with("steered.weights.") {
            let mut stream = Streams::new(3).stream(&name, &[]);
            let count = variable.elem_count();
            let draw = || -> f64 { rand::Rng::random_range(&mut stream, -0.1..0.1) };
            let values: Vec<f64> = std::iter::repeat_with(draw).take(count).collect();
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap()).unwrap();
        }
    }
    let rotation = *Rotation3::from_scaled_axis(Vector3::new(0.4, -1.0, 0.7)).matrix();
    let refined = net.refine.forward(&input, Some(&rotation)).unwrap();
    let loss = summed_error(&refined, &zero, None, Power::Squared, 1.0).unwrap();
    assert_every_variable_has_gradient(&net.refine_parameters, &backward(loss.clone()).unwrap()).unwrap();
    assert_eq!(foreign_operations(&loss), 0, "stage 2 trains by the fast reverse pass");
}
