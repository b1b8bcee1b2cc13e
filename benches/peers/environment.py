"""A virtual environment with JAX and PyTorch in `.venv` beside this file, and our programs in release."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# All that PyTorch needs on a CPU, beside itself.
TORCH_NEEDS = ["numpy", "filelock", "typing_extensions", "sympy", "networkx", "jinja2", "fsspec", "setuptools"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def python():
    """The Python of the environment, which is made and filled where it is not yet there."""
    folder = HERE / ".venv"
    program = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not program.exists():
        say(f"making {folder}")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if not imports(program, "jax"):
        install(program, "jax")
    if not imports(program, "torch"):
        # PyTorch alone is enough where its wheel is for CPUs; one for GPUs wants gigabytes more to be imported at all.
        install(program, *TORCH_NEEDS)
        install(program, "--no-deps", "torch")
        if not imports(program, "torch"):
            install(program, "torch")
    return program


def imports(program, module):
    return subprocess.run([str(program), "-c", f"import {module}"], capture_output=True).returncode == 0


def install(program, *packages):
    say("installing " + " ".join(packages))
    subprocess.run([str(program), "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)


def build():
    """Builds our programs in release and gives the folder that holds them."""
    command = ["cargo", "build", "--release", "--workspace", "--bin", "flowmap-peer", "--bin", "flowmap"]
    say(" ".join(command))
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    query = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = subprocess.run(query, cwd=ROOT, check=True, capture_output=True).stdout
    return pathlib.Path(json.loads(metadata)["target_directory"]) / "release"
