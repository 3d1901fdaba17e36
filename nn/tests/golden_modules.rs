//! Tables and modules against vectors of the original DeepH-E3 and e3nn (f64).

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor, Var};
use golden::{Golden, cases, difference, load, relative_difference, triples, values};
use nalgebra::Matrix3;
use serde_json::Value;
use std::collections::BTreeMap;
use tesseral_nn::equivariant::clebsch_gordan::wigner_3j;
use tesseral_nn::equivariant::gate::Gate;
use tesseral_nn::equivariant::irreps::{Convention, Irreps, Parity, from_triples};
use tesseral_nn::equivariant::layout::Layout;
use tesseral_nn::equivariant::linear::{Linear, Segment};
use tesseral_nn::equivariant::norm::{LayerNorm, NormOptions};
use tesseral_nn::equivariant::spherical_harmonics::{spherical_harmonics, spherical_harmonics_vjp};
use tesseral_nn::equivariant::tensor_product::{SeparateWeights, TensorProduct};
use tesseral_nn::equivariant::wigner::{wigner_d, wigner_d_half};
use tesseral_nn::rng::Streams;
use tesseral_nn::{Parameters, Scope};

/// A module case with the tensors of the 0.6 twin where 0.3.5 has none of its own.
struct Case {
    name: String,
    json: Value,
    convention: Convention,
    own: Golden,
    base: Golden,
}

impl Case {
    fn tensor(&self, field: &str) -> Tensor {
        let key = format!("{}/{field}", self.name);
        self.own.get(&key).unwrap_or_else(|| self.base.tensor(&key))
    }
    fn irreps(&self, field: &str) -> Irreps {
        from_triples(&triples(&self.json[field]))
    }
    fn parameters(&self) -> Parameters {
        Parameters::new(Streams::new(0), DType::F64, &Device::Cpu)
    }
    /// Sets every declared parameter to `w.<name>`.
    fn fill(&self, parameters: &Parameters) {
        let tensors: BTreeMap<String, Tensor> =
            parameters.to_vec().into_iter().map(|(n, _)| (n.clone(), self.tensor(&format!("w.{n}")))).collect();
        parameters.load(&tensors).unwrap();
    }
    fn check(&self, field: &str, found: &Tensor, tolerance: f64) {
        let expected = self.tensor(field);
        let error = difference(&found.reshape(expected.dims()).unwrap(), &expected);
        assert!(error < tolerance, "{} {} {field}: {error:e}", self.own.name, self.name);
    }
}

fn for_each_case(prefix: &str, test: impl Fn(&Case)) {
    for file in cases("deephe3", "modules_") {
        let own = load("deephe3", &file).unwrap();
        let convention = if own.json["convention"] == "v06" { Convention::V06 } else { Convention::V035 };
        let names: Vec<String> =
            own.json.as_object().unwrap().keys().filter(|k| k.starts_with(prefix)).cloned().collect();
        for name in names {
            let (own, base) = (load("deephe3", &file).unwrap(), load("deephe3", "modules_v06").unwrap());
            test(&Case { json: own.json[&name].clone(), name, convention, own, base });
        }
    }
}

#[test]
fn golden_clebsch_gordan() {
    for file in cases("deephe3", "basics_") {
        let g = load("deephe3", &file).unwrap();
        let (index, value) = (g.indices("w3j_index"), g.values("w3j_value"));
        let mut norms: BTreeMap<[u32; 3], f64> = BTreeMap::new();
        for (i, v) in index.chunks(6).zip(&value) {
            let l = [i[0] as u32, i[1] as u32, i[2] as u32];
            let m: [i64; 3] = std::array::from_fn(|k| i[3 + k] as i64 - i[k] as i64);
            let found = wigner_3j(l[0], l[1], l[2], Convention::V06).at(m[0], m[1], m[2]);
            assert!((found - v).abs() < tolerances::TABLES, "{l:?} {m:?}: {found} {v}");
            *norms.entry(l).or_default() += v * v;
        }
        assert!(norms.values().all(|n| (n - 1.0).abs() < 1e-12));
        let negated: Vec<[u32; 3]> =
            serde_json::from_value(g.json["wigner_3j"]["negated_in_e3nn_0_3_5"].clone()).unwrap();
        for l in norms.keys() {
            let sign = if negated.contains(l) { -1.0 } else { 1.0 };
            let (new, old) =
                (wigner_3j(l[0], l[1], l[2], Convention::V06), wigner_3j(l[0], l[1], l[2], Convention::V035));
            for ((_, _, _, a), (_, _, _, b)) in new.non_zero().zip(old.non_zero()) {
                assert_eq!(a, sign * b, "{l:?}");
            }
        }
    }
}

