#include "io/added_tokens.h"

#include <algorithm>
#include <utility>

#include "io/regex.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

std::string_view FirstCharacter(std::string_view text) {
  return text.substr(0, Utf8Length(text));
}

std::string_view LastCharacter(std::string_view text) {
  if (text.empty()) return text;
  size_t at = text.size() - 1;
  while (at > 0 && IsUtf8Continuation(text[at])) --at;
  return text.substr(at);
}

bool IsSpace(std::string_view character) {
  static const Regex space("\\s");
  return !character.empty() && space.Find(character, 0).has_value();
}

bool IsWord(std::string_view character) {
  // Not \w, which the reference's engine for this reads otherwise than Oniguruma.
  static const Regex word("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]");
  return !character.empty() && word.Find(character, 0).has_value();
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::vector<PrefixIndex::Entry> entries;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    entries.emplace_back(tokens_[i].text, static_cast<int32_t>(i));
    begins_[static_cast<unsigned char>(tokens_[i].text[0])] = true;
  }
  index_ = PrefixIndex(std::move(entries));
}

size_t AddedTokens::LongestAt(std::string_view text, size_t at, int32_t* index) const {
  size_t longest = 0;
  index_.ForEachPrefix(text.substr(at), [&](int32_t i, size_t length) {
    longest = length;
    *index = i;
  });
  return longest;
}

std::vector<AddedTokens::Part> AddedTokens::Split(std::string_view text) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    int32_t index = -1;
    const size_t length =
        begins_[static_cast<unsigned char>(text[at])] ? LongestAt(text, at, &index) : 0;
    if (length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t begin = at;
    size_t end = at + length;
    at = end;
    if (token.single_word && (IsWord(LastCharacter(text.substr(0, begin))) ||
                              IsWord(FirstCharacter(text.substr(end))))) {
      continue;
    }
    while (token.lstrip && begin > done) {
      const std::string_view before = LastCharacter(text.substr(done, begin - done));
      if (!IsSpace(before)) break;
      begin -= before.size();
    }
    while (token.rstrip && end < text.size()) {
      const std::string_view behind = FirstCharacter(text.substr(end));
      if (!IsSpace(behind)) break;
      end += behind.size();
    }
    if (begin > done) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), token.id});
    done = end;
    at = std::max(at, end);
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

}  // namespace puzzle
