#!/usr/bin/env python3
"""A model of the shape of Llama-3.1-8B in little memory, from the checkpoint to the exported child.

  bench/large_model.py PUZZLE TEXT TOKENIZER [--layers 32] [--memory 3072] [--folder FOLDER]
                       [--limits] [-- OPTION OF `puzzle run`...]

Writes a checkpoint with random weights in bf16 (16.1 GB; with --layers fewer) and the files of the
folder TOKENIZER beside it, and runs one graph on 1,024 tokens of TEXT: hidden states, importance, two
variants each of two layers trained and scored, a child of the best choice that leaves out half of
both FFNs, exported in bf16. Prints for each kind the wall time and the processor's, the peak of
anonymous memory (what is no file's page, looked at 50 times a second), what the step added by its own
record, and what was read; what goes on while two steps run, or one is saved, counts for both. Then what
steps that ran beside each other have read, as a multiple of the weights that they need, and the sizes of
store and export. All of it lies in FOLDER (/tmp), takes 34 GB of disk, and is removed. Needs numpy.
With --limits exit status 1 when the memory is above 3 GiB, the store above 2 GB, or weights were read
more than twice.
"""
import argparse
import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import sparse_checkpoint

try:
    import numpy
except ImportError:
    sys.exit("large_model.py: needs numpy (Debian: /usr/bin/python3 with python3-numpy)")

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = f"{HERE}/simulate/llama-3.1-8b/config.json"
VARIANTS = ["attn:kv1", "ffn:50%"]
SEQUENCES, LENGTH = 4, 256
MOST_MIB, MOST_STORE, MOST_READS = 3072, 2e9, 2
TICKS = os.sysconf("SC_CLK_TCK")


