#include "graph/plan/step_loads.h"

namespace puzzle {

std::vector<Workload> LoadsOfSteps(const Plan& plan, const WorkloadFunction& workload) {
  std::vector<Workload> loads(plan.steps.size());
  for (const StepId id : plan.order) {
    const Step& step = plan.steps[id];
    PortWorkloads inputs(step.inputs.size());
    for (size_t p = 0; p < step.inputs.size(); ++p) {
      for (const StepId input : step.inputs[p]) inputs[p].push_back(&loads[input]);
    }
    loads[id] = workload(plan.kind(id), step.params.value.get(), inputs);
  }
  return loads;
}

}  // namespace puzzle
