#!/usr/bin/env python3
"""Measures puzzle beside the straightforward way to do the same in Python.

The Python side (Debian's python3-torch and python3-sentencepiece) does what the open
implementations do: for every variant of every sub-block it runs the parent again over the training
text to get the sub-block's inputs and targets, and for every score it runs the whole parent and the
whole child. Same checkpoint, texts, variants, tokens, epochs, batch, learning rate, validation and
test positions, fp32, number of cores and OpenBLAS kernel as puzzle, which runs a graph that this
program writes. Both choose a child under the same budget by an exact search and measure its KL on
the same unseen text.

    straightforward.py                      stories3M with 100 training sequences: half an hour
    straightforward.py --sequences 600      the size of configs/stories3m.json: hours
    straightforward.py --layers 1 --budget 92%   one layer's variants: minutes

Prints one Markdown table.
"""
import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ATTENTION = ["kv1", "linear", "none"]
FFN = ["384", "256", "128", "linear", "none"]
SEPARATOR = "<|endoftext|>"


def blas_kernel():
    """What puzzle takes on this machine, roughly; OpenBLAS 0.3.21 itself may take something slow."""
    with open("/proc/cpuinfo", encoding="utf8") as file:
        flags = file.read()
    return ("Cooperlake" if "avx512_bf16" in flags else
            "SkylakeX" if "avx512vl" in flags else "Haswell")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=os.environ.get("PUZZLE_DATA", "../shared/data"))
    parser.add_argument("--build", default=os.path.join(HERE, "../../build"))
    parser.add_argument("--sequences", type=int, default=100, help="of 512 training tokens")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=6, help="the first ones get variants")
    parser.add_argument("--budget", default="70%", help="of the parent's block parameters")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compute", default="fp32", choices=["fp32", "bf16"],
                        help="products of puzzle's trainings; Python's stay fp32")
    parser.add_argument("--kernel", default=blas_kernel(), help="OpenBLAS kernel of both")
    return parser.parse_args()


ARGS = arguments() if __name__ == "__main__" else None
if ARGS and "PUZZLE_STRAIGHTFORWARD" not in os.environ:  # the kernel is chosen when torch loads
    os.environ.update(PUZZLE_STRAIGHTFORWARD="1", OPENBLAS_CORETYPE=ARGS.kernel,
                      PUZZLE_BLAS_KERNEL=ARGS.kernel, OMP_WAIT_POLICY="passive")
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402


def load_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        blob = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        kind = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[entry["dtype"]]
        tensors[name] = (torch.frombuffer(blob[begin:end], dtype=kind).float()
                         .reshape(entry["shape"]).clone())
    return tensors


def tokens(args, name, sequences, last=False):
    """[sequences, 512] ids, packed as puzzle's `tokenize` packs them. In a process of its own: two
    protobufs do not live together."""
    code = ("import sentencepiece, sys, array\n"
            "model, text, wanted, last = sys.argv[1:]\n"
            "wanted = int(wanted) * 512\n"
            "processor = sentencepiece.SentencePieceProcessor(model_file=model)\n"
            "ids = array.array('q')\n"
            f"for story in open(text, encoding='utf8').read().split('{SEPARATOR}'):\n"
            "    if story.strip():\n"
            "        ids.extend([1] + processor.encode(story.strip()))\n"
            "        if last == 'False' and len(ids) >= wanted: break\n"
            "whole = len(ids) // 512 * 512\n"
            "ids = ids[len(ids) - wanted:] if last == 'True' else ids[:wanted]\n"
            "sys.stdout.buffer.write(ids.tobytes())\n")
    raw = subprocess.run(["/usr/bin/python3", "-c", code,
                          f"{args.data}/models/stories3M/tokenizer.model",
                          f"{args.data}/text/{name}", str(sequences), str(last)],
                         check=True, stdout=subprocess.PIPE).stdout
    return torch.frombuffer(bytearray(raw), dtype=torch.int64).reshape(sequences, 512)


