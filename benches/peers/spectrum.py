"""Bands and Fermi levels beside SciPy/LAPACK, on the same matrices, k points and cores, in one run.

    python spectrum.py --ours target/release/examples/spectrum [DIR ...] [--synthetic ORBITALS] [--threads 2]

DIR: unified DeepH folders. Of each: the bands at some k points (ours, dense, against scipy.linalg.eigh(H, S)) and the
Fermi level alone on a mesh (ours by inertia against eigh at every point of the same mesh, k and -k counted once in
both). --synthetic N: a made-up sparse cell of N orbitals, bands in full and the levels next to an energy (ours against
scipy.sparse.linalg.eigsh, shift-invert). Bloch sums are inside both sides' times, reading is not. Rounds alternate;
the ratio is the median of the rounds' ratios. Differences of the results are printed too: a time without them is worth
nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folders", nargs="*", type=Path)
parser.add_argument("--ours", type=Path, default=Path("target/release/examples/spectrum"))
parser.add_argument("--synthetic", type=int, default=0, metavar="ORBITALS")
parser.add_argument("--keep", type=Path, help="write the synthetic folder here")
parser.add_argument("--spacing", type=float, default=0.1, help="of the mesh, inverse angstrom (default %(default)s)")
parser.add_argument("--points", type=int, default=8, help="k points of the bands (default %(default)s)")
parser.add_argument("--count", type=int, default=20, help="levels of the sparse solvers (default %(default)s)")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()
# Before NumPy loads its BLAS.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = str(arguments.threads)

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402
import scipy.sparse  # noqa: E402
import scipy.sparse.linalg  # noqa: E402


class Operators:
    """H(R) and S(R) of a unified folder, spinless, one dense (or sparse) matrix for each R."""

    def __init__(self, folder, sparse=False):
        self.sparse = sparse
        info = json.loads((folder / "info.json").read_text())
        lines = (folder / "POSCAR").read_text().splitlines()
        self.lattice = float(lines[1]) * np.array([line.split()[:3] for line in lines[2:5]], dtype=float)
        symbols = [s for s, n in zip(lines[5].split(), lines[6].split()) for _ in range(int(n))]
        sizes = [sum(2 * l + 1 for l in info["elements_orbital_map"][s]) for s in symbols]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.size = int(self.starts[-1])
        self.electrons = info.get("occupation")
        self.h = self.read(folder / "hamiltonian.h5")
        self.s = self.read(folder / "overlap.h5")

    def read(self, path):
        with h5py.File(path) as h5:
            pairs, bounds, shapes, entries = (
                h5[name][:] for name in ("atom_pairs", "chunk_boundaries", "chunk_shapes", "entries")
            )
        cells = {}
        for pair, start, end, shape in zip(pairs.tolist(), bounds, bounds[1:], shapes):
            block = entries[start:end].reshape(shape)
            row, column = self.starts[pair[3]], self.starts[pair[4]]
            if self.sparse:
                i, j = np.indices(shape)
                cells.setdefault(tuple(pair[:3]), []).append((i.ravel() + row, j.ravel() + column, block.ravel()))
            else:
                cell = cells.setdefault(tuple(pair[:3]), np.zeros((self.size, self.size)))
                cell[row : row + shape[0], column : column + shape[1]] = block
        if self.sparse:
            for cell, parts in cells.items():
                rows, columns, values = (np.concatenate(part) for part in zip(*parts))
                cells[cell] = scipy.sparse.csc_matrix((values, (rows, columns)), shape=(self.size, self.size))
        return cells

    def at(self, k):
        def total(cells):
            result = 0
            for cell, matrix in cells.items():
                result = result + np.exp(2j * np.pi * np.dot(k, cell)) * matrix
            result = (result + result.conj().T) / 2
            real = not np.any(result.data.imag if self.sparse else result.imag)
            return result.real if real else result

        h, s = total(self.h), total(self.s)
        return (h.tocsc(), s.tocsc()) if self.sparse else (h, s)

    def eigenvalues(self, k):
        return scipy.linalg.eigh(*self.at(k), eigvals_only=True, overwrite_a=True, overwrite_b=True)

    def nearest(self, k, energy, count):
        h, s = self.at(k)
        return np.sort(scipy.sparse.linalg.eigsh(h, count, s, sigma=energy, return_eigenvectors=False))

    def mesh(self, spacing):
        """Divisions; points with one of k and -k; weights. One division along vectors without dispersion."""
        reciprocal = 2 * np.pi * np.linalg.inv(self.lattice).T
        reach = np.abs(np.array(list(self.h))).max(axis=0) > 0
        n = [int(np.ceil(np.linalg.norm(b) / spacing)) if r else 1 for b, r in zip(reciprocal, reach)]
        points, weights = [], []
        for index in np.ndindex(*n):
            opposite = tuple(-i % m for i, m in zip(index, n))
            if opposite >= index:
                points.append(np.array(index) / n)
                weights.append(1 if opposite == index else 2)
        return n, points, weights


def counting(values, weights, electrons):
    states = np.repeat(np.concatenate(values), np.repeat(weights, [len(v) for v in values]))
    states.sort()
    filled = int(sum(weights) * electrons / 2)
    return (states[filled - 1] + states[filled]) / 2


def ours(folder, task, points=(), **options):
    command = [str(arguments.ours), str(folder), "--tasks", task]
    for k in points:
        command += ["--k", ",".join(map(repr, map(float, k)))]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found[task]["seconds"], found[task]["result"]


def rounds(name, our_side, peer_side, difference):
    """Both sides in turn; their medians, the median ratio, the largest difference of the results."""
    ratios, our_times, peer_times = [], [], []
    for _ in range(arguments.rounds):
        our_time, our_result = our_side()
        start = time.perf_counter()
        peer_result = peer_side()
        peer_time = time.perf_counter() - start
        ratios.append(peer_time / our_time)
        our_times.append(our_time)
        peer_times.append(peer_time)
        error = difference(our_result, peer_result)
    result = {
        "case": name,
        "ours_s": statistics.median(our_times),
        "scipy_s": statistics.median(peer_times),
        "scipy_over_ours": statistics.median(ratios),
        "largest_difference_ev": float(error),
        "threads": arguments.threads,
        "load_1m": os.getloadavg()[0],
    }
    print(json.dumps(result), flush=True)


def largest(a, b):
    return max(np.abs(np.asarray(x) - np.asarray(y)).max() for x, y in zip(a, b))


def common(a, b):
    """The sparse solvers may add levels at the far end: those of the shorter list must be in the longer."""
    return max(max(np.abs(np.asarray(x) - e).min() for e in y) for x, y in zip(a, b))


def path(count):
    return [np.array([0.5 * n / max(count - 1, 1) + 0.01, 0.2 * n / max(count - 1, 1), 0.0]) for n in range(count)]


def dense_cases(folder):
    operators = Operators(folder)
    name = f"{folder.name}, {operators.size} orbitals"
    points = path(arguments.points)
    rounds(
        f"bands at {len(points)} k: {name}",
        lambda: ours(folder, "bands", points),
        lambda: [operators.eigenvalues(k) for k in points],
        largest,
    )
    if operators.electrons is None:
        return
    divisions, mesh, weights = operators.mesh(arguments.spacing)
    rounds(
        f"Fermi level alone on {divisions} ({len(mesh)} k): {name}",
        lambda: ours(folder, "inertia", mesh=",".join(map(str, divisions))),
        lambda: counting([operators.eigenvalues(k) for k in mesh], weights, operators.electrons),
        lambda level, peer: abs(level["fermi_ev"] - peer),
    )


def synthetic(folder, orbitals):
    """A slab of s and p orbitals on a square lattice, coupled to 12 neighbours, random blocks that fall off with
    distance; a gap is opened between two species of orbitals so that it has occupied and empty states."""
    random = np.random.default_rng(1)
    side = max(2, round((orbitals / 4) ** 0.5))
    atoms = side * side
    shells = {"C": [0, 1]}
    pairs = {}
    near = [(x, y) for x in range(-2, 3) for y in range(-2, 3) if 0 < x * x + y * y <= 4]
    for atom in range(atoms):
        pairs[(0, 0, 0, atom, atom)] = 0.0
        x, y = divmod(atom, side)
        for dx, dy in near:
            (cx, ix), (cy, iy) = divmod(x + dx, side), divmod(y + dy, side)
            pairs[(cx, cy, 0, atom, ix * side + iy)] = float(np.hypot(dx, dy))
    blocks = {}
    for (cx, cy, cz, i, j), distance in pairs.items():
        key, reverse = (cx, cy, cz, i, j), (-cx, -cy, -cz, j, i)
        if reverse in blocks:
            h, s = (block.T for block in blocks[reverse])
        elif distance == 0.0:
            h = random.normal(size=(4, 4)) * 0.3
            h, s = h + h.T + np.diag([-6.0, -6.0, 4.0, 4.0]), np.eye(4)
        else:
            h = random.normal(size=(4, 4)) * np.exp(-distance)
            s = random.normal(size=(4, 4)) * 0.05 * np.exp(-distance)
        blocks[key] = (h, s)
    keys = sorted(blocks)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{3.0 * side} 0 0", f"0 {3.0 * side} 0", "0 0 20"]
    places = [f"{3.0 * (n // side)} {3.0 * (n % side)} 10" for n in range(atoms)]
    (folder / "POSCAR").write_text("\n".join(["synthetic", "1.0", *rows, "C", str(atoms), "Cartesian", *places]) + "\n")
    info = {
        "atoms_quantity": atoms,
        "orbits_quantity": 4 * atoms,
        "orthogonal_basis": False,
        "spinful": False,
        "fermi_energy_eV": None,
        "elements_orbital_map": shells,
        "occupation": 4 * atoms,
    }
    (folder / "info.json").write_text(json.dumps(info))
    for number, name in enumerate(("hamiltonian.h5", "overlap.h5")):
        with h5py.File(folder / name, "w") as h5:
            h5["atom_pairs"] = np.array(keys, dtype=np.int64)
            h5["chunk_shapes"] = np.full((len(keys), 2), 4, dtype=np.int64)
            h5["chunk_boundaries"] = np.arange(len(keys) + 1, dtype=np.int64) * 16
            h5["entries"] = np.concatenate([blocks[key][number].ravel() for key in keys])


def sparse_cases(folder):
    operators = Operators(folder, sparse=True)
    name = f"synthetic, {operators.size} orbitals"
    points = path(2)
    dense = Operators(folder)
    rounds(
        f"bands at {len(points)} k: {name}",
        lambda: ours(folder, "bands", points),
        lambda: [dense.eigenvalues(k) for k in points],
        largest,
    )
    rounds(
        f"{arguments.count} levels next to -1 eV at {len(points)} k: {name}",
        lambda: ours(folder, "sparse", points, around=-1.0, count=arguments.count),
        lambda: [operators.nearest(k, -1.0, arguments.count) for k in points],
        common,
    )
    divisions, mesh, weights = [2, 2, 1], [np.array(k) for k in ((0, 0, 0), (0, 0.5, 0), (0.5, 0, 0), (0.5, 0.5, 0))], [1] * 4
    rounds(
        f"Fermi level alone on {divisions}: {name}",
        lambda: ours(folder, "inertia", mesh="2,2,1"),
        lambda: counting([dense.eigenvalues(k) for k in mesh], weights, operators.electrons),
        lambda level, peer: abs(level["fermi_ev"] - peer),
    )


for folder in arguments.folders:
    dense_cases(folder)
if arguments.synthetic:
    with tempfile.TemporaryDirectory() as temporary:
        target = arguments.keep or Path(temporary) / "synthetic"
        synthetic(target, arguments.synthetic)
        sparse_cases(target)
