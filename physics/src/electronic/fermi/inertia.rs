//! Fermi level without eigenvectors and, but for a few k points, without eigenvalues.
//!
//! The number of levels of H(k) below an energy is the number of negative pivots of H(k) - e S(k) (Sylvester); one such
//! factorisation costs a small part of a diagonalisation. A few points of the mesh, the scouts, are solved; their levels
//! suggest energies at which the levels of all points are counted. Each count narrows, for the last filled and the first
//! empty state of the whole mesh, the interval in which it lies, and the points that still have levels there. When only
//! few are left these are solved too, and the state is read off. It is selection by sampling (Floyd and Rivest, Commun.
//! ACM 18, 165 (1975)) with a counting oracle, and it ends at the same eigenvalue as counting them all does. In an
//! insulator two factorisations a point show that no level lies between the edges the scouts had found.
//!
//! Small matrices are solved in full; in large ones only the levels within the interval are, by shift and invert.

use std::cmp::Ordering;
use std::sync::Arc;

use faer::Par;

use super::super::factor::Factor;
use super::super::krylov;
use super::super::pencil::{AnyPencil, Pencil, Places, Scalar};
use super::super::{Bloch, Mesh, dense, sparse};
use super::FermiLevel;
use crate::{Error, Result};

/// States nearer than this to a known one are taken for it, eV: the accuracy of the level.
const SAME_STATE: f64 = 2e-9;

/// Matrices up to this size are solved in full where they are solved, and up to the second one on meshes of at least so
/// many points, of which few are solved.
const SMALL: usize = 300;
const SMALL_ON_MESH: (usize, usize) = (1000, 16);

/// Larger ones are solved where no more levels than this lie within the interval.
const FEW_LEVELS: usize = 32;

/// Sparse factors pay below this filling, above this size.
const SPARSE: (f64, usize) = (0.2, 600);

/// Energies farther out than this are a sign of broken matrices, eV.
const FARTHEST: f64 = 1e7;

/// Fermi level of H and S on `mesh` by counting negative pivots; the same as [`super::by_counting`] to 2e-9 eV. The
/// direct gap is not known, since most points are never solved.
///
/// # Errors
/// More electrons than states, none at all; operators of different sizes; an overlap that is not positive definite (the
/// k point is named); a solver that does not converge.
pub fn by_inertia(
    hamiltonian: &Bloch,
    overlap: &Bloch,
    mesh: &Mesh,
    electrons: f64,
    spinful: bool,
) -> Result<FermiLevel> {
    let per_state = if spinful { 1.0 } else { 2.0 };
    let bands = electrons / per_state;
    let points: usize = mesh.weights.iter().sum();
    let filled = (points as f64 * bands) as usize;
    let size = hamiltonian.size();
    if filled == 0 || filled >= points * size {
        return Err(Error::Mismatch {
            what: "electrons in the cell".into(),
            expected: format!("more than 0 and fewer than {}", per_state * size as f64),
            found: electrons.to_string(),
        });
    }
    let mut search = Search::new(hamiltonian, overlap, mesh)?;
    search.scout(filled as f64 / points as f64)?;
    let valence_top_ev = search.state(filled)?;
    let conduction_bottom_ev = search.state(filled + 1)?;
    // A gap: some energy with the same whole number of levels below it at every point.
    let whole = bands.round() as usize;
    let mut insulating =
        (bands - bands.round()).abs() < 1e-6 && conduction_bottom_ev - valence_top_ev > 4.0 * SAME_STATE;
    if insulating {
        let middle = (valence_top_ev + conduction_bottom_ev) / 2.0;
        search.count_at(&[middle])?;
        insulating =
            search.counts.iter().any(|count| count.energy == middle && count.below.iter().all(|&n| n == whole));
    }
    Ok(FermiLevel {
        fermi_ev: (valence_top_ev + conduction_bottom_ev) / 2.0,
        gap_ev: if insulating { conduction_bottom_ev - valence_top_ev } else { 0.0 },
        direct_gap_ev: if insulating { None } else { Some(0.0) },
        valence_top_ev,
        conduction_bottom_ev,
        metal: !insulating,
        electrons,
        method: "inertia".into(),
    })
}

