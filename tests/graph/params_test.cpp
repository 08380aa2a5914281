// Types and conditions of parameters.
#include "graph/kind/params.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/kind/unkeyed_as.h"
#include "graph/store/files.h"
#include "graph/store/seal.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;

struct BadParam {
  const char* name;
  const char* params;
  const char* message;
};

class BadParamTest : public GraphTest, public ::testing::WithParamInterface<BadParam> {};

TEST_P(BadParamTest, IsRefused) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "every", "params": )" +
       std::string(GetParam().params) + "}}}");
  EXPECT_THAT(Problems(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadParamTest,
    ::testing::Values(
        BadParam{"Missing", "{}", "/nodes/s/params: required parameter \"required\" is missing"},
        BadParam{"HalfInteger", R"({"required": 1, "integer": 1.5})",
                 "/nodes/s/params/integer: expected integer, got 1.5"},
        BadParam{"HugeInteger", R"({"required": 1, "integer": 18446744073709551615})",
                 "expected integer"},
        BadParam{"TextForNumber", R"({"required": "1"})", "expected number, got \"1\""},
        BadParam{"NumberForText", R"({"required": 1, "text": 3})", "expected text, got 3"},
        BadParam{"NumberForBoolean", R"({"required": 1, "boolean": 0})", "expected boolean, got 0"},
        BadParam{"NullForNumber", R"({"required": null})", "expected number, got null"},
        BadParam{"ScalarForList", R"({"required": 1, "integers": 3})",
                 "expected list of integers, got 3"},
        BadParam{"MixedList", R"({"required": 1, "texts": ["x", 1]})", "expected list of texts"},
        BadParam{"TooLow", R"({"required": 1, "number": -0.5})", "must be at least 0, got -0.5"},
        BadParam{"TooHigh", R"({"required": 1, "integer": 11})",
                 "must be between 0 and 10, got 11"},
        BadParam{"ElementTooLow", R"({"required": 1, "integers": [1, 0]})",
                 "must be at least 1, got 0"},
        BadParam{"NotAnOption", R"({"required": 1, "text": "alhpa"})",
                 "must be one of \"alpha\", \"beta\", \"a\", got \"alhpa\" (did you mean "
                 "\"alpha\"?)"},
        BadParam{"ElementNotAnOption", R"({"required": 1, "texts": ["z"]})",
                 "must be one of \"x\", \"y\""},
        BadParam{"AcrossParameters", R"({"required": 1, "number": 101})",
                 "/nodes/s/params: a number above 100 needs boolean"}),
    [](const auto& info) { return info.param.name; });

class ParamsTest : public GraphTest {};

TEST_F(ParamsTest, GoodValuesOfEveryTypeAreTaken) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "every", "params": {
    "integer": 3.0, "number": 2, "boolean": true, "text": "beta", "integers": [1, 2.0],
    "numbers": [1, 0.5], "texts": ["y", "x"], "json": {"b": [1.0], "a": null},
    "required": 1e-4}}}})");
  Plan();
  EXPECT_EQ(plan_->steps[0].params.keyed,
            R"({"boolean":true,"integer":3,"integers":[1,2],"json":{"a":null,"b":[1]},"number":2,)"
            R"("numbers":[1,0.5],"required":1e-4,"text":"beta","texts":["y","x"]})");
}

TEST_F(ParamsTest, ATextFromAVariableOrTheCommandLineMayLookLikeANumber) {
  Load(R"({"puzzle": 1, "vars": {"n": 3}, "nodes": {
    "a": {"kind": "text", "params": {"value": "${n}", "display": "x"}},
    "b": {"kind": "text", "params": {"value": "y"}}}})");
  Set("b.value=1.0");
  Run();
  EXPECT_EQ(TextOf("a"), "3");
  EXPECT_EQ(TextOf("b"), "1.0");  // as it was typed
}

TEST_F(ParamsTest, AllMistakesOfANodeAreReported) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "every", "params": {
    "integer": 99, "number": "x", "tetx": 1, "text": "zzzzzz"}}}})");
  const std::string problems = Problems();
  EXPECT_EQ(std::count(problems.begin(), problems.end(), '\n'), 5) << problems;
}

