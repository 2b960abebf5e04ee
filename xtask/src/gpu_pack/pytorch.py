"""Times EDM's network of FFHQ-64 (DDPM++) in PyTorch, eager and compiled, on weights of `eps model init`.

pytorch.py NETWORK.safetensors [--device cuda:0] [--batch 1,8] [--precision f32] [--rounds 5] [--repeat 1] [--compile] [--beside]

Prints JSON lines as the bench `cost` does; the bare call there is that of `eager` here. `--beside` times all that its group `bare` does: forward and backward,
Euler's walk and DPS of one image, and pivots, which are proximal steps, by deepinv, in f32; it also tells the peak of this program's memory. The layers and their names are those of
EDM's SongUNet (Karras et al. 2022), so that every weight of the file has its place.
"""

import argparse
import json
import math
import resource
import struct
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

HALF = math.sqrt(0.5)
VERSION = torch.__version__.split("+")[0]


def norm(channels):
    return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-6)


class Block(nn.Module):
    def __init__(self, cin, cout, emb, scale=None, attention=False):
        super().__init__()
        self.scale = scale
        self.norm0, self.norm1 = norm(cin), norm(cout)
        self.conv0, self.conv1 = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1)
        self.affine = nn.Linear(emb, cout)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout or scale else None
        if attention:
            self.norm2, self.qkv, self.proj = norm(cout), nn.Conv2d(cout, 3 * cout, 1), nn.Conv2d(cout, cout, 1)
        self.attention = attention

    def resample(self, x):
        if self.scale == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.avg_pool2d(x, 2) if self.scale == "down" else x

    def forward(self, x, emb):
        h = self.conv0(self.resample(F.silu(self.norm0(x))))
        h = self.conv1(F.silu(self.norm1(h + self.affine(emb)[:, :, None, None])))
        skip = self.resample(x)
        x = (h + (self.skip(skip) if self.skip is not None else skip)) * HALF
        if self.attention:
            b, c, height, width = x.shape
            q, k, v = self.qkv(self.norm2(x)).reshape(b, c, 3, -1).unbind(2)
            w = torch.einsum("ncq,nck->nqk", q, k / math.sqrt(c)).float().softmax(-1).to(q.dtype)
            x = (self.proj(torch.einsum("nqk,nck->ncq", w, v).reshape(x.shape)) + x) * HALF
        return x


class SongUNet(nn.Module):
    def __init__(self, side=64, channels=3, width=128, mult=(1, 2, 2, 2), blocks=4, attention=(16,), augment=9):
        super().__init__()
        self.width, emb = width, 4 * width
        self.map_augment = nn.Linear(augment, width, bias=False) if augment else None
        self.map_layer0, self.map_layer1 = nn.Linear(width, emb), nn.Linear(emb, emb)
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        cout, skips = channels, []
        for level, m in enumerate(mult):
            at = f"{side >> level}x{side >> level}"
            if level == 0:
                self.enc[f"{at}_conv"] = nn.Conv2d(cout, width, 3, padding=1)
                cout = width
            else:
                self.enc[f"{at}_down"] = Block(cout, cout, emb, "down")
            skips.append(cout)
            for index in range(blocks):
                self.enc[f"{at}_block{index}"] = Block(cout, width * m, emb, None, side >> level in attention)
                cout = width * m
                skips.append(cout)
        for level, m in reversed(list(enumerate(mult))):
            at = f"{side >> level}x{side >> level}"
            if level == len(mult) - 1:
                self.dec[f"{at}_in0"] = Block(cout, cout, emb, None, True)
                self.dec[f"{at}_in1"] = Block(cout, cout, emb)
            else:
                self.dec[f"{at}_up"] = Block(cout, cout, emb, "up")
            for index in range(blocks + 1):
                has = index == blocks and side >> level in attention
                self.dec[f"{at}_block{index}"] = Block(cout + skips.pop(), width * m, emb, None, has)
                cout = width * m
        self.dec[f"{at}_aux_norm"], self.dec[f"{at}_aux_conv"] = norm(cout), nn.Conv2d(cout, channels, 3, padding=1)

    def forward(self, x, noise):
        half = self.width // 2
        freqs = 1e-4 ** (torch.arange(half, device=noise.device, dtype=torch.float32) / (half - 1))
        emb = noise.float()[:, None] * freqs
        emb = torch.cat([emb.sin(), emb.cos()], 1).to(x.dtype)
        emb = F.silu(self.map_layer1(F.silu(self.map_layer0(emb))))
        skips = []
        for layer in self.enc.values():
            x = layer(x, emb) if isinstance(layer, Block) else layer(x)
            skips.append(x)
        for name, layer in self.dec.items():
            if name.endswith("aux_norm"):
                x = F.silu(layer(x))
            elif name.endswith("aux_conv"):
                x = layer(x)
            else:
                x = layer(torch.cat([x, skips.pop()], 1) if "_block" in name else x, emb)
        return x


