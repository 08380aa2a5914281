// `puzzle init`: what it writes is a graph without a mistake, for odd models, paths and texts too.
#include "apps/start/init.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/start/starter_graph.h"
#include "graph/plan/plan.h"
#include "io/json_text.h"
#include "model/files/checkpoint_config.h"
#include "nodes/catalogue.h"
#include "nodes/data/story_corpus.h"
#include "nodes/workloads.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

struct InitOutput {
  int status = -1;
  std::string out;
  std::string err;
};

class InitTest : public ::testing::Test {
 protected:
  InitTest() {
    hooks_.layers_of = CountLayers;
    hooks_.workload = WorkloadOf;
    options_.preset = "smoke";
    options_.output = folder_ / "g.json";
    options_.store = folder_ / "store";
  }

  InitOutput Init() {
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int status = InitCommand(options_, registry_, hooks_);
    std::fflush(stdout);
    std::string out = ::testing::internal::GetCapturedStdout();
    return {status, std::move(out), ::testing::internal::GetCapturedStderr()};
  }

  // A llama of two layers that differ, with a byte tokenizer; config alone is looked at.
  void WriteModel(const std::string& name) {
    options_.model = folder_ / name;
    std::filesystem::create_directory(options_.model);
    WriteBytes(options_.model + "/config.json", R"({"model_type": "llama", "hidden_size": 64,
      "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 258, "head_dim": 16,
      "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "torch_dtype": "float32",
      "tie_word_embeddings": true, "architectures": ["DeciLMForCausalLM"],
      "block_configs": [
        {"attention": {"n_heads_in_group": 1}, "ffn": {"intermediate_size": 128}},
        {"attention": {"n_heads_in_group": 2}, "ffn": {"intermediate_size": 64}}]})");
    WriteBytes(options_.model + "/byte_tokenizer.json", R"({"kind":"byte","version":1})");
  }

  // Without a complaint.
  Plan PlanOf(const std::string& path) {
    Diagnostics diagnostics;
    const auto text = std::make_shared<const JsonText>(JsonText::ParseFile(path));
    const GraphSpec spec = ParseSpec(text, {}, diagnostics);
    PlanOptions options;
    options.layers_of = CountLayers;
    Plan plan = MakePlan(spec, registry_, options, diagnostics);
    EXPECT_TRUE(diagnostics.empty()) << diagnostics.Text();
    return plan;
  }

  TempFolder folder_;
  const Registry registry_{PuzzleKinds()};
  Hooks hooks_;
  InitOptions options_;
};

TEST_F(InitTest, TheGraphIsAGoodOneAndItsCostIsSaid) {
  WriteModel("model");
  const InitOutput run = Init();
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("g.json: "));
  EXPECT_THAT(run.out, HasSubstr(" steps; about "));
  EXPECT_THAT(run.out, HasSubstr("of disk, at most "));
  EXPECT_THAT(run.out, Not(HasSubstr("unknown length")));
  const std::string what = options_.output + " --store " + options_.store + '\n';
  EXPECT_THAT(run.out, HasSubstr("next:\n  puzzle plan " + what + "  puzzle run "));
  EXPECT_THAT(run.err, HasSubstr("no --text was given"));
  const Plan plan = PlanOf(options_.output);
  EXPECT_THAT(ReadBytes(options_.output), StartsWith("// model, a llama of "));
  EXPECT_THAT(ReadBytes(options_.output), HasSubstr("\"budgets\": [\"75%\"]"));
}

// Layer 1 has two kv heads and 64 channels: kv2 is its own, and so is nothing else.
TEST_F(InitTest, LayersThatDifferLeaveOutWhatTheyHaveAlready) {
  WriteModel("model");
  options_.preset = "balanced";
  ASSERT_EQ(Init().status, 0);
  const std::string text = ReadBytes(options_.output);
  EXPECT_THAT(text, HasSubstr("\"exclude\": [{\"layer\": 1, \"variant\": \"attn:kv2\"}"));
  const Plan plan = PlanOf(options_.output);
  size_t kv2 = 0;
  for (const Step& step : plan.steps)
    kv2 += step.name.starts_with("scores[") && step.name.ends_with("attn:kv2]") ? 1 : 0;
  EXPECT_EQ(kv2, 1u);
}