/// The levels below an energy, at every point and over the whole mesh.
#[derive(Clone, Debug)]
struct Count {
    energy: f64,
    below: Vec<usize>,
    total: usize,
}

/// The levels of a point between two energies.
#[derive(Clone, Debug)]
struct Solved {
    low: f64,
    high: f64,
    /// Levels below `low`.
    below: usize,
    /// Ascending.
    levels: Vec<f64>,
}

struct Search<'a> {
    hamiltonian: &'a Bloch,
    overlap: &'a Bloch,
    mesh: &'a Mesh,
    places: Places,
    /// Ascending in energy; the first and the last are beyond all levels.
    counts: Vec<Count>,
    /// For each point what is known of its levels.
    solved: Vec<Option<Solved>>,
    /// Points whose overlap was seen to be positive definite.
    checked: Vec<bool>,
}

impl<'a> Search<'a> {
    fn new(hamiltonian: &'a Bloch, overlap: &'a Bloch, mesh: &'a Mesh) -> Result<Self> {
        let (size, points) = (hamiltonian.size(), mesh.points.len());
        let mut places = Places::Dense;
        if size > SPARSE.1 || size != overlap.size() {
            let pattern = sparse::pattern(hamiltonian, overlap)?;
            if (pattern.places.row_idx().len() as f64) < SPARSE.0 * (size as f64).powi(2) {
                places = Places::Sparse(Arc::new(pattern));
            }
        }
        let beyond = |energy: f64, levels: usize| Count {
            energy,
            below: vec![levels; points],
            total: levels * mesh.weights.iter().sum::<usize>(),
        };
        let counts = vec![beyond(f64::NEG_INFINITY, 0), beyond(f64::INFINITY, size)];
        let (solved, checked) = (vec![None; points], vec![false; points]);
        Ok(Self { hamiltonian, overlap, mesh, places, counts, solved, checked })
    }

    fn size(&self) -> usize {
        self.hamiltonian.size()
    }

    /// Whether points are solved in full, not in an interval.
    fn in_full(&self) -> bool {
        let (size, points) = SMALL_ON_MESH;
        self.size() <= SMALL || (self.size() <= size && self.mesh.points.len() >= points)
    }

    /// Solve some points of the mesh, and count at all points where they suggest the Fermi level with `bands` filled.
    fn scout(&mut self, bands: f64) -> Result<()> {
        let points = self.mesh.points.len();
        if !self.in_full() {
            return self.scout_one(bands);
        }
        // Gamma, and others spread by the golden ratio, which does not fall in step with the rows of the mesh.
        let wanted = (points / 20).max(4).min(points);
        let mut scouts: Vec<usize> =
            (0..wanted).map(|n| ((n as f64 * 0.618_033_988_749_895).fract() * points as f64) as usize).collect();
        scouts.sort_unstable();
        scouts.dedup();
        self.solve(&scouts, [f64::NEG_INFINITY, f64::INFINITY])?;
        let weights: usize = scouts.iter().map(|&n| self.mesh.weights[n]).sum();
        let states = self.known([f64::NEG_INFINITY, f64::INFINITY]);
        let filled = weights as f64 * bands;
        let level = |rank: f64| {
            let mut seen = 0.0;
            let state = states.iter().find(|state| {
                seen += state.1 as f64;
                seen > rank
            });
            state.or(states.last()).map(|state| state.0)
        };
        let (Some(top), Some(bottom)) = (level(filled - 1.0), level(filled)) else { return Ok(()) };
        let whole = (bands.round() - bands).abs() < 1e-9;
        let mut suggested = vec![top + SAME_STATE, bottom - SAME_STATE];
        if !whole || bottom - top < 0.05 {
            // A metal, as far as is known: a few of the scouts' states to either side; never at a level itself, where the
            // count is open to rounding.
            let spread = 2.0 * weights as f64 / scouts.len() as f64;
            let beside = [(filled - 1.0 - spread, -SAME_STATE), (filled + spread, SAME_STATE)];
            suggested = beside.into_iter().filter_map(|(rank, step)| Some(level(rank)? + step)).collect();
        }
        self.count_at(&suggested)
    }

