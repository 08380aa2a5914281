// What a step carries from the moment its key is closed until it has its outcome. A value that
// belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/run/curves.h"
#include "graph/run/memory_meter.h"
#include "graph/run/resident.h"
#include "graph/store/files.h"
#include "graph/store/locks.h"
#include "graph/store/store.h"

namespace puzzle {

struct Flight {
  std::string key;
  std::string recipe;
  std::string reason;
  bool has_save_point = false;  // one was found or kept
  bool replace = false;         // a whole result of this key is there and must not count
  std::unique_ptr<Claim> claim;
  std::string waits_for;            // whom it waits for, or waited last
  std::optional<Record> found;      // what another run made meanwhile
  std::optional<InputWatch> files;  // external ones that the step reads
  std::unique_ptr<ArtifactDraft> draft;
  BodyResult product;
  std::optional<YieldedMemory> held;  // for the product, until it is saved
  std::exception_ptr failure;
  std::vector<std::string> warnings;
  Curves curves;  // of the attempt that counts
  std::string lane;
  int threads = 0;
  double wall_s = 0, cpu_s = 0;
  double earlier_s = 0;               // of other runs, up to the save point that it began from
  uint64_t demand_bytes = 0;          // what it was admitted with
  std::optional<MemoryMeter> memory;  // of steps on a lane
  uint64_t memory_bytes = 0;
  bool tried_alone = false;
  bool changed_lane = false;
};

}  // namespace puzzle
