"""Unpacks wheels of CUDA into a folder as a toolkit has them: bin, include, lib, nvvm.

usage: wheels.py FOLDER PACKAGE==VERSION...
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile


def unpack(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            parts = pathlib.PurePosixPath(info.filename).parts
            # nvidia/cu13/bin/nvcc becomes bin/nvcc; the rest describes the package.
            if info.is_dir() or len(parts) < 3 or parts[0] != "nvidia" or ".." in parts:
                continue
            path = folder.joinpath(*parts[2:])
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(path, "wb") as target:
                while block := source.read(1 << 20):
                    target.write(block)
            is_program = parts[-2] == "bin"
            os.chmod(path, 0o755 if is_program else (info.external_attr >> 16) & 0o777 or 0o644)


def main():
    folder, packages = pathlib.Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as wheels:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        pip += ["--disable-pip-version-check", "--retries", "1", "--timeout", "30", "--dest", wheels]
        subprocess.run([*pip, *packages], check=True, stdout=sys.stderr)
        for wheel in sorted(pathlib.Path(wheels).glob("*.whl")):
            unpack(wheel, folder)


if __name__ == "__main__":
    sys.exit(main())
