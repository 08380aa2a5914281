#!/usr/bin/env python3
"""Children that exports_test.cpp wrote as Hugging Face folders, in transformers.

    /usr/bin/python3 read_hf.py EXPORTS FAMILIES [--current]

Runs itself again in the virtual environment of make_references.py; FAMILIES is the folder that has
the older one. Exits with 77, which ctest takes for skipped, where there is none.
"""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "model" / "families"))
import make_references  # noqa: E402

TOLERANCE, BF16_TOLERANCE = 1e-4, 5e-2  # of the largest logit


def load(folder, dtype):
    from transformers import AutoModelForCausalLM

    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, torch_dtype=dtype, output_loading_info=True)
    for what, names in loading.items():
        assert not names, f"{folder}: {what}: {names}"
    return model.eval()


def distance(model, expected):
    """The largest difference of logits, in parts of the largest one; whether the best are the same."""
    import torch

    with torch.no_grad():
        logits = model(expected["ids"].long()).logits.float()
    wanted = expected["logits"]
    relative = (logits - wanted).abs().max() / wanted.abs().max()
    return relative.item(), torch.equal(logits.argmax(-1), wanted.argmax(-1))


def check_generation(folder, model, expected, said):
    """Greedy text, alone and beside a longer one, with a cache."""
    import torch

    ids = expected["ids"].long()
    options = {"do_sample": False, "max_new_tokens": len(said["greedy"]), "pad_token_id": 0,
               "eos_token_id": None, "min_new_tokens": len(said["greedy"])}
    alone = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, ids.shape[1]:]
    assert alone.tolist() == said["greedy"], f"{folder}: other tokens are generated"
    padding = torch.zeros(1, 5, dtype=torch.long)
    both = torch.cat([torch.cat([padding, ids], 1), torch.cat([ids[:, :5], ids], 1)])
    mask = torch.ones_like(both)
    mask[0, :5] = 0
    padded = model.generate(both, attention_mask=mask, **options)[0, both.shape[1]:]
    assert padded.tolist() == said["greedy"], f"{folder}: padding changes what is generated"


def check_tokenizer(folder, said):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    for row in said["texts"]:
        wanted = [said["leading_id"]] * (said["leading_id"] >= 0) + row["ids"]
        found = tokenizer(row["text"])["input_ids"]
        assert found == wanted, f"{folder}: {row['text']!r}: {found}, expected {wanted}"
    text = "one two\n\u00fc"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def check(folder, is_current):
    torch = make_references.import_torch()
    from safetensors.torch import load_file

    expected = load_file(folder / "reference" / "model.safetensors")
    said = json.loads((folder / "reference" / "said.json").read_text())
    model = load(folder / "hf", torch.float32)
    relative, is_same = distance(model, expected)
    print(f"{folder.name}: {type(model).__name__}, logits differ by {relative:.1e}", flush=True)
    assert relative < TOLERANCE, folder
    if is_current:  # Debian's torch 1.13 cannot be imported as far as generate() needs it
        check_generation(folder, model, expected, said)
    if (folder / "hf" / "byte_tokenizer.json").exists():
        check_tokenizer(folder / "hf", said)
    if (folder / "hf_bf16").exists() and is_current:
        relative, is_same = distance(load(folder / "hf_bf16", torch.bfloat16), expected)
        print(f"{folder.name}: in bf16 by {relative:.1e}, best tokens equal: {is_same}")
        assert relative < BF16_TOLERANCE and is_same, folder


def main():
    exports = pathlib.Path(sys.argv[1]).resolve()
    families = pathlib.Path(sys.argv[2]).resolve()
    is_current = "--current" in sys.argv
    if "--in-venv" not in sys.argv:
        venv = (make_references.current_venv() if is_current
                else make_references.system_venv(families))
        os.environ["HF_MODULES_CACHE"] = str(exports / f"modules-{'new' if is_current else 'old'}")
        os.environ["HF_HUB_OFFLINE"] = "1"
        make_references.enter(venv, __file__, *sys.argv[1:])
    folders = sorted(path.parent for path in exports.glob("*/hf"))
    assert len(folders) > 20, f"{exports}: {len(folders)} exports"
    for folder in folders:
        check(folder, is_current)


if __name__ == "__main__":
    main()
