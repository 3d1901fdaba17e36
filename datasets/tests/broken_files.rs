//! Every rule has a broken file: a good structure is written, broken in one place, and the reader or the validation
//! must name the file, the field, what it expected and what it found.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy spares only the functions marked #[test]

mod common;

use std::path::Path;

use common::{change, columns, folder, integers, reals};
use tesseral_datasets::Rule;
use tesseral_datasets::deeph::{self, ReadOptions, legacy, validate};
use tesseral_datasets::hdf5::{self, Column, Values};

const H: &str = "hamiltonian.h5";
const S: &str = "overlap.h5";

/// Breaks a fresh folder and asserts the rule and the message of the read that follows.
fn refused(spinful: bool, rule: Rule, message: &str, breakage: impl FnOnce(&Path)) {
    let (_parent, path) = folder(spinful);
    deeph::read(&path, &ReadOptions::default()).unwrap();
    breakage(&path);
    let error = deeph::read(&path, &ReadOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(message), "expected: {message}\nfound:    {text}");
    assert!(text.starts_with(path.to_str().unwrap()), "{text}");
    assert_eq!(error.rule(), rule, "{text}");
    // The same through the door of `data check`.
    let (_, problems) = validate::check(&path, &ReadOptions::default(), &validate::Limits::default());
    assert!(problems.iter().any(|p| p.rule == rule), "{problems:?}");
    assert!(
        problems.iter().all(|p| p.message.starts_with(&format!("{}: {}: expected ", p.file, p.field))),
        "{problems:?}"
    );
    assert!(problems.iter().all(|p| p.structure == "made"), "{problems:?}");
}

