#include "model/files/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/safetensors.h"
#include "model/files/checkpoint_digest.h"
#include "model/files/hf_config.h"
#include "model/transformer.h"
#include "tests/io/temp_folder.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;
namespace fs = std::filesystem;

class CheckpointTest : public testing::Test {
 protected:
  static void ExpectEqual(ModelWeights a, ModelWeights b) {
    EXPECT_EQ(a.config, b.config);
    ExpectSameBits(Slots(a), Slots(b));
  }
  std::string LoadFailure() const {
    try {
      (void)LoadCheckpoint(folder_);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  // Writes the tensors of `model` and `more`, with the config of `model`.
  void WriteTensors(ModelWeights model, const std::vector<NamedTensor>& more,
                    const std::string& without = "") const {
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, slot] : Slots(model))
      if (name != without)
        tensors.push_back({name, slot->sizes().vec(), slot->data_ptr<float>(), DType::kF32});
    for (const auto& [name, tensor] : more)
      tensors.push_back({name, tensor.sizes().vec(), tensor.data_ptr<float>(), DType::kF32});
    WriteSafetensors(folder_, tensors);
    std::ofstream(fs::path(folder_) / "config.json") << ToHfJson(model.config).dump();
  }

  TempFolder temporary_;
  std::string folder_ = temporary_.path();
};

TEST_F(CheckpointTest, PlainModelComesBackBitForBit) {
  const ModelWeights model = TinyModel();
  SaveCheckpoint(folder_, model);
  ExpectEqual(LoadCheckpoint(folder_), model);
  EXPECT_FALSE(fs::exists(fs::path(folder_) / "configuration_decilm.py"));
}

TEST_F(CheckpointTest, HeterogeneousModelComesBackBitForBit) {
  ModelConfig config = TinyConfig();
  config.tied_embeddings = false;
  config.blocks = {{{SubBlockForm::kFull, 1}, {SubBlockForm::kLinear, 0}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 24}},
                   {{SubBlockForm::kLinear, 0}, {SubBlockForm::kNone, 0}}};
  const ModelWeights model = TinyModel(config);
  const auto files = SaveCheckpoint(folder_, model, {{"byte_tokenizer.json", "{}"}});
  ExpectEqual(LoadCheckpoint(folder_), model);
  for (const auto& [name, bytes] : files)
    EXPECT_EQ(fs::file_size(fs::path(folder_) / name), bytes) << name;
  EXPECT_TRUE(files.contains("configuration_decilm.py"));
  EXPECT_TRUE(files.contains("byte_tokenizer.json"));
}

TEST_F(CheckpointTest, UntouchedBf16WeightsAreBitIdenticalAfterAnExport) {
  ModelConfig config = TinyConfig();
  config.stored_dtype = DType::kBF16;
  SaveCheckpoint(folder_, TinyModel(config));
  const ModelWeights loaded = LoadCheckpoint(folder_);
  SaveCheckpoint(folder_ + "/again", loaded);
  ExpectEqual(LoadCheckpoint(folder_ + "/again"), loaded);
}

TEST_F(CheckpointTest, BadTensorsAreRefusedByName) {
  const ModelWeights model = TinyModel();
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  WriteTensors(model, {}, name);
  EXPECT_THAT(LoadFailure(), HasSubstr("tensor " + name + " is missing"));
  WriteTensors(model, {{"model.layers.2.mlp.up_proj.weight", at::ones({48, 32})}});
  EXPECT_THAT(LoadFailure(), HasSubstr("model.layers.2.mlp.up_proj.weight does not belong"));
  WriteTensors(model, {{name, at::ones({47, 32})}}, name);
  EXPECT_THAT(LoadFailure(), HasSubstr("has shape [47, 32], config.json implies [48, 32]"));
  Tensor spoilt = at::ones({48, 32});
  spoilt[3][4] = std::numeric_limits<float>::quiet_NaN();
  WriteTensors(model, {{name, spoilt}}, name);
  EXPECT_THAT(LoadFailure(), HasSubstr(name));
  WriteTensors(model, {{"lm_head.weight", at::ones({40, 32})}});
  EXPECT_THAT(LoadFailure(), HasSubstr("lm_head.weight differs from the embedding"));
}

TEST_F(CheckpointTest, OldFilesWithRotaryTablesOrAnEqualHeadAreAccepted) {
  const ModelWeights model = TinyModel();
  WriteTensors(model, {{"model.layers.0.self_attn.rotary_emb.inv_freq", at::ones({4})},
                       {"lm_head.weight", model.embedding}});
  ExpectEqual(LoadCheckpoint(folder_), model);
}

TEST_F(CheckpointTest, DigestFollowsTheContent) {
  ModelWeights model = TinyModel();
  SaveCheckpoint(folder_, model);
  const std::string digest = DigestCheckpoint(folder_);
  SaveCheckpoint(folder_ + "/same", model);
  EXPECT_EQ(DigestCheckpoint(folder_ + "/same"), digest);
  model.norm[0] += 1;
  SaveCheckpoint(folder_ + "/other", model);
  EXPECT_NE(DigestCheckpoint(folder_ + "/other"), digest);
  EXPECT_THROW((void)DigestCheckpoint(folder_ + "/nothing"), Error);
}

}  // namespace
}  // namespace puzzle
