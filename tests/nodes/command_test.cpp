#include "nodes/data/command.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "io/error.h"
#include "io/file.h"
#include "io/hdf5_archive.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/kinds.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Remembers its scratch folder and what was shown; stops the step when a line says so.
class WatchingContext final : public FakeContext {
 public:
  void Poll(double fraction, std::string_view note) override {
    if (!note.empty()) notes.emplace_back(note);
    if (fraction > 0) last_fraction = fraction;
    if (note == "stop me") throw Cancelled();
  }
  std::string ScratchPath() override { return scratch = FakeContext::ScratchPath() + ".command"; }

  std::vector<std::string> notes;
  double last_fraction = 0;
  std::string scratch;
};

class CommandTest : public testing::Test {
 protected:
  // Runs, and opens what was saved.
  CommandResult Run(const CommandParams& params) {
    const std::string path = folder_ / (std::to_string(++runs_) + ".h5");
    auto archive = Hdf5Format().create(path);
    RunCommand(params, inputs_, context_, *archive);
    archive->Close();
    reader_ = Hdf5Format().open(path);
    return CommandResult::Load(reader_);
  }
  std::string Failure(const CommandParams& params) {
    try {
      (void)Run(params);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  std::string Attribute(const char* name) { return reader_->Attribute(name); }
  // A file of the result.
  std::string Content(const CommandResult& result, const std::string& name) {
    result.WriteTo(folder_.path());
    return ReadWholeFile(folder_ / name, 1 << 20);
  }

  TempFolder folder_;
  FakeInputs inputs_;
  WatchingContext context_;
  std::shared_ptr<const ArchiveReader> reader_;
  int runs_ = 0;
};

CommandParams Shell(const std::string& script) {
  CommandParams params;
  params.arguments = {"sh", "-c", script};
  return params;
}

// What is wrong with a command is said when the graph is checked.
TEST(CommandKindTest, CommandsAreCheckedBeforeARun) {
  const auto complaint = [](const CommandParams& params) -> std::string {
    std::string said;
    for (const NodeKind& kind : DataKinds()) {
      if (kind.name != "command" && kind.name != "timed_command") continue;
      const auto found = kind.check(&params);
      said += found.value_or("good") + '\n';
    }
    return said;
  };
  CommandParams params;
  EXPECT_THAT(complaint(params), HasSubstr("begins with the program\n"));
  params.arguments = {""};
  EXPECT_THAT(complaint(params), HasSubstr("begins with the program\n"));
  params.arguments = {"true"};
  EXPECT_EQ(complaint(params), "good\ngood\n");
  params.environment = {{"NAME", "text"}};
  EXPECT_EQ(complaint(params), "good\ngood\n");
  for (const json& wrong : {json({{"NAME", 1}}), json({{"", "text"}}), json({{"A=B", "text"}})}) {
    params.environment = wrong;
    EXPECT_THAT(complaint(params), HasSubstr("environment is an object of texts: \"")) << wrong;
  }
  params.environment = json::array({"NAME"});
  EXPECT_THAT(complaint(params), HasSubstr("environment is an object of texts\n"));
}

TEST_F(CommandTest, FiguresOfAJsonFileAreScalarsOfTheResult) {
  CommandParams params =
      Shell(R"(echo '{"results": {"arc": {"acc,none": 0.25, "n": 4}}, "ok": true, "none": null,
                      "list": [1, "two"]}' > "$1/figures.json"; echo done; echo note >&2)");
  params.arguments.insert(params.arguments.end(), {"sh", "{out}"});
  params.figures = "figures.json";
  const CommandResult result = Run(params);
  EXPECT_EQ(result.figures(), json({{"results.arc.acc,none", 0.25},
                                    {"results.arc.n", 4},
                                    {"ok", true},
                                    {"list.0", 1},
                                    {"list.1", "two"}}));
  EXPECT_EQ(reader_->Attribute("results.arc.acc,none"), 0.25);
  EXPECT_EQ(Attribute("stdout"), "done\n");
  EXPECT_EQ(Attribute("stderr"), "note\n");
  EXPECT_THAT(Attribute("display"), HasSubstr("results.arc.n"));
  EXPECT_THAT(result.files(), ElementsAre());
  EXPECT_FALSE(fs::exists(context_.scratch)) << "its folder goes";
}

TEST_F(CommandTest, FiguresMayComeFromStandardOutput) {
  CommandParams params = Shell("echo '{\"a\": 1}'");
  params.figures = "stdout";
  EXPECT_EQ(Run(params).figures(), json({{"a", 1}}));
}

TEST_F(CommandTest, DeclaredFilesAndFoldersAreTheResultAndOthersAreNot) {
  CommandParams params = Shell(
      "cd \"$0\"; mkdir -p model/sub logs; printf weights > model/sub/w; printf c > model/c;"
      "printf one > results_1.txt; printf junk > logs/junk");
  params.arguments.emplace_back("{out}");
  params.outputs = {"model", "results_*.txt"};
  const CommandResult result = Run(params);
  EXPECT_THAT(result.files(), ElementsAre("model/c", "model/sub/w", "results_1.txt"));
  EXPECT_EQ(Content(result, "model/sub/w"), "weights");
  EXPECT_EQ(Content(result, "results_1.txt"), "one");
}

TEST_F(CommandTest, AFileOfAResultIsBytes) {
  const std::string path = folder_ / "crafted.h5";
  const auto archive = Hdf5Format().create(path);
  const std::vector<uint16_t> numbers(8);
  archive->SetAttribute("figures", json::object());
  archive->Write("file/a", {DType::kU16, {8}, numbers.data()});
  archive->Close();
  const CommandResult result = CommandResult::Load(Hdf5Format().open(path));
  EXPECT_THAT(ErrorOf([&] { result.WriteTo(folder_.path()); }),
              HasSubstr("array \"file/a\" is u16 of shape [8], expected u8 of shape [8]"));
}

TEST_F(CommandTest, InputsAreFilesAndFoldersThatOtherProgramsRead) {
  TokenSet tokens;
  tokens.ids = {1, 2, 3, 4, 5, 70000};
  tokens.length = 3;
  const std::string generation = R"({"eos_token_id": 7})";
  inputs_.Add("model", "m", Checkpoint{TinyModel(), MakeByteTokenizer()->files(), generation, {}})
      .Add("tokens", "t", tokens)
      .Add("text", "x", TextArtifact{"some text"});
  CommandParams params;
  params.arguments = {"sh",
                      "-c",
                      "set -e; cp \"$1\" \"$4\"/tokens.npy; cp \"$2\" \"$4\"/text; "
                      "cp -r \"$3\" \"$4\"/model; pwd > \"$4\"/pwd; echo '{x} {}' > \"$4\"/braces",
                      "sh",
                      "{tokens}",
                      "{text}",
                      "{model}",
                      "{out}"};
  params.outputs = {"*"};
  const CommandResult result = Run(params);
  EXPECT_EQ(Content(result, "text"), "some text");
  EXPECT_EQ(Content(result, "braces"), "{x} {}\n") << "other braces mean themselves";
  EXPECT_EQ(Content(result, "pwd"), context_.scratch + "\n");
  const std::string npy = Content(result, "tokens.npy");
  ASSERT_EQ(npy.size(), 128 + 24u);
  EXPECT_EQ(npy.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_EQ(npy[8] + 256 * npy[9], 118);
  EXPECT_THAT(npy, HasSubstr("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"));
  EXPECT_EQ(npy.substr(128 + 20), std::string("\x70\x11\x01\x00", 4));
  EXPECT_EQ(LoadCheckpoint(folder_ / "model").config.blocks, TinyConfig().blocks);
  // The folder is what `export` would write.
  EXPECT_EQ(Content(result, "model/generation_config.json"), generation);
  EXPECT_THAT(Content(result, "model/tokenizer.json"), HasSubstr("\"BPE\""));
  EXPECT_THAT(result.files(), testing::Contains("model/byte_tokenizer.json"));

  inputs_ = FakeInputs();
  inputs_.Add("result", "r", result);
  params.arguments = {"sh", "-c", "cat \"$0/text\" \"$0/figures.json\"", "{result}"};
  params.outputs.clear();
  (void)Run(params);
  EXPECT_THAT(Attribute("stdout"), HasSubstr("some text"));
}

TEST_F(CommandTest, ScriptAndEnvironmentReachTheProgram) {
  WriteWholeFile(folder_ / "script.sh", "echo \"$GREETING $WHERE\"");
  CommandParams params;
  params.arguments = {"sh", "{script}"};
  params.script = folder_ / "script.sh";
  params.environment = {{"GREETING", "hello"}, {"WHERE", "{device}"}};
  (void)Run(params);
  EXPECT_EQ(Attribute("stdout"), "hello cpu\n");
}

TEST_F(CommandTest, AFailureSaysWhichAndShowsTheEndOfStandardError) {
  CommandParams fails;
  fails.arguments = {"false"};
  EXPECT_EQ(Failure(fails), "\"false\" ended with exit status 1");
  const std::string lines =
      Failure(Shell("i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i >&2; done; exit 7"));
  EXPECT_THAT(lines, HasSubstr("exit status 7; the end of its standard error:\nline 31\n"));
  EXPECT_THAT(lines, testing::EndsWith("line 50"));
  EXPECT_THAT(Failure(Shell("echo why; exit 1")), HasSubstr("standard output:\nwhy"));
  EXPECT_THAT(Failure(Shell("kill -9 $$")), HasSubstr("ended by signal 9 (Killed)"));
  fails.arguments = {"no-such-program-of-ours"};
  EXPECT_THAT(Failure(fails), HasSubstr("there is no program \"no-such-program-of-ours\""));
}

TEST_F(CommandTest, WhatWasDeclaredAndIsNotThereIsAFailure) {
  CommandParams params = Shell("touch \"$0\"/other");
  params.arguments.emplace_back("{out}");
  params.outputs = {"model"};
  EXPECT_EQ(Failure(params), "the program left no \"model\" in {out}; it left \"other\"");
  params = Shell("ln -s /etc/passwd \"$0\"/link");
  params.arguments.emplace_back("{out}");
  params.outputs = {"link"};
  EXPECT_THAT(Failure(params), HasSubstr("is no plain file"));
}

TEST_F(CommandTest, GarbageIsNoFiguresAndDoesNotReachTheTerminal) {
  CommandParams params = Shell(R"(printf '\033[2Jred\377\376\000 bell\007')");
  (void)Run(params);
  EXPECT_EQ(Attribute("stdout"), "[2Jred\xEF\xBF\xBD\xEF\xBF\xBD bell");
  params.figures = "stdout";
  EXPECT_EQ(Failure(params), "standard output is no JSON");
  params = Shell("echo '{\"loss\": NaN}'");
  params.figures = "stdout";
  EXPECT_THAT(Failure(params), HasSubstr("it has NaN or Infinity, which JSON has not"));
}

TEST_F(CommandTest, AGigabyteOfOutputIsBoundedInTheRecord) {
  CommandParams params = Shell("head -c 1073741824 /dev/zero | tr '\\0' x; echo; echo end");
  (void)Run(params);
  const std::string text = Attribute("stdout");
  EXPECT_LT(text.size(), 4096u) << "small enough for the record";
  EXPECT_THAT(text, HasSubstr("[1073740805 bytes left out]"));
  EXPECT_THAT(text, testing::EndsWith("end\n"));
}

TEST_F(CommandTest, AStopEndsTheProgramAndItsChildren) {
  const std::string pid = folder_ / "pid";
  EXPECT_THROW(
      Run(Shell("sleep 100 & echo $! > " + pid + "; echo 'at 40%'; sleep 0.3; echo stop me; wait")),
      Cancelled);
  EXPECT_DOUBLE_EQ(context_.last_fraction, 0.4);
  const std::string state = "/proc/" + std::to_string(std::stoi(ReadWholeFile(pid, 100)));
  for (int i = 0; i < 500 && fs::exists(state); ++i) ::usleep(10000);
  EXPECT_FALSE(fs::exists(state));
  EXPECT_FALSE(fs::exists(context_.scratch));
}

TEST(FiguresTest, OnlySensibleDocumentsAreFigures) {
  EXPECT_EQ(FiguresIn("{}", "f"), json::object());
  EXPECT_THROW((void)FiguresIn("3", "f"), Error);
  EXPECT_THROW((void)FiguresIn("", "f"), Error);
  EXPECT_THROW((void)FiguresIn("{\"picture_svg\": \"<svg/>\"}", "f"), Error);
  json many = json::array();
  for (int i = 0; i < 1000; ++i) many.push_back(i);
  EXPECT_EQ(FiguresIn(many.dump(), "f").size(), 1000u);
  many.push_back(1);
  EXPECT_THROW((void)FiguresIn(many.dump(), "f"), Error);
}

TEST(FiguresTest, ADocumentThatIsNestedTooDeepIsRefused) {
  EXPECT_EQ(FiguresIn("[[[[1]]]]", "f").size(), 1u);
  constexpr size_t kLevels = 2'000'000;
  const std::string deep = std::string(kLevels, '[') + "1" + std::string(kLevels, ']');
  EXPECT_THAT(ErrorOf([&] { (void)FiguresIn(deep, "standard output"); }),
              HasSubstr("standard output is nested more than 200 levels deep"));
}

}  // namespace
}  // namespace puzzle
