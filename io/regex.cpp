#include "io/regex.h"

#include <oniguruma.h>

#include <limits>
#include <mutex>
#include <string>

#include "io/error.h"

namespace puzzle {
namespace {

std::string Explain(int code, OnigErrorInfo* info = nullptr) {
  OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN] = {};
  const int length = onig_error_code_to_str(text, code, info);
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(length)};
}

const OnigUChar* Bytes(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

}  // namespace

struct Regex::Compiled {
  OnigRegex regex = nullptr;

  ~Compiled() { onig_free(regex); }
};

Regex::Regex(std::string_view pattern) : compiled_(std::make_unique<Compiled>()) {
  static std::mutex mutex;  // compiling is not thread-safe
  const std::scoped_lock lock(mutex);
  OnigEncoding utf8 = ONIG_ENCODING_UTF8;
  onig_initialize(&utf8, 1);
  OnigErrorInfo info;
  const int code = onig_new(&compiled_->regex, Bytes(pattern), Bytes(pattern) + pattern.size(),
                            ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_ONIGURUMA, &info);
  PUZZLE_CHECK(code == ONIG_NORMAL, std::string(pattern) + ": " + Explain(code, &info));
  PUZZLE_CHECK(onig_number_of_captures(compiled_->regex) == 0, "groups are not captured here");
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

std::optional<Regex::Match> Regex::Find(std::string_view text, size_t from) const {
  const OnigUChar* begin = Bytes(text);
  const OnigUChar* end = begin + text.size();
  if (text.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    throw Error("cutting text into words: 2 GiB or more at once");
  }
  // As large as the engine wants for a pattern without groups, so that it allocates nothing.
  int starts[ONIG_NREGION] = {};
  int ends[ONIG_NREGION] = {};
  OnigRegion region = {ONIG_NREGION, 0, starts, ends, nullptr};
  const int at =
      onig_search(compiled_->regex, begin, end, begin + from, end, &region, ONIG_OPTION_NONE);
  if (at == ONIG_MISMATCH) return std::nullopt;
  if (at < 0) throw Error("cutting text into words: " + Explain(at));
  return Match{static_cast<size_t>(region.beg[0]), static_cast<size_t>(region.end[0])};
}

}  // namespace puzzle
