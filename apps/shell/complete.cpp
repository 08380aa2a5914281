#include "apps/shell/complete.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace puzzle {
namespace {

const CLI::Option* FindOption(const CLI::App& verb, const std::string& flag) {
  const auto found = verb.get_options([&](const CLI::Option* option) {
    return option->nonpositional() && option->check_name(flag);
  });
  return found.empty() ? nullptr : found.front();
}

bool TakesValue(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

// "TEXT:{dot,mermaid}" has two values.
std::vector<std::string> ValuesInType(const std::string& type) {
  std::vector<std::string> values;
  const size_t open = type.find('{'), close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return values;
  for (size_t at = open + 1; at < close;) {
    const size_t comma = std::min(type.find(',', at), close);
    values.push_back(type.substr(at, comma - at));
    at = comma + 1;
  }
  return values;
}

// A command line up to its last word.
class Typed {
 public:
  Typed(const CLI::App& app, const std::vector<std::string>& words) : verb_(&app) {
    for (size_t i = 0; i + 1 < words.size(); ++i) Read(words[i]);
  }

  [[nodiscard]] const CLI::App& verb() const { return *verb_; }
  /// The option whose value comes next.
  [[nodiscard]] const CLI::Option* pending() const { return pending_; }
  /// The argument without a flag that comes next.
  [[nodiscard]] const CLI::Option* argument() const {
    const auto arguments =
        verb_->get_options([](const CLI::Option* option) { return option->get_positional(); });
    if (arguments.empty()) return nullptr;
    const CLI::Option* last = arguments.back();
    if (arguments_.size() < arguments.size()) return arguments[arguments_.size()];
    return last->get_items_expected_max() > 1 ? last : nullptr;
  }
  [[nodiscard]] std::string FirstArgument() const {
    return arguments_.empty() ? "" : arguments_.front();
  }
  [[nodiscard]] const std::string& store() const { return store_; }

 private:
  void Read(const std::string& word) {
    if (pending_ != nullptr) {
      if (pending_->check_name("--store")) store_ = word;
      pending_ = nullptr;
      return;
    }
    if (word.starts_with("-") && word != "-") {
      const size_t equals = word.find('=');
      const CLI::Option* option = FindOption(*verb_, word.substr(0, equals));
      if (option == nullptr || !TakesValue(*option)) return;
      if (equals == std::string::npos) {
        pending_ = option;
      } else if (option->check_name("--store")) {
        store_ = word.substr(equals + 1);
      }
      return;
    }
    const auto below =
        verb_->get_subcommands([&](const CLI::App* sub) { return sub->get_name() == word; });
    if (!below.empty()) {
      verb_ = below.front();
    } else {
      arguments_.push_back(word);
    }
  }

  const CLI::App* verb_;
  const CLI::Option* pending_ = nullptr;
  std::vector<std::string> arguments_;
  std::string store_ = "store";
};

std::vector<std::string> ValuesOf(const CLI::Option& option, const Typed& typed,
                                  const std::string& word, const Known& known) {
  const std::string type = option.get_type_name();
  const std::string name = option.get_positional() ? option.get_name(true) : "";
  if (std::vector<std::string> values = ValuesInType(type); !values.empty()) return values;
  if (type.starts_with("TARGET") && known.settings) return known.settings(typed.FirstArgument());
  if (name == "KIND") return known.kinds;
  if (name.starts_with("STEP|KEY") || (name == "NAME" && typed.verb().get_parent() != nullptr))
    return known.results ? known.results(typed.store()) : std::vector<std::string>();
  if (type == "STEP" || name == "STEP")
    return known.steps ? known.steps(typed.FirstArgument(), word) : std::vector<std::string>();
  return {};
}

std::vector<std::string> FlagsOf(const CLI::App& verb) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    for (const std::string& name : option->get_snames()) flags.push_back("-" + name);
  }
  // Options of groups are asked for like the others.
  for (const CLI::App* group :
       verb.get_subcommands([](const CLI::App* sub) { return sub->get_name().empty(); })) {
    for (const std::string& flag : FlagsOf(*group)) flags.push_back(flag);
  }
  return flags;
}

}  // namespace

std::vector<std::string> Complete(const CLI::App& app, const std::vector<std::string>& words,
                                  const Known& known) {
  const std::string word = words.empty() ? "" : words.back();
  const Typed typed(app, words);
  std::vector<std::string> all;
  if (typed.pending() != nullptr) {
    all = ValuesOf(*typed.pending(), typed, word, known);
  } else if (word.starts_with("-")) {
    all = FlagsOf(typed.verb());
  } else {
    for (const CLI::App* sub : typed.verb().get_subcommands(
             [](const CLI::App* below) { return !below->get_name().empty(); }))
      all.push_back(sub->get_name());
    if (const CLI::Option* argument = typed.argument(); all.empty() && argument != nullptr)
      all = ValuesOf(*argument, typed, word, known);
  }
  std::erase_if(all, [&](const std::string& one) { return !one.starts_with(word); });
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

}  // namespace puzzle
