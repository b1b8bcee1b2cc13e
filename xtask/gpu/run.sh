#!/bin/sh
# Runs the suite of this package on the GPU of this machine: run.sh [OPTIONS OF flowmap-gpu-suite]
#
# Needs a driver, and the libraries of CUDA in LD_LIBRARY_PATH, in the environment of PYTHON (python3 without it) or in
# /usr/local/cuda. Prints one table; all numbers are in result.json beside this file.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
folders=
if command -v "$python" >/dev/null 2>&1; then
  folders=$("$python" - <<'P'
import glob, site, sys, sysconfig

roots = [sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], *sys.path]
try:
    roots += [*site.getsitepackages(), site.getusersitepackages()]
except AttributeError:
    pass
found = [folder for root in dict.fromkeys(roots) if root for folder in sorted(glob.glob(f"{root}/nvidia/*/lib"))]
# Later versions first: their folder holds all libraries together.
print(":".join(dict.fromkeys(sorted(found, key=lambda folder: "/cu13/" not in folder))))
P
  ) || folders=
fi
for folder in /usr/local/cuda/lib64 /usr/local/cuda/targets/*/lib; do
  if [ -d "$folder" ]; then folders=${folders:+$folders:}$folder; fi
done
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folders"
echo "libraries: ${folders:-none found}" >&2
exec "$here/bin/flowmap-gpu-suite" --program "$here/bin/flowmap" --peers "$here/peers" --python "$python" \
  --json "$here/result.json" "$@"
