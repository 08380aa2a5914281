// What steps hand to each other: training: the parent, blocks, the child. Every artifact is a value
// with a type name, a form in an archive and a size in memory; scalar attributes appear in records
// and summaries. Immutable once made, hence shared by threads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"
#include "model/weights.h"

namespace puzzle {

/// One trained variant of one sub-block, or of a whole block. Without tensors when it is the
/// parent's own or `none`.
/// Loading reads what it is; its weights are read when they are used.
struct Block {
  static constexpr std::string_view kType = "block";
  int64_t layer = 0;
  std::string variant;  // as written in the graph: "ffn:50%"
  VariantSpec spec;     // what it means here
  bool parents_own = false;
  SubBlockWeights trained;                      // of a block that was just made
  std::shared_ptr<const ArchiveReader> reader;  // of a block that was loaded
  double init_loss = 0;  // held-out MSE / MSE(target, 0) before and after training; 0: no training
  double loss = 0;

  /// Of a block that was loaded unread (model/unread.h). REQUIRES: not the parent's own.
  [[nodiscard]] SubBlockWeights Weights() const;

  void Save(ArchiveWriter& out) const;
  static Block Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const;
};

}  // namespace puzzle
