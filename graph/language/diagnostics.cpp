#include "graph/language/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "io/printable.h"

namespace puzzle {
namespace {

/// Optimal string alignment distance, cut off above `limit`.
size_t Distance(std::string_view a, std::string_view b, size_t limit) {
  if (a.size() > b.size() + limit || b.size() > a.size() + limit) return limit + 1;
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

/// Numbers are blanked, so that "step 3" and "step 14" count as one kind of message.
std::string KindOfMessage(std::string_view message) {
  std::string kind;
  for (const char c : message) {
    if (c < '0' || c > '9') {
      kind += c;
    } else if (kind.empty() || kind.back() != '#') {
      kind += '#';
    }
  }
  return kind;
}

}  // namespace

std::string ToString(const Diagnostic& d) {
  constexpr size_t kMost = 1000;  // bytes of what a graph says
  const auto cut = [](const std::string& text) {
    return Printable(text.size() <= kMost ? text : text.substr(0, kMost - 3) + "...");
  };
  std::string text = Printable(d.source);
  if (d.position.line > 0) text += fmt::format(":{}:{}", d.position.line, d.position.column);
  if (!text.empty()) text += ": ";
  if (!d.pointer.empty()) text += cut(d.pointer) + ": ";
  text += cut(d.message);
  if (!d.hint.empty()) text += " (" + cut(d.hint) + ")";
  return text;
}

void Diagnostics::Add(Diagnostic diagnostic) {
  ++added_;
  std::string identity = diagnostic.source + '\n' + diagnostic.pointer + '\n';
  // Mistakes inside the graph repeat per foreach element; those without a place do not.
  identity += diagnostic.pointer.empty() ? diagnostic.message : KindOfMessage(diagnostic.message);
  const auto [it, inserted] = seen_.emplace(std::move(identity), items_.size());
  if (!inserted) {
    if (items_[it->second].message != diagnostic.message) ++repeated_[it->second];
    return;
  }
  if (items_.size() > kMax) {
    seen_.erase(it);
    return;
  }
  if (items_.size() == kMax) diagnostic = {"...", {}, {}, "and more; nothing else is listed", {}};
  items_.push_back(std::move(diagnostic));
  repeated_.push_back(0);
}

void Diagnostics::Add(const JsonText& text, std::string pointer, std::string message,
                      std::string hint) {
  const TextPosition position = text.Find(pointer);
  Add({text.source(), position, std::move(pointer), std::move(message), std::move(hint)});
}

std::vector<Diagnostic> Diagnostics::Sorted() const {
  std::vector<Diagnostic> sorted = items_;
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (repeated_[i] > 0) sorted[i].message += fmt::format(" [and {} more]", repeated_[i]);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const Diagnostic& a, const Diagnostic& b) {
    if (a.source != b.source) return a.source < b.source;
    if (a.position.line != b.position.line) return a.position.line < b.position.line;
    return a.position.column < b.position.column;
  });
  return sorted;
}

std::string Diagnostics::Text() const {
  std::string text;
  for (const Diagnostic& diagnostic : Sorted()) text += ToString(diagnostic) + '\n';
  return text;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr size_t kMaxWord = 100, kMaxCandidates = 10'000;  // more would take long
  if (word.size() > kMaxWord || candidates.size() > kMaxCandidates) return "";
  size_t best = std::max<size_t>(1, word.size() / 3);
  const std::string* nearest = nullptr;
  for (const std::string& candidate : candidates) {
    const size_t distance = Distance(word, candidate, best);
    if (distance < best || (distance == best && nearest == nullptr)) {
      best = distance;
      nearest = &candidate;
    }
  }
  return nearest == nullptr ? "" : fmt::format("did you mean \"{}\"?", *nearest);
}

std::string PointerToken(std::string_view name) {
  std::string token;
  for (const char c : name) {
    if (c == '~') {
      token += "~0";
    } else if (c == '/') {
      token += "~1";
    } else {
      token += c;
    }
  }
  return token;
}

}  // namespace puzzle
