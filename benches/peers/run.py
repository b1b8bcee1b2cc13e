#!/usr/bin/env python3
"""Times flowmap against JAX and PyTorch on this machine, in alternation, and prints one JSON line a case.

usage: run.py [--cases PATTERN,...] [--threads 1,2] [--rounds N] [--seconds S] [--python PROGRAM] [--list]

Each round times ours, then each peer, then the next round begins; every library is a process of its own that waits
while another computes. Times are medians over the rounds of the median of a turn. All processes of a run are bound to
the same cores, as many as there are threads, where the system can do that.

A line has:
  case, threads, rounds, load      the load average of the last minute before the case
  ours_ms, peers_ms                 medians; a variant that failed is in `errors` instead
  ratio                             ours / peer
  min_ms, ratio_min                 the same of the fastest run of each
  cpu_ms, ratio_cpu                 the same of CPU time, all threads together: what a busy machine disturbs least,
                                    though it also counts the spinning of threads that wait
  gemm_limit_ms                     FLOP / the rate of a matrix product of the same sizes, the best of the libraries
  gemm_gflop_per_s, gemm_by         that rate, and whose it is
  ours_over_limit                   ours_ms / gemm_limit_ms; ours_over_limit_cpu is the same of CPU time
  peak_mib                          the most memory of each process, for cases that run in fresh ones
"""

import argparse
import fnmatch
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from cases import all_cases
from environment import HERE, build, python, say

# Spinning threads of the library before have gone to sleep after this many seconds.
PAUSE = 0.03


class Worker:
    """A process that answers a line with a line."""

    def __init__(self, command, threads):
        self.name = pathlib.Path(command[-2] if len(command) > 1 else command[0]).name
        environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            preexec_fn=lambda: bind(threads),
        )

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"{self.name} ended with {self.process.wait()}"}
        return json.loads(line)

    def turn(self, **request):
        """Asks for times, and adds the CPU time of a call, all threads together."""
        time.sleep(PAUSE)
        before = cpu_ms(self.process.pid)
        answer = self.ask(**request)
        if "error" not in answer:
            used = cpu_ms(self.process.pid)
            answer["cpu_ms"] = None if used is None else (used - before) / answer["n_calls"]
        return answer

    def is_alive(self):
        return self.process.poll() is None

    def close(self):
        if self.is_alive():
            self.process.stdin.close()
            self.process.wait()


def cpu_ms(pid):
    """CPU time of a process so far, where the system says it (in steps of 10 ms on Linux)."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


def bind(threads):
    """Binds this process to as many cores as it has threads; XLA has no other way to be told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


