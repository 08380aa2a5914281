// The kind `export`: what it writes in which format, and that results of before keep their keys.
#include "nodes/data/export_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "graph/kind/params.h"
#include "io/error.h"
#include "io/file.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "nodes/data/load_model.h"
#include "tests/io/file_size_limit.h"
#include "tests/io/temp_folder.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

/// The key of an `export` with these parameters; the message where they are wrong.
std::string ExportKey(const nlohmann::ordered_json& params) {
  for (const NodeKind& kind : DataKinds()) {
    if (kind.name != "export") continue;
    const ParamBinder binder(kind, nullptr);
    std::vector<const nlohmann::ordered_json*> given(kind.params.size());
    for (const auto& [name, value] : params.items())
      given[static_cast<size_t>(binder.Find(name))] = &value;
    std::vector<ParamMistake> mistakes;
    const BoundParams bound = binder.Bind(given, mistakes);
    return mistakes.empty() ? bound.keyed : mistakes.front().message;
  }
  return "no such kind";
}

TEST(ExportKeyTest, FoldersOfBeforeStayValid) {
  EXPECT_EQ(ExportKey({{"folder", "out"}}), "{}");
  EXPECT_EQ(ExportKey({{"folder", "out"}, {"format", "hf"}, {"dtype", "same"}}), "{}");
  EXPECT_EQ(ExportKey({{"folder", "out"}, {"format", "gguf"}}), R"({"format":"gguf"})");
  EXPECT_EQ(ExportKey({{"folder", "out"}, {"dtype", "bf16"}}), R"({"dtype":"bf16"})");
}

TEST(ExportKeyTest, TypesThatAFolderDoesNotHoldAreRefused) {
  EXPECT_THAT(ExportKey({{"folder", "out"}, {"dtype", "q8_0"}}),
              HasSubstr("a Hugging Face folder holds f32, f16 or bf16"));
  EXPECT_EQ(ExportKey({{"folder", "out"}, {"format", "gguf"}, {"dtype", "q8_0"}}),
            R"({"dtype":"q8_0","format":"gguf"})");
}

class ExportTest : public testing::Test {
 protected:
  static Checkpoint Small() {
    ModelConfig config;
    config.vocab_size = 258;
    config.hidden_size = 32;
    config.n_heads = 4;
    config.head_dim = 8;
    config.max_positions = 64;
    config.bos_id = 256;
    config.eos_ids = {257};
    config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 64}},
                     {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 32}}};
    Checkpoint checkpoint;
    checkpoint.model = RandomModel(config, 1);
    checkpoint.tokenizer_files = MakeByteTokenizer()->files();
    return checkpoint;
  }
  ExportManifest Export(const std::string& format, const std::string& dtype) const {
    FakeInputs inputs;
    inputs.Add("model", "1", Small());
    FakeContext context;
    return RunExport({folder_ / "out", format, dtype}, inputs, context);
  }
  std::string Refusal(const std::string& format) const {
    try {
      (void)Export(format, "same");
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }

  TempFolder folder_;
};

TEST_F(ExportTest, AGgufIsAFileInTheFolder) {
  const ExportManifest manifest = Export("gguf", "q8_0");
  const std::string path = folder_ / "out/model.gguf";
  EXPECT_EQ(manifest.files, (std::map<std::string, uint64_t>{{"model.gguf", fs::file_size(path)}}));
  EXPECT_EQ(GgufReader::Open(path).TypeOf("token_embd.weight"), "Q8_0");
  const Checkpoint again =
      ReadCheckpoint(path, [](const std::string& message) { ADD_FAILURE() << message; });
  EXPECT_EQ(again.model.config.n_layers(), 2);
  EXPECT_TRUE(again.tokenizer_files.contains("tokenizer.json"));
}

TEST_F(ExportTest, WithoutATypeMatricesStayAsTheyAre) {
  (void)Export("gguf", "same");
  EXPECT_EQ(GgufReader::Open(folder_ / "out/model.gguf").TypeOf("token_embd.weight"), "F32");
}

