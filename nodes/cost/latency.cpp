#include "nodes/cost/latency.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "nodes/data/artifacts.h"

namespace puzzle {

using nlohmann::json;

namespace {

// Every figure is measured a little at a time, in turns with the others: a machine that is slow for
// a while is then slow for all of them.
constexpr int kVisits = 4;

json ToJson(const ServingTimes& times) {
  return {times.prefill.ms, times.prefill.spread_ms, times.decode.ms, times.decode.spread_ms};
}

ServingTimes TimesFromJson(const json& list) {
  return {{list.at(0), list.at(1)}, {list.at(2), list.at(3)}};
}

void SaveLoad(ArchiveWriter& out, const ServingLoad& load) {
  out.SetAttribute("batch", load.batch);
  out.SetAttribute("prefill", load.prefill);
  out.SetAttribute("generation", load.generation);
}

ServingLoad LoadOf(const ArchiveReader& in) {
  return {in.Attribute("batch"), in.Attribute("prefill"), in.Attribute("generation")};
}

double Total_ms(const ServingTimes& times, const ServingLoad& load) {
  return times.prefill.ms + static_cast<double>(load.generation) * times.decode.ms;
}

// Every shape that `variants` and the parent itself have, by name.
std::map<std::string, VariantSpec> Shapes(const ModelConfig& parent,
                                          const std::vector<std::string>& variants,
                                          int64_t multiple_of) {
  std::map<std::string, VariantSpec> shapes;
  auto add = [&](const VariantSpec& spec) { shapes.emplace(VariantName(spec), spec); };
  for (int64_t layer = 0; layer < parent.n_layers(); ++layer) {
    for (SubBlock which : {SubBlock::kAttention, SubBlock::kFfn})
      add(ParentVariant(parent, layer, which));
    for (const std::string& name : variants)
      for (const VariantSpec& part : PartsOf(ResolveVariant(name, parent, layer, multiple_of)))
        add(part);
  }
  return shapes;
}

void CheckDevice(const std::string& wanted, const RunContext& context) {
  if (context.device().type != wanted)
    throw Error(
        fmt::format("times are wanted for \"{}\", but this lane is {}; run with --devices "
                    "{}, or change the parameter `device`",
                    wanted, context.device().name(), wanted));
}

}  // namespace

void Latencies::Save(ArchiveWriter& out) const {
  out.SetAttribute("device", device);
  SaveLoad(out, load);
  out.SetAttribute("outside", ToJson(outside));
  json table = json::object();
  std::string text = fmt::format("{:<14}  {:>12}  {:>12}\n", device, "prefill ms", "decode ms");
  auto line = [&](const std::string& name, const ServingTimes& row) {
    text += fmt::format("{:<14}  {:>12.4f}  {:>12.4f}\n", name, row.prefill.ms, row.decode.ms);
  };
  for (const auto& [name, row] : times) {
    table[name] = ToJson(row);
    line(name, row);
  }
  line("outside", outside);
  out.SetAttribute("times", table);
  out.SetAttribute("display", text);
}

Latencies Latencies::Load(std::shared_ptr<const ArchiveReader> in) {
  Latencies latencies{
      in->Attribute("device"), LoadOf(*in), TimesFromJson(in->Attribute("outside")), {}};
  const json table = in->Attribute("times");
  for (const auto& [name, row] : table.items()) latencies.times[name] = TimesFromJson(row);
  return latencies;
}

void ModelLatency::Save(ArchiveWriter& out) const {
  out.SetAttribute("label", label);
  SaveLoad(out, load);
  out.SetAttribute("measured", ToJson(measured));
  out.SetAttribute("prefill_ms", measured.prefill.ms);
  out.SetAttribute("decode_ms_per_token", measured.decode.ms);
  out.SetAttribute("runtime_ms", Total_ms(measured, load));
  const double tokens_per_s =
      1e3 * static_cast<double>(load.batch * load.generation) / Total_ms(measured, load);
  out.SetAttribute("tokens_per_s", tokens_per_s);
  std::string text = fmt::format("{}: prefill {:.3f} ms, decode {:.4f} ms a token, {:.0f} tokens/s",
                                 label, measured.prefill.ms, measured.decode.ms, tokens_per_s);
  if (predicted)
    text += fmt::format("; predicted {:+.1f} % and {:+.1f} %",
                        100 * (predicted->prefill.ms / measured.prefill.ms - 1),
                        100 * (predicted->decode.ms / measured.decode.ms - 1));
  out.SetAttribute("display", text + '\n');
  if (!predicted) return;
  out.SetAttribute("predicted", ToJson(*predicted));
  out.SetAttribute("predicted_prefill_ms", predicted->prefill.ms);
  out.SetAttribute("predicted_decode_ms_per_token", predicted->decode.ms);
  out.SetAttribute("predicted_runtime_ms", Total_ms(*predicted, load));
}

ModelLatency ModelLatency::Load(std::shared_ptr<const ArchiveReader> in) {
  ModelLatency latency{in->Attribute("label"), LoadOf(*in),
                       TimesFromJson(in->Attribute("measured")), std::nullopt};
  if (in->HasAttribute("predicted")) latency.predicted = TimesFromJson(in->Attribute("predicted"));
  return latency;
}

const ServingTimes& TimesOf(const Latencies& latencies, const std::string& name) {
  const auto found = latencies.times.find(name);
  if (found != latencies.times.end()) return found->second;
  // Earlier versions took one window for all, which nothing in their figures tells.
  const bool window = name.starts_with("attn:kv") && name.find('w') != std::string::npos;
  throw Error(fmt::format("{} was not measured: {}", name,
                          window ? "measure the same variants, and with --force again what was "
                                   "measured before windows were told apart"
                                 : "measure the same variants"));
}

ServingTimes PredictTimes(const ModelConfig& model, const Latencies& latencies) {
  ServingTimes sum = latencies.outside;
  for (int64_t layer = 0; layer < model.n_layers(); ++layer) {
    for (SubBlock which : {SubBlock::kAttention, SubBlock::kFfn}) {
      const std::string name = VariantName(ParentVariant(model, layer, which));
      try {
        const ServingTimes& times = TimesOf(latencies, name);
        sum.prefill.ms += times.prefill.ms;
        sum.decode.ms += times.decode.ms;
      } catch (const Error& error) {
        throw WithContext(fmt::format("layer {}", layer), error);
      }
    }
  }
  sum.prefill.spread_ms = sum.decode.spread_ms = 0;  // that of a sum is not known
  return sum;
}

Latencies RunLatency(const LatencyParams& params, const Inputs& inputs, RunContext& context) {
  CheckDevice(params.device, context);
  const ModelConfig config = inputs.Get<Checkpoint>("parent")->model.config;
  const std::string device = context.device().name();
  Latencies result{params.device, {params.batch, params.prefill, params.generation}, {}, {}};
  CheckLoadFits(result.load, config);
  const auto shapes = Shapes(config, params.variants, params.multiple_of);
  std::map<std::string, ServingRounds> rounds;
  ServingRounds outside;
  double done = 0;
  std::string current;
  const TimingEffort visit{params.seconds / kVisits, [&] {
                             const double all = kVisits * static_cast<double>(shapes.size() + 1);
                             context.Poll(done / all, current);
                           }};
  for (int i = 0; i < kVisits; ++i) {
    current = "outside the blocks";
    MeasureOutside(config, result.load, device, visit, outside);
    ++done;
    for (const auto& [name, spec] : shapes) {
      current = name;
      MeasureSubBlock(config, spec, result.load, device, params.copies, visit, rounds[name]);
      ++done;
    }
  }
  result.outside = outside.Times();
  for (const auto& [name, taken] : rounds) result.times[name] = taken.Times();
  return result;
}

ModelLatency RunModelLatency(const ModelLatencyParams& params, const Inputs& inputs,
                             RunContext& context) {
  CheckDevice(params.device, context);
  const auto checkpoint = inputs.Get<Checkpoint>("model");
  ModelLatency result{params.label, {params.batch, params.prefill, params.generation}, {}, {}};
  if (inputs.Has("times")) {
    const auto latencies = inputs.Get<Latencies>("times");
    const ServingLoad& load = latencies->load;
    if (load.batch != params.batch || load.prefill != params.prefill ||
        load.generation != params.generation)
      throw Error(fmt::format(
          "the times at port `times` are for batch {}, prefill {}, generation {}; this step is for "
          "{}, {}, {}",
          load.batch, load.prefill, load.generation, params.batch, params.prefill,
          params.generation));
    result.predicted = PredictTimes(checkpoint->model.config, *latencies);
  }
  const ModelWeights model = ToDevice(checkpoint->model, context.device().name());
  ServingRounds rounds;
  for (int i = 0; i < kVisits; ++i) {
    const TimingEffort visit{params.seconds / kVisits,
                             [&] { context.Poll(i / double{kVisits}, "measuring"); }};
    MeasureModel(model, result.load, visit, rounds);
  }
  result.measured = rounds.Times();
  return result;
}

}  // namespace puzzle
