#!/usr/bin/env python3
"""Prints what Hugging Face's `tokenizers` makes of the samples, for bpe_reference.h.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.21.4
    build/write_tokenizer_samples FOLDER && venv/bin/python tests/io/reference_ids.py FOLDER
"""
import array
import hashlib
import pathlib
import sys

import tokenizers

NAMES = ("gpt2", "llama3", "qwen2", "llama2", "smollm", "tekken", "o200k", "deepseek_v3",
         "deepseek_llm", "deepseek_coder", "falcon", "gemma")


def main(folder):
    print("// tokenizers", tokenizers.__version__)
    text = (folder / "mixed.txt").read_bytes().decode("utf-8")
    for name in NAMES:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / f"{name}.json"))
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        (folder / f"{name}.ids").write_bytes(array.array("i", ids).tobytes())
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        digests = [hashlib.sha256(data).hexdigest() for data in
                   (array.array("i", ids).tobytes(), decoded.encode("utf-8"))]
        print(f'    {{"{name}", {len(ids)}, "{digests[0]}",\n     "{digests[1]}"}},')


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
