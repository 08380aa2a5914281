#!/usr/bin/env python3
"""Small random checkpoints of every family and the logits that transformers computes from them.

    /usr/bin/python3 make_references.py FOLDER [--current]

Runs itself again in a virtual environment. Without --current that is FOLDER/venv, which sees the
system's torch (Debian's python3-torch) and gets an older transformers from PyPI. With it, a current
torch and transformers, half a gigabyte to download, kept for all build folders in
~/.cache/puzzle-tests. What was made by this very script is kept. Where torch or PyPI cannot be had it
says so and exits with 77, which ctest takes for skipped.
"""
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

TRANSFORMERS = "4.48.3"  # runs with torch 1.13, which 4.51, the first with Qwen3, does not
CURRENT = {"torch": "2.15.0", "transformers": "5.24.0"}
SKIPPED = 77

COMMON = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = COMMON | {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
                  "num_attention_heads": 4, "num_key_value_heads": 2,
                  "max_position_embeddings": 64, "attn_implementation": "eager"}
MODELS = {
    "llama": ("Llama", LLAMA | {"tie_word_embeddings": True, "head_dim": 16}),
    "llama_biases": ("Llama", LLAMA | {
        "attention_bias": True, "mlp_bias": True,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}),
    "mistral": ("Mistral", LLAMA | {"sliding_window": 5}),
    "qwen2": ("Qwen2", LLAMA | {"tie_word_embeddings": True}),
    "qwen2_window": ("Qwen2Window", LLAMA | {"sliding_window": 6}),
    "qwen3": ("Qwen3", LLAMA | {"head_dim": 16}),
    "gpt2": ("GPT2", COMMON | {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}),
    "gpt_neo": ("GPTNeo", COMMON | {
        "hidden_size": 32, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 64,
        "attention_types": [[["global", "local"], 2]], "window_size": 5}),
    "opt": ("OPT", COMMON | {
        "hidden_size": 32, "ffn_dim": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": 64, "word_embed_proj_dim": 32, "pad_token_id": 0,
        "attn_implementation": "eager"}),
    "opt_gelu": ("OPT", COMMON | {
        "hidden_size": 32, "ffn_dim": 80, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 64, "word_embed_proj_dim": 32, "pad_token_id": 0,
        "activation_function": "gelu", "enable_bias": False, "tie_word_embeddings": False,
        "attn_implementation": "eager"}),
}

