// Chat templates by their text, against what Jinja makes of them (jinja2 3.1 with the settings of
// transformers: trim_blocks, lstrip_blocks; chat_templates.py prints the expectations).
#include "io/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/io/chat_templates.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::vector<ChatMessage> kPlain = {
    {"user", " Hi \n"}, {"assistant", " Hello. "}, {"user", "Bye"}};

std::vector<ChatMessage> WithSystem() {
  std::vector<ChatMessage> messages = kPlain;
  messages.insert(messages.begin(), {"system", "Be kind."});
  return messages;
}

std::string Text(const std::vector<ChatSegment>& segments) {
  std::string text;
  for (const ChatSegment& segment : segments) text += segment.text;
  return text;
}

ChatTemplate Read(const char* jinja) {
  return ChatTemplate(jinja, "<s>", "</s>", "tokenizer_config.json");
}

class ChatTemplateTest : public testing::TestWithParam<RenderedChat> {};

TEST_P(ChatTemplateTest, ConversationsAreWrittenAsJinjaWritesThem) {
  const RenderedChat& expected = GetParam();
  const ChatTemplate chat = Read(expected.jinja);
  EXPECT_EQ(chat.name(), expected.family);
  EXPECT_EQ(Text(chat.Render(kPlain, false)), expected.plain);
  EXPECT_EQ(Text(chat.Render(kPlain, true)), expected.plain_asking);
  if (expected.system == nullptr) {
    EXPECT_THAT(ErrorOf([&] { (void)chat.Render(WithSystem(), false); }),
                HasSubstr("has no system message"));
  } else {
    EXPECT_EQ(Text(chat.Render(WithSystem(), false)), expected.system);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ChatTemplateTest, testing::ValuesIn(kRenderedChats),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ChatTemplateTest, AnswersAreMarkedWithTheirEnd) {
  const auto segments = Read(kRenderedChats[0].jinja).Render(WithSystem(), false);
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_FALSE(segments[0].is_answer);
  EXPECT_TRUE(segments[1].is_answer);
  EXPECT_EQ(segments[1].text, " Hello. <|im_end|>");
  EXPECT_FALSE(segments[2].is_answer);
}

TEST(ChatTemplateTest, RolesTakeTurns) {
  const ChatTemplate chat = Read(kRenderedChats[0].jinja);
  const auto message = [&](const std::vector<ChatMessage>& messages) {
    return ErrorOf([&] { (void)chat.Render(messages, false); });
  };
  EXPECT_THAT(message({{"assistant", "a"}}), HasSubstr("message 1 is of \"assistant\""));
  EXPECT_THAT(message({{"user", "a"}, {"user", "b"}}), HasSubstr("message 2 is of \"user\""));
  EXPECT_THAT(message({{"user", "a"}, {"system", "b"}}), HasSubstr("message 2 is of \"system\""));
  EXPECT_THAT(message({{"tool", "a"}}), HasSubstr("\"tool\""));
  EXPECT_THAT(message({}), HasSubstr("without a question"));
  EXPECT_THAT(message({{"system", "a"}}), HasSubstr("without a question"));
}

TEST(ChatTemplateTest, WhatIsNotKnownIsRefusedNotGuessed) {
  const auto message = [](const char* jinja) { return ErrorOf([&] { (void)Read(jinja); }); };
  EXPECT_THAT(message("{{ 'Human: ' + messages[0]['content'] }}"), HasSubstr("of no known format"));
  EXPECT_THAT(message("Hello {{ messages }}"), HasSubstr("text outside of its tags"));
  EXPECT_THAT(message("{{ '<|start_header_id|>' }}{{ 'Cutting Knowledge Date: December 2023' }}"),
              HasSubstr("looks like Llama 3, but also says \"Cutting Knowledge Date"));
  EXPECT_THAT(message("{{ '<|im_start|>system\\nA<|im_end|>' }}"
                      "{{ '<|im_start|>system\\nB<|im_end|>' }}"),
              HasSubstr("more than one system message"));
  EXPECT_THAT(message("{{ '[INST] ' }}{{ ' [INST] ' }}{{ '[/INST]' }}"), HasSubstr("other marks"));
}

TEST(ChatTemplateTest, TheTemplateIsFoundInTheFiles) {
  EXPECT_FALSE(FindChatTemplate({}).has_value());
  nlohmann::json config = {{"eos_token", "<e>"}, {"chat_template", kRenderedChats[0].jinja}};
  EXPECT_EQ(FindChatTemplate({{"tokenizer_config.json", config.dump()}})->name(), "ChatML");
  config["chat_template"] = {{{"name", "tool_use"}, {"template", "?"}},
                             {{"name", "default"}, {"template", kRenderedChats[0].jinja}}};
  EXPECT_EQ(FindChatTemplate({{"tokenizer_config.json", config.dump()}})->name(), "ChatML");
  EXPECT_EQ(FindChatTemplate({{"chat_template.jinja", kRenderedChats[0].jinja}})->name(), "ChatML");
}

TEST(ChatTemplateTest, EntriesOfOtherTypesAreNoTemplates) {
  const std::string config =
      R"({"chat_template": [3, {"name": 3, "template": "?"}, {"name": null},
                            {"name": "default", "template": null}, {"name": "default"}]})";
  EXPECT_FALSE(FindChatTemplate({{"tokenizer_config.json", config}}).has_value());
}

// The files of a GGUF file's tokenizer are ours; the user has never seen them.
TEST(ChatTemplateTest, ARefusalNamesTheFileThatTheUserHas) {
  const std::map<std::string, std::string> files = {
      {"tokenizer_config.json", R"({"chat_template": "{{ 'Human: ' + messages }}"})"}};
  const auto message = [&](const std::string& source) {
    return ErrorOf([&] { (void)FindChatTemplate(files, source); });
  };
  EXPECT_THAT(message(""), StartsWith("tokenizer_config.json: chat_template: is of no known"));
  EXPECT_THAT(message("models/a"),
              StartsWith("models/a/tokenizer_config.json: chat_template: is of no known format"));
  EXPECT_THAT(message("models/a.gguf"),
              StartsWith("models/a.gguf: tokenizer.chat_template: is of no known format"));
  EXPECT_THAT(ErrorOf([] {
                (void)FindChatTemplate({{"chat_template.jinja", "{{ 'Human: ' }}"}}, "models/a");
              }),
              StartsWith("models/a/chat_template.jinja: is of no known format"));
}

TEST(ChatTemplateTest, IdsKnowWhichOfThemAreAnswers) {
  const auto tokenizer = MakeByteTokenizer();
  const ChatIds chat = EncodeChat(*tokenizer, {{"ab", false}, {"cd", true}, {"e", false}});
  EXPECT_THAT(chat.ids, ElementsAre('a', 'b', 'c', 'd', 'e'));
  EXPECT_THAT(chat.is_answer, ElementsAre(0, 0, 1, 1, 0));
}

}  // namespace
}  // namespace puzzle
