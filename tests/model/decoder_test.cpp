// The decoder against the forward pass that trains: every family and form of sub-block.
#include "model/decode/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>

#include "io/error.h"
#include "io/ggml_types.h"
#include "model/files/checkpoint.h"
#include "model/files/gguf_checkpoint.h"
#include "model/files/open_checkpoint.h"
#include "model/transformer.h"
#include "model/unread.h"
#include "tests/io/temp_folder.h"
#include "tests/model/family_cases.h"

namespace puzzle {
namespace {

using at::Tensor;
using decode::Decoder;
using decode::DecoderOptions;
using decode::WeightType;
using testing::HasSubstr;
using TokenIds = std::vector<int32_t>;

TokenIds SomeIds(int64_t count, uint64_t seed, int64_t vocabulary = 40) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const Tensor ids = at::randint(vocabulary, {count}, generator, at::kInt);
  return {ids.data_ptr<int32_t>(), ids.data_ptr<int32_t>() + count};
}

// [count, vocabulary]: the logits that the last Read was asked for.
Tensor LogitsOf(const Decoder& decoder, int64_t count) {
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < count; ++i) {
    const auto row = decoder.Logits(i);
    rows.push_back(at::tensor(at::ArrayRef<float>(row.data(), row.size())));
  }
  return at::stack(rows);
}

Tensor ReadAll(Decoder& decoder, int64_t sequence, const TokenIds& ids) {
  const decode::NewTokens tokens{sequence, ids, std::ssize(ids)};
  decoder.Read({&tokens, 1});
  return LogitsOf(decoder, std::ssize(ids));
}

Tensor Expected(const Transformer& model, const TokenIds& ids) {
  return model.Logits(at::tensor(at::ArrayRef<int32_t>(ids)).to(at::kLong).unsqueeze(0))[0];
}

void ExpectSameDecoders(const std::string& checkpoint, const DecoderOptions& options) {
  const TokenIds ids = SomeIds(20, 12);
  Decoder opened(OpenCheckpoint(checkpoint), options), loaded(LoadCheckpoint(checkpoint), options);
  EXPECT_TRUE(at::equal(ReadAll(opened, 0, ids), ReadAll(loaded, 0, ids)))
      << checkpoint << " " << decode::WeightTypeName(options.type);
}

class DecoderFamilyTest : public testing::TestWithParam<FamilyCase> {
 protected:
  // Parent, a child with one variant of each kind, and one with pruned query heads.
  std::vector<ModelWeights> Models() const {
    const ModelWeights parent = RandomWeights(ConfigOf(GetParam()));
    return {parent, Child(parent), Pruned(parent)};
  }
  at::NoGradGuard no_grad_;
};

TEST_P(DecoderFamilyTest, APromptHasTheLogitsOfTheForwardPass) {
  for (const ModelWeights& weights : Models()) {
    const TokenIds ids = SomeIds(41, 3);
    const Tensor expected = Expected(Transformer(weights), ids);
    for (const int threads : {1, 3}) {
      Decoder decoder(weights, {.threads = threads, .pass_tokens = 16});
      EXPECT_TENSORS_NEAR(ReadAll(decoder, 0, ids), expected, 1e-4);
    }
  }
}

TEST_P(DecoderFamilyTest, TokensOneByOneHaveThemToo) {
  for (const ModelWeights& weights : Models()) {
    const TokenIds ids = SomeIds(30, 4);
    const Tensor expected = Expected(Transformer(weights), ids);
    Decoder decoder(weights, {.threads = 2});
    ReadAll(decoder, 0, {ids.begin(), ids.begin() + 7});
    for (int64_t i = 7; i < 30; ++i)
      EXPECT_TENSORS_NEAR(ReadAll(decoder, 0, {ids[static_cast<size_t>(i)]})[0], expected[i], 1e-4);
    EXPECT_EQ(decoder.Length(0), 30);
  }
}

// Products of rounded weights and tokens are off by what rounding takes; the bar is far below the
// logits' spread, which is about 3.
TEST_P(DecoderFamilyTest, RoundedWeightsComeNear) {
  for (const ModelWeights& weights : Models()) {
    const TokenIds ids = SomeIds(24, 5);
    const Tensor expected = Expected(Transformer(weights), ids);
    const double spread = expected.std().item<double>();
    for (const WeightType type : {WeightType::kBf16, WeightType::kInt8}) {
      Decoder decoder(weights, {.type = type, .bf16_cache = true, .threads = 2});
      const Tensor difference = ReadAll(decoder, 0, ids) - expected;
      EXPECT_LT(difference.square().mean().sqrt().item<double>(), 0.05 * spread)
          << decode::WeightTypeName(type);
      EXPECT_GT(difference.abs().max().item<double>(), 0);
    }
  }
}

