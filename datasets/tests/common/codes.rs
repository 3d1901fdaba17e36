//! The made structure as DeePTB, ABACUS and SIESTA would write it.

#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use num_complex::Complex64;
use tesseral_datasets::deeph::Record;
use tesseral_datasets::deeph::info::orbitals_of;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_datasets::orbital_order::Code;

/// Cell, row and column as (orbital of the cell in the code's order, spin), value.
type Flat = ([i64; 3], (usize, usize), (usize, usize), Complex64);

fn flat(record: &Record, matrix: &BlockMatrix, code: Code) -> Vec<Flat> {
    let shells: Vec<&[usize]> = record.poscar.symbols.iter().map(|s| record.info.shells(s).unwrap()).collect();
    let counts: Vec<usize> = shells.iter().map(|shells| orbitals_of(shells)).collect();
    let starts: Vec<usize> = (0..counts.len()).map(|i| counts[..i].iter().sum()).collect();
    let place = |atom: usize, orbital: usize| {
        let place = code.places(shells[atom]).unwrap()[orbital % counts[atom]];
        ((starts[atom] + place.index, orbital / counts[atom]), place.sign)
    };
    let mut all = Vec::new();
    for (k, [a, b, c, i, j]) in matrix.pairs.iter().enumerate() {
        for n in 0..matrix.shapes[k][0] * matrix.shapes[k][1] {
            let columns = matrix.shapes[k][1];
            let (row, sign) = place(*i as usize, n / columns);
            let (column, other) = place(*j as usize, n % columns);
            let value = match &matrix.entries {
                Entries::Real(v) => Complex64::from(v[matrix.boundaries[k] + n]),
                Entries::Complex(v) => v[matrix.boundaries[k] + n],
            };
            all.push(([*a, *b, *c], row, column, value * (sign * other)));
        }
    }
    all
}

fn orbitals(record: &Record) -> usize {
    record.info.orbits_quantity
}

/// DeePTB, the same frame twice; pairs of which `keep` is false are left out. Atoms count from `first`.
pub(crate) fn write_deeptb(record: &Record, folder: &Path, first: i64, keep: impl Fn(&[i64; 5]) -> bool) {
    let text = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let rows = |rows: &[[f64; 3]]| rows.iter().map(|[x, y, z]| format!("{x:?} {y:?} {z:?}\n")).collect::<String>();
    text("positions.dat", rows(&record.poscar.positions).repeat(2));
    text("cell.dat", rows(&record.poscar.lattice));
    text("atomic_numbers.dat", "6\n1\n".into());
    text("basis.dat", "{'C': '1s1p1d', 'H': '2s1p'}".into());
    for (name, matrix) in [("hamiltonians.h5", &record.hamiltonian), ("overlaps.h5", &record.overlap)] {
        let matrix = matrix.as_ref().unwrap();
        let file = rust_hdf5::H5File::create(folder.join(name)).unwrap();
        for frame in ["0", "1"] {
            let group = file.root_group().create_group(frame).unwrap();
            for (k, pair) in matrix.pairs.iter().enumerate().filter(|(_, pair)| keep(pair)) {
                let [a, b, c, i, j] = pair;
                let name = format!("{}_{}_{a}_{b}_{c}", i + first, j + first);
                let dataset = group.new_dataset::<f64>().shape(matrix.shapes[k]).create(&name).unwrap();
                let block: Vec<f64> = matrix.real_block(k).unwrap().iter().copied().collect();
                dataset.write_raw(&block).unwrap();
            }
        }
        file.close().unwrap();
    }
}

