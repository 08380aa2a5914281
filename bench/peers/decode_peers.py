#!/usr/bin/env python3
"""Times decoding and prefill of a model beside llama.cpp, in turn, on the same weights.

    decode_peers.py MODEL                            every type
    decode_peers.py MODEL --types fp32 --rounds 5

llama.cpp is the library in PyPI's llama-cpp-py-sync, in the virtual environment of tests/interop; the
first line says what instructions it was built for. It reads what `puzzle export --format gguf` writes: F32
beside our fp32, BF16 and F16 beside bf16, Q8_0 beside int8. Rows are measured A B A B: a round of `puzzle
bench`, then one of llama.cpp, --rounds times; printed are medians, ranges, and the median of the ratios
of a round.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "interop"), str(ROOT / "tests" / "model" / "families")]
import make_references  # noqa: E402
import read_gguf  # noqa: E402

PAIRS = [("fp32", "f32"), ("bf16", "bf16"), ("bf16", "f16"), ("int8", "q8_0")]


class Peer(read_gguf.LlamaCpp):
    """A model in llama.cpp, with its defaults but for threads."""

    def __init__(self, path, args):
        super().__init__(path, n_ctx=args.prefill + args.decode, n_batch=args.prefill,
                         n_threads=args.threads, n_threads_batch=args.threads)
        self.args = args
        self.vocabulary = self.lib.llama_vocab_n_tokens(self.vocab)

    def built_for(self):
        return self.ffi.string(self.lib.llama_print_system_info()).decode().strip()

    def decode(self, ids):
        tokens = self.ffi.new("llama_token[]", ids)
        batch = self.lib.llama_batch_get_one(tokens, len(ids))
        if self.lib.llama_decode(self.context, batch) != 0:
            sys.exit("llama.cpp cannot decode")
        self.lib.llama_get_logits_ith(self.context, -1)  # waits for the answer

    def turn(self):
        """(prefill tokens/s, decode tokens/s) of random tokens, as llama-bench has them."""
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        draw = random.Random(7)
        prompt = [draw.randrange(self.vocabulary) for _ in range(self.args.prefill)]
        begin = time.perf_counter()
        self.decode(prompt)
        prefill = len(prompt) / (time.perf_counter() - begin)
        begin = time.perf_counter()
        for _ in range(self.args.decode):
            self.decode([draw.randrange(self.vocabulary)])
        return prefill, self.args.decode / (time.perf_counter() - begin)


def called(command):
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{answer.stderr[-2000:]}")
    return answer.stdout


def our_turn(args, dtype):
    """The same of `puzzle bench`."""
    command = [os.path.join(args.build, "puzzle"), "bench", args.model, "--json", "--rounds", "1",
               "--dtype", dtype]
    for name in ("prefill", "decode", "threads"):
        command += [f"--{name}", str(getattr(args, name))]
    row = json.loads(called(command))["models"][0]
    return row["prefill_tok_s"], row["decode_tok_s"]


def shown(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def measure(args, dtype, theirs_type, folder):
    out = os.path.join(folder, theirs_type + ".gguf")
    called([os.path.join(args.build, "puzzle"), "export", args.model, out, "--format", "gguf", "--dtype",
            theirs_type])
    peer = Peer(out, args)
    if not args.said:
        args.said = True
        print(f"{peer.built_for()}\n\n| tokens/s | puzzle | llama.cpp | ratio |\n|---|---|---|---|")
    ours, theirs = [], []
    peer.turn()  # warms up; ours reads all weights when it packs them
    for _ in range(args.rounds):
        ours.append(our_turn(args, dtype))
        theirs.append(peer.turn())
    peer.close()
    os.remove(out)
    for i, what in enumerate(("prefill", "decode")):
        ratio = statistics.median(a[i] / b[i] for a, b in zip(ours, theirs))
        print(f"| {what}, {dtype} beside {theirs_type.upper()} | {shown([a[i] for a in ours])} "
              f"| {shown([b[i] for b in theirs])} | {ratio:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--types", default="fp32,bf16,int8")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-venv", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.said = False
    types = args.types.split(",")
    for dtype in types:
        if dtype not in dict(PAIRS):
            parser.error(f"no type \"{dtype}\"; there are {', '.join(dict(PAIRS))}")
    if not args.in_venv:
        make_references.enter(read_gguf.gguf_venv(), __file__, *sys.argv[1:])
    version = read_gguf.PACKAGES["llama-cpp-py-sync"]
    print(f"puzzle and llama-cpp-py-sync {version}, batch 1, {args.threads} threads, prompts of {args.prefill}, "
          f"then {args.decode} tokens, {args.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        for dtype, theirs_type in PAIRS:
            if dtype in types:
                measure(args, dtype, theirs_type, folder)


if __name__ == "__main__":
    main()
