// A parent of another family than Llama through the whole program: loaded, compressed, exported in
// its own format, read back; and checkpoints that are refused before any work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "io/safetensors.h"
#include "tests/apps/program_folder.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kHidden = 16, kVocab = 258, kPositions = 32, kLayers = 2, kFfn = 24;

constexpr const char* kGraph = R"({
  "puzzle": 1,
  "vars": { "layers": { "layers_of": "parent" },
            "variants": ["attn:kv2", "attn:linear", "attn:none", "ffn:50%", "ffn:linear", "ffn:none"] },
  "nodes": {
    "text": { "kind": "synthetic_text", "params": { "stories": 20 } },
    "parent": { "kind": "load_model", "params": { "path": "parent" } },
    "tokens": { "kind": "tokenize", "in": { "text": "text", "model": "parent" },
                "params": { "length": 32, "sequences": 64 } },
    "states": { "kind": "activations", "in": { "parent": "parent", "tokens": "tokens" } },
    "importance": { "kind": "importance", "in": { "parent": "parent", "activations": "states" } },
    "blocks": { "kind": "bld", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states", "importance": "importance" },
                "params": { "layer": "${layer}", "variant": "${variant}", "lr": 0.003, "epochs": 1,
                            "holdout": 8, "refit_tokens": 1024 } },
    "scores": { "kind": "score", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states",
                        "block": "blocks[layer=${layer},variant=${variant}]" } },
    "costs": { "kind": "cost", "in": { "parent": "parent" }, "params": { "variants": "${variants}" } },
    "choice": { "kind": "search", "in": { "scores": ["scores"], "costs": "costs" },
                "params": { "max": { "block_parameters": "60%" } } },
    "child": { "kind": "assemble", "in": { "parent": "parent", "blocks": ["blocks"], "choice": "choice" } },
    "student": { "kind": "gkd", "in": { "teacher": "parent", "student": "child", "tokens": "tokens",
                                        "activations": "states" }, "params": { "steps": 10 } },
    "quality": { "kind": "evaluate", "in": { "model": "student", "parent": "parent", "tokens": "tokens" },
                 "params": { "label": "student", "prompt": "Once", "sample_tokens": 5 } },
    "exported": { "kind": "export", "in": { "model": "student" }, "params": { "folder": "out" } }
  } })";

class FamilyPipelineTest : public ::testing::Test {
 protected:
  FamilyPipelineTest() {
    folder_.Write("graph.json", kGraph);
    WriteGpt2();
  }

