"""The compact U-Net of `crates/flowmap-nn/src/net/unet.rs` in PyTorch, with its names, and a training step of it.

The step is LSD with the stop of its paper, mean |d_t X_st(I_s) - sg[b_t(X_st(I_s))]|^2, for 64 images of 1x28x28 with
labels: a forward pass with a tangent in t, a plain one that nothing goes back through, backward, AdamW.

usage: torch_unet.py CONFIG.json MODEL.safetensors SAMPLES.npz

compares one jump of a model with the samples that `flowmap sample --steps 1` drew of it, and counts parameters.
"""

import json
import math
import sys

import numpy
import torch
from torch.func import jvp
from torch.nn import functional

import shared

CLASSES, BATCH, SHAPE, SIGMA = 10, 64, (1, 28, 28), 0.5
PATCH, CHANNELS, HEADS, EMBEDDING, TIME_FEATURES, GROUP, EPS = 2, (32, 64), 4, 128, 8, 8, 1e-5


def shapes():
    """The shape of every parameter by its name."""
    sizes = {}

    def layer(name, weight):
        sizes[f"{name}.weight"], sizes[f"{name}.bias"] = weight, (weight[0],)

    def block(name, c):
        sizes[f"{name}.norm.weight"] = sizes[f"{name}.norm.bias"] = (c,)
        layer(f"{name}.conv0", (c, c, 3, 3))
        layer(f"{name}.modulation", (2 * c, EMBEDDING))
        layer(f"{name}.conv1", (c, c, 3, 3))

    for name in ["s", "t"]:
        layer(f"embed.{name}", (EMBEDDING, 1 + TIME_FEATURES))
        layer(f"embed.out_{name}", (EMBEDDING, EMBEDDING))
    sizes["embed.label.weight"] = (CLASSES + 1, EMBEDDING)
    folded, (high, low) = SHAPE[0] * PATCH**2, CHANNELS
    layer("enc.0.conv", (high, folded, 3, 3))
    block("enc.0.block0", high)
    layer("enc.1.conv", (low, high, 2, 2))
    block("enc.1.block0", low)
    block("mid.block", low)
    sizes["mid.attn.norm.weight"] = sizes["mid.attn.norm.bias"] = (low,)
    layer("mid.attn.qkv", (3 * low, low))
    layer("mid.attn.proj", (low, low))
    layer("dec.1.merge0", (low, 2 * low, 1, 1))
    block("dec.1.block0", low)
    layer("dec.0.merge0", (high, low + high, 1, 1))
    block("dec.0.block0", high)
    sizes["out.norm.weight"] = sizes["out.norm.bias"] = (high,)
    layer("out.conv", (folded, high, 3, 3))
    return sizes


