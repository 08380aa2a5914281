// `puzzle bench`.
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/model_commands.h"
#include "apps/model_session.h"
#include "apps/output.h"
#include "graph/run/machine.h"
#include "model/decode/decoder.h"
#include "model/files/checkpoint.h"
#include "model/files/checkpoint_config.h"
#include "model/weights.h"
#include "nodes/cost/decode_bench.h"

namespace puzzle {

namespace {

nlohmann::ordered_json SpreadJson(const Measured& measured) {
  return nlohmann::ordered_json::array({measured.low, measured.high});
}

nlohmann::ordered_json ResultJson(const BenchResult& result, const std::string& dtype) {
  return {{"model", result.model},
          {"dtype", dtype},
          {"prefill_tok_s", result.prefill_tok_s.median},
          {"prefill_tok_s_range", SpreadJson(result.prefill_tok_s)},
          {"decode_tok_s", result.decode_tok_s.median},
          {"decode_tok_s_range", SpreadJson(result.decode_tok_s)},
          {"first_token_ms", result.first_token_ms.median},
          {"first_token_ms_range", SpreadJson(result.first_token_ms)},
          {"peak_mib", result.memory_mib},
          {"step_mib", result.step_mib},
          {"bandwidth_share", result.bandwidth_share},
          {"ratio", result.ratio},
          {"predicted_ratio", result.predicted_ratio}};
}

void PrintTable(const std::vector<BenchResult>& results, const BenchOptions& options,
                const std::string& dtype) {
  size_t width = 5;
  for (const BenchResult& result : results) width = std::max(width, result.model.size());
  Print("{:<{}}  {:>22}  {:>22}  {:>14}  {:>9}  {:>8}  {:>6}  {:>9}\n", "model", width,
        "prefill tok/s", "decode tok/s", "first token ms", "peak MiB", "of limit", "ratio",
        "predicted");
  const auto with_range = [](const Measured& m) {
    return fmt::format("{:.1f} ({:.1f}-{:.1f})", m.median, m.low, m.high);
  };
  for (const BenchResult& result : results)
    Print("{:<{}}  {:>22}  {:>22}  {:>14.1f}  {:>9.0f}  {:>8.2f}  {:>6.3f}  {:>9.3f}\n",
          result.model, width, with_range(result.prefill_tok_s), with_range(result.decode_tok_s),
          result.first_token_ms.median, result.memory_mib, result.bandwidth_share, result.ratio,
          result.predicted_ratio);
  Print(
      "{}, batch {}, {} threads, {} rounds; prompts of {}, then {} tokens; {}; memory read with "
      "{:.1f} GB/s\n",
      dtype, options.batch, options.threads, options.rounds, options.prefill, options.decode,
      decode::PanelInstructions(), results.front().bandwidth_gb_s);
  Print(
      "of limit: what decoding reads of weights and cache, as a share of that bandwidth (more than "
      "1: it comes from a cache)\n");
}

}  // namespace

int BenchCommand(const BenchVerbOptions& verb) {
  BenchOptions options;
  options.type = decode::WeightTypeNamed(verb.dtype);
  options.bf16_cache = options.type != decode::WeightType::kFp32;
  options.batch = verb.batch;
  options.prefill = verb.prefill;
  options.decode = verb.decode;
  options.rounds = verb.rounds;
  options.threads = PrepareThread("cpu", verb.threads);
  std::vector<ModelConfig> configs;
  for (const std::string& model : verb.models) configs.push_back(ReadCheckpointConfig(model));
  CheckBench(configs, verb.models, options, AvailableMemory());
  Percentage percentage;
  std::vector<std::unique_ptr<decode::Decoder>> decoders;
  std::vector<decode::Decoder*> borrowed;
  for (const std::string& model : verb.models) {
    percentage.Show(0, "loading " + model);
    decoders.push_back(
        std::make_unique<decode::Decoder>(LoadCheckpoint(model), DecoderFor(options)));
    borrowed.push_back(decoders.back().get());
  }
  const std::vector<BenchResult> results =
      RunBench(borrowed, verb.models, options, [&](double part) { percentage.Show(part); });
  percentage.Show(1);
  if (!verb.json) {
    PrintTable(results, options, verb.dtype);
    return 0;
  }
  nlohmann::ordered_json json;
  json["models"] = nlohmann::ordered_json::array();
  for (const BenchResult& result : results)
    json["models"].push_back(ResultJson(result, verb.dtype));
  json["batch"] = options.batch;
  json["prefill"] = options.prefill;
  json["decode"] = options.decode;
  json["threads"] = options.threads;
  json["rounds"] = options.rounds;
  json["bandwidth_gb_s"] = results.front().bandwidth_gb_s;
  json["instructions"] = decode::PanelInstructions();
  Print("{}\n", json.dump());
  return 0;
}

}  // namespace puzzle
