#!/usr/bin/env python3
"""Children with pruned query heads, as reference_test.cpp exports them, in transformers' own classes.

    /usr/bin/python3 read_exports.py FOLDER [--current]

Runs itself again in the virtual environment of make_references.py. Exits with 77, which ctest takes for
skipped, where there is none.
"""
import pathlib
import sys

import make_references

SKIPPED = 77
TOLERANCE = 1e-4
# The others are families that this transformers has not, and were patched together.
FAMILIES = ["llama", "llama_biases", "mistral", "qwen2", "gpt2", "gpt_neo", "opt", "opt_gelu"]
CURRENT_FAMILIES = list(make_references.CURRENT_MODELS)


def check(folder):
    torch = make_references.import_torch()
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"], loading
    expected = load_file(folder / "logits" / "model.safetensors")
    ids = expected["ids"].long()
    with torch.no_grad():
        logits = model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    difference = (logits - expected["logits"]).abs().max().item()
    print(f"{folder.parent.name}: {type(model).__name__}, logits differ by {difference:.1e}")
    return difference < TOLERANCE


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    current = ["--current"] if "--current" in sys.argv else []
    if not (folder / ("made_by_current" if current else "made_by")).exists():
        print("no exports were read: the test family_references says why")
        sys.exit(SKIPPED)
    if "--in-venv" not in sys.argv:
        venv = make_references.current_venv() if current else folder / "venv"
        make_references.enter(venv, __file__, folder, *current)
    families = CURRENT_FAMILIES if current else FAMILIES
    sys.exit(0 if all([check(folder / name / "pruned") for name in families]) else 1)


if __name__ == "__main__":
    main()
