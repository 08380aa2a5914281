#include "nodes/data/tokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/load_model.h"
#include "tests/io/temp_folder.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int32_t kBos = 256;

TEST(TokenizeTest, DocumentsAreStrippedAndBeginWithBos) {
  const auto tokenizer = MakeByteTokenizer();
  const TokenSet set =
      PackTokens("  ab \n<|endoftext|>\n\n<|endoftext|>c d\n", *tokenizer, {.length = 3});
  EXPECT_EQ(set.ids, (std::vector<int32_t>{kBos, 'a', 'b', kBos, 'c', ' '}));
  EXPECT_EQ(set.sequences(), 2);
  EXPECT_EQ(set.vocab_size, 258);
}

TEST(TokenizeTest, FirstAndLastSequencesAreTakenFromTheirEnds) {
  const auto tokenizer = MakeByteTokenizer();
  const std::string text = "0123456789";
  const TokenSet first = PackTokens(text, *tokenizer, {.length = 4, .sequences = 2});
  EXPECT_EQ(first.ids, (std::vector<int32_t>{kBos, '0', '1', '2', '3', '4', '5', '6'}));
  const TokenSet last =
      PackTokens(text, *tokenizer, {.length = 4, .sequences = 2, .from_end = true});
  EXPECT_EQ(last.ids, (std::vector<int32_t>{'2', '3', '4', '5', '6', '7', '8', '9'}));
}

TEST(TokenizeTest, TooShortATextIsRefusedWithItsLength) {
  const auto tokenizer = MakeByteTokenizer();
  try {
    (void)PackTokens("abc", *tokenizer, {.length = 5});
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "the text has 4 tokens: 0 sequences of 5, 1 needed");
  }
  EXPECT_THROW((void)PackTokens("abcdef", *tokenizer, {.length = 3, .sequences = 3}), Error);
  EXPECT_THROW((void)PackTokens("", *tokenizer, {.length = 3}), Error);
}

TEST(TokenizeTest, ATextShorterThanASequenceMayBeOne) {
  const auto tokenizer = MakeByteTokenizer();
  PackOptions options;
  options.length = 100;
  EXPECT_THROW((void)PackTokens("hello", *tokenizer, options), Error);
  options.short_is_whole = true;
  const TokenSet tokens = PackTokens("hello", *tokenizer, options);
  EXPECT_EQ(tokens.sequences(), 1);
  EXPECT_EQ(static_cast<size_t>(tokens.length), tokens.ids.size());
  EXPECT_EQ(PackTokens(std::string(300, 'x'), *tokenizer, options).length, 100);
}

TEST(TokenizeTest, TokenizersThatMeanOtherThingsAreNotCompared) {
  const auto byte = MakeByteTokenizer()->files();
  EXPECT_NO_THROW(CheckSameLanguage(byte, byte));
  EXPECT_NO_THROW(CheckSameLanguage(byte, {}));
  const std::map<std::string, std::string> letters = {{"tokenizer.json", R"({"model": {
    "type": "BPE", "vocab": {"b": 0, "a": 1, "c": 2}, "merges": []}})"}};
  std::map<std::string, std::string> spaced = letters;
  spaced["tokenizer.json"] += "\n";
  EXPECT_NO_THROW(CheckSameLanguage(letters, spaced));
  spaced["tokenizer.json"] = R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2},
    "merges": []}})";
  EXPECT_THROW(CheckSameLanguage(letters, spaced), Error);
}

/// Letters on bytes, <s> (2) as EOS, ChatML, no BOS in front.
std::shared_ptr<const Tokenizer> ChatTokenizer() {
  return MakeTokenizer(
      {{"tokenizer.json", R"({"added_tokens": [{"id": 2, "content": "<s>", "special": true},
          {"id": 3, "content": "<|im_start|>", "special": true},
          {"id": 4, "content": "<|im_end|>", "special": true}],
          "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
          "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "merges": [],
          "vocab": {"a": 0, "q": 1, "u": 5, "s": 6, "e": 7, "r": 8, "i": 9, "t": 10, "n": 11, "Ċ": 12}}})"},
       {"tokenizer_config.json",
        R"({"eos_token": "<s>", "bos_token": "<|im_start|>", "chat_template":
          "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"})"}});
}

