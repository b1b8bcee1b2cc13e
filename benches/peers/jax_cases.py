"""The cases in JAX, compiled by `jax.jit`."""

import functools

import jax
import jax.numpy as jnp
import numpy

import shared


def set_up(_threads):
    """XLA takes as many threads as there are cores that the process may use."""


def wait():
    """Every call waits for its own results."""


def velocity(params, s, t, x):
    h = jnp.concatenate([s, t, x], 1)
    for weight, bias in params[:-1]:
        h = jax.nn.gelu(h @ weight.T + bias, approximate=True)
    weight, bias = params[-1]
    return h @ weight.T + bias


def jump(params, s, t, x):
    return x + (t - s) * velocity(params, s, t, x)


def lsd_residual(params, s, u, t, x, stop):
    """d/dt X_st(x) - v_tt(X_st(x)), the second term stopped or not."""
    x_st, dt_x_st = jax.jvp(lambda t: jump(params, s, t, x), (t,), (jnp.ones_like(t),))
    b_t = velocity(params, t, t, jax.lax.stop_gradient(x_st) if stop else x_st)
    return dt_x_st - (jax.lax.stop_gradient(b_t) if stop else b_t)


def esd_residual(params, s, u, t, x, stop):
    """d/ds X_st(x) + grad X_st(x) v_ss(x), the second term stopped or not."""
    b_s = velocity(params, s, s, x)
    if not stop:
        return jax.jvp(lambda s, x: jump(params, s, t, x), (s, x), (jnp.ones_like(s), b_s))[1]
    ds_x_st = jax.jvp(lambda s: jump(params, s, t, x), (s,), (jnp.ones_like(s),))[1]
    advection = jax.jvp(lambda x: jump(params, s, t, x), (x,), (b_s,))[1]
    return ds_x_st + jax.lax.stop_gradient(advection)


def psd_residual(params, s, u, t, x):
    """v_st - sg[gamma v_su + (1 - gamma) v_ut(X_su)]."""
    gamma = (u - s) / (t - s)
    v_su = velocity(params, s, u, x)
    v_ut = velocity(params, u, t, x + (u - s) * v_su)
    return velocity(params, s, t, x) - jax.lax.stop_gradient(gamma * v_su + (1 - gamma) * v_ut)


RESIDUALS = {
    "lsd": functools.partial(lsd_residual, stop=True),
    "lsd.stop_none": functools.partial(lsd_residual, stop=False),
    "esd": functools.partial(esd_residual, stop=True),
    "esd.stop_none": functools.partial(esd_residual, stop=False),
    "psd": psd_residual,
}


def training_step(case):
    residual = RESIDUALS[case["objective"]]
    tree_map = jax.tree_util.tree_map

    def loss(params, *batch):
        return (residual(params, *batch) ** 2).sum(1).mean()

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, *batch):
        params, first, second, k = state
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        k = k + 1
        first = tree_map(lambda m, g: shared.BETA1 * m + (1 - shared.BETA1) * g, first, gradient)
        second = tree_map(lambda v, g: shared.BETA2 * v + (1 - shared.BETA2) * g * g, second, gradient)
        bias1, bias2 = 1 - shared.BETA1**k, 1 - shared.BETA2**k

        def update(p, m, v):
            moved = (m / bias1) / (jnp.sqrt(v / bias2) + shared.EPS)
            return p * (1 - shared.LR * shared.WEIGHT_DECAY) - shared.LR * moved

        return (tree_map(update, params, first, second), first, second, k), value

    weights, biases = shared.network()
    params = [(jnp.array(w), jnp.array(b)) for w, b in zip(weights, biases)]
    zeros = functools.partial(tree_map, jnp.zeros_like)
    state = [(params, zeros(params), zeros(params), jnp.float32(0))]
    batch = [jnp.array(column) for column in shared.batch(case["batch"])]

    def call():
        state[0], value = step(state[0], *batch)
        jax.block_until_ready((state[0], value))

    return call


def sampling(case):
    weights, biases = shared.network()
    params = [(jnp.array(w), jnp.array(b)) for w, b in zip(weights, biases)]
    x0, times = jnp.array(shared.normal(1, case["batch"], 2)), numpy.linspace(0, 1, case["steps"] + 1)

    @jax.jit
    def sample(params, x):
        for s, t in zip(times, times[1:]):
            x = jump(params, jnp.full((len(x), 1), s, "f"), jnp.full((len(x), 1), t, "f"), x)
        return x

    return lambda: sample(params, x0).block_until_ready()


def variants(case):
    make = {"step": training_step, "sampling": sampling}[case["kind"]]
    result = {"jit": lambda: make(case)}
    if jax.default_backend() != "cpu":
        # A GPU multiplies matrices of f32 with fewer digits unless told otherwise; this one is told.
        result["jit_f32"] = lambda: whole(make(case))
    return result


def whole(call):
    def call_with_all_digits():
        with jax.default_matmul_precision("highest"):
            call()

    return call_with_all_digits


def gemm(rows, inner, columns):
    a, b = jnp.ones((rows, inner)), jnp.ones((columns, inner))
    product = jax.jit(lambda a, b: a @ b.T)
    product(a, b).block_until_ready()
    return lambda: product(a, b).block_until_ready()