fn edit(path: &Path, file: &str, from: &str, to: &str) {
    let path = path.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn missing_files() {
    for (file, message) in [
        ("POSCAR", "made/POSCAR: expected a POSCAR file, found nothing"),
        ("info.json", "made/info.json: expected an info.json file, found nothing"),
        (S, "made/overlap.h5: expected an HDF5 file, found nothing"),
        (H, "made/hamiltonian.h5: expected an HDF5 file, found nothing"),
    ] {
        refused(false, Rule::Missing, message, |path| std::fs::remove_file(path.join(file)).unwrap());
    }
    let error = deeph::read(Path::new("/nonexistent/structure"), &ReadOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/structure: expected a DeepH structure folder (with POSCAR, or element.dat), found nothing"
    );
    refused(false, Rule::Format, "chunk_shapes: expected a dataset of this name, found none", |path| {
        let rest: Vec<Column> = columns(&path.join(H)).into_iter().filter(|c| c.name != "chunk_shapes").collect();
        hdf5::write(&path.join(H), &rest).unwrap();
    });
}

#[test]
fn ranks() {
    for (name, shape, message) in [
        ("atom_pairs", vec![5, 6], "hamiltonian.h5: atom_pairs: expected shape [P, 5], found [5, 6]"),
        ("atom_pairs", vec![30], "hamiltonian.h5: atom_pairs: expected shape [P, 5], found [30]"),
        ("chunk_shapes", vec![2, 6], "hamiltonian.h5: chunk_shapes: expected shape [6, 2], found [2, 6]"),
        ("chunk_boundaries", vec![7, 1], "hamiltonian.h5: chunk_boundaries: expected shape [7], found [7, 1]"),
        ("entries", vec![2, 143], "hamiltonian.h5: entries: expected shape [M], found [2, 143]"),
    ] {
        refused(false, Rule::Rank, message, |path| change(&path.join(H), name, |c| c.shape = shape));
    }
}

#[test]
fn dtypes() {
    refused(false, Rule::Dtype, "overlap.h5: atom_pairs: expected integers, found float64", |path| {
        change(&path.join(S), "atom_pairs", |c| c.values = Values::Real(vec![0.0; 30]));
    });
    refused(false, Rule::Dtype, "hamiltonian.h5: entries: expected real or complex numbers, found integer", |path| {
        change(&path.join(H), "entries", |c| c.values = Values::Integer(vec![0; 286]));
    });
    let message = "hamiltonian.h5: entries: expected real numbers (spinful is false), found complex numbers";
    refused(false, Rule::Dtype, message, |path| {
        change(&path.join(H), "entries", |c| c.values = Values::Complex(vec![Default::default(); 286]));
    });
    let message = "hamiltonian.h5: entries: expected complex numbers (spinful is true), found real numbers";
    refused(true, Rule::Dtype, message, |path| {
        change(&path.join(H), "entries", |c| c.values = Values::Real(vec![0.0; 4 * 286]));
    });
}

#[test]
fn boundaries() {
    // C has 9 orbitals, H 5; the first pair is (-1, 0, 0, 1, 0), its block 5 x 9.
    for (k, value, message) in [
        (0, 1, "chunk_boundaries[0]: expected 0, found 1"),
        (1, 44, "chunk_boundaries[1]: expected 45, found 44"),
        (2, 0, "chunk_boundaries[2]: expected 126, found 0"),
        (6, -1, "chunk_boundaries[6]: expected 286, found -1"),
    ] {
        refused(false, Rule::Boundaries, message, |path| {
            change(&path.join(H), "chunk_boundaries", |c| integers(c)[k] = value);
        });
    }
    for (value, message) in [
        (0, "chunk_shapes[0]: expected a positive shape whose block ends within the 286 entries, found [0, 9] at 0"),
        (-3, "chunk_shapes[0]: expected a positive shape"),
        (i64::MAX, "chunk_shapes[0]: expected a positive shape"),
        (6, "chunk_boundaries[1]: expected 54, found 45"),
    ] {
        refused(false, Rule::Boundaries, message, |path| {
            change(&path.join(H), "chunk_shapes", |c| integers(c)[0] = value);
        });
    }
    refused(false, Rule::Boundaries, "hamiltonian.h5: entries: expected 286 elements, found 287", |path| {
        change(&path.join(H), "entries", |c| {
            reals(c).push(0.0);
            c.shape = vec![287];
        });
    });
    refused(
        false,
        Rule::Boundaries,
        "chunk_shapes[5]: expected a positive shape whose block ends within the 285",
        |path| {
            change(&path.join(H), "entries", |c| {
                reals(c).pop();
                c.shape = vec![285];
            });
        },
    );
}

#[test]
fn atom_and_cell_indices() {
    refused(
        false,
        Rule::AtomIndex,
        "atom_pairs[2]: expected atom indices from 0 to 1, found [0, 0, 0, 0, 2]",
        |path| {
            change(&path.join(H), "atom_pairs", |c| integers(c)[14] = 2);
        },
    );
    for (k, value) in [(14, -1), (0, i64::MIN), (1, i64::MAX)] {
        let message = "expected cell indices of a crystal and atom indices from 0, found [";
        refused(false, Rule::AtomIndex, message, |path| {
            change(&path.join(H), "atom_pairs", |c| integers(c)[k] = value);
        });
    }
}

#[test]
fn elements_and_orbital_counts() {
    let message =
        "info.json: elements_orbital_map: expected the shells of O, which POSCAR has, found those of C, H only";
    refused(false, Rule::Symbol, message, |path| edit(path, "POSCAR", "C H", "C O"));
    let message = "POSCAR: line 6: expected element symbols, found \"Xx\"";
    refused(false, Rule::Format, message, |path| edit(path, "POSCAR", "C H", "C Xx"));
    let message = "info.json: atoms_quantity: expected 2, the number of atoms in POSCAR, found 3";
    refused(false, Rule::Format, message, |path| {
        edit(path, "info.json", "\"atoms_quantity\":2", "\"atoms_quantity\":3")
    });
    let message = "info.json: orbits_quantity: expected 14, which follows from elements_orbital_map, found 15";
    refused(false, Rule::OrbitalCount, message, |path| {
        edit(path, "info.json", "\"orbits_quantity\":14", "\"orbits_quantity\":15");
    });
    let message = "overlap.h5: chunk_shapes[0]: expected [3, 9], the orbitals of H-C, found [5, 9]";
    refused(false, Rule::OrbitalCount, message, |path| {
        edit(path, "info.json", "[0,0,1]", "[1]");
        edit(path, "info.json", "\"orbits_quantity\":14", "\"orbits_quantity\":12");
    });
    let message = "hamiltonian.h5: chunk_shapes[0]: expected [10, 18], the orbitals of H-C, found [5, 9]";
    refused(true, Rule::OrbitalCount, message, |path| {
        // A complex Hamiltonian without spin blocks.
        let mut plain = common::record(false).hamiltonian.unwrap();
        plain.entries =
            tesseral_datasets::deeph::matrix::Entries::Complex(vec![Default::default(); plain.entries.len()]);
        deeph::unified::write_matrix(&path.join(H), &plain, deeph::unified::Precision::F64).unwrap();
    });
}

#[test]
fn numbers_that_are_not() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let message = "hamiltonian.h5: entries[50]: expected finite numbers, found NaN or infinity in the block of [0, 0, 0, 0, 0] (1 in all)";
        refused(false, Rule::NotFinite, message, |path| change(&path.join(H), "entries", |c| reals(c)[50] = bad));
    }
}

