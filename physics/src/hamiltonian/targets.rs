//! What the network predicts for an edge: one flat vector of "targets", a target being a block between two shells.
//!
//! DeepH-E3's rule: over all ordered pairs of elements (by atomic number) and of shells, those that agree in
//! (l1, count of that l before it, l2, count of that l before it) share one target; first seen, first placed.

use super::basis::Basis;
use std::collections::HashMap;

/// One target: the degrees of its two shells, and where its elements start in the flat vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Degrees of the row shell and the column shell.
    pub degrees: [usize; 2],
    /// First of its `(2 l1 + 1)(2 l2 + 1)` elements, row-major.
    pub start: usize,
}

/// A target's place in the block of one pair of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the target.
    pub target: usize,
    /// First row and first column in the (spinless) block.
    pub corner: [usize; 2],
}

/// All targets of a basis.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    list: Vec<Target>,
    places: Vec<Vec<Place>>,
    species: usize,
    width: usize,
    spinful: bool,
}

impl Targets {
    /// The targets between all elements of `basis`, species being numbered by ascending atomic number.
    pub fn new(basis: &Basis) -> Self {
        let mut elements = basis.elements().to_vec();
        elements.sort_by_key(|(number, _)| *number);
        let shells: Vec<Vec<usize>> = elements.into_iter().map(|(_, shells)| shells).collect();
        Self::from_shells(&shells, basis.spinful())
    }

    /// As [`Self::new`] from the degrees of the shells of each species.
    pub fn from_shells(shells: &[Vec<usize>], spinful: bool) -> Self {
        // (degree, how many shells of that degree before it, first orbital) of each shell.
        let describe = |shells: &Vec<usize>| -> Vec<[usize; 3]> {
            let mut first = 0;
            let mut out = Vec::with_capacity(shells.len());
            for (k, &l) in shells.iter().enumerate() {
                out.push([l, shells[..k].iter().filter(|x| **x == l).count(), first]);
                first += 2 * l + 1;
            }
            out
        };
        let described: Vec<_> = shells.iter().map(describe).collect();
        let (mut list, mut width, mut seen) = (Vec::new(), 0, HashMap::new());
        let mut places = Vec::new();
        for a in &described {
            for b in &described {
                let mut of_pair = Vec::new();
                for [l1, n1, row] in a {
                    for [l2, n2, column] in b {
                        let target = *seen.entry([*l1, *n1, *l2, *n2]).or_insert_with(|| {
                            list.push(Target { degrees: [*l1, *l2], start: width });
                            width += (2 * l1 + 1) * (2 * l2 + 1);
                            list.len() - 1
                        });
                        of_pair.push(Place { target, corner: [*row, *column] });
                    }
                }
                places.push(of_pair);
            }
        }
        Targets { list, places, species: shells.len(), width, spinful }
    }

    /// Targets of these degrees that belong to no element: for tests of the maps alone.
    pub fn from_degrees(degrees: &[[usize; 2]], spinful: bool) -> Self {
        let mut width = 0;
        let mut next = |degrees: &[usize; 2]| {
            let start = width;
            width += (2 * degrees[0] + 1) * (2 * degrees[1] + 1);
            Target { degrees: *degrees, start }
        };
        let list = degrees.iter().map(&mut next).collect();
        Targets { list, places: Vec::new(), species: 0, width, spinful }
    }

    /// The targets in order.
    pub fn list(&self) -> &[Target] {
        &self.list
    }

    /// The targets in the block between two species (indices in ascending atomic number).
    pub fn places(&self, i: usize, j: usize) -> &[Place] {
        &self.places[i * self.species + j]
    }

    /// For each target the one of the same shells in the other order, to which the reversed edge belongs.
    pub fn transposed(&self) -> Vec<usize> {
        let mut partner: Vec<usize> = (0..self.list.len()).collect();
        for i in 0..self.species {
            for j in 0..self.species {
                for place in self.places(i, j) {
                    let [row, column] = place.corner;
                    let other = self.places(j, i).iter().find(|p| p.corner == [column, row]);
                    if let Some(other) = other {
                        partner[place.target] = other.target;
                    }
                }
            }
        }
        partner
    }

    /// Elements of the flat vector of one spin component.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether blocks are complex, with four spin components uu, ud, du, dd.
    pub fn spinful(&self) -> bool {
        self.spinful
    }

    /// Real numbers per edge: `width`, or real parts `[4, width]` then imaginary parts `[4, width]`.
    pub fn columns(&self) -> usize {
        if self.spinful { 8 * self.width } else { self.width }
    }

    /// Calls `f(element of the flat vector, row, column)` for each element of the spinless block of two species.
    pub fn for_each_element(&self, i: usize, j: usize, mut f: impl FnMut(usize, usize, usize)) {
        for place in self.places(i, j) {
            let Target { degrees: [l1, l2], start } = self.list[place.target];
            for a in 0..2 * l1 + 1 {
                for b in 0..2 * l2 + 1 {
                    f(start + a * (2 * l2 + 1) + b, place.corner[0] + a, place.corner[1] + b);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_between_elements_by_degree_and_rank() {
        let t = Targets::from_shells(&[vec![0, 0, 1], vec![0, 1, 1]], false);
        let degrees: Vec<[usize; 2]> = t.list().iter().map(|t| t.degrees).collect();
        let expected = [
            [0, 0],
            [0, 0],
            [0, 1],
            [0, 0],
            [0, 0],
            [0, 1],
            [1, 0],
            [1, 0],
            [1, 1],
            [0, 1],
            [0, 1],
            [1, 1],
            [1, 0],
            [1, 0],
            [1, 1],
            [1, 1],
        ];
        assert_eq!(degrees, expected);
        assert_eq!(t.width(), 64);
        // The second element's first p shell is the first element's only one.
        assert_eq!(t.places(1, 1)[1].target, t.places(0, 0)[2].target);
        let mut hits = [0; 25];
        for i in 0..2 {
            for j in 0..2 {
                hits.fill(0);
                let columns = if j == 0 { 5 } else { 7 };
                let mut count = 0;
                t.for_each_element(i, j, |_, r, c| {
                    assert!(c < columns);
                    if r * columns + c < 25 {
                        hits[r * columns + c] += 1;
                    }
                    count += 1;
                });
                assert_eq!(count, [5, 7][i] * columns);
                assert!(hits.iter().all(|h| *h == 1));
            }
        }
    }
}
