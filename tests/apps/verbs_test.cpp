// What the verbs over models offer, word by word: scripts and the documentation rely on names,
// types and defaults of options.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/apps/program_folder.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;

// Without the columns.
std::string OneLine(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool is_blank = c == ' ' || c == '\n';
    if (!is_blank) line += c;
    if (is_blank && !line.empty() && line.back() != ' ') line += ' ';
  }
  return line;
}

TEST(VerbsTest, OptionsHaveTheirNamesTypesAndDefaults) {
  struct Verb {
    const char* name;
    std::vector<std::string> options;
  };
  const Verb verbs[] = {
      {"generate",
       {"MODEL TEXT REQUIRED", "--prompt TEXT ...", "--chat ", "--system TEXT",
        "--tokens INT:POSITIVE=128", "--stop TEXT ...", "--temperature FLOAT:NOT NEGATIVE",
        "--top-k INT:NOT NEGATIVE", "--top-p FLOAT", "--min-p FLOAT", "--repetition-penalty FLOAT",
        "--seed UINT=1", "--dtype TEXT:{fp32,bf16,int8}=fp32", "--batch INT:POSITIVE=8",
        "--device TEXT:DEVICE=cpu", "--threads INT:INT in [0 - 4096]", "--json "}},
      {"bench",
       {"MODEL TEXT ... REQUIRED", "--batch INT:POSITIVE=1", "--prefill INT:POSITIVE=512",
        "--decode INT:POSITIVE=128", "--dtype TEXT:{fp32,bf16,int8}=fp32",
        "--rounds INT:POSITIVE=5", "--threads INT:INT in [0 - 4096]", "--json "}},
      {"export",
       {"MODEL TEXT REQUIRED", "OUT TEXT REQUIRED", "--format TEXT:{hf,dense,anymodel,gguf}=hf",
        "--dtype TEXT:{same,f32,f16,bf16,q8_0,q5_1,q5_0,q4_1,q4_0}=same", "--store TEXT=store",
        "--set TARGET=VALUE ..."}},
      {"eval",
       {"MODEL TEXT REQUIRED", "--text TEXT", "--tasks TEXT ...", "--task-data TEXT=data/eval",
        "--limit INT:NOT NEGATIVE", "--parent TEXT", "--without TEXT ...",
        "--positions INT:NOT NEGATIVE", "--length INT:NOT NEGATIVE",
        "--separator TEXT=<|endoftext|>", "--batch INT:POSITIVE=8", "--device TEXT:DEVICE=cpu",
        "--compute TEXT:{fp32,bf16}=fp32", "--threads INT:INT in [0 - 4096]", "--json "}},
      {"search",
       {"LIBRARY TEXT REQUIRED",
        "--objective TEXT REQUIRED",
        "--max RESOURCE=LIMIT ...",
        "--min RESOURCE=LIMIT ...",
        "--max-loss LOSS",
        "--minimize RESOURCE",
        "--uniform TEXT:{kv,ffn,all}",
        "--throughput FLOAT:POSITIVE",
        "--batch FLOAT:POSITIVE",
        "--sequence FLOAT:POSITIVE",
        "--solver TEXT:{exact,",
        "=exact",
        "--pool INT:POSITIVE",
        "--distance INT:POSITIVE",
        "--time-limit FLOAT:POSITIVE=60",
        "--seed UINT=1",
        "--sweep TEXT",
        "--svg TEXT Needs: --sweep",
        "--compare ",
        "--json "}},
      {"analyze",
       {"MODEL TEXT REQUIRED", "--budget TEXT=[90%,75%,50%] ...",
        "--batch INT:INT in [1 - 1048576]=8", "--context INT:INT in [2 - 16777216]",
        "--weights TEXT:{fp32,bf16,fp16,fp8}", "--kv TEXT:{fp32,bf16,fp16,fp8}", "--json "}},
      {"init",
       {"MODEL TEXT REQUIRED", "--target TEXT=memory=75%",
        "--preset TEXT:{smoke,balanced,thorough}=balanced", "--text TEXT ...",
        "--batch INT:INT in [1 - 1048576]=8", "--context INT:INT in [2 - 16777216]",
        "--weights TEXT:{fp32,bf16,fp16,fp8}", "--kv TEXT:{fp32,bf16,fp16,fp8}", "--output TEXT",
        "--store TEXT=store"}},
      {"report", {"--output TEXT", "--events TEXT:FILE", "--store TEXT=store", "--set "}}};
  const ProgramFolder puzzle(PUZZLE_PROGRAM);
  for (const Verb& verb : verbs) {
    const ProgramResult help = puzzle.Run({verb.name, "--help"});
    EXPECT_EQ(help.status, 0);
    const std::string text = OneLine(help.out);
    for (const std::string& option : verb.options)
      EXPECT_THAT(text, HasSubstr(option)) << verb.name;
  }
}

