"""Compiles CUDA C++ by NVRTC to machine code, without a GPU, and prints a line for each file and architecture.

usage: nvrtc.py FOLDER_OF_LIBNVRTC ARCHITECTURE,... FILE... [-- OPTION...]

A file may include others of its folder.
"""

import ctypes
import pathlib
import sys
import time


class Nvrtc:
    def __init__(self, folder):
        # The compiler looks for its second library by name alone.
        for part in sorted(pathlib.Path(folder).glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(part), mode=ctypes.RTLD_GLOBAL)
        found = [path for path in sorted(pathlib.Path(folder).glob("libnvrtc.so.*")) if "alt" not in path.name]
        self.library = ctypes.CDLL(str(found[0]))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"{name}: {self.library.nvrtcGetErrorString(code).decode()}")

    def compile(self, name, source, options):
        """The size of the machine code in bytes, or None with what the compiler said."""
        program = ctypes.c_void_p()
        self.call(
            "nvrtcCreateProgram", ctypes.byref(program), source.encode(), name.encode(), 0, None, None
        )
        words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        code = self.library.nvrtcCompileProgram(program, len(options), words)
        size = ctypes.c_size_t()
        self.call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self.call("nvrtcGetProgramLog", program, log)
        said = log.value.decode(errors="replace").strip()
        if code != 0:
            return None, said
        self.call("nvrtcGetCUBINSize", program, ctypes.byref(size))
        self.call("nvrtcDestroyProgram", ctypes.byref(program))
        return size.value, said


def main():
    folder, architectures, *rest = sys.argv[1:]
    split = rest.index("--") if "--" in rest else len(rest)
    files, options = rest[:split], rest[split + 1 :]
    nvrtc = Nvrtc(folder)
    n_failed = 0
    for file in map(pathlib.Path, files):
        for architecture in architectures.split(","):
            start = time.perf_counter()
            chosen = [f"--gpu-architecture={architecture}", f"--include-path={file.parent}", *options]
            size, said = nvrtc.compile(file.name, file.read_text(), chosen)
            seconds = time.perf_counter() - start
            result = "FAILED" if size is None else f"{size} bytes"
            print(f"{file.name} {architecture}: {result}, {seconds:.2f} s", flush=True)
            if said:
                print(said, flush=True)
            n_failed += size is None
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