TEST(TokenizeTest, WithoutBosDocumentsAreSeparatedByEos) {
  const TokenSet set =
      PackTokens("aq\n<|endoftext|>\nqa\n<|endoftext|>\na", *ChatTokenizer(), {.length = 7});
  EXPECT_EQ(set.ids, (std::vector<int32_t>{0, 1, 2, 1, 0, 2, 0}));
  EXPECT_TRUE(set.mask.empty());
}

// Letters, a line break (the byte alphabet's name of it) and what `added` names; no BOS in front.
std::shared_ptr<const Tokenizer> TokenizerWithoutBos(const std::string& added,
                                                     const std::string& eos) {
  return MakeTokenizer(
      {{"tokenizer.json", R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
          "added_tokens": [)" +
                              added + R"(], "model": {"type": "BPE", "merges": [],
          "vocab": {"a": 0, "b": 1, "c": 2, "<": 3, "|": 4, "Ċ": 5, "-": 6}}})"},
       {"tokenizer_config.json", R"({"add_bos_token": false, "eos_token": )" + eos + "}"}});
}

constexpr char kEndOfText[] = R"({"id": 8, "content": "<|end|>", "special": true})";
constexpr char kEndOfTurn[] = R"({"id": 7, "content": "<|turn|>", "special": true})";

TEST(TokenizeTest, ASeparatorThatIsASpecialTokenStaysBetweenDocuments) {
  const auto both = TokenizerWithoutBos(std::string(kEndOfText) + "," + kEndOfTurn, "\"<|turn|>\"");
  const PackOptions options{.separator = "<|end|>", .short_is_whole = true};
  EXPECT_EQ(PackTokens("ab<|end|>c\n<|end|>\n<|end|>b", *both, options).ids,
            (std::vector<int32_t>{0, 1, 8, 2, 8, 1}));
  // One that is text, of one token or several, does not: there EOS ends a document.
  const PackOptions dash{.separator = "-", .short_is_whole = true};
  EXPECT_EQ(PackTokens("ab-c", *both, dash).ids, (std::vector<int32_t>{0, 1, 7, 2}));
  const auto turn = TokenizerWithoutBos(kEndOfTurn, "\"<|turn|>\"");
  const PackOptions text{.separator = "<|<|", .short_is_whole = true};
  EXPECT_EQ(PackTokens("ab<|<|c", *turn, text).ids, (std::vector<int32_t>{0, 1, 7, 2}));
}

TEST(TokenizeTest, DocumentsAreNotGluedWithoutAnySpecialToken) {
  const auto bare = TokenizerWithoutBos("", "null");
  ASSERT_EQ(bare->eos_id(), -1);
  const PackOptions options{.separator = "-", .short_is_whole = true};
  EXPECT_EQ(PackTokens("ab-c", *bare, options).ids, (std::vector<int32_t>{0, 1, 5, 5, 2}));
}

TEST(TokenizeTest, OfConversationsTheAnswersAreInTheMask) {
  const TempFolder folder;
  WriteWholeFile(folder / "c.jsonl",
                 "{\"text\": \"aa\"}\n"
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"},"
                 " {\"role\": \"assistant\", \"content\": \"a\"}]}\n");
  double done = 0;
  const TokenSet set = PackDocuments(*ReadDocumentFile(folder / "c.jsonl", ""), *ChatTokenizer(),
                                     {.length = 25}, [&](double fraction) { done = fraction; });
  EXPECT_EQ(done, 1.0);
  const std::vector<int32_t> ids = {0, 0,                                  // aa
                                    3, 5, 6, 7, 8, 12, 1,  4, 12,          // user
                                    3, 0, 6, 6, 9, 6,  10, 0, 11, 10, 12,  // assistant
                                    0, 4, 12};
  EXPECT_EQ(set.ids, ids);
  std::vector<uint8_t> mask(25, 0);
  mask[0] = mask[1] = mask[22] = mask[23] = 1;
  EXPECT_EQ(set.mask, mask);
}

