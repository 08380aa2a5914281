"""Prints what the PyPI package `gguf` makes of the blocks of ggml_types_test.cpp: type, SHA-256 of
the fp32 values; then what it makes of the values there: type, SHA-256 of the blocks.
`pip install gguf`; the digests there are of 0.19.0."""

import hashlib

import numpy
from gguf import GGMLQuantizationType, quants
from gguf.constants import GGML_QUANT_SIZES

# Where 16- and 32-bit scales end in a block: their top bytes lose bit 6, so that none is infinite.
TOP_BYTES = {"F32": [3], "F16": [1], "BF16": [1], "Q4_0": [1], "Q4_1": [1, 3], "Q5_0": [1],
             "Q5_1": [1, 3], "Q8_0": [1], "IQ4_NL": [1], "Q2_K": [81, 83], "Q3_K": [109],
             "Q4_K": [1, 3], "Q5_K": [1, 3], "Q6_K": [209]}


def random_bytes(count):
    state, result = 1, bytearray()
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        result.append(state >> 56)
    return result


for name, tops in TOP_BYTES.items():
    kind = GGMLQuantizationType[name]
    size = GGML_QUANT_SIZES[kind][1]
    data = random_bytes(512 * size)
    for block in range(512):
        for top in tops:
            data[block * size + top] &= 0xBF
    values = quants.dequantize(numpy.frombuffer(bytes(data), dtype=numpy.uint8), kind)
    assert numpy.isfinite(values).all()
    print(f'{{"{name}", "{hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()}"}},')

print()
noise = numpy.frombuffer(bytes(random_bytes(512 * 32 * 2)), dtype="<i2").astype(numpy.float32)
values = noise.reshape(512, 32) * numpy.float32(2.0**-15)
for block in range(512):
    values[block] *= numpy.float32(2.0 ** (block % 24 - 16))
values[0] = 0
values[1] = 0.5
for name in ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]:
    blocks = quants.quantize(values, GGMLQuantizationType[name])
    print(f'{{"{name}", "{hashlib.sha256(blocks.tobytes()).hexdigest()}"}},')
