"""A unified DeepH folder written as a legacy one, which is what DeepH-E3 reads.

Unified: POSCAR, info.json, hamiltonian.h5 (0-based pairs, m = -l..l inside a shell).
Legacy: element.dat, orbital_types.dat, lat.dat, site_positions.dat, info.json, hamiltonians.h5
(keys "[R1, R2, R3, i, j]", 1-based; OpenMX order inside a shell; eV in both).
"""

import json
import shutil

import h5py
import numpy as np

# Symbols in the order of their atomic numbers, from 1.
SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi"
).split()


# Place of each m = -l..l in OpenMX's shell: p is x, y, z; d is z2, x2-y2, xy, xz, yz; and f.
OPENMX = {0: [0], 1: [1, 2, 0], 2: [2, 4, 0, 3, 1], 3: [6, 4, 2, 0, 1, 3, 5]}


def openmx_positions(shells):
    """Where each orbital of the m = -l..l order stands in OpenMX's order, for one atom."""
    positions = []
    for l in shells:
        start = len(positions)
        positions.extend(start + place for place in OPENMX[l])
    return np.array(positions)


def read_poscar(path):
    """(lattice rows, atomic symbols, Cartesian positions) in Angstrom."""
    lines = path.read_text().splitlines()
    scale = float(lines[1])
    lattice = scale * np.array([line.split()[:3] for line in lines[2:5]], dtype=float)
    counts = [int(n) for n in lines[6].split()]
    symbols = [s for s, n in zip(lines[5].split(), counts) for _ in range(n)]
    rows = np.array([line.split()[:3] for line in lines[8 : 8 + len(symbols)]], dtype=float)
    cartesian = lines[7].strip()[:1] in ("C", "c", "K", "k")
    return lattice, symbols, scale * rows if cartesian else rows @ lattice


def place(source, target):
    """Puts the folder `source` at `target` as DeepH-E3 reads it: copied if legacy, else converted."""
    if (source / "hamiltonians.h5").is_file():
        shutil.copytree(source, target)
    else:
        from_unified(source, target)


def from_unified(source, target):
    """Writes the legacy twin of the unified folder `source` into the new folder `target`."""
    info = json.loads((source / "info.json").read_text())
    if info["spinful"]:
        raise ValueError(f"{source}/info.json: spinful: expected false, found true")
    lattice, symbols, positions = read_poscar(source / "POSCAR")
    shells = [info["elements_orbital_map"][s] for s in symbols]

    target.mkdir(parents=True)
    np.savetxt(target / "lat.dat", lattice.T, fmt="%.17g")
    np.savetxt(target / "site_positions.dat", positions.T, fmt="%.17g")
    np.savetxt(target / "element.dat", [SYMBOLS.index(s) + 1 for s in symbols], fmt="%d")
    orbital_types = [" ".join(str(l) for l in atom) for atom in shells]
    (target / "orbital_types.dat").write_text("\n".join(orbital_types) + "\n")
    (target / "info.json").write_text(json.dumps({"isspinful": False}))

    order = [openmx_positions(atom) for atom in shells]
    with h5py.File(source / "hamiltonian.h5") as h5:
        pairs, bounds, shapes, entries = (
            h5[name][:] for name in ("atom_pairs", "chunk_boundaries", "chunk_shapes", "entries")
        )
    with h5py.File(target / "hamiltonians.h5", "w") as h5:
        for pair, start, end, shape in zip(pairs.tolist(), bounds, bounds[1:], shapes):
            i, j = pair[3], pair[4]
            block = np.empty(shape, dtype=entries.dtype)
            block[np.ix_(order[i], order[j])] = entries[start:end].reshape(shape)
            h5[str([*pair[:3], i + 1, j + 1])] = block
