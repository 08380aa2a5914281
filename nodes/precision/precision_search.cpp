#include "nodes/precision/precision_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "io/error.h"
#include "model/files/gguf_checkpoint.h"
#include "model/pch.h"
#include "nodes/search/question.h"
#include "nodes/search/search_answer.h"

namespace puzzle {

namespace {

constexpr const char* kFileResource = "file_mib";
constexpr double kMib = 1 << 20;

double InMib(uint64_t bytes) {
  return static_cast<double>(bytes) / kMib;
}

GgufOptions OptionsFor(const Checkpoint& checkpoint, StoredTypes types) {
  return {&StoredTypeNamed(kRestType), {}, checkpoint.tokenizer_files, std::move(types)};
}

// By the model's parts. Those that a model lacks have scores without options.
std::vector<const PrecisionScore*> ByPart(const std::vector<ModelPart>& parts,
                                          const std::vector<PrecisionScore>& scores) {
  std::vector<const PrecisionScore*> found;
  for (const ModelPart& part : parts) {
    const auto is_its = [&](const PrecisionScore& score) { return score.part == part.name; };
    const auto it = std::find_if(scores.begin(), scores.end(), is_its);
    if (it == scores.end() || it->options.empty())
      throw Error(fmt::format("{}: there is no score of it in any type", part.name));
    if (std::find_if(it + 1, scores.end(), is_its) != scores.end())
      throw Error(fmt::format("{}: there are two precision scores of it", part.name));
    found.push_back(&*it);
  }
  return found;
}

// What each part takes in a type: a file of that type wherever it was scored in it.
std::map<std::string, GgufSizes> SizesByType(const Checkpoint& checkpoint,
                                             const std::vector<const PrecisionScore*>& scores) {
  std::map<std::string, StoredTypes> by_type;
  for (const PrecisionScore* score : scores)
    for (const PrecisionScore::Option& option : score->options)
      by_type[option.type][score->part] = &StoredTypeNamed(option.type);
  std::map<std::string, GgufSizes> sizes;
  for (const auto& [type, parts] : by_type)
    sizes[type] = SizesInGguf(checkpoint.model, OptionsFor(checkpoint, parts));
  return sizes;
}

// What a file takes beside its parts.
double FixedMib(const GgufSizes& sizes) {
  uint64_t rest = sizes.file;
  for (const auto& [part, bytes] : sizes.parts) rest -= bytes;
  return InMib(rest);
}

// `params` with a limit in place of `like`, the type of a file of `sized`. A part that is given it
// by name brings the keys that a file of chosen types has.
PrecisionParams WithLimit(PrecisionParams params, const Checkpoint& sized) {
  if (params.like.empty()) return params;
  const GgmlType& type = StoredTypeNamed(params.like);
  const GgufOptions options{&type, {}, sized.tokenizer_files, {{kEmbeddingPart, &type}}};
  params.max[kFileResource] = InMib(SizesInGguf(sized.model, options).file);
  params.like.clear();
  return params;
}

// The type that a variant's name ends with.
std::string TypeIn(const std::string& name) {
  return name.substr(name.rfind('@') + 1);
}

// A line for each type that all parts can have.
std::string CompareWithUniform(const VariantTable& table, const TableAnswer& answer) {
  std::string text = fmt::format("{:<8} {:>10} {:>14}\n", "types", "file MiB", "sum of scores");
  const auto add = [&](const std::string& name, const std::vector<int>& variants, double loss) {
    text += fmt::format("{:<8} {:>10.3f} {:>14.6f}\n", name,
                        TotalsByName(table, variants).at(kFileResource), loss);
  };
  const MipSolution& solution = answer.solutions.front();
  add("chosen", ChoiceInTable(table, answer.search, solution).variants, solution.objective);
  for (const std::string& type : PrecisionTypes()) {
    std::vector<int> variants;
    double loss = 0;
    for (size_t g = 0; g < table.groups.size(); ++g) {
      const auto& all = table.groups[g].variants;
      const auto it = std::find_if(all.begin(), all.end(),
                                   [&](const auto& v) { return TypeIn(v.name) == type; });
      if (it == all.end()) break;
      variants.push_back(static_cast<int>(it - all.begin()));
      loss += answer.search.problem.groups[g][static_cast<size_t>(variants.back())].score;
    }
    if (variants.size() == table.groups.size()) add(type, variants, loss);
  }
  return text;
}

}  // namespace

VariantTable PrecisionTable(const Checkpoint& checkpoint,
                            const std::vector<PrecisionScore>& scores) {
  const std::vector<ModelPart> parts = StoredParts(checkpoint.model.config);
  const std::vector<const PrecisionScore*> own = ByPart(parts, scores);
  const std::map<std::string, GgufSizes> sizes = SizesByType(checkpoint, own);
  VariantTable table;
  table.resources = {kFileResource};
  for (const MetricInfo& info : AllMetrics()) table.metrics.emplace_back(info.objective);
  table.fixed = {FixedMib(sizes.begin()->second)};
  for (size_t p = 0; p < parts.size(); ++p) {
    VariantTable::Group& group = table.groups.emplace_back();
    group.name = parts[p].name;
    for (const PrecisionScore::Option& option : own[p]->options) {
      VariantTable::Variant& variant = group.variants.emplace_back();
      variant.name = parts[p].variant + '@' + option.type;
      variant.costs = {InMib(sizes.at(option.type).parts.at(parts[p].name))};
      for (const MetricInfo& info : AllMetrics())
        variant.metrics.emplace_back(option.increase.Mean(info.metric));
    }
  }
  return table;
}

Precision ChoosePrecision(const PrecisionParams& params, const Checkpoint& checkpoint,
                          const std::vector<PrecisionScore>& scores,
                          const std::function<bool()>& should_stop) {
  const VariantTable table = PrecisionTable(checkpoint, scores);
  Question question{ReadObjective(params.objective),
                    ReadLimits(table, nlohmann::json::object(), WithLimit(params, checkpoint).max)};
  question.settings.time_limit_s = params.time_limit_s;
  question.settings.should_stop = should_stop;
  const TableAnswer answer = AskTable(table, question, [](const std::string&) {});
  const MipSolution& solution = answer.solutions.front();
  if (solution.choice.empty())
    throw Error(fmt::format("no types found: {}: {}", SolveStatusName(solution.status),
                            solution.explanation));
  const TableChoice choice = ChoiceInTable(table, answer.search, solution);
  Precision precision;
  precision.status = SolveStatusName(solution.status);
  precision.objective = solution.objective;
  precision.bound = solution.bound;
  precision.file_mib = choice.totals.at(kFileResource);
  precision.comparison = CompareWithUniform(table, answer);
  const std::vector<ModelPart> parts = StoredParts(checkpoint.model.config);
  for (size_t p = 0; p < parts.size(); ++p) {
    const auto v = static_cast<size_t>(choice.variants[p]);
    const VariantTable::Variant& variant = table.groups[p].variants[v];
    precision.picks.push_back({parts[p].name, parts[p].variant, TypeIn(variant.name),
                               answer.search.problem.groups[p][v].score,
                               kMib * variant.costs.front()});
  }
  return precision;
}

Precision RunPrecision(const PrecisionParams& params, const Inputs& inputs, RunContext& context) {
  const auto model = inputs.One<Checkpoint>("model");
  const bool has_parent = inputs.Has("parent");
  std::vector<PrecisionScore> scores;
  for (const auto& input : inputs.List<PrecisionScore>("scores")) {
    scores.push_back(*input.Load());
    if (scores.back().model_digest != model.digest())
      throw Error(fmt::format("the precision score of {} was taken in another model than `model`",
                              scores.back().part));
  }
  const PrecisionParams limited =
      has_parent ? WithLimit(params, *inputs.Get<Checkpoint>("parent")) : params;
  Precision precision = ChoosePrecision(limited, *model.Load(), scores, [&] {
    context.Poll(0);  // throws when the user asked to stop
    return false;
  });
  precision.model_digest = model.digest();
  return precision;
}

}  // namespace puzzle