  // A random GPT-2 with the byte tokenizer.
  void WriteGpt2() {
    const json config = {{"model_type", "gpt2"},      {"n_embd", kHidden},
                         {"n_layer", kLayers},        {"n_head", 4},
                         {"n_positions", kPositions}, {"vocab_size", kVocab},
                         {"bos_token_id", 256},       {"eos_token_id", 257}};
    Add("wte.weight", {kVocab, kHidden});
    Add("wpe.weight", {kPositions, kHidden});
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const std::string h = "h." + std::to_string(layer) + ".";
      for (const char* norm : {"ln_1", "ln_2"}) {
        Add(h + norm + ".weight", {kHidden});
        Add(h + norm + ".bias", {kHidden});
      }
      const std::tuple<const char*, int64_t, int64_t> matrices[] = {
          {"attn.c_attn", kHidden, 3 * kHidden},
          {"attn.c_proj", kHidden, kHidden},
          {"mlp.c_fc", kHidden, 4 * kHidden},
          {"mlp.c_proj", 4 * kHidden, kHidden}};
      for (const auto& [matrix, in, out] : matrices) {
        Add(h + matrix + ".weight", {in, out});
        Add(h + matrix + ".bias", {out});
      }
    }
    Add("ln_f.weight", {kHidden});
    Add("ln_f.bias", {kHidden});
    WriteParent(config);
  }

  // What Phi-3 and Gemma say alike; kv heads are half of the query heads.
  static json Common(const char* model_type) {
    return {{"model_type", model_type},     {"hidden_size", kHidden},
            {"num_hidden_layers", kLayers}, {"num_attention_heads", 4},
            {"num_key_value_heads", 2},     {"intermediate_size", kFfn},
            {"vocab_size", kVocab},         {"max_position_embeddings", kPositions},
            {"bos_token_id", 256},          {"eos_token_id", 257}};
  }

  void WritePhi3() {
    constexpr int64_t kHeadDim = kHidden / 4;
    Clear();
    Add("model.embed_tokens.weight", {kVocab, kHidden});
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const std::string l = "model.layers." + std::to_string(layer) + ".";
      Add(l + "input_layernorm.weight", {kHidden});
      Add(l + "post_attention_layernorm.weight", {kHidden});
      Add(l + "self_attn.qkv_proj.weight", {8 * kHeadDim, kHidden});
      Add(l + "self_attn.o_proj.weight", {kHidden, 4 * kHeadDim});
      Add(l + "mlp.gate_up_proj.weight", {2 * kFfn, kHidden});
      Add(l + "mlp.down_proj.weight", {kHidden, kFfn});
    }
    Add("model.norm.weight", {kHidden});
    Add("lm_head.weight", {kVocab, kHidden});
    WriteParent(Common("phi3"));
  }

  void WriteGemma3() {
    constexpr int64_t kHeadDim = 8;
    Clear();
    Add("model.embed_tokens.weight", {kVocab, kHidden});
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const std::string l = "model.layers." + std::to_string(layer) + ".";
      for (const char* norm : {"input_layernorm", "post_attention_layernorm",
                               "pre_feedforward_layernorm", "post_feedforward_layernorm"})
        Add(l + norm + ".weight", {kHidden});
      for (const char* norm : {"q_norm", "k_norm"})
        Add(l + "self_attn." + norm + ".weight", {kHeadDim});
      Add(l + "self_attn.q_proj.weight", {4 * kHeadDim, kHidden});
      Add(l + "self_attn.k_proj.weight", {2 * kHeadDim, kHidden});
      Add(l + "self_attn.v_proj.weight", {2 * kHeadDim, kHidden});
      Add(l + "self_attn.o_proj.weight", {kHidden, 4 * kHeadDim});
      Add(l + "mlp.gate_proj.weight", {kFfn, kHidden});
      Add(l + "mlp.up_proj.weight", {kFfn, kHidden});
      Add(l + "mlp.down_proj.weight", {kHidden, kFfn});
    }
    Add("model.norm.weight", {kHidden});
    json config = Common("gemma3_text");
    config["head_dim"] = kHeadDim;
    config["query_pre_attn_scalar"] = kHeadDim;
    config["sliding_window"] = 8;
    config["layer_types"] = {"sliding_attention", "full_attention"};
    WriteParent(config);
  }

  // The tensors that were added, with the byte tokenizer.
  void WriteParent(const json& config) {
    fs::create_directories(folder_.path() + "/parent");
    WriteConfig(config);
    folder_.Write("parent/byte_tokenizer.json", R"({"kind": "byte", "version": 1})");
    for (size_t i = 0; i < tensors_.size(); ++i) tensors_[i].data = values_[i].data();
    WriteSafetensors(folder_.path() + "/parent", tensors_);
  }

  void Clear() {
    tensors_.clear();
    values_.clear();
  }

  // The whole graph, then the exported folder is read again.
  void CompressAndReadBack() {
    const ProgramResult run =
        folder_.Run({"run", "graph.json", "--summary", "summary.json", "--set",
                     R"(vars.variants=["attn:kv1", "attn:kv1q2", "attn:linear", "attn:none",
                                       "ffn:50%", "ffn:linear", "ffn:none"])"});
    ASSERT_EQ(run.status, 0) << run.text();
    EXPECT_GT(folder_.ReadJson("summary.json")["results"]["quality"]["kl"].get<double>(), 0);
    const json config = folder_.ReadJson("out/config.json");
    EXPECT_EQ(config["model_type"],
              "puzzle");  // no stock class takes it and fills up what is missing
    EXPECT_EQ(config["block_configs"].size(), 2u);
    folder_.Write("text.txt", std::string(400, 'a'));
    const ProgramResult eval =
        folder_.Run({"eval", "out", "--parent", "parent", "--text", "text.txt", "--json"});
    ASSERT_EQ(eval.status, 0) << eval.text();
    EXPECT_GT(json::parse(eval.out)["kl"].get<double>(), 0);
  }

  void Add(const std::string& name, const Shape& shape) {
    std::normal_distribution<float> normal(0, 0.3F);
    std::vector<float> values(static_cast<size_t>(NumElements(shape)));
    const bool is_norm = shape.size() == 1 && name.ends_with("weight");  // of Gemma: 1 + as much
    for (float& value : values) value = normal(random_) + (is_norm ? 1.0F : 0.0F);
    values_.push_back(std::move(values));
    tensors_.push_back({name, shape, nullptr, DType::kF32});
  }

  void WriteConfig(const json& config) const { folder_.Write("parent/config.json", config.dump()); }

  std::mt19937 random_{5};
  const ProgramFolder folder_{PUZZLE_PROGRAM};
  std::vector<std::vector<float>> values_;
  std::vector<TensorToWrite> tensors_;
};

