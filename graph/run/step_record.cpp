#include "graph/run/step_record.h"

#include <nlohmann/json.hpp>

#include "graph/plan/key.h"

namespace puzzle {

using nlohmann::json;

namespace {

std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

RecordDraft DescribeStep(const Plan& plan, StepId id, const std::string& recipe,
                         const std::function<std::string_view(StepId)>& key_of) {
  const Step& step = plan.steps[id];
  const NodeKind& kind = plan.kind(id);
  RecordDraft record;
  record.key = KeyOf(recipe);
  record.step = step.name;
  record.kind = kind.name;
  record.type = kind.output;
  record.recipe_json = recipe;
  json inputs = json::object(), parents = json::object(), paths = json::object();
  for (size_t p = 0; p < step.inputs.size(); ++p) {
    json& names = inputs[kind.ports[p].name] = json::array();
    json& keys = parents[kind.ports[p].name] = json::array();
    for (const StepId input : step.inputs[p]) {
      names.push_back(plan.steps[input].name);
      keys.push_back(key_of(input));
    }
  }
  for (const auto& [param, path] : step.params.input_paths) {
    json& place = paths[param];  // of a list, all of them
    place = place.is_null() ? path : place.get<std::string>() + ", " + path;
  }
  for (const auto& [param, path] : step.params.output_paths) paths[param] = path;
  record.inputs_json = Dump(inputs);
  record.parents_json = Dump(parents);
  record.paths_json = Dump(paths);
  return record;
}

Record AdoptResult(Store& store, const Record& earlier, RecordDraft record,
                   const std::string& change) {
  const json old = RecordJson(earlier);
  std::unique_ptr<ArtifactDraft> draft = store.Begin();
  CopyArchive(*store.Open(earlier), draft->writer());
  draft->Close();
  record.scalars_json = draft->scalars_json();
  record.display = draft->display();
  if (old.contains("output_files")) record.output_files_json = draft->files_json();
  record.warnings_json = Dump(old.value("warnings", json::array()));
  if (old.contains("curves")) record.curves_json = Dump(old["curves"]);
  record.wall_s = old.value("wall_s", 0.0);
  record.cpu_s = old.value("cpu_s", 0.0);
  record.save_s = old.value("save_s", 0.0);
  record.peak_rss_mib = old.value("peak_rss_mib", 0.0);
  record.memory_mib = old.value("memory_mib", 0.0);
  record.host = old.value("host", "");
  record.device = old.value("device", "");
  record.threads = old.value("threads", 0);
  record.tool = old.value("tool", "");
  record.finished = old.value("finished", "");
  if (old.contains("environment")) record.environment_json = Dump(old["environment"]);
  record.accepted_json = Dump({{"key", earlier.key}, {"change", change}});
  return store.Publish(std::move(draft), std::move(record), {});
}

}  // namespace puzzle