/// What is said of these JSON lines.
std::string ComplaintOf(const std::string& path, const std::string& lines,
                        const Tokenizer& tokenizer) {
  WriteWholeFile(path, lines);
  try {
    (void)PackDocuments(*ReadDocumentFile(path, ""), tokenizer, {.length = 2}, [](double) {});
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

std::string Conversation(const std::string& first_role) {
  return "{\"messages\": [{\"role\": \"" + first_role +
         "\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}\n";
}

TEST(TokenizeTest, ConversationsNeedATemplateThatIsKnown) {
  const TempFolder folder;
  const std::string path = folder / "c.jsonl", good = Conversation("user");
  EXPECT_EQ(ComplaintOf(path, good, *ChatTokenizer()), "accepted");
  EXPECT_EQ(ComplaintOf(path, good, *MakeByteTokenizer()),
            path + ":1: a conversation, but the tokenizer has no chat template");
  std::map<std::string, std::string> files = ChatTokenizer()->files();
  files["tokenizer_config.json"] = R"({"chat_template": "{{ 'Human: ' + messages }}"})";
  EXPECT_THAT(ComplaintOf(path, "\n" + good, *MakeTokenizer(files)),
              AllOf(StartsWith(path + ":2: tokenizer_config.json: chat_template: "),
                    HasSubstr("of no known format"), HasSubstr("known are ChatML")));
}

// A graph has the tokenizer from a checkpoint of the user's: that is where the template is mended.
TEST(TokenizeTest, ATemplateThatIsNotKnownIsNamedByItsCheckpoint) {
  const TempFolder folder;
  std::map<std::string, std::string> files = ChatTokenizer()->files();
  files["tokenizer_config.json"] = R"({"chat_template": "{{ 'Human: ' + messages }}"})";
  SaveCheckpoint(folder / "model", TinyModel(), files);
  WriteWholeFile(folder / "c.jsonl", Conversation("user"));
  FakeContext context;
  FakeInputs inputs;
  inputs.Add("model", "m", RunLoadModel({folder / "model"}, FakeInputs(), context));
  TokenizeParams params;
  params.text = folder / "c.jsonl";
  try {
    (void)RunTokenize(params, inputs, context);
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("c.jsonl:1: "),
                                HasSubstr(folder / "model/tokenizer_config.json: chat_template: "),
                                HasSubstr("of no known format")));
  }
}

TEST(TokenizeTest, RolesOutOfTurnAreNamedWithTheirLine) {
  const TempFolder folder;
  const std::string path = folder / "c.jsonl";
  std::string lines;
  for (int i = 0; i < 50; ++i) lines += Conversation("user");
  EXPECT_EQ(ComplaintOf(path, lines, *ChatTokenizer()), "accepted");
  // Of several the first is told of, whichever thread comes upon one.
  for (int i = 0; i < 50; ++i) lines += Conversation("assistant");
  EXPECT_THAT(ComplaintOf(path, lines, *ChatTokenizer()),
              StartsWith(path + ":51: message 1 is of \"assistant\", expected \"user\""));
}

TEST(TokenizeTest, ManyDocumentsAreEncodedInTheirOrder) {
  std::string text;
  std::vector<int32_t> expected;
  for (int i = 0; i < 5000; ++i) {
    const std::string word = std::to_string(i);
    text += word + "\n<|endoftext|>\n" + std::string(400, '\n');
    expected.push_back(kBos);
    expected.insert(expected.end(), word.begin(), word.end());
  }
  const TokenSet set = PackTokens(text, *MakeByteTokenizer(), {.length = 10});
  expected.resize(set.ids.size());
  EXPECT_EQ(set.ids, expected);
  EXPECT_GT(set.sequences(), 2000);
}

}  // namespace
}  // namespace puzzle
