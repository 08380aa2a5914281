#!/usr/bin/env python3
"""Children that exports_test.cpp wrote as GGUF files, in llama.cpp and the package gguf.

    /usr/bin/python3 read_gguf.py EXPORTS [NAME...]

Runs itself again in a virtual environment with llama.cpp, whose library a package on PyPI has for
Linux on x86-64, kept for all build folders in ~/.cache/puzzle-tests. Exits with 77, which ctest takes
for skipped, where that cannot be had.
"""
import ctypes
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "model" / "families"))
import make_references  # noqa: E402

PACKAGES = {"gguf": "0.19.0", "llama-cpp-py-sync": "0.11739"}
TOLERANCE = 1e-5  # of the largest logit
# llama.cpp looks GELU up in a table of 16-bit floats.
GELU_TOLERANCE = 1e-3
GELU = {"uniform_gemma3_text", "uniform_gpt2"}
# llama.cpp multiplies weights of few bits with activations that it rounds to eight: logits are near
# those of the program, which widens the weights, and a text is the same up to where two tokens are
# nearly as likely.
QUANTISED_TOLERANCE, QUANTISED_TOKENS = 3e-2, 8
# Thirty layers in fp32 round more than six, and two programs differ by more than each does from double
# precision: by 1.1e-5, of which llama.cpp has 9.9e-6 and the program 2.8e-6. With PyPI's libtorch 2.15 it
# has 1.9e-5, as the same model written in PyTorch 2.15 has (2.0e-5): its products sum in another order.
DEEP = {"smollm2"}
OURS, THEIRS = 3e-5, 1.5e-5
# The C library that the package's libraries were built with, and what they take of it that Debian
# 12's has under another name.
BUILT_WITH = "GLIBC_2.38"
STAND_IN = """
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
long __isoc23_strtol(const char *s, char **end, int base) { return strtol(s, end, base); }
unsigned long __isoc23_strtoul(const char *s, char **end, int base) { return strtoul(s, end, base); }
unsigned long long __isoc23_strtoull(const char *s, char **end, int base) {
  return strtoull(s, end, base);
}
int __isoc23_sscanf(const char *s, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int count = vsscanf(s, format, list);
  va_end(list);
  return count;
}
"""
# A context on one thread with a cache in F32.
EXACT = {"n_ctx": 128, "n_batch": 128, "n_ubatch": 128, "n_threads": 1, "n_threads_batch": 1,
         "type_k": 0, "type_v": 0, "flash_attn_type": 0}
EXACT_TYPES = ["F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]


def elf_hash(name):
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        value = (value ^ (value >> 24 & 0xF0)) & 0x0FFFFFFF
    return value


def stand_in_for_glibc(libraries, folder):
    """Lets libraries run with an older C library: they ask for its version, but need not insist."""
    weak, absent = 2, struct.pack("<IH", elf_hash(BUILT_WITH), 0)
    for library in {path.resolve() for path in libraries}:
        data = library.read_bytes()
        if data.count(absent) == 1:
            at = data.index(absent) + 4
            library.write_bytes(data[:at] + struct.pack("<H", weak) + data[at + 2:])
    subprocess.run(["cc", "-w", "-shared", "-fPIC", "-x", "c", "-", "-o", folder / "stand-in.so"],
                   input=STAND_IN, text=True, check=True)


def gguf_venv():
    def fill(venv):
        make_references.install(
            make_references.make_venv(venv), "--only-binary", ":all:", "safetensors",
            *(f"{package}=={version}" for package, version in PACKAGES.items()))
        if os.confstr("CS_GNU_LIBC_VERSION") < BUILT_WITH.lower().replace("_", " "):
            if not shutil.which("cc"):
                make_references.skip("no cc to stand in for a newer C library")
            stand_in_for_glibc(venv.glob("lib/python*/site-packages/llama_cpp_py_sync/*.so*"), venv)

    return make_references.kept_venv(PACKAGES, fill)


class LlamaCpp:
    """A model in llama.cpp, through its C interface. With EXACT, or with llama.cpp's defaults but for
    `options`, fields of its llama_context_params."""

    def __init__(self, path, **options):
        stand_in = pathlib.Path(sys.prefix) / "stand-in.so"
        if stand_in.exists():
            ctypes.CDLL(str(stand_in), ctypes.RTLD_GLOBAL)
        from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

        self.ffi, self.lib = get_ffi(), get_lib()
        self.silence = self.ffi.callback("ggml_log_callback", lambda *_: None)
        self.lib.llama_log_set(self.silence, self.ffi.NULL)
        self.lib.llama_backend_init()
        self.model = self.lib.llama_model_load_from_file(
            str(path).encode(), self.lib.llama_model_default_params())
        assert self.model != self.ffi.NULL, f"{path}: llama.cpp does not load it"
        params = self.lib.llama_context_default_params()
        for name, value in (options or EXACT).items():
            setattr(params, name, value)
        self.context = self.lib.llama_init_from_model(self.model, params)
        assert self.context != self.ffi.NULL, f"{path}: llama.cpp makes no context for it"
        self.vocab = self.lib.llama_model_get_vocab(self.model)

    def close(self):
        self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.model)

    def logits(self, ids):
        """Of the last token, behind what was given before."""
        import numpy as np

        tokens = self.ffi.new("llama_token[]", ids)
        assert self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(tokens, len(ids))) == 0
        values = self.lib.llama_get_logits_ith(self.context, -1)
        size = self.lib.llama_vocab_n_tokens(self.vocab)
        return np.frombuffer(self.ffi.buffer(values, 4 * size), np.float32).copy()

    def tokenize(self, text, with_leading=False):
        data = text.encode()
        room = self.ffi.new("llama_token[]", len(data) + 16)
        count = self.lib.llama_tokenize(self.vocab, data, len(data), room, len(data) + 16,
                                        with_leading, False)
        assert count >= 0, text
        return list(room[0:count])


