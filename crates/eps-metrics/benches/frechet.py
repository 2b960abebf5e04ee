"""Times the Fréchet distance as it is commonly computed, with SciPy's matrix square root, at the sizes of `cargo bench -p eps-metrics`.

    pip install numpy scipy
    OMP_NUM_THREADS=1 python crates/eps-metrics/benches/frechet.py

Beside it `RAYON_NUM_THREADS=1 cargo bench -p eps-metrics -- frechet`, which takes one thread too.
"""

import time

import numpy
import scipy

rng = numpy.random.default_rng(0)
for dim in (256, 2048):
    a, b = (rng.uniform(-1, 1, (2 * dim, dim)) for _ in range(2))
    start = time.perf_counter()
    (m_a, s_a), (m_b, s_b) = ((x.mean(0), numpy.cov(x, rowvar=False)) for x in (a, b))
    covariances = time.perf_counter()
    root = scipy.linalg.sqrtm(s_a @ s_b)
    end = time.perf_counter()
    distance = ((m_a - m_b) ** 2).sum() + numpy.trace(s_a + s_b - 2 * root.real)
    print(
        f"{dim} features, twice as many images: {end - start:.3f} s, of which the square root {end - covariances:.3f} s; "
        f"distance {distance:.6f}, SciPy {scipy.__version__}"
    )
