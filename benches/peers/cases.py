"""The cases by name: what each library computes, and the matrix product whose rate gives the limit."""

WIDTH = 512


def step(objective, batch, **more):
    rows = min(2 * batch, 8192)
    case = {"kind": "step", "objective": objective, "batch": batch}
    gemm = {"rows": rows, "inner": WIDTH, "columns": WIDTH}
    return {"case": case, "gemm": gemm, "libraries": ("jax", "torch"), **more}


def sampling(steps, batch):
    case = {"kind": "sampling", "steps": steps, "batch": batch}
    return {"case": case, "gemm": {"rows": batch, "inner": WIDTH, "columns": WIDTH}, "libraries": ("jax", "torch")}


def layer(name, layer_pass, gemm=None):
    case = {"kind": "layer", "layer": name, "pass": layer_pass}
    return {"case": case, "gemm": gemm, "libraries": ("torch",)}


def all_cases():
    cases = {}
    for batch in [256, 1024, 4096, 16384]:
        cases[f"lsd.stop_none/b{batch}"] = step("lsd.stop_none", batch)
    # Memory is compared too, so each variant gets a process of its own; those of PyTorch that keep every
    # intermediate would need some 10 GiB.
    cases["lsd.stop_none/b100000"] = step(
        "lsd.stop_none", 100_000, alone=True, variants={"jax": ["jit"], "torch": ["compile_hand"]}
    )
    cases["lsd/b1024"] = step("lsd", 1024)
    cases["psd/b1024"] = step("psd", 1024)
    cases["esd/b1024"] = step("esd", 1024)
    cases["esd.stop_none/b1024"] = step("esd.stop_none", 1024)
    for steps in [1, 4]:
        for batch in [1, 64, 4096]:
            cases[f"sampling/n{steps}/b{batch}"] = sampling(steps, batch)
    columns = {"rows": 12544, "inner": 576, "columns": 64}
    cases["conv3x3/backward"] = layer("conv3x3", "backward", columns)
    cases["group_norm_silu/backward"] = layer("group_norm_silu", "backward")
    cases["upsample2x/backward"] = layer("upsample2x", "backward")
    tokens = {"rows": 1024, "inner": 384, "columns": 1536}
    cases["dit_s_block/backward"] = layer("dit_s_block", "backward", tokens)
    cases["dit_s_block/dual_backward"] = layer("dit_s_block", "dual_backward", tokens)
    cases["unet/train_step"] = {"case": {"kind": "unet_step"}, "gemm": None, "libraries": ("torch",)}
    cases["process/sample16"] = {"case": {"kind": "process"}, "gemm": None, "libraries": ()}
    return cases
