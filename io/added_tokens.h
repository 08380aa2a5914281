// Tokens that are found in text before anything else is done to it ("<|endoftext|>"). Immutable, so
// thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/prefix_index.h"

namespace puzzle {

struct AddedToken {
  std::string text;
  int32_t id = -1;
  bool special = false;      // dropped from decoded text
  bool single_word = false;  // not as part of a word
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = false;   // is looked for in normalised text
};

class AddedTokens {
 public:
  /// Part of a text; `id` is -1 for what is no added token.
  struct Part {
    std::string_view text;
    int32_t id;
  };

  AddedTokens() = default;
  /// A place of a text is compared with tokens of up to so many bytes, whatever the text: with
  /// longer ones, time would grow with the product of both.
  static constexpr size_t kMaxBytes = 256;

  /// REQUIRES: no text is empty or longer than kMaxBytes, none occurs twice.
  explicit AddedTokens(std::vector<AddedToken> tokens);
  AddedTokens(AddedTokens&&) = default;
  AddedTokens& operator=(AddedTokens&&) = default;

  /// The parts of `text`, which point into it; at each place the longest token wins.
  [[nodiscard]] std::vector<Part> Split(std::string_view text) const;
  [[nodiscard]] const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  [[nodiscard]] size_t LongestAt(std::string_view text, size_t at, int32_t* index) const;

  std::vector<AddedToken> tokens_;
  PrefixIndex index_;                  // ids are positions in tokens_
  std::array<bool, 256> begins_ = {};  // whether any token begins with a byte
};

}  // namespace puzzle
