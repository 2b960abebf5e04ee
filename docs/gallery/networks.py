"""Sets two networks beside each other: pictures of 128x128 pixels with pixels missing, blurred and small, at three noise levels.

python3 -m pip install scikit-image==0.26.0, and `eps` on the PATH; in the repository's folder
python3 docs/gallery/networks.py FOLDER NAME=NETWORK.safetensors NAME=NETWORK.safetensors

Prints PSNR, LPIPS and the fair energy score of samples, means over three pictures. What FOLDER has already is not computed again.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
from skimage import data, io

SIGMAS = ["0.01", "0.05", "0.2"]
SCORES = ["psnr_db", "lpips_alex", "energy_score_fair"]


def pictures(folder):
    """128x128 pixels of three pictures, a mask that hides 60 % and a motion of 13 pixels."""
    cuts = {
        "astronaut": data.astronaut()[60:188, 160:288],
        "coffee": data.coffee()[188:316, 190:318],
        "chelsea": data.chelsea()[60:188, 140:268],
    }
    for name, pixels in cuts.items():
        io.imsave(folder / f"{name}.png", pixels, check_contrast=False)
    seen = np.random.default_rng(1).random((128, 128)) >= 0.6
    io.imsave(folder / "mask.png", seen.astype(np.uint8) * 255, check_contrast=False)
    motion = {"operator": "motion-blur", "length": 13, "angle_degrees": 30}
    (folder / "motion.json").write_text(json.dumps(motion))
    operators = {
        "60 % missing": ("mask", ["--mask", folder / "mask.png"]),
        "motion blur of 13 pixels": ("motion", ["--operator", folder / "motion.json"]),
        "super-resolution, 4 to 1": ("sr", ["--factor", "4"]),
    }
    return list(cuts), operators


def eps(*arguments):
    return subprocess.run(["eps", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def scores(folder, network, measured):
    """The scores of four samples of ten calls of Euler's method."""
    name, path = network
    out = folder / f"{name}-{measured.stem}"
    if not out.exists():
        sampled = ["--samples", 4, "--sampler", "euler", "--calls", 10, "--precision", "bf16"]
        eps("restore", "--measurement", measured, "--network", path, *sampled, "--out", out)
    found = json.loads(eps("evaluate", "--json", "--truth", out / "samples.h5", "--samples", out / "samples.h5"))
    return [found[score] for score in SCORES]


def main():
    folder, *named = sys.argv[1:]
    networks = [name.split("=", 1) for name in named]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cuts, operators = pictures(folder)
    print("| what was measured | σ_y | PSNR in dB: " + ", ".join(name for name, _ in networks) + " | LPIPS | energy score |")
    print("|---|---:|---|---|---|")
    for label, (short, operator) in operators.items():
        for sigma in SIGMAS:
            of_cuts = []
            for cut in cuts:
                measured = folder / f"{short}-{cut}-{sigma}.h5"
                if not measured.exists():
                    eps("measure", "--image", folder / f"{cut}.png", *operator, "--sigma-y", sigma, "--seed", 1, "--out", measured)
                of_cuts.append([scores(folder, network, measured) for network in networks])
            means = np.mean(of_cuts, axis=0).T
            best = [means[0].argmax(), means[1].argmin(), means[2].argmin()]
            cells = [
                ", ".join(f"**{value:.{digits}f}**" if at == first else f"{value:.{digits}f}" for at, value in enumerate(values))
                for values, digits, first in zip(means, [2, 3, 2], best)
            ]
            print(f"| {label} | {sigma} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
