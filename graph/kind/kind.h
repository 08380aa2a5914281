// What the author of a node kind reads. A kind is a table (NodeKind, built with Kind<Params>) plus
// one function (its Body). Tables are plain data and need no heavy library, so graphs can be
// checked, planned and drawn without one; bodies are added where steps really run.
//
// Values unless said otherwise; a finished NodeKind is immutable and shared by threads.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <typeindex>
#include <variant>
#include <vector>

#include "graph/kind/artifact.h"
#include "graph/kind/context.h"

namespace puzzle {

// ---------------------------------------------------------------------------------------------
// Parameters

/// The types a parameter can have. `json` parameters are free-form objects that the kind checks.
using ParamMember = std::variant<int64_t*, double*, bool*, std::string*, std::vector<int64_t>*,
                                 std::vector<double>*, std::vector<std::string>*, nlohmann::json*>;

/// One lambda per type of a ParamMember, for std::visit.
template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

/// One condition on, or property of, a parameter; see the functions below.
struct ParamRule {
  enum class Type {
    kRequired,      // has no default: the graph must give it
    kAtLeast,       // number (or every element) >= low
    kBetween,       // low <= number <= high
    kOneOf,         // text (or every element) is one of `options`
    kInputFile,     // text names a file: its content, not its name, enters the key
    kInputFolder,   // text names a folder: `digest` of it, not its name, enters the key
    kOutputFolder,  // text names a folder that the step fills; attribute "files" of the artifact,
                    // {relative name: bytes}, says with what; the step is stale when one is gone,
                    // or another result of the step took its place
    kUnkeyed,       // does not change the result (a log interval): not part of the key
    kOncePerGraph,  // one value for all steps of a graph file that have a parameter of this name:
                    // what one node gives holds for those that give none
  };
  Type type = Type::kRequired;
  double low = 0;
  double high = 0;
  std::vector<std::string> options;
  std::function<std::string(const std::string& path)> digest;
};

[[nodiscard]] ParamRule Required();
[[nodiscard]] ParamRule AtLeast(double low);
[[nodiscard]] ParamRule Between(double low, double high);
[[nodiscard]] ParamRule OneOf(std::vector<std::string> options);
[[nodiscard]] ParamRule InputFile();
/// `digest` throws Error when the folder is not what it should be; that becomes a diagnostic.
[[nodiscard]] ParamRule InputFolder(std::function<std::string(const std::string&)> digest);
[[nodiscard]] ParamRule OutputFolder();
[[nodiscard]] ParamRule Unkeyed();
[[nodiscard]] ParamRule OncePerGraph();

/// One row of a kind's parameter table. `member` finds the field in a Params struct.
struct ParamSpec {
  std::string name;
  std::string doc;
  std::vector<ParamRule> rules;
  std::function<ParamMember(void* params)> member;
};

// ---------------------------------------------------------------------------------------------
// Kinds

/// An input of a kind.
struct PortSpec {
  enum class Arity { kOne, kOptional, kList };
  std::string name;
  std::string type;  // artifact type name
  Arity arity = Arity::kOne;
  std::string doc;
};

/// What a step occupies while it runs.
enum class Needs {
  kHost,         // runs on any thread, must not use a device
  kDevice,       // one lane
  kQuietDevice,  // one lane, and no other step runs meanwhile: it measures time
};

/// What a step occupies, as far as the kind can tell. For scheduling only: it never changes a
/// result and never enters a key; but kinds that measure are bound to facts about the device type.
struct Resources {
  std::string device_type;    // "cpu", "cuda": where it can run; "": anywhere
  uint64_t memory_bytes = 0;  // on each device; records of past runs know better; 0: little
  int threads = 0;            // it uses at most so many; 0: as many as it gets
  int lanes = 1;              // of one type of device, at once: RunContext::devices
  uint64_t shared_bytes = 0;  // of inputs and what is made of them, which steps hold together
};

/// What a kind may ask about the results at a step's ports when it says what the step occupies.
class InputFacts {
 public:
  virtual ~InputFacts() = default;
  /// Bytes of their files together; 0 when nothing is connected.
  [[nodiscard]] virtual uint64_t Bytes(std::string_view port) const = 0;
  /// A scalar attribute of the one at a single port; 0 when there is none, or no number.
  [[nodiscard]] virtual double Number(std::string_view port, std::string_view name) const = 0;
};

/// What a body hands back: a value to be saved, or nothing when the archive was written on the way.
struct BodyResult {
  SizedValue value;
  std::function<void(ArchiveWriter&)> save;
};

/// The algorithm of a kind behind one type, and what it works on: a Registry joins it with its
/// table only where both say the same. Made by MakeBody or MakeStreamingBody.
struct Body {
  /// `params` points to the kind's Params struct; `out` is the artifact being written (used by
  /// streaming bodies only). Failures throw.
  std::function<BodyResult(const void* params, const Inputs& inputs, RunContext& context,
                           ArchiveWriter& out)>
      run;  // empty: this program has tables only
  std::type_index params = typeid(void);
  std::type_index artifact = typeid(void);
  std::string output;  // the artifact's type name
};

/// Whether anything is connected to a port of a step.
using ConnectedPorts = std::function<bool(std::string_view port)>;

/// The table of a kind. Build it with Kind<Params>.
struct NodeKind {
  std::string name;
  int version = 1;
  std::string doc;
  std::vector<PortSpec> ports;
  std::vector<ParamSpec> params;
  std::string output;  // artifact type name
  Needs needs = Needs::kHost;
  /// Of steps on a lane, once their inputs are there; may be empty.
  std::function<Resources(const void* params, const InputFacts& inputs)> resources;
  std::function<std::shared_ptr<void>()> make_params;  // a Params with its defaults
  std::type_index params_type = typeid(void);          // of that Params
  /// Further conditions across parameters: the message of what is wrong, or nothing.
  std::function<std::optional<std::string>(const void* params)> check;
  /// The same of parameters and optional ports together.
  std::function<std::optional<std::string>(const void* params, const ConnectedPorts& has)>
      check_ports;
  Body body;  // empty where only tables are linked
};

/// Builds a table:
///
///   Kind<ScoreParams>("score", 1, "KL from the parent when one block is replaced.")
///       .In("parent", "checkpoint", "the teacher").InList("blocks", "block", "candidates")
///       .Param("tokens", &ScoreParams::tokens, {AtLeast(1)}, "tokens to average over")
///       .Out("score").On(Needs::kDevice)
template <class P>
class Kind {
 public:
  Kind(std::string name, int version, std::string doc) {
    kind_.name = std::move(name);
    kind_.version = version;
    kind_.doc = std::move(doc);
    kind_.make_params = [] { return std::static_pointer_cast<void>(std::make_shared<P>()); };
    kind_.params_type = typeid(P);
  }

