#!/usr/bin/env python3
"""Measures puzzle beside ninja, make and Snakemake on the same graph.

The graph: N / 5 chains of five steps, each reading the one before and producing next to nothing.
puzzle runs as chain_puzzle (one trivial kind; command line, planner, store and HDF5 files are the
real ones) and compares content; the others compare time stamps and make empty files.

    peers.py                       every row (Snakemake takes minutes)
    peers.py --rows noop10k,step   some rows
    peers.py --without snakemake

Rows: noop10k, noop100k, stale10k, step, engine. Prints one Markdown table: median of --repeat runs,
spread, ratio to puzzle. Programs that are not installed are left out with a note.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROWS = {
    "noop10k": ("nothing to do, 10,000 steps", "60 ms"),
    "noop100k": ("nothing to do, 100,000 steps", "800 ms, 300 MB"),
    "stale10k": ("everything stale, reasons printed, 10,000 steps", "200 ms"),
    "step": ("a trivial step and its result, per step", "0.4 ms"),
    "engine": ("engine alone, per step (100,000 steps, 400,000 edges)", "3 us"),
}
LINKS = 5


def call(command, folder, keep=False, env=None):
    """Runs a command; returns (seconds, peak MB, output). Exits when it fails."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                                   env={**os.environ, **(env or {})})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = status
        out.seek(0)
        text = out.read().decode(errors="replace") if keep or status else ""
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    return seconds, usage.ru_maxrss / 1024, text


