#include "apps/shell/manual.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

namespace puzzle {
namespace {

// Text as troff shows it unchanged: no requests, no escapes, no hyphens that become dashes.
std::string Plain(const std::string& text) {
  std::string plain;
  bool begins = true;
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) plain += "\\&";
    begins = c == '\n';
    if (c == '\\') {
      plain += "\\e";
    } else if (c == '-') {
      plain += "\\-";
    } else {
      plain += c;
    }
  }
  return plain;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// "TEXT:{dot,mermaid}" says what may be given: {dot,mermaid}.
std::string ValueText(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  const std::string type = option.get_type_name();
  const size_t set = type.find('{');
  return set == std::string::npos ? type.substr(0, type.find(':')) : type.substr(set);
}

std::string OptionText(const CLI::Option& option) {
  std::string names;
  const auto add = [&](const std::string& name) {
    names += (names.empty() ? "" : ", ") + ("\\fB" + Plain(name) + "\\fR");
  };
  if (option.get_positional()) {
    names = "\\fI" + Plain(option.get_name(true)) + "\\fR";
  } else {
    for (const std::string& name : option.get_snames()) add("-" + name);
    for (const std::string& name : option.get_lnames()) add("--" + name);
    if (const std::string value = ValueText(option); !value.empty())
      names += " \\fI" + Plain(value) + "\\fR";
  }
  std::string text = ".TP\n" + names + "\n" + Plain(option.get_description());
  const std::string standard = option.get_default_str();
  if (!standard.empty()) text += Plain(fmt::format(" (default: {})", standard));
  return text + "\n";
}

void AddOptions(const CLI::App& verb, std::string& text) {
  for (const CLI::Option* option : verb.get_options()) {
    if (option->check_name("--help")) continue;
    text += OptionText(*option);
  }
}

void AddVerb(const CLI::App& verb, const std::string& name, std::string& text) {
  text += fmt::format(".SS {}\n{}\n", Plain(name), Plain(verb.get_description()));
  AddOptions(verb, text);
  const auto below = verb.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : below)
    if (sub->get_name().empty()) AddOptions(*sub, text);  // a group of options
  if (std::string footer = verb.get_footer(); !footer.empty())
    text += fmt::format(".PP\n.nf\n{}\n.fi\n", Plain(footer));
  for (const CLI::App* sub : below)
    if (!sub->get_name().empty()) AddVerb(*sub, name + " " + sub->get_name(), text);
}

}  // namespace

std::string ManualPage(const CLI::App& app, const std::string& version) {
  const std::string name = app.get_name();
  std::string text = fmt::format(".TH {} 1 \"\" \"{} {}\"\n", Upper(name), name, version);
  text += fmt::format(".SH NAME\n{} \\- compress language models by the Puzzle method\n", name);
  text += fmt::format(".SH SYNOPSIS\n.B {}\n.I VERB\n[\\fIoptions\\fR]\n", name);
  text += fmt::format(".SH DESCRIPTION\n{}\n", Plain(app.get_description()));
  text += ".SH VERBS\n";
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    AddVerb(*verb, verb->get_name(), text);
  text +=
      ".SH EXIT STATUS\n0 done, 1 a step failed, 2 bad input, 130 interrupted.\n"
      ".SH FILES\n.TP\n\\fIstore\\fR\nThe folder of finished results, unless \\fB\\-\\-store\\fR "
      "names "
      "another.\n.TP\n\\fI../share/puzzleflow/configs\\fR\nGraphs to begin with, beside the folder "
      "of "
      "the program.\n";
  return text;
}

}  // namespace puzzle
