#include "model/files/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/files/checkpoint_digest.h"
#include "model/files/hf_config.h"
#include "model/transformer.h"
#include "tests/io/file_size_limit.h"
#include "tests/io/test_files.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::AllOf;
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
  EXPECT_TRUE(files.contains("modeling_decilm.py"));
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

TEST_F(CheckpointTest, WhatCannotBeWrittenLeavesTheFolderAsItWas) {
  ModelConfig config = TinyConfig();
  config.stored_dtype = DType::kF16;
  const ModelWeights model = TinyModel(config);
  ModelWeights spoilt = Clone(model);
  spoilt.blocks[1].ffn.down.select(0, 3).fill_(1e6);
  const auto failure = [&](const std::string& folder) {
    return ErrorOf([&] { SaveCheckpoint(folder, spoilt); });
  };
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  EXPECT_THAT(failure(folder_ + "/new"), AllOf(HasSubstr(name), HasSubstr("too large for f16")));
  EXPECT_TRUE(fs::is_empty(folder_));
  SaveCheckpoint(folder_, model);
  const ModelWeights before = LoadCheckpoint(folder_);
  EXPECT_THAT(failure(folder_), HasSubstr(name));
  ExpectEqual(LoadCheckpoint(folder_), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2) << "config.json and weights";
}