// Bit for bit: matrices that are packed out of the files, in stretches or as a whole.
TEST_P(DecoderFamilyTest, AnOpenedCheckpointIsThatOfTheLoadedOne) {
  const TempFolder folder;
  for (ModelWeights weights : Models()) {
    weights.config.stored_dtype = DType::kBF16;
    SaveCheckpoint(folder / "model", weights);
    for (const WeightType type : {WeightType::kFp32, WeightType::kBf16, WeightType::kInt8})
      ExpectSameDecoders(folder / "model", {.type = type, .threads = 3});
  }
}

INSTANTIATE_TEST_SUITE_P(Families, DecoderFamilyTest, testing::ValuesIn(kFamilyCases),
                         [](const auto& info) { return info.param.name; });

ModelWeights SmallChild() {
  ModelConfig config = TinyConfig();
  config.vocab_size = 70;  // no multiple of the kernels' vectors
  config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 50}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 24}},
                   {{SubBlockForm::kLinear, 0}, {SubBlockForm::kNone, 0}},
                   {{SubBlockForm::kFull, 1, 6}, {SubBlockForm::kLinear, 0}}};
  return TinyModel(config);
}

// Bit for bit: what a sequence says must not depend on who asks beside it.
TEST(DecoderTest, LogitsDependNeitherOnNeighboursNorOnThreadsNorOnCuts) {
  const at::NoGradGuard no_grad;
  const ModelWeights weights = SmallChild();
  const TokenIds first = SomeIds(21, 6, 70), second = SomeIds(9, 7, 70), next = {11};
  for (const WeightType type : {WeightType::kFp32, WeightType::kBf16, WeightType::kInt8}) {
    const bool rounded = type != WeightType::kFp32;
    Decoder alone(weights, {.type = type, .bf16_cache = rounded});
    ReadAll(alone, 0, first);
    const Tensor expected = ReadAll(alone, 0, next)[0];
    Decoder both(
        weights,
        {.type = type, .bf16_cache = rounded, .threads = 3, .sequences = 2, .pass_tokens = 5});
    const std::vector<decode::NewTokens> prompts = {{1, second, 0}, {0, first, 1}};
    both.Read(prompts);
    const std::vector<decode::NewTokens> tokens = {{0, next, 1}, {1, next, 1}};
    both.Read(tokens);
    EXPECT_TRUE(at::equal(LogitsOf(both, 2)[0], expected)) << decode::WeightTypeName(type);
  }
}

// A child whose sequences are longer than the segments that attention is divided by.
ModelWeights LongChild() {
  ModelConfig config = SmallChild().config;
  config.max_positions = 700;
  config.blocks[1].attention = {SubBlockForm::kFull, 1, 300};
  return TinyModel(config);
}

TEST(DecoderTest, LongSequencesHaveTheLogitsOfTheForwardPass) {
  const at::NoGradGuard no_grad;
  const ModelWeights weights = LongChild();
  const TokenIds ids = SomeIds(600, 14, 70);
  const Tensor expected = Expected(Transformer(weights), ids);
  Decoder decoder(weights, {.threads = 3});
  EXPECT_TENSORS_NEAR(ReadAll(decoder, 0, ids), expected, 2e-4);
  decoder.Shorten(0, 508);
  for (int64_t i = 508; i < 520; ++i)
    EXPECT_TENSORS_NEAR(ReadAll(decoder, 0, {ids[static_cast<size_t>(i)]})[0], expected[i], 2e-4);
}

// Bit for bit, as of short ones below: members share a head's segments here.
TEST(DecoderTest, LongSequencesDoNotDependOnWhoComputesTheirSegments) {
  const at::NoGradGuard no_grad;
  const ModelWeights weights = LongChild();
  const TokenIds first = SomeIds(513, 6, 70), second = SomeIds(255, 7, 70), next = SomeIds(4, 8);
  for (const WeightType type : {WeightType::kFp32, WeightType::kBf16, WeightType::kInt8}) {
    DecoderOptions options{.type = type, .bf16_cache = type != WeightType::kFp32};
    Decoder alone(weights, options);
    ReadAll(alone, 0, first);
    const Tensor expected = ReadAll(alone, 0, next);  // at once, behind the prompt
    for (const int threads : {1, 2, 5}) {
      options.threads = threads;
      options.sequences = 3;
      options.pass_tokens = 64;
      Decoder many(weights, options);
      const std::vector<decode::NewTokens> prompts = {{0, second, 0}, {2, first, 1}};
      many.Read(prompts);
      for (size_t i = 0; i < next.size(); ++i) {
        const std::vector<decode::NewTokens> tokens = {{2, {&next[i], 1}, 1},
                                                       {0, {&next[i], 1}, 1}};
        many.Read(tokens);
        EXPECT_TRUE(at::equal(LogitsOf(many, 2)[0], expected[static_cast<int64_t>(i)]))
            << decode::WeightTypeName(type) << ", " << threads << " threads, token " << i;
      }
    }
  }
}

