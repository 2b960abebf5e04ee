"""Turns scans of a brain into what `eps restore` takes, and shows what came of it.

    python3 docs/gallery/brain.py measure cartesian_ksp.npy brain
    python3 docs/gallery/brain.py phase brain
    python3 docs/gallery/brain.py figure brain docs/gallery/brain.webp
    python3 docs/gallery/brain.py compare columns-all columns docs/gallery/brain-columns.webp
    python3 docs/gallery/brain.py left-out sparse docs/gallery/brain-sparse.webp photographs heads

Needs NumPy, SciPy and matplotlib; docs/gallery/brain.md has the commands between these.
"""

import json
import pathlib
import sys

import numpy as np

SMOOTH = 0.5  # pixels: the phase of the image is that of least squares, smoothed so far
MIDDLE = 24  # columns of k-space that are sampled in full
STEPS = 30  # of conjugate gradients
WHITE = 200.0  # standard deviations of the noise: the brightest that the network knows
COILS = 5  # combinations of the eight


def measure(source, out, every=1):
    """Whitened k-space with the frequency 0 and the origin at [0][0], its mask, and the operator: of columns outside of the middle, or of
    points where points were sampled, one of `every`. What is left out is kept beside it."""
    of_columns = source.suffix == ".mat"
    if of_columns:
        from scipy.io import loadmat

        scan = loadmat(source)["DATA"].transpose(2, 0, 1)
    else:
        scan = np.load(source).astype(complex)
    coils, height, width = scan.shape
    # The frequencies that are used, and so the image: half of those of the scan in each direction, and multiples of 4.
    used = [(side // 2 + 3) // 4 * 4 for side in (height, width)]
    mask = (abs(scan) > 0).any(axis=0)
    rows, columns = np.indices(mask.shape)
    # Far out there is hardly an image: what is measured there is noise, and its covariance makes all coils alike.
    distance = np.hypot(2 * rows / height - 1, 2 * columns / width - 1)
    outside = scan[:, mask & (distance > 0.9)]
    covariance = outside @ outside.conj().T / outside.shape[1] / 2
    scan = np.linalg.solve(np.linalg.cholesky(covariance), scan.reshape(coils, -1)).reshape(scan.shape)
    top, left = (height - used[0]) // 2, (width - used[1]) // 2
    scan, mask = (x[..., top : top + used[0], left : left + used[1]] for x in (scan, mask))
    row, column = (np.arange(side) - side // 2 for side in used)
    is_middle = [abs(at + 0.5) < MIDDLE / 2 for at in (row, column)]
    if of_columns:
        kept = (column % every == 0) | is_middle[1]
    else:
        kept = (np.random.default_rng(1).random(used) < 1 / every) | np.outer(*is_middle)
    left_out, mask = mask & ~kept, mask & kept
    # Combinations of coils by a unitary matrix have the same noise.
    combinations, energy, _ = np.linalg.svd(scan.reshape(coils, -1), full_matrices=False)
    scan = np.tensordot(combinations[:, :COILS].conj().T, scan, 1)
    image = np.fft.ifft2(np.fft.ifftshift(scan, axes=(1, 2)))
    scan, mask, left_out = np.fft.fft2(np.fft.fftshift(image, axes=(1, 2))), np.fft.ifftshift(mask), np.fft.ifftshift(left_out)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "y.npy", (scan * mask).astype(np.complex64))
    np.save(out / "mask.npy", mask)
    np.save(out / "left-out.npy", (scan * left_out).astype(np.complex64))
    operator = [{"operator": "real"}, {"operator": "coils", "maps": {"file": "maps.npy"}, "mask": {"file": "mask.npy"}}]
    (out / "operator.json").write_text(json.dumps({"operator": "chain", "of": operator}))
    print(f"{mask.sum()} of {mask.size} samples, R = {mask.size / mask.sum():.2f}; the noise is that of {outside.shape[1]} samples")
    print(f"{COILS} combinations of {coils} coils hold {(energy[:COILS] ** 2).sum() / (energy**2).sum():.3f} of the energy")
    print("standard deviations of the noise:", " ".join(f"{sigma:.3g}" for sigma in np.sqrt(np.diag(covariance).real)))


def pairs(values):
    """[2K, H, W] as [K, H, W]."""
    return values[0::2] + 1j * values[1::2]


def least_squares(y, mask, maps, weight, penalty=lambda x: x):
    """The complex image of least ||A x - y||^2 + weight x^H penalty(x), by conjugate gradients in single precision."""
    from scipy.fft import fft2, ifft2

    maps = maps.astype(np.complex64)

    def adjoint(y):
        return (maps.conj() * ifft2(y * mask, norm="ortho")).sum(axis=0)

    def normal(x):
        return adjoint(fft2(maps * x, norm="ortho")) + np.float32(weight) * penalty(x)

    x = np.zeros(mask.shape, np.complex64)
    rest = adjoint(y)
    direction, size = rest.copy(), np.vdot(rest, rest).real
    least = 1e-10 * size
    for _ in range(STEPS):
        if size < least:
            break
        seen = normal(direction)
        step = size / np.vdot(direction, seen).real
        x, rest = x + step * direction, rest - step * seen
        now = np.vdot(rest, rest).real
        direction, size = rest + now / size * direction, now
    return x


def phase(folder):
    """Turns the maps by the phase of the image, so that the image is real."""
    from scipy.ndimage import gaussian_filter

    y, mask, maps = np.load(folder / "y.npy"), np.load(folder / "mask.npy"), pairs(np.load(folder / "espirit.npy"))
    x = least_squares(y, mask, maps, 0.01)
    left = np.fft.fft2(maps * x, norm="ortho") * mask - y
    print(f"the residual of complex least squares is {np.sqrt((abs(left) ** 2).sum() / mask.sum() / len(maps) / 2):.3f} of the noise")
    smooth = gaussian_filter(x.real, SMOOTH, mode="wrap") + 1j * gaussian_filter(x.imag, SMOOTH, mode="wrap")
    np.save(folder / "maps.npy", maps * np.exp(1j * np.angle(smooth)))
    print(f"{np.linalg.norm(x.imag) / np.linalg.norm(x):.2f} of the image is imaginary with the phase of the middle of k-space,")
    turned = x * np.exp(-1j * np.angle(smooth))
    print(f"{np.linalg.norm(turned.imag) / np.linalg.norm(x):.2f} with its own, smoothed by {SMOOTH} pixels")


def figure(folder, out):
    """What other methods and the samples show."""
    y, mask, maps = np.load(folder / "y.npy"), np.load(folder / "mask.npy"), np.load(folder / "maps.npy")
    samples = np.load(folder / "restored/samples.npy")[0, :, 0]
    mean, spread = samples.mean(axis=0), samples.std(axis=0, ddof=1)
    pictures = {
        "zero-filled": abs((maps.conj() * np.fft.ifft2(y, norm="ortho")).sum(axis=0)),
        "least squares, damped": abs(least_squares(y, mask, maps, 0.01)),
        "a sample": samples[0],
        "another": samples[1],
        "mean": mean,
        "standard deviation": spread,
    }
    head = (abs(maps) > 0).any(axis=0) & (mean > 0.05 * WHITE)
    print(f"in the head: mean {mean[head].mean():.1f}, deviation {np.sqrt((spread[head] ** 2).mean()):.1f}, in units of the noise")
    draw(pictures, 0.7 * WHITE, out)


def total_variation(y, mask, maps, weight):
    """The image of least ||A x - y||^2 + weight TV(x), as a least squares problem whose weights are found anew four times."""
    x = least_squares(y, mask, maps, 0.01)
    for _ in range(4):
        down, across = np.roll(x, -1, 0) - x, np.roll(x, -1, 1) - x
        inverse = 1 / np.sqrt(abs(down) ** 2 + abs(across) ** 2 + 0.1)

        def penalty(x, inverse=inverse):
            down, across = inverse * (np.roll(x, -1, 0) - x), inverse * (np.roll(x, -1, 1) - x)
            return np.roll(down, 1, 0) - down + np.roll(across, 1, 1) - across

        x = least_squares(y, mask, maps, weight, penalty)
    return x


def compare(full, part, out):
    """Errors of the undersampled scan's reconstructions against that of all columns, and a figure."""

    def load(folder):
        return np.load(folder / "y.npy"), np.load(folder / "mask.npy"), pairs(np.load(folder / "espirit.npy"))

    answer = abs(least_squares(*load(full), 0.01))
    y, mask, maps = load(part)
    head = answer > 0.05 * np.percentile(answer, 99)

    def error(x):
        return np.linalg.norm((x - answer)[head]) / np.linalg.norm(answer[head])

    found = {"zero-filled": abs((maps.conj() * np.fft.ifft2(y, norm="ortho")).sum(axis=0))}
    for name, solve, weights in (
        ("least squares, damped", least_squares, (0.01, 0.03, 0.1, 0.3)),
        ("total variation", total_variation, (0.1, 0.3, 1, 3, 10)),
    ):
        tried = {weight: abs(solve(y, mask, maps, weight)) for weight in weights}
        best = min(tried, key=lambda weight: error(tried[weight]))
        print(f"{name}: weight {best} is the best of {weights}")
        found[name] = tried[best]
    samples = np.load(part / "restored/samples.npy")[0, :, 0]
    found |= {"a sample": samples[0], "mean": samples.mean(axis=0)}
    for name, x in found.items():
        print(f"{name}: error {error(x):.3f}")
    spread = samples.std(axis=0, ddof=1)
    print(f"standard deviation over the answer: {np.linalg.norm(spread[head]) / np.linalg.norm(answer[head]):.3f}")
    draw({"all columns": answer, **found}, np.percentile(answer, 99.5), out)


def left_out(folder, out, *names):
    """How well the samples of k-space that nobody used are foretold, over their noise, by samples in FOLDER/NAME and by other methods;
    and a figure."""
    y, mask, maps = (np.load(folder / name) for name in ("y.npy", "mask.npy", "maps.npy"))
    answer = np.load(folder / "left-out.npy")
    is_left_out = abs(answer) > 0

    def off(x):
        return np.sqrt((abs(np.fft.fft2(maps * x, norm="ortho") - answer)[is_left_out] ** 2).mean() / 2)

    found = {"zero-filled": (maps.conj() * np.fft.ifft2(y, norm="ortho")).sum(axis=0)}
    # Complex images, as both methods find: the phase of the maps is not taken for granted.
    for name, solve, weights in (
        ("least squares, damped", least_squares, (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1)),
        ("total variation", total_variation, (0.003, 0.01, 0.03, 0.1, 0.3, 1)),
    ):
        tried = {weight: solve(y, mask, maps, weight) for weight in weights}
        best = min(tried, key=lambda weight: off(tried[weight]))
        print(f"{name}: weight {best} is the best of {weights}")
        found[name] = tried[best]
    for name in map(str, names):
        samples = np.load(folder / name / "samples.npy")[0, :, 0]
        found |= {f"{name}: a sample": samples[0], f"{name}: mean": samples.mean(axis=0)}
    print(f"{is_left_out.sum() // len(y)} samples of k-space were not used")
    for name, x in {"no image": 0, **found}.items():
        print(f"{name}: {off(x):.3f} of the noise")
    draw({name: abs(x) for name, x in found.items()}, 0.7 * WHITE, out)


def draw(pictures, white, out):
    """A row of pictures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels, axes = plt.subplots(1, len(pictures), figsize=(15, 3.4), facecolor="black")
    for axis, (title, picture) in zip(axes, pictures.items()):
        top = white / 28 if title == "standard deviation" else white
        axis.imshow(picture, cmap="gray", vmin=0, vmax=top, interpolation="bicubic")
        axis.set_title(title, color="white", fontsize=12)
        axis.axis("off")
    plt.subplots_adjust(left=0.005, right=0.995, top=0.92, bottom=0.01, wspace=0.02)
    panels.savefig(out, dpi=100, facecolor="black", pil_kwargs={"quality": 88, "method": 6})


commands = {"measure": measure, "phase": phase, "figure": figure, "compare": compare, "left-out": left_out}
if len(sys.argv) < 2 or sys.argv[1] not in commands:
    sys.exit(__doc__)
what, *arguments = sys.argv[1:]
commands[what](*(int(argument) if argument.isdigit() else pathlib.Path(argument) for argument in arguments))
