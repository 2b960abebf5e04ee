"""Sets means of independent samples beside means of antithetic pairs: photographs of 128x128 pixels and clothes of 28x28.

python3 -m pip install scikit-image==0.26.0 h5py, and `eps` on the PATH; in the repository's folder
python3 docs/gallery/antithetic.py FOLDER [more flags of `eps restore`, such as --sampler multistep]

Prints the PSNR of means of 2, 4 and 8 samples of ten calls, and the standard deviation that 8 samples tell, as the root of its mean
square on the scale of the images, 2 wide: means over three photographs or forty clothes. What FOLDER has already is not computed again.
"""

import pathlib
import sys

import h5py
import networks
import numpy as np

SAMPLES = 8
CLOTHES = ["random-inpainting", "box-inpainting", "super-resolution", "gaussian-blur", "motion-blur"]


def drawn(folder, measured, network, flags):
    """Samples [N, J, C, H, W] and their standard deviation."""
    out = folder / f"{measured.stem}-{'-'.join(flag.strip('-') for flag in flags)}"
    if not (out / "samples.h5").exists():
        asked = ["--samples", SAMPLES, "--calls", 10, "--precision", "bf16", *flags]
        networks.eps("restore", "--measurement", measured, "--network", network, *asked, "--out", out)
    with h5py.File(out / "samples.h5") as file:
        return file["samples"][:].astype(float), file["posterior_sd"][:].astype(float)


def compared(folder, measurements, network, flags):
    """PSNR of means of 2, 4 and 8 samples and the deviation, of independent samples and of pairs."""
    rows = []
    for measured in measurements:
        with h5py.File(measured) as file:
            truth = file["truth"][:].astype(float)
        row = []
        for pairs in ([], ["--antithetic"]):
            samples, deviation = drawn(folder, measured, network, ["--seed", "0", *pairs, *flags])
            off = [np.mean((samples[:, :count].mean(axis=1) - truth) ** 2, axis=(1, 2, 3)) for count in (2, 4, 8)]
            row.append([np.mean(-10 * np.log10(each / 4)) for each in off] + [np.mean(deviation**2) ** 0.5])
        rows.append(row)
    return np.mean(rows, axis=0)


def main():
    folder, *flags = sys.argv[1:]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cuts, operators = networks.pictures(folder)
    kinds = {}
    for label, (short, operator) in operators.items():
        measurements = [folder / f"{short}-{cut}-0.05.h5" for cut in cuts]
        for cut, measured in zip(cuts, measurements):
            if not measured.exists():
                networks.eps("measure", "--image", folder / f"{cut}.png", *operator, "--sigma-y", 0.05, "--seed", 1, "--out", measured)
        kinds[f"photographs, {label}"] = (measurements, "data/networks/photographs/photographs.safetensors")
    for task in CLOTHES:
        measured = folder / f"clothes-{task}.h5"
        if not measured.exists():
            asked = ["--dataset", "fashion-mnist", "--index", "0..40", "--task", task, "--sigma-y", 0.05, "--seed", 1]
            networks.eps("measure", *asked, "--out", measured)
        kinds[f"clothes, {task.replace('-', ' ')}"] = ([measured], "data/networks/fashion/all-tasks.safetensors")
    print("| what was measured | mean of 2: independent, pairs | of 4 | of 8 | deviation: independent, pairs |")
    print("|---|---|---|---|---|")
    for label, (measurements, network) in kinds.items():
        found = compared(folder, measurements, network, flags)
        cells = [f"{one:.2f}, **{other:.2f}** dB" for one, other in found[:, :3].T]
        print(f"| {label} | {' | '.join(cells)} | {found[0, 3]:.3f}, {found[1, 3]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
