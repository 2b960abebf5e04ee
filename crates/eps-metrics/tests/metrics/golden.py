"""Writes golden.json: reference values of the metrics by scikit-image, SciPy and NumPy.

    pip install numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0
    python golden.py > golden.json

The inputs follow the rule in golden.json; tests/metrics/inputs.rs has the same rule in Rust.
"""
import json

import numpy as np
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

RULE = {
    "u01": "u01(name,n)[i] = (z>>11)/2^53, z = splitmix64's output mix of"
    " fnv1a64(name) + (i+1)*0x9E3779B97F4A7C15 mod 2^64; every name is SALT + the one given",
    "images": "p = 2*smooth(2*u01('a')-1), a = clip(p,-1,1), b = clip(p+0.1*(2*u01('b')-1),-1,1),"
    " shape (3,64,64), row-major; smooth = two passes of a 5x5 circular box mean",
    "image_psnr": "data range 2 on [-1,1]",
    "image_ssim": "on [0,1]: Gaussian window 11x11, sigma 1.5, population covariance, mean over"
    " channels, 5-pixel border excluded",
    "frechet_200x24": "X=2*u01('X')-1 (200,24); Y=1.3*(2*u01('Y')-1) @ (I+0.2*(2*u01('M')-1)) + 0.1;"
    " covariances with n-1",
    "mmd2_u_60_20_12": "P=2*u01('P')-1 (60,12), Q=1.1*(2*u01('Q')-1)+0.05 (20,12); unbiased; kernel"
    " exp(-d^2/m)",
    "mmd_median_d2": "m, median of d^2 over the distinct pairs of the pooled P and Q",
    "energy": "S=u01('S') (10,48), y=u01('y') (48); v: pair term /(2J^2), fair: /(2J(J-1))",
    "evaluate": "T=2*u01('T')-1 (3,1,16,20); S=T+0.5*(2*u01('E')-1) (3,4,1,16,20): some values leave"
    " [-1,1] and are clipped; all but PSNR on [0,1]; conventions as above",
}
SALT = "open-"
MASK = (1 << 64) - 1


def u01(name, *shape):
    h = 0xCBF29CE484222325
    for byte in (SALT + name).encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    out = np.empty(int(np.prod(shape)))
    for i in range(out.size):
        z = h + (i + 1) * 0x9E3779B97F4A7C15 & MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        z ^= z >> 31
        out[i] = (z >> 11) / 2.0**53
    return out.reshape(shape)


def images():
    p = 2 * u01("a", 3, 64, 64) - 1
    for _ in range(2):
        p = sum(np.roll(p, (i, j), (1, 2)) for i in range(-2, 3) for j in range(-2, 3)) / 25
    p = 2 * p
    b = p + 0.1 * (2 * u01("b", 3, 64, 64) - 1)
    return np.clip(p, -1, 1), np.clip(b, -1, 1)


def ssim(x, y):
    return structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1,
        channel_axis=0,
    )


def frechet(x, y):
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    means = np.sum((x.mean(0) - y.mean(0)) ** 2)
    return means + np.trace(s1 + s2 - 2 * np.real(sqrtm(s1 @ s2)))


def mmd2(p, q):
    m = np.median(pdist(np.vstack([p, q]), "sqeuclidean"))
    k = lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / m)
    within = lambda a: (k(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))
    return within(p) + within(q) - 2 * k(p, q).mean(), m


def energy(samples, truth, fair):
    j = len(samples)
    pairs = cdist(samples, samples).sum() / (2 * j * (j - 1) if fair else 2 * j * j)
    return np.linalg.norm(samples - truth, axis=1).mean() - pairs


def crps_fair(samples, truth):
    return np.mean([energy(samples[:, i : i + 1], truth[i], True) for i in range(len(truth))])


def evaluate():
    t = 2 * u01("T", 3, 1, 16, 20) - 1
    s = t[:, None] + 0.5 * (2 * u01("E", 3, 4, 1, 16, 20) - 1)
    clipped = int(np.sum(np.abs(s) > 1))
    t, s = (t + 1) / 2, (np.clip(s, -1, 1) + 1) / 2
    pairs = [(t[n], s[n, j]) for n in range(3) for j in range(4)]
    flat = [(s[n].reshape(4, -1), t[n].ravel()) for n in range(3)]
    mmd, median = mmd2(s.reshape(12, -1), t.reshape(3, -1))
    return {
        "clipped": clipped,
        "psnr_db": np.mean([peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]),
        "ssim": np.mean([ssim(a, b) for a, b in pairs]),
        "energy_score": np.mean([energy(a, b, False) for a, b in flat]),
        "energy_score_fair": np.mean([energy(a, b, True) for a, b in flat]),
        "crps_coordinate": np.mean([crps_fair(a, b) for a, b in flat]),
        "mmd2": mmd,
        "mmd_median_squared_distance": median,
    }


def main():
    a, b = images()
    x = 2 * u01("X", 200, 24) - 1
    y = 1.3 * (2 * u01("Y", 200, 24) - 1) @ (np.eye(24) + 0.2 * (2 * u01("M", 24, 24) - 1)) + 0.1
    mmd, median = mmd2(2 * u01("P", 60, 12) - 1, 1.1 * (2 * u01("Q", 20, 12) - 1) + 0.05)
    s, t = u01("S", 10, 48), u01("y", 48)
    values = {
        "image_psnr": peak_signal_noise_ratio(a, b, data_range=2),
        "image_ssim": ssim((a + 1) / 2, (b + 1) / 2),
        "frechet_200x24": frechet(x, y),
        "mmd2_u_60_20_12": mmd,
        "mmd_median_d2": median,
        "energy_score_v_10x48": energy(s, t, False),
        "energy_score_fair_10x48": energy(s, t, True),
        "crps_mean_per_coordinate_fair_10x48": crps_fair(s, t),
        "evaluate": evaluate(),
    }
    print(json.dumps({"rule": RULE, "salt": SALT, "values": values}, indent=1))


if __name__ == "__main__":
    main()