TEST_F(FamilyPipelineTest, AGpt2IsCompressedExportedAndReadAgain) {
  const ProgramResult run = folder_.Run({"run", "graph.json", "--summary", "summary.json"});
  ASSERT_EQ(run.status, 0) << run.text();
  const json quality = folder_.ReadJson("summary.json")["results"]["quality"];
  const int64_t attention = 4 * (kHidden * kHidden + kHidden) + 2 * kHidden;
  const int64_t ffn = 2 * 4 * kHidden * kHidden + 5 * kHidden + 2 * kHidden;
  EXPECT_LE(quality["block_parameters"].get<double>(),
            0.6 * static_cast<double>(kLayers * (attention + ffn)));
  EXPECT_GT(quality["kl"].get<double>(), 0);

  const json config = folder_.ReadJson("out/config.json");
  EXPECT_EQ(config["model_type"], "puzzle");
  EXPECT_EQ(config["block_configs"].size(), 2u);
  folder_.Write("text.txt", std::string(400, 'a'));
  const ProgramResult eval =
      folder_.Run({"eval", "out", "--parent", "parent", "--text", "text.txt", "--json"});
  ASSERT_EQ(eval.status, 0) << eval.text();
  EXPECT_GT(json::parse(eval.out)["kl"].get<double>(), 0);
  EXPECT_EQ(folder_.Run({"generate", "out", "--prompt", "Tom", "--tokens", "5"}).status, 0);
}

TEST_F(FamilyPipelineTest, AGraphThatAsksACheckpointForItsLayersIsDrawn) {
  for (const char* format : {"dot", "mermaid", "makeflow"}) {
    const ProgramResult drawn = folder_.Run({"graph", "graph.json", "--format", format});
    EXPECT_EQ(drawn.status, 0) << drawn.text();
    EXPECT_THAT(drawn.out, HasSubstr("blocks"));
  }
  EXPECT_THAT(folder_.Run({"complete", "plan", "graph.json", "--until", "blocks[layer=1"}).out,
              HasSubstr("blocks[layer=1"))
      << "completed as well";
}

TEST_F(FamilyPipelineTest, WhatAStepTakesIsKnownBeforeItRan) {
  const ProgramResult plan = folder_.Run({"plan", "graph.json"});
  EXPECT_EQ(plan.status, 0) << plan.text();
  EXPECT_THAT(plan.out, HasSubstr("; about "));
  EXPECT_THAT(plan.out, Not(HasSubstr("unknown length")));
}

// Both programs say the same of the machine they run on.
TEST_F(FamilyPipelineTest, AStrictRunCountsResultsOfItsEnvironmentAlone) {
  const auto said = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"graph.json", "--until", "states"});
    const ProgramResult result = folder_.Run(words);
    EXPECT_EQ(result.status, 0) << result.text();
    return result.out;
  };
  EXPECT_THAT(said({"run"}), HasSubstr("4 steps: 0 cached, 4 run"));
  EXPECT_THAT(said({"plan"}), HasSubstr("4 steps: 4 HIT"));
  EXPECT_THAT(said({"plan", "--strict-environment"}), HasSubstr("RUN   states  environment."));
  EXPECT_THAT(said({"run", "--strict-environment"}), HasSubstr("4 steps: 3 cached, 1 run"));
  EXPECT_THAT(said({"plan", "--strict-environment"}), HasSubstr("4 steps: 4 HIT"));
  EXPECT_THAT(said({"plan"}), HasSubstr("4 steps: 4 HIT")) << "both are there";
}

