"""The layers of `benches/src/*_layers.rs` and `dit_block.rs` in PyTorch, with the same shapes.

Backward passes begin with ones and reach inputs and parameters alike.
"""

import torch
from torch.func import jvp
from torch.nn import functional

import shared


def numbers(seed, *shape, std=1.0):
    return (std * torch.tensor(shared.normal(seed, *shape))).requires_grad_()


def weight(seed, *shape):
    fan_in = 1
    for size in shape[1:]:
        fan_in *= size
    return numbers(seed, *shape, std=fan_in**-0.5)


def passes(function, inputs, params, layer_pass, wrap):
    """A call of `function(*inputs)` and its backward pass, with a tangent of every input for `dual_backward`."""
    leaves = [*inputs, *params]
    if layer_pass == "dual_backward":
        directions = tuple(torch.tensor(shared.normal(100 + i, *x.shape)) for i, x in enumerate(inputs))

        def both(*inputs):
            y, dy = jvp(function, inputs, directions)
            return y + dy

        run = wrap(both)
    else:
        run = wrap(function)

    def call():
        for leaf in leaves:
            leaf.grad = None
        y = run(*inputs)
        y.backward(torch.ones_like(y))

    return call


def conv(layer_pass, wrap):
    kernel, bias = weight(1, 64, 64, 3, 3), numbers(2, 64)
    x = numbers(3, 64, 64, 28, 28)
    return passes(lambda x: functional.conv2d(x, kernel, bias, padding=1), (x,), (kernel, bias), layer_pass, wrap)


def group_norm_silu(layer_pass, wrap):
    scale, bias = numbers(1, 64), numbers(2, 64)
    x = numbers(3, 64, 64, 28, 28)

    def function(x):
        return functional.silu(functional.group_norm(x, 32, scale, bias, 1e-5))

    return passes(function, (x,), (scale, bias), layer_pass, wrap)


def upsample(layer_pass, wrap):
    x = numbers(3, 64, 64, 28, 28)
    return passes(lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"), (x,), (), layer_pass, wrap)


def dit_block(layer_pass, wrap):
    sizes = [(2304, 384), (1152, 384), (384, 384), (1536, 384), (384, 1536)]
    weights = [weight(i, *size) for i, size in enumerate(sizes)]
    biases = [numbers(10 + i, size[0]) for i, size in enumerate(sizes)]
    x, c = numbers(3, 16, 64, 384), numbers(4, 16, 384)
    # The fused attention of PyTorch has no forward derivative; a peer that differentiates writes it out.
    is_dual = layer_pass == "dual_backward"

    def attention(qkv):
        q, k, v = qkv.reshape(16, 64, 3, 6, 64).permute(2, 0, 3, 1, 4)
        if is_dual:
            y = torch.softmax(q @ k.transpose(-2, -1) * 64**-0.5, -1) @ v
        else:
            y = functional.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).reshape(16, 64, 384)

    def linear(i, y):
        return functional.linear(y, weights[i], biases[i])

    def modulated(x, shift, scale):
        return functional.layer_norm(x, (384,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    def block(x, c):
        parts = linear(0, functional.silu(c)).chunk(6, 1)
        x = x + parts[2][:, None] * linear(2, attention(linear(1, modulated(x, parts[0], parts[1]))))
        y = functional.gelu(linear(3, modulated(x, parts[3], parts[4])), approximate="tanh")
        return x + parts[5][:, None] * linear(4, y)

    return passes(block, (x, c), (*weights, *biases), layer_pass, wrap)


LAYERS = {
    "conv3x3": conv,
    "group_norm_silu": group_norm_silu,
    "upsample2x": upsample,
    "dit_s_block": dit_block,
}
