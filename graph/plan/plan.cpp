#include "graph/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "graph/language/substitute.h"
#include "graph/plan/key.h"
#include "graph/plan/resolve.h"
#include "graph/plan/shared_params.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

constexpr int kMaxRetries = 100;
constexpr size_t kMaxEdges = 20'000'000;
constexpr size_t kMaxComparisons = 1'000'000'000;  // of elements with overrides
constexpr size_t kMaxRepeated = 1000;              // mistakes in the elements of one node

/// One parameter as written in the graph, looked up in the kind's table.
struct WrittenParam {
  const SpecValue* place;
  int index;
  bool varies;  // contains ${...}
  /// A text that comes from a variable or from the command line may look like a number.
  bool number_is_text;
};

struct WrittenOverride {
  ElementFilter filter;
  std::vector<WrittenParam> params;
};

/// One input as written in the graph.
struct WrittenInput {
  const SpecValue* place;
  size_t port;
  bool varies;
  std::vector<StepId> constant;  // resolved once when nothing varies
};

/// Builds a plan; one object per call of MakePlan.
class Planner {
 public:
  Planner(const GraphSpec& spec, const Registry& registry, const PlanOptions& options,
          Diagnostics& diagnostics)
      : spec_(spec), registry_(registry), options_(options), diagnostics_(diagnostics) {}

  Plan Make() {
    plan_.numerics = options_.numerics;
    EvaluateFiles();
    const SharedParams shared(spec_, registry_, scopes_, diagnostics_);
    shared_ = &shared;
    for (const NodeSpec& node : spec_.nodes) {
      if (diagnostics_.full()) return std::move(plan_);
      AddNode(node);
    }
    Resolver resolver(plan_, expansions_, diagnostics_);
    for (size_t n = 0; n < spec_.nodes.size() && !diagnostics_.full(); ++n) {
      ConnectNode(n, resolver);
    }
    CheckOutputFolders();
    if (const std::vector<StepId> cycle = plan_.Link(); !cycle.empty()) ComplainCycle(cycle);
    FindEnvironments();
    return std::move(plan_);
  }

 private:
  void EvaluateFiles() {
    vars_.resize(spec_.files.size());
    scopes_.resize(spec_.files.size(), Scope(budget_));
    for (size_t f = 0; f < spec_.files.size(); ++f) {
      const FileSpec& file = spec_.files[f];
      vars_[f] = EvaluateVars(file, scopes_[file.parent], options_.layers_of, diagnostics_);
      for (const auto& [name, value] : vars_[f]) scopes_[f].SetVar(name, &value);
      for (const auto& [name, text] : TypedVars(file, scopes_[file.parent])) {
        scopes_[f].SetTyped(name, text);
      }
    }
  }

  void FindEnvironments() {
    if (!options_.environment) return;
    for (const PlanNode& node : plan_.nodes) {
      if (node.kind == nullptr || node.kind->needs != Needs::kQuietDevice) continue;
      for (uint32_t i = 0; i < node.count; ++i) {
        const std::string type = AskedFor(*node.kind, plan_.steps[node.first + i]).device_type;
        if (!plan_.environments.contains(type))
          plan_.environments[type] = options_.environment(type);
      }
    }
  }

  /// The value of "retries" or "timeout", or `otherwise` when it is not given or no good.
  double NodeNumber(const NodeSpec& node, const SpecValue& place, double otherwise,
                    const std::function<bool(const ordered_json&)>& good, const char* expected) {
    if (!place) return otherwise;
    SubstituteError error;
    const auto value = Substitute(*place.value, scopes_[node.file], error);
    if (!value) {
      Complain(place, error.message, error.hint, diagnostics_);
    } else if (!value->is_number() || !good(*value)) {
      Complain(place, fmt::format("expected {}, got {}", expected, value->dump()), "",
               diagnostics_);
    } else {
      return value->get<double>();
    }
    return otherwise;
  }