    /// The same from one point, whose levels next to the Fermi level are enclosed by counts first.
    fn scout_one(&mut self, bands: f64) -> Result<()> {
        let nearest = bands.round().clamp(1.0, self.size() as f64 - 1.0) as usize;
        // A point inside the zone stands for more than Gamma does.
        let point = self.mesh.points.len() / 2;
        let pencil = self.pencil(point, Par::rayon(0));
        check_overlap(&pencil)?;
        let below = |energy: f64| levels_below(&pencil, energy);
        let ([mut low, mut high], mut step) = ([0.0, 0.0], 1.0);
        let mut under = below(0.0)?;
        let mut over = under;
        while over <= nearest {
            (low, under) = (high, over);
            high += step;
            over = below(high)?;
            step *= 2.0;
            check_range(high, &pencil)?;
        }
        step = 1.0;
        while under >= nearest {
            (high, over) = (low, under);
            low -= step;
            under = below(low)?;
            step *= 2.0;
            check_range(low, &pencil)?;
        }
        // Once an energy with just `nearest` levels below it is found, close in on it from both sides.
        let mut gap: Option<[f64; 2]> = None;
        while over - under > FEW_LEVELS && high - low > SAME_STATE {
            let energy = match gap {
                // Between halving and interpolation, which alone can stall.
                None => low + (high - low) * (0.25 + 0.5 * (nearest - under) as f64 / (over - under) as f64),
                Some([left, _]) if nearest - under > over - nearest => (low + left) / 2.0,
                Some([_, right]) => (right + high) / 2.0,
            };
            let count = below(energy)?;
            match count.cmp(&nearest) {
                Ordering::Less => (low, under) = (energy, count),
                Ordering::Greater => (high, over) = (energy, count),
                Ordering::Equal => {
                    gap = Some(gap.map_or([energy; 2], |[left, right]| [left.min(energy), right.max(energy)]));
                }
            }
        }
        let levels = within(&pencil, [low, high], under, over - under)?;
        let (top, bottom) = (levels.get(nearest - 1 - under).copied(), levels.get(nearest - under).copied());
        self.solved[point] = Some(Solved { low, high, below: under, levels });
        self.checked[point] = true;
        let suggested: Vec<f64> =
            [top.map(|e| e + SAME_STATE), bottom.map(|e| e - SAME_STATE)].into_iter().flatten().collect();
        self.count_at(&suggested)
    }

    /// The state with `rank` states of the mesh up to and including it.
    fn state(&mut self, rank: usize) -> Result<f64> {
        loop {
            let after = self.counts.partition_point(|count| count.total < rank);
            let (low, high) = (self.counts[after - 1].clone(), self.counts[after].clone());
            let interval = [low.energy, high.energy];
            let known = self.known(interval);
            // The last state below `high`, or the first above `low`, when it is next to it.
            if let Some(&(state, _)) = known.last()
                && high.total == rank
                && high.energy - state < 2.0 * SAME_STATE
            {
                return Ok(state);
            }
            if let Some(&(state, _)) = known.first()
                && low.total + 1 == rank
                && state - low.energy < 2.0 * SAME_STATE
            {
                return Ok(state);
            }
            let inside = |n: usize| high.below[n] - low.below[n];
            let open: Vec<usize> =
                (0..self.mesh.points.len()).filter(|&n| inside(n) > 0 && !self.covers(n, interval)).collect();
            if open.is_empty() {
                let mut seen = low.total;
                let found = known.iter().find(|state| {
                    seen += state.1;
                    seen >= rank
                });
                return found.map(|state| state.0).ok_or_else(|| Error::Mismatch {
                    what: "levels of the mesh".into(),
                    expected: format!(
                        "{} between {} and {} eV by inertia",
                        high.total - low.total,
                        low.energy,
                        high.energy
                    ),
                    found: known.len().to_string(),
                });
            }
            let small = self.in_full();
            let solvable = |n: &usize| small || (inside(*n) <= FEW_LEVELS && interval.iter().all(|e| e.is_finite()));
            let next = self.suggestion(rank, &low, &high, &known);
            let few = open.len() <= (self.mesh.points.len() / 32).max(2);
            match next {
                // Many points and a good guess: count.
                Some(energy) if !(few && open.iter().all(solvable)) => self.count_at(&[energy])?,
                _ => {
                    let candidates: Vec<usize> = open.iter().copied().filter(solvable).collect();
                    if candidates.is_empty() {
                        self.count_at(&[middle(interval)])?;
                    } else {
                        // A few at a time while they may still teach where to count.
                        let share = if few { candidates.len() } else { candidates.len().div_ceil(8).max(2) };
                        let stride = candidates.len().div_ceil(share);
                        let chosen: Vec<usize> = candidates.into_iter().step_by(stride).collect();
                        self.solve(&chosen, interval)?;
                    }
                }
            }
            if interval.iter().any(|e| e.is_finite() && e.abs() > FARTHEST) {
                return Err(Error::Mismatch {
                    what: "levels of the mesh".into(),
                    expected: format!("energies within {FARTHEST} eV"),
                    found: format!("{interval:?}"),
                });
            }
        }
    }

