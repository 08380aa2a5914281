#!/usr/bin/env python3
"""GGUF files of the checkpoints that make_references.py made with transformers, for gguf_families_test.

    /usr/bin/python3 write_gguf.py REFERENCES

Names of tensors and keys are those of the package gguf, which llama.cpp's own converter uses; what
it does beside (Gemma's norms plus one, factors of `longrope` as tensors) is done here as there.
Runs itself again in the virtual environment of read_gguf.py; exits with 77 where that cannot be had.
"""
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import read_gguf  # noqa: E402

FAMILIES = {"phi3": "PHI3", "phi3_short": "PHI3", "phi3_long": "PHI3", "gemma2_usual": "GEMMA2",
            "gemma3_usual": "GEMMA3", "qwen3_current": "QWEN3"}


def add_phi3(writer, config, rope):
    import numpy as np

    context = config["max_position_embeddings"]
    original = rope.get("original_max_position_embeddings", context)
    heads = config["num_attention_heads"]
    dims = int(rope.get("partial_rotary_factor", 1.0) * config["hidden_size"]) // heads
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_dimension_count(dims)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_sliding_window(config["sliding_window"] or 0)
    if "long_factor" in rope:
        scale = context / original
        writer.add_rope_scaling_attn_factors(
            math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
        for which in ("long", "short"):
            writer.add_tensor(f"rope_factors_{which}.weight",
                              np.array(rope[f"{which}_factor"], np.float32))


def add_gemma(writer, config, rope):
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    if config["model_type"] == "gemma2":
        writer.add_final_logit_softcapping(0.0)
    else:
        full = rope["full_attention"]
        writer.add_rope_freq_base(full["rope_theta"])
        if full["rope_type"] == "linear":
            import gguf

            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(full["factor"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_sliding_window(config["sliding_window"])


def write(folder, arch):
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    rope = config["rope_parameters"]
    layers = config["num_hidden_layers"]
    writer = gguf.GGUFWriter(folder / "model.gguf", gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH[arch]])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if arch == "PHI3":
        add_phi3(writer, config, rope)
    elif arch.startswith("GEMMA"):
        add_gemma(writer, config, rope)
    else:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        writer.add_rope_freq_base(rope["rope_theta"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch], layers)
    for name, data in load_file(folder / "model.safetensors").items():
        if arch.startswith("GEMMA") and name.endswith("norm.weight"):
            data = data + 1
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    references = pathlib.Path(sys.argv[1]).resolve()
    if "--in-venv" not in sys.argv:
        read_gguf.make_references.enter(read_gguf.gguf_venv(), __file__, *sys.argv[1:])
    for name, arch in FAMILIES.items():
        if (references / name / "reference.safetensors").exists():
            write(references / name, arch)


if __name__ == "__main__":
    main()