class Llama:
    """A small Llama whose sub-blocks can be replaced: blocks[2 * layer] is attention, the next one
    the FFN, each (form, weights)."""

    def __init__(self, folder):
        with open(f"{folder}/config.json", encoding="utf8") as file:
            c = json.load(file)
        w = load_safetensors(f"{folder}/model.safetensors")
        self.head_dim, self.eps = c["head_dim"], c["rms_norm_eps"]
        self.embedding = w["model.embed_tokens.weight"]
        self.final_norm = w["model.norm.weight"]
        self.blocks = []
        def read(prefix, norm, *names):
            return ("full", {"norm": w[norm], **{n[0]: w[f"{prefix}{n}.weight"] for n in names}})

        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            self.blocks.append(read(p + "self_attn.", p + "input_layernorm.weight",
                                    "q_proj", "k_proj", "v_proj", "o_proj"))
            self.blocks.append(read(p + "mlp.", p + "post_attention_layernorm.weight",
                                    "gate_proj", "up_proj", "down_proj"))
        angles = torch.outer(torch.arange(512.0),
                             c["rope_theta"] ** -(torch.arange(0, self.head_dim, 2) / self.head_dim))
        self.cos, self.sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def norm(self, x, weight):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * weight

    def rotate(self, x):
        half = self.head_dim // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), -1)
        return x * self.cos + turned * self.sin

    def sub_block(self, index, block, x):
        """What the sub-block adds to x [batch, 512, hidden]."""
        form, w = block
        if form == "none":
            return torch.zeros_like(x)
        h = self.norm(x, w["norm"])
        if form == "linear":
            return h @ w["l"].t()
        if index % 2 == 1:
            return (F.silu(h @ w["g"].t()) * (h @ w["u"].t())) @ w["d"].t()
        split = lambda t: t.view(*t.shape[:2], -1, self.head_dim).transpose(1, 2)
        q, k, v = (split(h @ w[n].t()) for n in "qkv")
        group = q.shape[1] // k.shape[1]
        q, k = self.rotate(q), self.rotate(k).repeat_interleave(group, 1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)
        mask = torch.full((512, 512), -math.inf).triu(1)
        mixed = (scores + mask).softmax(-1) @ v.repeat_interleave(group, 1)
        return mixed.transpose(1, 2).flatten(2) @ w["o"].t()

    def states(self, ids, stop):
        x = self.embedding[ids]
        for index in range(stop):
            x = x + self.sub_block(index, self.blocks[index], x)
        return x

    def log_probabilities(self, ids):
        x = self.norm(self.states(ids, len(self.blocks)), self.final_norm)
        return (x[:, :-1] @ self.embedding.t()).log_softmax(-1)

    def with_block(self, index, block):
        child = object.__new__(Llama)
        child.__dict__.update(self.__dict__)
        child.blocks = [*self.blocks]
        child.blocks[index] = block
        return child


def start(parent, index, variant, importance):
    """A variant, initialised from the parent's sub-block."""
    w = parent.blocks[index][1]
    if variant == "none":
        return ("none", {})
    if variant == "linear":
        if index % 2 == 1:
            return ("linear", {"norm": w["norm"].clone(), "l": w["d"] @ w["u"]})
        group = w["q"].shape[0] // w["v"].shape[0]
        v = w["v"].view(-1, parent.head_dim, w["v"].shape[1]).repeat_interleave(group, 0)
        return ("linear", {"norm": w["norm"].clone(), "l": w["o"] @ v.flatten(0, 1)})
    new = {name: tensor.clone() for name, tensor in w.items()}
    if variant == "kv1":
        for name in "kv":
            new[name] = w[name].view(-1, parent.head_dim, w[name].shape[1]).mean(0)
    else:
        keep = importance[index].argsort(descending=True)[:int(variant)]
        new.update(g=w["g"][keep].clone(), u=w["u"][keep].clone(), d=w["d"][:, keep].clone())
    return ("full", new)


