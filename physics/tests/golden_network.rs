//! Stage 1 against the original DeepH-E3: features, H, gradients and three Adam steps (f64).

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor};
use golden::{Golden, cases, difference, hash_parameter, hash_symmetric, load, relative_difference, triples, values};
use nalgebra::{Matrix3, Vector3};
use std::collections::BTreeMap;
use tesseral_nn::Parameters;
use tesseral_nn::equivariant::frame::to_global;
use tesseral_nn::equivariant::irreps::{Convention, Irreps, from_triples};
use tesseral_nn::equivariant::layout::Layout;
use tesseral_nn::equivariant::sparse_map::SparseMap;
use tesseral_nn::optim::adamw::{AdamConfig, AdamW};
use tesseral_nn::rng::Streams;
use tesseral_physics::graph::CrystalGraph;
use tesseral_physics::hamiltonian::targets::Targets;
use tesseral_physics::hamiltonian::wigner_eckart::{output_irreps, to_blocks};
use tesseral_physics::model::checkpoint_names::{from_deeph_e3, load_deeph_e3};
use tesseral_physics::model::covariant::{Covariant, CovariantConfig};
use tesseral_physics::model::geometry::{Execution, Geometry};
use tesseral_physics::structure::crystal::Crystal;
use tesseral_physics::structure::lattice::Lattice;

/// A network case: its own numbers, and the structure and description that it may share with another file.
struct Case {
    own: Golden,
    description: Golden,
    structure: Golden,
}

impl Case {
    fn load(name: &str) -> Option<Self> {
        let description = load("deephe3", &name.replace("_v06", "_v035"))?;
        let structure = load("deephe3", &name.replace("_v06", "_v035").replace("mote2_default", "mote2_small"))?;
        Some(Case { own: load("deephe3", name)?, description, structure })
    }

    fn convention(&self) -> Convention {
        if self.own.json["convention"] == "v06" { Convention::V06 } else { Convention::V035 }
    }

    fn text(&self, key: &str) -> String {
        from_triples(&triples(&self.description.json[key])).to_string()
    }

    fn number(&self, key: &str) -> f64 {
        self.description.json[key].as_f64().unwrap_or_else(|| panic!("{key}: a number expected"))
    }

    fn targets(&self) -> Targets {
        let shells: Vec<Vec<usize>> = serde_json::from_value(self.description.json["orbital_types"].clone()).unwrap();
        Targets::from_shells(&shells, self.description.json["spinful"] == true)
    }

    fn config(&self) -> CovariantConfig {
        let harmonics: Irreps = self.text("irreps_sh").parse().unwrap();
        CovariantConfig {
            blocks: self.number("num_block") as usize,
            irreps_embed: self.text("irreps_embed_node"),
            irreps_mid: self.text("irreps_mid_node"),
            lmax_harmonics: harmonics.lmax().unwrap() as usize,
            radial_basis: self.number("num_basis") as usize,
            radius: self.number("r_max"),
            e3nn: self.convention(),
            ..CovariantConfig::default()
        }
    }

    fn graph(&self) -> CrystalGraph {
        let s = &self.structure;
        let rows = s.values("lattice_rows");
        let crystal = Crystal {
            lattice: Lattice::new(Matrix3::from_row_slice(&rows)).unwrap(),
            species: s.indices("numbers").into_iter().map(|z| z as u32).collect(),
            positions: s.values("pos").chunks(3).map(Vector3::from_column_slice).collect(),
        };
        let keys = s.values("edge_key");
        let pairs: Vec<[i64; 5]> =
            keys.chunks(5).map(|k| std::array::from_fn(|c| k[c] as i64 - i64::from(c > 2))).collect();
        let elements: Vec<u32> = serde_json::from_value(self.description.json["index_to_Z"].clone()).unwrap();
        CrystalGraph::new(&s.name, &crystal, &pairs, &elements).unwrap()
    }

