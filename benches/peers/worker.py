"""One library in one process: answers requests, one JSON object a line, as `flowmap-peer` does.

usage: worker.py {jax|torch} THREADS

`prepare` makes a case and calls each of its variants once, so that everything is compiled; `run` times one.
"""

import json
import os
import statistics
import sys
import time


def timed(call, wait, milliseconds):
    times = []
    began = time.perf_counter()
    while not times or (time.perf_counter() - began) * 1e3 < milliseconds:
        start = time.perf_counter()
        call()
        wait()
        times.append((time.perf_counter() - start) * 1e3)
    n_calls = len(times)
    if n_calls > 2:
        times.pop(0)  # Caches were cold.
    return {"median_ms": statistics.median(times), "min_ms": min(times), "n_calls": n_calls}


def peak_mib():
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) / 1024


class Worker:
    def __init__(self, library):
        self.library = library
        self.calls = {}

    def prepare(self, request):
        self.calls = {}
        errors = {}
        for name, make in self.library.variants(request["case"]).items():
            if request.get("only") not in (None, name):
                continue
            try:
                call = make()
                call()
                self.calls[name] = call
            except Exception as error:  # A peer that cannot do it is left out, and the reason is in the result.
                errors[name] = f"{type(error).__name__}: {error}"[:300]
        return {"variants": list(self.calls), "errors": errors}

    def run(self, request):
        return timed(self.calls[request["variant"]], self.library.wait, request["ms"])

    def gemm(self, request):
        call = self.library.gemm(request["rows"], request["inner"], request["columns"])
        return timed(call, self.library.wait, request["ms"])

    def memory(self, _request):
        return {"peak_mib": peak_mib()}


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    # Answers go to where stdout was; whatever a library prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if name == "jax":
        import jax_cases as library
    else:
        import torch_cases as library
    library.set_up(threads)
    worker = Worker(library)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request["do"])(request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
