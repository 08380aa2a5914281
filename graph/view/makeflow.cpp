#include "graph/view/makeflow.h"

#include <fmt/format.h>

#include <cctype>
#include <nlohmann/json.hpp>

namespace puzzle {
namespace {

using nlohmann::ordered_json;

/// The file that says that a step is done; a name that needs no quotes.
std::string DoneFile(const Plan& plan, StepId id) {
  std::string node = plan.node_name(id);
  for (char& c : node) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return fmt::format("{:04}.{}.done", id, node);
}

}  // namespace

std::string MakeflowJson(const Plan& plan,
                         const std::function<std::string(const std::string&)>& command) {
  ordered_json rules = ordered_json::array();
  for (const StepId id : plan.order) {
    const std::string done = DoneFile(plan, id);
    ordered_json inputs = ordered_json::array();
    for (const StepId input : plan.predecessors(id)) inputs.push_back(DoneFile(plan, input));
    rules.push_back({{"outputs", {done}},
                     {"inputs", std::move(inputs)},
                     {"command", command(plan.steps[id].name) + " && touch " + done}});
  }
  const ordered_json document = {{"rules", std::move(rules)}};
  return document.dump(1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace puzzle