/// ABACUS, `nspin` 1, 2 or 4.
pub(crate) fn write_abacus(record: &Record, folder: &Path, nspin: usize) {
    let (rydberg, bohr) = (13.605698, 0.529177);
    let out = folder.join("OUT.X");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(folder.join("INPUT"), format!("INPUT_PARAMETERS\nnspin {nspin} # spins\nnelec 5\n")).unwrap();
    let rows = |rows: &[[f64; 3]], s: f64| {
        rows.iter().map(|[x, y, z]| format!("{:?} {:?} {:?}\n", x * s, y * s, z * s)).collect::<Vec<_>>()
    };
    let (vectors, atoms) = (rows(&record.poscar.lattice, 1.0 / (2.0 * bohr)), rows(&record.poscar.positions, 1.0));
    let stru = format!(
        "ATOMIC_SPECIES\nC 12 C.upf\nH 1 H.upf\nLATTICE_CONSTANT\n2.0\nLATTICE_VECTORS\n{}ATOMIC_POSITIONS\n\
        Cartesian_angstrom\nC\n0\n1\n{}H\n0\n1\n{}",
        vectors.concat(),
        atoms[0],
        atoms[1]
    );
    std::fs::write(folder.join("STRU"), stru).unwrap();
    let log = "atom label = C\nL=0, number of zeta = 1\nL=1, number of zeta = 1\nL=2, number of zeta = 1\n\
        atom label = H\nL=0, number of zeta = 2\nL=1, number of zeta = 1\n EFERMI = -1.25 eV\n";
    std::fs::write(out.join("running_scf.log"), log).unwrap();

    let n = orbitals(record);
    let csr = |name: &str, dimension: usize, complex: bool, elements: Vec<([i64; 3], usize, usize, Complex64)>| {
        let mut cells: BTreeMap<[i64; 3], BTreeMap<(usize, usize), Complex64>> = BTreeMap::new();
        for (cell, row, column, value) in elements {
            cells.entry(cell).or_default().insert((row, column), value);
        }
        let mut text =
            format!("STEP: 0\nMatrix Dimension of X(R): {dimension}\nMatrix number of X(R): {}\n", cells.len() + 1);
        text += "9 9 9 0\n";
        for ([a, b, c], elements) in cells {
            writeln!(text, "{a} {b} {c} {}", elements.len()).unwrap();
            for z in elements.values() {
                if complex { write!(text, " ({:e},{:e})", z.re, z.im) } else { write!(text, " {:e}", z.re) }.unwrap();
            }
            text += "\n";
            elements.keys().for_each(|(_, column)| write!(text, " {column}").unwrap());
            text += "\n";
            (0..=dimension)
                .for_each(|row| write!(text, " {}", elements.keys().filter(|(r, _)| *r < row).count()).unwrap());
            text += "\n";
        }
        std::fs::write(out.join(name), text).unwrap();
    };
    let h = flat(record, record.hamiltonian.as_ref().unwrap(), Code::Abacus);
    let s = flat(record, record.overlap.as_ref().unwrap(), Code::Abacus);
    let energy = |value: Complex64| value / rydberg;
    if nspin == 4 {
        let h = h.into_iter().map(|(cell, (r, s), (c, t), value)| (cell, 2 * r + s, 2 * c + t, energy(value)));
        csr("data-HR-sparse_SPIN0.csr", 2 * n, true, h.collect());
        let both =
            |spin: usize| s.iter().map(move |(cell, r, c, value)| (*cell, 2 * r.0 + spin, 2 * c.0 + spin, *value));
        csr("data-SR-sparse_SPIN0.csr", 2 * n, true, both(0).chain(both(1)).collect());
        return;
    }
    for spin in 0..nspin {
        let own = h.iter().filter(|(_, (_, s), (_, t), _)| (*s, *t) == (spin, spin));
        let own = own.map(|(cell, (r, _), (c, _), value)| (*cell, *r, *c, energy(*value)));
        csr(&format!("data-HR-sparse_SPIN{spin}.csr"), n, false, own.collect());
    }
    let s = s.into_iter().map(|(cell, (r, _), (c, _), value)| (cell, r, c, value));
    csr("data-SR-sparse_SPIN0.csr", n, false, s.collect());
}

/// SIESTA, .HSX of `version` 0 (the first), 1 or 2, with `spins` 1 or 2, and .XV; double precision where it can be.
pub(crate) fn write_siesta(record: &Record, folder: &Path, version: i32, spins: usize) {
    let bytes = siesta_bytes(record, version, spins);
    std::fs::write(folder.join("made.HSX"), bytes).unwrap();
    let (_, bohr) = SIESTA_UNITS;
    let mut xv = String::new();
    for [x, y, z] in record.poscar.lattice.map(|row| row.map(|x| x / bohr)) {
        writeln!(xv, "{x:?} {y:?} {z:?} 0 0 0").unwrap();
    }
    xv += "2\n";
    for (k, (p, z)) in record.poscar.positions.iter().zip([6, 1]).enumerate() {
        writeln!(xv, "{} {z} {:?} {:?} {:?} 0 0 0", k + 1, p[0] / bohr, p[1] / bohr, p[2] / bohr).unwrap();
    }
    std::fs::write(folder.join("made.XV"), xv).unwrap();
    std::fs::write(folder.join("made.EIG"), "  -1.25\n 1 1 1\n").unwrap();
}

/// Rydberg in eV and Bohr in angstrom, as SIESTA's files are read.
const SIESTA_UNITS: (f64, f64) = (27.2113845 / 2.0, 0.529177249);