    /// Names, shapes of the original's parameters, in its order, without the unused node output.
    fn original_parameters(&self) -> Vec<(String, Vec<usize>)> {
        serde_json::from_value(self.description.json["parameters"].clone()).unwrap()
    }

    /// A tensor of flat targets `[E, 4?, n]` in the model's edge order and shell order, spin as [re | im].
    fn flat(&self, golden: &Golden, name: &str, graph: &CrystalGraph, targets: &Targets, rows: usize) -> Tensor {
        let parts: Vec<Tensor> = match golden.get(name) {
            Some(t) => vec![t],
            None => ["re", "im"].map(|p| golden.tensor(&format!("{name}.{p}"))).to_vec(),
        };
        let flat: Vec<Tensor> = parts.iter().map(|t| t.reshape((t.dims()[0], ())).unwrap()).collect();
        let flat = to_standard_order(targets).apply(&Tensor::cat(&flat, 1).unwrap().contiguous().unwrap()).unwrap();
        let order: Vec<u32> = graph.edges.iter().map(|e| e.stored as u32).filter(|s| (*s as usize) < rows).collect();
        flat.index_select(&Tensor::new(order, &Device::Cpu).unwrap(), 0).unwrap()
    }
}

/// The golden vectors are in OpenMX's order of shell components; ours is m = -l..l.
fn to_standard_order(targets: &Targets) -> SparseMap {
    let permutation = |l: usize| -> Vec<usize> {
        match l {
            0 => vec![0],
            1 => vec![1, 2, 0],
            2 => vec![2, 4, 0, 3, 1],
            3 => vec![6, 4, 2, 0, 1, 3, 5],
            _ => unreachable!("no g shells in the golden cases"),
        }
    };
    let mut triplets = Vec::new();
    for component in 0..targets.columns() / targets.width() {
        let base = component * targets.width();
        for t in targets.list() {
            let [p, q] = t.degrees.map(permutation);
            for (a, pa) in p.iter().enumerate() {
                for (b, qb) in q.iter().enumerate() {
                    triplets.push((base + t.start + a * q.len() + b, base + t.start + pa * q.len() + qb, 1.0));
                }
            }
        }
    }
    SparseMap::new(targets.columns(), targets.columns(), triplets)
}

