//! Hamiltonians less those of single atoms: a simpler target to learn, and its way back.
//!
//! On-site blocks lose H_Z, the Hamiltonian of the lone atom of element Z. Off-site blocks can lose
//! mask o (H_i S_i^-1 S_ij + S_ij S_j^-1 H_j), where mask keeps the elements of a core orbital of i or of j: what the
//! cores, frozen as in the lone atoms, would give. Formula and files: DeepH-dock's "minus core Hamiltonian".
//! Spinful: the same for both spins, nothing between them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nalgebra::DMatrix;
use tesseral_datasets::deeph::matrix::{AtomPair, BlockMatrix};
use tesseral_datasets::deeph::{self, ReadOptions, Record};
use tesseral_datasets::error::{Error, Result, Rule};

/// The lone atoms of some elements.
#[derive(Clone, Debug)]
pub struct SingleAtoms {
    folder: PathBuf,
    elements: HashMap<String, LoneAtom>,
}

/// H, H S^-1 and the core orbitals of one element.
#[derive(Clone, Debug)]
struct LoneAtom {
    shells: Vec<usize>,
    hamiltonian: DMatrix<f64>,
    /// H S^-1.
    product: DMatrix<f64>,
    /// Whether each orbital is a core orbital.
    core: Vec<bool>,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// H becomes H less single atoms.
    Subtract,
    /// The inverse: what was subtracted, or predicted so, becomes H.
    Add,
}

impl SingleAtoms {
    /// Reads every structure folder of one atom in `folder`; the core orbitals are the shells that
    /// `elements_core_orbital_index` of its `info.json` lists.
    ///
    /// Errors: no such folder, more than one atom, spin blocks, an S that is not positive definite, a shell that the
    /// element does not have.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut elements = HashMap::new();
        for path in deeph::find_structures(&[folder.to_path_buf()])? {
            let record = deeph::read(&path, &ReadOptions::default())?;
            let atom = LoneAtom::new(&record)?;
            let symbol = record.poscar.symbols[0].clone(); // one atom: checked by `new`
            if elements.insert(symbol.clone(), atom).is_some() {
                return Err(invalid(Rule::Format, &path, "POSCAR", "an element that no other folder has", symbol));
            }
        }
        Ok(SingleAtoms { folder: folder.to_path_buf(), elements })
    }

    /// Takes single atoms from the Hamiltonian of `record`, or gives them back; `offsite` also from pairs of atoms,
    /// which needs the overlap and core orbitals of at least one element.
    ///
    /// Errors: no H, an element that is not there or has other shells, no overlap or no core for `offsite`.
    pub fn apply(&self, record: &mut Record, direction: Direction, offsite: bool) -> Result<()> {
        let atoms = record.poscar.symbols.iter().map(|symbol| self.atom(symbol, record));
        let atoms: Vec<&LoneAtom> = atoms.collect::<Result<_>>()?;
        if offsite && self.elements.values().all(|atom| !atom.core.contains(&true)) {
            let expected = "core orbitals of at least one element, for off-site blocks";
            return Err(invalid(Rule::Format, &self.folder, "elements_core_orbital_index", expected, "none"));
        }
        let overlap = record.overlap.as_ref().filter(|_| offsite);
        if offsite && overlap.is_none() {
            let expected = "an overlap, for off-site blocks";
            return Err(invalid(Rule::Missing, &record.path, "overlap", expected, "none"));
        }
        let places: HashMap<&AtomPair, usize> =
            overlap.map_or_else(HashMap::new, |overlap| overlap.pairs.iter().zip(0..).collect());
        let Some(matrix) = record.hamiltonian.as_mut() else {
            return Err(invalid(Rule::Missing, &record.path, "hamiltonian", "a Hamiltonian", "none"));
        };
        let sign = if direction == Direction::Subtract { -1.0 } else { 1.0 };
        for k in 0..matrix.pairs.len() {
            let pair = matrix.pairs[k];
            let (i, j) = (atoms[pair[3] as usize], atoms[pair[4] as usize]); // a record that was read is consistent
            if pair[..3] == [0; 3] && pair[3] == pair[4] {
                add(matrix, k, &i.hamiltonian, sign);
            } else if let Some(overlap) = overlap
                && let Some(s) = places.get(&pair).and_then(|place| overlap.real_block(*place))
            {
                let s = DMatrix::from_fn(s.nrows(), s.ncols(), |a, b| s[[a, b]]);
                let both = &i.product * &s + &s * j.product.transpose();
                let masked = DMatrix::from_fn(both.nrows(), both.ncols(), |a, b| {
                    if i.core[a] || j.core[b] { both[(a, b)] } else { 0.0 }
                });
                add(matrix, k, &masked, sign);
            }
        }
        Ok(())
    }

    fn atom(&self, symbol: &str, record: &Record) -> Result<&LoneAtom> {
        let Some(atom) = self.elements.get(symbol) else {
            let expected = format!("a folder of a single {symbol}, which {} has", record.id);
            return Err(Error::Missing { path: self.folder.join(symbol), expected });
        };
        match record.info.shells(symbol) {
            Some(shells) if shells == atom.shells => Ok(atom),
            other => {
                let expected = format!("the shells of {symbol} in {}: {:?}", record.id, other.unwrap_or_default());
                let (path, found) = (self.folder.join(symbol), format!("{:?}", atom.shells));
                Err(invalid(Rule::OrbitalCount, &path, "elements_orbital_map", expected, found))
            }
        }
    }
}

