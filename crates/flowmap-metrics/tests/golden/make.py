"""Makes reference.json: small inputs and what other libraries say about them.

Usage: python make.py > reference.json
Needs: numpy, scipy, POT, dcor. The versions used are written into the file.
"""

import json

import dcor
import numpy as np
import ot
import scipy
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist
from scipy.stats import energy_distance, ks_2samp, wasserstein_distance

rng = np.random.default_rng(20260101)


def single(values):
    """Rounds to f32, so that the file and the test see the same numbers."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def mmd2(x, y):
    """Sum of Gaussian kernels, median distance within y times 1/4 to 4, both estimators."""
    sigmas = np.median(pdist(y)) * np.array([0.25, 0.5, 1.0, 2.0, 4.0])

    def kernel(a, b):
        return sum(np.exp(-cdist(a, b, "sqeuclidean") / (2 * s * s)) for s in sigmas)

    n, m = len(x), len(y)
    kx, ky, kxy = kernel(x, x), kernel(y, y), kernel(x, y)
    unbiased = (kx.sum() - np.trace(kx)) / (n * (n - 1)) + (ky.sum() - np.trace(ky)) / (m * (m - 1))
    return {
        "sigmas": sigmas.tolist(),
        "unbiased": unbiased - 2 * kxy.mean(),
        "biased": kx.mean() + ky.mean() - 2 * kxy.mean(),
    }


def columns(x, y):
    """Distances column by column, and the largest difference of a correlation."""
    dim = x.shape[1]
    answer = {
        "w1": [float(wasserstein_distance(x[:, k], y[:, k])) for k in range(dim)],
        "ks": [float(ks_2samp(x[:, k], y[:, k]).statistic) for k in range(dim)],
    }
    if dim > 1:
        answer["correlation_error"] = float(np.abs(np.corrcoef(x.T) - np.corrcoef(y.T)).max())
    return answer


def case(n, m, dim, n_directions):
    x = single(rng.normal(size=(n, dim)))
    y = single(rng.normal(size=(m, dim)) * 1.3 + 0.4)
    theta = rng.normal(size=(dim, n_directions))
    theta /= np.linalg.norm(theta, axis=0)
    answer = {
        "dim": dim,
        "x": x.ravel().tolist(),
        "y": y.ravel().tolist(),
        "directions": theta.T.ravel().tolist(),
        "sliced": float(ot.sliced_wasserstein_distance(x, y, projections=theta, p=2)),
        "energy_dcor": float(dcor.energy_distance(x, y)),
        "mmd2": mmd2(x, y),
        "columns": columns(x, y),
    }
    if dim == 1:
        answer["energy_scipy"] = float(energy_distance(x.ravel(), y.ravel()))
    if n == m:
        cost = cdist(x, y, "sqeuclidean")
        answer["w2_emd"] = float(np.sqrt(ot.emd2([], [], cost)))
        rows, columns = linear_sum_assignment(cost)
        answer["w2_assignment"] = float(np.sqrt(cost[rows, columns].mean()))
    return answer


def checkerboard(x, y):
    cell = np.minimum((x + 1) * 2, 3).astype(int) + np.minimum((y + 1) * 2, 3).astype(int)
    return np.where(cell % 2 == 0, 0.5, 0.0)


def paper_kl(samples):
    """Density histogram by NumPy; a center on a cell border belongs to the cell above."""
    q, edges, _ = np.histogram2d(*samples.T, bins=50, range=[[-1, 1], [-1, 1]], density=True)
    centers = np.round(0.5 * (edges[1:] + edges[:-1]), 12)
    p = checkerboard(*np.meshgrid(centers, centers, indexing="ij"))
    inside = p > 0
    return float((p[inside] * np.log(p[inside] / (q[inside] + 1e-10))).sum() * (2 / 50) ** 2)


def exact_kl(samples):
    """64 x 64 bins and one for the outside, pseudo-count 1 in each."""
    count, edges, _ = np.histogram2d(*samples.T, bins=64, range=[[-1, 1], [-1, 1]])
    centers = 0.5 * (edges[1:] + edges[:-1])
    p = checkerboard(*np.meshgrid(centers, centers, indexing="ij")) * (2 / 64) ** 2
    p = np.append(p.ravel(), 0.0)
    n, k = len(samples), 64 * 64 + 1
    q = (np.append(count.ravel(), n - count.sum()) + 1) / (n + k)
    smooth = (n * p + 1) / (n + k)
    off = p == 0
    counts = q * (n + k) - 1
    return {
        "kl": float((p[~off] * np.log(p[~off] / q[~off])).sum()),
        "reverse_kl": float((q * np.log(q / smooth)).sum()),
        "mass_off_support": float(counts[off].sum() / n),
    }


plane = single(rng.normal(size=(200, 2)) * 0.6)
print(json.dumps({
    "made_by": "tests/golden/make.py",
    "versions": {
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "POT": ot.__version__,
        "dcor": dcor.__version__,
    },
    "pairs": [case(24, 24, 2, 6), case(20, 13, 3, 6), case(30, 25, 1, 1), case(16, 16, 5, 6)],
    "histogram": {"samples": plane.ravel().tolist(), "paper_kl": paper_kl(plane), "exact_kl": exact_kl(plane)},
}))
