"""Writes the files beside it: python make.py, made with torch 2.13.0 and Python 3.11."""

import pickle
from collections import OrderedDict
from pathlib import Path

import torch

folder = Path(__file__).parent
whole = torch.arange(24.0).reshape(4, 6) / 8
state = OrderedDict(
    weight=torch.nn.Parameter(whole[:2].clone()),
    transposed=whole.t(),
    part=whole[1:3, 2:5],
    half=whole[0].half(),
    bfloat=whole[0].bfloat16(),
    double=whole[0].double(),
    count=torch.tensor(7),
)
torch.save(state, folder / "zip.pt")
torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
for protocol in (2, 4):
    with open(folder / f"protocol{protocol}.pkl", "wb") as file:
        pickle.dump({"ema": state}, file, protocol=protocol)
