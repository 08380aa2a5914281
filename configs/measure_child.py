#!/usr/bin/env python3
"""What an exported checkpoint weighs, as a command step of a graph would measure it: reads config.json
and the headers of its safetensors, and writes figures as JSON. Stands for any program that takes a
Hugging Face folder. Usage: measure_child.py FOLDER FIGURES.json"""
import json
import math
import struct
import sys
from pathlib import Path

folder, figures = Path(sys.argv[1]), Path(sys.argv[2])
config = json.loads((folder / "config.json").read_text())
files = sorted(folder.glob("*.safetensors"))
parameters, kinds = 0, {}
for i, path in enumerate(files):
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        count = math.prod(tensor["shape"])
        parameters += count
        kind = "attention" if "attn" in name else "ffn" if "mlp" in name else "other"
        kinds[kind] = kinds.get(kind, 0) + count
    print(f"{path.name} {100 * (i + 1) // len(files)}%", flush=True)

figures.write_text(json.dumps({
    "layers": config["num_hidden_layers"],
    "parameters": parameters,
    "share": {kind: count / parameters for kind, count in sorted(kinds.items())},
    "bytes": sum(path.stat().st_size for path in folder.iterdir()),
}))
