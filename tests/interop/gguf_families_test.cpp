// GGUF files that the package gguf wrote (write_gguf.py) of models that transformers ran.
#include <gtest/gtest.h>

#include <filesystem>

#include "io/safetensors.h"
#include "model/files/checkpoint.h"
#include "model/transformer.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

class GgufFamilyTest : public testing::TestWithParam<const char*> {};

TEST_P(GgufFamilyTest, LogitsAreThoseOfTransformersAndOfTheFolder) {
  const std::string folder = std::string(PUZZLE_REFERENCES) + "/" + GetParam();
  if (!std::filesystem::exists(folder + "/model.gguf"))
    GTEST_SKIP() << "no GGUF file in " << folder << ": the test interop_write_gguf says why";
  const at::NoGradGuard no_grad;
  const SafetensorsReader reader = SafetensorsReader::Open(folder + "/reference.safetensors");
  const auto read = [&](const char* name) {
    const std::vector<float> values = reader.ReadF32(name);
    return at::tensor(at::ArrayRef<float>(values)).view(reader.Info(name).shape);
  };
  const Tensor ids = read("ids").to(at::kLong);  // [2, 24]
  const ModelWeights model = LoadCheckpoint(folder + "/model.gguf");
  const ModelWeights from_folder = LoadCheckpoint(folder);
  const Tensor logits = Transformer(model).Logits(ids);
  EXPECT_TENSORS_NEAR(logits, read("logits"), 1e-4);
  EXPECT_TENSORS_NEAR(logits, Transformer(from_folder).Logits(ids), 1e-4);
  EXPECT_EQ(model.config.blocks, from_folder.config.blocks);
  EXPECT_EQ(model.config.arch, from_folder.config.arch);
}

INSTANTIATE_TEST_SUITE_P(Families, GgufFamilyTest,
                         testing::Values("phi3", "phi3_short", "phi3_long", "gemma2_usual",
                                         "gemma3_usual", "qwen3_current"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace puzzle