class Puzzle:
    name = "puzzle"

    def __init__(self, build):
        self.program = os.path.join(build, "chain_puzzle")

    def version(self):
        return call([self.program, "--version"], ".", keep=True)[2].split()[-1]

    def write(self, folder, steps):
        nodes = {}
        for link in range(LINKS):
            node = nodes[f"s{link}"] = {
                "kind": "link", "foreach": {"i": "${chains}"},
                "params": {"index": "${i}", "x": "${x}"}}
            if link:
                node["in"] = {"in": f"s{link - 1}[i=${{i}}]"}
        graph = {"puzzle": 1, "vars": {"chains": {"range": [0, steps // LINKS]}, "x": 1},
                 "nodes": nodes}
        with open(os.path.join(folder, "graph.json"), "w") as file:
            json.dump(graph, file)

    def build(self, folder, steps):
        return call(self.run(), folder)

    def run(self):
        return [self.program, "run", "graph.json", "-q"]

    def stale(self, folder):
        return [self.program, "plan", "graph.json", "--all", "--set", "vars.x=2"]


class Files:
    """What ninja, make and Snakemake have in common: a step makes an empty file."""

    def outputs(self, steps):
        for link in range(LINKS):
            for i in range(steps // LINKS):
                yield link, i, f"o/{i}.{link}", f"o/{i}.{link - 1}" if link else "source"

    def prepare(self, folder):
        os.makedirs(os.path.join(folder, "o"))
        with open(os.path.join(folder, "source"), "w"):
            pass

    def pretend(self, folder, steps):
        """Makes every output as if it had been built."""
        for _, _, output, _ in self.outputs(steps):
            with open(os.path.join(folder, output), "w"):
                pass


class Ninja(Files):
    name = "ninja"

    def version(self):
        return call(["ninja", "--version"], ".", keep=True)[2].strip()

    def write(self, folder, steps, x=1):
        with open(os.path.join(folder, "build.ninja"), "w") as file:
            file.write(f"rule link\n  command = : {x} > $out\n")
            for _, _, output, source in self.outputs(steps):
                file.write(f"build {output}: link {source}\n")

    def build(self, folder, steps):
        return call(["ninja", "-j2", "--quiet"], folder)

    def run(self):
        return ["ninja", "-j2"]

    def stale(self, folder):
        self.write(folder, 10000, x=2)
        return ["ninja", "-n", "-d", "explain"]


class Make(Files):
    name = "make"

    def version(self):
        return call(["make", "--version"], ".", keep=True)[2].split("\n")[0].split()[-1]

    def write(self, folder, steps):
        with open(os.path.join(folder, "Makefile"), "w") as file:
            file.write("MAKEFLAGS += -r\nall:")
            for i in range(steps // LINKS):
                file.write(f" o/{i}.{LINKS - 1}")
            for _, _, output, source in self.outputs(steps):
                file.write(f"\n{output}: {source}\n\t@: > $@")
            file.write("\n")

    def build(self, folder, steps):
        return call(["make", "-j2", "-s"], folder)

    def run(self):
        return ["make", "-j2", "-s"]

    def stale(self, folder):
        os.utime(os.path.join(folder, "source"))
        return ["make", "-n", "--debug=b"]


class Snakemake(Files):
    name = "snakemake"

    def version(self):
        return call(["snakemake", "--version"], ".", keep=True)[2].strip()

    def write(self, folder, steps):
        with open(os.path.join(folder, "Snakefile"), "w") as file:
            file.write(f"rule all:\n    input: expand('o/{{i}}.{LINKS - 1}', "
                       f"i=range({steps // LINKS}))\n")
            for link in range(LINKS):
                source = f"o/{{i}}.{link - 1}" if link else "source"
                file.write(f"rule s{link}:\n    input: '{source}'\n"
                           f"    output: touch('o/{{i}}.{link}')\n")

    def build(self, folder, steps):
        return call(["snakemake", "-j2", "--quiet"], folder)

    def run(self):
        return ["snakemake", "-j2"]

    def stale(self, folder):
        os.utime(os.path.join(folder, "source"))
        return ["snakemake", "-j2", "-n", "-r"]


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lines = []

    def measure(self, command, folder, once=False):
        """Seconds and peak MB of a command that changes nothing."""
        if not once:
            call(command, folder)  # warms the page cache
        runs = [call(command, folder) for _ in range(1 if once else self.arguments.repeat)]
        return [run[0] for run in runs], max(run[1] for run in runs)

    def built(self, program, steps, pretend):
        folder = tempfile.mkdtemp(prefix=f"peers_{program.name}_", dir=self.arguments.folder)
        if isinstance(program, Files):
            program.prepare(folder)
        program.write(folder, steps)
        if pretend:
            program.pretend(folder, steps)
        else:
            program.build(folder, steps)
        return folder

    def noop(self, program, steps):
        # ninja wants its log, puzzle its store; the others believe time stamps.
        folder = self.built(program, steps, isinstance(program, (Make, Snakemake)))
        # A minute and more for a single plan is enough of that.
        once = isinstance(program, Snakemake) and steps > 10000
        seconds, peak = self.measure(program.run(), folder, once)
        shutil.rmtree(folder)
        return seconds, f"{peak:.0f} MB"

    def stale(self, program, steps):
        folder = self.built(program, steps, isinstance(program, (Make, Snakemake)))
        seconds, _ = self.measure(program.stale(folder), folder)
        shutil.rmtree(folder)
        return seconds, ""

    def step(self, program, steps):
        """Seconds per step: a build from nothing, less a run with nothing to do."""
        seconds = []
        for _ in range(self.arguments.repeat):
            folder = tempfile.mkdtemp(prefix=f"peers_{program.name}_", dir=self.arguments.folder)
            if isinstance(program, Files):
                program.prepare(folder)
            program.write(folder, steps)
            cold = program.build(folder, steps)[0]
            again = call(program.run(), folder)[0]
            seconds.append((cold - again) / steps)
            shutil.rmtree(folder)
        return seconds, f"{steps} steps"

    def engine(self):
        program = os.path.join(self.arguments.build, "engine_bench")
        text = call([program], ".", keep=True)[2]
        median, low, high = re.search(r"([0-9.]+) us per step .*?; ([0-9.]+) to ([0-9.]+)",
                                      text).groups()
        return [float(low) * 1e-6, float(median) * 1e-6, float(high) * 1e-6], ""

    def row(self, row, programs):
        ours = None
        for program in programs:
            result = self.cell(row, program)
            if result is None:
                continue
            seconds, note = result
            median = statistics.median(seconds)
            ours = ours or median
            beside = ("target " + ROWS[row][1] if program is programs[0]
                      else f"{float(f'{median / ours:.2g}'):g}x")
            spread = (f"{shown(min(seconds))} to {shown(max(seconds))}" if len(seconds) > 1
                      else "once")
            print(f"| {ROWS[row][0]} | {program.name} {program.version()} | {shown(median)} | "
                  f"{spread} | {beside} | {note} |", flush=True)

    def cell(self, row, program):
        if row == "engine":
            return self.engine() if isinstance(program, Puzzle) else None
        if row == "noop100k":  # ninja's first build alone takes minutes
            return None if isinstance(program, Ninja) else self.noop(program, 100000)
        if row == "noop10k":
            return self.noop(program, 10000)
        if row == "stale10k":
            return self.stale(program, 10000)
        steps = {"puzzle": 10000, "snakemake": 100}.get(program.name, 2000)
        return self.step(program, steps)


def shown(seconds):
    if seconds < 1e-4:
        return f"{seconds * 1e6:.2f} us"
    if seconds < 1e-2:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="folder with chain_puzzle, engine_bench")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--without", default="", help="programs to leave out, comma separated")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", help="where to work (default: the folder of temporary files)")
    arguments = parser.parse_args()
    arguments.build = os.path.abspath(arguments.build)
    rows = arguments.rows.split(",")
    for row in rows:
        if row not in ROWS:
            parser.error(f"no row \"{row}\"; there are {', '.join(ROWS)}")
    programs = [Puzzle(arguments.build)]
    for peer in (Make(), Ninja(), Snakemake()):
        if peer.name in arguments.without.split(","):
            print(f"{peer.name}: left out as asked")
        elif shutil.which(peer.name) is None:
            print(f"{peer.name}: left out, it is not installed (apt-get install "
                  f"{'ninja-build' if peer.name == 'ninja' else peer.name})")
        else:
            programs.append(peer)
    folder = arguments.folder or tempfile.gettempdir()
    kind = call(["stat", "-f", "-c", "%T", folder], ".", keep=True)[2].strip()
    print(f"stores and files on {kind}\n", flush=True)
    print("| case | program | median | spread | ratio | |\n|---|---|---|---|---|---|")
    bench = Bench(arguments)
    for row in rows:
        bench.row(row, programs)


if __name__ == "__main__":
    main()
