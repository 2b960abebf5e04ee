"""Reads a network of this project into PyTorch, as deepinv's NCSNpp, and compares it with `eps model denoise`.

python3 -m pip install torch torchvision safetensors deepinv==0.5.0
python3 docs/guide/pytorch.py data/networks/photos-32/long-prior.safetensors
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from deepinv.models import NCSNpp
from safetensors import safe_open


def load(path):
    """The prior of a file, D(x; sigma) on [-1, 1], and its configuration."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["eps"])
        weights = {name.removeprefix("model."): file.get_tensor(name).float() for name in file.keys()}
    network, precondition = config["network"], config["precondition"]
    if network["model_type"] != "SongUNet" or config["conditions"] or precondition["mode"] != "scalar":
        raise SystemExit(f"{path}: deepinv has no such network: give a prior of the type SongUNet, scalar and without conditions")
    same = ("img_resolution", "in_channels", "out_channels", "label_dim", "augment_dim", "model_channels")
    same += ("channel_mult", "channel_mult_emb", "num_blocks", "attn_resolutions")
    model = NCSNpp(
        model_type="ddpm" if network["embedding_type"] == "positional" else "ncsn",
        precondition_type="edm",
        dropout=0.0,
        pretrained=None,
        pixel_std=precondition["sigma_data"],
        **{name: network[name] for name in same},
    )
    # The taps of the filters between levels are constants, which the file leaves out.
    missing, unknown = model.load_state_dict(weights, strict=False)
    assert not unknown and all("resample_filter" in name for name in missing), (missing, unknown)
    # deepinv normalises in 32 groups always, EDM's code in groups of 4 channels at least: the same from 128 channels on.
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.num_groups = min(32, module.num_channels // 4)
    return model.eval(), config


def denoise(model, x, sigma, sigma_data):
    """E[x_0 | x_0 + sigma noise = x], as EDM preconditions its networks."""
    total = sigma**2 + sigma_data**2
    c_noise = torch.full([len(x)], sigma).log() / 4
    raw = model.forward_unet(x / total**0.5, c_noise)
    return sigma_data**2 / total * x + sigma * sigma_data / total**0.5 * raw


if __name__ == "__main__":
    path = sys.argv[1]
    model, config = load(path)
    network = config["network"]
    shape = (network["out_channels"], network["img_resolution"], network["img_resolution"])
    for sigma in (0.05, 1.0, 20.0):
        x = np.random.default_rng(0).standard_normal(shape) * (sigma**2 + 0.25) ** 0.5
        with torch.no_grad():
            here = denoise(model, torch.tensor(x[None], dtype=torch.float32), sigma, config["precondition"]["sigma_data"])
        with tempfile.TemporaryDirectory() as folder:
            image, out = pathlib.Path(folder, "x.npy"), pathlib.Path(folder, "d.npy")
            np.save(image, x)
            command = ["cargo", "run", "--quiet", "--release", "--bin", "eps", "--", "model", "denoise", path]
            subprocess.run([*command, "--image", image, "--sigma", str(sigma), "--out", out], check=True)
            there = np.load(out)
        print(f"sigma {sigma}: the largest difference is {abs(here[0].numpy() - there).max():.1e}")