LONG = {"short_factor": [1.0, 1.2, 1.4, 1.6], "long_factor": [1.0, 2.0, 4.0, 8.0]}
GEMMA = LLAMA | {"head_dim": 16, "sliding_window": 5, "query_pre_attn_scalar": 12, "pad_token_id": 0}
# Of the current transformers.
CURRENT_MODELS = {
    "llama_current": ("Llama", LLAMA | {"rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "llama_dynamic": ("Llama", LLAMA | {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
    "mistral_current": ("Mistral", LLAMA | {"sliding_window": 5, "head_dim": 8}),
    "qwen2_current": ("Qwen2", LLAMA | {"use_sliding_window": True, "sliding_window": 6,
                                        "max_window_layers": 1}),
    "qwen3_current": ("Qwen3", LLAMA | {"head_dim": 16}),
    "gpt2_current": ("GPT2", MODELS["gpt2"][1]),
    "phi3": ("Phi3", LLAMA | {"sliding_window": 7, "pad_token_id": 0}),
    "phi3_short": ("Phi3", LLAMA | {
        "pad_token_id": 0, "original_max_position_embeddings": 32,
        "rope_scaling": LONG | {"type": "longrope"}}),
    "phi3_long": ("Phi3", LLAMA | {
        "pad_token_id": 0, "original_max_position_embeddings": 8, "partial_rotary_factor": 0.5,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.5],
                         "long_factor": [2.0, 6.0]}}),
    "gemma2": ("Gemma2", GEMMA | {"attn_logit_softcapping": 3.0, "final_logit_softcapping": None}),
    "gemma3": ("Gemma3", GEMMA | {"num_hidden_layers": 4, "layer_types": [
        "sliding_attention", "full_attention", "sliding_attention", "full_attention"]}),
    # With what llama.cpp takes for granted.
    "gemma2_usual": ("Gemma2", GEMMA | {"query_pre_attn_scalar": 16, "attn_logit_softcapping": 3.0,
                                        "final_logit_softcapping": None}),
    "gemma3_usual": ("Gemma3", GEMMA | {
        "query_pre_attn_scalar": 16, "num_hidden_layers": 7, "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}}),
}


def skip(reason):
    print("no references:", reason)
    sys.exit(SKIPPED)


def install(python, *packages):
    command = [python, "-m", "pip", "install", "--quiet", *packages]
    if subprocess.run(command).returncode != 0:
        skip(f"{' '.join(packages)} could not be installed from PyPI")


def make_venv(venv, *options):
    shutil.rmtree(venv, ignore_errors=True)
    venv.parent.mkdir(parents=True, exist_ok=True)
    if subprocess.run([sys.executable, "-m", "venv", *options, venv]).returncode != 0:
        skip("no virtual environment could be made (Debian: python3-venv)")
    return venv / "bin" / "python"


def system_venv(folder):
    """The older transformers on the system's torch."""
    try:
        import torch  # noqa: F401
    except ImportError:
        skip(f"{sys.executable} has no torch (Debian: python3-torch)")
    venv = folder / "venv"
    if not (venv / "complete").exists():
        install(make_venv(venv, "--system-site-packages"), f"transformers=={TRANSFORMERS}")
        (venv / "complete").touch()
    return venv


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def stand_in_for_cuda(torch_lib, folder):
    """Makes libraries that have the names and symbols of those that a torch for CUDA links to.

    PyPI has torch for Linux with CUDA only, whose libraries are several gigabytes more. On the CPU
    none of them is called, but the loader wants to find them; every function answers 100, "no device".
    """
    folder.mkdir(exist_ok=True)
    libraries = sorted(p for p in torch_lib.glob("*.so*") if p.is_file())
    needed, defined, unversioned, wanted, home = set(), set(), set(), {}, {}
    for library in libraries:
        needed |= set(re.findall(r"NEEDED.*\[(.*?)\]", output_of("readelf", "-d", library)))
        file = None
        for match in re.finditer(r"File: (\S+)|Name: (\S+)", output_of("readelf", "-V", library)):
            if match[1]:
                file = match[1]
            elif file:
                home[match[2]] = file
        for line in output_of("nm", "-D", library).splitlines():
            *_, kind, symbol = line.split()
            name, _, version = symbol.partition("@")
            if kind != "U":
                defined.add(name)
            elif version:
                wanted.setdefault(version.lstrip("@"), set()).add(name)
            else:
                unversioned.add(name)
    present = {p.name for p in libraries}
    for library in [n for n in sorted(needed - present) if re.match("lib(cu|nv|nccl)", n)]:
        versions = [version for version, file in home.items() if file == library]
        names = set().union(*(wanted.get(version, set()) for version in versions))
        if not versions:
            names |= {n for n in unversioned - defined if not re.match("_Z|_?Py", n)}
        code = "".join(f"long {name}(void) {{ return 100; }}\n" for name in sorted(names))
        options = []
        if versions:
            (folder / "versions.map").write_text(f"{versions[0]} {{ global: *; }};\n")
            options = [f"-Wl,--version-script={folder / 'versions.map'}"]
        subprocess.run(["cc", "-w", "-fno-builtin", "-shared", "-x", "c", "-", *options,
                        f"-Wl,-soname,{library}", "-o", folder / library],
                       input=code, text=True, check=True)


def kept_venv(packages, fill):
    """A virtual environment with these versions, made once per machine by fill(folder)."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    name = "-".join(f"{package}-{version}" for package, version in packages.items())
    venv = cache / "puzzle-tests" / name
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(venv.parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / "complete").exists():
            fill(venv)
            (venv / "complete").touch()
    return venv


def current_venv():
    """The current torch and transformers."""
    def fill(venv):
        missing = [tool for tool in ("cc", "readelf", "nm") if not shutil.which(tool)]
        if missing:
            skip(f"no {', '.join(missing)} to stand in for CUDA")
        python = make_venv(venv)
        install(python, "filelock", "fsspec", "jinja2", "networkx", "numpy", "setuptools", "sympy",
                "typing-extensions", f"transformers=={CURRENT['transformers']}")
        install(python, "--no-deps", f"torch=={CURRENT['torch']}")
        torch_lib = next(venv.glob("lib/python*/site-packages/torch/lib"))
        stand_in_for_cuda(torch_lib, venv / "no-cuda")

    return kept_venv(CURRENT, fill)


def enter(venv, script, *arguments):
    """Runs a script in a virtual environment, in this one's place."""
    python = str(venv / "bin" / "python")
    environment = os.environ | {"LD_LIBRARY_PATH": str(venv / "no-cuda")}
    os.execve(python, [python, script, *map(str, arguments), "--in-venv"], environment)


def import_torch():
    """torch, which is not to ask CUDA anything: nobody is there to answer."""
    import torch

    torch.cuda.is_current_stream_capturing = lambda: False
    return torch


def norm_heads(model):
    """Qwen2 becomes Qwen3: no biases, an RMS norm of every q and k head apart."""
    import torch

    class HeadNorm(torch.nn.Module):
        def __init__(self, head_dim, eps):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(head_dim))
            self.eps = eps

        def forward(self, x):
            heads = x.unflatten(-1, (-1, self.weight.numel()))
            scale = torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + self.eps)
            return (self.weight * heads * scale).flatten(-2)

    renamed = {}
    for number, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        attention.v_proj.bias = None
        for which in "qk":
            name = f"{which}_proj"
            linear = getattr(attention, name)
            linear.bias = None
            norm = HeadNorm(model.config.head_dim, model.config.rms_norm_eps)
            setattr(attention, name, torch.nn.Sequential(linear, norm))
            prefix = f"model.layers.{number}.self_attn."
            renamed[f"{prefix}{name}.0.weight"] = f"{prefix}{name}.weight"
            renamed[f"{prefix}{name}.1.weight"] = f"{prefix}{which}_norm.weight"
    return renamed


