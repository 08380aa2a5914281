#include "graph/plan/reason.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/kind/params.h"
#include "graph/plan/key.h"

namespace puzzle {
namespace {

using nlohmann::json;

/// A side of a change for people: short, "(none)" where there is nothing.
std::string Shown(const std::string& value) {
  if (value.empty()) return "(none)";
  return value.size() > 48 ? value.substr(0, 45) + "..." : value;
}

/// Files and folders stand in a recipe by content.
bool IsContent(const json& params, const std::string& name) {
  const auto is_one = [](const json& value) {
    return value.is_object() && value.size() == 1 && value.contains("content");
  };
  const auto it = params.find(name);
  if (it == params.end()) return false;
  if (!it->is_array()) return is_one(*it);
  return !it->empty() && std::all_of(it->begin(), it->end(), is_one);
}

size_t CountOf(const std::string& list) {
  const json value = json::parse(list, nullptr, /*allow_exceptions=*/false);
  return value.is_array() ? value.size() : 0;
}

/// Compares two recipes; stops at the first change when asked to.
class Comparison {
 public:
  Comparison(const json& before, const json& after, bool first_only)
      : before_(before), after_(after), first_only_(first_only) {
    Scalar("format", Change::What::kFormat);
    Scalar("kind", Change::What::kKind);
    Scalar("version", Change::What::kVersion);
    Members("params", Change::What::kParam);
    Members("environment", Change::What::kEnvironment);
    if (after.contains("inputs")) Members("inputs", Change::What::kInput);
  }
  std::vector<Change> Take() { return std::move(changes_); }

 private:
  bool Enough() const { return first_only_ && !changes_.empty(); }

  void Add(Change::What what, const std::string& name, const json* before, const json* after) {
    changes_.push_back({what, name, before == nullptr ? "" : CanonicalText(*before),
                        after == nullptr ? "" : CanonicalText(*after), ""});
  }

  static const json* Find(const json& object, const std::string& name) {
    const auto it = object.find(name);
    return it == object.end() ? nullptr : &*it;
  }

  void Scalar(const char* name, Change::What what) {
    if (Enough()) return;
    const json* before = Find(before_, name);
    const json* after = Find(after_, name);
    if (before == nullptr || after == nullptr || *before != *after) Add(what, "", before, after);
  }

  void Members(const char* section, Change::What what) {
    if (Enough()) return;
    static const json kNone = json::object();
    const auto members = [&](const json& recipe) -> const json& {
      const json* found = Find(recipe, section);
      return found == nullptr || !found->is_object() ? kNone : *found;
    };
    const json& before = members(before_);
    const json& after = members(after_);
    const auto add = [&](const std::string& name, const json* was, const json* is) {
      const bool content =
          what == Change::What::kParam && (IsContent(before, name) || IsContent(after, name));
      Add(content ? Change::What::kContent : what, name, was, is);
    };
    for (const auto& [name, value] : after.items()) {
      const json* was = Find(before, name);
      if (was == nullptr || *was != value) add(name, was, &value);
      if (Enough()) return;
    }
    for (const auto& [name, value] : before.items()) {
      if (!after.contains(name)) add(name, &value, nullptr);
      if (Enough()) return;
    }
  }

  const json& before_;
  const json& after_;
  const bool first_only_;
  std::vector<Change> changes_;
};

}  // namespace

std::string Change::Component() const {
  switch (what) {
    case What::kFormat:
      return "format";
    case What::kKind:
      return "kind";
    case What::kVersion:
      return "version";
    case What::kParam:
    case What::kContent:
      return "params." + name;
    case What::kEnvironment:
      return "environment." + name;
    case What::kInput:
      return "inputs." + name;
  }
  return {};
}

std::string Change::Text() const {
  switch (what) {
    case What::kFormat:
      return "key format changed";
    case What::kKind: {
      const auto bare = [](const std::string& text) {
        return text.size() < 2 ? text : text.substr(1, text.size() - 2);
      };
      return fmt::format("kind {} -> {}", bare(before), bare(after));
    }
    case What::kVersion:
      return fmt::format("kind version {} -> {}", before, after);
    case What::kContent:
      return subject.empty() ? Component() + ": content changed"
                             : fmt::format("{}: content of {} changed", Component(), subject);
    case What::kParam:
    case What::kEnvironment:
      return fmt::format("{}: {} -> {}", Component(), Shown(before), Shown(after));
    case What::kInput:
      break;
  }
  const size_t n_before = CountOf(before), n_after = CountOf(after);
  if (n_before != n_after) {
    return fmt::format("input {}: {} artifact{} -> {}", name, n_before, n_before == 1 ? "" : "s",
                       n_after);
  }
  return fmt::format("input {} changed{}", name, subject.empty() ? "" : " (" + subject + ")");
}

std::vector<Change> AllChanges(const json& before, const json& after) {
  return Comparison(before, after, /*first_only=*/false).Take();
}

std::optional<Change> FirstChange(const json& before, const json& after) {
  std::vector<Change> changes = Comparison(before, after, /*first_only=*/true).Take();
  if (changes.empty()) return std::nullopt;
  return std::move(changes.front());
}

json OpenRecipe(const Plan& plan, StepId step) {
  const NodeKind& kind = plan.kind(step);
  json recipe = {{"format", kKeyFormat},
                 {"kind", kind.name},
                 {"version", kind.version},
                 {"params", json::parse(plan.steps[step].params.keyed)}};
  const auto environment = KeyedEnvironment(plan, step);
  if (kind.needs == Needs::kQuietDevice || !environment.empty())
    recipe["environment"] = environment;
  return recipe;
}

void NameSubject(const Plan& plan, StepId id, Change& change) {
  const Step& step = plan.steps[id];
  if (change.what == Change::What::kContent) {
    std::vector<std::string> paths;
    for (const auto& [param, path] : step.params.input_paths)
      if (param == change.name) paths.push_back(path);
    const json before = json::parse(change.before, nullptr, /*allow_exceptions=*/false);
    const json after = json::parse(change.after, nullptr, /*allow_exceptions=*/false);
    const bool pairs = before.is_array() && after.is_array() && before.size() == after.size() &&
                       after.size() == paths.size();
    for (size_t i = 0; i < paths.size(); ++i) {
      if (pairs && before[i] == after[i]) continue;
      change.subject += (change.subject.empty() ? "" : ", ") + paths[i];
    }
  }
  if (change.what != Change::What::kInput) return;
  const auto& ports = plan.kind(id).ports;
  for (size_t p = 0; p < ports.size() && p < step.inputs.size(); ++p) {
    if (ports[p].name == change.name && step.inputs[p].size() == 1) {
      change.subject = plan.steps[step.inputs[p].front()].name;
    }
  }
}

}  // namespace puzzle