@torch.no_grad()
def channel_importance(parent, ids):
    """|W_down[:, i]| * mean |x_i| of every FFN."""
    result = {}
    for index in range(1, len(parent.blocks), 2):
        w = parent.blocks[index][1]
        h = parent.norm(parent.states(ids[:16], index), w["norm"])
        x = F.silu(h @ w["g"].t()) * (h @ w["u"].t())
        result[index] = x.abs().mean((0, 1)) * w["d"].norm(dim=0)
    return result


def train(parent, index, block, ids, args):
    """Blockwise local distillation on the parent's activations, which are computed for it."""
    form, weights = block
    if form == "none":
        return block
    weights = {name: t.clone().requires_grad_(True) for name, t in weights.items()}
    peak = 1e-2 if form == "linear" else 3e-3
    optimizer = torch.optim.AdamW(weights.values(), lr=peak, betas=(0.9, 0.95), weight_decay=0.1)
    steps = args.epochs * (len(ids) // 8)
    for step in range(steps):
        if step % (len(ids) // 8) == 0:
            order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(step))
        batch = ids[order[step * 8 % (len(ids) // 8 * 8):][:8]]
        with torch.no_grad():
            x = parent.states(batch, index)
            target = parent.sub_block(index, parent.blocks[index], x)
        loss = (parent.sub_block(index, (form, weights), x) - target).square().mean() / target.square().mean()
        optimizer.param_groups[0]["lr"] = peak * min(
            (step + 1) / max(1, 0.05 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
    return (form, {name: t.detach() for name, t in weights.items()})


@torch.no_grad()
def divergence(parent, child, ids):
    """Mean KL(parent || child) in nats, both models run."""
    total = 0.0
    for first in range(0, len(ids), 4):
        p, q = (m.log_probabilities(ids[first:first + 4]) for m in (parent, child))
        total += (p.exp() * (p - q)).sum(-1).double().sum().item()
    return total / (len(ids) * 511)


def size(block):
    return sum(t.numel() for t in block[1].values())


def choose(groups, budget):
    """The least sum of scores within the budget: groups of [(score, parameters, block)]."""
    frontier = [(0.0, 0, [])]
    for group in groups:
        extended = [(s + score, n + count, [*picks, block]) for s, n, picks in frontier
                    for score, count, block in group if n + count <= budget]
        extended.sort(key=lambda entry: (entry[1], entry[0]))
        frontier, best = [], math.inf
        for entry in extended:
            if entry[0] < best:
                best = entry[0]
                frontier.append(entry)
    return min(frontier, key=lambda entry: entry[0])[2]


def python_way(args, parent, training, validation):
    importance = channel_importance(parent, training)
    groups = []
    for index in range(len(parent.blocks)):
        own = parent.blocks[index]
        group = [(0.0, size(own), own)]
        if index < 2 * args.layers:
            for variant in (FFN if index % 2 else ATTENTION):
                block = train(parent, index, start(parent, index, variant, importance), training, args)
                score = divergence(parent, parent.with_block(index, block), validation)
                group.append((score, size(block), block))
                print(f"  {index // 2} {'ffn' if index % 2 else 'attn'}:{variant} {score:.4f}",
                      file=sys.stderr)
        groups.append(group)
    share = float(args.budget.rstrip("%")) / 100
    picks = choose(groups, share * sum(size(b) for b in parent.blocks))
    child = parent.with_block(0, picks[0])
    child.blocks = picks
    return child


def graph(args):
    variants = [f"attn:{v}" for v in ATTENTION] + [f"ffn:{v}" for v in FFN]
    text = f"{args.data}/text"
    element = {"layer": list(range(args.layers)), "variant": variants}
    return {"puzzle": 1, "nodes": {
        "parent": {"kind": "load_model", "params": {"path": f"{args.data}/models/stories3M"}},
        "training": {"kind": "tokenize", "in": {"model": "parent"},
                     "params": {"text": f"{text}/tinystories_v2_a.txt", "sequences": args.sequences}},
        "validation": {"kind": "tokenize", "in": {"model": "parent"},
                       "params": {"text": f"{text}/tinystories_v2_train_head.txt", "sequences": 20,
                                  "take": "last"}},
        "states": {"kind": "activations", "in": {"parent": "parent", "tokens": "training"}},
        "validation_states": {"kind": "activations", "in": {"parent": "parent", "tokens": "validation"},
                              "params": {"dtype": "fp32"}},
        "importance": {"kind": "importance", "in": {"parent": "parent", "activations": "states"}},
        "blocks": {"kind": "bld", "foreach": element,
                   "in": {"parent": "parent", "activations": "states", "importance": "importance"},
                   "params": {"layer": "${layer}", "variant": "${variant}", "epochs": args.epochs,
                              "compute": args.compute, "holdout": 4}},
        "scores": {"kind": "score", "foreach": element,
                   "in": {"parent": "parent", "activations": "validation_states",
                          "block": "blocks[layer=${layer},variant=${variant}]"}},
        "costs": {"kind": "cost", "in": {"parent": "parent"}, "params": {"variants": variants}},
        "choice": {"kind": "search", "in": {"scores": ["scores"], "costs": "costs"},
                   "params": {"max": {"block_parameters": args.budget}}},
        "child": {"kind": "assemble", "in": {"parent": "parent", "blocks": ["blocks"], "choice": "choice"}},
        "test": {"kind": "tokenize", "in": {"model": "parent"},
                 "params": {"text": f"{text}/tinystories_v2_b.txt", "sequences": 40}},
        "quality": {"kind": "evaluate", "in": {"model": "child", "parent": "parent", "tokens": "test"}},
        "report": {"kind": "report", "in": {"rows": ["quality"], "choice": "choice"}}}}


def puzzle_way(args, folder):
    """(seconds until the child is there, its KL by puzzle's `evaluate`)."""
    path = os.path.join(folder, "graph.json")
    with open(path, "w", encoding="utf8") as file:
        json.dump(graph(args), file)
    command = [os.path.join(args.build, "puzzle"), "run", path, "--store", os.path.join(folder, "store"),
               "--devices", ",".join(["cpu"] * args.threads)]
    begin = time.perf_counter()
    subprocess.run([*command, "-q", "--until", "child"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    out = subprocess.run([*command, "-q"], check=True, capture_output=True, text=True).stdout
    return seconds, float(re.search(r"^model .*?([\d.]+) \+-", out.split("\n", 1)[1], re.M).group(1))


def main():
    torch.set_num_threads(ARGS.threads)
    folder = tempfile.mkdtemp(prefix="straightforward.")
    try:
        ours, our_kl = puzzle_way(ARGS, folder)
    finally:
        shutil.rmtree(folder)
    parent = Llama(f"{ARGS.data}/models/stories3M")
    begin = time.perf_counter()
    training = tokens(ARGS, "tinystories_v2_a.txt", ARGS.sequences)
    validation = tokens(ARGS, "tinystories_v2_train_head.txt", 20, last=True)
    child = python_way(ARGS, parent, training, validation)
    theirs = time.perf_counter() - begin
    test = tokens(ARGS, "tinystories_v2_b.txt", 40)
    their_kl = divergence(parent, child, test)
    print(f"{ARGS.layers} layers, {ARGS.sequences} x 512 tokens, {ARGS.epochs} epochs, child of {ARGS.budget}; "
          f"{ARGS.threads} cores, kernel {os.environ['OPENBLAS_CORETYPE']}, torch {torch.__version__}\n")
    print("| | seconds from checkpoint to child | ratio | KL of the child |\n|---|---|---|---|")
    print(f"| puzzle, {ARGS.compute} | {ours:.1f} | 1 | {our_kl:.4f} |")
    print(f"| straightforward Python, fp32 | {theirs:.1f} | {theirs / ours:.1f} | {their_kl:.4f} |")


if __name__ == "__main__":
    main()