/// The original's state dict for a flat function of (name, count).
fn state(case: &Case, value: impl Fn(&str, usize) -> Vec<f64>) -> BTreeMap<String, Tensor> {
    let make = |(name, shape): (String, Vec<usize>)| {
        let values = value(&name, shape.iter().product());
        (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
    };
    case.original_parameters().into_iter().map(make).collect()
}

/// One of the original's tensors out of ours.
fn unpacked(case: &Case, ours: &BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<f64>> {
    let mut cursor: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = case.original_parameters();
    // Paths of one product in numerical order.
    let number = |n: &str| n.rsplit_once('.').and_then(|(_, k)| k.parse::<usize>().ok()).unwrap_or(0);
    names.sort_by_key(|(n, _)| number(n));
    let mut out = BTreeMap::new();
    for (name, shape) in names {
        let packed = match name.rsplit_once('.') {
            Some((p, k)) if k.parse::<usize>().is_ok() && p.contains(".tp.weights") => p.to_string(),
            _ => name.clone(),
        };
        let Some(tensor) = ours.get(&packed) else { continue };
        let (at, count) = (cursor.entry(packed).or_default(), shape.iter().product::<usize>());
        out.insert(name, values(tensor)[*at..*at + count].to_vec());
        *at += count;
    }
    out
}

/// sum, 2-norm, projection on the hash vector: how the big cases record a tensor.
fn fingerprint(name: &str, v: &[f64]) -> [f64; 3] {
    let hash = hash_symmetric(&format!("grad:{name}"), 1, v.len());
    [v.iter().sum(), v.iter().map(|x| x * x).sum::<f64>().sqrt(), v.iter().zip(hash).map(|(x, h)| x * h).sum()]
}

fn check_tensors(case: &Case, kind: &str, found: &BTreeMap<String, Vec<f64>>, tolerance: f64) {
    let rows = case.own.get(&format!("{kind}_checks")).map(|t| t.to_vec2::<f64>().unwrap());
    let mut compared = 0;
    for (k, (name, _)) in case.original_parameters().iter().enumerate() {
        let Some(found) = found.get(name) else { continue };
        if let Some(expected) = case.own.get(&format!("{kind}/{name}")) {
            let error = relative_difference(found, &values(&expected));
            // A gradient that is zero in exact arithmetic is rounding noise in both.
            let negligible = values(&expected).iter().all(|x| x.abs() < 1e-13);
            assert!(error < tolerance || negligible, "{} {kind}/{name}: {error:e}", case.own.name);
            compared += 1;
        }
        if let Some(rows) = &rows {
            let (expected, found) = (&rows[k], fingerprint(name, found));
            let scale = expected[1] * (found.len() as f64).sqrt() + 1e-12;
            for (f, e) in found.iter().zip(expected) {
                assert!((f - e).abs() < tolerance * scale, "{} {kind} {name}: {found:?} {expected:?}", case.own.name);
            }
            compared += 1;
        }
    }
    println!("{}: {compared} {kind} comparisons", case.own.name);
    assert!(compared > 0, "{}: nothing recorded for {kind}", case.own.name);
}

fn run(name: &str, execution: Execution) {
    let Some(case) = Case::load(name) else { return };
    let tolerance = if name.contains("default") { tolerances::DEFAULT_NET } else { tolerances::SMALL_NET };
    let (graph, targets, config) = (case.graph(), case.targets(), case.config());
    let json = &case.description.json;
    let js: Vec<[usize; 2]> = serde_json::from_value(json["out_js"].clone()).unwrap();
    assert_eq!(js, targets.list().iter().map(|t| t.degrees).collect::<Vec<_>>());
    assert_eq!(output_irreps(&targets), from_triples(&triples(&json["net_out_irreps"])));

    let parameters = Parameters::new(Streams::new(0), DType::F64, &Device::Cpu);
    let model = Covariant::new(&parameters.root(), &config, &targets, graph.species_count).unwrap();
    assert_eq!(model.node_layout().irreps(), &from_triples(&triples(&json["irreps_post_node"])));
    assert_eq!(model.edge_layout().irreps(), &from_triples(&triples(&json["irreps_post_edge"])));
    let seed = case.number("hash_seed") as u64;
    let initial = state(&case, |name, count| hash_parameter(name, seed, count));
    let (tensors, ignored) = from_deeph_e3(&initial, &parameters).unwrap();
    assert!(ignored.iter().all(|n| n.starts_with("lin_node.")), "{ignored:?}");
    parameters.load(&tensors).unwrap();
    let used: usize = initial.iter().filter(|(n, _)| !ignored.contains(n)).map(|(_, t)| t.elem_count()).sum();
    assert_eq!(parameters.count(), used);

    let options = tesseral_physics::model::geometry::GeometryOptions { execution, ..*model.geometry_options() };
    let geometry = Geometry::new(&graph, &options, DType::F64).unwrap();

    // Features after each block, edge features turned back to the global frame.
    let output = model
        .forward_traced(&geometry, |block, node, edge| {
            let file = &case.own;
            for (kind, x) in [("node", node), ("edge", edge)] {
                let Some(expected) = file.get(&format!("feat/{kind}_fea_block{block}")) else { continue };
                let last = block + 1 == config.blocks;
                let irreps: Irreps = match (kind, last) {
                    ("node", true) => model.node_layout().irreps().clone(),
                    ("edge", true) => model.edge_layout().irreps().clone(),
                    _ => config.irreps_mid.parse().unwrap(),
                };
                let layout = Layout::new(&irreps);
                let rows = expected.dims()[0];
                let x = if kind == "edge" { to_global(&geometry.frames, &layout, x)? } else { x.clone() };
                let x = layout.to_e3nn().apply(&x)?;
                let x = if kind == "edge" { in_stored_order(&x, &graph, rows) } else { x.narrow(0, 0, rows)? };
                let error = difference(&x, &expected);
                assert!(error < tolerance, "{} {kind} features of block {block}: {error:e}", case.own.name);
            }
            Ok(())
        })
        .unwrap();
    let rows = case.own.json["H_pred_checks"]["rows_stored"].as_u64().unwrap() as usize;
    let expected = case.flat(&case.own, "H_pred", &graph, &targets, rows);
    let first: Vec<u32> = (0..graph.edges.len() as u32).filter(|k| graph.edges[*k as usize].stored < rows).collect();
    let found = output.blocks.index_select(&Tensor::new(first, &Device::Cpu).unwrap(), 0).unwrap();
    let error = difference(&found, &expected);
    println!(
        "{} {execution:?}: H within {error:e} of {:e}",
        case.own.name,
        values(&output.blocks).iter().fold(0.0f64, |m, x| m.max(x.abs()))
    );
    assert!(error < tolerance, "{}: H differs by {error:e}", case.own.name);

    let label = case.flat(&case.structure, "label", &graph, &targets, usize::MAX);
    let mask = case.structure.get("mask").map(|m| {
        // The mask of (re, im) is the same; each complex element counts once.
        let spins = if targets.spinful() { 2 } else { 1 };
        let flat = m.reshape((m.dims()[0], ())).unwrap();
        let both = Tensor::cat(&vec![flat; spins], 1).unwrap().contiguous().unwrap();
        let both = to_standard_order(&targets).apply(&both).unwrap();
        let order: Vec<u32> = graph.edges.iter().map(|e| e.stored as u32).collect();
        both.index_select(&Tensor::new(order, &Device::Cpu).unwrap(), 0).unwrap()
    });
    let loss = |model: &Covariant| -> Tensor {
        let squares = (model.forward(&geometry).unwrap().blocks - &label).unwrap().sqr().unwrap();
        let parts = if targets.spinful() { 2.0 } else { 1.0 };
        match &mask {
            Some(mask) => {
                let count = values(mask).iter().sum::<f64>() / parts;
                ((squares * mask).unwrap().sum_all().unwrap() / count).unwrap()
            }
            None => (squares.sum_all().unwrap() / (label.elem_count() as f64 / parts)).unwrap(),
        }
    };
    let recorded: Vec<f64> = serde_json::from_value(case.own.json["losses_steps_0_3"].clone()).unwrap();
    let mut adam =
        AdamW::new(&parameters, AdamConfig { learning_rate: 2e-3, weight_decay: 0.0, ..AdamConfig::default() })
            .unwrap();
    for (step, expected) in recorded.iter().enumerate() {
        let value = loss(&model);
        let found = value.to_scalar::<f64>().unwrap();
        // The first loss tests the network, later ones Adam too.
        let tolerance = if step == 0 { 1e-12 } else { tolerances::ADAM };
        assert!((found / expected - 1.0).abs() < tolerance, "{} loss {step}: {found} {expected}", case.own.name);
        if step == recorded.len() - 1 {
            break;
        }
        let grads = value.backward().unwrap();
        if step == 0 {
            let ours = parameters.to_vec().into_iter().map(|(n, v)| (n, grads.get(&v).unwrap().clone())).collect();
            check_tensors(&case, "grad", &unpacked(&case, &ours), tolerances::GRADIENT);
        }
        adam.step(&grads, 2e-3).unwrap();
    }
    let after: BTreeMap<String, Tensor> = parameters.snapshot().unwrap();
    check_tensors(&case, "param3", &unpacked(&case, &after), tolerances::ADAM);
}

#[test]
fn golden_state_dict_file_loads_by_name() {
    for name in cases("deephe3", "net_synth_mask") {
        let Some(case) = Case::load(&name) else { continue };
        let state: std::collections::HashMap<String, Tensor> = case
            .own
            .tensors
            .iter()
            .filter_map(|(n, t)| Some((n.strip_prefix("param0/")?.to_string(), t.clone())))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.safetensors");
        candle_core::safetensors::save(&state, &file).unwrap();
        let parameters = Parameters::new(Streams::new(0), DType::F64, &Device::Cpu);
        let model = Covariant::new(&parameters.root(), &case.config(), &case.targets(), 2).unwrap();
        let ignored = load_deeph_e3(&file, &parameters).unwrap();
        assert!(ignored.iter().all(|n| n.starts_with("lin_node.")), "{ignored:?}");
        let graph = case.graph();
        let geometry = Geometry::new(&graph, model.geometry_options(), DType::F64).unwrap();
        let found = model.forward(&geometry).unwrap().blocks;
        let expected = case.flat(&case.own, "H_pred", &graph, &case.targets(), usize::MAX);
        assert!(difference(&found, &expected) < tolerances::SMALL_NET);

        let mut short = state;
        short.remove("node_update_blocks.0.conv.tp.weights1.3");
        candle_core::safetensors::save(&short, &file).unwrap();
        let message = load_deeph_e3(&file, &parameters).unwrap_err().to_string();
        assert!(message.contains("node_update_blocks.0.conv.tp.weights1"), "{message}");
    }
}

/// Rows in the order of the golden file, its first `rows`.
fn in_stored_order(x: &Tensor, graph: &CrystalGraph, rows: usize) -> Tensor {
    let mut place = vec![0u32; graph.edges.len()];
    graph.edges.iter().enumerate().for_each(|(k, e)| place[e.stored] = k as u32);
    place.truncate(rows);
    x.index_select(&Tensor::new(place, &Device::Cpu).unwrap(), 0).unwrap()
}

#[test]
fn golden_networks_in_edge_frames() {
    for name in cases("deephe3", "net_") {
        run(&name, Execution::EdgeFrame);
    }
}

/// The oracle itself; the widest networks are left to the edge frame, they would take minutes here.
#[test]
fn golden_networks_by_clebsch_gordan_sums() {
    for name in cases("deephe3", "net_").iter().filter(|n| n.contains("synth")) {
        run(name, Execution::ClebschGordan);
    }
}

#[test]
fn golden_wigner_eckart() {
    for file in cases("deephe3", "tensordecomp_") {
        let (own, base) = (load("deephe3", &file).unwrap(), load("deephe3", "tensordecomp_v06").unwrap());
        let convention = if own.json["convention"] == "v06" { Convention::V06 } else { Convention::V035 };
        for (name, description) in base.json.as_object().unwrap().iter().filter(|(_, v)| v.is_object()) {
            let get = |field: &str| -> Option<Tensor> {
                let read = |f: &str| own.get(&format!("{name}/{f}")).or_else(|| base.get(&format!("{name}/{f}")));
                let parts: Vec<Tensor> = match read(field) {
                    Some(t) => vec![t],
                    None => vec![read(&format!("{field}.re"))?, read(&format!("{field}.im"))?],
                };
                let flat: Vec<_> = parts.iter().map(|t| t.reshape((t.dims()[0], ())).unwrap()).collect();
                Some(Tensor::cat(&flat, 1).unwrap().contiguous().unwrap())
            };
            let js: Vec<[usize; 2]> = serde_json::from_value(description["js"].clone()).unwrap();
            let map = to_blocks(&Targets::from_degrees(&js, description["spinful"] == true), convention);
            let y = get("y").unwrap();
            let error = difference(&map.apply(&y).unwrap(), &get("H_wiki").unwrap());
            assert!(error < tolerances::MODULE, "{file} {name}: {error:e}");
        }
    }
}
