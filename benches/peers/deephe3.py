"""DeepH-E3, the original, measured on the same structures as Tesseral.

Runs the unmodified network, labels, targets and loss of github.com/Xiaoxun-Gong/DeepH-E3 (MIT, not
part of this project) with e3nn 0.3.5 on PyTorch, CPU, float32, batch 1. See README.md for set-up.

    python deephe3.py --source DeepH-E3 DIR            speed of one structure: one JSON line
    python deephe3.py --source DeepH-E3 --train SET --minutes 30    accuracy: one JSON line an epoch

DIR is a DeepH folder, legacy or unified; SET holds dft/<name>/ (unified) and dataset_split.json.
All talk of the original goes to stderr.
"""

import argparse
import contextlib
import json
import math
import os
import resource
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from statistics import median


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="DeepH folder, or with --train the set")
    parser.add_argument(
        "--source",
        type=Path,
        default=os.environ.get("DEEPHE3_SOURCE"),
        help="checkout of DeepH-E3 (default: DEEPHE3_SOURCE)",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=15, help="timed calls of each kind")
    parser.add_argument("--warm-up", type=int, default=6, help="calls before timing")
    parser.add_argument("--irreps", default="", help="features (default: the original's)")
    parser.add_argument("--lmax", type=int, default=0, help="spherical harmonics (default: 4)")
    parser.add_argument("--train", action="store_true", help="train on the set `folder`")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="wall clock of the training steps")
    budget.add_argument("--epochs", type=int, help="instead of --minutes")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--max-steps", type=int, default=0, help="stop early (trial runs)")
    args = parser.parse_args()
    if args.source is None or not (args.source / "deephe3" / "model.py").is_file():
        parser.error(f"--source: expected a checkout of DeepH-E3, found {args.source}")
    if args.train and not (args.minutes or args.epochs):
        parser.error("--train needs --minutes or --epochs")
    return args


def peak_rss_mb():
    """High-water mark of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Peer:
    """The original network with its labelled graphs."""

    def __init__(self, args, work):
        """`work`: a folder for the original's files, with the structures (legacy) in `raw/`."""
        import torch
        from deephe3 import AijData, Collater, Net, e3TensorDecomp
        from deephe3.kernel import DatasetInfo, NetOutInfo
        from deephe3.parse_configs import TrainConfig
        from deephe3.utils import MaskMSELoss, set_random_seed

        self.torch = torch
        torch.set_default_dtype(torch.float32)
        set_random_seed(args.seed)
        dataset = AijData(
            raw_data_dir=str(work / "raw"),
            graph_dir=str(work / "graph"),
            target="hamiltonian",
            dataset_name="peer",
            multiprocessing=False,
            radius=-1,
            max_num_nbr=0,
            edge_Aij=True,
            default_dtype_torch=torch.float32,
        )

        settings = [f"[basic]\nsave_dir = {work}/run\nseed = {args.seed}\n[network]"]
        if args.irreps:
            scalars = args.irreps.split("+")[0]
            settings += [f"irreps_mid = {args.irreps}", f"irreps_embed = {scalars}"]
        if args.lmax:
            settings += [f"spherical_harmonics_lmax = {args.lmax}"]
        (work / "train.ini").write_text("\n".join(settings) + "\n")
        config = TrainConfig(str(work / "train.ini"))
        info = DatasetInfo.from_dataset(dataset)
        config.set_target(info.orbital_types, info.index_to_Z, info.spinful, None)
        dataset.set_mask(config.target_blocks)
        targets = NetOutInfo(config.target_blocks, info)

        self.net = Net(
            num_species=len(info.index_to_Z),
            irreps_embed_node=config.irreps_embed_node,
            irreps_edge_init=config.irreps_edge_init,
            irreps_sh=config.irreps_sh,
            irreps_mid_node=config.irreps_mid_node,
            irreps_post_node=config.irreps_post_node,
            irreps_out_node=config.irreps_out_node,
            irreps_mid_edge=config.irreps_mid_edge,
            irreps_post_edge=config.irreps_post_edge,
            irreps_out_edge=config.net_out_irreps,
            num_block=config.num_blocks,
            r_max=config.cutoff_radius,
            use_sc=True,
            no_parity=config.no_parity,
            use_sbf=config.use_sbf,
            only_ij=config.only_ij,
            if_sort_irreps=False,
        )
        self.blocks = e3TensorDecomp(
            config.net_out_irreps, targets.js, torch.float32, spinful=info.spinful
        )
        self.criterion = MaskMSELoss()
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.parameters = sum(p.numel() for p in trained)
        self.optimiser = torch.optim.Adam(trained, lr=config.lr, betas=config.adam_betas)
        collate = Collater()
        self.batches = {graph.stru_id: collate([graph]) for graph in dataset}

    def hamiltonian(self, batch):
        """Net and H blocks: (edges, matrix elements), eV."""
        return self.blocks.get_H(self.net(batch)[1])

    def gradient(self, batch):
        """Loss (eV^2) with its gradient left on the parameters."""
        self.optimiser.zero_grad()
        loss = self.criterion(self.hamiltonian(batch), batch.label, batch.mask)
        loss.backward()
        return loss

    def step(self, batch):
        """One optimiser step; returns the loss before it."""
        loss = self.gradient(batch)
        self.optimiser.step()
        return loss.item()

    def errors(self, names):
        """(MAE in meV, MSE in eV^2): plain means over all stored elements of these structures."""
        absolute = squared = count = 0
        self.net.eval()
        with self.torch.no_grad():
            for name in names:
                batch = self.batches[name]
                error = (self.hamiltonian(batch) - batch.label)[batch.mask].double()
                absolute += error.abs().sum().item()
                squared += error.square().sum().item()
                count += error.numel()
        self.net.train()
        return 1e3 * absolute / count, squared / count