TEST_F(ParamsTest, FilesEnterByContentNotByName) {
  std::ofstream(folder() + "/one") << "hello";
  std::ofstream(folder() + "/two") << "hello";
  Load(R"({"puzzle": 1, "nodes": {"f": {"kind": "file", "params": {"path": ")" + folder() +
       R"(/one"}}}})");
  Run();
  EXPECT_EQ(ran(), Steps("f"));
  Set("f.path=" + folder() + "/two");
  Run();
  EXPECT_EQ(ran(), Steps());
  std::ofstream(folder() + "/two") << "other";
  Run();
  EXPECT_EQ(ran(), Steps("f"));
  EXPECT_EQ(observer_.reasons["f"], "params.path: content of " + folder() + "/two changed");
  EXPECT_EQ(TextOf("f"), "other");
}

struct TextsParams {
  std::string text;
  std::vector<std::string> texts;
  std::vector<double> weights;
  std::string mode = "plain";
};

/// A kind that got `texts`, `weights` and `mode` after results had been made.
NodeKind TextsKind() {
  return Kind<TextsParams>("texts", 1, "Reads files.")
      .Param("text", &TextsParams::text, {InputFile()}, "one")
      .Param("texts", &TextsParams::texts, {InputFile(), UnkeyedAs("")}, "several")
      .Param("weights", &TextsParams::weights, {UnkeyedAs("")}, "of them")
      .Param("mode", &TextsParams::mode, {UnkeyedAs("plain")}, "how")
      .Out("text");
}

TEST_F(ParamsTest, AListOfFilesEntersByContentInItsOrder) {
  std::ofstream(folder() + "/one") << "1";
  std::ofstream(folder() + "/two") << "2";
  FileDigester files("");
  const NodeKind kind = TextsKind();
  const auto bind = [&](const std::string& texts, std::vector<ParamMistake>& mistakes) {
    const auto given = nlohmann::ordered_json::parse(texts);
    return ParamBinder(kind, &files).Bind({nullptr, &given, nullptr, nullptr}, mistakes);
  };
  const std::string one = folder() + "/one", two = folder() + "/two";
  std::vector<ParamMistake> mistakes;
  const BoundParams bound = bind("[\"" + one + "\", \"" + two + "\"]", mistakes);
  EXPECT_EQ(bound.keyed, R"({"text":"","texts":[{"content":")" + files.File(one) +
                             R"("},{"content":")" + files.File(two) + R"("}]})");
  EXPECT_EQ(bound.inputs.size(), 2u);  // both are watched while a step reads them
  ASSERT_EQ(bound.input_paths.size(), 3u);
  EXPECT_EQ(bound.input_paths[2], (std::pair<std::string, std::string>{"texts", two}));
  EXPECT_NE(bind("[\"" + two + "\", \"" + one + "\"]", mistakes).keyed, bound.keyed);
  EXPECT_TRUE(mistakes.empty());
  (void)bind("[\"" + one + "\", \"no/such\"]", mistakes);
  ASSERT_EQ(mistakes.size(), 1u);
  EXPECT_THAT(mistakes[0].message, HasSubstr("\"no/such\": No such file"));
}

TEST_F(ParamsTest, AParameterThatCameLaterLeavesOldKeysAsTheyWere) {
  const NodeKind kind = TextsKind();
  std::vector<ParamMistake> mistakes;
  const auto keyed = [&](const char* weights, const char* mode) {
    const auto given = nlohmann::ordered_json::parse(weights);
    const nlohmann::ordered_json how = mode;
    return ParamBinder(kind, nullptr).Bind({nullptr, nullptr, &given, &how}, mistakes).keyed;
  };
  EXPECT_EQ(keyed("[]", "plain"), R"({"text":""})");
  EXPECT_EQ(keyed("[2]", "plain"), R"({"text":"","weights":[2]})");
  EXPECT_EQ(keyed("[]", "odd"), R"({"mode":"odd","text":""})");
  EXPECT_TRUE(mistakes.empty());
}

TEST_F(ParamsTest, MissingFilesAreDiagnostics) {
  Load(R"({"puzzle": 1, "nodes": {
    "f": {"kind": "file", "params": {"path": "no/such"}},
    "d": {"kind": "folder", "params": {"path": "no/such"}}}})");
  const std::string problems = Problems();
  EXPECT_THAT(problems, HasSubstr("/nodes/f/params/path: "));
  EXPECT_THAT(problems, HasSubstr("/nodes/d/params/path: "));
  EXPECT_THAT(problems, HasSubstr("\"no/such\""));
  EXPECT_THAT(problems, HasSubstr("No such file or directory"));
}