#[test]
fn duplicates_and_reverses() {
    let message = "hamiltonian.h5: atom_pairs[1]: expected every ordered pair once, found [-1, 0, 0, 1, 0] again, after atom_pairs[0] (1 in all)";
    refused(false, Rule::DuplicatePair, message, |path| {
        let mut matrix = common::record(false).hamiltonian.unwrap();
        matrix.pairs.push(matrix.pairs[0]);
        matrix.shapes.push(matrix.shapes[0]);
        let block = matrix.real_block(0).unwrap().iter().copied().collect::<Vec<_>>();
        let tesseral_datasets::deeph::matrix::Entries::Real(values) = &mut matrix.entries else { panic!() };
        values.extend(block);
        matrix.boundaries.push(values.len());
        deeph::unified::write_matrix(&path.join(H), &deeph::unified::sorted(&matrix), deeph::unified::Precision::F64)
            .unwrap();
    });
    let message = "overlap.h5: atom_pairs[0]: expected the reverse (-R, j, i) of every pair (R, i, j), found [-2, 0, 0, 1, 0] without [2, 0, 0, 0, 1] (2 in all)";
    refused(false, Rule::Reverse, message, |path| change(&path.join(S), "atom_pairs", |c| integers(c)[0] = -2));
    let message =
        "hamiltonian.h5: atom_pairs: expected an on-site block for every atom, found none for atom 0 (1 in all)";
    refused(false, Rule::OnSite, message, |path| change(&path.join(H), "atom_pairs", |c| integers(c)[5] = 3));
}

#[test]
fn hermiticity() {
    let message = "hamiltonian.h5: entries: expected every block within 1e-5 eV of the adjoint of its reverse, found 2.500e-1 eV at [-1, 0, 0, 1, 0]";
    refused(false, Rule::Hermiticity, message, |path| change(&path.join(H), "entries", |c| reals(c)[0] += 0.25));
    let message =
        "overlap.h5: entries: expected every block within 1e-5 of the adjoint of its reverse, found 1.000e-3 at";
    refused(false, Rule::Hermiticity, message, |path| change(&path.join(S), "entries", |c| reals(c)[0] += 1e-3));
    refused(true, Rule::Hermiticity, "found 5.000e-1 eV at [-1, 0, 0, 1, 0]", |path| {
        change(&path.join(H), "entries", |c| {
            let Values::Complex(values) = &mut c.values else { panic!() };
            values[7].im += 0.5;
        });
    });
    // Below the limit is accepted; the limit can be chosen.
    let (_parent, path) = folder(false);
    change(&path.join(H), "entries", |c| reals(c)[0] += 5e-6);
    let record = deeph::read(&path, &ReadOptions::default()).unwrap();
    let strict = validate::Limits { hermiticity: 1e-9, ..Default::default() };
    assert_eq!(validate::validate_with(&record, &strict)[0].rule, Rule::Hermiticity);
    assert!(validate::validate(&record).is_empty());
}

