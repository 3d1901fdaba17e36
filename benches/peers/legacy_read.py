"""Reading legacy DeepH folders: Tesseral beside h5py, same work, same machine, in one run.

    python3 benches/peers/legacy_read.py DIR.. --peer-python peer/bin/python [--synthetic 20000] [--rounds 7] [--json]

Both sides read every dataset of hamiltonians.h5 and overlaps.h5 into memory: h5py into a dict of arrays, Tesseral
(`cargo run --release --example read_legacy`) into its block matrix, checked and brought to its orbital order. The
sides alternate, each round is a fresh process that reads three times; the fastest reading of a side counts, so the
file is in the page cache and other load on the machine hurts both alike. --synthetic adds a folder of that many
pairs, written by this script to a temporary folder. memory_ratio is what the process grew by while it read (peak
resident memory less that of the same process before it opened the files), over the size of both files.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

FILES = ["hamiltonians.h5", "overlaps.h5"]
HERE = os.path.dirname(os.path.abspath(__file__))


def measure_h5py(folder):
    """The peer's side: best of three readings, and the peak of memory. Runs under --peer-python."""
    import time

    import h5py

    def peak_mb():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

    before, best = peak_mb(), float("inf")
    for _ in range(3):
        start = time.perf_counter()
        blocks, elements = [], 0
        for name in FILES:
            with h5py.File(os.path.join(folder, name), "r") as file:
                blocks.append({key: dataset[()] for key, dataset in file.items()})
        best = min(best, time.perf_counter() - start)
        elements = sum(block.size for part in blocks for block in part.values())
        del blocks
    print(json.dumps({"seconds": best, "elements": elements, "grown_mb": peak_mb() - before}))


def write_synthetic(folder, pairs):
    """A folder of `pairs` pairs of carbon atoms with shells 0 0 1 1 2, h5py's default layout as DeepH writes it."""
    import h5py
    import numpy as np

    shells, orbitals = "0 0 1 1 2", 13
    # A ring of atoms, each paired with its neighbours on both sides up to `reach`, and with itself.
    atoms = max(3, round(pairs**0.5))
    reach = min((pairs // atoms - 1) // 2, (atoms - 1) // 2)
    random = np.random.default_rng(1)
    os.makedirs(folder, exist_ok=True)
    write = lambda name, text: open(os.path.join(folder, name), "w").write(text)
    write("element.dat", "6\n" * atoms)
    write("orbital_types.dat", f"{shells}\n" * atoms)
    write("lat.dat", f"{2.5 * atoms} 0 0\n0 10 0\n0 0 10\n")
    write("rlat.dat", f"{2 * np.pi / (2.5 * atoms)} 0 0\n0 {np.pi / 5} 0\n0 0 {np.pi / 5}\n")
    write("site_positions.dat", " ".join(str(2.5 * i) for i in range(atoms)) + "\n" + 2 * ("0 " * atoms + "\n"))
    write("info.json", json.dumps({"isspinful": False, "fermi_level": 0.0}))
    files = [h5py.File(os.path.join(folder, name), "w") for name in FILES]
    for file in files:
        for i in range(atoms):
            for step in range(-reach, reach + 1):
                cell, j = divmod(i + step, atoms)
                key = f"[{cell}, 0, 0, {i + 1}, {j + 1}]"
                file[key] = random.standard_normal((orbitals, orbitals))
        file.close()


def run(command):
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with h5py")
    parser.add_argument("--example", help="the built example; by default built with cargo")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--synthetic", type=int, default=0, metavar="PAIRS")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=["h5py", "write"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side == "h5py":
        return measure_h5py(arguments.folders[0])
    if arguments.side == "write":
        return write_synthetic(arguments.folders[0], arguments.synthetic)
    example = arguments.example
    if example is None:
        root = os.path.join(HERE, "..", "..")
        subprocess.run(["cargo", "build", "--release", "--example", "read_legacy"], cwd=root, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
        example = os.path.join(target, "release", "examples", "read_legacy")
    peer = [arguments.peer_python, os.path.abspath(__file__), "--side"]
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folders = list(arguments.folders)
        if arguments.synthetic:
            folder = os.path.join(temporary, "synthetic")
            subprocess.run(peer + ["write", folder, "--synthetic", str(arguments.synthetic)], check=True)
            folders.append(folder)
        for folder in folders:
            size_mb = sum(os.path.getsize(os.path.join(folder, name)) for name in FILES) / 2**20
            rounds = [(run(peer + ["h5py", folder]), run([example, folder])) for _ in range(arguments.rounds)]
            theirs, ours = (min((r[side] for r in rounds), key=lambda r: r["seconds"]) for side in (0, 1))
            if theirs["elements"] != ours["elements"]:
                sys.exit(f"{folder}: h5py read {theirs['elements']} elements, Tesseral {ours['elements']}")
            results.append({
                "folder": os.path.basename(os.path.normpath(folder)),
                "size_mb": size_mb,
                "h5py_ms": 1e3 * theirs["seconds"],
                "tesseral_ms": 1e3 * ours["seconds"],
                "ratio": theirs["seconds"] / ours["seconds"],
                "h5py_memory_ratio": theirs["grown_mb"] / size_mb,
                "tesseral_memory_ratio": ours["grown_mb"] / size_mb,
                "tesseral_peak_mb": ours["peak_mb"],
            })
    if arguments.json:
        return print(json.dumps({"load_1m": os.getloadavg()[0], "results": results}, indent=1))
    print(f"load {os.getloadavg()[0]:.1f}; best of {3 * arguments.rounds} readings a side")
    print(f"{'folder':24} {'MB':>8} {'h5py ms':>9} {'ours ms':>9} {'ratio':>6} {'memory/file h5py':>17} {'ours':>6}")
    for r in results:
        print(f"{r['folder']:24} {r['size_mb']:8.2f} {r['h5py_ms']:9.1f} {r['tesseral_ms']:9.1f} {r['ratio']:6.1f} "
              f"{r['h5py_memory_ratio']:17.2f} {r['tesseral_memory_ratio']:6.2f}")


if __name__ == "__main__":
    main()
