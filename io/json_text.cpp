#include "io/json_text.h"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/error.h"
#include "io/file.h"
#include "io/json_parser.h"
#include "io/lfs_pointer.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

/// Undoes the escapes of a JSON pointer token: "~1" is '/', "~0" is '~'.
std::string UnescapeToken(std::string_view token) {
  std::string name;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '~' && i + 1 < token.size()) {
      ++i;
      name += token[i] == '1' ? '/' : '~';
    } else {
      name += token[i];
    }
  }
  return name;
}

/// Index of the child of `value` that a pointer token names, or nullopt.
std::optional<size_t> ChildIndex(const Json& value, std::string_view token) {
  if (value.is_object()) {
    const std::string key = UnescapeToken(token);
    size_t index = 0;
    for (auto member = value.begin(); member != value.end(); ++member, ++index) {
      if (member.key() == key) return index;
    }
  } else if (value.is_array()) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), index);
    const bool whole = error == std::errc() && end == token.data() + token.size();
    if (whole && index < value.size()) return index;
  }
  return std::nullopt;
}

/// Throws Error when `value` holds a number that JSON cannot say.
void CheckFinite(const nlohmann::json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw Error("JSON cannot hold NaN or infinity");
  }
  if (value.is_structured()) {
    for (const nlohmann::json& child : value) CheckFinite(child);
  }
}

}  // namespace

struct JsonText::State {
  std::string source;
  Json value;
  JsonPlace place;
};

JsonText::JsonText() : state_(std::make_unique<State>()) {}
JsonText::JsonText(JsonText&&) noexcept = default;
JsonText& JsonText::operator=(JsonText&&) noexcept = default;
JsonText::~JsonText() = default;

JsonText JsonText::Parse(std::string_view text, const std::string& source,
                         const JsonLimits& limits) {
  JsonText result;
  result.state_->source = source;
  result.state_->value = ParseJson(text, source, limits, result.state_->place);
  return result;
}

JsonText JsonText::ParseFile(const std::string& path, const JsonLimits& limits) {
  const std::string text = ReadWholeFile(path, limits.max_bytes);
  RefuseLfsPointer(text, path);
  return Parse(text, path, limits);
}

const Json& JsonText::value() const {
  return state_->value;
}

const std::string& JsonText::source() const {
  return state_->source;
}

TextPosition JsonText::Find(const std::string& pointer) const {
  const Json* value = &state_->value;
  const JsonPlace* place = &state_->place;
  std::string_view rest = pointer;
  while (rest.starts_with('/')) {
    rest.remove_prefix(1);
    const std::string_view token = rest.substr(0, rest.find('/'));
    rest.remove_prefix(token.size());
    const std::optional<size_t> index = ChildIndex(*value, token);
    if (!index) break;
    place = &place->children[*index];
    value = &*std::next(value->begin(), static_cast<std::ptrdiff_t>(*index));
  }
  return place->position;
}

bool IsNestedWithin(std::string_view text, int depth) {
  int level = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++level > depth) return false;
    } else if (c == ']' || c == '}') {
      --level;
    }
  }
  return true;
}

std::string CanonicalJson(const nlohmann::json& value) {
  CheckFinite(value);
  try {
    return value.dump();
  } catch (const nlohmann::json::exception& e) {
    throw Error(e.what());
  }
}

}  // namespace puzzle