TEST(DecoderTest, AShortenedSequenceGoesOnFromThere) {
  const at::NoGradGuard no_grad;
  const ModelWeights weights = SmallChild();
  const TokenIds ids = SomeIds(20, 8, 70);
  Decoder decoder(weights, {});
  const Tensor expected = ReadAll(decoder, 0, ids);
  decoder.Shorten(0, 12);
  EXPECT_TRUE(
      at::equal(ReadAll(decoder, 0, {ids.begin() + 12, ids.end()}), expected.narrow(0, 12, 8)));
}

// All keys turn at other frequencies once the original context is exceeded.
TEST(DecoderTest, LongRopeReadsTheSequenceAgainWhenItGetsLong) {
  const at::NoGradGuard no_grad;
  ModelConfig config = TinyConfig();
  config.rope.type = RopeConfig::Type::kLongRope;
  config.rope.original_max_positions = 10;
  config.rope.short_factors = {1, 1, 1.5, 2};
  config.rope.long_factors = {1, 3, 5, 7};
  const ModelWeights weights = TinyModel(config);
  const TokenIds ids = SomeIds(16, 9);
  Decoder decoder(weights, {.threads = 2});
  for (size_t i = 0; i < ids.size(); ++i) {
    const Tensor logits = ReadAll(decoder, 0, {ids[i]})[0];
    const TokenIds so_far(ids.begin(), ids.begin() + static_cast<int64_t>(i) + 1);
    EXPECT_TENSORS_NEAR(logits, Expected(Transformer(weights), so_far)[-1], 1e-4);
  }
}

// Its rows of q and k lie in another order, its values in blocks.
TEST(DecoderTest, AnOpenedGgufFileIsThatOfTheLoadedOne) {
  const at::NoGradGuard no_grad;
  const TempFolder folder;
  for (const bool tied : {true, false}) {
    ModelConfig config = TinyConfig();
    config.tied_embeddings = tied;
    for (BlockSpec& block : config.blocks) block.ffn.size = 64;  // whole blocks in each row
    for (const char* type : {"F32", "Q8_0"}) {
      (void)SaveGguf(folder / "model.gguf", TinyModel(config), {FindWritableGgmlType(type)});
      ExpectSameDecoders(folder / "model.gguf", {.threads = 2});
    }
  }
}

/// Rows of a tensor, and how many of them were read at once.
class CountedRows final : public TensorSource, public TensorSource::Rows {
 public:
  explicit CountedRows(Tensor values) : values_(std::move(values)) {}
  Tensor Read() const override {
    most = values_.size(0);
    return values_.clone();
  }
  const TensorSource::Rows* rows() const override { return values_.dim() == 2 ? this : nullptr; }
  void ReadRows(int64_t first, std::span<float> out) const override {
    const int64_t columns = values_.size(1), count = std::ssize(out) / columns;
    for (int64_t seen = most; seen < count && !most.compare_exchange_weak(seen, count);) {
    }
    read += count;
    if (first <= bad && bad < first + count) throw Error(fmt::format("row {} is bad", bad));
    std::copy_n(values_.data_ptr<float>() + first * columns, out.size(), out.begin());
  }
  mutable std::atomic<int64_t> most = 0, read = 0;
  int64_t bad = -1;

 private:
  Tensor values_;
};