def timed(reps, warm_up, call):
    """(median, minimum) seconds of `call` over `reps`, after `warm_up` untimed ones.

    TorchScript profiles and compiles in the first calls.
    """
    seconds = []
    for k in range(warm_up + reps):
        start = time.perf_counter()
        call()
        if k >= warm_up:
            seconds.append(time.perf_counter() - start)
    return median(seconds), min(seconds)


def bench(args, peer, imported_mb, emit):
    """Speed on one structure."""
    (batch,) = peer.batches.values()
    with peer.torch.no_grad():
        forward, forward_min = timed(args.reps, args.warm_up, lambda: peer.hamiltonian(batch))
    train, train_min = timed(args.reps, args.warm_up, lambda: peer.step(batch))
    edges = batch.num_edges
    emit(
        impl="DeepH-E3 (original)",
        edges=edges,
        parameters=peer.parameters,
        threads=peer.torch.get_num_threads(),
        forward_s=forward,
        train_s=train,
        forward_edges_per_s=edges / forward,
        train_edges_per_s=edges / train,
        peak_rss_mb=peak_rss_mb(),
        forward_min_s=forward_min,
        train_min_s=train_min,
        # Libraries alone: a PyTorch built for GPUs maps some hundred MB that a CPU build does not.
        imported_rss_mb=imported_mb,
        reps=args.reps,
        load_1m=os.getloadavg()[0],
        versions={
            "python": sys.version.split()[0],
            **{p: version(p) for p in ("torch", "e3nn", "opt_einsum_fx", "numpy")},
        },
    )


def train(args, peer, split, emit):
    """The original's recipe with a cosine instead of its plateau schedule, which needs days.

    Adam 2e-3, batch 1; the rate falls as a cosine to 3e-5 over the budget, and only training steps
    spend the budget: evaluation and TorchScript's first calls do not.
    """
    first, last = 2e-3, 3e-5
    order = peer.torch.Generator().manual_seed(args.seed)
    names = split["train"]
    for name in names[:3]:
        peer.gradient(peer.batches[name])

    spent, steps, epoch = 0.0, 0, 0
    budget = args.minutes * 60 if args.minutes else None

    def progress():
        done = spent / budget if budget else steps / (args.epochs * len(names))
        return 1.0 if args.max_steps and steps >= args.max_steps else done

    while progress() < 1:
        losses = []
        for k in peer.torch.randperm(len(names), generator=order).tolist():
            rate = last + (first - last) * (1 + math.cos(math.pi * progress())) / 2
            for group in peer.optimiser.param_groups:
                group["lr"] = rate
            start = time.perf_counter()
            losses.append(peer.step(peer.batches[names[k]]))
            spent += time.perf_counter() - start
            steps += 1
            if progress() >= 1:
                break
        epoch += 1
        test_mae, test_mse = peer.errors(split["test"])
        emit(
            impl="DeepH-E3 (original)",
            epoch=epoch,
            steps=steps,
            train_s=spent,
            lr=rate,
            train_mse_ev2=sum(losses) / len(losses),
            validate_mae_mev=peer.errors(split["validate"])[0],
            test_mae_mev=test_mae,
            test_mse_ev2=test_mse,
            load_1m=os.getloadavg()[0],
        )


def main():
    """Chooses the run."""
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read once, when torch is loaded
    out = sys.stdout

    def emit(**fields):
        print(json.dumps(fields), file=out, flush=True)

    here = Path(__file__).resolve().parent
    sys.path[0] = str(here)
    import legacy
    import stand_ins

    warnings.simplefilter("ignore")  # deprecations that an old e3nn meets in a present PyTorch
    stand_ins.install()
    sys.path.insert(0, str(args.source.resolve()))
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as work:
        work = Path(work)
        import torch

        import deephe3  # noqa: F401  the original package, not this file

        torch.set_num_threads(args.threads)
        imported_mb = peak_rss_mb()
        split = None
        if args.train:
            split = json.loads((args.folder / "dataset_split.json").read_text())
            used = [name for part in ("train", "validate", "test") for name in split[part]]
            folders = [args.folder / "dft" / name for name in used]
        else:
            folders = [args.folder.resolve()]
        for folder in folders:
            legacy.place(folder, work / "raw" / folder.name)
        peer = Peer(args, work)
        if args.train:
            train(args, peer, split, emit)
        else:
            bench(args, peer, imported_mb, emit)


if __name__ == "__main__":
    main()
