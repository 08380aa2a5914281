#!/usr/bin/env python3
"""A checkpoint of a Llama's shape that takes no room: headers, and holes where the values are.

  bench/sparse_checkpoint.py CONFIG.json FOLDER

What reads only headers can be measured on it, at any size. The values are zeros.
"""
import json
import os
import sys

SHARD_BYTES = 5_000_000_000


def tensors(config):
    """Names and shapes, in the order of the layers."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", [config["vocab_size"], hidden]
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", [hidden]
        yield layer + "self_attn.q_proj.weight", [queries, hidden]
        yield layer + "self_attn.k_proj.weight", [keys, hidden]
        yield layer + "self_attn.v_proj.weight", [keys, hidden]
        yield layer + "self_attn.o_proj.weight", [hidden, queries]
        yield layer + "post_attention_layernorm.weight", [hidden]
        yield layer + "mlp.gate_proj.weight", [ffn, hidden]
        yield layer + "mlp.up_proj.weight", [ffn, hidden]
        yield layer + "mlp.down_proj.weight", [hidden, ffn]
    yield "model.norm.weight", [hidden]
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", [config["vocab_size"], hidden]


def size_of(shape):
    size = 2  # bf16
    for dimension in shape:
        size *= dimension
    return size


def write_shard(path, shard, fill):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shard:
        end = offset + size_of(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if fill is None:
            file.truncate(8 + len(text) + offset)
        else:
            for name, shape in shard:
                fill(name, shape, file)


def write(config, folder, fill=None):
    """`fill` writes a tensor's values to a file; without it they are holes. Returns all bytes."""
    shards, room = [], 0
    for name, shape in tensors(config):
        if size_of(shape) > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append((name, shape))
        room -= size_of(shape)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    weight_map = {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(os.path.join(folder, name), shard, fill)
        weight_map.update({tensor: name for tensor, _ in shard})
    total = sum(size_of(shape) for shard in shards for _, shape in shard)
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file)
    print(f"{folder}: {len(weight_map)} tensors, {total / 1e9:.1f} GB, {len(shards)} files")
    return total


def main(config_path, folder):
    with open(config_path) as file:
        write(json.load(file), folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
