// What is wrong with a graph or with flags, collected so that all of it can be shown at once.
// Values; thread-compatible.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/json_text.h"

namespace puzzle {

/// One mistake of the user.
struct Diagnostic {
  std::string source;  // file name, or "--set blocks.lr=3"
  TextPosition position;
  std::string pointer;  // "/nodes/blocks/params/stpes"; may be empty
  std::string message;
  std::string hint;  // "did you mean \"steps\"?"; may be empty
};

/// `demo.json:12:30: /nodes/blocks/params/stpes: unknown parameter (did you mean "steps"?)`.
[[nodiscard]] std::string ToString(const Diagnostic& diagnostic);

/// Mistakes in the order in which they were found. One mistake that every element of a `foreach`
/// repeats is kept once, with the number of repetitions. Of very many the first are kept.
class Diagnostics {
 public:
  void Add(Diagnostic diagnostic);
  /// A mistake at `pointer` of `text`.
  void Add(const JsonText& text, std::string pointer, std::string message, std::string hint = {});

  /// Enough was found to stop looking.
  [[nodiscard]] bool full() const { return items_.size() >= kMax; }
  /// How often Add was called.
  [[nodiscard]] size_t added() const { return added_; }
  [[nodiscard]] bool empty() const { return items_.empty(); }
  [[nodiscard]] size_t size() const { return items_.size(); }
  /// Sorted by source and position; repetitions are mentioned in the message.
  [[nodiscard]] std::vector<Diagnostic> Sorted() const;
  /// Sorted(), one line each.
  [[nodiscard]] std::string Text() const;

 private:
  static constexpr size_t kMax = 1000;

  std::vector<Diagnostic> items_;
  size_t added_ = 0;
  std::vector<int> repeated_;
  std::unordered_map<std::string, size_t> seen_;  // source + pointer + kind of message -> item
};

/// `did you mean "x"?` for the nearest of `candidates`, or "" when none is near.
[[nodiscard]] std::string DidYouMean(std::string_view word,
                                     const std::vector<std::string>& candidates);

/// `name` as one token of a JSON pointer ('~' and '/' escaped).
[[nodiscard]] std::string PointerToken(std::string_view name);

}  // namespace puzzle