TEST_F(FamilyPipelineTest, NumbersOutOfRangeAreSaidInAFewWords) {
  const ProgramResult run =
      folder_.Run({"generate", "parent", "--prompt", "a", "--temperature", "-1"});
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.text(), HasSubstr("--temperature: expected a number of at least 0, got -1"));
}

TEST_F(FamilyPipelineTest, APhi3IsCompressedExportedAndReadAgain) {
  WritePhi3();
  CompressAndReadBack();
}

TEST_F(FamilyPipelineTest, AGemma3IsCompressedExportedAndReadAgain) {
  WriteGemma3();
  CompressAndReadBack();
}

TEST_F(FamilyPipelineTest, WhatSaysHowToGenerateGoesAlong) {
  folder_.Write("parent/generation_config.json", R"({"eos_token_id": [257, 97], "top_p": 0.9})");
  folder_.Write("export.json", R"({"puzzle": 1, "nodes": {
    "parent": {"kind": "load_model", "params": {"path": "parent"}},
    "exported": {"kind": "export", "in": {"model": "parent"}, "params": {"folder": "out"}}}})");
  const ProgramResult run = folder_.Run({"run", "export.json"});
  ASSERT_EQ(run.status, 0) << run.text();
  EXPECT_EQ(folder_.ReadJson("out/generation_config.json"),
            folder_.ReadJson("parent/generation_config.json"));
}

TEST_F(FamilyPipelineTest, AParentWithAShorterContextIsNamed) {
  json shorter = folder_.ReadJson("parent/config.json");
  fs::copy(folder_.path() + "/parent", folder_.path() + "/longer");
  shorter["n_positions"] = kPositions / 2;
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (tensors_[i].name == "wpe.weight") tensors_[i].shape[0] = kPositions / 2;
  WriteParent(shorter);
  folder_.Write("text.txt", std::string(400, 'a'));
  const ProgramResult eval =
      folder_.Run({"eval", "longer", "--parent", "parent", "--text", "text.txt", "--json"});
  EXPECT_NE(eval.status, 0);
  EXPECT_THAT(eval.text(), HasSubstr("sequences of 32 tokens, but the parent has 16 positions"));
}

TEST_F(FamilyPipelineTest, CheckpointsThatCannotBeUsedAreRefusedByName) {
  const json good = folder_.ReadJson("parent/config.json");
  const auto refusal = [&](const char* field, const json& value) {
    json config = good;
    config[field] = value;
    WriteConfig(config);
    const ProgramResult run = folder_.Run({"run", "graph.json"});
    EXPECT_NE(run.status, 0) << field;
    return run.text();
  };
  EXPECT_THAT(refusal("model_type", "mamba"), HasSubstr("model_type \"mamba\""));
  EXPECT_THAT(refusal("quantization_config", {{"bits", 4}}), HasSubstr("quantised"));
  EXPECT_THAT(refusal("n_layer", 3), HasSubstr("transformer.h.2.ln_1.weight is missing"));
  EXPECT_THAT(refusal("n_layer", 1), HasSubstr("h.1.attn.c_attn.bias does not belong"));
  EXPECT_THAT(refusal("n_inner", 48), HasSubstr("h.0.mlp.c_fc.weight has shape [16, 64]"));
  WriteConfig(good);

  fs::remove(folder_.path() + "/parent/byte_tokenizer.json");  // which would win
  folder_.Write("parent/tokenizer.json",
                R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
             "pre_tokenizer": {"type": "BertPreTokenizer"}})");
  EXPECT_THAT(folder_.Run({"run", "graph.json"}).text(),
              HasSubstr("pre_tokenizer: \"BertPreTokenizer\""));
  folder_.Write(
      "parent/tokenizer.json",
      R"({"model": {"type": "BPE", "vocab": {"a": 0, "t": 1, "n": 2, "e": 300}, "merges": [],
                              "ignore_merges": false},
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}})");
  const std::string said = folder_.Run({"run", "graph.json"}).text();
  EXPECT_THAT(said, HasSubstr("the tokenizer has 301 ids, the model a vocabulary of 258"));
  EXPECT_THAT(said, HasSubstr("token id 300, but the model has a vocabulary of 258"));
}

}  // namespace
}  // namespace puzzle::testing
