//! Orders and rotations of whole blocks against vectors made with DeepH-E3 (golden/deephe3, `order/*`).
#![allow(clippy::unwrap_used)] // The helpers are test code too.

use std::path::{Path, PathBuf};

use nalgebra::{DMatrix, Matrix2};
use ndarray::Array2;
use num_complex::Complex64;
use safetensors::SafeTensors;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_physics::hamiltonian::{Basis, orbital_order, symmetry};

/// All `basics_*.safetensors` of the golden folder; none, with a line said, where there is no folder.
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folders = match std::env::var_os("TESSERAL_GOLDEN") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => vec![root.join("tests/golden"), root.join("../shared/golden")],
    };
    let is_case = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("basics_") && name.ends_with(".safetensors")
    };
    for folder in &folders {
        let found = [folder.join("deephe3"), folder.clone()].into_iter().filter_map(|f| f.read_dir().ok());
        let found: Vec<PathBuf> = found.flatten().map(|entry| entry.unwrap().path()).filter(is_case).collect();
        if !found.is_empty() {
            return found;
        }
    }
    println!("skipped: no basics_*.safetensors in {folders:?}");
    vec![]
}

struct Case<'a>(SafeTensors<'a>);

impl Case<'_> {
    fn numbers(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let view = self.0.tensor(name).unwrap();
        let numbers = view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
        (numbers, view.shape().to_vec())
    }

    fn real(&self, name: &str) -> Array2<f64> {
        let (numbers, shape) = self.numbers(name);
        Array2::from_shape_vec((shape[0], shape[1]), numbers).unwrap()
    }

    fn complex(&self, name: &str) -> Array2<Complex64> {
        let (re, im) = (self.real(&format!("{name}.re")), self.real(&format!("{name}.im")));
        ndarray::Zip::from(&re).and(&im).map_collect(|&re, &im| Complex64::new(re, im))
    }

    /// Matrix `k` of a stack, `[n, n]`.
    fn square(&self, name: &str, k: usize) -> DMatrix<f64> {
        let (numbers, shape) = self.numbers(name);
        DMatrix::from_row_slice(shape[1], shape[2], &numbers[k * shape[1] * shape[2]..(k + 1) * shape[1] * shape[2]])
    }
}

/// Calls `check` with every case and its two lists of shells.
fn with_cases(check: impl Fn(&Case<'_>, &[usize], &[usize])) {
    for path in cases() {
        let bytes = std::fs::read(&path).unwrap();
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let shells: Vec<Vec<usize>> = serde_json::from_value(json["order"]["orbital_types"].clone()).unwrap();
        check(&Case(SafeTensors::deserialize(&bytes).unwrap()), &shells[0], &shells[1]);
    }
}

#[test]
fn golden_orbital_order_of_whole_blocks() {
    with_cases(|case, rows, columns| {
        let (openmx, standard) = (case.real("order/H_openmx"), case.real("order/H_wiki"));
        assert_eq!(orbital_order::from_openmx(openmx.view(), rows, columns).unwrap(), standard);
        assert_eq!(orbital_order::to_openmx(standard.view(), rows, columns).unwrap(), openmx);
        let (openmx, standard) = (case.complex("order/Hsp_openmx"), case.complex("order/Hsp_wiki"));
        assert_eq!(orbital_order::from_openmx(openmx.view(), rows, columns).unwrap(), standard);
        assert_eq!(orbital_order::to_openmx(standard.view(), rows, columns).unwrap(), openmx);
    });
}

#[test]
fn golden_rotation_of_whole_blocks() {
    with_cases(|case, rows, columns| {
        let basis = |spinful| Basis::new(vec![(1, rows.to_vec()), (2, columns.to_vec())], spinful).unwrap();
        let one = |entries, shape: (usize, usize)| BlockMatrix {
            pairs: vec![[0, 0, 0, 0, 1]],
            shapes: vec![[shape.0, shape.1]],
            boundaries: vec![0, shape.0 * shape.1],
            entries,
        };
        let (real, complex) = (case.real("order/H_wiki"), case.complex("order/Hsp_wiki"));
        let plain = one(Entries::Real(real.iter().copied().collect()), real.dim());
        let spinful = one(Entries::Complex(complex.iter().copied().collect()), complex.dim());
        let turns = case.numbers("rot/R_xyz").1[0];
        for k in 0..case.numbers("order/R_xyz").1[0] {
            let q = case.square("order/R_xyz", k);
            let turn = (0..turns).find(|&t| (case.square("rot/R_xyz", t) - &q).amax() < 1e-12).unwrap();
            let d = |l: usize| case.square(&format!("rot/D_l{l}_{}", if l % 2 == 1 { "o" } else { "e" }), turn);
            let (re, im) = (case.square("rot/D_half.re", turn), case.square("rot/D_half.im", turn));
            let u = Matrix2::from_fn(|s, t| Complex64::new(re[(s, t)], im[(s, t)]));

            let turned = symmetry::rotated(&plain, &basis(false), &[1, 2], d, None).unwrap();
            let found = orbital_order::to_openmx(turned.real_block(0).unwrap(), rows, columns).unwrap();
            let error =
                (&found - &case.real(&format!("order/H_rot{k}"))).mapv(f64::abs).iter().copied().fold(0.0, f64::max);
            assert!(error < 1e-12, "spinless, rotation {k}: {error:e}");

            let turned = symmetry::rotated(&spinful, &basis(true), &[1, 2], d, Some(&u)).unwrap();
            let found = orbital_order::to_openmx(turned.complex_block(0).unwrap(), rows, columns).unwrap();
            let error =
                (&found - &case.complex(&format!("order/Hsp_rot{k}"))).iter().map(|x| x.norm()).fold(0.0, f64::max);
            assert!(error < 1e-12, "spinful, rotation {k}: {error:e}");
        }
    });
}