  void AddNode(const NodeSpec& node) {
    PlanNode entry{node.name, node.doc, registry_.Find(node.kind),
                   static_cast<StepId>(plan_.steps.size()), 0};
    entry.retries = static_cast<int>(NodeNumber(
        node, node.retries, 0,
        [](const ordered_json& n) { return n.is_number_integer() && n >= 0 && n <= kMaxRetries; },
        "an integer from 0 to 100"));
    entry.timeout_s = NodeNumber(
        node, node.timeout, 0, [](const ordered_json& n) { return n > 0; },
        "a number of seconds above 0");
    if (entry.kind == nullptr && !node.kind.empty()) {
      std::vector<std::string> names;
      for (const NodeKind& kind : registry_.kinds()) names.push_back(kind.name);
      ComplainAt(node, "/kind", fmt::format("unknown kind \"{}\"", node.kind),
                 DidYouMean(node.kind, names));
    }
    Expansion expansion = Expand(node, scopes_[node.file], options_.layers_of, diagnostics_);
    if (plan_.steps.size() + expansion.elements.size() > options_.max_steps) {
      ComplainAt(node, "/foreach",
                 fmt::format("more than {} steps in the graph", options_.max_steps));
      expansion.elements.clear();
    }
    const auto too_much = [&](const char* member, const std::string& message) {
      ComplainAt(node, member, message);
      expansion.elements.clear();
    };
    if (const size_t n = node.overrides.size();
        n > 0 && expansion.elements.size() > kMaxComparisons / n) {
      too_much("/overrides",
               fmt::format("{} elements and {} overrides are more than {} comparisons",
                           expansion.elements.size(), n, kMaxComparisons));
    }
    if (!expansion.elements.empty() &&
        !budget_.Spend(expansion.elements.size() *
                       CostOfText(node.name.size() + expansion.LongestLabel()))) {
      too_much("/foreach", "the names of its steps would be too long together");
    }
    entry.count = static_cast<uint32_t>(expansion.elements.size());
    const auto index = static_cast<uint32_t>(plan_.nodes.size());
    for (size_t e = 0; e < entry.count; ++e) {
      Step step;
      step.name = node.name + expansion.Label(e);
      step.node = index;
      plan_.steps.push_back(std::move(step));
    }
    if (entry.kind != nullptr) BindParams(node, entry, expansion);
    plan_.nodes.push_back(std::move(entry));
    expansions_.push_back(std::move(expansion));
  }

  /// A mistake at a member of a node, or at the node when it has no such member.
  void ComplainAt(const NodeSpec& node, const std::string& member, std::string message,
                  std::string hint = {}) {
    SpecValue place = node.place;
    if (place.value->contains(member.substr(1))) place.pointer += member;
    Complain(place, std::move(message), std::move(hint), diagnostics_);
  }

  WrittenParam Lookup(const ParamBinder& binder, const std::string& kind, const std::string& name,
                      const SpecValue& place) {
    const int index = binder.Find(name);
    if (index < 0) {
      Complain(place, fmt::format("kind \"{}\" has no parameter \"{}\"", kind, name),
               DidYouMean(name, binder.Names()), diagnostics_);
    }
    const bool varies = HasReference(*place.value);
    return {&place, index, varies,
            index >= 0 && binder.IsText(index) && (varies || !place.setting.empty())};
  }

