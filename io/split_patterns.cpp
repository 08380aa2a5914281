#include "io/split_patterns.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "io/error.h"

namespace puzzle {
namespace {

/// Each takes linear time at a place of the text.
constexpr std::string_view kAlternatives[] = {
    // GPT-2
    "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", R"( ?\p{L}+)", R"( ?\p{N}+)",
    R"( ?[^\s\p{L}\p{N}]+)", R"(\s+(?!\S))", R"(\s+)",
    // Llama 3, Qwen 2 and 3
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)", R"([^\r\n\p{L}\p{N}]?\p{L}+)", R"(\p{N}{1,3})", R"(\p{N})",
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*)", R"(\s*[\r\n]+)",
    // Mistral-Nemo (tekken), and Phi-4-mini (o200k) with contractions
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)",
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)",
    // DeepSeek-V3
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)", R"([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)",
    R"( ?[\p{P}\p{S}]+[\r\n]*)", kCjkPattern,
    // DeepSeek-Coder and -LLM
    R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+",
    "\\s?["
    "A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293"
    "\u0295-\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C"
    "\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5"
    "\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77"
    "\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59"
    "\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC"
    "\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107"
    "\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139"
    "\u213C-\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE"
    "\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E"
    "\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A"
    "\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-\U000104FB\U00010C80-\U00010CB2"
    "\U00010CC0-\U00010CF2\U000118A0-\U000118DF\U0001E900-\U0001E943"
    "]+",
    "\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+",
    // Falcon
    "[0-9][0-9][0-9]"};

/// Blanks at the end of a line. From each blank of a run the engine would look for its end; only
/// the first can begin the leftmost match.
constexpr std::string_view kBlanksAtEnd = R"(\s+$)";
constexpr std::string_view kBlanksAtEndOnce = R"((?<!\s)\s+$)";

/// Line ends are written as themselves in some files, escaped in others.
std::string WithEscapedLineEnds(std::string_view pattern) {
  std::string escaped;
  for (const char c : pattern) {
    if (c == '\r') {
      escaped += "\\r";
    } else if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

/// Bytes of the alternative that `pattern` begins with: up to a bar outside of groups and classes.
size_t AlternativeLength(std::string_view pattern) {
  int groups = 0;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      ++i;
    } else if (in_class) {
      in_class = c != ']';
    } else if (c == '[') {
      in_class = true;
    } else if (c == '(' || c == ')') {
      groups += c == '(' ? 1 : -1;
    } else if (c == '|' && groups == 0) {
      return i;
    }
  }
  return pattern.size();
}

}  // namespace

std::string CheckedPattern(std::string_view pattern, const std::string& where) {
  const std::string escaped = WithEscapedLineEnds(pattern);
  std::string checked;
  for (std::string_view rest = escaped;;) {
    const size_t length = AlternativeLength(rest);
    const std::string_view alternative = rest.substr(0, length);
    const bool known = std::find(std::begin(kAlternatives), std::end(kAlternatives), alternative) !=
                       std::end(kAlternatives);
    if (!known && alternative != kBlanksAtEnd)
      throw Error(fmt::format(
          "{}: Split by an unknown pattern \"{}\" (known are the parts of GPT-2's, Llama 3's, "
          "Qwen's, Mistral-Nemo's, Phi-4-mini's, DeepSeek's and Falcon's)",
          where, alternative));
    checked += known ? alternative : kBlanksAtEndOnce;
    if (length == rest.size()) return checked;
    checked += '|';
    rest.remove_prefix(length + 1);
  }
}

}  // namespace puzzle