def add_biases(model):
    """Mistral becomes Qwen2 with windows, which transformers has for other devices only."""
    import torch

    for layer in model.model.layers:
        for name in ("q_proj", "k_proj", "v_proj"):
            linear = getattr(layer.self_attn, name)
            linear.bias = torch.nn.Parameter(torch.zeros(linear.out_features))
    return {}


# What this transformers has not: the class to start from, what makes it one, what config.json says.
PATCHED = {
    "Qwen3": ("Qwen2", norm_heads, {"model_type": "qwen3"}),
    "Qwen2Window": ("Mistral", add_biases, {"model_type": "qwen2", "use_sliding_window": True,
                                            "max_window_layers": 0}),
}


def make_model(family, fields):
    """A random model, and the names of its tensors in the file where they differ."""
    import torch
    import transformers

    base, patch, _ = PATCHED.get(family, (family, lambda model: {}, {}))
    text = "Text" if base == "Gemma3" else ""
    config = getattr(transformers, f"{base}{text}Config")(**fields)
    head = "LMHeadModel" if base == "GPT2" else "ForCausalLM"
    model = getattr(transformers, base + head)(config)
    renamed = patch(model)
    generator = torch.Generator().manual_seed(20261122)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.25 if parameter.dim() == 1 else 0.2
            is_norm = parameter.dim() == 1 and name.endswith("weight") and "Gemma" not in family
            parameter.copy_(((1.0 if is_norm else 0.0) + scale * noise).float())  # as in the file
    return model.eval(), renamed


def make(folder, name, family, fields):
    import torch
    from safetensors.torch import save_file

    model, renamed = make_model(family, fields)
    generator = torch.Generator().manual_seed(7)
    # OPT takes its padding id for the end of a sequence: no id below 3.
    ids = torch.randint(3, fields["vocab_size"], (2, 24), generator=generator)
    with torch.no_grad():
        logits = model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    tensors = {}
    for tensor_name, tensor in model.state_dict().items():
        if tensor_name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        if tensor.dtype == torch.float64:  # buffers are masks
            tensors[renamed.get(tensor_name, tensor_name)] = tensor.float().contiguous()
    config = model.config.to_dict() | PATCHED.get(family, (None, None, {}))[2]
    if config.get("dtype"):
        config["dtype"] = "float32"  # as in the file
    target = folder / name
    target.mkdir(exist_ok=True)
    (target / "config.json").write_text(json.dumps(config, indent=1, default=str))
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    save_file({"ids": ids.float(), "logits": logits.float().contiguous()},
              target / "reference.safetensors")


def make_all(folder, models):
    torch = import_torch()
    torch.set_default_dtype(torch.float64)
    for name, (family, fields) in models.items():
        make(folder, name, family, fields)


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    current = ["--current"] if "--current" in sys.argv else []
    stamp = folder / ("made_by_current" if current else "made_by")
    script = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == script:
        return
    if "--in-venv" not in sys.argv:
        enter(current_venv() if current else system_venv(folder), __file__, folder, *current)
    make_all(folder, CURRENT_MODELS if current else MODELS)
    stamp.write_text(script)


if __name__ == "__main__":
    main()