class Turns:
    """Who takes part in a case, and what each turn gave."""

    def __init__(self, spec, commands, threads, shared):
        self.spec, self.errors, self.flop = spec, {}, 0.0
        self.players = []  # (name, library, worker, variant)
        self.own = []  # Workers of this case alone.
        for library in ["flowmap", *spec["libraries"]]:
            if not spec.get("alone"):
                if library not in shared or not shared[library].is_alive():
                    shared[library] = Worker(commands[library], threads)
                self.prepare(library, shared[library], {})
                continue
            for only in spec["variants"].get(library, [None]):
                worker = Worker(commands[library], threads)
                self.own.append(worker)
                self.prepare(library, worker, {"only": only} if only else {})
        self.times = {name: [] for name, *_ in self.players}  # One answer a turn.
        self.gemm = {}

    def prepare(self, library, worker, extra):
        answer = worker.ask(do="prepare", case=self.spec["case"], **extra)
        if "error" in answer:
            self.errors[library] = answer["error"]
            return
        for variant, error in answer.get("errors", {}).items():
            self.errors[f"{library}_{variant}"] = error
        self.flop = answer.get("flop", self.flop)
        for variant in answer["variants"]:
            name = library if library == "flowmap" else f"{library}_{variant}"
            self.players.append((name, library, worker, variant))

    def round(self, milliseconds):
        for name, _, worker, variant in self.players:
            answer = worker.turn(do="run", ms=milliseconds, variant=variant)
            if "error" in answer:
                self.errors[name] = answer["error"]
            else:
                self.times[name].append(answer)
        if self.spec["gemm"] is None:
            return
        for library, worker in {library: worker for _, library, worker, _ in self.players}.items():
            answer = worker.turn(do="gemm", ms=milliseconds // 3, **self.spec["gemm"])
            if "error" not in answer:
                self.gemm.setdefault(library, []).append(answer)

    def result(self):
        line = summary(self.times)
        if self.gemm:
            gemm = self.spec["gemm"]
            flop = 2.0 * gemm["rows"] * gemm["inner"] * gemm["columns"]
            ms, by = min((middle(turns, "median_ms"), library) for library, turns in self.gemm.items())
            limit = self.flop / flop * ms
            line |= {
                "gemm_limit_ms": digits(limit),
                "gemm_gflop_per_s": digits(flop / ms / 1e6),
                "gemm_by": by,
                "ours_over_limit": quotient(line["ours_ms"], limit),
            }
            cpu = [middle(turns, "cpu_ms") for turns in self.gemm.values()]
            if None not in cpu:
                line["ours_over_limit_cpu"] = quotient(line["cpu_ms"].get("flowmap"), self.flop / flop * min(cpu))
        if self.own:
            answers = {name: worker.ask(do="memory") for name, _, worker, _ in self.players}
            line["peak_mib"] = {name: digits(answer.get("peak_mib")) for name, answer in answers.items()}
        if self.errors:
            line["errors"] = self.errors
        return line

    def close(self):
        for worker in self.own:
            worker.close()


def summary(times):
    """The numbers of a line from the turns of each name."""
    times = {name: turns for name, turns in times.items() if turns}
    medians = {name: middle(turns, "median_ms") for name, turns in times.items()}
    fastest = {name: min(turn["min_ms"] for turn in turns) for name, turns in times.items()}
    cpu = {name: middle(turns, "cpu_ms") for name, turns in times.items()}
    return {
        "ours_ms": digits(medians.get("flowmap")),
        "peers_ms": {name: digits(ms) for name, ms in medians.items() if name != "flowmap"},
        "ratio": ratios(medians),
        "min_ms": {name: digits(ms) for name, ms in fastest.items()},
        "ratio_min": ratios(fastest),
        "cpu_ms": {name: digits(ms) for name, ms in cpu.items()},
        "ratio_cpu": ratios(cpu),
    }


def ratios(values):
    return {name: quotient(values.get("flowmap"), value) for name, value in values.items() if name != "flowmap"}


def middle(turns, key):
    values = [turn[key] for turn in turns if turn[key] is not None]
    return statistics.median(values) if values else None


def quotient(a, b):
    return digits(a / b) if a is not None and b else None


def digits(x):
    return None if x is None else float(f"{x:.4g}")


def whole_process(programs, interpreter, threads, rounds):
    """`flowmap sample` from its start to the file, beside the bare imports of the peers."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    with tempfile.TemporaryDirectory() as folder:
        flowmap, run = str(programs / "flowmap"), os.path.join(folder, "run")
        sets = ["train.steps=2", "train.batch=64", "schedule.warmup=1", "network.width=512", "network.x_features=0"]
        sets += ["network.time_features=0", "eval.num=100", "eval.steps=[1]"]
        train = [flowmap, "train", "--out", run, *(word for value in sets for word in ("--set", value))]
        subprocess.run(train, check=True, capture_output=True)
        commands = {
            "flowmap": [flowmap, "sample", run, "--num", "16", "--out", os.path.join(folder, "x.npz")],
            "jax_import": [str(interpreter), "-c", "import jax.numpy"],
            "torch_import": [str(interpreter), "-c", "import torch"],
        }
        times = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                time.sleep(PAUSE)
                used = os.times()
                start = time.perf_counter()
                subprocess.run(
                    command, check=True, capture_output=True, env=environment, preexec_fn=lambda: bind(threads)
                )
                ms = (time.perf_counter() - start) * 1e3
                now = os.times()
                cpu = now.children_user + now.children_system - used.children_user - used.children_system
                times[name].append({"median_ms": ms, "min_ms": ms, "cpu_ms": 1e3 * cpu})
    return summary(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="*", help="names or patterns with stars, by commas; all without it")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a turn")
    parser.add_argument("--python", type=pathlib.Path, help="a Python that has JAX and PyTorch already")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    args = parser.parse_args()
    cases = all_cases()
    if args.list:
        print("\n".join(cases))
        return
    patterns = args.cases.split(",")
    for pattern in patterns:
        if not fnmatch.filter(cases, pattern):
            parser.error(f"no case `{pattern}`, expected one of {', '.join(cases)}")
    chosen = {n: c for n, c in cases.items() if any(fnmatch.fnmatch(n, pattern) for pattern in patterns)}
    interpreter = args.python or python()
    programs = build()
    for threads in map(int, args.threads.split(",")):
        commands = {"flowmap": [programs / "flowmap-peer"]}
        for library in ["jax", "torch"]:
            commands[library] = [interpreter, HERE / "worker.py", library, threads]
        shared = {}
        try:
            for name, spec in chosen.items():
                line = {"case": name, "threads": threads, "rounds": args.rounds, "load": load()}
                say(f"{name}, {threads} threads")
                if spec["case"]["kind"] == "process":
                    line |= whole_process(programs, interpreter, threads, args.rounds)
                else:
                    line |= compare(spec, commands, threads, shared, args)
                print(json.dumps(line), flush=True)
        finally:
            for worker in shared.values():
                worker.close()


def compare(spec, commands, threads, shared, args):
    turns = Turns(spec, commands, threads, shared)
    try:
        for _ in range(args.rounds):
            turns.round(int(args.seconds * 1e3))
        return turns.result()
    finally:
        turns.close()


def load():
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


if __name__ == "__main__":
    sys.exit(main())