def load(path):
    """The tensors of a safetensors file, in f32."""
    kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        head, body = json.loads(file.read(length)), bytearray(file.read())
    tensors = {}
    for name, entry in head.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(body[begin:end], dtype=kinds[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"]).float()
    return tensors


def denoised(network, x, sigma):
    """EDM's denoiser of a state in f64 at one noise level."""
    total = sigma**2 + 0.25
    noise = torch.full((len(x),), math.log(sigma) / 4, device=x.device)
    kind = next(network.parameters()).dtype
    given = (x / math.sqrt(total)).to(kind)
    return 0.25 / total * x + 0.5 * sigma / math.sqrt(total) * network(given, noise).double()


def levels(count):
    """EDM's noise levels, with 0 at the end."""
    ends = 80 ** (1 / 7), 0.002 ** (1 / 7)
    return [(ends[0] + i / (count - 1) * (ends[1] - ends[0])) ** 7 for i in range(count)] + [0.0]


def walk(network, start, calls=20):
    """Euler's method."""
    x = 80 * start.double()
    sigmas = levels(calls)
    for sigma, following in zip(sigmas, sigmas[1:]):
        x = x + (following - sigma) / sigma * (x - denoised(network, x, sigma))


def dps(network, start, calls=4):
    """DPS where pixels are missing, on Euler's steps."""
    x = 80 * start.double()
    seen = (torch.arange(x[0, 0].numel(), device=x.device) % 3 == 0).view(x.shape[2:])
    y = 0.1 * seen
    sigmas = levels(calls)
    for sigma, following in zip(sigmas, sigmas[1:]):
        x = x.detach().requires_grad_()
        answer = denoised(network, x, sigma)
        (gradient,) = torch.autograd.grad((seen * answer - y).flatten(1).norm(dim=1).sum(), x)
        x = x + (following - sigma) / sigma * (x - answer) - gradient


def pivots(batch, device):
    """deepinv's proximal steps at sigma_t = 1 and sigma_y = 0.05, of operators that the bench has too."""
    import deepinv

    physics, shape = deepinv.physics, (3, 64, 64)
    seen = (torch.arange(64 * 64) % 3 == 0).float().view(1, 1, 64, 64).expand(1, *shape).to(device)
    taps = torch.exp(-0.5 * ((torch.arange(9, device=device) - 4) / 1.5) ** 2)
    kernel = (taps[:, None] * taps / taps.sum() ** 2).view(1, 1, 9, 9)
    means = torch.full((1, 1, 4, 4), 1 / 16, device=device)
    operators = {
        "mask": physics.Inpainting(shape, mask=seen, device=device),
        "average pooling": physics.Downsampling(img_size=shape, factor=4, filter=means, padding="circular", device=device),
        "circular blur": physics.BlurFFT(img_size=shape, filter=kernel, device=device),
    }
    state = torch.randn(batch, *shape, device=device)
    for name, operator in operators.items():
        y = operator.A(state)
        yield name, deepinv.__version__, lambda: operator.prox_l2(state, y, 1 / 0.05**2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--beside", action="store_true")
    arguments = parser.parse_args()
    tensors = {name.removeprefix("model."): value for name, value in load(arguments.network).items()}
    network = SongUNet()
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict({name: value.reshape(shapes.get(name, list(value.shape))) for name, value in tensors.items()})
    device = torch.device(arguments.device)

    def finish():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    kinds = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
    for precision in arguments.precision.split(","):
        network = network.float().to(device=device, dtype=kinds[precision]).eval().requires_grad_(False)
        forms = {"eager": network, "eager, channels-last": network}
        if arguments.compile:
            forms["compiled"] = torch.compile(network)
        for batch in map(int, arguments.batch.split(",")):
            torch.manual_seed(0)
            x = torch.randn(batch, 3, 64, 64, device=device, dtype=kinds[precision])
            noise = torch.zeros(batch, device=device)
            line = {"group": "pytorch", "batch": batch, "precision": precision}
            line |= {"device": arguments.device, "threads": torch.get_num_threads()}
            sizes = ["ffhq-64"]
            if arguments.beside:
                walks = ["Euler's walk", "DPS"] if batch == 1 else []
                sizes += [f"ffhq-64, {what}" for what in [*walks, "forward and backward"]]
            for size in sizes:
                what = size.removeprefix("ffhq-64").removeprefix(", ")
                learns, repeat = what == "forward and backward", arguments.repeat
                calls = {"Euler's walk": 20, "DPS": 4}.get(what, 1)
                network.requires_grad_(learns)
                seconds, failed = {form: [] for form in forms}, {}
                for round_ in range(arguments.rounds + 1):
                    for form, module in forms.items():
                        last = "channels-last" in form
                        layout = torch.channels_last if last else torch.contiguous_format
                        try:
                            network.to(memory_format=layout)
                            given = x.contiguous(memory_format=layout)

                            def run():
                                if what == "Euler's walk":
                                    walk(module, given)
                                elif what == "DPS":
                                    dps(module, given)
                                else:
                                    answer = module(given, noise)
                                    if learns:
                                        answer.float().square().mean().backward()

                            with torch.set_grad_enabled(learns or what == "DPS"):
                                if calls == 1:
                                    run()  # the weights of this layout
                                finish()
                                start = time.perf_counter()
                                for _ in range(repeat):
                                    run()
                                finish()
                            if round_ > 0:
                                seconds[form].append((time.perf_counter() - start) / (repeat * calls))
                        except Exception as error:  # out of memory, or no compiler for torch.compile
                            failed[form] = f"{type(error).__name__}: {error}"
                for form in forms:
                    found = {"error": failed[form]} if form in failed else {"seconds": seconds[form]}
                    print(json.dumps(line | {"size": size, "item": f"PyTorch {VERSION}, {form}"} | found), flush=True)
                if arguments.beside and what in ("", "forward and backward"):
                    peak = {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
                    print(json.dumps(line | {"group": "memory", "size": size, "item": f"PyTorch {VERSION}"} | peak), flush=True)
    # Last, as what deepinv brings counts as memory.
    for batch in map(int, arguments.batch.split(",")) if arguments.beside else ():
        for name, version, prox in pivots(batch, device):
            prox()
            seconds = []
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                for _ in range(10):
                    prox()
                finish()
                seconds.append((time.perf_counter() - start) / 10)
            line = {"group": "pytorch", "size": f"64×64, pivot of {name}", "batch": batch, "precision": "f32", "item": f"deepinv {version}"}
            line |= {"device": arguments.device, "threads": torch.get_num_threads(), "seconds": seconds}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
