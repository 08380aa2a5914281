#include "nodes/cost/bench.h"

#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include "graph/run/machine.h"
#include "model/pch.h"
#include "nodes/data/artifacts.h"

namespace puzzle {

using nlohmann::json;

namespace {

json RangeJson(const Measured& m) {
  return {m.median, m.low, m.high};
}

Measured RangeFrom(const json& list) {
  return {list.at(0), list.at(1), list.at(2)};
}

json ToRecord(const BenchResult& r) {
  return {{"model", r.model},
          {"prefill_tok_s", RangeJson(r.prefill_tok_s)},
          {"decode_tok_s", RangeJson(r.decode_tok_s)},
          {"first_token_ms", RangeJson(r.first_token_ms)},
          {"memory_mib", r.memory_mib},
          {"step_mib", r.step_mib},
          {"bandwidth_gb_s", r.bandwidth_gb_s},
          {"bandwidth_share", r.bandwidth_share},
          {"ratio", r.ratio},
          {"predicted_ratio", r.predicted_ratio},
          {"product_share", r.product_share},
          {"cache_gb_s", r.cache_gb_s}};
}

BenchResult FromRecord(const json& record) {
  return {record.at("model"),
          RangeFrom(record.at("prefill_tok_s")),
          RangeFrom(record.at("decode_tok_s")),
          RangeFrom(record.at("first_token_ms")),
          record.at("memory_mib"),
          record.at("step_mib"),
          record.at("bandwidth_gb_s"),
          record.at("bandwidth_share"),
          record.at("ratio"),
          record.at("predicted_ratio"),
          record.value("product_share", 0.0),
          record.value("cache_gb_s", 0.0)};
}

BenchOptions OptionsOf(const BenchParams& params) {
  BenchOptions options;
  options.type = decode::WeightTypeNamed(params.dtype);
  options.bf16_cache = options.type != decode::WeightType::kFp32;
  options.threads = static_cast<int>(params.threads > 0 ? params.threads : at::get_num_threads());
  options.batch = params.batch;
  options.prefill = params.prefill;
  options.decode = params.decode;
  options.rounds = params.rounds;
  return options;
}

}  // namespace

void Bench::Save(ArchiveWriter& out) const {
  json models = json::array();
  for (const BenchResult& result : results) models.push_back(ToRecord(result));
  const BenchResult& own = results.back();
  out.SetAttribute("prefill_tok_s", own.prefill_tok_s.median);
  out.SetAttribute("decode_tok_s", own.decode_tok_s.median);
  out.SetAttribute("first_token_ms", own.first_token_ms.median);
  if (results.size() > 1) {
    out.SetAttribute("ratio", own.ratio);
    out.SetAttribute("predicted_ratio", own.predicted_ratio);
  }
  out.SetAttribute("models", models);
  out.SetAttribute("dtype", decode::WeightTypeName(options.type));
  out.SetAttribute("threads", options.threads);
  out.SetAttribute("batch", options.batch);
  out.SetAttribute("prefill", options.prefill);
  out.SetAttribute("decode", options.decode);
  out.SetAttribute("rounds", options.rounds);
  out.SetAttribute("display", BenchTable(results, options));
}

Bench Bench::Load(std::shared_ptr<const ArchiveReader> in) {
  Bench bench;
  for (const json& record : in->Attribute("models")) bench.results.push_back(FromRecord(record));
  bench.options.type = decode::WeightTypeNamed(in->Attribute("dtype"));
  bench.options.bf16_cache = bench.options.type != decode::WeightType::kFp32;
  bench.options.threads = in->Attribute("threads");
  bench.options.batch = in->Attribute("batch");
  bench.options.prefill = in->Attribute("prefill");
  bench.options.decode = in->Attribute("decode");
  bench.options.rounds = in->Attribute("rounds");
  return bench;
}

Bench RunBenchStep(const BenchParams& params, const Inputs& inputs, RunContext& context) {
  Bench bench{OptionsOf(params), {}};
  std::vector<std::shared_ptr<const Checkpoint>> models;
  std::vector<std::string> labels;
  if (inputs.Has("parent")) {
    models.push_back(inputs.Get<Checkpoint>("parent"));
    labels.emplace_back("parent");
  }
  models.push_back(inputs.Get<Checkpoint>("model"));
  labels.push_back(params.label);
  std::vector<ModelConfig> configs;
  for (const auto& model : models) configs.push_back(model->model.config);
  CheckBench(configs, labels, bench.options, AvailableMemory());
  std::vector<std::unique_ptr<decode::Decoder>> decoders;
  std::vector<decode::Decoder*> borrowed;
  for (const auto& model : models) {
    decoders.push_back(std::make_unique<decode::Decoder>(model->model, DecoderFor(bench.options)));
    borrowed.push_back(decoders.back().get());
  }
  bench.results = RunBench(borrowed, labels, bench.options,
                           [&](double share) { context.Poll(share, "measuring"); });
  return bench;
}

}  // namespace puzzle
