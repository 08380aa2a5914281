// What the reference makes of MixedText: printed by reference_ids.py with tokenizers 0.21.4.
#pragma once

#include <cstddef>
#include <cstdint>

namespace puzzle {

inline constexpr size_t kMixedBytes = 2'000'000;

/// How many ids, the SHA-256 of them as little-endian int32, and that of the text decoded from them
/// without special tokens.
struct ReferenceIds {
  const char* name;
  size_t count;
  const char* ids_digest;
  const char* text_digest;
};

inline constexpr ReferenceIds kReferenceIds[] = {
    {"gpt2", 1266132, "4bcbbec9ffb643280b5fa3e9f1830e62593c48a80b705a84356b92ea2925b3be",
     "6a327260ff1d4da6c3c63dd7e2b0b68c52c219898b58a2428fdecc073ce5759f"},
    {"llama3", 864798, "9a1f52a61fa2c4a895c92c5596500ec22ddea290714564148e32424f10afa3ec",
     "26ec3f27ac60cf06e9c7692e31131d3e5c7317c99df0afd330b04754d7fe621e"},
    {"qwen2", 1318955, "22120543800b7e96414dc1f1f1d6b24fdd2a0038822a3b2bbecc1fe0c02a5b64",
     "208101f2a6f0f73410339c620d2ed83902350d21f35f38b8b521c46cf97bf0b6"},
    {"llama2", 1236048, "68a9354d0600218850dfe88ad02d5ae1d48eec5d7861e6cac04dd6b962135350",
     "6eeba3a75a70022def6b7cfbe78291016d85b3b9c9a112b1c6188be8cc18e095"},
    {"smollm", 1326061, "2973dbcedffaa2e1db5faabb133c8fcbf9423a92f325587c822de9c9248e4e2a",
     "75db30f21d147ba5889a6cac62532007bb7adcf3d80da76b521d7f916f311628"},
    {"tekken", 1330370, "f99687741a9e91a20ae445cc909b8a66feb90e336d31d6fc654443a973c39c87",
     "6a327260ff1d4da6c3c63dd7e2b0b68c52c219898b58a2428fdecc073ce5759f"},
    {"o200k", 1268029, "85c56907dc609192e773f4f968ef9fec8d3954564379c0f7f965d0a46abf1697",
     "6a327260ff1d4da6c3c63dd7e2b0b68c52c219898b58a2428fdecc073ce5759f"},
    {"deepseek_llm", 1357625, "0caa88f21847714041d62d4fa39975a6edd07938345a1a420abb86036d7e8bfe",
     "6a327260ff1d4da6c3c63dd7e2b0b68c52c219898b58a2428fdecc073ce5759f"},
    {"deepseek_coder", 1359933, "04e92fb6e459b8f5905c817f0342524112bcfd22acf85adb62346dbe3174ad2f",
     "6a327260ff1d4da6c3c63dd7e2b0b68c52c219898b58a2428fdecc073ce5759f"},
    {"falcon", 1303100, "af40def5f4d3dc9e60a098e25b5daab3a156618896f82bf1ed8536e580e85ded",
     "6a327260ff1d4da6c3c63dd7e2b0b68c52c219898b58a2428fdecc073ce5759f"},
    {"gemma", 1233865, "0ff61a90ce5172c930aaeaac16ee8f815c14476ae8ba20289e48f625fc2703d9",
     "421875fa80be5c8453021baf4bfab8e6a5dca7d8f73431042991254478fb59d0"},
};

}  // namespace puzzle
