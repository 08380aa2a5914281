"""What a child of Llama, written as a Hugging Face folder, computes in double precision: it says whose
rounding it is when two programs differ. Reads the tensors and the sizes in config.json, and knows
nothing of the program that wrote them."""
import json

import numpy as np
from safetensors import safe_open


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rotated(heads, angles):
    """[tokens, heads, dim]: pairs (i, i + dim / 2) turn by [tokens, dim / 2]."""
    a, b = np.split(heads, 2, axis=-1)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attention(q, k, v):
    """Causal, of heads side by side; query heads share key heads in order."""
    tokens, heads, dim = q.shape
    group = heads // k.shape[1]
    hidden = np.triu(np.ones((tokens, tokens), bool), 1)
    out = np.empty_like(q)
    for h in range(heads):
        scores = q[:, h] @ k[:, h // group].T / np.sqrt(dim)
        scores[hidden] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, h] = scores / scores.sum(axis=-1, keepdims=True) @ v[:, h // group]
    return out.reshape(tokens, heads * dim)


def last_logits(folder, ids):
    """Of the last of `ids`. A sub-block is what there are tensors for."""
    config = json.loads((folder / "config.json").read_text())
    assert not config.get("rope_scaling"), f"{folder}: scaled rotations are not known here"
    eps, dim = config["rms_norm_eps"], config["head_dim"]
    frequencies = config["rope_theta"] ** -(np.arange(0, dim, 2) / dim)
    angles = np.arange(len(ids))[:, None] * frequencies
    with safe_open(folder / "model.safetensors", "np") as tensors:
        names = set(tensors.keys())

        def get(name):
            tensor = tensors.get_tensor(name)
            assert tensor.dtype == np.float32, f"{folder}: {name} is {tensor.dtype}"
            return tensor.astype(np.float64)

        def split(x):
            return x.reshape(len(ids), -1, dim)

        embedding = get("model.embed_tokens.weight")
        x = embedding[ids]
        for layer in range(config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            own = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}

            def times(y, name):
                return y @ get(f"{prefix}{name}.weight").T

            if "input_layernorm.weight" in own:
                y = rms_norm(x, get(prefix + "input_layernorm.weight"), eps)
                if "self_attn.linear_attn.weight" in own:
                    x = x + times(y, "self_attn.linear_attn")
                else:
                    q, k, v = (split(times(y, f"self_attn.{name}_proj")) for name in "qkv")
                    mixed = attention(rotated(q, angles), rotated(k, angles), v)
                    x = x + times(mixed, "self_attn.o_proj")
            if "post_attention_layernorm.weight" in own:
                y = rms_norm(x, get(prefix + "post_attention_layernorm.weight"), eps)
                if "mlp.linear_mlp.weight" in own:
                    x = x + times(y, "mlp.linear_mlp")
                else:
                    gate = times(y, "mlp.gate_proj")
                    x = x + times(gate / (1 + np.exp(-gate)) * times(y, "mlp.up_proj"), "mlp.down_proj")
        head = get("lm_head.weight") if "lm_head.weight" in names else embedding
        return rms_norm(x[-1], get("model.norm.weight"), eps) @ head.T
