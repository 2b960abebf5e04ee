"""What the pages of tomography have in common: the matrix of `radon`, filtered back-projection and total variation."""

import numpy as np
from scipy.sparse import csr_matrix
from skimage.transform import iradon


def matrix(radon, side):
    """The operator as a sparse matrix, as the documentation of `radon` defines it."""
    middle, axis, angles = side // 2, radon["axis"], np.deg2rad(radon["angles_degrees"])
    row, position = (index.astype(float) for index in np.indices((side, side)))
    rays, pixels, weights = [], [], []
    for k, angle in enumerate(angles):
        x = np.cos(angle) * (position - axis) + np.sin(angle) * (row - middle) + middle
        y = -np.sin(angle) * (position - axis) + np.cos(angle) * (row - middle) + middle
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (1 - abs(x - left - dx)) * (1 - abs(y - top - dy))
            inside = (top + dy >= 0) & (top + dy < side) & (left + dx >= 0) & (left + dx < side)
            rays.append((position[inside] * len(angles) + k).astype(int))
            pixels.append(((top + dy) * side + left + dx)[inside])
            weights.append(weight[inside])
    entries = (np.concatenate(weights), (np.concatenate(rays), np.concatenate(pixels)))
    return csr_matrix(entries, (side * len(angles), side * side))


def total_variation(A, y, weight, steps=1500):
    """min |A x − y|²/2 + weight TV(x), x ≥ 0, by the primal-dual method of Chambolle and Pock (2011)."""
    side = int(np.sqrt(A.shape[1]))
    x = bar = np.zeros(side * side)
    p, q = np.zeros((2, side, side)), np.zeros_like(y)
    step = 1 / np.sqrt(squared_norm(A) + 8)  # 8 is at least the squared norm of the gradient
    for _ in range(steps):
        q = (q + step * (A @ bar - y)) / (1 + step)
        image = bar.reshape(side, side)
        gradient = np.stack([np.diff(image, axis=0, append=image[-1:]), np.diff(image, axis=1, append=image[:, -1:])])
        p = p + step * gradient
        p /= np.maximum(1, np.hypot(*p) / weight)
        divergence = np.zeros((side, side))
        divergence[:-1] -= p[0][:-1]
        divergence[1:] += p[0][:-1]
        divergence[:, :-1] -= p[1][:, :-1]
        divergence[:, 1:] += p[1][:, :-1]
        new = np.maximum(0, x - step * (A.T @ q + divergence.ravel()))
        bar, x = 2 * new - x, new
    return x.reshape(side, side)


def squared_norm(A):
    """‖A‖² by the power method."""
    x = np.ones(A.shape[1])
    for _ in range(50):
        x = A.T @ (A @ (x / np.linalg.norm(x)))
    return np.linalg.norm(x)


def back_projection(radon, sinogram):
    """Filtered back-projection (Hann) of a sinogram [position, view]."""
    side = len(sinogram)
    positions = np.arange(side)
    shifted = np.stack([np.interp(positions - (side // 2 - radon["axis"]), positions, line) for line in sinogram.T], axis=1)
    return iradon(shifted, theta=np.array(radon["angles_degrees"]), circle=True, filter_name="hann")
