//! The product in edge frames against its definition by Clebsch-Gordan sums, values and gradients; rotation and
//! inversion of every equivariant map.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

use candle_core::{DType, Device, Tensor, Var};
use nalgebra::{Matrix3, Rotation3, Vector3};
use proptest::prelude::*;
use std::sync::Arc;
use tesseral_nn::equivariant::frame::{EdgeFrames, gather_rotated, scatter_rotated, to_edge_frame, to_global};
use tesseral_nn::equivariant::gate::Gate;
use tesseral_nn::equivariant::irreps::{Convention, Irrep, Irreps, MulIrrep, Parity, concat};
use tesseral_nn::equivariant::layout::Layout;
use tesseral_nn::equivariant::linear::{Linear, Segment};
use tesseral_nn::equivariant::norm::{LayerNorm, NormOptions};
use tesseral_nn::equivariant::so2::{EdgeProduct, NodeProduct};
use tesseral_nn::equivariant::spherical_harmonics::spherical_harmonics;
use tesseral_nn::equivariant::tensor_product::{SeparateWeights, TensorProduct};
use tesseral_nn::equivariant::wigner::wigner_d;
use tesseral_nn::kernels::backward_from;
use tesseral_nn::kernels::reverse::foreign_operations;
use tesseral_nn::layers::activation::add;
use tesseral_nn::rng::Streams;
use tesseral_nn::{Init, Parameters};

fn parameters(seed: u64) -> Parameters {
    Parameters::new(Streams::new(seed), DType::F64, &Device::Cpu)
}

fn random(p: &Parameters, name: &str, rows: usize, columns: usize) -> Tensor {
    p.root().parameter(name, (rows, columns), Init::Normal(1.0)).unwrap().detach()
}

fn largest(a: &Tensor, b: &Tensor) -> f64 {
    let d = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    d.into_iter().fold(0.0, f64::max)
}

/// D of `irreps` applied to features in e3nn's order.
fn turn(irreps: &Irreps, r: &Matrix3<f64>, x: &Tensor) -> Tensor {
    let mut parts = Vec::new();
    let mut start = 0;
    for t in irreps.terms() {
        let n = t.ir.dim();
        let d = wigner_d(t.ir.l as usize, t.ir.p, r).transpose();
        let d = Tensor::from_vec(d.transpose().iter().copied().collect::<Vec<_>>(), (n, n), &Device::Cpu).unwrap();
        let rows = x.dims()[0];
        let slot = x.narrow(1, start, t.dim()).unwrap().contiguous().unwrap().reshape((rows * t.mul, n)).unwrap();
        parts.push(slot.matmul(&d).unwrap().reshape((rows, t.dim())).unwrap());
        start += t.dim();
    }
    Tensor::cat(&parts, 1).unwrap()
}

fn irreps() -> impl Strategy<Value = Irreps> {
    let term = (1usize..10, 0u32..5, any::<bool>())
        .prop_map(|(mul, l, even)| MulIrrep { mul, ir: Irrep::new(l, if even { Parity::Even } else { Parity::Odd }) });
    prop::collection::vec(term, 1..4).prop_map(Irreps::new)
}

fn rotation() -> impl Strategy<Value = Matrix3<f64>> {
    (prop::array::uniform3(-3.0..3.0f64), any::<bool>()).prop_map(|(axis, improper)| {
        let r = *Rotation3::from_scaled_axis(Vector3::from(axis)).matrix();
        if improper { -r } else { r }
    })
}

