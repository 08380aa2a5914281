// `bench`: how fast a model reads and writes text beside its parent, as figures of a graph.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/cost/decode_bench.h"
#include "nodes/cost/kinds.h"

namespace puzzle {

/// What was measured. A value.
struct Bench {
  static constexpr std::string_view kType = "bench";
  BenchOptions options;
  std::vector<BenchResult> results;  // the model's last, behind its parent's if there is one

  void Save(ArchiveWriter& out) const;
  static Bench Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return results.size() * 512; }
};

[[nodiscard]] Bench RunBenchStep(const BenchParams& params, const Inputs& inputs,
                                 RunContext& context);

}  // namespace puzzle
