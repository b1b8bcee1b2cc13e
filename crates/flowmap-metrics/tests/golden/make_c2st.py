"""Makes c2st.json: classifier two-sample tests by scikit-learn, for sets that tests/metrics/c2st.rs makes again.

Usage: python make_c2st.py > c2st.json
Needs: numpy, scipy, scikit-learn. The versions used are written into the file.
"""

import json
import warnings

import numpy as np
import scipy
import sklearn
from scipy.special import ndtri
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore")
SEEDS = range(1, 6)
MASK = (1 << 64) - 1


def uniforms(seed, count):
    """SplitMix64, the upper 52 bits as the middle of a cell of (0, 1)."""
    state, out = seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        out.append(((z >> 12) + 0.5) * 2.0**-52)
    return np.array(out)


def normals(seed, n, dim):
    return ndtri(uniforms(seed, n * dim)).reshape(n, dim)


def equal(n, dim):
    return normals(1, n, dim), normals(2, n, dim)


def shifted(n, dim):
    return normals(3, n, dim), normals(4, n, dim) + 0.4


def correlated(n, dim):
    """The first two columns of the second set are correlated; no column differs."""
    x, y = normals(5, n, dim), normals(6, n, dim)
    y[:, 1] = 0.8 * y[:, 0] + 0.6 * y[:, 1]
    return x, y


def ring(n, dim):
    """A ring against a Gaussian of the same variances."""
    x, y = normals(7, n, dim), normals(8, n, dim)
    y[:, :2] *= np.sqrt(2.0) / np.linalg.norm(y[:, :2], axis=1, keepdims=True)
    return x, y


def c2st(reference, samples, seed):
    """The protocol of sbibm 1.1."""
    x, y = reference.astype(np.float32), samples.astype(np.float32)
    mean, deviation = x.mean(axis=0), x.std(axis=0, ddof=1)
    x, y = (x - mean) / deviation, (y - mean) / deviation
    width = 10 * x.shape[1]
    net = MLPClassifier(
        hidden_layer_sizes=(width, width), activation="relu", solver="adam", max_iter=10000, random_state=seed
    )
    data = np.concatenate([x, y])
    target = np.concatenate([np.zeros(len(x)), np.ones(len(y))])
    folds = KFold(n_splits=5, shuffle=True, random_state=seed)
    return float(cross_val_score(net, data, target, cv=folds, scoring="accuracy").mean())


cases = []
for make, n, dim in [(equal, 1000, 2), (shifted, 1000, 2), (correlated, 1000, 4), (ring, 1000, 2)]:
    scores = [c2st(*make(n, dim), seed) for seed in SEEDS]
    cases.append({"law": make.__name__, "n": n, "dim": dim, "scores": scores})
versions = {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__}
print(json.dumps({"made_by": "tests/golden/make_c2st.py", "versions": versions, "cases": cases}, indent=1))