#[test]
fn golden_spherical_harmonics() {
    for file in cases("deephe3", "basics_") {
        let g = load("deephe3", &file).unwrap();
        let lmax = g.json["sh"]["lmax"].as_u64().unwrap() as usize;
        let n = (lmax + 1) * (lmax + 1);
        let (vectors, out, cot, grad) =
            (g.values("sh/in.vec_xyz"), g.values("sh/out"), g.values("sh/cot"), g.values("sh/g.in.vec_xyz"));
        for (k, v) in vectors.chunks(3).enumerate() {
            let v = [v[0], v[1], v[2]];
            let found = spherical_harmonics(lmax, v);
            let r = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            if r < 1e-8 {
                assert!(r > 0.0 || (found[0] == 1.0 && found[1..].iter().all(|y| *y == 0.0)));
                continue; // torch's gradient there is that of its own guard max(|v|, 1e-12)
            }
            for (f, e) in found.iter().zip(&out[k * n..]) {
                assert!((f - e).abs() < tolerances::TABLES, "{v:?}: {f} {e}");
            }
            let found = spherical_harmonics_vjp(lmax, v, &cot[k * n..(k + 1) * n]);
            for (f, e) in found.iter().zip(&grad[k * 3..]) {
                assert!((f - e).abs() < 1e-11 * e.abs().max(1.0), "{v:?}: {f} {e}");
            }
        }
    }
}

#[test]
fn golden_wigner_d() {
    for file in cases("deephe3", "basics_") {
        let g = load("deephe3", &file).unwrap();
        let rotations = g.values("rot/R_xyz");
        for (k, r) in rotations.chunks(9).enumerate() {
            let r = Matrix3::from_row_slice(r);
            for l in 0..=6usize {
                for (letter, parity) in [("e", Parity::Even), ("o", Parity::Odd)] {
                    let n = (2 * l + 1) * (2 * l + 1);
                    let expected = &g.values(&format!("rot/D_l{l}_{letter}"))[k * n..(k + 1) * n];
                    let found = wigner_d(l, parity, &r).transpose();
                    for (f, e) in found.iter().zip(expected) {
                        assert!((f - e).abs() < tolerances::TABLES, "l {l}: {f} {e}");
                    }
                }
            }
            let (re, im) = (&g.values("rot/D_half.re")[k * 4..], &g.values("rot/D_half.im")[k * 4..]);
            let found = wigner_d_half(&r).transpose();
            let error = |sign: f64| -> f64 {
                found
                    .iter()
                    .zip(re.iter().zip(im))
                    .map(|(f, (a, b))| (f.re * sign - a).abs().max((f.im * sign - b).abs()))
                    .fold(0.0, f64::max)
            };
            assert!(error(1.0).min(error(-1.0)) < tolerances::TABLES);
        }
    }
}

#[test]
fn golden_linear() {
    for_each_case("lin_", |case| {
        let (input, output) = (case.irreps("irreps_in"), case.irreps("irreps_out"));
        let parameters = case.parameters();
        let linear = Linear::new(&parameters.root(), &input, &output, 1, true, case.convention).unwrap();
        case.fill(&parameters);
        let x = Var::from_tensor(&case.tensor("in.x")).unwrap();
        let y = linear.forward_plain(&Layout::new(&input).from_e3nn().apply(&x).unwrap()).unwrap();
        let y = Layout::new(&output).to_e3nn().apply(&y).unwrap();
        case.check("out", &y, tolerances::MODULE);
        let grads = (y * case.tensor("cot")).unwrap().sum_all().unwrap().backward().unwrap();
        case.check("g.in.x", grads.get(&x).unwrap(), tolerances::MODULE);
        for (name, variable) in parameters.to_vec() {
            case.check(&format!("g.w.{name}"), grads.get(&variable).unwrap(), tolerances::MODULE);
        }
    });
}

#[test]
fn golden_self_connection() {
    for_each_case("fctp_", |case| {
        let (input, output) = (case.irreps("irreps_in1"), case.irreps("irreps_out"));
        let onehot = case.tensor("in.onehot").to_vec2::<f64>().unwrap();
        // The rows of the case are general vectors: e3nn's product is linear in them, so add up the classes.
        let classes = onehot[0].len();
        let parameters = case.parameters();
        let linear = Linear::new(&parameters.root(), &input, &output, classes, false, case.convention).unwrap();
        case.fill(&parameters);
        let x = Var::from_tensor(&case.tensor("in.x")).unwrap();
        let inside = Layout::new(&input).from_e3nn().apply(&x).unwrap();
        let mut sum: Option<Tensor> = None;
        for class in 0..classes {
            let column: Vec<f64> = onehot.iter().map(|row| row[class]).collect();
            let column = Tensor::from_vec(column, (onehot.len(), 1), &Device::Cpu).unwrap();
            let y = linear.forward(&inside, &Segment::runs(&vec![class; onehot.len()])).unwrap();
            let y = y.broadcast_mul(&column).unwrap();
            sum = Some(match sum {
                None => y,
                Some(s) => (s + y).unwrap(),
            });
        }
        let y = Layout::new(&output).to_e3nn().apply(&sum.unwrap()).unwrap();
        case.check("out", &y, tolerances::MODULE);
        let grads = (y * case.tensor("cot")).unwrap().sum_all().unwrap().backward().unwrap();
        case.check("g.in.x", grads.get(&x).unwrap(), tolerances::MODULE);
        for (name, variable) in parameters.to_vec() {
            case.check(&format!("g.w.{name}"), grads.get(&variable).unwrap(), tolerances::MODULE);
        }
    });
}