  void BindParams(const NodeSpec& node, const PlanNode& entry, const Expansion& expansion) {
    const ParamBinder binder(*entry.kind, options_.files);
    std::vector<WrittenParam> written;
    for (const auto& [name, place] : node.params) {
      written.push_back(Lookup(binder, node.kind, name, place));
    }
    std::vector<WrittenOverride> overrides;
    for (const OverrideSpec& spec : node.overrides) {
      WrittenOverride entry_override{
          ElementFilter(spec.where, expansion, scopes_[node.file], diagnostics_), {}};
      for (const auto& [name, place] : spec.params) {
        entry_override.params.push_back(Lookup(binder, node.kind, name, place));
      }
      overrides.push_back(std::move(entry_override));
    }

    Scope scope = scopes_[node.file];
    const size_t n_params = entry.kind->params.size();
    std::vector<const ordered_json*> common(n_params);  // what the graph says once
    for (size_t i = 0; i < n_params; ++i)
      common[i] = shared_->Find(node.file, entry.kind->params[i]);
    std::vector<const ordered_json*> given(n_params);
    std::vector<const SpecValue*> places(n_params);
    std::vector<ordered_json> substituted(n_params);
    std::vector<ParamMistake> mistakes;
    const auto take = [&](const WrittenParam& param) {
      if (param.index < 0) return;
      const auto i = static_cast<size_t>(param.index);
      given[i] = param.place->value.get();
      places[i] = param.place;
      if (!param.varies && !param.number_is_text) return;
      SubstituteError error;
      std::optional<ordered_json> value = param.number_is_text
                                              ? SubstituteAsText(*param.place, scope, error)
                                              : Substitute(*param.place->value, scope, error);
      if (!value) {
        Complain(*param.place, error.message, error.hint, diagnostics_);
        substituted_failed_ = true;
        return;
      }
      if (value->is_null() && !diagnostics_.empty()) substituted_failed_ = true;  // failed variable
      substituted[i] = std::move(*value);
      given[i] = &substituted[i];
    };
    const size_t mistakes_before = diagnostics_.added();
    for (uint32_t e = 0; e < entry.count; ++e) {
      if (diagnostics_.added() > mistakes_before + kMaxRepeated) return;
      SetAxes(expansion, e, scope);
      given = common;
      std::fill(places.begin(), places.end(), nullptr);
      substituted_failed_ = false;
      for (const WrittenParam& param : written) take(param);
      for (const WrittenOverride& entry_override : overrides) {
        if (!entry_override.filter.Matches(expansion.elements[e])) continue;
        for (const WrittenParam& param : entry_override.params) take(param);
      }
      if (substituted_failed_) continue;
      mistakes.clear();
      plan_.steps[entry.first + e].params = binder.Bind(given, mistakes);
      for (const ParamMistake& mistake : mistakes) {
        ComplainParam(node, binder, places, mistake);
      }
    }
  }

  void ComplainParam(const NodeSpec& node, const ParamBinder& binder,
                     const std::vector<const SpecValue*>& places, const ParamMistake& mistake) {
    const int index = mistake.param.empty() ? -1 : binder.Find(mistake.param);
    const SpecValue* place = index < 0 ? nullptr : places[static_cast<size_t>(index)];
    if (place != nullptr) {
      Complain(*place, mistake.message, mistake.hint, diagnostics_);
      return;
    }
    ComplainAt(node, "/params", mistake.message, mistake.hint);
  }

  static void SetAxes(const Expansion& expansion, size_t element, Scope& scope) {
    for (size_t a = 0; a < expansion.axes.size(); ++a) {
      const Axis& axis = expansion.axes[a];
      scope.SetAxis(axis.name, &axis.values[expansion.elements[element][a]]);
    }
  }

  void ConnectNode(size_t n, Resolver& resolver) {
    const NodeSpec& node = spec_.nodes[n];
    const PlanNode& entry = plan_.nodes[n];
    if (entry.kind == nullptr) return;
    const NodeKind& kind = *entry.kind;
    std::vector<WrittenInput> written = CheckPorts(node, kind);
    const Expansion& expansion = expansions_[n];
    const std::string& prefix = spec_.files[node.file].prefix;
    Scope scope = scopes_[node.file];
    for (WrittenInput& input : written) {
      if (input.varies) continue;
      input.constant =
          resolver.Resolve(*input.place, prefix, *input.place->value, kind.ports[input.port]);
    }
    const size_t mistakes_before = diagnostics_.added();
    for (uint32_t e = 0; e < entry.count; ++e) {
      if (diagnostics_.added() > mistakes_before + kMaxRepeated) return;
      Step& step = plan_.steps[entry.first + e];
      step.inputs.resize(kind.ports.size());
      SetAxes(expansion, e, scope);
      for (const WrittenInput& input : written) {
        if (!input.varies) {
          if (!CountEdges(input.constant.size(), *input.place)) return;
          step.inputs[input.port] = input.constant;
          continue;
        }
        SubstituteError error;
        const auto value = Substitute(*input.place->value, scope, error);
        if (!value) {
          Complain(*input.place, error.message, error.hint, diagnostics_);
        } else {
          step.inputs[input.port] =
              resolver.Resolve(*input.place, prefix, *value, kind.ports[input.port]);
          if (!CountEdges(step.inputs[input.port].size(), *input.place)) return;
        }
      }
      if (diagnostics_.added() == mistakes_before) CheckConnected(node, kind, step);
    }
  }

