// Whether a text is well-formed XML: enough of it for what we write ourselves.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace puzzle::testing {

/// What is wrong with the text, or "". Knows elements, attributes, the five entities and character
/// numbers; a DOCTYPE in front is skipped.
inline std::string XmlMistake(std::string_view text) {
  const std::string_view doctype = "<!DOCTYPE html>";
  if (text.starts_with(doctype)) text.remove_prefix(doctype.size());
  const auto entities = [](std::string_view content) -> std::string {
    for (size_t at = content.find('&'); at != std::string_view::npos;
         at = content.find('&', at + 1)) {
      const std::string_view name = content.substr(at + 1, content.find(';', at) - at - 1);
      if (name != "lt" && name != "gt" && name != "amp" && name != "quot" && name != "apos" &&
          !name.starts_with('#')) {
        return "unknown entity near: " + std::string(content.substr(at, 20));
      }
    }
    return {};
  };
  std::vector<std::string> open;
  bool root_seen = false;
  while (!text.empty()) {
    const size_t next = text.find('<');
    const std::string_view content = text.substr(0, next);
    if (const std::string mistake = entities(content); !mistake.empty()) return mistake;
    if (open.empty() && content.find_first_not_of(" \n") != std::string_view::npos) {
      return "text outside of the root: " + std::string(content.substr(0, 40));
    }
    if (next == std::string_view::npos) break;
    text.remove_prefix(next + 1);
    const bool closing = text.starts_with('/');
    if (closing) text.remove_prefix(1);
    const size_t name_end = text.find_first_of(" />\n");
    if (name_end == 0 || name_end == std::string_view::npos) return "a tag without a name";
    const std::string name(text.substr(0, name_end));
    text.remove_prefix(name_end);
    std::vector<std::string> attributes;
    while (true) {
      text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
      if (text.empty()) return "the tag " + name + " has no end";
      if (text.front() == '>' || text.front() == '/') break;
      const size_t equals = text.find('=');
      if (equals == std::string_view::npos || text.substr(equals + 1, 1) != "\"") {
        return "an attribute of " + name + " without a quoted value";
      }
      attributes.emplace_back(text.substr(0, equals));
      const size_t end = text.find('"', equals + 2);
      if (end == std::string_view::npos) return "a value without an end in " + name;
      const std::string_view value = text.substr(equals + 2, end - equals - 2);
      if (value.find('<') != std::string_view::npos) return "'<' in a value of " + name;
      if (const std::string mistake = entities(value); !mistake.empty()) return mistake;
      for (size_t i = 0; i + 1 < attributes.size(); ++i) {
        if (attributes[i] == attributes.back()) return "attribute twice in " + name;
      }
      text.remove_prefix(end + 1);
    }
    const bool empty = text.front() == '/';
    text.remove_prefix(empty ? 2 : 1);
    if (closing) {
      if (open.empty() || open.back() != name) return "</" + name + "> closes nothing";
      open.pop_back();
    } else {
      if (open.empty() && root_seen) return "a second root: " + name;
      root_seen = true;
      if (!empty) open.push_back(name);
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

}  // namespace puzzle::testing
