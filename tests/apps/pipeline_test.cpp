// The whole pipeline through the program: a graph of the real kinds, small enough for seconds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/program_folder.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kGraph = R"({
  "puzzle": 1,
  "vars": { "layers": { "range": [0, 2] },
            "variants": ["attn:kv1", "attn:linear", "attn:none", "ffn:50%", "ffn:linear", "ffn:none"],
            "lr": 0.003, "budget": "60%" },
  "nodes": {
    "text": { "kind": "synthetic_text", "params": { "stories": 40 } },
    "tokens": { "kind": "tokenize", "in": { "text": "text" },
                "params": { "tokenizer": "byte", "length": 64, "sequences": 128 } },
    "parent": { "kind": "pretrain", "in": { "tokens": "tokens" },
                "params": { "layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 64, "steps": 300,
                            "lr": 0.01, "batch": 16 } },
    "states": { "kind": "activations", "in": { "parent": "parent", "tokens": "tokens" } },
    "importance": { "kind": "importance", "in": { "parent": "parent", "activations": "states" } },
    "blocks": { "kind": "bld", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states", "importance": "importance" },
                "params": { "layer": "${layer}", "variant": "${variant}", "lr": "${lr}", "epochs": 1,
                            "refit_tokens": 4096 } },
    "scores": { "kind": "score", "foreach": { "layer": "${layers}", "variant": "${variants}" },
                "in": { "parent": "parent", "activations": "states",
                        "block": "blocks[layer=${layer},variant=${variant}]" } },
    "costs": { "kind": "cost", "in": { "parent": "parent" }, "params": { "variants": "${variants}" } },
    "choice": { "kind": "search", "in": { "scores": ["scores"], "costs": "costs" },
                "params": { "max": { "block_parameters": "${budget}" } } },
    "child": { "kind": "assemble", "in": { "parent": "parent", "blocks": ["blocks"], "choice": "choice" } },
    "student": { "kind": "gkd", "in": { "teacher": "parent", "student": "child", "tokens": "tokens",
                                        "activations": "states" }, "params": { "steps": 30 } },
    "child_quality": { "kind": "evaluate", "in": { "model": "child", "parent": "parent", "tokens": "tokens" },
                       "params": { "label": "child" } },
    "student_quality": { "kind": "evaluate", "in": { "model": "student", "parent": "parent", "tokens": "tokens" },
                         "params": { "label": "after GKD", "prompt": "Once", "sample_tokens": 5 } },
    "exported": { "kind": "export", "in": { "model": "student" }, "params": { "folder": "out" } },
    "report": { "kind": "report", "in": { "rows": ["child_quality", "student_quality"], "choice": "choice",
                                          "exported": "exported" } }
  } })";