    /// An energy inside the interval at which a count should halve what is open, from the known states in it.
    fn suggestion(&self, rank: usize, low: &Count, high: &Count, known: &[(f64, usize)]) -> Option<f64> {
        let sampled: usize = known.iter().map(|state| state.1).sum();
        let part = (rank - low.total) as f64 / (high.total - low.total) as f64;
        let mut seen = 0;
        let state = known.iter().find(|state| {
            seen += state.1;
            seen as f64 >= part * sampled as f64
        })?;
        // On the side of the nearer end, so that what is cut off is the larger part.
        let energy = if part > 0.5 { state.0 + SAME_STATE } else { state.0 - SAME_STATE };
        (energy - low.energy > SAME_STATE / 2.0 && high.energy - energy > SAME_STATE / 2.0).then_some(energy)
    }

    /// Known states in an open interval with their weights, ascending.
    fn known(&self, [low, high]: [f64; 2]) -> Vec<(f64, usize)> {
        let mut states: Vec<(f64, usize)> = Vec::new();
        for (solved, &weight) in self.solved.iter().zip(&self.mesh.weights) {
            let levels = solved.iter().flat_map(|solved| &solved.levels);
            states.extend(levels.filter(|&&e| e > low && e < high).map(|&e| (e, weight)));
        }
        states.sort_by(|a, b| a.0.total_cmp(&b.0));
        states
    }

    /// Whether all levels of a point in the interval are known.
    fn covers(&self, point: usize, [low, high]: [f64; 2]) -> bool {
        self.solved[point].as_ref().is_some_and(|solved| solved.low <= low && high <= solved.high)
    }

    /// Count the levels below `energies` at all points at which earlier counts leave a choice.
    fn count_at(&mut self, energies: &[f64]) -> Result<()> {
        let mut energies = energies.to_vec();
        energies.sort_by(f64::total_cmp);
        energies.dedup();
        energies.retain(|energy| self.counts.iter().all(|count| count.energy != *energy));
        let bounds: Vec<(usize, usize)> = energies
            .iter()
            .map(|energy| {
                let after = self.counts.partition_point(|count| count.energy < *energy);
                (after - 1, after)
            })
            .collect();
        let points: Vec<usize> = (0..self.mesh.points.len()).collect();
        let known = |point: usize, n: usize| {
            let (low, high) = (self.counts[bounds[n].0].below[point], self.counts[bounds[n].1].below[point]);
            let solved = self.solved[point].as_ref().filter(|s| s.low <= energies[n] && energies[n] <= s.high);
            if low == high {
                Some(low)
            } else {
                solved.map(|solved| solved.below + solved.levels.partition_point(|&e| e < energies[n]))
            }
        };
        let open: Vec<usize> =
            points.iter().copied().filter(|&p| (0..energies.len()).any(|n| known(p, n).is_none())).collect();
        let found = dense::over(&open, None, |&point, par| {
            let pencil = self.pencil(point, par);
            if !self.checked[point] {
                check_overlap(&pencil)?;
            }
            let below = |n: usize| known(point, n).map_or_else(|| levels_below(&pencil, energies[n]), Ok);
            (0..energies.len()).map(below).collect::<Result<Vec<usize>>>()
        })?;
        let mut new = Vec::new();
        for (n, &energy) in energies.iter().enumerate() {
            let mut below: Vec<usize> = points.iter().map(|&p| known(p, n).unwrap_or(0)).collect();
            open.iter().zip(&found).for_each(|(&point, counts)| below[point] = counts[n]);
            let total = below.iter().zip(&self.mesh.weights).map(|(count, weight)| count * weight).sum();
            new.push(Count { energy, below, total });
        }
        open.iter().for_each(|&point| self.checked[point] = true);
        self.counts.extend(new);
        self.counts.sort_by(|a, b| a.energy.total_cmp(&b.energy));
        Ok(())
    }