TEST_F(ParamsTest, AFolderThatIsNotWhatItShouldBeIsADiagnostic) {
  std::filesystem::create_directory(folder() + "/d");
  std::ofstream(folder() + "/d/b") << "x";
  Load(R"({"puzzle": 1, "nodes": {"d": {"kind": "folder", "params": {"path": ")" + folder() +
       R"(/d"}}}})");
  EXPECT_THAT(Problems(), HasSubstr("has no file \"a\""));
  std::ofstream(folder() + "/d/a") << "x";
  Run();
  EXPECT_EQ(ran(), Steps("d"));
  std::ofstream(folder() + "/d/b") << "the digest does not look at this";
  Run();
  EXPECT_EQ(cached(), Steps("d"));
}

TEST_F(ParamsTest, DigestsAreRememberedUntilTheFileChanges) {
  const std::string path = folder() + "/data";
  std::ofstream(path) << "hello";
  const auto old = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  std::filesystem::last_write_time(path, old);
  // The change time cannot be set back, so the memo only counts once the file is old enough.
  ::usleep(80'000);
  std::string first;
  int digests = 0;
  const auto digest = [&](const std::string&) {
    ++digests;
    return std::string("d") + std::to_string(digests);
  };
  std::filesystem::create_directory(folder() + "/d");
  std::filesystem::rename(path, folder() + "/d/data");
  ::usleep(80'000);
  for (int i = 0; i < 3; ++i) {
    FileDigester files(folder() + "/memo");
    EXPECT_EQ(files.Folder(folder() + "/d", "id", digest), "d1");
    EXPECT_EQ(files.Folder(folder() + "/d", "id", digest), "d1");
  }
  EXPECT_EQ(digests, 1);
  std::ofstream(folder() + "/d/data") << "HELLO";
  FileDigester files(folder() + "/memo");
  EXPECT_EQ(files.Folder(folder() + "/d", "id", digest), "d2");
  EXPECT_EQ(FileDigester(folder() + "/memo").Folder(folder() + "/d", "other id", digest), "d3");
}

TEST_F(ParamsTest, ALinkToNothingIsNoFileOfAFolder) {
  std::filesystem::create_directory(folder() + "/d");
  std::ofstream(folder() + "/d/data") << "hello";
  const InputSignature before = SignatureOf(folder() + "/d", /*is_folder=*/true);
  std::filesystem::create_symlink("somebody@somewhere.7", folder() + "/d/.#data");
  const InputSignature after = SignatureOf(folder() + "/d", /*is_folder=*/true);
  EXPECT_EQ(after.bytes, 5u);
  EXPECT_EQ(after.text, before.text);
}

TEST_F(ParamsTest, AFolderBehindALinkBelongsToAFolder) {
  std::filesystem::create_directories(folder() + "/elsewhere");
  std::ofstream(folder() + "/elsewhere/rows") << "hello";
  std::filesystem::create_directory(folder() + "/d");
  std::filesystem::create_directory_symlink("../elsewhere", folder() + "/d/task");
  std::filesystem::create_directory_symlink(".", folder() + "/d/same");  // which has no end
  std::filesystem::create_directory_symlink("../d", folder() + "/elsewhere/back");
  const InputSignature before = SignatureOf(folder() + "/d", /*is_folder=*/true);
  EXPECT_EQ(before.bytes, 5u);
  std::ofstream(folder() + "/elsewhere/rows") << "hello again";
  EXPECT_NE(SignatureOf(folder() + "/d", /*is_folder=*/true).text, before.text);
  Seal seal;
  EXPECT_TRUE(AddPath(folder() + "/d", /*is_folder=*/true, FileClock_ns() + 1'000'000'000, seal));
  EXPECT_TRUE(std::any_of(seal.paths.begin(), seal.paths.end(), [&](const SealedPath& sealed) {
    return sealed.path == folder() + "/d/task/rows";
  }));
}

TEST_F(ParamsTest, WhatIsTooLargeIsReadOnlyIfItIsRemembered) {
  std::filesystem::create_directory(folder() + "/d");
  std::ofstream(folder() + "/d/a") << "123";
  std::ofstream(folder() + "/d/b") << "4567";
  ::usleep(80'000);  // until the times tell every change
  int digests = 0;
  const auto digest = [&](const std::string&) {
    ++digests;
    return std::string("known");
  };
  {
    FileDigester files(folder() + "/memo", 6);
    const std::string unread = files.Folder(folder() + "/d", "id", digest);
    EXPECT_NE(unread, "known");
    EXPECT_EQ(files.Folder(folder() + "/d", "id", digest), unread);
    ASSERT_EQ(files.unread().size(), 1u);
    EXPECT_EQ(files.unread()[0].path, folder() + "/d");
    EXPECT_EQ(files.unread()[0].bytes, 7u);
    EXPECT_EQ(digests, 0);
  }
  EXPECT_EQ(FileDigester(folder() + "/memo", 7).Folder(folder() + "/d", "id", digest), "known");
  FileDigester files(folder() + "/memo", 6);
  EXPECT_EQ(files.Folder(folder() + "/d", "id", digest), "known");
  EXPECT_TRUE(files.unread().empty());
  EXPECT_EQ(digests, 1);
}

TEST_F(ParamsTest, OutputFoldersAreMadeAgainWhenAFileIsGone) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "params": {"value": "v"}},
           "e": {"kind": "export", "in": {"in": "t"}, "params": {"path": ")" +
       folder() + R"(/out"}}}})");
  Run();
  Run();
  EXPECT_EQ(ran(), Steps());
  std::filesystem::remove(folder() + "/out/out.txt");
  EXPECT_THAT(Forecasts()[1], HasSubstr("RUN e: output file " + folder() + "/out/out.txt is gone"));
  Run();
  EXPECT_EQ(ran(), Steps("e"));
  EXPECT_TRUE(std::filesystem::exists(folder() + "/out/out.txt"));
  Run();
  EXPECT_EQ(ran(), Steps());
  Set("e.path=" + folder() + "/elsewhere");
  Run();
  EXPECT_EQ(ran(), Steps("e"));
  EXPECT_TRUE(std::filesystem::exists(folder() + "/elsewhere/out.txt"));
}