class PipelineTest : public ::testing::Test {
 protected:
  // One folder for all tests: the first run is the expensive one.
  static void SetUpTestSuite() {
    folder_ = std::make_unique<ProgramFolder>(PUZZLE_PROGRAM);
    folder_->Write("graph.json", kGraph);
    first_ = Run({});
    first_summary_ = Summary();
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static ProgramResult Puzzle(const std::vector<std::string>& arguments) {
    return folder_->Run(arguments);
  }
  /// The graph, with further options.
  static ProgramResult Run(const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"run", "graph.json", "--summary", "summary.json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return Puzzle(arguments);
  }
  static json Summary() { return folder_->ReadJson("summary.json"); }

  static std::unique_ptr<ProgramFolder> folder_;
  static ProgramResult first_;
  static json first_summary_;
};

std::unique_ptr<ProgramFolder> PipelineTest::folder_;
ProgramResult PipelineTest::first_;
json PipelineTest::first_summary_;

TEST_F(PipelineTest, TheFirstRunMakesAChildWithinItsBudgetAndReportsIt) {
  ASSERT_EQ(first_.status, 0) << first_.text();
  const json& results = first_summary_["results"];
  EXPECT_LE(results["child_quality"]["block_parameters"].get<double>(),
            0.6 * 2 * (32 + 2 * 32 * 8 * 6 + 32 + 3 * 32 * 64));
  EXPECT_EQ(results["choice"]["status"], "optimal");
  EXPECT_LT(results["student_quality"]["kl"].get<double>(),
            results["child_quality"]["kl"].get<double>());
  EXPECT_THAT(first_.text(), HasSubstr("KL to parent"));
  EXPECT_THAT(first_.text(), HasSubstr("block_0:  attention"));
  EXPECT_THAT(first_.text(), HasSubstr("model.safetensors"));
}

TEST_F(PipelineTest, TheSameCommandAgainRunsNothing) {
  const ProgramResult again = Run({});
  EXPECT_EQ(again.status, 0) << again.text();
  const json summary = Summary();
  EXPECT_EQ(summary["steps"]["ran"], 0);
  EXPECT_EQ(summary["steps"]["cached"], summary["steps"]["total"]);
  EXPECT_EQ(summary["results"], first_summary_["results"]);
  EXPECT_THAT(again.text(), HasSubstr("KL to parent")) << "cached reports are shown as well";
}

TEST_F(PipelineTest, OneLayersParameterRerunsItsConeOnly) {
  const ProgramResult run = Run({"--set", "blocks[layer=1,variant=ffn:50%].lr=0.002"});
  ASSERT_EQ(run.status, 0) << run.text();
  EXPECT_THAT(run.text(), HasSubstr("blocks[layer=1,variant=ffn:50%]"));
  EXPECT_THAT(run.text(), Not(HasSubstr("blocks[layer=0")));
  // The block, its score, and what follows from them: at most the chain behind `choice`.
  EXPECT_LE(Summary()["steps"]["ran"].get<int>(), 2 + 7);
  EXPECT_GE(Summary()["steps"]["ran"].get<int>(), 3);
}

TEST_F(PipelineTest, ADistillationOnTwoLanesIsTheSameOne) {
  ASSERT_EQ(Run({}).status, 0);  // another test may have exported something else
  const ProgramResult same = Run({"--set", "student.devices=2", "--devices", "cpu,cpu"});
  EXPECT_EQ(same.status, 0) << same.text();
  EXPECT_EQ(Summary()["steps"]["ran"], 0) << "no part of the key";
  const ProgramResult forced =
      Run({"--set", "student.devices=2", "--devices", "cpu,cpu,cpu", "--force", "student"});
  ASSERT_EQ(forced.status, 0) << forced.text();
  EXPECT_EQ(Summary()["steps"]["ran"], 1) << "the same bits, and nothing behind it";
  EXPECT_EQ(Summary()["results"], first_summary_["results"]);
  const ProgramResult too_many =
      Run({"--set", "student.devices=3", "--devices", "cpu,cpu", "--force", "student"});
  EXPECT_EQ(too_many.status, 2);
  EXPECT_THAT(
      too_many.text(),
      HasSubstr("student takes 3 lanes of one type of device together, and this run has 2 of cpu"));
  const ProgramResult too_small = Run({"--set", "student.devices=4", "--set", "student.batch=3"});
  EXPECT_EQ(too_small.status, 2);
  EXPECT_THAT(too_small.text(), HasSubstr("devices must be at most batch"));
}

TEST_F(PipelineTest, ANewBudgetSearchesAgainAndTrainsNoBlock) {
  const ProgramResult run = Run({"--set", "vars.budget=80%"});
  ASSERT_EQ(run.status, 0) << run.text();
  EXPECT_THAT(run.text(), Not(HasSubstr("blocks[")));
  EXPECT_GT(Summary()["results"]["child_quality"]["block_parameters"].get<double>(),
            first_summary_["results"]["child_quality"]["block_parameters"].get<double>());
}

TEST_F(PipelineTest, ABudgetThatNoChildMeetsEndsWithTheNearestThatWorks) {
  const ProgramResult run =
      Run({"--set", R"(choice.max={"kv_heads": -1})", "--set", "choice.method=exact"});
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.text(), HasSubstr("infeasible"));
  EXPECT_THAT(run.text(), HasSubstr("kv_heads"));
  EXPECT_EQ(Run({}).status, 0) << "the store is still valid";
}

