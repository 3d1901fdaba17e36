"""Tesseral's stage 1 against the original DeepH-E3, alternately in one run on one machine.

    python compare.py --binary target/release/tesseral --config configs/NAME.toml DIR \
        --peer-python VENV/bin/python --source DeepH-E3 --rounds 3

Each round runs `tesseral physics bench` and then `deephe3.py` on the same folder. A ratio is taken
inside each round, so that both sides meet the same load, and the median over the rounds is quoted.
Memory is taken in the way that is less kind to us: ours as the system saw the whole process, the
original's before it shuts down; `less_libraries_mb` also drops what its imports alone occupy.
Prints a table to stderr and one JSON document to stdout.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

SPEEDS = ("forward_edges_per_s", "train_edges_per_s")
MEMORIES = ("peak_rss_mb", "less_libraries_mb")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="DeepH folder of one structure")
    parser.add_argument("--binary", default="target/release/tesseral")
    parser.add_argument("--config", required=True, help="stage 1 at the widths of the original")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--source", default=os.environ.get("DEEPHE3_SOURCE"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reps", type=int, default=15, help="timed calls of the original")
    parser.add_argument("--warm-up", type=int, default=6, help="untimed calls of the original")
    args = parser.parse_args()
    if args.source is None:
        parser.error("--source: expected a checkout of DeepH-E3 (or set DEEPHE3_SOURCE)")
    return args


def run(command, threads):
    """The last JSON object that `command` prints, and its peak memory (MB) as the system saw it."""
    environment = {
        **os.environ,
        "RAYON_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
    }
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{errors.read()[-2000:]}")
    result = last_object(output)
    if result is None:
        sys.exit(f"{' '.join(command)}: stdout: expected a JSON object, found {output[-500:]!r}")
    return result, usage.ru_maxrss / 1024


def last_object(text):
    """The whole text or its last line that is a JSON object."""
    for candidate in [text, *reversed(text.splitlines())]:
        try:
            value = json.loads(candidate)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict):
            return value
    return None


def main():
    """Rounds, ratios, table."""
    args = arguments()
    folder = str(args.folder)
    ours_command = [args.binary, "physics", "bench", "--config", args.config, folder, "--json"]
    peer_command = [args.peer_python, str(Path(__file__).with_name("deephe3.py"))]
    peer_command += ["--source", args.source, "--threads", str(args.threads)]
    peer_command += ["--reps", str(args.reps), "--warm-up", str(args.warm_up), folder]

    rounds = []
    for number in range(args.rounds):
        ours, seen_mb = run(ours_command, args.threads)
        peer, _ = run(peer_command, args.threads)
        ours["peak_rss_mb"] = ours["less_libraries_mb"] = max(ours["peak_rss_mb"], seen_mb)
        peer["less_libraries_mb"] = peer["peak_rss_mb"] - peer["imported_rss_mb"]
        if ours["edges"] != peer["edges"]:
            sys.exit(f"{folder}: edges: {ours['edges']} here, {peer['edges']} in the original")
        # The original declares a node output, lin_node, that nothing uses; ours leaves it out.
        counts = (ours.get("parameters"), peer["parameters"] - peer.get("unused_parameters", 65))
        if counts[0] not in (None, counts[1]):
            sys.exit(f"{args.config}: parameters: {counts[0]} here, {counts[1]} in the original")
        rounds.append({"ours": ours, "peer": peer, "load_1m": os.getloadavg()[0]})
        print(f"round {number + 1} of {args.rounds} done", file=sys.stderr)

    faster = {key: lambda ours, peer: ours / peer for key in SPEEDS}
    smaller = {key: lambda ours, peer: peer / ours for key in MEMORIES}
    summary = {}
    print(f"\n{'':22}{'Tesseral':>12}{'DeepH-E3':>12}{'advantage':>12}", file=sys.stderr)
    for key, advantage in {**faster, **smaller}.items():
        pairs = [(r["ours"][key], r["peer"][key]) for r in rounds]
        ours, peer = (median(side) for side in zip(*pairs))
        ratio = median(advantage(*pair) for pair in pairs)
        summary[key] = {"ours": ours, "peer": peer, "advantage": ratio}
        print(f"{key:22}{ours:12.1f}{peer:12.1f}{ratio:11.2f}x", file=sys.stderr)
    shares = [r["ours"]["gemm_share"] for r in rounds if "gemm_share" in r["ours"]]
    if shares:
        summary["gemm_share"] = median(shares)
        print(f"{'gemm_share':22}{median(shares):12.2f}", file=sys.stderr)
    print(json.dumps({"summary": summary, "threads": args.threads, "rounds": rounds}, indent=2))


if __name__ == "__main__":
    main()