TEST_F(InitTest, OddNamesOfFilesMeanThemselves) {
  WriteModel("a \"model\" ${layers}\n}, x");
  const std::string text = folder_ / "${model} @MODEL@.txt";
  WriteBytes(text, GenerateStories({400, 1}));
  options_.texts = {text};
  const InitOutput run = Init();
  ASSERT_EQ(run.status, 0) << run.err;
  PlanOf(options_.output);
  const JsonText written = JsonText::ParseFile(options_.output);
  EXPECT_EQ(written.value()["nodes"].contains("stories"), false);
  std::string path = written.value()["vars"]["texts"][0];
  EXPECT_EQ(path.substr(path.size() - 21), "$${model} @MODEL@.txt");
}

// How much is learned, by preset. Texts that are made up have no end, so that all is as it is asked
// for; contexts are 64 tokens.
TEST_F(InitTest, PresetsSayHowMuchIsLearned) {
  struct Amounts {
    const char* preset;
    int calibration, epochs, steps, distillation, tested, scored, holdout;
  };
  for (const Amounts& a : {Amounts{"smoke", 16, 1, 8, 36, 4, 1, 2},
                           Amounts{"balanced", 512, 2, 512, 2052, 32, 32, 16}}) {
    WriteModel(a.preset);
    options_.preset = a.preset;
    options_.output = folder_ / (std::string(a.preset) + ".json");
    const InitOutput run = Init();
    ASSERT_EQ(run.status, 0) << run.err;
    const JsonText written = JsonText::ParseFile(options_.output);
    const auto& vars = written.value()["vars"];
    EXPECT_EQ(vars["length"], 64);
    EXPECT_EQ(vars["calibration"], a.calibration) << a.preset;
    EXPECT_EQ(vars["epochs"], a.epochs);
    EXPECT_EQ(vars["steps"], a.steps);
    EXPECT_EQ(vars["distillation"], a.distillation);
    EXPECT_EQ(vars["scored"], a.scored);
    EXPECT_EQ(vars["held_out"], a.tested + a.scored);
    EXPECT_EQ(vars["positions"], a.tested * 63) << "the first token is not predicted";
    EXPECT_EQ(vars["batch"], 8);
    EXPECT_EQ(vars["prefill"], 32);
    EXPECT_EQ(vars["generation"], 32);
    const auto& nodes = written.value()["nodes"];
    EXPECT_EQ(nodes["blocks"]["params"]["holdout"], a.holdout);
    EXPECT_EQ(nodes["student"]["params"]["batch"], 4);
    EXPECT_EQ(nodes["student"]["params"]["lr"], 5e-4);
    EXPECT_EQ(nodes["costs"]["params"]["weights"], "fp32");
    EXPECT_THAT(run.out,
                HasSubstr("learns from " + std::to_string(a.calibration) +
                          " sequences of 64 tokens block by block, " + std::to_string(4 * a.steps) +
                          " as a whole; tested on " + std::to_string(a.tested) + "\n"));
    // 258 x 64, blocks of 16448 + 24640 and 2 x 12352, a norm of 64.
    EXPECT_THAT(ReadBytes(options_.output),
                StartsWith("// " + std::string(a.preset) +
                           ", a llama of 0.1 million parameters in 2 layers, made smaller.\n"));
  }
}

// Stories for all sequences of the largest preset that a test can generate, and a tenth more.
TEST_F(InitTest, AsManyStoriesAreMadeUpAsAllSequencesNeed) {
  WriteModel("model");
  options_.preset = "balanced";
  ASSERT_EQ(Init().status, 0);
  const JsonText written = JsonText::ParseFile(options_.output);
  constexpr double kTokens = 64.0 * (2052 + 32 + 32 + 512);  // as PresetsSayHowMuchIsLearned counts
  constexpr int64_t kSample = 500;
  const double bytes = static_cast<double>(GenerateStories({kSample, 1}).size()) / kSample;
  EXPECT_NEAR(written.value()["vars"]["stories"].get<double>(), 1.1 * kTokens / bytes,
              0.01 * kTokens / bytes);
}

