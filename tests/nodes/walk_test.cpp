// What is computed of a model layer by layer is what it computes in memory, bit for bit; one layer
// is in memory at a time, and each is read once.
#include "nodes/states/walk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <thread>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/files/checkpoint.h"
#include "model/files/open_checkpoint.h"
#include "model/math/parallel.h"
#include "model/surgery.h"
#include "model/unread.h"
#include "nodes/data/load_model.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/score.h"
#include "nodes/states/activations.h"
#include "nodes/states/importance.h"
#include "nodes/train/artifacts.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"
#include "tests/model/watched_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int64_t kWalkedSequences = 20, kWalkedLength = 16, kWalkedHidden = 32;
constexpr size_t kEnough = size_t{1} << 30;  // of memory, for the whole model
// Less than the model takes: with room for the states of all sequences, and without.
constexpr size_t kTooLittle[] = {50'000, 0};

class WalkTest : public testing::Test {
 protected:
  explicit WalkTest(bool tied = true) {
    ModelConfig config = TinyConfig();
    config.blocks.push_back(config.blocks.front());
    config.tied_embeddings = tied;
    config.stored_dtype = DType::kBF16;
    SaveCheckpoint(path_, TinyModel(config));
    unread_ = Loaded(path_);
    whole_ = unread_;
    whole_.model = LoadCheckpoint(path_);
    tokens_ = TinyTokens(kWalkedSequences, kWalkedLength, config.vocab_size);
    for (int i = 0; i < kWalkedSequences * kWalkedLength; ++i)
      tokens_.mask.push_back(i % 7 < i % 3);
  }

  static Checkpoint Loaded(const std::string& path) {
    FakeContext context;
    return RunLoadModel({path}, FakeInputs(), context);
  }

  std::shared_ptr<const ArchiveReader> Captured(const Checkpoint& parent,
                                                const ActivationsParams& params,
                                                RunContext& context) {
    FakeInputs inputs;
    inputs.Add("parent", "parent", parent).Add("tokens", "t", tokens_);
    const std::string path = folder_ / std::to_string(++archives_);
    const auto archive = Hdf5Format().create(path);
    RunActivations(params, inputs, context, *archive);
    archive->Close();
    return Hdf5Format().open(path);
  }
  std::shared_ptr<const ArchiveReader> Captured(const Checkpoint& parent,
                                                const ActivationsParams& params = {},
                                                size_t memory = kEnough) {
    FakeContext context;
    context.resident = memory;
    return Captured(parent, params, context);
  }

  Block Replaced(const std::string& variant) const {
    Block block;
    block.layer = 1;
    block.variant = variant;
    block.spec = ResolveVariant(variant, whole_.model.config, 1);
    block.trained = InitVariant(whole_.model, 1, block.spec);
    return block;
  }
  Score ScoreOf(const std::string& variant, const Checkpoint& parent, const Activations& states,
                const ScoreParams& params, size_t memory) const {
    FakeInputs inputs;
    inputs.Add("parent", "parent", parent)
        .Add("activations", "states", states)
        .Add("block", "block", Replaced(variant));
    FakeContext context;
    context.resident = memory;
    return RunScore(params, inputs, context);
  }
  Evaluation EvaluationOf(const Checkpoint& model, const Checkpoint* parent,
                          const EvaluateParams& params, size_t memory) const {
    FakeInputs inputs;
    inputs.Add("model", "model", model).Add("tokens", "tokens", tokens_);
    if (parent != nullptr) inputs.Add("parent", "parent", *parent);
    FakeContext context;
    context.resident = memory;
    return RunEvaluate(params, inputs, context);
  }

  static size_t BytesOfBlock(const ModelWeights& model) {
    SubBlockWeights block = SubBlockOf(model, 0, SubBlock::kBoth);
    size_t bytes = 0;
    for (const auto& [name, slot] : Slots(block, ParentVariant(model.config, 0, SubBlock::kBoth)))
      bytes += slot->nbytes();
    return bytes;
  }

  const TempFolder folder_;
  const std::string path_ = folder_ / "model";
  Checkpoint unread_, whole_;
  TokenSet tokens_;
  int archives_ = 0;
};

class UntiedWalkTest : public WalkTest {
 protected:
  UntiedWalkTest() : WalkTest(/*tied=*/false) {}
};

// Capturing.

TEST_F(WalkTest, ActivationsAreBitForBitWhatTheModelComputes) {
  ActivationsParams params;
  params.dtype = "fp32";
  params.batch = 7;
  const Activations states = Activations::Load(Captured(unread_, params, 0));
  const Transformer model(whole_.model);
  for (int64_t first = 0; first < kWalkedSequences; first += params.batch) {
    const int64_t count = std::min(params.batch, kWalkedSequences - first);
    for (int64_t layer = 0; layer <= 3; ++layer) {
      Tensor expected = at::empty({count, kWalkedLength, kWalkedHidden});
      ParallelOverRows(count, at::kCPU, [&](int64_t, int64_t begin, int64_t rows) {
        const Tensor x = model.Embed(tokens_.Batch(first + begin, rows));
        Tensor own = expected.narrow(0, begin, rows);
        own.copy_(model.Blocks(x, 0, layer));
      });
      EXPECT_TRUE(states.Read(layer, first, count).equal(expected)) << layer;
    }
  }
  EXPECT_TRUE(states.Ids(0, kWalkedSequences).equal(tokens_.Batch(0, kWalkedSequences)));
}

TEST_F(UntiedWalkTest, WhereAModelIsAndWhereStatesAreDoesNotMatter) {
  for (const char* compute : {"fp32", "bf16"}) {
    ActivationsParams params;
    params.compute = compute;
    const std::string digest = DigestArchive(*Captured(whole_, params));
    EXPECT_EQ(DigestArchive(*Captured(unread_, params)), digest) << compute;
    EXPECT_EQ(DigestArchive(*Captured(unread_, params, 0)), digest) << compute;
  }
}

TEST_F(UntiedWalkTest, CapturingReadsALayerAtATimeAndOnce) {
  const WatchedModel watched(whole_.model);
  Checkpoint parent = whole_;
  parent.model = watched.weights;
  EXPECT_EQ(DigestArchive(*Captured(parent)), DigestArchive(*Captured(whole_)));
  for (int64_t layer = 0; layer < 3; ++layer) EXPECT_EQ(watched.ReadsOfBlock(layer), 1) << layer;
  EXPECT_EQ(watched.Reads("model.embed_tokens.weight"), 0) << "the rows that are needed";
  EXPECT_EQ(watched.Reads("lm_head.weight"), 0);
  EXPECT_LE(watched.peak(), BytesOfBlock(whole_.model) + whole_.model.norm.nbytes());
}

TEST_F(WalkTest, ImportanceReadsLayerByLayer) {
  const Activations states = Activations::Load(Captured(whole_));
  const auto importance = [&](const Checkpoint& parent) {
    FakeInputs inputs;
    inputs.Add("parent", "parent", parent).Add("activations", "states", states);
    FakeContext context;
    return RunImportance({}, inputs, context);
  };
  const WatchedModel watched(whole_.model);
  Checkpoint parent = whole_;
  parent.model = watched.weights;
  const Importance a = importance(parent), b = importance(whole_);
  for (size_t layer = 0; layer < 3; ++layer) {
    EXPECT_TRUE(a.channel_order[layer].equal(b.channel_order[layer]));
    EXPECT_TRUE(a.head_scores[layer].equal(b.head_scores[layer]));
  }
  EXPECT_LE(watched.peak(), BytesOfBlock(whole_.model) + whole_.model.norm.nbytes());
}

// Scoring.

TEST_F(WalkTest, ScoresAreTheSameBits) {
  for (const char* keep : {"all", "online"}) {
    ActivationsParams kept;
    kept.dtype = "fp32";
    kept.keep = keep;
    const Activations states = Activations::Load(Captured(whole_, kept));
    for (const char* variant : {"ffn:50%", "ffn:none", "attn:kv1", "attn:none", "none"}) {
      ScoreParams params;
      params.batch = 7;
      const Score whole = ScoreOf(variant, whole_, states, params, kEnough);
      for (const size_t memory : kTooLittle) {
        const Score walked = ScoreOf(variant, unread_, states, params, memory);
        EXPECT_TRUE(walked.metrics == whole.metrics) << variant << ' ' << keep << ' ' << memory;
        EXPECT_TRUE(walked.increase == whole.increase) << variant << ' ' << keep << ' ' << memory;
      }
    }
  }
}

TEST_F(UntiedWalkTest, ScoresInBf16AndOnAnswersAreTheSameBits) {
  ActivationsParams kept;
  kept.dtype = "fp32";
  kept.keep = "online";
  const Activations states = Activations::Load(Captured(whole_, kept));
  for (const char* variant : {"ffn:50%", "attn:kv1"}) {
    ScoreParams params;
    params.compute = "bf16";
    params.on = "answers";
    const Score whole = ScoreOf(variant, whole_, states, params, kEnough);
    const Score walked = ScoreOf(variant, unread_, states, params, 0);
    EXPECT_TRUE(walked.metrics == whole.metrics) << variant;
    EXPECT_TRUE(walked.increase == whole.increase) << variant;
  }
}

TEST_F(WalkTest, AScoreInAChildIsTheSameBits) {
  Checkpoint child = whole_, unread_child = unread_;
  const VariantSpec spec = ResolveVariant("ffn:50%", whole_.model.config, 2);
  for (ModelWeights* model : {&child.model, &unread_child.model})
    Replace(*model, 2, spec, InitVariant(whole_.model, 2, spec));
  const auto score = [&](const Checkpoint& parent, const Checkpoint& context_model, size_t memory) {
    FakeInputs inputs;
    FakeContext context;
    context.resident = memory;
    ActivationsParams kept;
    kept.dtype = "fp32";
    Activations of_child = Activations::Load(Captured(context_model, kept));
    inputs.Add("parent", "parent", parent)
        .Add("activations", "states", Activations::Load(Captured(parent, kept)))
        .Add("context", "parent", context_model)
        .Add("context_activations", "child states", std::move(of_child))
        .Add("block", "block", Replaced("attn:kv1"));
    return RunScore({}, inputs, context);
  };
  // Parent and child with one and the same head in memory would be folded in another way.
  const Score whole = score(unread_, unread_child, kEnough);
  EXPECT_TRUE(score(unread_, unread_child, 0).metrics == whole.metrics);
  EXPECT_TRUE(score(whole_, unread_child, 0).metrics == whole.metrics);
  EXPECT_TRUE(score(unread_, child, 0).metrics == whole.metrics);
}

TEST_F(UntiedWalkTest, AScoreReadsTheLayersAboveOnceAndNoneBelow) {
  const Activations states = Activations::Load(Captured(whole_));
  const WatchedModel watched(whole_.model);
  Checkpoint parent = whole_;
  parent.model = watched.weights;
  (void)ScoreOf("attn:kv1", parent, states, {}, 0);
  EXPECT_EQ(watched.ReadsOfBlock(0), 0);
  EXPECT_EQ(watched.ReadsOfBlock(1), 1);
  EXPECT_EQ(watched.ReadsOfBlock(2), 1);
  EXPECT_EQ(watched.Reads("model.embed_tokens.weight"), 0);
  EXPECT_EQ(watched.Reads("lm_head.weight"), 1);
  EXPECT_LE(watched.peak(),
            BytesOfBlock(whole_.model) + whole_.model.head.nbytes() + whole_.model.norm.nbytes());
}

// Evaluating.

TEST_F(WalkTest, EvaluationsAreTheSameBits) {
  const VariantSpec spec = ResolveVariant("ffn:50%", whole_.model.config, 1);
  Checkpoint child = whole_, unread_child = unread_;
  for (ModelWeights* model : {&child.model, &unread_child.model})
    Replace(*model, 1, spec, InitVariant(whole_.model, 1, spec));
  for (const int64_t positions : {0, 37, 3}) {
    for (const char* on : {"all", "answers"}) {
      EvaluateParams params;
      params.batch = 7;
      params.positions = positions;
      params.on = on;
      const Evaluation alone = EvaluationOf(child, nullptr, params, kEnough);
      const Evaluation whole = EvaluationOf(child, &whole_, params, kEnough);
      for (const size_t memory : kTooLittle) {
        EXPECT_TRUE(EvaluationOf(unread_child, nullptr, params, memory).metrics == alone.metrics)
            << positions << ' ' << on << ' ' << memory;
        EXPECT_TRUE(EvaluationOf(unread_child, &unread_, params, memory).metrics == whole.metrics)
            << positions << ' ' << on << ' ' << memory;
      }
    }
  }
}

TEST_F(UntiedWalkTest, EvaluationsInBf16AreTheSameBits) {
  EvaluateParams params;
  params.compute = "bf16";
  EXPECT_TRUE(EvaluationOf(unread_, &unread_, params, 0).metrics ==
              EvaluationOf(whole_, &whole_, params, kEnough).metrics);
}

TEST_F(UntiedWalkTest, AnEvaluationReadsALayerAtATimeAndOnce) {
  const WatchedModel watched(whole_.model);
  Checkpoint model = whole_;
  model.model = watched.weights;
  (void)EvaluationOf(model, nullptr, {}, 0);
  for (int64_t layer = 0; layer < 3; ++layer) EXPECT_EQ(watched.ReadsOfBlock(layer), 1) << layer;
  EXPECT_EQ(watched.Reads("model.embed_tokens.weight"), 0);
  EXPECT_LE(watched.peak(),
            BytesOfBlock(whole_.model) + whole_.model.head.nbytes() + whole_.model.norm.nbytes());
}

/// A matrix of a file that counts how often its stored bytes were asked for, and fails the first
/// times.
class CountedMatrix final : public TensorSource, public TensorSource::Rows {
 public:
  struct Log {
    std::atomic<int> reads = 0, failures = 0;
  };
  CountedMatrix(std::shared_ptr<const TensorSource> file, Log& log)
      : file_(std::move(file)), log_(log) {}
  Tensor Read() const override { return file_->Read(); }
  const TensorSource::Rows* rows() const override { return this; }
  void ReadRows(int64_t first, std::span<float> out) const override {
    file_->rows()->ReadRows(first, out);
  }
  bool ReadStored(int64_t first, int64_t count, DType type, void* out) const override {
    ++log_.reads;
    if (log_.failures-- > 0) throw Error("the disk is gone");
    return file_->rows()->ReadStored(first, count, type, out);
  }

 private:
  std::shared_ptr<const TensorSource> file_;
  Log& log_;
};

class ReadAheadTest : public WalkTest {
 protected:
  /// States behind the last layer. Layer 1's `up` is counted; `poll` comes behind every layer.
  Tensor Walk(CountedMatrix::Log& log, const WalkPoll& poll) {
    ModelWeights model = ForWalk(OpenCheckpoint(path_), at::kBFloat16, "cpu");
    Tensor& up = model.blocks[1].ffn.up;
    up = Unread(up.sizes().vec(), std::make_shared<const CountedMatrix>(SourceOf(up), log));
    const Tensor states = RandomTensor({4, kWalkedLength, kWalkedHidden}, 1);
    WalkBlocks({model, at::kBFloat16}, 0, 3, InBatches(states, 4), poll);
    return states;
  }
};

TEST_F(ReadAheadTest, ALayerIsReadWhileTheOneBelowComputes) {
  CountedMatrix::Log log;
  (void)Walk(log, [&](double done) {
    if (done > 0.5) return;
    for (int i = 0; i < 20'000 && log.reads == 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_GT(log.reads, 0) << "before its turn";
  });
}

/// Looks at how far a step is.
class LookingContext final : public FakeContext {
 public:
  explicit LookingContext(std::function<void(double)> look) : look_(std::move(look)) {}
  void Poll(double fraction, std::string_view) override { look_(fraction); }

 private:
  std::function<void(double)> look_;
};

// Who looks at the states between two layers walks from one to the next.
TEST_F(ReadAheadTest, ALayerIsReadWhileTheStatesBelowAreCaptured) {
  CountedMatrix::Log log;
  Checkpoint parent = unread_;
  Tensor& up = parent.model.blocks[1].ffn.up;
  up = Unread(up.sizes().vec(), std::make_shared<const CountedMatrix>(SourceOf(up), log));
  LookingContext context([&](double done) {
    const bool is_in_layer_0 = done > 0.25 && done <= 0.5;  // of embeddings and three layers
    for (int i = 0; i < 5'000 && is_in_layer_0 && log.reads == 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  (void)Captured(parent, {}, context);
  EXPECT_GT(log.reads, 0) << "in fp32 nobody else asks for stored bytes";
}

TEST_F(ReadAheadTest, WhatFailsAheadIsToldIfItStillFails) {
  CountedMatrix::Log sound, once, always;
  const Tensor expected = Walk(sound, [](double) {});
  once.failures = 1;
  EXPECT_TRUE(Walk(once, [&](double done) {
                for (int i = 0; i < 20'000 && done < 0.5 && once.reads == 0; ++i)
                  std::this_thread::sleep_for(std::chrono::milliseconds(1));
              }).equal(expected));
  always.failures = 1'000'000;
  EXPECT_THAT(ErrorOf([&] { (void)Walk(always, [](double) {}); }), HasSubstr("the disk is gone"));
}

TEST_F(WalkTest, AModelThatFitsIsNotWalkedThrough) {
  FakeContext context;
  EXPECT_FALSE(IsWalked(unread_.model, at::kFloat, context));
  EXPECT_FALSE(IsWalked(whole_.model, at::kFloat, context));
  context.resident = 80'000;  // more than 2 bytes for each parameter, less than 4
  EXPECT_FALSE(IsWalked(unread_.model, at::kBFloat16, context));
  EXPECT_TRUE(IsWalked(unread_.model, at::kFloat, context));
  EXPECT_FALSE(IsWalked(whole_.model, at::kFloat, context)) << "it is in memory already";
}

// What goes wrong on the way.

/// Meddles with the world when it was polled so many times.
class MeddlingContext final : public FakeContext {
 public:
  MeddlingContext(int at, std::function<void()> meddle) : at_(at), meddle_(std::move(meddle)) {}
  void Poll(double, std::string_view) override {
    if (++polls_ == at_) meddle_();
  }

 private:
  int at_, polls_ = 0;
  std::function<void()> meddle_;
};

// Three batches for each state: in the middle of layer 0, when its weights were read.
constexpr int kInLayer0 = 4;

TEST_F(WalkTest, AFileThatIsCutBetweenTwoLayersIsNamed) {
  const std::string file = path_ + "/model.safetensors";
  MeddlingContext context(kInLayer0, [&] { fs::resize_file(file, fs::file_size(file) / 3); });
  EXPECT_THAT(ErrorOf([&] { (void)Captured(unread_, {}, context); }), HasSubstr(file));
}

TEST_F(WalkTest, AFileThatChangesBetweenTwoLayersIsNamed) {
  const std::string file = path_ + "/model.safetensors";
  MeddlingContext context(kInLayer0, [&] {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(fs::file_size(file) / 10 * 9));  // of layer 2
    stream.write("\1\2", 2);
  });
  EXPECT_THAT(ErrorOf([&] { (void)Captured(unread_, {}, context); }),
              testing::AllOf(HasSubstr("model.layers.2."), HasSubstr("has other values")));
}

TEST_F(WalkTest, AFileThatIsRemovedBetweenTwoLayersIsStillOpen) {
  const std::string expected = DigestArchive(*Captured(whole_));
  MeddlingContext context(kInLayer0, [&] { fs::remove_all(path_); });
  EXPECT_EQ(DigestArchive(*Captured(unread_, {}, context)), expected);
}

TEST_F(WalkTest, WhatIsNotFiniteIsFoundInItsLayer) {
  ModelWeights broken = Clone(whole_.model);
  broken.blocks[1].ffn.up.fill_(1e38F);  // finite itself
  broken.config.stored_dtype = DType::kF32;
  SaveCheckpoint(folder_ / "broken", broken);
  const Checkpoint parent = Loaded(folder_ / "broken");
  EXPECT_THAT(ErrorOf([&] { (void)Captured(parent, {}, 0); }),
              HasSubstr("the output of the parent's layer 1"));
  EXPECT_THAT(ErrorOf([&] { (void)EvaluationOf(parent, nullptr, {}, 0); }),
              HasSubstr("the output of layer 1 of the model"));
  ActivationsParams online;
  online.keep = "online";
  const Activations states = Activations::Load(Captured(parent, online));
  EXPECT_THAT(ErrorOf([&] { (void)ScoreOf("ffn:none", parent, states, {}, 0); }),
              HasSubstr("the output of layer 1 of the parent"));
}

}  // namespace
}  // namespace puzzle
