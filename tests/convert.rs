//! `data convert` from outside: other codes' runs give those codes' own eigenvalues, the twins of both DeepH layouts
//! are equal to the bit, single atoms come and go. Tests of `../shared/data` pass, with a line said, where it is absent.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/tolerances.rs"]
mod tolerances;

use assert_cmd::Command;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tesseral::datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral::datasets::deeph::{self, ReadOptions, Record, unified};
use tesseral::physics::hamiltonian::single_atoms::{Direction, SingleAtoms};

fn data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/deeph").join(path);
    if !path.exists() {
        println!("skipped: {} is not at hand", path.display());
        return None;
    }
    Some(path)
}

/// Runs `data convert FROM OUT` with more arguments; its JSON.
fn convert(from: &Path, out: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    let output = command.args(["data", "convert", "--json"]).arg(from).arg(out).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a conversion that must fail with `code`; its message.
fn failure(from: &Path, out: &Path, arguments: &[&str], code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    let output = command.args(["data", "convert"]).arg(from).arg(out).args(arguments).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains("error: ") && !message.contains("panicked") && !out.exists(), "{message}");
    message
}

/// Eigenvalues by `physics eigenvalues` at these points, ascending, and the smallest eigenvalue of S at each.
fn eigenvalues(folder: &Path, points: &[[f64; 3]]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    command.args(["physics", "eigenvalues", "--json"]).arg(folder);
    for [x, y, z] in points {
        command.arg(format!("--k={x:?},{y:?},{z:?}"));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut take = |key: &str| found[key].take();
    let values = serde_json::from_value(take("eigenvalues_ev")).unwrap();
    (values, serde_json::from_value(take("min_overlap_eigenvalue")).unwrap())
}

/// All numbers of a text.
fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn largest<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    a.into_iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn golden_siesta_silicon_has_the_eigenvalues_and_bands_of_siesta() {
    let Some(run) = data("convert/siesta/siesta_data/Si") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("Si");
    let done = convert(&run, &out, &[]);
    assert_eq!((&done["from"], &done["layout"], &done["structures"]), (&json!("siesta"), &json!("unified"), &json!(1)));
    assert_eq!(done["padded_pairs"], 0);

    let text = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
    // Si.KP: number, k in 1/Bohr, weight; k.a_i / 2 pi is its fractional component along b_i.
    let record = deeph::read(&out, &ReadOptions::default()).unwrap();
    let points: Vec<[f64; 3]> = numbers(text("Si.KP").split_once('\n').unwrap().1)
        .chunks_exact(5)
        .map(|row| {
            let vector = |a: &[f64; 3]| (0..3).map(|x| row[1 + x] * a[x]).sum::<f64>();
            record.poscar.lattice.each_ref().map(|a| vector(a) / 0.529177249 / std::f64::consts::TAU)
        })
        .collect();
    // Si.EIG: Fermi energy; bands, spins, k points; then number and eigenvalues of each k.
    let eig = numbers(&text("Si.EIG"));
    assert_eq!((points.len(), eig[1], eig[3]), (296, 26.0, 296.0));
    assert!((record.info.fermi_energy_ev.unwrap() - eig[0]).abs() < 1e-5);
    let twin = data("convert/hopcp/deeph_data/Si").unwrap();
    for folder in [&out, &twin] {
        let (found, _) = eigenvalues(folder, &points);
        let worst = found.iter().zip(eig[4..].chunks_exact(27)).map(|(ours, row)| largest(ours, &row[1..]));
        let worst = worst.fold(0.0, f64::max);
        println!("Si.EIG: {worst:.3e} eV");
        assert!(worst < tolerances::SIESTA_EIG, "{worst}");
    }

    // Si.bands: Fermi energy, ranges of k and energy, bands, spins, k points; then place and energies of each k.
    let all = text("Si.bands");
    let bands = numbers(&all.lines().take_while(|line| !line.contains('\'')).collect::<Vec<_>>().join(" "));
    assert_eq!(bands[5..8], [26.0, 1.0, 121.0]);
    let corners = [[0.5; 3], [0.0; 3], [0.5, 0.0, 0.5], [0.625, 0.25, 0.625], [0.0; 3]];
    let mut points = vec![corners[0]];
    for ends in corners.windows(2) {
        let between = |t: f64| std::array::from_fn(|x| ends[0][x] + t * (ends[1][x] - ends[0][x]));
        points.extend((1..=30).map(|n| between(f64::from(n) / 30.0)));
    }
    for folder in [&out, &twin] {
        let (found, _) = eigenvalues(folder, &points);
        let rows = bands[8..].chunks_exact(27);
        assert_eq!(rows.len(), points.len());
        let worst = found.iter().zip(rows).map(|(ours, row)| largest(ours, &row[1..])).fold(0.0, f64::max);
        println!("Si.bands: {worst:.3e} eV");
        assert!(worst < tolerances::SIESTA_BANDS, "{worst}");
    }
}

#[test]
fn golden_abacus_molybdenum_disulfide_has_the_eigenvalues_of_abacus() {
    let Some(run) = data("convert/abacus/abacus_data/MoS2") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("MoS2");
    let done = convert(&run, &out, &["--from", "abacus"]);
    assert_eq!(done["from"], "abacus");
    assert!(done["padded_pairs"].as_u64().unwrap() > 0);
    let (found, _) = eigenvalues(&out, &[[0.0; 3], [0.25, 0.0, 0.0], [0.5, 0.0, 0.0]]);
    let text = std::fs::read_to_string(run.join("OUT.ABACUS/istate.info")).unwrap();
    // After each line "BAND .. Kpoint": number, energy, occupation.
    let parts: Vec<&str> = text.split("BAND").skip(1).map(|part| part.split_once('\n').unwrap().1).collect();
    assert_eq!(parts.len(), 3);
    for (ours, part) in found.iter().zip(parts) {
        let theirs: Vec<f64> = numbers(part).chunks_exact(3).map(|row| row[1]).collect();
        let worst = largest(ours, &theirs);
        println!("istate.info: {} bands, {worst:.3e} eV", theirs.len());
        assert!(theirs.len() >= 23 && worst < tolerances::ABACUS_ISTATE, "{worst}");
    }
}

#[test]
fn golden_deeptb_silicon_has_its_gap() {
    let Some(run) = data("deeptb/Si64.0") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("Si64");
    let done = convert(&run, &out, &["--frame", "0"]);
    assert_eq!((&done["from"], &done["padded_pairs"]), (&json!("deeptb"), &json!(9434 - 5562)));
    let (values, smallest) = eigenvalues(&out, &[[0.0; 3]]);
    let values = &values[0];
    // 64 atoms of 4 electrons: 128 occupied bands.
    let worst = largest(&[values[0], values[127], values[128]], &[-6.00819656, 6.52817176, 8.27870949]);
    assert!(worst < tolerances::DEEPTB_EIGENVALUES, "{worst}");
    assert!((smallest[0] - 0.17005).abs() < 1e-5);
    let message = failure(&run, &folder.path().join("none"), &["--frame", "3"], 1);
    assert!(message.contains("hamiltonians.h5: frame: expected one of the frames [0], found 3"), "{message}");
}

fn bits(matrix: &Option<BlockMatrix>) -> Option<(Vec<[i64; 5]>, Vec<u64>)> {
    matrix.as_ref().map(|matrix| {
        let matrix = unified::sorted(matrix);
        let bits = match &matrix.entries {
            Entries::Real(v) => v.iter().map(|x| x.to_bits()).collect(),
            Entries::Complex(v) => v.iter().flat_map(|z| [z.re.to_bits(), z.im.to_bits()]).collect(),
        };
        (matrix.pairs, bits)
    })
}

#[test]
fn twins_of_both_layouts_are_equal_to_the_bit() {
    let (Some(legacy), Some(updated)) =
        (data("convert/deeph/deeph_legacy_data"), data("convert/deeph/deeph_updated_data"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    let done = convert(&legacy, &there, &[]);
    assert_eq!((&done["from"], &done["structures"]), (&json!("legacy"), &json!(2)));
    convert(&there, &back, &["--from", "unified", "--to", "legacy"]);
    for id in ["MoTe2", "Bi2Se3_SOC"] {
        let read = |path: PathBuf| deeph::read(&path, &ReadOptions::present(&path)).unwrap();
        let (twin, old) = (read(updated.join(id)), read(legacy.join(id)));
        let (found, round) = (read(there.join("dft").join(id)), read(back.join("dft").join(id)));
        assert!(bits(&found.overlap) == bits(&twin.overlap) && bits(&found.hamiltonian) == bits(&twin.hamiltonian));
        let old = unified::regrouped(&old);
        assert!(bits(&round.overlap) == bits(&old.overlap) && bits(&round.hamiltonian) == bits(&old.hamiltonian));
    }
}

#[test]
fn single_atoms_are_taken_and_given_back() {
    let (Some(molecule), Some(atoms)) =
        (data("convert/deeph/deeph_updated_data/MoTe2"), data("convert/deeph/deeph_single_atoms"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // The same atoms with cores named: the first s shell of Mo, the first s and p shells of Te.
    let cores = folder.path().join("cores");
    for (symbol, shells) in [("Mo", json!([0])), ("Te", json!([0, 3]))] {
        let mut record = deeph::read(&atoms.join(symbol), &ReadOptions::default()).unwrap();
        record.info.other.insert("elements_core_orbital_index".into(), json!({ symbol: shells }));
        std::fs::create_dir_all(&cores).unwrap();
        unified::write(&record, &cores.join(symbol)).unwrap();
    }
    let read = |path: &Path| deeph::read(path, &ReadOptions::default()).unwrap();
    let difference = |a: &Record, b: &Record| {
        let sorted = |record: &Record| unified::sorted(record.hamiltonian.as_ref().unwrap());
        let (Entries::Real(a), Entries::Real(b)) = (sorted(a).entries, sorted(b).entries) else { panic!("complex") };
        largest(&a, &b)
    };
    let whole = read(&molecule);
    for (name, atoms, offsite) in [("onsite", &atoms, false), ("both", &cores, true)] {
        let (less, back) = (folder.path().join(name), folder.path().join(format!("{name}-back")));
        let mut arguments = vec!["--single-atoms", atoms.to_str().unwrap()];
        arguments.extend(offsite.then_some("--offsite"));
        let done = convert(&molecule, &less, &arguments);
        assert_eq!(done["single_atoms"], "subtracted");
        arguments.push("--add-single-atoms");
        let done = convert(&less, &back, &arguments);
        assert_eq!(done["single_atoms"], "added");
        let worst = difference(&read(&back), &whole);
        println!("{name}: {worst:.1e} eV");
        assert!(worst < tolerances::SINGLE_ATOMS && difference(&read(&less), &whole) > 1.0, "{worst}");
    }
    let out = folder.path().join("none");
    let message = failure(&molecule, &out, &["--single-atoms", atoms.to_str().unwrap(), "--offsite"], 1);
    assert!(message.contains("elements_core_orbital_index: expected core orbitals"), "{message}");
    let message = failure(&molecule, &out, &["--single-atoms", atoms.join("Bi").to_str().unwrap()], 1);
    assert!(message.contains("expected a folder of a single") && message.contains("found nothing"), "{message}");
    failure(&molecule, &out, &["--offsite"], 2);
}

/// A sample structure, and a lone atom with H = `energy` S and these core shells.
fn sample(energy: f64, core: Value) -> (Record, Record) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample/dft/0001");
    let record = deeph::read(&path, &ReadOptions::default()).unwrap();
    let home = |matrix: &BlockMatrix| {
        let k = matrix.pairs.iter().position(|pair| *pair == [0; 5]).unwrap();
        matrix.real_block(k).unwrap().iter().copied().collect::<Vec<f64>>()
    };
    let values = home(record.overlap.as_ref().unwrap());
    let one = |values: Vec<f64>| {
        let shape = [values.len().isqrt(); 2];
        let (boundaries, pairs) = (BlockMatrix::boundaries_of(&[shape]), vec![[0; 5]]);
        Some(BlockMatrix { pairs, shapes: vec![shape], boundaries, entries: Entries::Real(values) })
    };
    let mut lone = record.clone();
    let symbol = record.poscar.symbols[0].clone();
    lone.poscar.symbols.truncate(1);
    lone.poscar.positions.truncate(1);
    lone.info.atoms_quantity = 1;
    lone.info.orbits_quantity = lone.info.orbitals(&symbol).unwrap();
    lone.info.elements_orbital_map.retain(|(name, _)| *name == symbol);
    lone.info.other.insert("elements_core_orbital_index".into(), json!({ symbol: core }));
    lone.hamiltonian = one(values.iter().map(|s| energy * s).collect());
    lone.overlap = one(values);
    (record, lone)
}

#[test]
fn atoms_proportional_to_their_overlap_take_twice_the_overlap() {
    let (energy, core) = (-3.0, json!([0, 1]));
    let (whole, lone) = sample(energy, core);
    assert!(whole.poscar.symbols.iter().all(|symbol| *symbol == whole.poscar.symbols[0]), "one element");
    let folder = tempfile::tempdir().unwrap();
    unified::write(&lone, &folder.path().join("atom")).unwrap();
    let atoms = SingleAtoms::read(folder.path()).unwrap();
    let mut less = whole.clone();
    atoms.apply(&mut less, Direction::Subtract, true).unwrap();
    // The same with spin: both diagonal spin blocks change alike, the others not.
    let mut spinful = whole.clone();
    spinful.info.spinful = true;
    let h = whole.hamiltonian.as_ref().unwrap();
    let shapes: Vec<[usize; 2]> = h.shapes.iter().map(|shape| shape.map(|n| 2 * n)).collect();
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    let entries = Entries::Complex(vec![Default::default(); *boundaries.last().unwrap()]);
    spinful.hamiltonian = Some(BlockMatrix { pairs: h.pairs.clone(), shapes, boundaries, entries });
    atoms.apply(&mut spinful, Direction::Subtract, true).unwrap();

    let shells = whole.info.shells(&whole.poscar.symbols[0]).unwrap();
    let cores: usize = shells[..2].iter().map(|l| 2 * l + 1).sum();
    let s = whole.overlap.as_ref().unwrap();
    for (k, pair) in h.pairs.iter().enumerate() {
        let place = s.pairs.iter().position(|other| other == pair).unwrap();
        let (before, after) = (h.real_block(k).unwrap(), less.hamiltonian.as_ref().unwrap().real_block(k).unwrap());
        let overlap = s.real_block(place).unwrap();
        let both = spinful.hamiltonian.as_ref().unwrap().complex_block(k).unwrap();
        let n = overlap.nrows();
        let lone = lone.hamiltonian.as_ref().unwrap().real_block(0).unwrap();
        let onsite = pair[..3] == [0; 3] && pair[3] == pair[4];
        for ((a, b), s) in overlap.indexed_iter() {
            let expected = match (onsite, a < cores || b < cores) {
                (true, _) => lone[[a, b]],
                (false, true) => 2.0 * energy * s,
                (false, false) => 0.0,
            };
            let found = before[[a, b]] - after[[a, b]];
            assert!((found - expected).abs() < 1e-9, "{pair:?} {a} {b}: {found} {expected}");
            assert!((both[[a, b]] + expected).norm() < 1e-9 && (both[[n + a, n + b]] + expected).norm() < 1e-9);
            assert!(both[[a, n + b]].norm() == 0.0 && both[[n + a, b]].norm() == 0.0);
        }
    }
}

#[test]
fn a_prediction_is_read_in_place_of_h_and_nothing_is_no_structure() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, _) = sample(1.0, json!([]));
    let (first, out) = (folder.path().join("first"), folder.path().join("out"));
    unified::write(&whole, &first).unwrap();
    std::fs::rename(first.join("hamiltonian.h5"), first.join("hamiltonian_pred.h5")).unwrap();
    let done = convert(&first, &out, &["--hamiltonian", "hamiltonian_pred.h5"]);
    assert_eq!(
        (&done["from"], &done["padded_pairs"], &done["single_atoms"]),
        (&json!("unified"), &json!(0), &Value::Null)
    );
    let found = deeph::read(&out, &ReadOptions::default()).unwrap();
    assert!(bits(&found.hamiltonian) == bits(&whole.hamiltonian));

    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let target = folder.path().join("target");
    for (from, message) in [("auto", "expected DeepH structure folders"), ("siesta", "at least one siesta structure")] {
        let text = failure(&empty, &target, &["--from", from], 1);
        assert!(text.contains(message) && text.contains("found nothing"), "{text}");
    }
    failure(&empty, &target, &["--from", "nonsense"], 2);
    failure(&folder.path().join("absent"), &target, &[], 1);
}
