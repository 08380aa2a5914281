// Documents of files, folders and mixtures.
#include "nodes/data/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "graph/kind/params.h"
#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"
#include "nodes/data/kinds.h"
#include "tests/io/temp_folder.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kSeparator = "<|endoftext|>";

std::vector<std::string> Texts(DocumentReader& reader) {
  std::vector<std::string> texts;
  while (const auto document = reader.Next()) texts.push_back(document->text);
  return texts;
}

class DocumentsTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) const {
    WriteWholeFile(folder_ / name, text);
    return folder_ / name;
  }
  template <typename Action>
  static std::string ErrorOf(Action action) {
    try {
      action();
    } catch (const Error& e) {
      return e.what();
    }
    ADD_FAILURE() << "expected an Error";
    return {};
  }
  [[nodiscard]] std::string JsonError(const std::string& line) const {
    const std::string path = Write("bad.jsonl", "{\"text\": \"fine\"}\n\n" + line + "\n");
    return ErrorOf([&] { (void)Texts(*ReadDocumentFile(path, kSeparator)); });
  }

  TempFolder folder_;
};

TEST_F(DocumentsTest, AFileIsReadAsItsTextInMemory) {
  std::string text = "\xEF\xBB\xBF";
  std::vector<std::string> expected;
  // Documents of all lengths, so that separators lie across the pieces in which a file is read.
  for (size_t i = 0; i < 3000; ++i) {
    expected.push_back(std::string(1 + i * 7919 % 1500, static_cast<char>('a' + i % 26)) +
                       "\xC3\xA4");
    text += " \n" + expected.back() + "\n" + kSeparator + "\n" + (i % 9 == 0 ? kSeparator : "");
  }
  const auto of_file = ReadDocumentFile(Write("t.txt", text), kSeparator);
  EXPECT_EQ(of_file->bytes(), text.size());
  EXPECT_EQ(Texts(*of_file), expected);
  EXPECT_EQ(Texts(*ReadDocuments(std::string_view(text).substr(3), kSeparator)), expected);
}

TEST_F(DocumentsTest, WithoutASeparatorAFileIsOneDocument) {
  EXPECT_THAT(Texts(*ReadDocumentFile(Write("t.txt", "a\nb\n"), "")), ElementsAre("a\nb"));
  EXPECT_THAT(Texts(*ReadDocumentFile(Write("t.txt", " \n"), kSeparator)), ElementsAre());
  EXPECT_THAT(Texts(*ReadDocumentFile(Write("t.txt", ""), kSeparator)), ElementsAre());
}

TEST_F(DocumentsTest, TextThatIsNotUtf8IsNamedWithItsLine) {
  const std::string path = Write("t.txt", "a\n<|endoftext|>\nb\nc\xE9\n");
  EXPECT_THAT(ErrorOf([&] { (void)Texts(*ReadDocumentFile(path, kSeparator)); }),
              HasSubstr(path + ":4: is not UTF-8 text: byte 0xE9"));
  const std::string wide = Write("w.txt", std::string("\xFF\xFE"
                                                      "a\0",
                                                      4));
  EXPECT_THAT(ErrorOf([&] { (void)Texts(*ReadDocumentFile(wide, kSeparator)); }),
              HasSubstr("is UTF-16"));
}

TEST_F(DocumentsTest, JsonLinesHoldTextsAndConversations) {
  const auto reader =
      ReadDocumentFile(Write("c.jsonl",
                             "{\"text\": \" plain \"}\n\n"
                             "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"},"
                             " {\"role\": \"assistant\", \"content\": \" a\"}]}"),
                       kSeparator);
  EXPECT_EQ(reader->Next()->text, "plain");
  const auto chat = reader->Next();
  ASSERT_TRUE(chat.has_value());
  ASSERT_EQ(chat->messages.size(), 2u);
  EXPECT_EQ(chat->messages[1].role, "assistant");
  EXPECT_EQ(chat->messages[1].content, " a");
  EXPECT_THAT(chat->where, HasSubstr("c.jsonl:3"));
  EXPECT_FALSE(reader->Next().has_value());
}

TEST_F(DocumentsTest, BadLinesAreNamed) {
  const auto chat = [](const std::string& messages) { return "{\"messages\": " + messages + "}"; };
  EXPECT_THAT(JsonError("[1]"), HasSubstr("bad.jsonl:3: expected an object"));
  EXPECT_THAT(JsonError("{\"text\": 1}"), HasSubstr(":3: expected \"text\" to be a text"));
  EXPECT_THAT(JsonError("{\"x\": 1}"), HasSubstr("expected \"text\" or \"messages\""));
  EXPECT_THAT(JsonError("{\"text\": "), HasSubstr("bad.jsonl:3:1:10: expected a value"));
  EXPECT_THAT(JsonError(chat("[]")), HasSubstr("a list that is not empty"));
  EXPECT_THAT(JsonError(chat("[{\"role\": \"user\"}]")), HasSubstr("expected \"content\""));
  EXPECT_THAT(JsonError(chat("[{\"role\": \"user\", \"content\": \"q\"}]")),
              HasSubstr("a conversation without an answer"));
  EXPECT_THAT(JsonError(chat("[{\"role\": \"assistant\", \"content\": \" \"}]")),
              HasSubstr(":3: message 1 is an answer, but empty"));
}

