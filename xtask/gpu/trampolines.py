"""Static libraries that stand in for those of CUDA, so that a program starts where there are none.

usage: trampolines.py SOURCE_OF_CUDARC FOLDER

Every function that cudarc declares jumps to the one of that name in the real library, which is opened at the first call.
Where the library or the function is missing, the call returns the error that says so. For x86-64 on Linux.
"""

import os
import pathlib
import re
import subprocess
import sys

# Link name: (module of cudarc, names of the real library, what a call returns without it).
LIBRARIES = {
    "cuda": ("driver", ["libcuda.so.1"], 100),  # CUDA_ERROR_NO_DEVICE
    "cublas": ("cublas", ["libcublas.so.13", "libcublas.so.12"], 1),  # NOT_INITIALIZED
    "cublasLt": ("cublaslt", ["libcublasLt.so.13", "libcublasLt.so.12"], 1),
    "curand": ("curand", ["libcurand.so.10"], 203),  # INITIALIZATION_FAILED
    "nvrtc": ("nvrtc", ["libnvrtc.so.13", "libnvrtc.so.12"], 11),  # INTERNAL_ERROR
    "nccl": ("nccl", ["libnccl.so.2"], 2),  # SYSTEM_ERROR
    "cudnn": ("cudnn", ["libcudnn.so.9"], 1001),  # NOT_INITIALIZED
}

# The driver is missing on every machine without a GPU, and the caller says so; a missing library is worth a line.
RESOLVER = """#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
static void *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *const sonames[] = {%(sonames)s, 0};
static const char *const functions[] = {%(functions)s};
__attribute__((visibility("hidden"))) void *flowmap_%(name)s_slots[%(n)d];
static long missing(void) { return %(error)d; }
static void open_library(void) {
  const char *first = 0;
  for (int i = 0; sonames[i] && !library; ++i) {
    library = dlopen(sonames[i], RTLD_NOW | RTLD_GLOBAL);
    if (!library && !first) first = strdup(dlerror());
  }
  if (!library && strcmp("%(name)s", "cuda")) fprintf(stderr, "%%s\\n", first);
}
__attribute__((visibility("hidden"))) void *flowmap_%(name)s_resolve(unsigned long i) {
  pthread_once(&once, open_library);
  void *function = library ? dlsym(library, functions[i]) : 0;
  if (!function) function = (void *)missing;
  __atomic_store_n(&flowmap_%(name)s_slots[i], function, __ATOMIC_RELEASE);
  return function;
}
"""

INTEGERS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax"]


def slow_path(name):
    """Finds the function number r11 and jumps to it, with every register of an argument as it was."""
    whole = [(f"%{register}", 8 * i) for i, register in enumerate(INTEGERS)]
    floats = [(f"%xmm{i}", 56 + 16 * i) for i in range(8)]
    lines = [f"flowmap_{name}_slow:", "push %rbp", "mov %rsp, %rbp", "and $-16, %rsp", "sub $192, %rsp"]
    lines += [f"mov {register}, {at}(%rsp)" for register, at in whole]
    lines += [f"movups {register}, {at}(%rsp)" for register, at in floats]
    lines += ["mov %r11, %rdi", f"call flowmap_{name}_resolve", "mov %rax, %r11"]
    lines += [f"mov {at}(%rsp), {register}" for register, at in whole]
    lines += [f"movups {at}(%rsp), {register}" for register, at in floats]
    return lines + ["leave", "jmp *%r11"]


def assembly(name, functions):
    lines = [".text", *slow_path(name)]
    for i, function in enumerate(functions):
        lines += [
            f".globl {function}",
            f".type {function}, @function",
            f"{function}:",
            f"mov flowmap_{name}_slots+{8 * i}(%rip), %r11",
            "test %r11, %r11",
            "je 1f",
            "jmp *%r11",
            f"1: mov ${i}, %r11",
            f"jmp flowmap_{name}_slow",
        ]
    return "\n".join([*lines, '.section .note.GNU-stack,"",@progbits', ""])


def build(name, module, sonames, error, cudarc, folder):
    declared = (cudarc / module / "sys" / "mod.rs").read_text()
    functions = sorted(set(re.findall(r'extern "C" \{\s*fn (\w+)\(', declared)))
    if not functions:
        raise SystemExit(f"no functions in {cudarc / module}: trampolines.py does not know this version of cudarc")
    quoted = {"sonames": sonames, "functions": functions}
    quoted = {key: ", ".join(f'"{value}"' for value in values) for key, values in quoted.items()}
    (folder / f"{name}.c").write_text(RESOLVER % {"name": name, "error": error, "n": len(functions), **quoted})
    (folder / f"{name}_jumps.s").write_text(assembly(name, functions))
    objects = []
    for source in [f"{name}.c", f"{name}_jumps.s"]:
        objects.append(str(folder / source) + ".o")
        subprocess.run(["cc", "-c", "-fPIC", "-O1", "-o", objects[-1], str(folder / source)], check=True)
    library = folder / f"lib{name}.a"
    library.unlink(missing_ok=True)
    subprocess.run(["ar", "rcs", str(library), *objects], check=True)
    for path in [*objects, folder / f"{name}.c", folder / f"{name}_jumps.s"]:
        os.remove(path)


def main():
    cudarc, folder = map(pathlib.Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (module, sonames, error) in LIBRARIES.items():
        build(name, module, sonames, error, cudarc, folder)


if __name__ == "__main__":
    sys.exit(main())
