#!/usr/bin/env python3
"""Writes pytorch_model.bin beside this file: `python3 generate.py`, PyTorch 2.15. What is in it is plain to see below;
the test that reads it has the same numbers."""

from pathlib import Path

import torch

count = torch.arange(24, dtype=torch.float32)
state = {
    "plain": count[:6].reshape(2, 3),
    "half": (count[:4] / 8).to(torch.float16),
    "brain": (count[:4] / 4).to(torch.bfloat16),
    "transposed": count[:6].reshape(3, 2).T,
    "part": count.reshape(4, 6)[1:3],
    "parameter": torch.nn.Parameter(-count[:2]),
    "layer.rotary_emb.inv_freq": count[:2],
}
torch.save(state, Path(__file__).with_name("pytorch_model.bin"))