def as_bf16(values):
    bits = values.astype(numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


class RandomWeights:
    """Values of a normal distribution, as before a training; norms are 1. A matrix is pieced together
    of runs that begin anywhere in two pools of values, at the rate of the disk."""

    POOL, RUN = 1 << 25, 1 << 22

    def __init__(self, layers):
        self.random = numpy.random.default_rng(1)
        values = self.random.standard_normal(self.POOL, numpy.float32)
        self.inner = as_bf16(values * 0.02)
        self.output = as_bf16(values * (0.02 / math.sqrt(2 * layers)))

    def fill(self, name, shape, file):
        if len(shape) == 1:
            file.write(as_bf16(numpy.ones(shape)))
            return
        is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
        pool, left = self.output if is_output else self.inner, math.prod(shape)
        while left > 0:
            count = min(left, self.RUN)
            first = int(self.random.integers(self.POOL - count))
            file.write(pool[first:first + count])
            left -= count


def parameters(config, what):
    """Of all tensors whose names match."""
    of = {name: math.prod(shape) for name, shape in sparse_checkpoint.tensors(config)}
    return sum(count for name, count in of.items() if re.search(what, name))


def graph(config, folder, text):
    layers = config["num_hidden_layers"]
    chosen = [layers // 3, layers * 3 // 4]
    blocks = parameters(config, r"^model\.layers\.")
    halves = len(chosen) * parameters(config, r"^model\.layers\.0\.mlp\.") / 2
    each = {"layer": chosen, "variant": VARIANTS}
    nodes = {
        "parent": {"kind": "load_model", "params": {"path": f"{folder}/model"}},
        "tokens": {"kind": "tokenize", "in": {"model": "parent"},
                   "params": {"text": text, "length": LENGTH, "sequences": SEQUENCES}},
        "states": {"kind": "activations", "in": {"parent": "parent", "tokens": "tokens"},
                   "params": {"compute": "bf16", "batch": SEQUENCES}},
        "importance": {"kind": "importance", "in": {"parent": "parent", "activations": "states"},
                       "params": {"batches": 1, "batch": SEQUENCES}},
        "blocks": {"kind": "bld", "foreach": each,
                   "in": {"parent": "parent", "activations": "states", "importance": "importance"},
                   "params": {"layer": "${layer}", "variant": "${variant}", "epochs": 2, "batch": 2,
                              "holdout": 1, "lr": 1e-4, "compute": "bf16"}},
        "scores": {"kind": "score", "foreach": each,
                   "in": {"parent": "parent", "activations": "states",
                          "block": "blocks[layer=${layer},variant=${variant}]"},
                   "params": {"compute": "bf16", "batch": SEQUENCES}},
        "costs": {"kind": "cost", "in": {"parent": "parent"}, "params": {"variants": VARIANTS}},
        "choice": {"kind": "search", "in": {"scores": ["scores"], "costs": "costs"},
                   "params": {"max": {"block_parameters": round(blocks - 0.95 * halves)}}},
        "child": {"kind": "assemble",
                  "in": {"parent": "parent", "blocks": ["blocks"], "choice": "choice"}},
        "exported": {"kind": "export", "in": {"model": "child"},
                     "params": {"folder": f"{folder}/child"}},
    }
    return {"puzzle": 1, "nodes": nodes}


def bytes_of_weights(config, kind, step):
    """What a step reads of the checkpoint when it reads it once; 0: of its shape alone."""
    of_layer, layers = 2 * parameters(config, r"^model\.layers\.0\."), config["num_hidden_layers"]
    head = 2 * parameters(config, "^lm_head")
    layer = int(found.group(1)) if (found := re.search(r"layer=(\d+)", step)) else 0
    return {"load_model": layers * of_layer + 2 * head, "export": layers * of_layer + 2 * head,
            "activations": layers * of_layer, "importance": layers * of_layer, "bld": of_layer,
            "score": head + (layers - layer) * of_layer}.get(kind, 0)


class Watch:
    """What a process has used, and which of its steps was at work."""

    def __init__(self, process, events):
        self.process, self.events, self.offset = process, events, 0
        self.running, self.steps, self.stretches = {}, [], []
        self.last, self.peak_mib = None, 0

    def used(self):
        try:
            with open(f"/proc/{self.process}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{self.process}/io") as file:
                io = dict(line.split(": ") for line in file.read().splitlines())
            with open(f"/proc/{self.process}/status") as file:
                found = re.search(r"RssAnon:\s+(\d+)", file.read())
        except OSError:
            return None
        if found is None:
            return None
        return {"wall": time.monotonic(), "processor": (int(fields[11]) + int(fields[12])) / TICKS,
                "read": int(io["rchar"]), "disk": int(io["read_bytes"]),
                "mib": int(found.group(1)) / 1024}

    def look(self):
        self.last = now = self.used() or self.last  # at its end it has nothing any more
        if now is None:
            return
        self.peak_mib = max(self.peak_mib, now["mib"])
        for began in self.running.values():
            began["peak"] = max(began["peak"], now["mib"])
        if not os.path.exists(self.events):
            return
        with open(self.events) as file:
            file.seek(self.offset)
            while (line := file.readline()).endswith("\n"):
                self.offset = file.tell()
                self.take(json.loads(line), now)

    def take(self, event, now):
        step = event.get("step")
        if event["event"] == "step_started":
            if not self.running:
                self.stretches.append({"began": now["read"], "read": 0, "steps": []})
            self.running[step] = dict(now, peak=now["mib"])
        elif event["event"] == "step_done" and step in self.running:
            began = self.running.pop(step)
            used = {key: now[key] - began[key] for key in ("wall", "processor", "read", "disk")}
            self.steps.append(dict(used, step=step, kind=event["kind"], peak=began["peak"],
                                   own=event.get("memory_mib", 0)))
            stretch = self.stretches[-1]
            stretch["read"] = now["read"] - stretch["began"]
            stretch["steps"].append((event["kind"], step))


def run(puzzle, folder, options):
    events = f"{folder}/events"
    began = time.monotonic()
    process = subprocess.Popen(
        [puzzle, "run", f"{folder}/graph.json", "--store", f"{folder}/store", "--quiet",
         "--events", events, "--summary", f"{folder}/summary.json"] + options,
        stdout=subprocess.DEVNULL)
    watch = Watch(process.pid, events)
    while process.poll() is None:
        watch.look()
        time.sleep(0.02)
    watch.look()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        sys.exit(f"large_model.py: `puzzle run` ended with exit status {process.returncode}")
    print(f"run: {time.monotonic() - began:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} processor "
          f"s; anonymous {watch.peak_mib:.0f} MiB at most, all pages {usage.ru_maxrss / 1024:.0f}; "
          f"{watch.last['read'] / 1e9:.1f} GB read, {watch.last['disk'] / 1e9:.1f} of the disk")
    with open(f"{folder}/summary.json") as file:
        for warning in json.load(file).get("warnings", []):
            print(f"  {warning}")
    return watch


def size_of(folder):
    return sum(os.lstat(os.path.join(root, name)).st_size
               for root, _, names in os.walk(folder) for name in names)


def print_kinds(steps):
    print(f"{'kind':12} steps {'wall s':>7} {'processor s':>11} {'anonymous MiB':>13} "
          f"{'own MiB':>7} {'read GB':>8} {'of disk':>8}")
    for kind in dict.fromkeys(step["kind"] for step in steps):
        own = [step for step in steps if step["kind"] == kind]
        total = {key: sum(step[key] for step in own) for key in ("wall", "processor", "read", "disk")}
        print(f"{kind:12} {len(own):5} {total['wall']:7.1f} {total['processor']:11.1f} "
              f"{max(step['peak'] for step in own):13.0f} {max(step['own'] for step in own):7.0f} "
              f"{total['read'] / 1e9:8.2f} {total['disk'] / 1e9:8.2f}")


def print_reads(config, stretches):
    """What steps that ran beside each other have read; returns the most times of their weights."""
    most = 0
    for stretch in stretches:
        once = sum(bytes_of_weights(config, kind, step) for kind, step in stretch["steps"])
        if once == 0:
            continue
        kinds = [kind for kind, _ in stretch["steps"]]
        names = ", ".join(f"{kind} x {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
        print(f"{names}: {stretch['read'] / 1e9:.2f} GB read, {stretch['read'] / once:.2f} times "
              f"the weights that these need")
        most = max(most, stretch["read"] / once)
    return most


def main(arguments):
    subprocess.run([arguments.puzzle, "--version"], check=True)
    with open(CONFIG) as file:
        config = json.load(file)
    config["num_hidden_layers"] = arguments.layers
    folder = tempfile.mkdtemp(prefix="large_model.", dir=arguments.folder)
    try:
        began = time.monotonic()
        sparse_checkpoint.write(config, f"{folder}/model", RandomWeights(arguments.layers).fill)
        for name in os.listdir(arguments.tokenizer):
            shutil.copy(os.path.join(arguments.tokenizer, name), f"{folder}/model")
        print(f"written in {time.monotonic() - began:.0f} s")
        with open(f"{folder}/graph.json", "w") as file:
            json.dump(graph(config, folder, os.path.abspath(arguments.text)), file)
        watch = run(arguments.puzzle, folder,
                    ["--memory", str(arguments.memory)] + arguments.options)
        print_kinds(watch.steps)
        reads = print_reads(config, watch.stretches)
        store = size_of(f"{folder}/store")
        print(f"store {store / 1e9:.2f} GB, export {size_of(f'{folder}/child') / 1e9:.2f} GB of "
              f"{size_of(f'{folder}/model') / 1e9:.2f}")
    finally:
        shutil.rmtree(folder)
    if not arguments.limits:
        return 0
    above = [what for what, is_above in [("memory", watch.peak_mib > MOST_MIB),
                                         ("store", store > MOST_STORE),
                                         ("reading", reads > MOST_READS)] if is_above]
    print("above the limits: " + ", ".join(above) if above else "within the limits")
    return 1 if above else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("puzzle")
    parser.add_argument("text")
    parser.add_argument("tokenizer")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--memory", type=int, default=3072)
    parser.add_argument("--folder")
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("options", nargs="*")
    sys.exit(main(parser.parse_args()))
