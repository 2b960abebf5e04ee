"""Times EDM's network of FFHQ-64 (DDPM++) in PyTorch, eager and compiled, on weights of `eps model init`.

pytorch.py NETWORK.safetensors [--device cuda:0] [--batch 1,8] [--precision f32] [--rounds 5] [--repeat 1] [--compile] [--backward]

Prints JSON lines as the bench `cost` does; the bare call there is that of `eager` here. `--backward` times forward and backward too. The layers and their names are those of
EDM's SongUNet (Karras et al. 2022), so that every weight of the file has its place.
"""

import argparse
import json
import math
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--backward", action="store_true")
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
            for size in ["ffhq-64"] + ["ffhq-64, forward and backward"] * arguments.backward:
                learns = size != "ffhq-64"
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
                                answer = module(given, noise)
                                if learns:
                                    answer.float().square().mean().backward()

                            with torch.set_grad_enabled(learns):
                                run()  # the weights of this layout
                                finish()
                                start = time.perf_counter()
                                for _ in range(arguments.repeat):
                                    run()
                                finish()
                            if round_ > 0:
                                seconds[form].append((time.perf_counter() - start) / arguments.repeat)
                        except Exception as error:  # out of memory, or no compiler for torch.compile
                            failed[form] = f"{type(error).__name__}: {error}"
                for form in forms:
                    found = {"error": failed[form]} if form in failed else {"seconds": seconds[form]}
                    print(json.dumps(line | {"size": size, "item": f"PyTorch {VERSION}, {form}"} | found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
