//! hamiltonian