TEST_F(CheckpointTest, ADiskThatFillsUpLeavesTheFolderAsItWas) {
  const FileSizeLimit limit(4096);
  EXPECT_THAT(ErrorOf([&] { SaveCheckpoint(folder_ + "/new", TinyModel()); }),
              HasSubstr("cannot write"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(CheckpointTest, WhatAnotherModelLeftIsReplaced) {
  SaveCheckpoint(folder_, TinyModel(), {{"tokenizer.model", "old"}, {"notes.txt", "mine"}});
  ModelConfig config = TinyConfig();
  config.blocks[0].ffn.size = 24;
  SaveCheckpoint(folder_, TinyModel(config));
  EXPECT_FALSE(fs::exists(folder_ + "/tokenizer.model"));
  EXPECT_TRUE(fs::exists(folder_ + "/notes.txt"));
  EXPECT_EQ(LoadCheckpoint(folder_).config, config);
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

// safetensors keeps one of two tensors that share their memory, and not always the embedding.
TEST_F(CheckpointTest, ATiedModelMayHaveItsHeadOnly) {
  const ModelWeights model = TinyModel();
  WriteTensors(model, {{"lm_head.weight", model.embedding}}, "model.embed_tokens.weight");
  ExpectEqual(LoadCheckpoint(folder_), model);
}

TEST_F(CheckpointTest, AWrappersPrefixIsNamedWithTheWayOut) {
  ModelWeights model = TinyModel();
  std::vector<NamedTensor> wrapped;
  for (const auto& [name, slot] : Slots(model)) wrapped.push_back({"module." + name, *slot});
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, tensor] : wrapped)
    tensors.push_back({name, tensor.sizes().vec(), tensor.data_ptr<float>(), DType::kF32});
  SaveCheckpoint(folder_, model);
  WriteSafetensors(folder_, tensors);
  EXPECT_THAT(LoadFailure(), HasSubstr("tensor model.embed_tokens.weight is missing"));
  EXPECT_THAT(LoadFailure(), HasSubstr("leaves \"module.\" in front of the names"));
}

TEST_F(CheckpointTest, TheTypeIsThatOfTheTensorsWhereTheConfigIsSilent) {
  ModelConfig config = TinyConfig();
  config.stored_dtype = DType::kBF16;
  SaveCheckpoint(folder_, TinyModel(config));
  const std::string path = folder_ + "/config.json";
  auto json = nlohmann::ordered_json::parse(ReadWholeFile(path, 1 << 20));
  json.erase("torch_dtype");
  WriteWholeFile(path, json.dump());
  EXPECT_EQ(LoadCheckpoint(folder_).config.stored_dtype, DType::kBF16);
}

TEST_F(CheckpointTest, WhereATextEndsIsSaidByTheGenerationConfig) {
  SaveCheckpoint(folder_, TinyModel());
  const std::string path = folder_ + "/generation_config.json";
  const std::string digest = DigestCheckpoint(folder_);
  WriteWholeFile(path, R"({"eos_token_id": [2, 7], "top_p": NaN})");
  EXPECT_EQ(LoadCheckpoint(folder_).config.eos_ids, (std::vector<int32_t>{2, 7}));
  EXPECT_NE(DigestCheckpoint(folder_), digest) << "it is part of what is loaded";
  WriteWholeFile(path, R"({"max_length": 20})");
  EXPECT_EQ(LoadCheckpoint(folder_).config.eos_ids, (std::vector<int32_t>{2}));
  WriteWholeFile(path, R"({"eos_token_id": "end"})");
  EXPECT_THAT(LoadFailure(), HasSubstr("generation_config.json: eos_token_id: expected"));
}

// One 8-bit matrix among the others, with each kind of scale.
TEST_F(CheckpointTest, EightBitWeightsAreReadWithTheirScales) {
  const std::string name = "model.layers.1.mlp.up_proj.weight";  // [48, 32]
  struct Case {
    const char* suffix;
    Shape shape;
    const char* quantization;
    std::function<float(int64_t, int64_t)> scale;
  };
  const Case cases[] = {
      {"_scale_inv",
       {2, 3},
       R"({"quant_method": "fp8", "weight_block_size": [32, 12]})",
       [](int64_t r, int64_t c) { return static_cast<float>(1 + r / 32 * 3 + c / 12); }},
      {"_scale_inv", {1, 1}, R"({"quant_method": "fp8"})", [](int64_t, int64_t) { return 1.0F; }},
      {"_scale",
       {48, 1},
       R"({"quant_method": "compressed-tensors", "format": "float-quantized"})",
       [](int64_t r, int64_t) { return static_cast<float>(1 + r); }},
      {"_scale",
       {48},
       R"({"quant_method": "compressed-tensors", "format": "float-quantized"})",
       [](int64_t r, int64_t) { return static_cast<float>(1 + r); }},
      {"_scale",
       {},
       R"({"quant_method": "modelopt", "quant_algo": "FP8"})",
       [](int64_t, int64_t) { return 1.0F; }},
  };
  for (const Case& c : cases) {
    ModelWeights model = TinyModel();
    SaveCheckpoint(folder_, model);
    auto json = nlohmann::ordered_json::parse(ReadWholeFile(folder_ + "/config.json", 1 << 20));
    json["quantization_config"] = nlohmann::ordered_json::parse(c.quantization);
    WriteWholeFile(folder_ + "/config.json", json.dump());
    std::string header = "{", data;
    const auto add = [&](const std::string& tensor, const char* type, const Shape& shape,
                         const void* bytes, size_t count) {
      header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                            data.empty() ? "" : ",", tensor, type, ShapeString(shape), data.size(),
                            data.size() + count);
      data.append(static_cast<const char*>(bytes), count);
    };
    for (const auto& [tensor, slot] : Slots(model))
      if (tensor != name)
        add(tensor, "F32", slot->sizes().vec(), slot->data_ptr<float>(), slot->nbytes());
    const auto n = static_cast<size_t>(NumElements(c.shape));
    std::vector<float> scales(n);
    for (size_t i = 0; i < n; ++i) scales[i] = static_cast<float>(1 + i);
    std::string bytes;
    for (int i = 0; i < 48 * 32; ++i) bytes += static_cast<char>(i % 100);
    add(name, "F8_E4M3", {48, 32}, bytes.data(), bytes.size());
    add(name + c.suffix, "F32", c.shape, scales.data(), 4 * n);
    const uint64_t length = header.size() + 1;
    WriteWholeFile(folder_ + "/model.safetensors",
                   std::string(reinterpret_cast<const char*>(&length), 8) + header + "}" + data);
    const Tensor up = LoadCheckpoint(folder_).blocks[1].ffn.up;
    for (const auto& [row, column] :
         {std::pair<int64_t, int64_t>{0, 0}, {31, 11}, {32, 12}, {47, 31}})
      EXPECT_EQ(up[row][column].item<float>(),
                F32FromE4M3(static_cast<uint8_t>((row * 32 + column) % 100)) * c.scale(row, column))
          << c.quantization << ' ' << row << ' ' << column;
  }
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
