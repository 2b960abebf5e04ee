"""Sets means of independent samples beside means of antithetic pairs: photographs of 128x128 pixels and clothes of 28x28.

python3 -m pip install scikit-image==0.26.0 h5py, and `eps` on the PATH; in the repository's folder
python3 docs/gallery/antithetic.py FOLDER [more flags of `eps restore`, such as --sampler multistep]

Prints the PSNR of means of 2, 4 and 8 samples of ten calls; by how much the mean of one pair is above that of 8 independent samples, with
its standard error over images; and the standard deviation that 8 samples tell, as the root of its mean square on the scale of the images, 2
wide: means over three photographs or forty clothes. What FOLDER has already is not computed again.
"""

import pathlib
import sys

import h5py
import networks
import numpy as np

SAMPLES = 8
CLOTHES = {
    "random-inpainting": "random inpainting",
    "box-inpainting": "box inpainting",
    "super-resolution": "super-resolution",
    "gaussian-blur": "Gaussian blur",
    "motion-blur": "motion blur",
}


def drawn(folder, measured, network, flags):
    """Samples [N, J, C, H, W] and their standard deviation."""
    out = folder / f"{measured.stem}-{'-'.join(flag.strip('-') for flag in flags)}"
    if not (out / "samples.h5").exists():
        asked = ["--samples", SAMPLES, "--calls", 10, "--precision", "bf16", *flags]
        networks.eps("restore", "--measurement", measured, "--network", network, *asked, "--out", out)
    with h5py.File(out / "samples.h5") as file:
        return file["samples"][:].astype(float), file["posterior_sd"][:].astype(float)


def compared(folder, measurements, network, flags):
    """PSNR [2, 3, N] of means of 2, 4 and 8 samples and mean squared deviations [2, N], of independent samples and of pairs."""
    scores, variances = [], []
    for measured in measurements:
        with h5py.File(measured) as file:
            truth = file["truth"][:].astype(float)
        both = [drawn(folder, measured, network, ["--seed", "0", *pairs, *flags]) for pairs in ([], ["--antithetic"])]
        off = [[samples[:, :count].mean(axis=1).clip(-1, 1) - truth for count in (2, 4, 8)] for samples, _ in both]
        scores.append(-10 * np.log10(np.mean(np.square(off), axis=(3, 4, 5)) / 4))
        variances.append([np.mean(deviation**2, axis=(1, 2, 3)) for _, deviation in both])
    return np.concatenate(scores, axis=2), np.concatenate(variances, axis=1)


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
        kinds[f"clothes, {CLOTHES[task]}"] = ([measured], "data/networks/fashion/all-tasks.safetensors")
    print("| what was measured | mean of 2: independent, pairs | of 4 | of 8 | 2 in pairs less 8 independent | deviation: independent, pairs |")
    print("|---|---|---|---|---|---|")
    for label, (measurements, network) in kinds.items():
        scores, variances = compared(folder, measurements, network, flags)
        cells = [f"{one:.2f}, **{other:.2f}** dB" for one, other in scores.mean(axis=2).T]
        gain = scores[1, 0] - scores[0, 2]
        error = gain.std(ddof=1) / len(gain) ** 0.5
        independent, pairs = variances.mean(axis=1) ** 0.5
        print(f"| {label} | {' | '.join(cells)} | {gain.mean():+.2f} ± {error:.2f} dB | {independent:.3f}, {pairs:.3f} |", flush=True)


if __name__ == "__main__":
    main()