TEST_F(PipelineTest, MistakesInTheGraphAreNamedBeforeAnythingRuns) {
  const std::pair<const char*, const char*> cases[] = {
      {"blocks.variant=attn:kw1", "is not a variant"},
      {"blocks.epcohs=1", "did you mean"},
      {"parent.heads=3", "hidden must be a multiple"},
      {"costs.batch=1.5", "costs"},
      {"choice.objective=kld", "unknown metric \"kld\"; there are kl, lm_loss, cosine, nmse"},
      {R"(choice.objective={"token_accuracy_top_1": -1})", "accuracies are maximised"},
      {"vars.budgte=1", "did you mean"}};
  for (const auto& [setting, message] : cases) {
    const ProgramResult run = Run({"--set", setting});
    EXPECT_EQ(run.status, 2) << setting;
    EXPECT_THAT(run.text(), HasSubstr(message)) << setting;
  }
}

TEST_F(PipelineTest, AVariantTheParentCannotHaveFailsByLayerAndName) {
  const ProgramResult run = Run({"--set", "blocks[layer=1,variant=attn:kv1].variant=attn:kv4"});
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.text(), HasSubstr("layer 1: variant attn:kv4: 4 kv heads do not divide"));
}

TEST_F(PipelineTest, TheExportIsReadByEvalAndGenerate) {
  folder_->Write("text.txt", std::string(4000, 'a') + "\n<|endoftext|>\nTom saw a cat.");
  const ProgramResult eval =
      Puzzle({"eval", "out", "--text", "text.txt", "--positions", "100", "--json"});
  ASSERT_EQ(eval.status, 0) << eval.text();
  const json metrics = json::parse(eval.out);
  EXPECT_EQ(metrics["positions"], 100);
  EXPECT_GT(metrics["nll"].get<double>(), 0);
  const ProgramResult generated = Puzzle({"generate", "out", "--prompt", "Tom", "--tokens", "5"});
  EXPECT_EQ(generated.status, 0);
  EXPECT_THAT(generated.out, StartsWith("Tom"));
  EXPECT_GT(metrics["nll_se"].get<double>(), 0);
  EXPECT_TRUE(metrics.contains("token_accuracy_top_10_se"));
  EXPECT_FALSE(metrics.contains("nmse"));
  EXPECT_EQ(Puzzle({"eval", "nowhere", "--text", "text.txt"}).status, 1);
  EXPECT_EQ(Puzzle({"eval"}).status, 2);
}

TEST_F(PipelineTest, TextsAreContinuedSideBySideAndEndWhereTheyAreToldTo) {
  const ProgramResult both = Puzzle({"generate", "out", "--prompt", "Tom", "--prompt", "The cat",
                                     "--tokens", "12", "--threads", "2", "--json"});
  ASSERT_EQ(both.status, 0) << both.text();
  std::vector<json> lines;
  std::istringstream stream(both.out);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["prompt"], "The cat");
  const std::string text = lines[0]["text"];
  ASSERT_GE(text.size(), 4u);
  EXPECT_EQ(Puzzle({"generate", "out", "--prompt", "Tom", "--tokens", "12"}).out,
            "Tom" + text + "\n");
  const json stopped = json::parse(
      Puzzle({"generate", "out", "--prompt", "Tom", "--stop", text.substr(2, 2), "--json"}).out);
  EXPECT_EQ(stopped["end"], "stop");
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(text.substr(2, 2))));
}

TEST_F(PipelineTest, AnAnswerAsJsonIsJsonWhateverWasAsked) {
  const ProgramResult odd = Puzzle({"generate", "out", "--prompt", "Tom \xff", "--json", "--tokens",
                                    "9223372036854775807", "--stop", "a", "--stop", "e"});
  ASSERT_EQ(odd.status, 0) << odd.text();
  EXPECT_EQ(json::parse(odd.out)["prompt"], "Tom \xef\xbf\xbd");
}