  void CheckConnected(const NodeSpec& node, const NodeKind& kind, const Step& step) {
    if (!kind.check_ports || step.params.value == nullptr) return;
    const auto has = [&](std::string_view port) {
      for (size_t p = 0; p < kind.ports.size(); ++p)
        if (kind.ports[p].name == port) return !step.inputs[p].empty();
      return false;
    };
    if (const auto message = kind.check_ports(step.params.value.get(), has))
      ComplainAt(node, "/in", *message);
  }

  /// False, after one complaint, when the graph has too many edges.
  bool CountEdges(size_t more, const SpecValue& place) {
    n_edges_ += more;
    if (n_edges_ <= kMaxEdges) return true;
    Complain(place, fmt::format("more than {} inputs of steps in the graph", kMaxEdges), "",
             diagnostics_);
    return false;
  }

  /// Two steps that fill one folder would leave what the last one wrote, and write again for ever.
  void CheckOutputFolders() {
    std::unordered_map<std::string, StepId> filled;
    for (StepId id = 0; id < plan_.steps.size(); ++id) {
      for (const auto& [param, path] : plan_.steps[id].params.output_paths) {
        if (path.empty()) continue;
        const auto [other, inserted] = filled.emplace(WholePath(path), id);
        if (inserted) continue;
        ComplainAt(
            spec_.nodes[plan_.steps[id].node], "/params",
            fmt::format("{} and {} both fill the folder \"{}\" (parameter \"{}\"): every run "
                        "would overwrite one with the other",
                        plan_.steps[other->second].name, plan_.steps[id].name, path, param),
            "put an axis into the path, such as ${layer}");
      }
    }
    if (!filled.empty()) CheckReadFolders(filled);
  }

  /// A model that somebody has nowhere else may lie where a graph reads it.
  void CheckReadFolders(const std::unordered_map<std::string, StepId>& filled) {
    std::unordered_set<std::string> looked_at;
    for (const Step& reader : plan_.steps) {
      for (const auto& [param, path] : reader.params.input_paths) {
        if (path.empty() || !looked_at.insert(path).second) continue;
        const auto found = filled.find(WholePath(path));
        if (found == filled.end()) continue;
        const Step& filler = plan_.steps[found->second];
        ComplainAt(
            spec_.nodes[filler.node], "/params",
            fmt::format("{} fills the folder \"{}\", which {} reads (parameter \"{}\"): what "
                        "is there would be lost",
                        filler.name, path, reader.name, param),
            "give it another folder");
      }
    }
  }

  static std::string WholePath(const std::string& path) {
    std::error_code failure;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(path, failure);
    std::string text = (failure ? std::filesystem::path(path) : whole).lexically_normal().string();
    while (text.size() > 1 && text.back() == '/') text.pop_back();
    return text;
  }