impl LoneAtom {
    fn new(record: &Record) -> Result<Self> {
        let path = &record.path;
        let [symbol] = record.poscar.symbols.as_slice() else {
            return Err(invalid(Rule::Format, path, "POSCAR", "a single atom", record.poscar.atoms().to_string()));
        };
        let shells = record.info.shells(symbol).unwrap_or_default().to_vec();
        let block = |matrix: &Option<BlockMatrix>, name: &str| -> Result<Option<DMatrix<f64>>> {
            let Some(matrix) = matrix else { return Ok(None) };
            let home = matrix.pairs.iter().position(|pair| *pair == [0; 5]).and_then(|k| matrix.real_block(k));
            let Some(block) = home else {
                return Err(invalid(Rule::Dtype, path, name, "a real on-site block: a spinless single atom", "none"));
            };
            Ok(Some(DMatrix::from_fn(block.nrows(), block.ncols(), |a, b| block[[a, b]])))
        };
        let Some(hamiltonian) = block(&record.hamiltonian, "hamiltonian")? else {
            return Err(invalid(Rule::Missing, path, "hamiltonian", "a Hamiltonian", "none"));
        };
        let product = match block(&record.overlap, "overlap")? {
            None => hamiltonian.clone(), // an orthogonal basis
            Some(overlap) => {
                let Some(factor) = overlap.cholesky() else {
                    let expected = "an overlap that is positive definite";
                    return Err(invalid(Rule::Format, path, "overlap", expected, "another"));
                };
                factor.solve(&hamiltonian).transpose() // (S^-1 H)^T = H S^-1
            }
        };
        let core = core(record, symbol, &shells)?;
        Ok(LoneAtom { shells, hamiltonian, product, core })
    }
}

/// Which orbitals belong to the shells that `elements_core_orbital_index` lists.
fn core(record: &Record, symbol: &str, shells: &[usize]) -> Result<Vec<bool>> {
    let key = "elements_core_orbital_index";
    let indices = match record.info.other.get(key).and_then(|map| map.get(symbol)) {
        None => Vec::new(),
        Some(value) => {
            let index = |v: &serde_json::Value| v.as_u64().map(|k| k as usize).filter(|k| *k < shells.len());
            let all = value.as_array().and_then(|list| list.iter().map(index).collect::<Option<Vec<usize>>>());
            all.ok_or_else(|| {
                let expected = format!("a list of indices of shells below {}", shells.len());
                let found: String = value.to_string().chars().take(60).collect();
                invalid(Rule::Format, &record.path.join("info.json"), key, expected, found)
            })?
        }
    };
    let orbital = |(k, l): (usize, &usize)| std::iter::repeat_n(indices.contains(&k), 2 * l + 1);
    Ok(shells.iter().enumerate().flat_map(orbital).collect())
}

/// Adds `sign` times a spinless block, to both spins where H has them.
fn add(matrix: &mut BlockMatrix, k: usize, block: &DMatrix<f64>, sign: f64) {
    let (rows, columns) = block.shape();
    if let Some(mut target) = matrix.real_block_mut(k) {
        target.indexed_iter_mut().for_each(|((a, b), h)| *h += sign * block[(a, b)]);
    } else if let Some(mut target) = matrix.complex_block_mut(k) {
        for spin in 0..2 {
            for (a, b) in (0..rows).flat_map(|a| (0..columns).map(move |b| (a, b))) {
                target[[spin * rows + a, spin * columns + b]] += sign * block[(a, b)];
            }
        }
    }
}

fn invalid(rule: Rule, path: &Path, field: &str, expected: impl Into<String>, found: impl Into<String>) -> Error {
    let (field, path) = (field.to_string(), path.to_path_buf());
    Error::Invalid { rule, path, field, expected: expected.into(), found: found.into() }
}