TEST_F(PipelineTest, WhatGenerateCannotDoIsSaidInOneLine) {
  const auto complaint = [&](std::vector<std::string> arguments, int status = 1) {
    arguments.insert(arguments.begin(), {"generate", "out"});
    const ProgramResult result = Puzzle(arguments);
    EXPECT_EQ(result.status, status) << result.text();
    EXPECT_TRUE(status == 2 || testing::CountOf("\n", result.err) == 1) << result.err;
    return result.err;
  };
  EXPECT_THAT(complaint({"--prompt", std::string(100000, 'a')}),
              HasSubstr("the prompt has 100001 tokens"));
  EXPECT_THAT(complaint({"--prompt", "a", "--top-p", "2"}), HasSubstr("top-p 2: expected"));
  EXPECT_THAT(complaint({"--prompt", "a", "--stop", ""}), HasSubstr("empty stop string"));
  EXPECT_THAT(complaint({"--prompt", "a", "--system", "b"}), HasSubstr("add --chat"));
  EXPECT_THAT(complaint({"--prompt", "a", "--chat"}), HasSubstr("no chat template"));
  EXPECT_THAT(complaint({"--prompt", "a", "--dtype", "int4"}, 2), HasSubstr("--dtype"));
  EXPECT_THAT(complaint({"--prompt", "a", "--threads", "1000000"}, 2), HasSubstr("--threads"));
}

TEST_F(PipelineTest, BenchComparesModelsAndRefusesWhatDoesNotFit) {
  const std::vector<std::string> small = {"bench",    "out", "out",      "--prefill", "6",
                                          "--decode", "3",   "--rounds", "2"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = small;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Puzzle(arguments);
  };
  const ProgramResult run = with({"--json", "--dtype", "bf16", "--batch", "2"});
  ASSERT_EQ(run.status, 0) << run.text();
  const json figures = json::parse(run.out);
  ASSERT_EQ(figures["models"].size(), 2u);
  for (const json& model : figures["models"]) {
    EXPECT_EQ(model["model"], "out");
    EXPECT_EQ(model["dtype"], "bf16");
    for (const char* name :
         {"prefill_tok_s", "decode_tok_s", "first_token_ms", "peak_mib", "ratio"})
      EXPECT_GT(model[name].get<double>(), 0) << name;
    EXPECT_EQ(model["predicted_ratio"], 1);
  }
  EXPECT_EQ(figures["models"][0]["ratio"], 1);
  EXPECT_THAT(with({}).out, HasSubstr("of limit"));
  const ProgramResult long_one = Puzzle({"bench", "out", "--prefill", "6", "--decode", "1000000"});
  EXPECT_EQ(long_one.status, 1);
  EXPECT_THAT(long_one.err,
              HasSubstr("out: a prompt of 6 tokens and 1000000 behind it: the model has"));
  const ProgramResult large = with({"--batch", "1000000000"});
  EXPECT_EQ(large.status, 1);
  EXPECT_THAT(large.err, HasSubstr("a batch of 1000000000: at most 1048576"));
}

TEST_F(PipelineTest, TheChildBecomesAGgufThatComputesTheSame) {
  const auto export_to = [](const std::string& model, const std::string& to,
                            const std::vector<std::string>& options) {
    std::vector<std::string> args = {"export", model, to};
    args.insert(args.end(), options.begin(), options.end());
    return Puzzle(args);
  };
  const ProgramResult written = export_to("out", "child.gguf", {"--format", "gguf"});
  ASSERT_EQ(written.status, 0) << written.text();
  EXPECT_THAT(written.out, StartsWith("child.gguf "));
  EXPECT_THAT(written.out, HasSubstr("llama.cpp      yes"));
  folder_->Write("text.txt", std::string(4000, 'a') + "\n<|endoftext|>\nTom saw a cat.");
  const auto nll = [](const std::string& model) {
    const ProgramResult eval =
        Puzzle({"eval", model, "--text", "text.txt", "--positions", "100", "--json"});
    EXPECT_EQ(eval.status, 0) << eval.text();
    return json::parse(eval.out)["nll"].get<double>();
  };
  EXPECT_NEAR(nll("child.gguf"), nll("out"), 1e-4);
  EXPECT_EQ(Puzzle({"generate", "child.gguf", "--prompt", "Tom", "--tokens", "5"}).status, 0);
  // And back to a folder; what is there already is replaced.
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(export_to("child.gguf", "back", {"--dtype", "f32"}).status, 0);
  EXPECT_NEAR(nll("back"), nll("out"), 1e-4);
  EXPECT_EQ(export_to("out", "child.gguf", {"--format", "gguf", "--dtype", "f16"}).status, 0);
  // Parts in types of their own: larger than all of it in f16, smaller than in f32.
  const auto size = [](const std::string& file) {
    return fs::file_size(folder_->path() + "/" + file);
  };
  const std::vector<std::string> mixed = {"--format", "gguf",    "--dtype", "f32",
                                          "--type",   "ffn=f16", "--type",  "embed=bf16"};
  EXPECT_EQ(export_to("out", "mixed.gguf", mixed).status, 0);
  EXPECT_EQ(export_to("out", "full.gguf", {"--format", "gguf", "--dtype", "f32"}).status, 0);
  EXPECT_LT(size("mixed.gguf"), size("full.gguf"));
  EXPECT_GT(size("mixed.gguf"), size("child.gguf"));
}