fn integers(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn siesta_bytes(record: &Record, version: i32, spins: usize) -> Vec<u8> {
    let (rydberg, bohr) = SIESTA_UNITS;
    let n = orbitals(record);
    let cells = [[0, 0, 0], [1, 0, 0], [-1, 0, 0]];
    let cell_of = |cell: &[i64; 3]| cells.iter().position(|known| known == cell).unwrap();
    let h = flat(record, record.hamiltonian.as_ref().unwrap(), Code::Siesta);
    let s = flat(record, record.overlap.as_ref().unwrap(), Code::Siesta);
    // Row by row: column and value of S and of H of each spin.
    let mut rows: Vec<BTreeMap<usize, Vec<f64>>> = vec![BTreeMap::new(); n];
    for (cell, (row, _), (column, _), value) in &s {
        rows[*row].insert(cell_of(cell) * n + column, vec![value.re]);
    }
    for spin in 0..spins {
        for (cell, (row, _), (column, _), value) in h.iter().filter(|(_, r, c, _)| (r.1, c.1) == (spin, spin)) {
            rows[*row].get_mut(&(cell_of(cell) * n + column)).unwrap().push(value.re / rydberg);
        }
    }
    let mut file = Vec::new();
    let mut put = |bytes: Vec<u8>| {
        let length = (bytes.len() as i32).to_le_bytes();
        file.extend(length);
        file.extend(bytes);
        file.extend(length);
    };
    let starts = [0, record.info.orbitals(&record.poscar.symbols[0]).unwrap()];
    let species = |put: &mut dyn FnMut(Vec<u8>)| {
        let head = |label: &str, z: f64, count: i32| {
            [format!("{label:<20}").into_bytes(), doubles(&[z]), integers(&[count])].concat()
        };
        put([head("C", 4.0, 9), head("H", 1.0, 5)].concat());
        let shell = |n: i32, l: i32, zeta: i32| [n, l, zeta].repeat(2 * l as usize + 1);
        put(integers(&[shell(2, 0, 1), shell(2, 1, 1), shell(3, 2, 1)].concat()));
        put(integers(&[shell(1, 0, 1), shell(1, 0, 2), shell(2, 1, 1)].concat()));
    };
    let nonzero: usize = rows.iter().map(BTreeMap::len).sum();
    if version == 0 {
        put(integers(&[n as i32, 3 * n as i32, spins as i32, nonzero as i32]));
        put(integers(&[0]));
        put(integers(&(0..3 * n).map(|k| (k % n) as i32 + 1).collect::<Vec<_>>()));
    } else {
        put(integers(&[version]));
        put(integers(&[-1]));
        put(integers(&[2, n as i32, spins as i32, 2, 3, 1, 1]));
        let lattice = record.poscar.lattice.map(|row| row.map(|x| x / bohr)).concat();
        put(doubles(&[lattice, vec![-1.25 / rydberg, 5.0, 0.001]].concat()));
        let offsets: Vec<i32> = cells.iter().flatten().map(|r| *r as i32).collect();
        let positions: Vec<f64> = record.poscar.positions.iter().flatten().map(|x| x / bohr).collect();
        put([integers(&offsets), doubles(&positions), integers(&[1, 2]), integers(&[9, 14])].concat());
        species(&mut put);
        if version == 2 {
            put([integers(&[1, 0, 0, 0, 1, 0, 0, 0, 1]), doubles(&[0.0; 3])].concat());
        }
    }
    let reals = |values: Vec<f64>| match version {
        0 => values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
        _ => doubles(&values),
    };
    put(integers(&rows.iter().map(|row| row.len() as i32).collect::<Vec<_>>()));
    rows.iter().for_each(|row| put(integers(&row.keys().map(|k| *k as i32 + 1).collect::<Vec<_>>())));
    for part in (1..=spins).chain([0]) {
        rows.iter().for_each(|row| put(reals(row.values().map(|values| values[part]).collect())));
    }
    if version == 0 {
        put(doubles(&[5.0, 0.001]));
        let (lattice, positions) = (&record.poscar.lattice, &record.poscar.positions);
        for (k, row) in rows.iter().enumerate() {
            let atom = |orbital: usize| usize::from(orbital % n >= starts[1]);
            let vector = |column: &usize| {
                let (from, to, r) = (positions[atom(k)], positions[atom(*column)], cells[column / n]);
                [0, 1, 2].map(|x| (to[x] - from[x] + (0..3).map(|a| r[a] as f64 * lattice[a][x]).sum::<f64>()) / bohr)
            };
            put(reals(row.keys().flat_map(vector).collect()));
        }
        put(integers(&[2]));
        species(&mut put);
        put(integers(&[2]));
        put(integers(&[1, 2]));
        put(integers(&(0..n).map(|k| k as i32 + 1).collect::<Vec<_>>()));
    }
    file
}
