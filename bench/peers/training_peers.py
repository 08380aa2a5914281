#!/usr/bin/env python3
"""Times the library's steps and a step of distillation beside bare loops in PyTorch, in turn.

    training_peers.py MODEL TEXT                          everything, on one thread and on two
    training_peers.py MODEL TEXT --work gkd --threads 2 --rounds 3

MODEL is a checkpoint of Llama's shape (a GGUF file or a folder), TEXT a file. PyTorch and transformers
are those from PyPI in the virtual environment of tests/model/families. Rows are measured A B A B: a
round of bld_bench or gkd_bench, then one of PyTorch in bf16 autocast, --rounds times; printed are medians
of wall and processor seconds. Our steps of a library are whole: the layer is read, the parent answers,
the last matrix is solved for, losses are held out. PyTorch's loops train alone, on inputs and targets that
are there, with the same tokens, batches and passes; `linear`, which ours solves, is trained as well.

    ffn, attn       norm, sub-block, mean squared error, fused AdamW
    activations     the layers' states, kept in bf16
    importance      the same pass, FFN channels ranked by iterative contribution as it goes by
    gkd             teacher in bf16 without gradients, student in fp32 with autocast and three quarters of
                    every FFN's channels; KL + cosine of the hidden states, sequences in parts of --part,
                    clipping, fused AdamW. The losses of both are printed: they are of the same tokens
"""
import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "model" / "families"))
import make_references  # noqa: E402

LENGTH, BATCH, EPOCHS, SEPARATOR = 512, 8, 2, "<|endoftext|>"
VARIANTS = ["ffn:75%", "ffn:50%", "ffn:25%", "attn:kv1", "attn:linear"]


def called(*command):
    answer = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    if answer.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{answer.stdout[-2000:]}")
    return answer.stdout


class Spent:
    """Wall and processor seconds of all threads of a `with`."""

    def __enter__(self):
        self.wall, self.processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall = time.perf_counter() - self.wall
        self.processor = time.process_time() - self.processor


def our_library(args, threads):
    """name -> the row of bld_bench."""
    out = called(args.build / "bld_bench", args.model, args.text, args.sequences, args.layers, threads)
    header, *rows = [[cell.strip() for cell in line.strip("|").split("|")]
                     for line in out.splitlines() if line.startswith("| ")]
    return {row[0]: dict(zip(header, row)) for row in rows}


def our_gkd(args, threads):
    out = called(args.build / "gkd_bench", args.model, args.text, BATCH, args.steps, LENGTH, "bf16", "off",
                 threads)
    loss, processor, wall = re.search(
        r"loss (\S+); ([\d.]+) processor s a step.*?; ([\d.]+) s a step", out).groups()
    share, rate, processor_share = re.search(
        r"GFLOP/s of the products' (\d+): ([\d.]+); .*: ([\d.]+)", out).group(2, 1, 3)
    return {"loss": loss, "s": wall, "processor s": processor, "share": share, "products'": rate,
            "share of it": processor_share}


