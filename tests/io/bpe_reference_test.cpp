// Byte-level BPE and tokenizer.json against the reference implementation and against llama.cpp.
#include "tests/io/bpe_reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "io/fingerprint.h"
#include "io/tokenizer.h"
#include "tests/io/test_files.h"
#include "tests/io/tokenizer_samples.h"

namespace puzzle {
namespace {

using Ids = std::vector<int32_t>;

/// The samples, made once.
const std::vector<TokenizerSample>& Samples() {
  static const std::vector<TokenizerSample> samples = TokenizerSamples();
  return samples;
}

std::shared_ptr<const Tokenizer> Sample(const std::string& name) {
  for (const TokenizerSample& sample : Samples()) {
    if (sample.name == name) return MakeTokenizer({{"tokenizer.json", sample.json}});
  }
  ADD_FAILURE() << "no sample " << name;
  return nullptr;
}

class BpeReferenceTest : public testing::TestWithParam<ReferenceIds> {};

TEST_P(BpeReferenceTest, MixedTextHasTheIdsAndTheTextOfTheReference) {
  PUZZLE_REQUIRE_DATA("tokenizers/gpt2");
  const ReferenceIds expected = GetParam();
  const auto tokenizer = Sample(expected.name);
  const Ids ids = tokenizer->Encode(MixedText(kMixedBytes));
  EXPECT_EQ(ids.size(), expected.count);
  EXPECT_EQ(Fingerprint().Add(ids.data(), ids.size() * sizeof(int32_t)).Hex(), expected.ids_digest);
  EXPECT_EQ(FingerprintText(tokenizer->Decode(ids)), expected.text_digest);
}

INSTANTIATE_TEST_SUITE_P(Samples, BpeReferenceTest, testing::ValuesIn(kReferenceIds),
                         [](const auto& info) { return std::string(info.param.name); });

/// llama.cpp's 46 strings and the ids it makes of them.
void ExpectLlamaCppIds(const Tokenizer& tokenizer, const std::string& vocab) {
  const std::string stem = DataPath("tokenizers/ggml-vocab/ggml-vocab-" + vocab + ".gguf");
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::string texts = ReadBytes(stem + ".inp");
  std::istringstream lines(ReadBytes(stem + ".out"));
  int n_texts = 0;
  for (size_t end; (end = texts.find(separator)) != std::string::npos; ++n_texts) {
    const std::string text = texts.substr(0, end);
    texts.erase(0, end + separator.size());
    std::string line;
    std::getline(lines, line);
    std::istringstream numbers(line);
    EXPECT_EQ(tokenizer.Encode(text), Ids(std::istream_iterator<int32_t>(numbers), {})) << text;
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
  }
  EXPECT_EQ(n_texts, 46);
}

TEST(BpeLlamaCppTest, Gpt2FilesAgreeOnItsTestStrings) {
  PUZZLE_REQUIRE_DATA("tokenizers/gpt2");
  const auto tokenizer = LoadTokenizer(DataPath("tokenizers/gpt2"));
  EXPECT_EQ(tokenizer->kind(), "bpe");
  EXPECT_EQ(tokenizer->vocab_size(), 50257);
  EXPECT_EQ(tokenizer->bos_id(), 50256);
  EXPECT_EQ(tokenizer->eos_id(), 50256);
  ExpectLlamaCppIds(*tokenizer, "gpt-2");
  ExpectLlamaCppIds(*Sample("gpt2"), "gpt-2");
}

TEST(BpeLlamaCppTest, Llama3AgreesOnItsTestStrings) {
  PUZZLE_REQUIRE_DATA("tokenizers/llama3");
  ExpectLlamaCppIds(*Sample("llama3"), "llama-bpe");
}

TEST(BpeLlamaCppTest, SentencePieceWrittenAsJsonAgreesOnItsTestStrings) {
  PUZZLE_REQUIRE_DATA("tokenizers/llama2");
  ExpectLlamaCppIds(*Sample("llama2"), "llama-spm");
}

TEST(BpeLlamaCppTest, WordsOfAMegabyteComeBack) {
  PUZZLE_REQUIRE_DATA("tokenizers/gpt2");
  const auto tokenizer = LoadTokenizer(DataPath("tokenizers/gpt2"));
  for (const std::string& unit : {std::string("a"), std::string("ab"), std::string(" "),
                                  std::string("\xE4\xB8\x96"), std::string("!?")}) {
    std::string word;
    while (word.size() < 1'000'000) word += unit;
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(word)), word);
  }
}

}  // namespace
}  // namespace puzzle
