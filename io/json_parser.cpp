#include "io/json_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>
#include <utility>

#include "io/error.h"
#include "io/printable.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

void AppendUtf8(uint32_t code, std::string& out) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xE0 | code >> 12);
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
    }
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& source, const JsonLimits& limits)
      : text_(text), source_(source), limits_(limits) {}

  Json Document(JsonPlace& place) {
    if (text_.size() > limits_.max_bytes) {
      Fail(fmt::format("holds {} bytes, at most {} are accepted", text_.size(), limits_.max_bytes));
    }
    RefuseOtherForms();
    SkipBlank();
    place.position = Position();
    Json document = Value(place, 1);
    SkipBlank();
    if (!AtEnd()) Fail(fmt::format("{} after the end of the document", Here()));
    return document;
  }

 private:
  Json Value(JsonPlace& place, int depth) {
    if (AtEnd()) Fail("expected a value, the text ends");
    const char c = text_[at_];
    if (c == '{' || c == '[') {
      if (depth > limits_.max_depth) {
        Fail(fmt::format("nested more than {} levels deep", limits_.max_depth));
      }
      return c == '{' ? Object(place, depth) : Array(place, depth);
    }
    if (c == '"') return String();
    if (const auto value = NonFinite()) return *value;
    if (c == '-' || IsDigit(c)) return Number();
    if (SkipWord("true")) return true;
    if (SkipWord("false")) return false;
    if (SkipWord("null")) return nullptr;
    Fail(fmt::format("expected a value, found {}", Here()));
  }

  /// No JSON, but what some programs write.
  std::optional<double> NonFinite() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const size_t start = at_;
    std::optional<double> value;
    if (SkipWord("NaN")) value = std::numeric_limits<double>::quiet_NaN();
    if (SkipWord("Infinity")) value = kInfinity;
    if (SkipWord("-Infinity")) value = -kInfinity;
    if (value && !limits_.allow_nonfinite) {
      FailAt(start, fmt::format("{} is no JSON: write a number or null",
                                text_.substr(start, at_ - start)));
    }
    return value;
  }

  /// Says what a text is that is no JSON in UTF-8 from its first character on, and what to do.
  void RefuseOtherForms() {
    struct Form {
      std::string_view begin;
      const char* what;
    };
    static constexpr Form kForms[] = {
        {"\xEF\xBB\xBF", "begins with a byte order mark; save it without"},
        {"\xFF\xFE", "is UTF-16 text; save it as UTF-8"},
        {"\xFE\xFF", "is UTF-16 text; save it as UTF-8"},
        {"\x1F\x8B", "is compressed with gzip; unpack it first"},
        {"PK\x03\x04", "is a zip archive; unpack it first"},
        {"<!DOCTYPE", "is a page of HTML, not JSON; did the download fail?"},
        {"<html", "is a page of HTML, not JSON; did the download fail?"},
    };
    for (const Form& form : kForms) {
      if (text_.starts_with(form.begin)) Fail(form.what);
    }
    if (text_.size() > 1 && (text_[0] == '\0' || text_[1] == '\0')) {
      Fail("is UTF-16 or binary, not UTF-8; save it as UTF-8");
    }
  }

  Json Object(JsonPlace& place, int depth) {
    // Json's own insertion searches all earlier keys; a file with 10^5 of them would take minutes.
    std::vector<std::pair<std::string, Json>> members;
    std::unordered_set<std::string> keys;
    ++at_;
    SkipBlank();
    while (!SkipCharacter('}')) {
      if (!members.empty()) ExpectComma("'}'");
      if (AtEnd() || text_[at_] != '"') Fail(fmt::format("expected a key, found {}", Here()));
      JsonPlace& child = place.children.emplace_back();
      child.position = Position();
      const size_t key_at = at_;
      std::string key = String();
      if (!keys.insert(key).second)
        FailAt(key_at, fmt::format("duplicate key \"{}\"", PrintableLine(key)));
      SkipBlank();
      if (!SkipCharacter(':')) Fail(fmt::format("expected ':', found {}", Here()));
      SkipBlank();
      Json value = Value(child, depth + 1);
      members.emplace_back(std::move(key), std::move(value));
      SkipBlank();
    }
    Json object = Json::object();
    auto& map = object.get_ref<Json::object_t&>();
    map.reserve(members.size());
    for (auto& [key, value] : members) map.emplace_back(std::move(key), std::move(value));
    return object;
  }

  Json Array(JsonPlace& place, int depth) {
    Json array = Json::array();
    ++at_;
    SkipBlank();
    while (!SkipCharacter(']')) {
      if (!array.empty()) ExpectComma("']'");
      JsonPlace& child = place.children.emplace_back();
      child.position = Position();
      array.push_back(Value(child, depth + 1));
      SkipBlank();
    }
    return array;
  }

  /// REQUIRES: at the opening quote.
  std::string String() {
    std::string out;
    const size_t start = at_++;
    while (true) {
      if (AtEnd()) FailAt(start, "string without an end");
      const char c = text_[at_];
      if (c == '"') break;
      if (c == '\\') {
        Escape(out);
        continue;
      }
      if (static_cast<unsigned char>(c) < 0x20) {
        Fail(fmt::format("control character 0x{:02X} in a string", static_cast<unsigned>(c)));
      }
      const size_t length = Utf8Length(text_.substr(at_));
      if (length == 0) Fail("string is not valid UTF-8");
      out.append(text_, at_, length);
      at_ += length;
    }
    ++at_;
    return out;
  }

  /// REQUIRES: at a backslash.
  void Escape(std::string& out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const size_t start = at_++;
    const char name = AtEnd() ? '\0' : text_[at_++];
    if (const size_t index = kNames.find(name); index != std::string_view::npos) {
      out += kMeanings[index];
      return;
    }
    if (name != 'u') FailAt(start, "unknown escape in a string");
    uint32_t code = HexCode(start);
    if (code >= 0xD800 && code < 0xDC00) {
      if (!SkipWord("\\u")) FailAt(start, "half of a surrogate pair");
      const uint32_t low = HexCode(start);
      if (low < 0xDC00 || low >= 0xE000) FailAt(start, "half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
      FailAt(start, "half of a surrogate pair");
    }
    AppendUtf8(code, out);
  }

  uint32_t HexCode(size_t escape_at) {
    uint32_t code = 0;
    const char* first = text_.data() + at_;
    const char* last = first + std::min<size_t>(4, text_.size() - at_);
    const auto [end, error] = std::from_chars(first, last, code, 16);
    if (error != std::errc() || end != first + 4) {
      FailAt(escape_at, "\\u needs four hexadecimal digits");
    }
    at_ += 4;
    return code;
  }

  Json Number() {
    const size_t start = at_;
    const bool negative = SkipCharacter('-');
    if (AtEnd() || !IsDigit(text_[at_])) FailAt(start, "'-' without a number");
    bool integer = true;
    if (!SkipCharacter('0')) SkipDigits();
    if (SkipCharacter('.')) {
      integer = false;
      if (!SkipDigits()) FailAt(start, "number without digits after '.'");
    }
    if (SkipCharacter('e') || SkipCharacter('E')) {
      integer = false;
      if (!SkipCharacter('+')) SkipCharacter('-');
      if (!SkipDigits()) FailAt(start, "number without digits in its exponent");
    }
    const std::string_view digits = text_.substr(start, at_ - start);
    if (integer && !negative) {
      if (const auto value = Convert<uint64_t>(digits)) return *value;
    } else if (integer) {
      if (const auto value = Convert<int64_t>(digits)) return *value;
    }
    if (const auto value = Convert<double>(digits)) return *value;
    FailAt(start, "number out of range");
  }

  template <typename T>
  static std::optional<T> Convert(std::string_view digits) {
    T value{};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() ? std::optional(value) : std::nullopt;
  }

  bool SkipDigits() {
    const size_t start = at_;
    while (!AtEnd() && IsDigit(text_[at_])) ++at_;
    return at_ > start;
  }

  void ExpectComma(const char* or_else) {
    if (!SkipCharacter(',')) Fail(fmt::format("expected ',' or {}, found {}", or_else, Here()));
    SkipBlank();
  }

  bool AtEnd() const { return at_ == text_.size(); }

  bool SkipCharacter(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool SkipWord(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  /// Skips white space and comments.
  void SkipBlank() {
    while (true) {
      at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
      const size_t start = at_;
      if (!limits_.allow_comments || !SkipCharacter('/')) return;
      if (SkipCharacter('/')) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (SkipCharacter('*')) {
        const size_t end = text_.find("*/", at_);
        if (end == std::string_view::npos) FailAt(start, "comment without an end");
        at_ = end + 2;
      } else {
        FailAt(start, "expected a value or a comment, found '/'");
      }
    }
  }

  /// What stands at the current place, for messages.
  std::string Here() const {
    if (AtEnd()) return "the end of the text";
    const char c = text_[at_];
    if (c > ' ' && c < 0x7F) return fmt::format("'{}'", c);
    return fmt::format("byte 0x{:02X}", static_cast<unsigned char>(c));
  }

  TextPosition Position() { return PositionAt(at_); }

  /// Counts on from the last place asked for, so that a document is walked once.
  TextPosition PositionAt(size_t offset) {
    if (offset < counted_) {
      counted_ = 0;
      position_ = {1, 1};
    }
    for (; counted_ < offset; ++counted_) {
      if (text_[counted_] == '\n') {
        ++position_.line;
        position_.column = 1;
      } else if (!IsUtf8Continuation(text_[counted_])) {
        ++position_.column;
      }
    }
    return position_;
  }

  [[noreturn]] void Fail(const std::string& what) { FailAt(at_, what); }

  [[noreturn]] void FailAt(size_t offset, const std::string& what) {
    const TextPosition at = PositionAt(offset);
    throw Error(fmt::format("{}:{}:{}: {}", source_, at.line, at.column, what));
  }

  const std::string_view text_;
  const std::string& source_;
  const JsonLimits& limits_;
  size_t at_ = 0;       // offset of the next character
  size_t counted_ = 0;  // offset that position_ describes
  TextPosition position_{1, 1};
};

}  // namespace

Json ParseJson(std::string_view text, const std::string& source, const JsonLimits& limits,
               JsonPlace& place) {
  return Parser(text, source, limits).Document(place);
}

}  // namespace puzzle
