#include "apps/report/report_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string_view>
#include <tuple>

#include "graph/run/curves.h"
#include "io/file.h"

namespace puzzle {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxEventBytes = uint64_t{1} << 30;
constexpr size_t kMaxBlockCurves = 400;
constexpr size_t kMaxPictures = 50;
constexpr double kMaxLayers = 4096;  // a table of a store that says more is not drawn

// Records and archives come from a store that others may have written: what has another form than
// ours is left out, never believed.
std::optional<double> NumberIn(const json& object, const std::string& name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string TextIn(const json& object, const std::string& name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<int64_t> LayerIn(const json& object) {
  const auto layer = NumberIn(object, "layer");
  if (!layer || !(*layer >= 0 && *layer < kMaxLayers)) return std::nullopt;
  return static_cast<int64_t>(*layer);
}

// Of a record: RecordJson has checked its form.
ReportedCurve CurveIn(const json& saved, const char* name) {
  constexpr size_t kMostPoints = 1000;  // records of others may have any number
  ReportedCurve curve;
  const auto all = saved.find("curves");
  if (all == saved.end()) return curve;
  const auto found = all->find(name);
  if (found == all->end()) return curve;
  for (const json& point : *found)
    if (curve.size() < kMostPoints) curve.emplace_back(point[0], point[1]);
  return curve;
}

double Or0(std::optional<double> value) {
  return value.value_or(0);
}

ReportedModel ModelOf(const std::string& step, const json& scalars) {
  ReportedModel model;
  model.step = step;
  model.label = TextIn(scalars, "label");
  model.series = TextIn(scalars, "series");
  model.prompt = TextIn(scalars, "prompt");
  model.sample = TextIn(scalars, "sample");
  model.parameters = Or0(NumberIn(scalars, "parameters"));
  model.block_parameters = Or0(NumberIn(scalars, "block_parameters"));
  model.weights_mib = Or0(NumberIn(scalars, "weights_mib"));
  model.predicted_kl = NumberIn(scalars, "predicted_kl");
  for (const auto& [name, value] : scalars.items())
    if (value.is_number()) model.figures[name] = value.get<double>();
  return model;
}

// {"name", "n", "counts", "right", "figures": {"acc", "stderr", ...}} as evaluations store them.
void AddTasks(const json& saved, ReportedModel& model) {
  if (!saved.is_array()) return;
  for (const json& task : saved) {
    const auto figures = task.find("figures");
    if (!task.is_object() || figures == task.end() || !figures->is_object()) continue;
    ReportedTask reported;
    reported.name = TextIn(task, "name");
    reported.metric = TextIn(task, "counts");
    const auto value = NumberIn(*figures, reported.metric);
    if (!value) continue;
    reported.value = *value;
    const auto own = NumberIn(*figures, reported.metric + "_stderr");
    reported.error = own ? *own : Or0(NumberIn(*figures, "stderr"));
    reported.n = static_cast<int64_t>(std::clamp(Or0(NumberIn(task, "n")), 0.0, 1e15));
    model.tasks.push_back(std::move(reported));
  }
}

ReportedChoice ChoiceOf(const std::string& step, const ArchiveReader& archive) {
  ReportedChoice choice;
  choice.step = step;
  const json picks = archive.Attribute("picks"), method = archive.Attribute("method");
  const json status = archive.Attribute("status"), totals = archive.Attribute("totals");
  const json objective = archive.Attribute("objective");
  if (method.is_string()) choice.method = method;
  if (status.is_string()) choice.status = status;
  if (objective.is_number()) choice.objective = objective;
  if (totals.is_object())
    for (const auto& [name, value] : totals.items())
      if (value.is_number()) choice.totals[name] = value;
  if (!picks.is_array()) return choice;
  for (const json& pick : picks) {
    const std::string variant = TextIn(pick, "variant");
    const auto layer = LayerIn(pick);
    if (!layer) continue;
    const bool both = variant == "none" || variant.find('+') != std::string::npos;
    choice.picks.push_back(
        {*layer, variant, both ? "block" : variant.substr(0, variant.find(':'))});
  }
  return choice;
}

// A calendar date as seconds; negative when it is none.
double SecondsOf(const std::string& date) {
  std::tm when{};
  if (date.size() < 19 || ::strptime(date.c_str(), "%Y-%m-%dT%H:%M:%S", &when) == nullptr)
    return -1;
  return static_cast<double>(::timegm(&when));
}

class Collector {
 public:
  Collector(const Plan& plan, const Forecast& forecast, const Store& store)
      : plan_(plan), forecast_(forecast), store_(store) {}

  ReportData Collect() {
    for (StepId id = 0; id < plan_.steps.size(); ++id) AddStep(id);
    for (auto& [key, variant] : variants_) data_.variants.push_back(std::move(variant));
    std::sort(data_.variants.begin(), data_.variants.end(), [&](const auto& a, const auto& b) {
      return std::tuple(a.layer, order_[a.variant]) < std::tuple(b.layer, order_[b.variant]);
    });
    MakeTimeline();
    return std::move(data_);
  }

 private:
  void AddStep(StepId id) {
    const StepForecast& forecast = forecast_.steps[id];
    ReportedStep step;
    step.step = plan_.steps[id].name;
    step.node = plan_.node_name(id);
    step.kind = plan_.kind(id).name;
    step.state = forecast.fate == Fate::kHit ? "found" : forecast.reason;
    if (forecast.fate == Fate::kHit) {
      try {
        AddResult(id, forecast.record, RecordJson(forecast.record), step);
      } catch (const std::exception& error) {
        step.state = error.what();
      }
    }
    data_.steps.push_back(std::move(step));
  }

  void AddResult(StepId id, const Record& record, const json& saved, ReportedStep& step) {
    step.device = TextIn(saved, "device");
    step.finished = TextIn(saved, "finished");
    step.host = TextIn(saved, "host");
    step.wall_s = record.wall_s;
    step.cpu_s = Or0(NumberIn(saved, "cpu_s"));
    step.memory_mib = Or0(NumberIn(saved, "memory_mib"));
    NoteEnvironment(saved, step);
    const double end_s = SecondsOf(step.finished);
    if (end_s > 0 && record.wall_s > 0)
      spans_.push_back({id, end_s - record.wall_s, end_s, step.device});
    const auto found = saved.find("scalars");
    const json scalars = found != saved.end() && found->is_object() ? *found : json::object();
    if (record.type == "evaluation") {
      data_.models.push_back(ModelOf(step.step, scalars));
      const auto archive = store_.Open(record);
      if (archive->HasAttribute("tasks"))
        AddTasks(archive->Attribute("tasks"), data_.models.back());
    } else if (record.type == "choice") {
      data_.choices.push_back(ChoiceOf(step.step, *store_.Open(record)));
    } else if (record.type == "costs" && data_.layers.empty()) {
      AddCosts(*store_.Open(record));
    } else if (record.type == "score" || record.type == "block") {
      AddVariant(record.type == "score", scalars);
      if (record.type == "block") AddBlockCurve(step.step, CurveIn(saved, "loss"));
    } else if (step.kind == "gkd" || step.kind == "pretrain") {
      AddTraining(step.step, scalars, saved);
    }
    if (scalars.contains("picture_svg") || record.type == "report" || record.type == "frontier")
      AddPicture(step.step, record);
  }

  void NoteEnvironment(const json& saved, const ReportedStep& step) {
    const auto note = [&](const std::string& name, const std::string& value) {
      if (value.empty()) return;
      std::string& known = data_.environment[name];
      if (known.empty()) {
        known = value;
      } else if (("; " + known + ";").find("; " + value + ";") == std::string::npos) {
        known += "; " + value;
      }
    };
    note("host", step.host);
    note("puzzle", TextIn(saved, "tool"));
    const auto environment = saved.find("environment");
    if (environment == saved.end() || !environment->is_object()) return;
    for (const auto& [name, value] : environment->items())
      if (value.is_string()) note(name, value);
  }

  ReportedVariant& VariantAt(int64_t layer, const std::string& name) {
    order_.try_emplace(name, order_.size());
    ReportedVariant& variant = variants_[{layer, name}];
    variant.layer = layer;
    variant.variant = name;
    return variant;
  }

  void AddVariant(bool is_score, const json& scalars) {
    const std::string name = TextIn(scalars, "variant");
    const auto layer = LayerIn(scalars);
    if (name.empty() || !layer) return;
    ReportedVariant& variant = VariantAt(*layer, name);
    if (is_score) {
      if (variant.kl) return;  // scores in the context of a child come after those of the parent
      variant.kl = NumberIn(scalars, "kl_increase");
      variant.kl_se = NumberIn(scalars, "kl_increase_se");
      variant.lm_loss = NumberIn(scalars, "lm_loss_increase");
    } else {
      variant.init_loss = NumberIn(scalars, "init_loss");
      variant.loss = NumberIn(scalars, "loss");
    }
  }

  void AddCosts(const ArchiveReader& archive) {
    const json resources = archive.Attribute("resources"), rows = archive.Attribute("rows");
    if (!resources.is_array() || !rows.is_array()) return;
    const auto column = [&](const char* name) {
      return static_cast<size_t>(std::find(resources.begin(), resources.end(), name) -
                                 resources.begin());
    };
    const size_t parameters = column("block_parameters"), memory = column("memory_mib");
    for (const json& row : rows) {
      const auto costs = row.find("costs");
      const auto layer = LayerIn(row);
      if (costs == row.end() || costs->size() <= std::max(parameters, memory) || !layer) continue;
      const double p = (*costs)[parameters], m = (*costs)[memory];
      const std::string name = TextIn(row, "variant");
      if (!row.value("parents_own", false)) {
        ReportedVariant& variant = VariantAt(*layer, name);
        variant.parameters = p;
        variant.memory_mib = m;
        continue;
      }
      const auto at = static_cast<size_t>(*layer);
      if (data_.layers.size() <= at) data_.layers.resize(at + 1);
      ReportedLayer& own = data_.layers[at];
      const bool attention = name.starts_with("attn:");
      (attention ? own.attention_parameters : own.ffn_parameters) = p;
      (attention ? own.attention_mib : own.ffn_mib) = m;
      (attention ? own.attention : own.ffn) = name;
    }
  }

  void AddBlockCurve(const std::string& step, ReportedCurve curve) {
    if (!curve.empty() && data_.block_curves.size() < kMaxBlockCurves)
      data_.block_curves[step] = std::move(curve);
  }

  void AddTraining(const std::string& step, const json& scalars, const json& saved) {
    constexpr std::string_view kFigure = "figure/";
    ReportedTraining training{step, {}, CurveIn(saved, "loss"), CurveIn(saved, "held out")};
    for (const auto& [name, value] : scalars.items())
      if (name.starts_with(kFigure) && value.is_number())
        training.figures[name.substr(kFigure.size())] = value;
    if (!training.figures.empty()) data_.trainings.push_back(std::move(training));
  }

  void AddPicture(const std::string& step, const Record& record) {
    if (data_.pictures.size() >= kMaxPictures) return;
    const auto archive = store_.Open(record);
    if (!archive->HasAttribute("picture_svg")) return;
    const json picture = archive->Attribute("picture_svg");
    if (picture.is_string() && !picture.get<std::string>().empty())
      data_.pictures.emplace_back(step, picture);
  }

  struct When {
    StepId step;
    double begin_s, end_s;
    std::string device;
  };

  // Steps of one device that were there at once stand in rows below each other; records know the
  // end to a second. Where nothing ran at all, time does not pass.
  void MakeTimeline() {
    std::sort(spans_.begin(), spans_.end(),
              [](const When& a, const When& b) { return a.begin_s < b.begin_s; });
    std::map<std::string, std::vector<std::pair<uint32_t, double>>> rows;  // row, busy until
    Timeline& timeline = data_.timeline;
    double busy_s = 0, skipped_s = spans_.empty() ? 0 : spans_.front().begin_s;
    constexpr double kSlack_s = 1.0;
    for (const When& when : spans_) {
      const double idle_s = when.begin_s - skipped_s - busy_s;
      if (idle_s > 0) skipped_s += idle_s;
      const double begin_s = when.begin_s - skipped_s, end_s = when.end_s - skipped_s;
      busy_s = std::max(busy_s, end_s);
      auto& own = rows[when.device];
      auto free = std::find_if(own.begin(), own.end(), [&](const auto& row) {
        return row.second <= begin_s + std::min(kSlack_s, (end_s - begin_s) / 2);
      });
      if (free == own.end()) {
        const auto row = static_cast<uint32_t>(timeline.rows.size());
        timeline.rows.push_back(
            {Timeline::Row::Type::kLane,
             fmt::format("{} {}", when.device.empty() ? "host" : when.device, own.size() + 1)});
        free = own.insert(own.end(), {row, 0.0});
      }
      Span span;
      span.step = when.step;
      span.row = free->first;
      span.begin_s = std::max(begin_s, free->second);
      span.end_s = end_s;
      span.outcome = Outcome::kOk;
      free->second = end_s;
      timeline.spans.push_back(std::move(span));
    }
    timeline.end_s = busy_s;
    std::stable_sort(timeline.spans.begin(), timeline.spans.end(),
                     [](const Span& a, const Span& b) {
                       return std::tuple(a.row, a.begin_s) < std::tuple(b.row, b.begin_s);
                     });
  }

  const Plan& plan_;
  const Forecast& forecast_;
  const Store& store_;
  ReportData data_;
  std::map<std::pair<int64_t, std::string>, ReportedVariant> variants_;
  std::map<std::string, size_t> order_;  // of names, by first appearance
  std::vector<When> spans_;
};

// By step and name of the number.
using CurvesOfSteps = std::map<std::string, std::map<std::string, ReportedCurve, std::less<>>>;

// Notes of step_progress; `blocks` are the steps of kind bld among them.
CurvesOfSteps CurvesInEvents(const std::string& path, std::set<std::string>& blocks) {
  CurvesOfSteps curves;
  std::istringstream lines(ReadWholeFile(path, kMaxEventBytes));
  for (std::string line; std::getline(lines, line);) {
    if (line.find("\"step_progress\"") == std::string::npos) continue;
    const json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object()) continue;
    const std::string note = TextIn(event, "note"), step = TextIn(event, "step");
    const auto fraction = NumberIn(event, "fraction");
    if (!fraction) continue;
    for (const auto& [name, number] : NumbersIn(note))
      curves[step][std::string(name)].emplace_back(*fraction, number);
    if (TextIn(event, "kind") == "bld") blocks.insert(step);
  }
  return curves;
}

// They have more points than records, which stay where there are none.
void AddCurves(const std::string& path, ReportData& data) {
  std::set<std::string> blocks;
  const CurvesOfSteps curves = CurvesInEvents(path, blocks);
  const auto take = [&](const std::string& step, std::string_view name, ReportedCurve& curve) {
    const auto own = curves.find(step);
    if (own == curves.end()) return;
    const auto found = own->second.find(name);
    if (found != own->second.end()) curve = found->second;
  };
  for (ReportedTraining& training : data.trainings) {
    take(training.step, "loss", training.curve);
    take(training.step, "held out", training.held_out);
  }
  for (const std::string& step : blocks) {
    if (!data.block_curves.contains(step) && data.block_curves.size() >= kMaxBlockCurves) continue;
    ReportedCurve curve;
    take(step, "loss", curve);
    if (!curve.empty()) data.block_curves[step] = std::move(curve);
  }
}

}  // namespace

std::optional<double> ReportedModel::Find(const std::string& figure) const {
  const auto found = figures.find(figure);
  if (found == figures.end()) return std::nullopt;
  return found->second;
}

ReportData CollectReport(const Plan& plan, const Forecast& forecast, const Store& store,
                         const std::string& events) {
  ReportData data = Collector(plan, forecast, store).Collect();
  if (!events.empty()) AddCurves(events, data);
  return data;
}

}  // namespace puzzle