// 1,189 bytes are 16 sequences of 64, a tenth kept for bad estimates: 2 test, 1 scores, 13 teach.
TEST_F(InitTest, AShortTextTeachesWithAllThatItHas) {
  WriteModel("model");
  std::string text;
  for (int i = 0; i < 29; ++i) text += "One two three four five six seven eight.\n";
  WriteBytes(folder_ / "text.txt", text);
  options_.texts = {folder_ / "text.txt"};
  const InitOutput run = Init();
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("learns from 13 sequences of 64 tokens block by block, 13 as a "
                                 "whole; tested on 2\n"));
  EXPECT_THAT(run.err, Not(HasSubstr("no --text was given")));
  const JsonText written = JsonText::ParseFile(options_.output);
  EXPECT_EQ(written.value()["vars"]["prompt"], "One two three four five six");
  EXPECT_EQ(written.value()["vars"]["steps"], 6) << "half of the sequences";
  EXPECT_EQ(written.value()["nodes"]["blocks"]["params"]["holdout"], 1);
}

TEST_F(InitTest, ATargetIsAResourceOfTheSearch) {
  WriteModel("model");
  for (const auto& [target, resource] :
       {std::pair<const char*, const char*>{"memory", "memory_mib"},
        {"weights", "weight_mib"},
        {"kv", "kv_mib"},
        {"parameters", "parameters"},
        {"block_parameters", "block_parameters"},
        {"prefill_gflops", "prefill_gflops"},
        {"decode_gflops", "decode_gflops"}}) {
    options_.output = folder_ / (std::string(target) + ".json");
    options_.target = std::string(target) + "=80%,60%";
    ASSERT_EQ(Init().status, 0) << target;
    const std::string text = ReadBytes(options_.output);
    EXPECT_THAT(text, HasSubstr("{ \"max\": { \"" + std::string(resource) + "\": \"${budget}\" }"));
    EXPECT_THAT(text, HasSubstr("\"budgets\": [\"80%\", \"60%\"]"));
  }
}

TEST_F(InitTest, AFileThatIsThereStaysAsItIs) {
  WriteModel("model");
  WriteBytes(options_.output, "mine");
  const InitOutput run = Init();
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.err, HasSubstr("is there already; give another name with --output"));
  EXPECT_EQ(ReadBytes(options_.output), "mine");
}

TEST_F(InitTest, WhatCannotBeIsRefusedWithWhatToDo) {
  WriteModel("model");
  const auto complaint = [&] {
    const InitOutput run = Init();
    EXPECT_EQ(run.status, 2);
    EXPECT_FALSE(std::filesystem::exists(options_.output));
    return run.err;
  };
  options_.target = "memory=1%";
  EXPECT_THAT(complaint(), HasSubstr("embedding, final norm and head alone are"));
  options_.target = "memory=100%";
  EXPECT_THAT(complaint(), HasSubstr("less than the parent has"));
  options_.target = "memory=100000";
  EXPECT_THAT(complaint(), HasSubstr("ask for less"));
  options_.target = "memory=0.001";
  EXPECT_THAT(complaint(), HasSubstr("embedding, final norm and head alone are"));
  options_.target = "memory";
  EXPECT_THAT(complaint(), HasSubstr("expected RESOURCE=LIMIT such as memory=75%"));
  options_.target = "speed=75%";
  EXPECT_THAT(complaint(), HasSubstr("there are memory, weights"));
  options_.target = "parameters=80%,60%";
  options_.texts = {folder_ / "none.txt"};
  EXPECT_THAT(complaint(), HasSubstr("none.txt: there is no such file"));
  WriteBytes(folder_ / "short.txt", "One sentence.");
  options_.texts = {folder_ / "short.txt"};
  EXPECT_THAT(complaint(), HasSubstr("add texts with --text"));
  options_.texts = {};
  options_.model = folder_ / "nothing";
  EXPECT_THAT(complaint(), HasSubstr("there is no such folder or file"));
}

TEST_F(InitTest, OfSmolLM2EverythingIsKnownBeforehand) {
  PUZZLE_REQUIRE_DATA("models/smollm2");
  options_.model = DataPath("models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  options_.texts = {DataPath("text/general")};
  options_.preset = "balanced";
  options_.target = "memory=80%,60%";
  const InitOutput run = Init();
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, Not(HasSubstr("unknown length")));
  EXPECT_THAT(run.err, IsEmpty());
  const Plan plan = PlanOf(options_.output);
  EXPECT_GT(plan.steps.size(), 2u * 30 * 10);
  EXPECT_THAT(ReadBytes(options_.output), HasSubstr("\"budgets\": [\"80%\", \"60%\"]"));
}

}  // namespace
}  // namespace puzzle
