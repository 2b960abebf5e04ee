"""Writes a network of this project as the program would that its architecture is from.

python3 -m pip install torch safetensors
python3 docs/guide/originals.py NETWORK.safetensors OUT

guided-diffusion (UNetModel) gets the state dict that its trainer saves, diffusers (UNet2DModel) a folder with
config.json, weights and scheduler, EDM2 (Precond) a pickle of persistent objects. Priors alone: the originals read no
measurement beside an image.
"""

import json
import pathlib
import pickle
import sys
import types
from collections import OrderedDict

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def read(path):
    """The configuration of a network and its tensors."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["eps"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if config["conditions"]:
        raise SystemExit(f"{path} reads {', '.join(config['conditions'])} beside an image, which no original does: give a prior")
    return config, tensors


def guided_diffusion(tensors, out):
    """As the trainer saves what it trained in half precision: tensors of one dimension are views of one storage, the
    others of a second one."""
    state = OrderedDict()
    for flat in (True, False):
        group = {name: value.float() for name, value in tensors.items() if (value.dim() <= 1) == flat}
        storage = torch.cat([value.reshape(-1) for value in group.values()])
        parts = storage.split([value.numel() for value in group.values()])
        state.update((name, part.view_as(value)) for (name, value), part in zip(group.items(), parts))
    torch.save(state, out)


def diffusers(config, tensors, out):
    """A folder as `save_pretrained` leaves it."""
    network = {name: value for name, value in config["network"].items() if name != "model_type"}
    asked = config["parameterisation"]
    ((kind, betas),) = asked["time"]["timestep"]["betas"].items()
    scheduler = {"_class_name": "DDPMScheduler", "num_train_timesteps": betas["steps"], "clip_sample": True}
    scheduler["prediction_type"] = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}[asked["prediction"]]
    match kind:
        case "linear":
            scheduler |= {"beta_schedule": "linear", "beta_start": betas["first"], "beta_end": betas["last"]}
        case "scaled-linear":
            scheduler |= {"beta_schedule": "scaled_linear", "beta_start": betas["first"], "beta_end": betas["last"]}
        case "cosine" if betas["offset"] == 0.008:
            scheduler |= {"beta_schedule": "squaredcos_cap_v2"}
        case _:
            raise SystemExit(f"its chain, {betas}, is none that diffusers has a name for")
    if network.pop("learn_sigma", False):
        scheduler["variance_type"] = "learned_range"
    out = pathlib.Path(out)
    out.mkdir()
    for name, values in (("config", {"_class_name": "UNet2DModel"} | network), ("scheduler_config", scheduler)):
        (out / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n")
    weights = {name: value.float().contiguous() for name, value in tensors.items()}
    save_file(weights, out / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


class EasyDict(dict):
    """NVIDIA's dictionary."""


def _reconstruct_persistent_obj(meta):
    raise RuntimeError(f"{meta['class_name']} is to be read by EDM2's own code")


# Under the names by which pickles call them.
for place, known in {"dnnlib.util": EasyDict, "torch_utils.persistence": _reconstruct_persistent_obj}.items():
    package, _, module = place.partition(".")
    sys.modules[package] = types.ModuleType(package)
    sys.modules[place] = types.ModuleType(place)
    known.__module__, known.__qualname__ = place, known.__name__
    setattr(sys.modules[place], known.__name__, known)


class Persistent(torch.nn.Module):
    """A module of EDM2's code, which pickles hold by the name of its class, its source and its attributes."""

    def __init__(self, of, **attributes):
        super().__init__()
        self.of = of
        self.__dict__.update(attributes)

    def __reduce__(self):
        state = {name: value for name, value in self.__dict__.items() if name != "of"}
        meta = EasyDict(type="class", version=6, module_src="", class_name=self.of, state=state)
        return _reconstruct_persistent_obj, (meta,)


def class_of(path):
    """What stands where in EDM2's networks."""
    if path == "unet":
        return "UNet"
    if path.endswith("_fourier"):
        return "MPFourier"
    is_block = path.count(".") == 2 and not path.endswith("_conv")
    return "Block" if is_block else "MPConv"


def edm2(config, tensors, out):
    """A pickle of an `ema` in half precision."""
    network = {name: value for name, value in config["network"].items() if name not in ("model_type", "condition_channels")}
    sizes = {name: network[name] for name in ("img_resolution", "img_channels", "label_dim")}
    sigma_data = config["precondition"]["sigma_data"]
    root = Persistent(
        "Precond", _init_args=(), _init_kwargs=EasyDict(network, use_fp16=True, sigma_data=sigma_data),
        **sizes, use_fp16=True, sigma_data=sigma_data,
    )
    for name, value in sorted(tensors.items()):
        module, path = root, ""
        *parents, leaf = name.split(".")
        for part in parents:
            path = f"{path}.{part}" if path else part
            if part not in module._modules:
                made = torch.nn.ModuleDict() if path in ("unet.enc", "unet.dec") else Persistent(class_of(path))
                module.add_module(part, made)
            module = module._modules[part]
        if leaf in ("freqs", "phases"):
            module.register_buffer(leaf, value.half())
        else:
            module.register_parameter(leaf, torch.nn.Parameter(value.half(), requires_grad=False))
    with open(out, "wb") as file:
        pickle.dump(EasyDict(ema=root, encoder=None, dataset_kwargs=EasyDict(), loss_fn=None), file)


if __name__ == "__main__":
    path, out = sys.argv[1:]
    config, tensors = read(path)
    match config["network"]["model_type"]:
        case "UNetModel":
            guided_diffusion(tensors, out)
        case "UNet2DModel":
            diffusers(config, tensors, out)
        case "Precond":
            edm2(config, tensors, out)
        case other:
            raise SystemExit(f"{path} is a {other}: this script writes UNetModel, UNet2DModel and Precond")
