#!/usr/bin/env python3
"""Small random checkpoints of every family and the logits that transformers computes from them.

    /usr/bin/python3 make_references.py FOLDER

Runs itself again in FOLDER/venv, which sees the system's torch (Debian's python3-torch) and gets
transformers from PyPI. What was made by this very script is kept. Where torch or PyPI cannot be had
it says so and exits with 77, which ctest takes for skipped.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

TRANSFORMERS = "4.48.3"  # runs with torch 1.13, which 4.51, the first with Qwen3, does not
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


def skip(reason):
    print("no references:", reason)
    sys.exit(SKIPPED)


def enter_venv(folder):
    """Runs this script again where transformers is installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        skip(f"{sys.executable} has no torch (Debian: python3-torch)")
    venv = folder / "venv"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        shutil.rmtree(venv, ignore_errors=True)
        made = subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", venv])
        if made.returncode != 0:
            skip("no virtual environment could be made (Debian: python3-venv)")
        installed = subprocess.run([python, "-m", "pip", "install", "--quiet",
                                    f"transformers=={TRANSFORMERS}"])
        if installed.returncode != 0:
            skip(f"transformers {TRANSFORMERS} could not be installed from PyPI")
        (venv / "complete").touch()
    os.execv(python, [str(python), __file__, str(folder), "--in-venv"])


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
    config = getattr(transformers, base + "Config")(**fields)
    head = "LMHeadModel" if base == "GPT2" else "ForCausalLM"
    model = getattr(transformers, base + head)(config)
    renamed = patch(model)
    generator = torch.Generator().manual_seed(20261122)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.25 if parameter.dim() == 1 else 0.2
            is_norm = parameter.dim() == 1 and name.endswith("weight")
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
    target = folder / name
    target.mkdir(exist_ok=True)
    (target / "config.json").write_text(json.dumps(config, indent=1, default=str))
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    save_file({"ids": ids.float(), "logits": logits.float().contiguous()},
              target / "reference.safetensors")


def make_all(folder):
    import torch

    torch.set_default_dtype(torch.float64)
    for name, (family, fields) in MODELS.items():
        make(folder, name, family, fields)


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "made_by"
    script = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == script:
        return
    if "--in-venv" not in sys.argv:
        enter_venv(folder)
    make_all(folder)
    stamp.write_text(script)


if __name__ == "__main__":
    main()