TEST_F(ParamsTest, OutputFoldersAreMadeAgainWhenAnotherResultOverwroteThem) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "params": {"value": "v"}},
           "e": {"kind": "export", "in": {"in": "t"}, "params": {"path": ")" +
       folder() + R"(/out"}}}})");
  const std::string path = folder() + "/out/out.txt";
  const auto text = [&] {
    std::ifstream file(path);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  Run();
  Set("t.value=w");
  Run();
  EXPECT_EQ(text(), "w");  // as long as before
  // Later than the grain of time stamps.
  std::filesystem::last_write_time(
      path, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(1));
  ClearSettings();
  EXPECT_THAT(Forecasts()[1], HasSubstr("RUN e: output file " + path + " is of another result"));
  Run();
  EXPECT_EQ(ran(), Steps("e"));
  EXPECT_EQ(text(), "v");
  Run();
  EXPECT_EQ(ran(), Steps());
}

TEST_F(ParamsTest, AResultThatRefersToAFileIsMadeAgainWhereTheFileWent) {
  std::ofstream(folder() + "/one") << "hello";
  Load(R"({"puzzle": 1, "nodes": {
    "r": {"kind": "refer", "params": {"path": ")" +
       folder() + R"(/one"}}, "c": {"kind": "characters", "in": {"in": "r"}}}})");
  Run();
  EXPECT_EQ(ran(), Steps("r", "c"));
  EXPECT_EQ(TextOf("c"), "5");
  std::filesystem::copy(folder() + "/one", folder() + "/two");
  Set("r.path=" + folder() + "/two");
  Run();
  EXPECT_EQ(ran(), Steps());  // what it refers to is still there
  std::filesystem::remove(folder() + "/one");
  EXPECT_THAT(
      Forecasts()[0],
      HasSubstr("RUN r: what it refers to is not where it was: " + folder() + "/one is gone"));
  Run();
  EXPECT_EQ(ran(), Steps("r"));  // with the same content: nothing downstream runs
  Run();
  EXPECT_EQ(ran(), Steps());
  std::ofstream(folder() + "/two") << "longer";
  Run();
  EXPECT_EQ(ran(), Steps("r", "c"));
  EXPECT_EQ(TextOf("c"), "6");
}

}  // namespace
}  // namespace puzzle::testing
