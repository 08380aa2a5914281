#include "io/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "io/error.h"
#include "io/gguf.h"
#include "io/tokenizer_config.h"

namespace puzzle {
namespace {

using Literals = std::vector<std::string>;

/// The texts in quotes within {{ }} and {% %}, unescaped, each once.
Literals LiteralsOf(std::string_view jinja) {
  std::set<std::string> found;
  for (size_t at = 0; (at = jinja.find('{', at)) != std::string_view::npos;) {
    const char kind = at + 1 < jinja.size() ? jinja[at + 1] : '\0';
    if (kind != '{' && kind != '%') {
      ++at;
      continue;
    }
    const char* end = kind == '{' ? "}}" : "%}";
    for (at += 2; at < jinja.size() && !jinja.substr(at).starts_with(end); ++at) {
      const char quote = jinja[at];
      if (quote != '\'' && quote != '"') continue;
      std::string literal;
      for (++at; at < jinja.size() && jinja[at] != quote; ++at) {
        if (jinja[at] == '\\' && at + 1 < jinja.size()) {
          ++at;
          literal += jinja[at] == 'n' ? '\n' : jinja[at] == 't' ? '\t' : jinja[at];
        } else {
          literal += jinja[at];
        }
      }
      found.insert(literal);
    }
  }
  return {found.begin(), found.end()};
}

/// What stands outside of all tags, without blanks.
std::string TextBetweenTags(std::string_view jinja) {
  std::string text;
  for (size_t at = 0; at < jinja.size();) {
    const std::string_view rest = jinja.substr(at);
    const char* end = rest.starts_with("{{")   ? "}}"
                      : rest.starts_with("{%") ? "%}"
                      : rest.starts_with("{#") ? "#}"
                                               : nullptr;
    if (end == nullptr) {
      if (std::string_view(" \t\r\n").find(jinja[at]) == std::string_view::npos) text += jinja[at];
      ++at;
      continue;
    }
    const size_t close = rest.find(end);
    at = close == std::string_view::npos ? jinja.size() : at + close + 2;
  }
  return text;
}

bool Has(const Literals& literals, std::string_view text) {
  return std::find(literals.begin(), literals.end(), text) != literals.end();
}

bool Within(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The first literal that is none of `known`; those of every template, and messages of exceptions,
/// which are sentences, do not count.
std::optional<std::string> Unknown(const Literals& literals, const Literals& known) {
  static const Literals everywhere = {"role", "content", "system", "user", "assistant", "model"};
  for (const std::string& literal : literals) {
    const bool is_sentence =
        Within(literal, "roles ") || Within(literal, " role") || Within(literal, "Conversation");
    if (!Has(known, literal) && !Has(everywhere, literal) && !is_sentence) return literal;
  }
  return std::nullopt;
}

std::string Trimmed(const std::string& text) {
  constexpr std::string_view kBlank = " \t\r\n\f\v";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

[[noreturn]] void Refuse(const std::string& where, const std::string& why) {
  throw Error(fmt::format(
      "{}: {}; known are ChatML, Llama 2, Llama 3, Mistral, Gemma, Phi-3 and Zephyr", where, why));
}

void RequireOnly(const Literals& literals, const Literals& known, const std::string& name,
                 const std::string& where) {
  if (const auto other = Unknown(literals, known))
    Refuse(where, fmt::format("looks like {}, but also says {}", name,
                              nlohmann::json(*other).dump(
                                  -1, ' ', false, nlohmann::json::error_handler_t::replace)));
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view jinja, const std::string& bos, const std::string& eos,
                           const std::string& where) {
  const Literals literals = LiteralsOf(jinja);
  if (const std::string text = TextBetweenTags(jinja); !text.empty())
    Refuse(where, fmt::format("has text outside of its tags (\"{}\")", text.substr(0, 40)));
  const bool puts_bos = Within(jinja, "bos_token");
  trims_ = Within(jinja, "| trim") || Within(jinja, "|trim") || Within(jinja, ".strip()");
  const auto any = [&](std::string_view mark) {
    return std::any_of(literals.begin(), literals.end(),
                       [&](const std::string& literal) { return Within(literal, mark); });
  };
  if (any("<|im_start|>")) {
    begin_ = puts_bos ? bos : "";
    BecomeChatMl(literals, where);
  } else if (any("<|start_header_id|>")) {
    name_ = "Llama 3";
    RequireOnly(literals,
                {"<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>",
                 "<|start_header_id|>assistant<|end_header_id|>\n\n"},
                name_, where);
    const auto turn = [](const std::string& role) {
      return Turn{"<|start_header_id|>" + role + "<|end_header_id|>\n\n", "<|eot_id|>", ""};
    };
    begin_ = puts_bos ? bos : "";
    system_ = turn("system");
    user_ = turn("user");
    assistant_ = turn("assistant");
    ask_ = assistant_.before;
  } else if (any("<<SYS>>")) {
    name_ = "Llama 2";
    RequireOnly(literals,
                {"<<SYS>>\n", "\n<</SYS>>\n\n", "[INST] ", " [/INST]", " ", "<<SYS>>\\n",
                 "\\n<</SYS>>\\n\\n"},
                name_, where);
    system_in_question_ = true;
    user_ = {(puts_bos ? bos : "") + "[INST] ", " [/INST]", ""};
    assistant_ = {" ", " " + eos, ""};
  } else if (any("[INST]")) {
    begin_ = puts_bos ? bos : "";
    BecomeMistral(jinja, literals, where);
    assistant_.end += eos;
  } else if (any("<start_of_turn>")) {
    name_ = "Gemma";
    RequireOnly(literals, {"<start_of_turn>", "\n", "<end_of_turn>\n", "<start_of_turn>model\n"},
                name_, where);
    begin_ = puts_bos ? bos : "";
    user_ = {"<start_of_turn>user\n", "<end_of_turn>", "\n"};
    assistant_ = {"<start_of_turn>model\n", "<end_of_turn>", "\n"};
    ask_ = assistant_.before;
  } else if (any("<|end|>")) {
    name_ = "Phi-3";
    RequireOnly(literals,
                {"<|system|>\n", "<|user|>\n", "<|assistant|>\n", "<|end|>\n", "<|system|>",
                 "<|user|>", "<|assistant|>", "<|end|>"},
                name_, where);
    const std::string line = any("<|user|>\n") ? "\n" : "";  // Phi-4-mini goes on in the line
    system_ = Turn{"<|system|>" + line, "<|end|>", line};
    user_ = {"<|user|>" + line, "<|end|>", line};
    assistant_ = {"<|assistant|>" + line, "<|end|>", line};
    begin_ = puts_bos ? bos : "";
    ask_ = assistant_.before;
    if (Within(jinja, "else %}{{ eos_token }}") || Within(jinja, "else -%}{{ eos_token }}"))
      finish_ = eos;
  } else if (any("<|user|>\n")) {
    name_ = "Zephyr";
    RequireOnly(literals, {"<|system|>\n", "<|user|>\n", "<|assistant|>\n", "<|assistant|>"}, name_,
                where);
    system_ = Turn{"<|system|>\n", eos, "\n"};
    user_ = {"<|user|>\n", eos, "\n"};
    assistant_ = {"<|assistant|>\n", eos, "\n"};
    ask_ = "<|assistant|>\n";
  } else {
    Refuse(where, "is of no known format");
  }
}

void ChatTemplate::BecomeChatMl(const Literals& literals, const std::string& where) {
  name_ = "ChatML";
  const std::string system_mark = "<|im_start|>system\n";
  const std::string end_mark = "<|im_end|>";
  for (const std::string& literal : literals) {
    const size_t end = literal.find(end_mark);
    if (!literal.starts_with(system_mark) || end == std::string::npos) continue;
    const std::string text = literal.substr(system_mark.size(), end - system_mark.size());
    if (!default_system_.empty() && text != default_system_)
      Refuse(where, "looks like ChatML with more than one system message of its own");
    default_system_ = text;
  }
  const std::string own = system_mark + default_system_ + end_mark;
  RequireOnly(literals,
              {"<|im_start|>", "<|im_end|>", "<|im_end|>\n", "\n", "<|im_start|>assistant\n",
               "<|im_start|>system\n", "<|im_start|>user\n", own, own + "\n", default_system_},
              name_, where);
  const auto turn = [&](const std::string& role) {
    return Turn{"<|im_start|>" + role + "\n", end_mark, "\n"};
  };
  system_ = turn("system");
  user_ = turn("user");
  assistant_ = turn("assistant");
  ask_ = assistant_.before;
}

/// The variants differ in blanks around the marks.
void ChatTemplate::BecomeMistral(std::string_view jinja, const Literals& literals,
                                 const std::string& where) {
  name_ = "Mistral";
  RequireOnly(literals, {"[INST] ", " [INST] ", " [/INST]", "[/INST]", " "}, name_, where);
  const bool opens_once = Has(literals, "[INST] ") != Has(literals, " [INST] ");
  const bool closes_once = Has(literals, " [/INST]") != Has(literals, "[/INST]");
  if (!opens_once || !closes_once) Refuse(where, "looks like Mistral with other marks");
  user_ = {Has(literals, "[INST] ") ? "[INST] " : " [INST] ",
           Has(literals, "[/INST]") ? "[/INST]" : " [/INST]", ""};
  const bool space_before =
      Within(jinja, "' ' + message['content']") || Within(jinja, "\" \" + message[\"content\"]");
  const bool space_behind = Within(jinja, "eos_token + ' '") || Within(jinja, "eos_token + \" \"");
  if (Has(literals, " ") && space_before == space_behind)
    Refuse(where, "looks like Mistral with other blanks");
  assistant_ = {space_before ? " " : "", "", space_behind ? " " : ""};
}

void ChatTemplate::CheckRoles(const std::vector<ChatMessage>& messages) const {
  bool expects_user = true;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (i == 0 && role == "system") {
      if (!system_ && !system_in_question_)
        throw Error(fmt::format("{} has no system message", name_));
      continue;
    }
    const char* expected = expects_user ? "user" : "assistant";
    if (role != expected)
      throw Error(
          fmt::format("message {} is of \"{}\", expected \"{}\": user and assistant take "
                      "turns, a system message may come first",
                      i + 1, role, expected));
    expects_user = !expects_user;
  }
  if (messages.empty() || (messages.size() == 1 && messages[0].role == "system"))
    throw Error("a conversation without a question");
}

std::vector<ChatSegment> ChatTemplate::Render(const std::vector<ChatMessage>& messages,
                                              bool asks) const {
  CheckRoles(messages);
  std::vector<ChatSegment> segments;
  const auto add = [&](const std::string& text, bool is_answer) {
    if (text.empty()) return;
    if (!segments.empty() && segments.back().is_answer == is_answer) {
      segments.back().text += text;
    } else {
      segments.push_back({text, is_answer});
    }
  };
  const auto add_turn = [&](const Turn& turn, const std::string& content, bool is_answer) {
    add(turn.before, false);
    add(trims_ ? Trimmed(content) : content, is_answer);
    add(turn.end, is_answer);
    add(turn.tail, false);
  };
  add(begin_, false);
  if (system_ && !default_system_.empty() && messages[0].role != "system")
    add_turn(*system_, default_system_, false);
  std::string into_question;
  for (const ChatMessage& message : messages) {
    if (message.role == "assistant") {
      add_turn(assistant_, message.content, true);
    } else if (message.role == "user") {
      add_turn(user_, into_question + message.content, false);
      into_question.clear();
    } else if (system_) {
      add_turn(*system_, message.content, false);
    } else {
      into_question = "<<SYS>>\n" + message.content + "\n<</SYS>>\n\n";
    }
  }
  add(asks ? ask_ : finish_, false);
  return segments;
}

std::optional<ChatTemplate> FindChatTemplate(const std::map<std::string, std::string>& files,
                                             const std::string& source) {
  const auto in_source = [&](const char* file) {
    return source.empty() ? file : (std::filesystem::path(source) / file).string();
  };
  std::string jinja, bos, eos, where = in_source(kTokenizerConfigFile) + ": chat_template";
  ReadSpecialTokens(files, bos, eos);
  const JsonText config = ParseTokenizerFile(files, kTokenizerConfigFile);
  const auto found = config.value().find("chat_template");
  if (files.contains("chat_template.jinja")) {
    jinja = files.at("chat_template.jinja");
    where = in_source("chat_template.jinja");
  } else if (found != config.value().end() && found->is_string()) {
    jinja = *found;
  } else if (found != config.value().end() && found->is_array()) {
    for (const auto& entry : *found) {
      const auto* name = FindMember(entry, "name");
      const auto* text = FindMember(entry, "template");
      if (name != nullptr && *name == "default" && text != nullptr && text->is_string())
        jinja = text->get<std::string>();
    }
  }
  if (jinja.empty()) return std::nullopt;
  // Its files were made from its metadata.
  if (!source.empty() && IsGgufPath(source)) where = source + ": tokenizer.chat_template";
  return ChatTemplate(jinja, bos, eos, where);
}

ChatIds EncodeChat(const Tokenizer& tokenizer, const std::vector<ChatSegment>& segments) {
  std::string text;
  for (const ChatSegment& segment : segments) text += segment.text;
  ChatIds chat;
  chat.ids = tokenizer.Encode(text);
  chat.is_answer.assign(chat.ids.size(), 0);
  // Tokens in front of a place of the text: those that its beginning alone becomes, too.
  const auto tokens_before = [&](size_t bytes) {
    const std::vector<int32_t> ids = tokenizer.Encode(std::string_view(text).substr(0, bytes));
    const auto ends = std::mismatch(ids.begin(), ids.end(), chat.ids.begin(), chat.ids.end());
    return ends.second - chat.ids.begin();
  };
  size_t begin = 0;
  for (const ChatSegment& segment : segments) {
    const size_t end = begin + segment.text.size();
    if (segment.is_answer)
      std::fill(chat.is_answer.begin() + tokens_before(begin),
                chat.is_answer.begin() + tokens_before(end), uint8_t{1});
    begin = end;
  }
  return chat;
}

}  // namespace puzzle
