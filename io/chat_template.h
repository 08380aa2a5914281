// Conversations as a model reads them: the chat templates of Jinja that are known by their text,
// and nothing that is guessed. Immutable, so thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizer.h"

namespace puzzle {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

/// Part of a rendered conversation.
struct ChatSegment {
  std::string text;
  bool is_answer;  // what the assistant says, its end mark included
};

/// How one family writes a conversation.
class ChatTemplate {
 public:
  /// The format that `jinja` describes: ChatML, Llama 3, Llama 2, Mistral, Gemma, Phi-3 or Zephyr.
  /// `bos` and `eos` are the texts of these tokens. Throws Error "where: ..." for any other
  /// template, and for one that says more than the format does (dates, tools as text); `where` is
  /// the file, and the key in it.
  ChatTemplate(std::string_view jinja, const std::string& bos, const std::string& eos,
               const std::string& where);

  /// "ChatML", ...
  [[nodiscard]] std::string_view name() const { return name_; }
  /// The conversation, with the beginning of an answer behind it when `asks`. Throws Error for
  /// other roles, for user and assistant that do not take turns (a system message may come first,
  /// where the format has one), and for no messages.
  [[nodiscard]] std::vector<ChatSegment> Render(const std::vector<ChatMessage>& messages,
                                                bool asks) const;

 private:
  /// What stands around a message.
  struct Turn {
    std::string before;
    std::string end;   // closes the message; of an answer, the model has to say it
    std::string tail;  // goes on to the next
  };

  void BecomeChatMl(const std::vector<std::string>& literals, const std::string& where);
  void BecomeMistral(std::string_view jinja, const std::vector<std::string>& literals,
                     const std::string& where);
  void CheckRoles(const std::vector<ChatMessage>& messages) const;

  std::string name_;
  std::optional<Turn> system_;  // nullopt: the format has none, or puts it into the first question
  Turn user_, assistant_;
  std::string begin_;           // before everything
  std::string default_system_;  // when the conversation has no system message; empty: none
  std::string ask_;             // begins an answer
  std::string finish_;          // behind a conversation that does not ask
  bool system_in_question_ = false;
  bool trims_ = false;  // blanks around each message go
};

/// The template of a tokenizer's files; nullopt when they have none. `source` is the checkpoint
/// that brought them, a folder or a GGUF file, or "" when nobody knows. Throws Error as
/// ChatTemplate, naming the file that the user has, and the key in it.
[[nodiscard]] std::optional<ChatTemplate> FindChatTemplate(
    const std::map<std::string, std::string>& files, const std::string& source = "");

/// Token ids, and for each whether it belongs to an answer.
struct ChatIds {
  std::vector<int32_t> ids;
  std::vector<uint8_t> is_answer;
};

/// Encodes a rendered conversation as a whole. A token that goes across the beginning of an answer
/// belongs to it, one across its end does not.
[[nodiscard]] ChatIds EncodeChat(const Tokenizer& tokenizer,
                                 const std::vector<ChatSegment>& segments);

}  // namespace puzzle
