// Any bytes as a GGUF file: refused with an Error, or every tensor can be read, and its tokenizer
// encodes and decodes or is refused.
#include "io/gguf.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "io/error.h"
#include "io/gguf_tokenizer.h"
#include "io/tokenizer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/io/gguf_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace puzzle;
  static const int file = ::memfd_create("fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (file < 0 || ::ftruncate(file, 0) != 0 ||
      ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) {
    std::abort();
  }
  try {
    const GgufReader reader = GgufReader::Open(path);
    (void)DigestGguf(reader);
    for (const std::string& name : reader.Names()) {
      const auto elements = static_cast<size_t>(NumElements(reader.ShapeOf(name)));
      PUZZLE_CHECK(elements / 32 <= size, "a tensor is larger than its file");
      std::vector<float> values(elements);
      try {
        reader.ReadF32(name, values);
      } catch (const Error&) {  // a type that is not read, or a value that is not finite
      }
    }
    const auto files = TokenizerFilesFromGguf(reader);
    if (files.empty()) return 0;
    const auto tokenizer = MakeTokenizer(files);
    const std::vector<int32_t> ids = tokenizer->Encode("ab <s> 12\n");
    for (const int32_t id : ids)
      PUZZLE_CHECK(id >= 0 && id < tokenizer->vocab_size(), "an id that is none");
    (void)tokenizer->Decode(ids);
  } catch (const Error&) {  // refused
  }
  return 0;
}

namespace puzzle::fuzz {

std::vector<std::string> Seeds() {
  const GgufData floats = {"token_embd.weight", {4, 2}, 0, std::string(32, '\1')};
  const GgufData blocks = {"blk.0.ffn_up.weight", {32, 2}, 3, std::string(40, '\2')};
  const GgufData super = {"k", {256}, 12, std::string(144, '\3')};
  const std::vector<std::string> bpe = {
      GgufString("tokenizer.ggml.model", "gpt2"),
      GgufString("tokenizer.ggml.pre", "smollm"),
      GgufStrings("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab", "1", "\xC4\xA0"}),
      GgufI32s("tokenizer.ggml.token_type", {3, 1, 1, 1, 1, 1}),
      GgufStrings("tokenizer.ggml.merges", {"a b"}),
      GgufU32("tokenizer.ggml.bos_token_id", 0),
      GgufString("tokenizer.chat_template", "{{ x }}")};
  const std::vector<std::string> spm = {
      GgufString("tokenizer.ggml.model", "llama"),
      GgufStrings("tokenizer.ggml.tokens", {"<unk>", "<s>", "a", "b", "ab", "\xE2\x96\x81"}),
      GgufI32s("tokenizer.ggml.token_type", {2, 3, 1, 1, 1, 1}),
      GgufF32s("tokenizer.ggml.scores", {0, 0, -1, -2, -3, -4}),
      GgufBool("tokenizer.ggml.add_space_prefix", false)};
  return {GgufFile({GgufString("general.architecture", "llama"), GgufF32("llama.eps", 1e-5F)},
                   {floats, blocks, super}),
          GgufFile(bpe, {}), GgufFile(spm, {floats}),
          GgufFile({GgufU32("general.alignment", 64)}, {}, 2)};
}

std::vector<std::string> Words() {
  return {"GGUF",
          "general.alignment",
          "split.count",
          "split.no",
          "tokenizer.ggml.tokens",
          "tokenizer.ggml.merges",
          "tokenizer.ggml.add_bos_token",
          "llama-bpe",
          "qwen2",
          "none",
          Raw<uint32_t>(8),
          Raw<uint32_t>(9),
          Raw<uint32_t>(0),
          Raw<uint64_t>(0),
          Raw<uint64_t>(1),
          Raw<uint64_t>(32),
          Raw<uint64_t>(UINT64_MAX),
          Raw<uint64_t>(1ULL << 63),
          Raw<uint64_t>(1ULL << 32),
          "<0x00>",
          "\xE2\x96\x81",
          "\xFF"};
}

}  // namespace puzzle::fuzz
