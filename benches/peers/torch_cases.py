"""The cases in PyTorch: eager and `torch.compile`, derivatives by `torch.func.jvp` or written out by hand."""

import functools
import math

import torch
from torch.func import jvp
from torch.nn import functional

import shared
from torch_layers import LAYERS
from torch_unet import train_step


def set_up(threads):
    torch.set_num_threads(threads)
    torch.set_default_device(shared.DEVICE)


def wait():
    if shared.DEVICE == "cuda":
        torch.cuda.synchronize()


class Network:
    def __init__(self):
        weights, biases = shared.network()
        self.weights = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
        self.biases = [torch.nn.Parameter(torch.tensor(b)) for b in biases]

    def parameters(self):
        return [*self.weights, *self.biases]

    def velocity(self, s, t, x):
        h = torch.cat([s, t, x], 1)
        for weight, bias in zip(self.weights[:-1], self.biases):
            h = functional.gelu(functional.linear(h, weight, bias), approximate="tanh")
        return functional.linear(h, self.weights[-1], self.biases[-1])

    def jump(self, s, t, x):
        return x + (t - s) * self.velocity(s, t, x)

    def dual_velocity(self, s, t, x, dt):
        """v_st(x) and its derivative along dt, written out."""
        h = torch.cat([s, t, x], 1)
        d = torch.cat([torch.zeros_like(s), dt, torch.zeros_like(x)], 1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            h, d = functional.linear(h, weight, bias), functional.linear(d, weight)
            if i < len(self.weights) - 1:
                h, slope = gelu_with_slope(h)
                d = slope * d
        return h, d


def gelu_with_slope(z):
    """z sigmoid(w) with w = sqrt(8/pi) (z + 0.044715 z^3), which is GELU in its tanh form, and its derivative."""
    c = math.sqrt(8 / math.pi)
    p = torch.sigmoid(c * (z + 0.044715 * z**3))
    return z * p, p + z * p * (1 - p) * c * (1 + 3 * 0.044715 * z * z)


def lsd_by_jvp(net, s, u, t, x, stop):
    x_st, dt_x_st = jvp(lambda t: net.jump(s, t, x), (t,), (torch.ones_like(t),))
    if not stop:
        return dt_x_st - net.velocity(t, t, x_st)
    with torch.no_grad():
        b_t = net.velocity(t, t, x_st.detach())
    return dt_x_st - b_t


def lsd_by_hand(net, s, u, t, x, stop):
    v, dt_v = net.dual_velocity(s, t, x, torch.ones_like(t))
    x_st, dt_x_st = x + (t - s) * v, v + (t - s) * dt_v
    if not stop:
        return dt_x_st - net.velocity(t, t, x_st)
    with torch.no_grad():
        b_t = net.velocity(t, t, x_st.detach())
    return dt_x_st - b_t


def esd_by_jvp(net, s, u, t, x, stop):
    if not stop:
        b_s = net.velocity(s, s, x)
        return jvp(lambda s, x: net.jump(s, t, x), (s, x), (torch.ones_like(s), b_s))[1]
    with torch.no_grad():
        b_s = net.velocity(s, s, x)
        advection = jvp(lambda x: net.jump(s, t, x), (x,), (b_s,))[1]
    return jvp(lambda s: net.jump(s, t, x), (s,), (torch.ones_like(s),))[1] + advection


def psd(net, s, u, t, x):
    with torch.no_grad():
        gamma = (u - s) / (t - s)
        v_su = net.velocity(s, u, x)
        two = gamma * v_su + (1 - gamma) * net.velocity(u, t, x + (u - s) * v_su)
    return net.velocity(s, t, x) - two


RESIDUALS = {
    "lsd": {"jvp": functools.partial(lsd_by_jvp, stop=True), "hand": functools.partial(lsd_by_hand, stop=True)},
    "lsd.stop_none": {
        "jvp": functools.partial(lsd_by_jvp, stop=False),
        "hand": functools.partial(lsd_by_hand, stop=False),
    },
    "esd": {"jvp": functools.partial(esd_by_jvp, stop=True)},
    "esd.stop_none": {"jvp": functools.partial(esd_by_jvp, stop=False)},
    "psd": {"plain": psd},
}


def training_step(residual, size, wrap):
    net = Network()
    batch = [torch.tensor(column) for column in shared.batch(size)]
    betas = (shared.BETA1, shared.BETA2)
    optimizer = torch.optim.AdamW(
        net.parameters(), shared.LR, betas, shared.EPS, weight_decay=shared.WEIGHT_DECAY, fused=True
    )
    loss = wrap(lambda *batch: (residual(net, *batch) ** 2).sum(1).mean())

    def call():
        optimizer.zero_grad()
        loss(*batch).backward()
        optimizer.step()

    return call


def sampling(case, wrap):
    net, size = Network(), case["batch"]
    x0 = torch.tensor(shared.normal(1, size, 2))
    times = [k / case["steps"] for k in range(case["steps"] + 1)]

    def sample(x):
        for s, t in zip(times, times[1:]):
            x = net.jump(torch.full((size, 1), s), torch.full((size, 1), t), x)
        return x

    sample = wrap(sample)

    def call():
        with torch.inference_mode():
            sample(x0)

    return call


def variants(case):
    torch.compiler.reset()
    both = {"": lambda f: f, "compile_": torch.compile}
    if case["kind"] == "step":
        return {
            prefix + name: functools.partial(training_step, residual, case["batch"], wrap)
            for name, residual in RESIDUALS[case["objective"]].items()
            for prefix, wrap in both.items()
        }
    if case["kind"] == "unet_step":
        return {f"{prefix}jvp": functools.partial(train_step, wrap) for prefix, wrap in both.items()}
    if case["kind"] == "sampling":
        make = functools.partial(sampling, case)
    else:
        make = functools.partial(LAYERS[case["layer"]], case["pass"])
    return {"eager": lambda: make(wrap=lambda f: f), "compile": lambda: make(wrap=torch.compile)}


def gemm(rows, inner, columns):
    a, b = torch.ones(rows, inner), torch.ones(columns, inner)
    return lambda: functional.linear(a, b)