  /// Matches the "in" of a node with the ports of its kind.
  std::vector<WrittenInput> CheckPorts(const NodeSpec& node, const NodeKind& kind) {
    std::vector<std::string> names;
    for (const PortSpec& port : kind.ports) names.push_back(port.name);
    std::vector<WrittenInput> written;
    std::vector<bool> connected(kind.ports.size(), false);
    for (const auto& [name, place] : node.in) {
      const auto port = std::find(names.begin(), names.end(), name);
      if (port == names.end()) {
        Complain(place, fmt::format("kind \"{}\" has no input \"{}\"", kind.name, name),
                 DidYouMean(name, names), diagnostics_);
        continue;
      }
      const auto index = static_cast<size_t>(port - names.begin());
      connected[index] = true;
      written.push_back({&place, index, HasReference(*place.value), {}});
    }
    for (size_t i = 0; i < names.size(); ++i) {
      if (connected[i] || kind.ports[i].arity == PortSpec::Arity::kOptional) continue;
      ComplainAt(node, "/in",
                 fmt::format("input \"{}\" ({} of type \"{}\") is not connected", names[i],
                             kind.ports[i].arity == PortSpec::Arity::kList ? "a list" : "a step",
                             kind.ports[i].type));
    }
    return written;
  }

  void ComplainCycle(const std::vector<StepId>& cycle) {
    std::string text;
    for (const StepId step : cycle) {
      if (!text.empty()) text += " -> ";
      text += plan_.steps[step].name;
    }
    ComplainAt(spec_.nodes[plan_.steps[cycle.front()].node], "/in",
               "steps wait for each other in a circle: " + text);
  }

  const GraphSpec& spec_;
  const Registry& registry_;
  const PlanOptions& options_;
  Diagnostics& diagnostics_;
  Budget budget_;
  size_t n_edges_ = 0;
  std::vector<std::map<std::string, ordered_json>> vars_;  // per file
  std::vector<Scope> scopes_;                              // likewise
  Plan plan_;
  std::vector<Expansion> expansions_;
  const SharedParams* shared_ = nullptr;
  bool substituted_failed_ = false;
};

}  // namespace

Plan MakePlan(const GraphSpec& spec, const Registry& registry, const PlanOptions& options,
              Diagnostics& diagnostics) {
  return Planner(spec, registry, options, diagnostics).Make();
}

std::vector<StepId> Plan::Link() {
  const size_t n = steps.size();
  predecessor_begin_.assign(n + 1, 0);
  successor_begin_.assign(n + 1, 0);
  predecessors_.clear();
  std::vector<StepId> own;
  for (StepId s = 0; s < n; ++s) {
    own.clear();
    for (const auto& port : steps[s].inputs) own.insert(own.end(), port.begin(), port.end());
    std::sort(own.begin(), own.end());
    own.erase(std::unique(own.begin(), own.end()), own.end());
    predecessors_.insert(predecessors_.end(), own.begin(), own.end());
    predecessor_begin_[s + 1] = static_cast<uint32_t>(predecessors_.size());
    for (const StepId p : own) ++successor_begin_[p + 1];
  }
  for (size_t s = 0; s < n; ++s) successor_begin_[s + 1] += successor_begin_[s];
  successors_.resize(predecessors_.size());
  std::vector<uint32_t> fill(successor_begin_.begin(), successor_begin_.end() - 1);
  for (StepId s = 0; s < n; ++s) {
    for (const StepId p : predecessors(s)) successors_[fill[p]++] = s;
  }

  order.clear();
  order.reserve(n);
  std::vector<uint32_t> waiting(n);
  for (StepId s = 0; s < n; ++s) {
    waiting[s] = static_cast<uint32_t>(predecessors(s).size());
    if (waiting[s] == 0) order.push_back(s);
  }
  for (size_t i = 0; i < order.size(); ++i) {
    for (const StepId next : successors(order[i])) {
      if (--waiting[next] == 0) order.push_back(next);
    }
  }
  if (order.size() == n) return {};

  // Every step left over has a left-over input: walking to inputs must close a circle.
  StepId at = 0;
  while (waiting[at] == 0) ++at;
  std::vector<StepId> path;
  std::vector<size_t> position(n, SIZE_MAX);
  while (position[at] == SIZE_MAX) {
    position[at] = path.size();
    path.push_back(at);
    for (const StepId p : predecessors(at)) {
      if (waiting[p] > 0) {
        at = p;
        break;
      }
    }
  }
  std::vector<StepId> cycle(path.begin() + static_cast<ptrdiff_t>(position[at]), path.end());
  cycle.push_back(at);
  return cycle;
}

}  // namespace puzzle
