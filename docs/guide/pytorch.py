"""Reads a prior of this project into PyTorch and compares it with `eps model denoise`.

python3 -m pip install torch torchvision safetensors deepinv==0.5.0 diffusers
python3 docs/guide/pytorch.py data/networks/photos-32/long-prior.safetensors

EDM's networks (SongUNet) become deepinv's NCSNpp, diffusers' (UNet2DModel) those of diffusers, and guided-diffusion's
(UNetModel), where they are of the size of ffhq_10m or of 256x256_diffusion_uncond, deepinv's DiffUNet. Only the library of
the file's own family is needed.

python3 docs/guide/pytorch.py --random ffhq_10m.pt    # DiffUNet with random weights, for `eps import`
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors import safe_open


def read(path):
    """The configuration of a prior and its tensors."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["eps"])
        weights = {name.removeprefix("model."): file.get_tensor(name).float() for name in file.keys()}
    if config["conditions"] or config["precondition"]["mode"] != "scalar":
        raise SystemExit(f"{path} reads {', '.join(config['conditions'])} beside an image, which these classes do not: give a prior")
    return config, weights


def song_unet(config, weights):
    """D(x; sigma) by deepinv's NCSNpp, preconditioned as EDM does."""
    from deepinv.models import NCSNpp

    network = config["network"]
    same = ("img_resolution", "in_channels", "out_channels", "label_dim", "augment_dim", "model_channels")
    same += ("channel_mult", "channel_mult_emb", "num_blocks", "attn_resolutions")
    model = NCSNpp(
        model_type="ddpm" if network["embedding_type"] == "positional" else "ncsn",
        precondition_type="edm",
        dropout=0.0,
        pretrained=None,
        pixel_std=config["precondition"]["sigma_data"],
        **{name: network[name] for name in same},
    )
    # The taps of the filters between levels are constants, which the file leaves out.
    missing, unknown = model.load_state_dict(weights, strict=False)
    assert not unknown and all("resample_filter" in name for name in missing), (missing, unknown)
    # deepinv normalises in 32 groups always, EDM's code in groups of 4 channels at least: the same from 128 channels on.
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.num_groups = min(32, module.num_channels // 4)
    model.eval()

    def denoise(x, sigma):
        data = config["precondition"]["sigma_data"]
        total = sigma**2 + data**2
        raw = model.forward_unet(x / total**0.5, torch.full([len(x)], sigma).log() / 4)
        return data**2 / total * x + sigma * data / total**0.5 * raw

    return denoise, (network["out_channels"], network["img_resolution"])


def unet_2d_model(config, weights):
    """D(x; sigma) by diffusers' UNet2DModel."""
    from diffusers import UNet2DModel

    network = {name: value for name, value in config["network"].items() if name not in ("model_type", "learn_sigma")}
    model = UNet2DModel.from_config(network)
    model.load_state_dict(weights)
    model.eval()
    denoise = of_a_chain(config["parameterisation"], lambda x, t: model(x, t).sample[:, : x.shape[1]])
    return denoise, (network["in_channels"], network["sample_size"])


def unet_model(config, weights):
    """D(x; sigma) by deepinv's DiffUNet, which is guided-diffusion's UNetModel in two sizes."""
    from deepinv.models import DiffUNet

    network = config["network"]
    is_large = network["num_channels"] == 256
    model = DiffUNet(in_channels=3, out_channels=3, large_model=is_large, pretrained=None)
    # Two of its tensors are of its chain.
    shapes = {name: value.shape for name, value in model.state_dict().items() if "alphas_cumprod" not in name}
    if shapes != {name: value.shape for name, value in weights.items()}:
        raise SystemExit("deepinv has guided-diffusion's networks of the sizes of ffhq_10m and 256x256_diffusion_uncond alone")
    model.load_state_dict(weights, strict=False)
    model.eval()
    ask = lambda x, t: model.forward_diffusion(x, t)[:, : x.shape[1]]  # noqa: E731
    return of_a_chain(config["parameterisation"], ask), (network["in_channels"], network["image_size"])


def of_a_chain(asked, network):
    """D(x; sigma) of a network that is told timesteps of a chain."""
    ((kind, chain),) = asked["time"]["timestep"]["betas"].items()
    if asked["state"] != "variance-preserving" or asked["range"] != "[-1, 1]" or asked["time"]["timestep"]["between"] == "daps":
        raise SystemExit(f"this script does not ask a network as {asked} says")
    steps = chain["steps"]
    if kind == "cosine":
        left = np.cos((np.arange(steps + 1) / steps + chain["offset"]) / (1 + chain["offset"]) * np.pi / 2) ** 2
        betas = np.minimum(1 - left[1:] / left[:-1], 0.999)
    else:
        power = 2 if kind == "scaled-linear" else 1
        betas = np.linspace(chain["first"] ** (1 / power), chain["last"] ** (1 / power), steps) ** power
    log_alpha_bar = np.cumsum(np.log1p(-betas))
    log_sigmas = 0.5 * np.log(np.expm1(-log_alpha_bar))

    def denoise(x, sigma):
        timestep = np.interp(np.log(sigma), log_sigmas, np.arange(steps))
        if asked["time"]["timestep"]["between"] == "nearest":
            timestep = np.rint(timestep)
        total = (1 + sigma**2) ** 0.5
        answer = network(x / total, torch.full([len(x)], timestep, dtype=torch.float32))
        match asked["prediction"]:
            case "epsilon":
                return x - sigma * answer
            case "v":
                return x / total**2 - sigma / total * answer
            case "x0":
                return answer

    return denoise


def write_random(path):
    """Saves a DiffUNet of the size of ffhq_10m with random weights, as guided-diffusion saves its networks."""
    from deepinv.models import DiffUNet

    torch.manual_seed(0)
    model = DiffUNet(in_channels=3, out_channels=3, large_model=False, pretrained=None)
    for value in model.parameters():
        # Layers that begin at 0, and norms at 1, would hide mistakes.
        if value.dim() == 1 or value.abs().max() == 0:
            value.data.add_(0.05 * torch.randn_like(value))
    torch.save({name: value for name, value in model.state_dict().items() if "alphas_cumprod" not in name}, path)


FAMILIES = {"SongUNet": song_unet, "UNet2DModel": unet_2d_model, "UNetModel": unet_model}


if __name__ == "__main__":
    if sys.argv[1] == "--random":
        write_random(sys.argv[2])
        raise SystemExit
    path = sys.argv[1]
    config, weights = read(path)
    family = config["network"]["model_type"]
    if family not in FAMILIES:
        raise SystemExit(f"{path} is a {family}; read here are {', '.join(FAMILIES)}")
    denoise, (channels, side) = FAMILIES[family](config, weights)
    for sigma in (0.05, 1.0, 20.0):
        x = np.random.default_rng(0).standard_normal((channels, side, side)) * (sigma**2 + 0.25) ** 0.5
        with torch.no_grad():
            here = denoise(torch.tensor(x[None], dtype=torch.float32), sigma)
        with tempfile.TemporaryDirectory() as folder:
            image, out = pathlib.Path(folder, "x.npy"), pathlib.Path(folder, "d.npy")
            np.save(image, x)
            installed = shutil.which("eps")
            program = [installed] if installed else ["cargo", "run", "--quiet", "--release", "--bin", "eps", "--"]
            subprocess.run([*program, "model", "denoise", path, "--image", image, "--sigma", str(sigma), "--out", out], check=True)
            there = np.load(out)
        print(f"sigma {sigma}: the largest difference is {abs(here[0].numpy() - there).max():.1e}, of values up to {abs(there).max():.1f}")