    /// Find the levels of these points in the interval: all, where matrices are small.
    fn solve(&mut self, points: &[usize], interval: [f64; 2]) -> Result<()> {
        let found = if self.in_full() {
            let k: Vec<[f64; 3]> = points.iter().map(|&point| self.mesh.points[point]).collect();
            let levels = dense::eigenvalues(self.hamiltonian, self.overlap, &k)?;
            let all = |levels| Solved { low: f64::NEG_INFINITY, high: f64::INFINITY, below: 0, levels };
            levels.into_iter().map(all).collect()
        } else {
            let count = |energy: f64| self.counts.iter().find(|count| count.energy == energy);
            let [under, over] = interval.map(|energy| count(energy).map(|count| &count.below));
            dense::over(points, None, |&point, par| {
                let below = under.map_or(0, |below| below[point]);
                let expected = over.map_or(0, |below| below[point]) - below;
                let levels = within(&self.pencil(point, par), interval, below, expected)?;
                Ok(Solved { low: interval[0], high: interval[1], below, levels })
            })?
        };
        for (&point, solved) in points.iter().zip(found) {
            self.solved[point] = Some(solved);
            self.checked[point] = true;
        }
        Ok(())
    }

    fn pencil(&self, point: usize, par: Par) -> AnyPencil {
        AnyPencil::new(self.hamiltonian, self.overlap, &self.places, self.mesh.points[point], par)
    }
}

fn middle([low, high]: [f64; 2]) -> f64 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => (low + high) / 2.0,
        (true, false) => low + 1.0 + low.abs(),
        (false, true) => high - 1.0 - high.abs(),
        (false, false) => 0.0,
    }
}

fn check_range(energy: f64, pencil: &AnyPencil) -> Result<()> {
    if energy.abs() < FARTHEST {
        return Ok(());
    }
    let what = format!("levels: expected energies within {FARTHEST} eV, found none up to there");
    Err(match pencil {
        AnyPencil::Real(pencil) => pencil.error(what),
        AnyPencil::Complex(pencil) => pencil.error(what),
    })
}

fn check_overlap(pencil: &AnyPencil) -> Result<()> {
    match pencil {
        AnyPencil::Real(pencil) => Factor::check_overlap(pencil),
        AnyPencil::Complex(pencil) => Factor::check_overlap(pencil),
    }
}

fn levels_below(pencil: &AnyPencil, energy: f64) -> Result<usize> {
    Ok(match pencil {
        AnyPencil::Real(pencil) => Factor::new(pencil, energy)?.levels_below(),
        AnyPencil::Complex(pencil) => Factor::new(pencil, energy)?.levels_below(),
    })
}

fn within(pencil: &AnyPencil, interval: [f64; 2], below: usize, expected: usize) -> Result<Vec<f64>> {
    fn of<T: Scalar>(pencil: &Pencil<T>, interval: [f64; 2], below: usize, expected: usize) -> Result<Vec<f64>> {
        Ok(krylov::within(pencil, interval, below, expected)?.energies)
    }
    match pencil {
        AnyPencil::Real(pencil) => of(pencil, interval, below, expected),
        AnyPencil::Complex(pencil) => of(pencil, interval, below, expected),
    }
}