#[test]
fn support() {
    let message = "hamiltonian.h5: atom_pairs[0]: expected pairs that overlap.h5 has too, found [-1, 0, 0, 1, 0], which is not there (2 in all)";
    refused(false, Rule::Support, message, |path| {
        // S keeps the four pairs of the home cell.
        let full = common::record(false).overlap.unwrap();
        let (a, b) = (full.boundaries[1], full.boundaries[5]);
        let tesseral_datasets::deeph::matrix::Entries::Real(values) = &full.entries else { panic!() };
        let small = deeph::matrix::BlockMatrix {
            pairs: full.pairs[1..5].to_vec(),
            shapes: full.shapes[1..5].to_vec(),
            boundaries: full.boundaries[1..6].iter().map(|n| n - a).collect(),
            entries: deeph::matrix::Entries::Real(values[a..b].to_vec()),
        };
        deeph::unified::write_matrix(&path.join(S), &small, deeph::unified::Precision::F64).unwrap();
    });
}

#[test]
fn no_edge() {
    let empty = deeph::matrix::BlockMatrix {
        pairs: vec![],
        shapes: vec![],
        boundaries: vec![0],
        entries: deeph::matrix::Entries::Real(vec![]),
    };
    let message = "hamiltonian.h5: atom_pairs: expected at least one pair of atoms, found none";
    refused(false, Rule::NoEdge, message, |path| {
        deeph::unified::write_matrix(&path.join(H), &empty, deeph::unified::Precision::F64).unwrap();
    });
}

#[test]
fn sizes() {
    let (_parent, path) = folder(false);
    let limits = validate::Limits { max_bytes: 200, ..Default::default() };
    let error = deeph::read_with(&path, &ReadOptions::default(), &limits).unwrap_err();
    let message = "overlap.h5: atom_pairs: expected data of at most 200 bytes, found 240 bytes, shape [6, 5]";
    assert!(error.to_string().ends_with(message), "{error}");
    assert_eq!(error.rule(), Rule::Size);
    // A header that claims 1 PB in a file of a few kB: the length field of `entries` is patched in place.
    let file = path.join(H);
    let mut bytes = std::fs::read(&file).unwrap();
    let length = 286_u64.to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 8).filter(|k| bytes[*k..*k + 8] == length).collect();
    for k in places {
        bytes[k..k + 8].copy_from_slice(&(1_u64 << 47).to_le_bytes());
    }
    std::fs::write(&file, bytes).unwrap();
    let error = deeph::read(&path, &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("hamiltonian.h5: "), "{error}");
}

#[test]
fn truncation_at_twenty_points_is_one_clear_error() {
    for (name, spinful) in [(H, false), (H, true), (S, false)] {
        let (_parent, path) = folder(spinful);
        let file = path.join(name);
        let whole = std::fs::read(&file).unwrap();
        for k in 0..20 {
            std::fs::write(&file, &whole[..whole.len() * k / 20]).unwrap();
            let error = deeph::read(&path, &ReadOptions::default()).unwrap_err();
            assert!(error.to_string().contains(&format!("made/{name}: ")), "{error}");
        }
        std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        deeph::read(&path, &ReadOptions::default()).unwrap_err();
    }
}

#[test]
fn one_bad_file_does_not_hide_another() {
    let (_parent, path) = folder(false);
    change(&path.join(H), "chunk_boundaries", |c| integers(c)[0] = 5);
    std::fs::write(path.join(S), "not HDF5").unwrap();
    let (record, problems) = validate::check(&path, &ReadOptions::default(), &validate::Limits::default());
    assert!(record.is_none());
    assert_eq!(problems.iter().map(|p| p.file.as_str()).collect::<Vec<_>>(), [S, H]);
    let json = serde_json::to_value(&problems).unwrap();
    assert_eq!((&json[0]["rule"], &json[1]["rule"]), (&"unreadable".into(), &"boundaries".into()));
    assert_eq!(json[1]["message"], "hamiltonian.h5: chunk_boundaries[0]: expected 0, found 5");
    std::fs::remove_file(path.join("POSCAR")).unwrap();
    let (_, problems) = validate::check(&path, &ReadOptions::default(), &validate::Limits::default());
    assert_eq!(problems.iter().map(|p| p.file.as_str()).collect::<Vec<_>>(), ["POSCAR"]);
}