class Peer:
    """The model in transformers, and the text in its ids."""

    def __init__(self, args, folder):
        from transformers import AutoTokenizer, LlamaForCausalLM

        self.args, self.torch = args, make_references.import_torch()
        called(args.build / "puzzle", "export", args.model, folder, "--dtype", "f32")
        self.load = lambda dtype: LlamaForCausalLM.from_pretrained(folder, dtype=dtype)
        self.parent = self.load(self.torch.float32).eval()
        self.config = self.parent.config
        tokenizer = AutoTokenizer.from_pretrained(folder)
        between = tokenizer.convert_tokens_to_ids(SEPARATOR)
        self.ids = []
        wanted = LENGTH * max(args.sequences, BATCH * args.steps)
        for document in pathlib.Path(args.text).read_text().split(SEPARATOR):
            if document.strip() and len(self.ids) < wanted:
                self.ids += [between] if self.ids else []
                self.ids += tokenizer(document.strip(), add_special_tokens=False).input_ids

    def tokens(self, sequences):
        return self.torch.tensor(self.ids[:sequences * LENGTH]).view(sequences, LENGTH)

    def autocast(self):
        return self.torch.autocast("cpu", dtype=self.torch.bfloat16)

    def variant(self, name):
        """Norm and sub-block as one function, and its parameters."""
        from torch import nn
        from transformers.models.llama import modeling_llama as llama

        width = self.config.hidden_size
        norm = nn.RMSNorm(width, eps=self.config.rms_norm_eps)
        if name == "attn:linear":
            body = nn.Linear(width, width, bias=False)
            run = body
        elif name.startswith("ffn"):
            config = type(self.config)(**self.config.to_dict())
            config.intermediate_size = config.intermediate_size * int(name[4:-1]) // 100
            body = llama.LlamaMLP(config)
            run = body
        else:
            config = type(self.config)(**self.config.to_dict())
            config.num_key_value_heads = int(name[len("attn:kv"):])
            config._attn_implementation = "sdpa"
            body = llama.LlamaAttention(config, layer_idx=0)
            places = self.parent.model.rotary_emb(
                self.torch.zeros(1, LENGTH, width), self.torch.arange(LENGTH).unsqueeze(0))

            def run(x):
                return body(x, attention_mask=None, position_embeddings=places)[0]
        return lambda x: run(norm(x)), [*norm.parameters(), *body.parameters()]

    def train(self, name):
        torch = self.torch
        held_out = min(16, self.args.sequences // 4)
        count = self.args.sequences - held_out
        x = torch.randn(count, LENGTH, self.config.hidden_size)
        y = torch.randn(count, LENGTH, self.config.hidden_size)
        run, parameters = self.variant(name)
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

        def step(rows):
            with self.autocast():
                loss = torch.nn.functional.mse_loss(run(x[rows]).float(), y[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        step(torch.arange(BATCH))  # to warm up
        with Spent() as spent:
            for _ in range(EPOCHS):
                for rows in torch.randperm(count).split(BATCH):
                    step(rows)
        return spent

    def first_layers(self):
        """The parent as it is, cut behind as many layers as ours has."""
        model = self.parent.model
        layers = self.args.layers or len(model.layers)
        return model, model.layers[:layers]

    def forward(self, hooks):
        """One pass over all tokens, four sequences at a time, through the first layers alone."""
        torch = self.torch
        model, layers = self.first_layers()
        kept, everything = [], model.layers
        handles = [layer.register_forward_hook(lambda m, a, out: kept.append(out.bfloat16()))
                   for layer in layers]
        handles += hooks(layers)
        model.layers = layers
        model.config.num_hidden_layers = len(layers)
        ids = self.tokens(self.args.sequences)
        with Spent() as spent, torch.no_grad(), self.autocast():
            for rows in ids.split(4):
                model(rows, use_cache=False)
        for handle in handles:
            handle.remove()
        model.layers = everything
        model.config.num_hidden_layers = len(everything)
        return spent

    def activations(self):
        return self.forward(lambda layers: [])

    def importance(self):
        batches = max(1, self.args.sequences // 4)

        def hooks(layers):
            made = []
            for layer in layers:
                ranking = Ranking(self.torch, layer.mlp.down_proj.weight.detach(), batches)
                made.append(layer.mlp.down_proj.register_forward_pre_hook(
                    lambda m, a, ranking=ranking: ranking.add(a[0].flatten(0, 1))))
            return made

        return self.forward(hooks)

    def gkd(self):
        torch = self.torch
        functional = torch.nn.functional
        teacher, student = self.load(torch.bfloat16).eval(), self.load(torch.float32)
        for layer in student.model.layers:
            keep = layer.mlp.up_proj.weight.shape[0] * 3 // 4
            for name, dim in (("gate_proj", 0), ("up_proj", 0), ("down_proj", 1)):
                matrix = getattr(layer.mlp, name)
                matrix.weight = torch.nn.Parameter(matrix.weight.detach().narrow(dim, 0, keep).clone())
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)

        def states(model, ids):
            behind = []
            handles = [layer.register_forward_hook(lambda m, a, out: behind.append(out))
                       for layer in model.model.layers]
            last = model.model(ids, use_cache=False).last_hidden_state
            for handle in handles:
                handle.remove()
            return behind, last[:, :-1]

        def log_p(model, last):
            return model.lm_head(last).float().log_softmax(-1).flatten(0, 1)

        def loss_of(ids):
            with torch.no_grad():
                theirs, last = states(teacher, ids)
                p = log_p(teacher, last)
            with self.autocast():
                own, last = states(student, ids)
                kl = functional.kl_div(log_p(student, last), p, log_target=True, reduction="batchmean")
                cosine = sum(1 - functional.cosine_similarity(a.float(), b.float(), dim=-1).mean()
                             for a, b in zip(own, theirs))
            return kl + cosine / len(own)

        def step(ids):
            total = 0.0
            for rows in ids.split(self.args.part):
                loss = loss_of(rows) * (len(rows) / len(ids))
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return total

        ids = self.tokens(BATCH * self.args.steps)
        loss_of(ids[:1]).backward()  # to warm up
        student.zero_grad()
        with Spent() as spent:
            for rows in ids.split(BATCH):
                spent.loss = step(rows)
        spent.wall /= self.args.steps
        spent.processor /= self.args.steps
        return spent


class Ranking:
    """Iterative contribution of FFN channels, as model/importance.h has it."""

    def __init__(self, torch, down, batches):
        self.torch, self.down, self.batches, self.seen = torch, down, batches, 0
        self.order = torch.empty(0, dtype=torch.long)
        self.kept = torch.arange(down.shape[1])

    def add(self, x):
        self.seen += 1
        remove = self.down.shape[1] * self.seen // self.batches - len(self.order)
        missing = self.torch.nn.functional.linear(x[:, self.order], self.down[:, self.order])
        own, matrix = x[:, self.kept].float(), self.down[:, self.kept]
        dot = (missing @ matrix.to(missing.dtype)).float()
        base = missing.float().square().sum(1, keepdim=True)
        error = (base + 2 * own * dot + own.square() * matrix.square().sum(0)).clamp_min(0)
        worst = (error + 1e-8).sqrt().mean(0).argsort()
        self.order = self.torch.cat([self.order, self.kept[worst[:remove]]])
        self.kept = self.kept[worst[remove:].sort().values]


def median_of(rows, column):
    return statistics.median(float(row[column]) for row in rows)


def row_of(name, threads, ours, theirs, extra):
    """What both have in common, `extra` behind it."""
    wall = statistics.median(one.wall for one in theirs)
    processor = statistics.median(one.processor for one in theirs)
    own, products = median_of(ours, "s"), median_of(ours, "products'")
    cells = [name, threads, f"{own:.2f}", f"{median_of(ours, 'processor s'):.2f}",
             f"{median_of(ours, 'share'):.2f}", f"{median_of(ours, 'share of it'):.2f}",
             f"{products:.0f}", f"{wall:.2f}", f"{processor:.2f}", f"{wall / own:.2f}", extra(own, wall)]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def library_rows(args, peer, threads):
    names = ["activations", "importance", *VARIANTS]
    ours, theirs = [], {name: [] for name in names}
    for _ in range(args.rounds):
        ours.append(our_library(args, threads))
        for name in names:
            theirs[name].append(peer.train(name) if name in VARIANTS else getattr(peer, name)())
    for name in names:
        def there(*_, name=name):
            if name not in VARIANTS:
                return ""
            return f"{median_of([one[name + ', answers there'] for one in ours], 's'):.2f} s with answers there"
        row_of(name, threads, [one[name] for one in ours], theirs[name], there)


def gkd_rows(args, peer, threads):
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(our_gkd(args, threads))
        theirs.append(peer.gkd())
    tokens = BATCH * LENGTH
    row_of(f"gkd, {BATCH} x {LENGTH}", threads, ours, theirs,
           lambda own, wall: f"{tokens / own:.0f} and {tokens / wall:.0f} tokens/s; losses "
                             f"{float(ours[-1]['loss']):.4f} and {theirs[-1].loss:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--work", default="library,gkd")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=64, help="for the library")
    parser.add_argument("--layers", type=int, default=2, help="for the library; 0: all")
    parser.add_argument("--steps", type=int, default=1, help="of gkd")
    parser.add_argument("--part", type=int, default=2, help="sequences of gkd at once in PyTorch")
    parser.add_argument("--in-venv", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    measured = {"library": library_rows, "gkd": gkd_rows}
    works = args.work.split(",")
    for work in works:
        if work not in measured:
            parser.error(f"no work \"{work}\"; there are {', '.join(measured)}")
    if not args.in_venv:
        make_references.enter(make_references.current_venv(), __file__, *sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(args, os.path.join(folder, "model"))
        counts = [int(count) for count in args.threads.split(",")]
        print(f"{called(args.build / 'puzzle', '--version').strip()} beside torch "
              f"{peer.torch.__version__}, transformers {make_references.CURRENT['transformers']}; bf16, "
              f"{args.rounds} rounds; library: {args.sequences} x {LENGTH} tokens, "
              f"{args.layers or 'all'} layers captured\n")
        print("| step | threads | ours, s | processor s | of the products | by processor time "
              "| products, GFLOP/s | PyTorch, s | processor s | theirs / ours | |\n|---|---|---|---|---|---|---|---|---|---|---|")
        for work, rows in measured.items():
            for threads in counts if work in works else []:
                peer.torch.set_num_threads(threads)
                rows(args, peer, threads)


if __name__ == "__main__":
    main()
