// Every family against Hugging Face transformers, on the checkpoints of make_references.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "io/safetensors.h"
#include "model/files/checkpoint.h"
#include "model/files/hf_config.h"
#include "model/surgery.h"
#include "model/transformer.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
namespace fs = std::filesystem;

constexpr double kTolerance = 1e-4;

class FamilyReferenceTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = std::string(PUZZLE_REFERENCES) + "/" + GetParam();
    if (!fs::exists(folder_ + "/reference.safetensors"))
      GTEST_SKIP() << "no references in " << folder_
                   << ": the tests family_references and family_references_current say why";
    const SafetensorsReader reader = SafetensorsReader::Open(folder_ + "/reference.safetensors");
    ids_ = Read(reader, "ids").to(at::kLong);
    logits_ = Read(reader, "logits");
  }

  static Tensor Read(const SafetensorsReader& reader, const std::string& name) {
    const std::vector<float> values = reader.ReadF32(name);
    return at::tensor(at::ArrayRef<float>(values)).view(reader.Info(name).shape);
  }

  static std::set<std::pair<std::string, Shape>> Contents(const std::string& folder) {
    const SafetensorsReader reader = SafetensorsReader::Open(folder);
    std::set<std::pair<std::string, Shape>> contents;
    for (const std::string& name : reader.Names()) contents.emplace(name, reader.Info(name).shape);
    return contents;
  }

  const at::NoGradGuard no_grad_;
  std::string folder_;
  Tensor ids_;     // [2, 24]
  Tensor logits_;  // [2, 24, vocabulary], computed in double precision
};

TEST_P(FamilyReferenceTest, LogitsAreThoseOfTheReference) {
  EXPECT_GT(logits_.abs().max().item<double>(), 1.0) << "the reference says little";
  EXPECT_TENSORS_NEAR(Transformer(LoadCheckpoint(folder_)).Logits(ids_), logits_, kTolerance);
}

TEST_P(FamilyReferenceTest, DecodingWithACacheGivesThemToo) {
  const Transformer model(LoadCheckpoint(folder_));
  KvCache cache(model.config().n_layers());
  std::vector<Tensor> parts = {model.Logits(ids_.narrow(1, 0, 9), &cache)};
  for (int64_t i = 9; i < ids_.size(1); ++i)
    parts.push_back(model.Logits(ids_.narrow(1, i, 1), &cache));
  EXPECT_TENSORS_NEAR(at::cat(parts, 1), logits_, kTolerance);
}

TEST_P(FamilyReferenceTest, WhatIsExportedHasTheSameTensorsAndTheSameConfig) {
  const std::string copy = folder_ + "/copy";
  const ModelWeights model = LoadCheckpoint(folder_);
  SaveCheckpoint(copy, model);
  EXPECT_EQ(Contents(copy), Contents(folder_));
  ModelWeights again = LoadCheckpoint(copy);
  EXPECT_EQ(again.config, model.config);
  EXPECT_TENSORS_NEAR(Transformer(again).Logits(ids_), logits_, kTolerance);
}

// For read_exports.py: a child that the parent's own class reads, since all layers are stored
// alike.
TEST_P(FamilyReferenceTest, AChildWithPrunedQueryHeadsIsExported) {
  ModelWeights child = LoadCheckpoint(folder_);
  const ModelConfig parent = child.config;
  for (int64_t layer = 0; layer < parent.n_layers(); ++layer) {
    const AttentionSpec& own = parent.blocks[static_cast<size_t>(layer)].attention;
    const std::string group = "attn:kv1q" + std::to_string(parent.n_heads / own.n_kv_heads);
    const VariantSpec spec = ResolveVariant(group, parent, layer);
    Replace(child, layer, spec, InitVariant(child, layer, spec));
  }
  const std::string exported = folder_ + "/pruned";
  SaveCheckpoint(exported, child);
  const Tensor logits = Transformer(child).Logits(ids_).contiguous();
  EXPECT_GT(MaxDifference(logits, logits_), 0.1) << "nothing was pruned";
  WriteSafetensors(exported + "/logits",
                   {{"ids", ids_.sizes().vec(), ids_.to(at::kFloat).data_ptr<float>(), DType::kF32},
                    {"logits", logits.sizes().vec(), logits.data_ptr<float>(), DType::kF32}});
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyReferenceTest,
                         testing::Values("llama", "llama_biases", "mistral", "qwen2",
                                         "qwen2_window", "qwen3", "gpt2", "gpt_neo", "opt",
                                         "opt_gelu", "llama_current", "llama_dynamic",
                                         "mistral_current", "qwen2_current", "qwen3_current",
                                         "gpt2_current", "phi3", "phi3_short", "phi3_long",
                                         "gemma2", "gemma2_usual", "gemma3", "gemma3_usual"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace puzzle