TEST_F(DocumentsTest, AMixtureGivesEachItsShare) {
  std::string a, b;
  for (int i = 0; i < 300; ++i) a += "aaaaaa\n<|endoftext|>\n";
  for (int i = 0; i < 300; ++i) b += "bbbbbb\n<|endoftext|>\n";
  const std::vector<std::string> paths = {Write("a.txt", a), Write("b.txt", b)};
  const auto count_b = [&](const std::vector<double>& weights, size_t first) {
    const auto texts = Texts(*MixDocuments(paths, weights, kSeparator));
    EXPECT_EQ(texts.size(), 600u);  // none is lost
    return std::count(texts.begin(), texts.begin() + static_cast<ptrdiff_t>(first), "bbbbbb");
  };
  EXPECT_NEAR(static_cast<double>(count_b({3, 1}, 200)), 50, 1);
  EXPECT_NEAR(static_cast<double>(count_b({1, 1}, 200)), 100, 1);
  EXPECT_NEAR(static_cast<double>(count_b({}, 200)), 100, 1);  // by size
}

TEST_F(DocumentsTest, AFolderIsItsTextFiles) {
  std::filesystem::create_directory(folder_ / "texts");
  Write("texts/b.txt", "b");
  Write("texts/a.jsonl", "{\"text\": \"a\"}");
  Write("texts/README.md", "no text");
  Write("texts/._b.txt", "\x05\x16\x07");  // as another system leaves beside its files
  EXPECT_THAT(Texts(*MixDocuments({folder_ / "texts"}, {}, kSeparator)),
              testing::UnorderedElementsAre("a", "b"));
  const std::string digest = DigestText(folder_ / "texts");
  Write("texts/README.md", "still no text");
  EXPECT_EQ(DigestText(folder_ / "texts"), digest);
  Write("texts/b.txt", "c");
  EXPECT_NE(DigestText(folder_ / "texts"), digest);
  std::filesystem::create_directory(folder_ / "empty");
  EXPECT_THAT(ErrorOf([&] { (void)MixDocuments({folder_ / "empty"}, {}, kSeparator); }),
              HasSubstr("holds no .txt or .jsonl files"));
}

NodeKind TokenizeTable() {
  for (NodeKind& kind : DataKinds())
    if (kind.name == "tokenize") return std::move(kind);
  return {};
}

TEST_F(DocumentsTest, AKeyFromBeforeThereWereSeveralTextsStaysValid) {
  const std::string path = Write("t.txt", "some text"), lines = Write("t.jsonl", "some text");
  const NodeKind kind = TokenizeTable();
  FileDigester files("");
  std::vector<ParamMistake> mistakes;
  const auto keyed = [&](const std::string& text) {
    const ParamBinder binder(kind, &files);
    std::vector<const nlohmann::ordered_json*> given(kind.params.size());
    const nlohmann::ordered_json value = text;
    given[static_cast<size_t>(binder.Find("text"))] = &value;
    return binder.Bind(given, mistakes).keyed;
  };
  const std::string before = R"({"length":512,"separator":"<|endoftext|>","sequences":0,)"
                             R"("take":"first","text":{"content":")" +
                             FingerprintFile(path) + R"("},"tokenizer":"model"})";
  EXPECT_EQ(keyed(path), before);
  EXPECT_NE(keyed(lines), before);  // the same bytes are read otherwise
  EXPECT_TRUE(mistakes.empty());
}

TEST_F(DocumentsTest, WeightsAreCheckedBeforeAnythingRuns) {
  const NodeKind kind = TokenizeTable();
  const auto complaint = [&](std::vector<double> weights) {
    TokenizeParams params;
    params.texts = {"a.txt", "b.txt"};
    params.weights = std::move(weights);
    return kind.check(&params).value_or("");
  };
  EXPECT_EQ(complaint({}), "");
  EXPECT_EQ(complaint({1, 0.5}), "");
  EXPECT_EQ(complaint({1}), "weights: 1 for 2 texts");
  EXPECT_EQ(complaint({1, 0}),
            "weights: 0 for \"b.txt\"; a text that shall not be read is left out");
  EXPECT_THAT(complaint({-1, 1}), HasSubstr("-1 for \"a.txt\""));
}

}  // namespace
}  // namespace puzzle
