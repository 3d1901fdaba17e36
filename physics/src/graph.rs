//! The crystal graph: one directed edge for each stored pair of atoms, self-loops included, no cutoff.
//!
//! petgraph holds the graph for questions about it (reverse edges, connected parts); the network gets flat arrays, in
//! an order of its own: self-loops first, then by the pair of species, then as stored. Runs of equal weights are then
//! adjacent rows.

use crate::structure::crystal::Crystal;
use crate::{Error, Result};
use nalgebra::Vector3;
use petgraph::graph::{DiGraph, NodeIndex};
use tesseral_datasets::deeph::matrix::{AtomPair, reverse};

/// An edge i -> j of the crystal graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// The pair `[R1, R2, R3, i, j]`.
    pub pair: AtomPair,
    /// Its place in the list the graph was made from.
    pub stored: usize,
    /// r_j + R A - r_i, angstrom.
    pub vector: Vector3<f64>,
}

/// A crystal with its edges in the network's order.
#[derive(Clone, Debug)]
pub struct CrystalGraph {
    /// Species of each atom: place of its element among those of the model, by ascending atomic number.
    pub species: Vec<usize>,
    /// How many species the model knows.
    pub species_count: usize,
    /// The edges.
    pub edges: Vec<Edge>,
    /// How many of them, the first ones, are self-loops.
    pub self_loops: usize,
}

impl CrystalGraph {
    /// The graph of `pairs` on `crystal`; `elements` are the atomic numbers that the model knows, ascending.
    ///
    /// # Errors
    /// [`Error::Structure`] for an element that is not among them, an atom out of range, or no pair at all.
    pub fn new(name: &str, crystal: &Crystal, pairs: &[AtomPair], elements: &[u32]) -> Result<Self> {
        let structure = |what: String| Error::Structure { structure: name.to_string(), what };
        let species = crystal.species.iter().enumerate().map(|(atom, number)| {
            elements.iter().position(|e| e == number).ok_or_else(|| {
                let known: Vec<_> = elements.iter().map(|&e| symbol(e)).collect();
                structure(format!("atom {atom} is {}, the model knows {}", symbol(*number), known.join(", ")))
            })
        });
        let species = species.collect::<Result<Vec<usize>>>()?;
        if pairs.is_empty() {
            return Err(structure("no edge: the list of atom pairs is empty".into()));
        }
        let atoms = species.len() as i64;
        let mut edges = Vec::with_capacity(pairs.len());
        for (stored, pair) in pairs.iter().enumerate() {
            let [a, b, c, i, j] = *pair;
            if !(0..atoms).contains(&i) || !(0..atoms).contains(&j) {
                return Err(structure(format!("pair {pair:?}: atoms 0 to {} expected", atoms - 1)));
            }
            edges.push(Edge { pair: *pair, stored, vector: crystal.displacement([a, b, c], i as usize, j as usize) });
        }
        let class = |e: &Edge| species[e.pair[3] as usize] * elements.len() + species[e.pair[4] as usize];
        edges.sort_by_key(|e| (!is_self_loop(&e.pair), class(e), e.stored));
        let self_loops = edges.iter().filter(|e| is_self_loop(&e.pair)).count();
        Ok(CrystalGraph { species, species_count: elements.len(), edges, self_loops })
    }

    /// `[i, j]` of each edge.
    pub fn ends(&self) -> Vec<[usize; 2]> {
        self.edges.iter().map(|e| [e.pair[3] as usize, e.pair[4] as usize]).collect()
    }

    /// The class of each edge: species of i times the number of species plus species of j.
    pub fn classes(&self) -> Vec<usize> {
        self.ends().iter().map(|[i, j]| self.species[*i] * self.species_count + self.species[*j]).collect()
    }

    /// The same graph in petgraph's form: nodes carry the species, edges their place in [`Self::edges`].
    pub fn to_petgraph(&self) -> DiGraph<usize, usize> {
        let mut graph = DiGraph::with_capacity(self.species.len(), self.edges.len());
        self.species.iter().for_each(|s| {
            graph.add_node(*s);
        });
        for (k, [i, j]) in self.ends().into_iter().enumerate() {
            graph.add_edge(NodeIndex::new(i), NodeIndex::new(j), k);
        }
        graph
    }

    /// For each edge the one that runs back, (-R, j, i), where it is there.
    pub fn reverse_edges(&self) -> Vec<Option<usize>> {
        let graph = self.to_petgraph();
        let back = |edge: &Edge| {
            let [i, j] = [edge.pair[3], edge.pair[4]].map(|k| NodeIndex::new(k as usize));
            let wanted = reverse(&edge.pair);
            graph.edges_connecting(j, i).map(|e| *e.weight()).find(|&k| self.edges[k].pair == wanted)
        };
        self.edges.iter().map(back).collect()
    }

    /// Number of parts that no edge joins.
    pub fn components(&self) -> usize {
        petgraph::algo::connected_components(&self.to_petgraph())
    }
}

/// Whether the pair is an atom with itself in the same cell.
pub fn is_self_loop(pair: &AtomPair) -> bool {
    pair[..3] == [0, 0, 0] && pair[3] == pair[4]
}

fn symbol(number: u32) -> String {
    tesseral_datasets::elements::symbol(number).map_or_else(|| format!("Z = {number}"), str::to_string)
}