TEST_F(PipelineTest, AStepsResultIsExportedFromTheStore) {
  ASSERT_EQ(Run({}).status, 0);
  const auto export_to = [](const std::string& to, const std::vector<std::string>& options) {
    std::vector<std::string> args = {"export", "graph.json:student", to};
    args.insert(args.end(), options.begin(), options.end());
    return Puzzle(args);
  };
  const ProgramResult folder = export_to("student", {});
  ASSERT_EQ(folder.status, 0) << folder.text();
  EXPECT_EQ(folder_->Read("student/model.safetensors"), folder_->Read("out/model.safetensors"));
  EXPECT_EQ(folder_->Read("student/config.json"), folder_->Read("out/config.json"));
  EXPECT_THAT(folder.out, HasSubstr("transformers   yes"));
  EXPECT_THAT(folder.out, HasSubstr("llama.cpp      no     reads GGUF: --format gguf"));

  const ProgramResult stale = export_to("other", {"--set", "student.steps=31"});
  EXPECT_NE(stale.status, 0);
  EXPECT_THAT(stale.text(), HasSubstr("student has no result in store (params.steps: 30 -> 31); "
                                      "make it with: puzzle run graph.json --set student.steps=31 "
                                      "--until student"));
  const std::pair<const char*, const char*> mistakes[] = {
      {"graph.json:choice", "choice makes a choice, not a checkpoint"},
      {"graph.json:blocks", "steps are meant, blocks[layer=0,variant="},
      {"graph.json:studnet", "studnet"}};
  const ProgramResult none = Puzzle(
      {"export", "graph.json:student", "new.gguf", "--format", "gguf", "--precision", "choice"});
  EXPECT_NE(none.status, 0);
  EXPECT_THAT(none.text(), HasSubstr("choice makes a choice, not a precision"));
  for (const auto& [model, message] : mistakes) {
    const ProgramResult refused = Puzzle({"export", model, "other"});
    EXPECT_NE(refused.status, 0) << model;
    EXPECT_THAT(refused.text(), HasSubstr(message));
  }
  EXPECT_FALSE(fs::exists(folder_->path() + "/other"));
}

TEST_F(PipelineTest, TypesThatAGraphChoseMakeTheVeryFileOfTheGraph) {
  folder_->Write("types.json", R"({
    "puzzle": 1,
    "include": { "run": { "file": "graph.json" } },
    "nodes": {
      "ends": { "kind": "precision_score", "foreach": { "part": ["embed", "head"] },
                "in": { "parent": "run/parent", "activations": "run/states" },
                "params": { "part": "${part}", "types": ["f16"] } },
      "inside": { "kind": "precision_score", "foreach": { "layer": [0, 1], "part": ["attn", "ffn"] },
                  "in": { "parent": "run/parent", "activations": "run/states" },
                  "params": { "part": "${part}", "layer": "${layer}", "types": ["f16"] } },
      "types": { "kind": "precision", "in": { "model": "run/parent", "scores": ["ends", "inside"] },
                 "params": { "max": { "file_mib": 1 } } },
      "file": { "kind": "export", "in": { "model": "run/parent", "precision": "types" },
                "params": { "folder": "typed", "format": "gguf" } }
    } })");
  const ProgramResult run = Puzzle({"run", "types.json", "--until", "file"});
  ASSERT_EQ(run.status, 0) << run.text();
  const ProgramResult exported = Puzzle({"export", "types.json:run/parent", "typed.gguf",
                                         "--format", "gguf", "--precision", "types"});
  ASSERT_EQ(exported.status, 0) << exported.text();
  const std::string file = folder_->Read("typed/model.gguf");
  EXPECT_FALSE(file.empty());
  EXPECT_TRUE(folder_->Read("typed.gguf") == file);
}

