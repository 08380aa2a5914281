// `puzzle bench`.
#include <memory>

#include <nlohmann/json.hpp>

#include "apps/frame/output.h"
#include "apps/models/model_commands.h"
#include "apps/models/model_session.h"
#include "graph/run/machine.h"
#include "model/decode/decoder.h"
#include "model/files/checkpoint_config.h"
#include "model/files/open_checkpoint.h"
#include "model/weights.h"
#include "nodes/cost/decode_bench.h"

namespace puzzle {

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
        std::make_unique<decode::Decoder>(OpenCheckpoint(model), DecoderFor(options)));
    borrowed.push_back(decoders.back().get());
  }
  const std::vector<BenchResult> results =
      RunBench(borrowed, verb.models, options, [&](double part) { percentage.Show(part); });
  percentage.Show(1);
  if (verb.json) {
    const auto json = BenchJson(results, options);
    Print("{}\n", json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    Print("{}", BenchTable(results, options));
  }
  return kExitDone;
}

}  // namespace puzzle
