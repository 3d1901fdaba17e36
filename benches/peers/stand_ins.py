"""Stand-ins for packages that DeepH-E3 imports but that only carry data around its network.

The original needs torch_scatter, torch_geometric, pymatgen, pathos and tensorboard. Their releases
of its time do not install beside a present PyTorch, and nothing that is timed or learned depends on
them: the network calls `scatter` and `degree` only, both of which are one torch call. `install`
puts the small replacements below into `sys.modules`, before the original is imported.
Network, labels, loss and targets stay the original's own code.
"""

import sys
import types
import weakref

import numpy as np
import torch
import torch.fx


def scatter(src, index, dim=-1, dim_size=None, reduce="sum"):
    """torch_scatter.scatter along dimension 0 for 'sum'/'add' and 'mean', by `index_add_`.

    torch_scatter itself uses `scatter_add_` with a broadcast index, whose backward is slower.
    """
    if dim != 0 or index.dim() != 1 or reduce not in ("sum", "add", "mean"):
        raise ValueError(
            f"stand-in scatter: expected dim 0, a 1-d index and sum, add or mean, "
            f"found dim {dim}, a {index.dim()}-d index and {reduce!r}"
        )
    count = int(index.max()) + 1 if dim_size is None else dim_size
    total = src.new_zeros((count, *src.shape[1:])).index_add_(0, index, src)
    if reduce == "mean":
        rows = degree(index, count, dtype=src.dtype).clamp_(min=1)
        total = total / rows.view(-1, *[1] * (src.dim() - 1))
    return total


def degree(index, num_nodes=None, dtype=None):
    """torch_geometric.utils.degree: how often each number occurs in `index`."""
    count = int(index.max()) + 1 if num_nodes is None else num_nodes
    zeros = torch.zeros(count, dtype=dtype, device=index.device)
    return zeros.scatter_add_(0, index, torch.ones_like(index, dtype=zeros.dtype))


class Data:
    """torch_geometric.data.Data as far as the original uses it: attributes, also by key."""

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def __getitem__(self, key):
        return getattr(self, key)

    @property
    def num_edges(self):
        """Edges of the graph."""
        return self.edge_index.shape[1]

    def to(self, device):
        """The same graph with its tensors on `device`."""
        moved = {k: v.to(device) if torch.is_tensor(v) else v for k, v in vars(self).items()}
        return type(self)(**moved)


class Batch(Data):
    """Several graphs as one: rows joined, node indices shifted, `batch` = graph of each node."""

    @classmethod
    def from_data_list(cls, graphs):
        """Joins the graphs; fields that are not tensors become lists."""
        counts = [len(g.x) for g in graphs]
        starts = np.cumsum([0] + counts[:-1]).tolist()
        fields = {}
        for key in vars(graphs[0]):
            values = [getattr(g, key) for g in graphs]
            if key == "edge_index":
                fields[key] = torch.cat([v + s for v, s in zip(values, starts)], dim=1)
            elif torch.is_tensor(values[0]):
                fields[key] = torch.cat(values)
            else:
                fields[key] = values
        batch = torch.repeat_interleave(torch.arange(len(graphs)), torch.tensor(counts))
        return cls(batch=batch, num_graphs=len(graphs), **fields)


class InMemoryDataset:
    """torch_geometric.data.InMemoryDataset holding a plain list of graphs."""

    @staticmethod
    def collate(graphs):
        """(data, slices) of the original; here the list itself."""
        return list(graphs), None

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index]


class Structure:
    """pymatgen's Structure as far as `AijData` reads it: Cartesian input, rows = lattice vectors."""

    def __init__(self, lattice, numbers, coords, coords_are_cartesian=True, to_unit_cell=False):
        assert coords_are_cartesian and not to_unit_cell
        matrix = np.array(lattice, dtype=float)
        self.lattice = types.SimpleNamespace(matrix=matrix)
        self.cart_coords = np.array(coords, dtype=float)
        self.frac_coords = self.cart_coords @ np.linalg.inv(matrix)
        self.atomic_numbers = [int(z) for z in numbers]


class Unused:
    """A name that the original imports and that no run of ours calls."""

    def __init__(self, *_args, **_kwargs):
        raise NotImplementedError("not part of the peer run")


def share_tracers():
    """Gives all proxies of one torch.fx graph one tracer, as e3nn 0.3.5's code generation expects.

    A present PyTorch refuses to combine proxies whose tracers are different objects.
    """
    proxy = torch.fx.Proxy
    tracers = weakref.WeakKeyDictionary()
    init = proxy.__init__

    def with_shared_tracer(self, node, tracer=None):
        if tracer is None:
            tracer = tracers.get(node.graph)
        init(self, node, tracer)
        tracers.setdefault(node.graph, self.tracer)

    proxy.__init__ = with_shared_tracer


def install():
    """Registers the stand-ins and lets `torch.load` read the files of e3nn and DeepH-E3."""
    modules = {
        "torch_scatter": {"scatter": scatter},
        "torch_geometric": {},
        "torch_geometric.data": {"Data": Data, "Batch": Batch, "InMemoryDataset": InMemoryDataset},
        "torch_geometric.utils": {"degree": degree},
        "torch_geometric.nn": {},
        "torch_geometric.nn.models": {},
        "torch_geometric.nn.models.dimenet": {"BesselBasisLayer": Unused},
        "pymatgen": {},
        "pymatgen.core": {},
        "pymatgen.core.structure": {"Structure": Structure},
        "pathos": {},
        "pathos.multiprocessing": {"ProcessingPool": Unused},
        "torch.utils.tensorboard": {"SummaryWriter": Unused},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module
    share_tracers()
    # e3nn's constants and AijData's graphs are pickles older than the weights_only default.
    load = torch.load
    torch.load = lambda *args, **kwargs: load(*args, **{"weights_only": False, **kwargs})