#[test]
fn golden_gate() {
    for_each_case("gate_", |case| {
        let gate = Gate::new(&case.irreps("irreps_in1"), &case.irreps("irreps_in2"), &case.irreps("irreps_out_wanted"));
        assert_eq!(gate.input().irreps(), &case.irreps("gate_irreps_in"));
        assert_eq!(gate.output().irreps(), &case.irreps("gate_irreps_out"));
        let x = Var::from_tensor(&case.tensor("in.x")).unwrap();
        let y = gate.forward(&gate.input().from_e3nn().apply(&x).unwrap()).unwrap();
        let y = gate.output().to_e3nn().apply(&y).unwrap();
        case.check("out", &y, tolerances::MODULE);
        let grads = (y * case.tensor("cot")).unwrap().sum_all().unwrap().backward().unwrap();
        case.check("g.in.x", grads.get(&x).unwrap(), tolerances::MODULE);
    });
}

#[test]
fn golden_layer_norm() {
    for_each_case("norm_", |case| {
        let irreps = case.irreps("irreps");
        let options = NormOptions {
            subtract_mean: case.json["subtract_mean"].as_bool().unwrap(),
            divide: case.json["divide_norm"].as_bool().unwrap(),
            epsilon: case.json["eps"].as_f64().unwrap(),
        };
        let parameters = case.parameters();
        let norm = LayerNorm::new(&parameters.root(), &irreps, options).unwrap();
        case.fill(&parameters);
        let batch: Vec<usize> = values(&case.tensor("in.batch")).into_iter().map(|b| b as usize).collect();
        let graphs: Vec<_> = Segment::runs(&batch).iter().map(|s| s.rows.clone()).collect();
        let x = Var::from_tensor(&case.tensor("in.x")).unwrap();
        let layout = Layout::new(&irreps);
        let y = norm.forward(&layout.from_e3nn().apply(&x).unwrap(), &graphs, None).unwrap();
        let y = layout.to_e3nn().apply(&y).unwrap();
        case.check("out", &y, tolerances::MODULE);
        let grads = (y * case.tensor("cot")).unwrap().sum_all().unwrap().backward().unwrap();
        case.check("g.in.x", grads.get(&x).unwrap(), tolerances::MODULE);
        for (name, variable) in parameters.to_vec() {
            case.check(&format!("g.w.{name}"), grads.get(&variable).unwrap(), tolerances::MODULE);
        }
    });
}

/// `weights1.7` and so on, of all paths one after another.
fn packed(case: &Case, prefix: &str, which: usize, count: usize) -> Tensor {
    let parts: Vec<Tensor> =
        (0..count).map(|p| case.tensor(&format!("{prefix}weights{which}.{p}")).flatten_all().unwrap()).collect();
    Tensor::cat(&parts, 0).unwrap()
}

fn separate_weights(scope: &Scope, product: &TensorProduct) -> SeparateWeights {
    SeparateWeights::new(scope, product.paths()).unwrap()
}

#[test]
fn golden_separate_weight_tensor_product() {
    for_each_case("swtp_", |case| {
        let irreps = ["irreps_in1", "irreps_in2", "irreps_out"].map(|f| case.irreps(f));
        let product = TensorProduct::new(&irreps[0], &irreps[1], &irreps[2], case.convention);
        let expected = case.json["paths"].as_array().unwrap();
        assert_eq!(product.paths().len(), expected.len());
        for (p, e) in product.paths().iter().zip(expected) {
            assert!((p.coefficient - e["coeff"].as_f64().unwrap()).abs() < 1e-14);
        }
        let parameters = case.parameters();
        let weights = separate_weights(&parameters.root(), &product);
        let n = product.paths().len();
        parameters.load(&BTreeMap::from([1, 2].map(|k| (format!("weights{k}"), packed(case, "w.", k, n))))).unwrap();
        let prefix = format!("{}/in.", case.name);
        let names: std::collections::BTreeSet<&str> =
            case.own.tensors.keys().chain(case.base.tensors.keys()).filter_map(|k| k.strip_prefix(&prefix)).collect();
        let input = |dim: usize| {
            let tensors = names.iter().map(|n| case.tensor(&format!("in.{n}")));
            let found = tensors.into_iter().find(|t| t.dims()[1] == dim).unwrap();
            Var::from_tensor(&found).unwrap()
        };
        let (x, y) = (&input(irreps[0].dim()), &input(irreps[1].dim()));
        let z = product.forward(x, y, &weights.full(product.paths()).unwrap()).unwrap();
        case.check("out", &z, tolerances::MODULE);
        let grads = (z * case.tensor("cot")).unwrap().sum_all().unwrap().backward().unwrap();
        for k in [1, 2] {
            let found = values(grads.get(&parameters.get(&format!("weights{k}")).unwrap()).unwrap());
            let error = relative_difference(&found, &values(&packed(case, "g.w.", k, n)));
            assert!(error < tolerances::MODULE, "{} weights{k}: {error:e}", case.name);
        }
    });
}
