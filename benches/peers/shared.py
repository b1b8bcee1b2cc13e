"""The network's parameters and the batch, the same for every library: five Linear layers 4-512-512-512-512-2."""

import os

import numpy

DIMS = [4, 512, 512, 512, 512, 2]
# Where PyTorch computes; JAX takes a GPU where its packages know one.
DEVICE = os.environ.get("FLOWMAP_PEERS_DEVICE", "cpu")
LR, BETA1, BETA2, EPS, WEIGHT_DECAY = 1e-4, 0.9, 0.999, 1e-8, 1e-2


def network():
    rng = numpy.random.default_rng(0)
    weights = [
        (rng.standard_normal((n_out, n_in)) / n_in**0.5).astype("f") for n_in, n_out in zip(DIMS, DIMS[1:])
    ]
    biases = [(0.1 * rng.standard_normal(n_out)).astype("f") for n_out in DIMS[1:]]
    return weights, biases


def batch(size):
    """Times s <= u <= t as columns, u in the middle, and points."""
    rng = numpy.random.default_rng(1)
    s = (0.5 * rng.random((size, 1))).astype("f")
    t = (s + 0.1 + 0.4 * rng.random((size, 1))).astype("f")
    return s, 0.5 * (s + t), t, rng.standard_normal((size, 2)).astype("f")


def normal(seed, *shape):
    return numpy.random.default_rng(seed).standard_normal(shape).astype("f")