  Kind& In(std::string name, std::string type, std::string doc) {
    return Port(std::move(name), std::move(type), PortSpec::Arity::kOne, std::move(doc));
  }
  Kind& InOptional(std::string name, std::string type, std::string doc) {
    return Port(std::move(name), std::move(type), PortSpec::Arity::kOptional, std::move(doc));
  }
  Kind& InList(std::string name, std::string type, std::string doc) {
    return Port(std::move(name), std::move(type), PortSpec::Arity::kList, std::move(doc));
  }

  /// `member` may belong to a base of P, so that kinds can share parameters.
  template <class T, class Base>
  requires std::derived_from<P, Base> Kind& Param(std::string name, T Base::*member,
                                                  std::vector<ParamRule> rules, std::string doc) {
    kind_.params.push_back(
        {std::move(name), std::move(doc), std::move(rules),
         [member](void* params) -> ParamMember { return &(static_cast<P*>(params)->*member); }});
    return *this;
  }
  /// A condition across parameters, checked with everything else before any work.
  Kind& Check(std::function<std::optional<std::string>(const P&)> check) {
    kind_.check = [check = std::move(check)](const void* params) {
      return check(*static_cast<const P*>(params));
    };
    return *this;
  }
  /// A condition on which optional ports are connected, with these parameters: checked before any
  /// work as well, so that Run may rely on it.
  Kind& CheckPorts(
      std::function<std::optional<std::string>(const P&, const ConnectedPorts& has)> check) {
    kind_.check_ports = [check = std::move(check)](const void* params, const ConnectedPorts& has) {
      return check(*static_cast<const P*>(params), has);
    };
    return *this;
  }
  Kind& Out(std::string type) {
    kind_.output = std::move(type);
    return *this;
  }
  Kind& On(Needs needs) {
    kind_.needs = needs;
    return *this;
  }
  /// What a step with these parameters and inputs occupies, besides the inputs themselves: those
  /// are loaded once for all steps.
  Kind& Takes(std::function<Resources(const P&, const InputFacts&)> resources) {
    kind_.resources = [resources = std::move(resources)](const void* params,
                                                         const InputFacts& inputs) {
      return resources(*static_cast<const P*>(params), inputs);
    };
    return *this;
  }

  operator NodeKind() const { return kind_; }  // NOLINT(google-explicit-constructor)

 private:
  Kind& Port(std::string name, std::string type, PortSpec::Arity arity, std::string doc) {
    kind_.ports.push_back({std::move(name), std::move(type), arity, std::move(doc)});
    return *this;
  }

  NodeKind kind_;
};

/// The body of a kind whose function returns its artifact.
template <class P, ArtifactValue T>
[[nodiscard]] Body MakeBody(T (*run)(const P&, const Inputs&, RunContext&)) {
  return {[run](const void* params, const Inputs& inputs, RunContext& context, ArchiveWriter&) {
            auto value =
                std::make_shared<const T>(run(*static_cast<const P*>(params), inputs, context));
            return BodyResult{{value, value->ResidentBytes()},
                              [value](ArchiveWriter& writer) { value->Save(writer); }};
          },
          typeid(P), typeid(T), std::string(T::kType)};
}

/// The body of a kind whose function writes its artifact, a T, while it computes:
/// MakeStreamingBody<Activations>(RunActivations).
template <ArtifactValue T, class P>
[[nodiscard]] Body MakeStreamingBody(void (*run)(const P&, const Inputs&, RunContext&,
                                                 ArchiveWriter&)) {
  return {[run](const void* params, const Inputs& inputs, RunContext& context, ArchiveWriter& out) {
            run(*static_cast<const P*>(params), inputs, context, out);
            return BodyResult{};
          },
          typeid(P), typeid(T), std::string(T::kType)};
}

}  // namespace puzzle