#[test]
fn legacy_files() {
    let (parent, path) = folder(false);
    let record = deeph::read(&path, &ReadOptions::default()).unwrap();
    let refused = |rule: Rule, message: &str, breakage: &dyn Fn(&Path)| {
        let path = parent.path().join("old");
        let _ = std::fs::remove_dir_all(&path);
        legacy::write(&record, &path).unwrap();
        deeph::read(&path, &ReadOptions::default()).unwrap();
        breakage(&path);
        let error = deeph::read(&path, &ReadOptions::default()).unwrap_err();
        assert!(error.to_string().contains(message), "expected: {message}\nfound:    {error}");
        assert_eq!(error.rule(), rule, "{error}");
    };
    let rename = |path: &Path, from: &str, to: &str| {
        let mut all = columns(&path.join("hamiltonians.h5"));
        all.iter_mut().find(|c| c.name == from).unwrap().name = to.into();
        hdf5::write(&path.join("hamiltonians.h5"), &all).unwrap();
    };
    for file in [
        "element.dat",
        "orbital_types.dat",
        "lat.dat",
        "site_positions.dat",
        "info.json",
        "overlaps.h5",
        "hamiltonians.h5",
    ] {
        refused(Rule::Missing, &format!("old/{file}: expected"), &|path| {
            // Without element.dat the folder is still known by its matrices.
            std::fs::remove_file(path.join(file)).unwrap();
        });
    }
    refused(Rule::Symbol, "element.dat: atom 2: expected an atomic number, found 0", &|p| {
        edit(p, "element.dat", "\n1", "\n0")
    });
    refused(
        Rule::Rank,
        "site_positions.dat: file: expected the positions of all atoms as columns: 3 lines of 2 numbers",
        &|p| {
            edit(p, "site_positions.dat", "0.1", "");
        },
    );
    refused(Rule::Format, "lat.dat: line 1: expected numbers, found \"x ", &|p| edit(p, "lat.dat", "3.0", "x"));
    refused(
        Rule::OrbitalCount,
        "orbital_types.dat: file: expected a line for each of the 2 atoms, found 3 lines",
        &|p| {
            edit(p, "orbital_types.dat", "0  1  2", "0\n1  2");
        },
    );
    refused(
        Rule::OrbitalCount,
        "hamiltonians.h5: [-1, 0, 0, 2, 1]: expected shape [5, 10], the orbitals of the two atoms, found [5, 9]",
        &|p| {
            edit(p, "orbital_types.dat", "0  1  2", "0  1  2  0");
            std::fs::remove_file(p.join("overlaps.h5")).unwrap();
            std::fs::copy(p.join("hamiltonians.h5"), p.join("overlaps.h5")).unwrap();
            edit(p, "info.json", "\"isorthogonal\":false", "\"isorthogonal\":true");
            std::fs::remove_file(p.join("overlaps.h5")).unwrap();
        },
    );
    refused(Rule::Format, "info.json: isspinful: expected true or false, found nothing", &|p| {
        edit(p, "info.json", "isspinful", "spin")
    });
    refused(
        Rule::AtomIndex,
        "hamiltonians.h5: [0, 0, 0, 1, 3]: expected a name \"[R1, R2, R3, i, j]\" with atoms from 1 to 2",
        &|p| {
            rename(p, "[0, 0, 0, 1, 2]", "[0, 0, 0, 1, 3]");
        },
    );
    refused(Rule::AtomIndex, "hamiltonians.h5: entries: expected a name \"[R1, R2, R3, i, j]\"", &|p| {
        rename(p, "[0, 0, 0, 1, 2]", "entries");
    });
    refused(
        Rule::DuplicatePair,
        "hamiltonians.h5: [0,0,0,2,2]: expected every ordered pair once, found it twice",
        &|p| {
            rename(p, "[0, 0, 0, 1, 2]", "[0,0,0,2,2]");
        },
    );
    refused(Rule::Hermiticity, "hamiltonians.h5: entries: expected every block within 1e-5 eV", &|p| {
        change(&p.join("hamiltonians.h5"), "[0, 0, 0, 1, 2]", |c| reals(c)[3] += 1.0);
    });
}