/// Self-loops, then edges in all directions.
fn frames(nodes: usize, edges: usize, loops: usize) -> Arc<EdgeFrames> {
    let ends: Vec<_> = (0..edges).map(|e| if e < loops { [e, e] } else { [e % nodes, (3 * e + 1) % nodes] }).collect();
    let wave = |e: usize, k: f64| if e < loops { 0.0 } else { (e as f64 * k).sin() };
    let vectors: Vec<_> = (0..edges).map(|e| [wave(e, 0.7), wave(e, 1.1), wave(e, 1.9)]).collect();
    Arc::new(EdgeFrames::new(nodes, &ends, &vectors, 4).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edge_frame_equals_clebsch_gordan_sums(
        pair in irreps(), edge in irreps(), output in irreps(), lmax in 0u32..5, seed in 0u64..1000,
        vectors in prop::collection::vec(prop::array::uniform3(-2.0..2.0f64), 3..6), old in any::<bool>(),
    ) {
        let convention = if old { Convention::V035 } else { Convention::V06 };
        let mut vectors = vectors;
        vectors[0] = [0.0; 3];
        let rows = vectors.len();
        let p = parameters(seed);
        let reference = TensorProduct::new(&concat(&[&pair, &edge]), &Irreps::spherical_harmonics(lmax), &output, convention);
        let product = EdgeProduct::new(&pair, &edge, lmax, &output, convention);
        prop_assume!(!product.paths().is_empty());
        let weights = SeparateWeights::new(&p.root(), product.paths()).unwrap();
        let x = [("a", &pair), ("b", &edge)].map(|(n, i)| Var::from_tensor(&random(&p, n, rows, i.dim())).unwrap());
        let harmonics: Vec<f64> = vectors.iter().flat_map(|v| spherical_harmonics(lmax as usize, *v)).collect();
        let width = harmonics.len() / rows;
        let harmonics = Tensor::from_vec(harmonics, (rows, width), &Device::Cpu).unwrap();
        let expected = reference
            .forward(&Tensor::cat(&[x[0].as_tensor(), x[1].as_tensor()], 1).unwrap(), &harmonics, &weights.full(reference.paths()).unwrap())
            .unwrap();

        let ends = vec![[0, 0]; rows];
        let frames = Arc::new(EdgeFrames::new(1, &ends, &vectors, 4).unwrap());
        let layouts = [Layout::new(&pair), Layout::new(&edge), Layout::new(&output)];
        let inside = |k: usize| to_edge_frame(&frames, &layouts[k], &layouts[k].from_e3nn().apply(&x[k]).unwrap()).unwrap();
        let z = product.forward(&inside(0), &inside(1), &weights, 1).unwrap();
        let found = layouts[2].to_e3nn().apply(&to_global(&frames, &layouts[2], &z).unwrap()).unwrap();
        prop_assert!(largest(&found, &expected) < 1e-10, "{}", largest(&found, &expected));

        let cotangent = random(&p, "cotangent", rows, output.dim());
        let grads = |y: &Tensor| (y * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();
        let (a, b) = (grads(&found), grads(&expected));
        for v in [x[0].as_tensor(), x[1].as_tensor(), &weights.first, &weights.second] {
            prop_assert!(largest(a.get(v).unwrap(), b.get(v).unwrap()) < 1e-9);
        }
    }

    #[test]
    fn products_of_nodes_equal_products_of_gathered_pairs(
        node in irreps(), edge in irreps(), output in irreps(), edges in 0usize..300, loops in 0usize..4, seed in 0u64..1000,
    ) {
        let p = parameters(seed);
        let product = NodeProduct::new(&node, &edge, 3, &output, Convention::V06);
        prop_assume!(!product.product().paths().is_empty());
        let weights = SeparateWeights::new(&p.root(), product.product().paths()).unwrap();
        let (nodes, loops) = (5, loops.min(edges));
        let frames = frames(nodes, edges, loops);
        let [x, y] = [("x", nodes, &node), ("y", edges, &edge)]
            .map(|(name, rows, irreps)| Var::from_tensor(&random(&p, name, rows, irreps.dim())).unwrap());
        let pair = gather_rotated(&frames, &Layout::new(&node), &x).unwrap();
        let expected = product.product().forward(&pair, &y, &weights, loops).unwrap();
        let found = product.forward(&frames, &x, &y, &weights, loops).unwrap();
        prop_assert!(largest(&found, &expected) < 1e-12);
        let cotangent = random(&p, "cotangent", edges, output.dim());
        let grads = |y: &Tensor| (y * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();
        let (a, b) = (grads(&found), grads(&expected));
        for v in [x.as_tensor(), y.as_tensor(), &weights.first, &weights.second] {
            prop_assert!(largest(a.get(v).unwrap(), b.get(v).unwrap()) < 1e-10);
        }

        // Who asks for some of the gradients gets the same ones.
        for asked in 1..7usize {
            let [x, y, w1, w2] = [(x.as_tensor(), 1), (y.as_tensor(), 2), (&weights.first, 4), (&weights.second, 4)]
                .map(|(t, bit)| if asked & bit > 0 { t.clone() } else { t.detach() });
            let weights = SeparateWeights { first: w1, second: w2 };
            let pair = gather_rotated(&frames, &Layout::new(&node), &x).unwrap();
            for z in [
                product.forward(&frames, &x, &y, &weights, loops).unwrap(),
                product.product().forward(&pair, &y, &weights, loops).unwrap(),
            ] {
                let some = grads(&z);
                for v in [&x, &y, &weights.first, &weights.second].into_iter().filter(|v| v.is_variable()) {
                    prop_assert!(largest(some.get(v).unwrap(), b.get(v).unwrap()) < 1e-10, "{asked}");
                }
            }
        }
    }

    #[test]
    fn a_sorted_map_is_the_map_itself(input in irreps(), output in prop::collection::vec(irreps(), 1..4), seed in 0u64..1000) {
        // Equal irreps apart from each other, as the output of stage 1 has them.
        let output = concat(&output.iter().collect::<Vec<_>>());
        let p = parameters(seed);
        let x = Var::from_tensor(&random(&p, "x", 5, input.dim())).unwrap();
        let cotangent = random(&p, "cotangent", 5, output.dim());
        for convention in [Convention::V06, Convention::V035] {
            let scope = p.root().enter(format!("{convention:?}"));
            let plain = Linear::new(&scope, &input, &output, 1, true, convention).unwrap();
            let sorted = Linear::sorted(&scope, &input, &output, true, convention).unwrap();
            let expected = Layout::new(&output).to_e3nn().apply(&plain.forward_plain(&x).unwrap()).unwrap();
            let found = sorted.output().to_e3nn_of(&output).apply(&sorted.forward_plain(&x).unwrap()).unwrap();
            prop_assert!(largest(&found, &expected) < 1e-12);
            let grads = |y: &Tensor| (y * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();
            let (found, expected) = (grads(&found), grads(&expected));
            for (name, v) in p.to_vec() {
                if let Some(expected) = expected.get(v.as_tensor()) {
                    prop_assert!(largest(found.get(v.as_tensor()).unwrap(), expected) < 1e-11, "{name}");
                }
            }
            prop_assert!(largest(found.get(&x).unwrap(), expected.get(&x).unwrap()) < 1e-11);
        }
    }

    #[test]
    fn linear_gate_and_norm_commute_with_rotations(input in irreps(), wanted in irreps(), r in rotation(), seed in 0u64..1000) {
        let p = parameters(seed);
        let layout = Layout::new(&input);
        let x = random(&p, "x", 4, input.dim());
        let turned = turn(&input, &r, &x);

        let linear = Linear::new(&p.root().enter("linear"), &input, &wanted, 1, true, Convention::V06).unwrap();
        let out = Layout::new(&wanted);
        let apply = |x: &Tensor| out.to_e3nn().apply(&linear.forward_plain(&layout.from_e3nn().apply(x).unwrap()).unwrap()).unwrap();
        prop_assert!(largest(&apply(&turned), &turn(&wanted, &r, &apply(&x))) < 1e-11);

        let norm = LayerNorm::new(&p.root().enter("norm"), &input, NormOptions::default()).unwrap();
        let apply = |x: &Tensor| layout.to_e3nn().apply(&norm.forward(&layout.from_e3nn().apply(x).unwrap(), std::slice::from_ref(&(0..4)), None).unwrap()).unwrap();
        prop_assert!(largest(&apply(&turned), &turn(&input, &r, &apply(&x))) < 1e-10);

        let gate = Gate::new(&input, &Irreps::spherical_harmonics(3), &wanted);
        let (gin, gout) = (gate.input().irreps().clone(), gate.output().irreps().clone());
        prop_assume!(gout.dim() > 0);
        let x = random(&p, "g", 4, gin.dim());
        let apply = |x: &Tensor| gate.output().to_e3nn().apply(&gate.forward(&gate.input().from_e3nn().apply(x).unwrap()).unwrap()).unwrap();
        // Odd scalars under an inversion: tanh is odd, and gates are even wherever they can be.
        let even_gates = gin.terms().iter().all(|t| t.ir.l > 0 || t.ir.p == Parity::Even);
        prop_assume!(even_gates || r.determinant() > 0.0);
        prop_assert!(largest(&apply(&turn(&gin, &r, &x)), &turn(&gout, &r, &apply(&x))) < 1e-11);
    }
}

/// A map by class into given rows, against the map and the sum; gradients of rows in groups against those of single rows.
#[test]
fn a_map_added_to_rows_is_the_sum_of_both() {
    let irreps: Irreps = "5x0e+9x1o+3x2e".parse().unwrap();
    let p = parameters(11);
    let rows = 301;
    let map = Linear::new(&p.root().enter("map"), &irreps, &irreps, 3, false, Convention::V06).unwrap();
    let classes: Vec<usize> = (0..rows).map(|row| [0, 2, 1, 2][row * 4 / rows]).collect();
    let [x, base] = ["x", "base"].map(|name| Var::from_tensor(&random(&p, name, rows, irreps.dim())).unwrap());
    let cotangent = random(&p, "cotangent", rows, irreps.dim());
    let grads = |y: &Tensor| (y * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();

    let sum = (map.forward(&x, &Segment::runs(&classes)).unwrap() + base.as_tensor()).unwrap();
    let added = map.forward_added(&x, &Segment::runs(&classes), &base).unwrap();
    let one_by_one = (0..rows).map(|row| {
        let x = x.narrow(0, row, 1).unwrap();
        map.forward(&x, &Segment::runs(&classes[row..row + 1])).unwrap()
    });
    let one_by_one = (Tensor::cat(&one_by_one.collect::<Vec<_>>(), 0).unwrap() + base.as_tensor()).unwrap();
    let weight = p.get("map.weight").unwrap();
    let [expected, found, single] = [&sum, &added, &one_by_one].map(grads);
    for (y, gradients) in [(&added, &found), (&one_by_one, &single)] {
        assert!(largest(y, &sum) < 1e-13);
        for v in [x.as_tensor(), base.as_tensor(), weight.as_tensor()] {
            assert!(largest(gradients.get(v).unwrap(), expected.get(v).unwrap()) < 1e-11);
        }
    }
    assert!(map.forward_added(&x, &Segment::runs(&classes), &base.narrow(0, 0, 3).unwrap()).is_err());
}

/// Operations that add to gradients as they compute them, in our pass, against candle's own, which adds them up itself.
#[test]
fn gradients_that_meet_are_sums() {
    let irreps: Irreps = "8x0e+3x1o+2x2e".parse().unwrap();
    let (p, rows, loops) = (parameters(3), 300, 4);
    let frames = frames(20, rows, loops);
    let [x, y] =
        [("x", 20), ("y", rows)].map(|(n, rows)| Var::from_tensor(&random(&p, n, rows, irreps.dim())).unwrap());
    let map = Linear::new(&p.root().enter("map"), &irreps, &irreps, 1, true, Convention::V06).unwrap();
    let norm = LayerNorm::new(&p.root().enter("norm"), &irreps, NormOptions::default()).unwrap();
    let product = NodeProduct::new(&irreps, &irreps, 2, &irreps, Convention::V06);
    let weights = SeparateWeights::new(&p.root().enter("product"), product.product().paths()).unwrap();
    let twice = |z: &Tensor| product.forward(&frames, &x, z, &weights, loops).unwrap();
    // Each of them reads y; the weights of the map, the weights of the product and x are read twice too.
    let one_class = Segment::runs(&vec![0; rows]);
    let unbiased = Linear::new(&p.root().enter("unbiased"), &irreps, &irreps, 1, false, Convention::V06).unwrap();
    let normed = norm.forward(&y, std::slice::from_ref(&(0..rows)), Some(&frames)).unwrap();
    let added = unbiased.forward_added(&y, &one_class, &y).unwrap();
    let parts = [twice(&y), map.forward_plain(&y).unwrap(), normed, added, twice(&map.forward_plain(&y).unwrap())];
    let sum = parts.iter().skip(1).fold(add(&parts[0], &y).unwrap(), |sum, part| add(&sum, part).unwrap());
    let sum = add(&sum, &sum).unwrap();
    assert_eq!(foreign_operations(&sum), 0);
    let cotangent = random(&p, "cotangent", rows, irreps.dim());
    let ours = backward_from(sum.clone(), &cotangent).unwrap();
    let candles = (&sum * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();
    let read =
        |(name, _): &(String, Var)| ["map", "norm", "product", "unbiased"].iter().any(|part| name.starts_with(part));
    let parameters = p.to_vec().into_iter().filter(read).map(|(_, v)| v);
    for v in [x, y].into_iter().chain(parameters) {
        let [ours, candles] = [&ours, &candles].map(|gradients| gradients.get(&v).unwrap());
        assert!(largest(ours, candles) < 1e-9, "{:?}", v.dims());
    }
}

/// Edges of a node in runs longer than a tile, and edges in no order.
#[test]
fn a_summed_gate_is_the_sum_of_what_a_gate_gives() {
    let irreps: Irreps = "8x0e+3x1o+2x2e".parse().unwrap();
    let gate = Gate::new(&irreps, &Irreps::spherical_harmonics(2), &irreps);
    let sorted: Vec<[usize; 2]> = (0..90).map(|edge| [edge / 30, edge % 4]).collect();
    let vectors: Vec<[f64; 3]> = (0..90).map(|edge| [f64::from(edge).sin(), 0.3, f64::from(edge).cos()]).collect();
    let of_runs = Arc::new(EdgeFrames::new(4, &sorted, &vectors, 2).unwrap());
    for (name, frames) in [("runs", of_runs), ("any", frames(20, 90, 4))] {
        let p = parameters(5);
        let var = |name, columns| Var::from_tensor(&random(&p, name, 90, columns)).unwrap();
        let (x, weights) = (var("x", gate.input().dim()), var("w", gate.channels()));
        let gated = gate.forward_weighted(&x, &weights).unwrap();
        let expected = scatter_rotated(&frames, gate.output(), &gated).unwrap();
        let found = gate.forward_summed(&frames, &x, &weights).unwrap();
        assert!(largest(&found, &expected) < 1e-12, "{name}");
        let cotangent = random(&p, "cotangent", frames.nodes(), gate.output().dim());
        let [found, expected] = [found, expected].map(|y| backward_from(y, &cotangent).unwrap());
        for v in [&x, &weights] {
            assert!(largest(found.get(v).unwrap(), expected.get(v).unwrap()) < 1e-12, "{name}");
        }
        assert!(gate.forward_summed(&frames, &x.narrow(0, 0, 3).unwrap(), &weights.narrow(0, 0, 3).unwrap()).is_err());
    }
}

#[test]
fn a_norm_needs_frames_of_its_degree() {
    let p = parameters(2);
    let norm = LayerNorm::new(&p.root(), &"2x3o".parse().unwrap(), NormOptions::default()).unwrap();
    let x = random(&p, "x", 2, 14);
    let frames = |lmax| Arc::new(EdgeFrames::new(1, &[[0, 0]; 2], &[[0.0, 0.0, 1.0]; 2], lmax).unwrap());
    let forward = |lmax| norm.forward(&x, std::slice::from_ref(&(0..2)), Some(&frames(lmax)));
    assert!(forward(3).is_ok() && forward(2).is_err());
}

/// More rows than go together in one batch.
#[test]
fn gradients_of_many_edges_are_those_of_their_parts() {
    let [pair, edge, output] = ["4x0e+3x1o", "5x0e+2x1e", "3x0e+4x1o+2x2e"].map(|t| t.parse::<Irreps>().unwrap());
    let (rows, loops) = (600, 3);
    let p = parameters(7);
    let product = EdgeProduct::new(&pair, &edge, 2, &output, Convention::V06);
    let weights = SeparateWeights::new(&p.root(), product.paths()).unwrap();
    let [x, y, cotangent] =
        [("x", &pair), ("y", &edge), ("cotangent", &output)].map(|(name, i)| random(&p, name, rows, i.dim()));
    let run = |start: usize, count: usize| {
        let part = |t: &Tensor| Var::from_tensor(&t.narrow(0, start, count).unwrap().contiguous().unwrap()).unwrap();
        let (x, y) = (part(&x), part(&y));
        let z = product.forward(&x, &y, &weights, loops.max(start) - start).unwrap();
        let loss = (&z * part(&cotangent).as_tensor()).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        [x.as_tensor(), y.as_tensor(), &weights.first, &weights.second].map(|v| gradients.get(v).unwrap().clone())
    };
    let whole = run(0, rows);
    let parts = [run(0, 100), run(100, 250), run(350, 250)];
    for (k, found) in whole.iter().enumerate() {
        let [a, b, c] = parts.each_ref().map(|part| &part[k]);
        let expected = match k {
            0 | 1 => Tensor::cat(&[a, b, c], 0),
            _ => (a + b).unwrap() + c,
        };
        assert!(largest(found, &expected.unwrap()) < 1e-11, "{k}");
    }
}

/// Widths, tiles and self-loops for which single precision takes its own products.
#[test]
fn single_precision_agrees_with_double() {
    let irreps: Irreps = "32x0e+16x1o+8x2e+3x1e".parse().unwrap();
    let (nodes, edges, loops) = (70, 270, 70);
    let frames = frames(nodes, edges, loops);
    let p = parameters(5);
    let inputs = [("x", nodes), ("y", edges), ("cotangent", edges)].map(|(n, rows)| random(&p, n, rows, irreps.dim()));
    let product = NodeProduct::new(&irreps, &irreps, 4, &irreps, Convention::V035);
    let run = |dtype: DType| {
        let q = Parameters::new(Streams::new(5), dtype, &Device::Cpu);
        let weights = SeparateWeights::new(&q.root(), product.product().paths()).unwrap();
        let linear = Linear::new(&q.root().enter("linear"), &irreps, &irreps, 1, true, Convention::V035).unwrap();
        let [x, y, cotangent] = inputs.each_ref().map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap());
        let z = product.forward(&frames, &x, &linear.forward_plain(&y).unwrap(), &weights, loops).unwrap();
        let gradients = (&z * cotangent.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let mut found = vec![z];
        for v in [x.as_tensor(), y.as_tensor(), &weights.first, &weights.second] {
            found.push(gradients.get(v).unwrap().clone());
        }
        found.into_iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect::<Vec<_>>()
    };
    for (single, double) in run(DType::F32).iter().zip(run(DType::F64)) {
        let scale =
            double.abs().unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap().into_iter().fold(0.0, f64::max);
        assert!(largest(single, &double) < 3e-5 * scale, "{} of {scale}", largest(single, &double));
    }
}
