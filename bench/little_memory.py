#!/usr/bin/env python3
"""A run with little memory beside one with all of it: the same bits, and what each took.

  bench/little_memory.py PUZZLE MODEL TEXT [MIB [FOLDER]]

MODEL (SmolLM2's GGUF, say) is captured, ranked, two variants of two of its layers are trained and
scored, it is evaluated and distilled for two steps, on a few sequences of TEXT: once with
--memory MIB (600), once without, each in a store of its own in FOLDER, which is removed. Compared are the
key of every step, in which the digests of its inputs are, and the figures of its result. Prints
processor seconds and the peak of anonymous memory (what is no file's page), looked at 50 times a
second, and of all of it. Exit status 1: something differs.
"""
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

GRAPH = {
    "puzzle": 1,
    "nodes": {
        "parent": {"kind": "load_model", "params": {"path": ""}},
        "tokens": {"kind": "tokenize", "in": {"model": "parent"},
                   "params": {"text": "", "length": 256, "sequences": 12}},
        "states": {"kind": "activations", "in": {"parent": "parent", "tokens": "tokens"},
                   "params": {"dtype": "fp32", "compute": "bf16"}},
        "importance": {"kind": "importance", "in": {"parent": "parent", "activations": "states"},
                       "params": {"batches": 1, "batch": 4}},
        "blocks": {"kind": "bld",
                   "foreach": {"layer": [4, 20], "variant": ["attn:kv1", "ffn:50%"]},
                   "in": {"parent": "parent", "activations": "states", "importance": "importance"},
                   "params": {"layer": "${layer}", "variant": "${variant}", "epochs": 1,
                              "holdout": 4, "compute": "bf16"}},
        "scores": {"kind": "score",
                   "foreach": {"layer": [4, 20], "variant": ["attn:kv1", "ffn:50%"]},
                   "in": {"parent": "parent", "activations": "states",
                          "block": "blocks[layer=${layer},variant=${variant}]"},
                   "params": {"compute": "bf16"}},
        "quality": {"kind": "evaluate", "in": {"model": "parent", "tokens": "tokens"},
                    "params": {"label": "parent", "compute": "bf16", "positions": 1024}},
        "student": {"kind": "gkd", "in": {"teacher": "parent", "student": "parent",
                                          "tokens": "tokens"},
                    "params": {"steps": 2, "batch": 4, "lm_weight": 1, "holdout": 2,
                               "compute": "bf16"}},
        "child_quality": {"kind": "evaluate", "in": {"model": "student", "tokens": "tokens"},
                          "params": {"label": "child", "compute": "bf16", "positions": 1024}},
    },
}


def anonymous_mib(process):
    try:
        with open(f"/proc/{process}/status") as status:
            found = re.search(r"RssAnon:\s+(\d+)", status.read())
    except OSError:
        return 0
    return int(found.group(1)) / 1024 if found else 0


def run(puzzle, folder, name, options):
    events, summary = f"{folder}/{name}.events", f"{folder}/{name}.json"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [puzzle, "run", f"{folder}/graph.json", "--store", f"{folder}/{name}", "--quiet",
         "--events", events, "--summary", summary] + options,
        stdout=subprocess.DEVNULL)
    anonymous = 0
    while process.poll() is None:
        anonymous = max(anonymous, anonymous_mib(process.pid))
        time.sleep(0.02)
    if process.returncode != 0:
        sys.exit(f"{name}: exit status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    keys, memory = {}, {}
    with open(events) as lines:
        for line in lines:
            event = json.loads(line)
            if event["event"] == "step_done":
                keys[event["step"]] = event["key"]
                kind = event["kind"]
                memory[kind] = max(memory.get(kind, 0), event.get("memory_mib", 0))
    with open(summary) as file:
        document = json.load(file)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:8} {seconds:7.1f} processor s   anonymous {anonymous:6.0f} MiB at most   all "
          f"pages {after.ru_maxrss / 1024:6.0f} MiB (the largest run so far)")
    print("         of a step, at most: " +
          ", ".join(f"{kind} {mib:.0f}" for kind, mib in sorted(memory.items()) if mib > 0))
    for warning in document.get("warnings", []):
        print(f"         {warning}")
    return {"keys": keys, "figures": document["results"]}


def main(puzzle, model, text, mib="600", where=None):
    subprocess.run([puzzle, "--version"], check=True)
    folder = tempfile.mkdtemp(prefix="little_memory.", dir=where)
    try:
        nodes = GRAPH["nodes"]
        nodes["parent"]["params"]["path"] = os.path.abspath(model)
        nodes["tokens"]["params"]["text"] = os.path.abspath(text)
        with open(f"{folder}/graph.json", "w") as file:
            json.dump(GRAPH, file)
        little = run(puzzle, folder, "little", ["--memory", mib])
        much = run(puzzle, folder, "much", [])
    finally:
        shutil.rmtree(folder)
    differ = [step for step in much["keys"] if little["keys"].get(step) != much["keys"][step] or
              little["figures"].get(step) != much["figures"].get(step)]
    print(f"{len(much['keys'])} steps, " + (f"DIFFERENT: {differ}" if differ else "the same bits"))
    return 1 if differ else 0


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