// The embedding of a real model is a fifth of it; it must not stand in memory beside its packed
// form.
TEST(DecoderTest, OfAnUnreadMatrixOnlyAStretchIsInMemory) {
  const at::NoGradGuard no_grad;
  ModelConfig config = TinyConfig();
  config.vocab_size = 20'000;
  ModelWeights model = TinyModel(config);
  Decoder expected(model, {});
  const auto source = std::make_shared<CountedRows>(model.embedding);
  model.embedding = Unread(model.embedding.sizes().vec(), source);
  const TokenIds ids = SomeIds(5, 13, 20'000);
  for (const int threads : {1, 3}) {
    source->read = 0;
    Decoder decoder(model, {.threads = threads});
    EXPECT_EQ(source->read.load(), 20'000);
    EXPECT_LE(source->most.load(), 10'000);
    EXPECT_TRUE(at::equal(ReadAll(decoder, 0, ids), ReadAll(expected, 0, ids)));
    expected.Shorten(0, 0);
  }
}

TEST(DecoderTest, WhatCannotBeReadIsReported) {
  const at::NoGradGuard no_grad;
  ModelConfig config = TinyConfig();
  config.vocab_size = 40'000;
  ModelWeights model = TinyModel(config);
  const auto source = std::make_shared<CountedRows>(model.embedding);
  source->bad = 30'000;
  model.embedding = Unread(model.embedding.sizes().vec(), source);
  try {
    const Decoder decoder(model, {.threads = 3});
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "row 30000 is bad");
  }
}

std::string ReadError(Decoder& decoder, const TokenIds& ids) {
  try {
    ReadAll(decoder, 0, ids);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(DecoderTest, TokensThatDoNotFitAreRefusedAndNothingIsRead) {
  Decoder decoder(TinyModel(), {.positions = 8});
  ReadAll(decoder, 0, {1, 2, 3});
  EXPECT_THAT(ReadError(decoder, {1, 2, 3, 4, 5, 6}), HasSubstr("9 tokens: there is room for 8"));
  EXPECT_THAT(ReadError(decoder, {1, 40}), HasSubstr("token id 40 is outside"));
  EXPECT_THAT(ReadError(decoder, {-1}), HasSubstr("token id -1"));
  EXPECT_EQ(decoder.Length(0), 3);
}

TEST(DecoderTest, BytesAreThoseOfTheWeightsAndTheCache) {
  ModelConfig config = TinyConfig();
  config.blocks.assign(3, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 48}});
  config.vocab_size = 64;
  const DecoderOptions options{
      .type = WeightType::kBf16, .bf16_cache = true, .sequences = 5, .positions = 32};
  const auto bytes = decode::BytesOf(config, options);
  // q, k, v: 64 x 32; o: 32 x 32; FFN: 3 x 48 x 32; head: 64 x 32; two bytes each.
  const uint64_t matrices = 3 * (64 * 32 + 32 * 32 + 3 * 48 * 32) + 64 * 32;
  EXPECT_EQ(bytes.weights, 2 * matrices);
  // Values of 8 numbers are padded to 16 in memory, and not when they are counted as read.
  EXPECT_EQ(bytes.cache, 3u * 5 * 2 * 32 * (8 + 16) * 2);
  EXPECT_EQ(decode::StepBytes(config, options, 5, 10),
            2 * matrices + 3u * 5 * 2 * 10 * (8 + 8) * 2);
}

TEST(DecoderTest, TypesHaveNames) {
  EXPECT_EQ(decode::WeightTypeNamed("int8"), WeightType::kInt8);
  EXPECT_THROW((void)decode::WeightTypeNamed("int4"), Error);
}

TEST(DecoderTest, RealModelSaysTheSameInEveryType) {
  const char* root = std::getenv("PUZZLE_DATA");
  const std::string path =
      std::string(root != nullptr ? root : PUZZLE_SOURCE_DIR "/../shared/data") +
      "/models/stories3M";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no test data at " << path;
  const at::NoGradGuard no_grad;
  const ModelWeights weights = LoadCheckpoint(path);
  const Transformer model(weights);
  const TokenIds prompt = {1, 403, 407, 261};
  const TokenIds text = Generate(model, prompt, 60);
  for (const WeightType type : {WeightType::kFp32, WeightType::kBf16, WeightType::kInt8}) {
    Decoder decoder(weights, {.type = type, .threads = 2});
    TokenIds ids = prompt;
    ids.insert(ids.end(), text.begin(), text.end());
    const Tensor logits = ReadAll(decoder, 0, ids);
    int64_t same = 0;
    for (int64_t i = 0; i < std::ssize(text); ++i) {
      const int64_t likeliest = logits[std::ssize(prompt) - 1 + i].argmax().item<int64_t>();
      same += likeliest == text[static_cast<size_t>(i)] ? 1 : 0;
    }
    EXPECT_GE(same, type == WeightType::kFp32 ? std::ssize(text) : std::ssize(text) * 9 / 10)
        << decode::WeightTypeName(type);
  }
}

}  // namespace
}  // namespace puzzle