TEST_F(PipelineTest, ExportsDestroyNothingAndSayWhatIsWrong) {
  folder_->Write("text.txt", "words");
  fs::create_directory(folder_->path() + "/mine");
  folder_->Write("mine/text.txt", "words");
  const auto refused = [](const std::vector<std::string>& arguments, const std::string& message) {
    std::vector<std::string> args = {"export"};
    args.insert(args.end(), arguments.begin(), arguments.end());
    const ProgramResult result = Puzzle(args);
    EXPECT_NE(result.status, 0);
    EXPECT_THAT(result.text(), HasSubstr(message));
  };
  refused({"out", "out"}, "is the model itself");
  refused({"out", "mine"}, "holds files and no config.json");
  refused({"out", "text.txt"}, "is no folder");
  refused({"out", "new.gguf"}, "add --format gguf");
  refused({"out", "text.txt", "--format", "gguf"}, "is no GGUF file");
  refused({"out", "mine", "--format", "gguf"}, "is a folder; give a file");
  refused({"out", "new", "--dtype", "q8_0"}, "a Hugging Face folder holds f32, f16 or bf16");
  refused({"out", "new", "--dtype", "q9"}, "q9");
  refused({"out", "new", "--type", "ffn=q8_0"}, "--type needs --format gguf");
  refused({"out", "new", "--precision", "x"}, "--precision needs --format gguf");
  refused({"out", "new.gguf", "--format", "gguf", "--type", "ffn"}, "expected PART=TYPE");
  refused({"out", "new.gguf", "--format", "gguf", "--precision", "x"}, "has to be the model");
  refused({"out", "new.gguf", "--format", "gguf", "--precision", "x", "--dtype", "f16"},
          "leave --dtype and --type out");
  refused({"nowhere", "new"}, "nowhere");
  EXPECT_EQ(folder_->Read("text.txt"), "words");
  EXPECT_EQ(folder_->Read("mine/text.txt"), "words");
  EXPECT_FALSE(fs::exists(folder_->path() + "/new"));
}

TEST_F(PipelineTest, EvalTakesSubBlocksAndBlocksOut) {
  folder_->Write("text.txt", std::string(4000, 'a') + "\n<|endoftext|>\nTom saw a cat.");
  auto without = [&](const std::vector<std::string>& removed) {
    std::vector<std::string> args = {"eval", "out",         "--text", "text.txt", "--parent",
                                     "out",  "--positions", "100",    "--json"};
    for (const std::string& part : removed) args.insert(args.end(), {"--without", part});
    return Puzzle(args);
  };
  const json whole = json::parse(without({}).out);
  EXPECT_NEAR(whole["kl"].get<double>(), 0, 1e-6);
  const json one = json::parse(without({"block:1"}).out);
  EXPECT_EQ(one, json::parse(without({"attn:1", "ffn:1"}).out));
  EXPECT_GT(one["nmse"].get<double>(), 0.01);
  EXPECT_GT(one["nmse_tensor_se"].get<double>(), 0);
  // Without any block the logits are those of the embeddings; nothing is left to take out.
  const json none = json::parse(without({"block:0", "block:1"}).out);
  EXPECT_EQ(none, json::parse(without({"block:0", "block:1", "ffn:0"}).out));
  for (const char* wrong : {"attn:9", "block:2", "block:1x", "block", "mlp:1"}) {
    const ProgramResult refused = without({wrong});
    EXPECT_EQ(refused.status, 1) << wrong;
    EXPECT_THAT(refused.text(), HasSubstr(std::string("--without ") + wrong +
                                          ": expected attn:LAYER, ffn:LAYER or block:LAYER"));
  }
}

TEST_F(PipelineTest, AnExportThatWasDeletedIsWrittenAgain) {
  fs::remove_all(folder_->path() + "/out");
  const ProgramResult run = Run({});
  ASSERT_EQ(run.status, 0) << run.text();
  EXPECT_GE(Summary()["steps"]["ran"].get<int>(), 1);
  EXPECT_TRUE(fs::exists(folder_->path() + "/out/model.safetensors"));
}

}  // namespace
}  // namespace puzzle::testing