TEST(VerbsTest, ValuesOutOfRangeAreRefusedBeforeAnythingIsRead) {
  const ProgramFolder puzzle(PUZZLE_PROGRAM);
  const std::vector<std::string> wrong[] = {
      {"generate", "m", "--tokens", "0"},
      {"generate", "m", "--temperature", "-1"},
      {"generate", "m", "--temperature", "-1e-300"},
      {"generate", "m", "--temperature", "nan"},
      {"generate", "m", "--temperature", "inf"},
      {"generate", "m", "--temperature", "warm"},
      {"generate", "m", "--top-k", "-1"},
      {"generate", "m", "--batch", "0"},
      {"generate", "m", "--dtype", "fp64"},
      {"generate", "m", "--device", "cpu,cpu"},
      {"generate", "m", "--device", "abacus"},
      {"generate", "m", "--threads", "4097"},
      {"generate"},
      {"bench", "m", "--batch", "0"},
      {"bench", "m", "--prefill", "0"},
      {"bench", "m", "--decode", "0"},
      {"bench", "m", "--rounds", "0"},
      {"export", "m"},
      {"export", "m", "out", "--format", "pickle"},
      {"export", "m", "out", "--dtype", "int3"},
      {"eval", "m"},
      {"eval", "m", "--text", "t", "--positions", "-1"},
      {"eval", "m", "--text", "t", "--limit", "-1"},
      {"eval", "m", "--text", "t", "--length", "-1"},
      {"eval", "m", "--text", "t", "--compute", "fp8"},
      {"search", "l.json"},
      {"search", "l.json", "--objective", "kl", "--pool", "0"},
      {"search", "l.json", "--objective", "kl", "--svg", "a.svg"},
      {"search", "l.json", "--objective", "kl", "--time-limit", "0"},
      {"search", "l.json", "--objective", "kl", "--time-limit", "inf"},
      {"analyze", "m", "--context", "1"},
      {"init", "m", "--preset", "huge"}};
  for (const std::vector<std::string>& words : wrong) {
    const ProgramResult refused = puzzle.Run(words);
    std::string command;
    for (const std::string& word : words) command += word + " ";
    EXPECT_EQ(refused.status, 2) << command << refused.err;
    EXPECT_EQ(refused.out, "") << command;
    EXPECT_EQ(CountOf("\n", refused.err) > 0, true) << command;
  }
}

// Options that may be given several times take a word each: what follows is the verb's.
TEST(VerbsTest, AnOptionLeavesTheNextWordToTheVerb) {
  const ProgramFolder puzzle(PUZZLE_PROGRAM);
  puzzle.Write("t.txt", "Once upon a time.");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"generate", "--prompt", "a", "none"},
        {"generate", "--prompt", "a", "--stop", "b", "none"},
        {"init", "--text", "t.txt", "none"},
        {"export", "--format", "gguf", "--type", "attn=q8_0", "none", "out.gguf"},
        {"search", "--objective", "kl", "--max", "parameters=90%", "none"},
        {"search", "--objective", "kl", "--max", "parameters=90%", "--min", "parameters=1%",
         "none"}}) {
    const ProgramResult refused = puzzle.Run(words);
    EXPECT_NE(refused.status, 0);
    EXPECT_THAT(refused.err, HasSubstr("none")) << words[0] << words[1] << ": it has its argument";
  }
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"generate", "none", "--prompt", "a", "b"},
        {"generate", "none", "--stop", "a", "b"},
        {"init", "none", "--text", "t.txt", "b"},
        {"export", "none", "out", "--type", "attn=q8_0", "b"},
        {"export", "none", "out", "--set", "a.b=1", "b"},
        {"search", "none", "--objective", "kl", "--max", "parameters=90%", "b"},
        {"search", "none", "--objective", "kl", "--min", "parameters=1%", "b"}}) {
    const ProgramResult refused = puzzle.Run(words);
    EXPECT_EQ(refused.status, 2) << words[0] << words[2];
    EXPECT_THAT(refused.err, HasSubstr("not expected: b")) << words[0] << words[2];
  }
}

TEST(VerbsTest, ZeroIsANumberWhereItMeansNoneOrAll) {
  const ProgramFolder puzzle(PUZZLE_PROGRAM);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"generate", "none", "--temperature", "0"},
        {"generate", "none", "--top-k", "0"},
        {"eval", "none", "--text", "t", "--positions", "0"},
        {"search", "none", "--objective", "kl", "--time-limit", "1e-300"}}) {
    const ProgramResult refused = puzzle.Run(words);
    EXPECT_NE(refused.status, 0);
    EXPECT_THAT(refused.err, HasSubstr("none")) << "it got as far as that name";
  }
}

}  // namespace
}  // namespace puzzle::testing
