#include "graph/language/spec.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/language/spec_parts.h"

namespace puzzle {
namespace {

constexpr size_t kMaxConditions = 32;  // as many axes as a node may have

/// "blocks", or with the prefixes of included files "base/blocks".
bool IsPath(std::string_view text) {
  for (size_t slash = text.find('/'); slash != std::string_view::npos; slash = text.find('/')) {
    if (!IsName(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
  return IsName(text);
}

}  // namespace

bool IsName(std::string_view text) {
  if (text.empty()) return false;
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  if (!letter(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; });
}

void Complain(const SpecValue& value, std::string message, std::string hint,
              Diagnostics& diagnostics) {
  if (value.file == nullptr) {
    diagnostics.Add({"--set " + value.setting, {}, {}, std::move(message), std::move(hint)});
  } else {
    diagnostics.Add(*value.file, value.pointer, std::move(message), std::move(hint));
  }
}

GraphSpec ParseSpec(std::shared_ptr<const JsonText> text, const std::vector<std::string>& settings,
                    Diagnostics& diagnostics) {
  GraphSpec spec;
  ReadFiles(std::move(text), spec, diagnostics);
  for (const std::string& setting : settings) ApplySetting(setting, spec, diagnostics);
  return spec;
}

bool ParseSelector(std::string_view text, Selector& selector, std::string& error) {
  const size_t open = text.find('[');
  selector.node = std::string(text.substr(0, open));
  selector.where.clear();
  if (!IsPath(selector.node)) {
    error = fmt::format("\"{}\" is not a reference: expected \"node\" or \"node[axis=value,...]\"",
                        text);
    return false;
  }
  if (open == std::string_view::npos) return true;
  if (text.back() != ']' || text.size() < open + 2) {
    error = fmt::format("\"{}\" lacks its closing ']'", text);
    return false;
  }
  std::string_view rest = text.substr(open + 1, text.size() - open - 2);
  while (true) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos || !IsName(item.substr(0, equals))) {
      error =
          fmt::format("\"{}\": expected axis=value between the brackets, got \"{}\"", text, item);
      return false;
    }
    const std::string_view axis = item.substr(0, equals);
    if (selector.where.size() == kMaxConditions) {
      error = fmt::format("more than {} conditions in one reference", kMaxConditions);
      return false;
    }
    for (const auto& [other, unused] : selector.where) {
      if (other == axis) {
        error = fmt::format("\"{}\" names the axis \"{}\" twice", text, axis);
        return false;
      }
    }
    selector.where.emplace_back(axis, item.substr(equals + 1));
    if (comma == std::string_view::npos) return true;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace puzzle
