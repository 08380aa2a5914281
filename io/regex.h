// Regular expressions over UTF-8, by Oniguruma: the engine of Hugging Face's tokenizers, whose
// patterns it must read alike. Immutable, so thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

namespace puzzle {

class Regex {
 public:
  /// Bytes [begin, end) of a text.
  struct Match {
    size_t begin = 0;
    size_t end = 0;
  };

  /// REQUIRES: `pattern` is one of this program's own. Patterns out of files are not compiled: some
  /// take exponential time.
  explicit Regex(std::string_view pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  /// The first match that begins at `from` or behind. Throws Error when the engine gives up.
  /// REQUIRES: `text` is valid UTF-8, `from` begins a character or is the end.
  [[nodiscard]] std::optional<Match> Find(std::string_view text, size_t from) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace puzzle