def difference(logits, wanted):
    """The largest one, in parts of the largest logit."""
    return abs(logits - wanted).max() / abs(wanted).max()


def check_rounding(folder, ids, ours, theirs):
    import exact_llama

    exact = exact_llama.last_logits(folder / "hf", ids)
    for who, logits, tolerance in [("the program", ours, OURS), ("llama.cpp", theirs, THEIRS)]:
        relative = difference(logits, exact)
        print(f"{folder.name}: {who} is off by {relative:.1e} from double precision", flush=True)
        assert relative < tolerance, f"{folder}: {who}"


def check_run(folder, said):
    from safetensors.numpy import load_file

    expected = load_file(folder / "reference" / "model.safetensors")
    ids = [int(i) for i in expected["ids"][0]]
    model = LlamaCpp(folder / "F32.gguf")
    logits, wanted = model.logits(ids), expected["logits"][0, -1]
    relative = difference(logits, wanted)
    print(f"{folder.name}: last logits differ by {relative:.1e}", flush=True)
    if folder.name in DEEP:
        check_rounding(folder, ids, wanted, logits)
    else:
        assert relative < (GELU_TOLERANCE if folder.name in GELU else TOLERANCE), folder
    text = []
    for _ in said["greedy"]:
        text.append(int(logits.argmax()))
        logits = model.logits(text[-1:])
    assert text == said["greedy"], f"{folder}: other tokens are generated"
    for row in said["texts"]:
        text = row["text"]
        if said["drops_spaces"] and text != re.sub(" +", " ", text).strip(" "):
            continue  # which llama.cpp does not; the program says so
        found = model.tokenize(text)
        assert found == row["ids"], f"{folder}: {text!r}: {found}, expected {row['ids']}"
        leading = [said["leading_id"]] * (said["leading_id"] >= 0)
        found = model.tokenize(text, with_leading=True)
        assert found == leading + row["ids"], f"{folder}: {text!r} begins with another token"
    model.close()


def check_types(folder):
    """Every tensor of every type, bit for bit as the package makes it of the F32 one."""
    import gguf
    import numpy as np

    full = {t.name: t.data for t in gguf.GGUFReader(folder / "F32.gguf").tensors}
    for name in EXACT_TYPES:
        kind = gguf.GGMLQuantizationType[name]
        tensors = gguf.GGUFReader(folder / f"{name}.gguf").tensors
        assert {t.name for t in tensors} == set(full)
        for tensor in tensors:
            values = full[tensor.name]
            assert tensor.tensor_type == (kind if values.ndim > 1 else gguf.GGMLQuantizationType.F32)
            wanted = gguf.quantize(np.array(values), kind) if values.ndim > 1 else values
            assert tensor.data.tobytes() == wanted.tobytes(), f"{folder}: {tensor.name} as {name}"
        print(f"{folder.name}: {name} is what the package gguf makes")
        model = LlamaCpp(folder / f"{name}.gguf")
        assert np.isfinite(model.logits([1, 2, 3])).all()
        model.close()
    check_mixture(folder, full)


def check_mixture(folder, full):
    """Every part in a type of its own: the same bits, and llama.cpp's logits and text are those that the
    program has with what the types leave of the weights."""
    import gguf
    import numpy as np

    kinds = set()
    for tensor in gguf.GGUFReader(folder / "mixed.gguf").tensors:
        wanted = np.array(full[tensor.name])
        if wanted.ndim > 1:
            kinds.add(tensor.tensor_type.name)
            wanted = gguf.quantize(wanted, tensor.tensor_type)
        assert tensor.data.tobytes() == wanted.tobytes(), f"{folder}: {tensor.name} in the mixture"
    assert kinds == set(EXACT_TYPES), f"{folder}: the mixture has {kinds}"
    said = json.loads((folder / "reference_mixed" / "said.json").read_text())
    differs, same = run_quantised(folder / "mixed.gguf", folder / "reference_mixed", said["greedy"])
    print(f"{folder.name}: a mixture of {len(kinds)} types, last logits differ by {differs:.1e}, the "
          f"first {same} of {len(said['greedy'])} tokens are the same")
    assert differs < QUANTISED_TOLERANCE, folder
    assert same >= QUANTISED_TOKENS, folder


def run_quantised(path, reference, greedy):
    """How far the last logits of a file are from those in `reference`, and how many tokens of the text
    that follows are the same before the first that is not."""
    from safetensors.numpy import load_file

    expected = load_file(reference / "model.safetensors")
    model = LlamaCpp(path)
    logits = model.logits([int(i) for i in expected["ids"][0]])
    differs = difference(logits, expected["logits"][0, -1])
    same = 0
    while same < len(greedy) and int(logits.argmax()) == greedy[same]:
        logits = model.logits(greedy[same:same + 1])
        same += 1
    model.close()
    return differs, same


def main():
    exports = pathlib.Path(sys.argv[1]).resolve()
    if "--in-venv" not in sys.argv:
        make_references.enter(gguf_venv(), __file__, *sys.argv[1:])
    names = [name for name in sys.argv[2:] if not name.startswith("--")]
    folders = sorted(path.parent for path in exports.glob("*/F32.gguf")
                     if not names or path.parent.name in names)
    assert len(folders) > (0 if names else 10), f"{exports}: {len(folders)} exports"
    for folder in folders:
        said = json.loads((folder / "reference" / "said.json").read_text())
        check_run(folder, said)
        if said["is_trained"]:
            check_types(folder)


if __name__ == "__main__":
    main()