class UNet:
    def __init__(self, params, sigma=SIGMA):
        self.params, self.sigma = params, sigma
        self.frequencies = math.pi * torch.arange(1.0, TIME_FEATURES + 1)

    def layer(self, name):
        return self.params[f"{name}.weight"], self.params[f"{name}.bias"]

    def linear(self, name, x):
        return functional.linear(x, *self.layer(name))

    def conv(self, name, x, padding=0, stride=1):
        return functional.conv2d(x, *self.layer(name), stride=stride, padding=padding)

    def norm(self, name, x):
        return functional.group_norm(x, x.shape[1] // GROUP, *self.layer(name), EPS)

    def embeddings(self, s, t, labels):
        def features(time):
            time = time[:, None]
            return torch.cat([time, torch.cos(time * self.frequencies)], 1)

        def out(name, e):
            return functional.silu(self.linear(name, functional.silu(e)))

        start = self.linear("embed.s", features(s)) + self.params["embed.label.weight"][labels]
        both = start + self.linear("embed.t", features(t - s))
        return out("embed.out_s", start), out("embed.out_t", both)

    def block(self, name, x, e):
        y = self.conv(f"{name}.conv0", functional.silu(self.norm(f"{name}.norm", x)), 1)
        scale, shift = self.linear(f"{name}.modulation", e)[:, :, None, None].chunk(2, 1)
        y = functional.group_norm(y, y.shape[1] // GROUP, eps=EPS) * (1 + scale) + shift
        return x + self.conv(f"{name}.conv1", functional.silu(y), 1)

    def attention(self, x):
        n, c, h, w = x.shape
        tokens = self.norm("mid.attn.norm", x).reshape(n, c, h * w).transpose(1, 2)
        qkv = self.linear("mid.attn.qkv", tokens).reshape(n, h * w, 3, HEADS, c // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # The fused attention has no forward derivative.
        y = torch.softmax(q @ k.transpose(-2, -1) * (c // HEADS) ** -0.5, -1) @ v
        y = self.linear("mid.attn.proj", y.transpose(1, 2).reshape(n, h * w, c))
        return x + y.transpose(1, 2).reshape(n, c, h, w)

    def velocity(self, s, t, x, labels):
        e_s, e_t = self.embeddings(s, t, labels)
        high = self.conv("enc.0.conv", functional.pixel_unshuffle(x / self.sigma, PATCH), 1)
        high = self.block("enc.0.block0", high, e_s)
        low = self.block("enc.1.block0", self.conv("enc.1.conv", high, stride=2), e_s)
        h = self.attention(self.block("mid.block", low, e_t))
        h = self.block("dec.1.block0", self.conv("dec.1.merge0", torch.cat([h, low], 1)), e_t)
        h = functional.interpolate(h, scale_factor=2, mode="nearest")
        h = self.block("dec.0.block0", self.conv("dec.0.merge0", torch.cat([h, high], 1)), e_t)
        h = self.conv("out.conv", functional.silu(self.norm("out.norm", h)), 1)
        return self.sigma * functional.pixel_shuffle(h, PATCH)

    def jump(self, s, t, x, labels):
        return x + (t - s)[:, None, None, None] * self.velocity(s, t, x, labels)


def numbers(seed, name, shape):
    """What a layer starts with, and numbers where ours begins at zero, so that nothing is skipped for being zero."""
    x = torch.tensor(shared.normal(seed, *shape))
    if name.endswith("norm.weight"):
        return 1 + 0.02 * x
    fan_in = math.prod(shape[1:])
    return x * (0.02 if len(shape) == 1 else fan_in**-0.5)


def train_step(wrap):
    net = UNet(
        {name: torch.nn.Parameter(numbers(i, name, shape)) for i, (name, shape) in enumerate(shapes().items())}
    )
    s, _, t, _ = shared.batch(BATCH)
    s, t = torch.tensor(s[:, 0]), torch.tensor(t[:, 0])
    x = torch.tensor(shared.normal(1, BATCH, *SHAPE))
    labels = torch.arange(BATCH) % CLASSES
    betas = (shared.BETA1, shared.BETA2)
    optimizer = torch.optim.AdamW(
        net.params.values(), shared.LR, betas, shared.EPS, weight_decay=shared.WEIGHT_DECAY, fused=True
    )

    def loss(s, t, x):
        x_st, dt_x_st = jvp(lambda t: net.jump(s, t, x, labels), (t,), (torch.ones_like(t),))
        with torch.no_grad():
            b_t = net.velocity(t, t, x_st.detach(), labels)
        return ((dt_x_st - b_t) ** 2).flatten(1).sum(1).mean()

    loss = wrap(loss)

    def call():
        optimizer.zero_grad()
        loss(s, t, x).backward()
        optimizer.step()

    return call


def main():
    config, model, samples = sys.argv[1:]
    with open(config) as file:
        sigma = json.load(file)["sigma_data"]
    params = tensors(model)
    wanted = shapes()
    assert {name: tuple(x.shape) for name, x in params.items() if name in wanted} == wanted
    drawn = numpy.load(samples)
    noise, labels = torch.tensor(drawn["noise"]), torch.tensor(drawn["labels"].astype("i8"))
    zeros = torch.zeros(len(noise))
    ours = torch.tensor(drawn["samples"])
    moved = UNet(params, sigma).jump(zeros, zeros + 1, noise, labels)
    error = ((moved - ours).norm() / (ours - noise).norm()).item()
    print(f"{sum(math.prod(shape) for shape in wanted.values())} parameters, relative error {error:.1e}")


def tensors(path):
    """The tensors of a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: torch.tensor(numpy.frombuffer(data[slice(*x["data_offsets"])], "f").reshape(x["shape"]))
        for name, x in header.items()
    }


if __name__ == "__main__":
    main()