TEST_F(ExportTest, OtherProgramsFindTheByteTokenizerToo) {
  (void)Export("hf", "same");
  EXPECT_EQ(LoadTokenizer(folder_ / "out")->kind(), "byte");
  fs::remove(folder_ / "out/byte_tokenizer.json");
  const auto others = LoadTokenizer(folder_ / "out");
  EXPECT_EQ(others->kind(), "bpe");
  EXPECT_EQ(others->leading_id(), 256);
  EXPECT_EQ(others->eos_id(), 257);
  const std::string text = "a b\n\xC3\xBC  <|x|>";
  EXPECT_EQ(others->Encode(text), MakeByteTokenizer()->Encode(text));
}

TEST_F(ExportTest, AFolderOfSomethingElseIsLeftAlone) {
  fs::create_directories(folder_ / "out");
  WriteWholeFile(folder_ / "out/thesis.txt", "mine");
  EXPECT_THAT(Refusal("hf"), HasSubstr("out: holds files and no config.json"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "out"), {}), 1);
  WriteWholeFile(folder_ / "out/model.gguf", "mine");
  EXPECT_THAT(Refusal("gguf"), HasSubstr("model.gguf: is there and is no GGUF file"));
}

TEST_F(ExportTest, AConfigOfSomethingElseIsLeftAlone) {
  fs::create_directories(folder_ / "out");
  for (const char* text : {R"({"compilerOptions": {}})", "[1]", "no JSON"}) {
    WriteWholeFile(folder_ / "out/config.json", text);
    EXPECT_THAT(Refusal("hf"), HasSubstr("out: its config.json is none of a model"));
    EXPECT_EQ(ReadWholeFile(folder_ / "out/config.json", 100), text);
  }
}

// What GGUF cannot say, values that its types cannot hold, and a disk that fills up.
TEST_F(ExportTest, NothingIsLeftOfWhatFailed) {
  const auto failure = [&](const Checkpoint& checkpoint, const std::string& dtype) {
    FakeInputs inputs;
    inputs.Add("model", "1", checkpoint);
    FakeContext context;
    try {
      (void)RunExport({folder_ / "deep/out", "gguf", dtype}, inputs, context);
    } catch (const Error& e) {
      EXPECT_TRUE(fs::is_empty(folder_.path())) << e.what();
      return std::string(e.what());
    }
    return std::string("none");
  };
  Checkpoint without_attention = Small();
  for (BlockSpec& block : without_attention.model.config.blocks)
    block.attention = {SubBlockForm::kNone, 0};
  without_attention.model = RandomModel(without_attention.model.config, 1);
  EXPECT_THAT(failure(without_attention, "same"), HasSubstr("a layer with attention"));
  Checkpoint large = Small();
  large.model.embedding.select(0, 7).fill_(1e5);
  EXPECT_THAT(failure(large, "f16"), HasSubstr("too large for F16"));
  Checkpoint odd = Small();
  odd.model.config.blocks[0].ffn.size = 40;
  odd.model = RandomModel(odd.model.config, 1);
  EXPECT_THAT(failure(odd, "q8_0"), HasSubstr("rows of 40 elements"));
  const FileSizeLimit limit(20000);
  EXPECT_THAT(failure(Small(), "f32"), HasSubstr("model.gguf"));
}

TEST_F(ExportTest, AnAnyModelFolderIsAFolderWithAnotherConfig) {
  const ExportManifest manifest = Export("anymodel", "bf16");
  EXPECT_TRUE(manifest.files.contains("config.json"));
  EXPECT_FALSE(manifest.files.contains("modeling_decilm.py"));
  const std::string text = ReadWholeFile(folder_ / "out/config.json", 1 << 20);
  EXPECT_THAT(text, HasSubstr("per_layer_config"));
  const ModelWeights loaded = LoadCheckpoint(folder_ / "out");
  EXPECT_EQ(loaded.config.blocks, Small().model.config.blocks);
  EXPECT_EQ(loaded.config.stored_dtype, DType::kBF16);
}

TEST_F(ExportTest, AFolderHasTheTypeThatIsAskedFor) {
  for (const auto& [dtype, stored] : {std::pair{"same", DType::kF32}, {"bf16", DType::kBF16}}) {
    const ExportManifest manifest = Export("hf", dtype);
    EXPECT_TRUE(manifest.files.contains("config.json"));
    EXPECT_EQ(SafetensorsReader::Open(folder_ / "out").Info("model.norm.weight").dtype, stored);
    EXPECT_EQ(LoadCheckpoint(folder_ / "out").config.stored_dtype, stored);
  }
}

}  // namespace
}  // namespace puzzle
