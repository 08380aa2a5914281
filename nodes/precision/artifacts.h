// What steps hand to each other: in which types a file holds the parts of a model. Every artifact
// is a value with a type name, a form in an archive and a size in memory; scalar attributes appear
// in records and summaries. Immutable once made, hence shared by threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"
#include "model/files/stored_parts.h"
#include "model/shape/metrics.h"

namespace puzzle {

/// How much a model suffers when one part of it (model/files/stored_parts.h) is stored in other
/// types.
struct PrecisionScore {
  static constexpr std::string_view kType = "precision_score";
  struct Option {
    std::string type;       // "q4_0"
    TokenMetrics increase;  // over the model in full precision, token by token
  };
  std::string model_digest;  // of the checkpoint that was measured
  std::string part;          // "layer 3 attn"
  std::string variant;       // "attn:kv1"
  std::vector<Option> options;

  void Save(ArchiveWriter& out) const;
  static PrecisionScore Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(*this) + options.size() * 512; }
};

/// A type for every part of a model.
struct Precision {
  static constexpr std::string_view kType = "precision";
  struct Pick {
    std::string part;     // "layer 3 attn"
    std::string variant;  // "attn:kv1"
    std::string type;     // "q8_0"
    double score = 0;     // the damage, against the part in the first type it was scored in
    double bytes = 0;     // in the file
  };
  std::string model_digest;  // of the model that was scored
  std::vector<Pick> picks;   // in the order of StoredParts
  std::string status;        // "optimal", "feasible"
  double objective = 0;      // the sum of the scores
  double bound = 0;          // proven: no other choice is below
  double file_mib = 0;       // of the GGUF file
  std::string comparison;    // with one type throughout; a table

  [[nodiscard]] StoredTypes Types() const;
  /// The same for a model. Throws Error unless it has the parts that they were chosen for, in the
  /// same variants: the model that was scored, or what training made of it.
  [[nodiscard]] StoredTypes TypesFor(const ModelConfig& config) const;
  /// Lines "layer 3: attn:kv1@q8_0  ffn:256@q4_0".
  [[nodiscard]] std::string Listing() const;

  void Save(ArchiveWriter& out) const;
  static Precision Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(*this) + picks.size() * 128; }
};

/// The type of that name, "q8_0", as GGUF files are written. Throws Error for another name.
[[nodiscard]] const GgmlType& StoredTypeNamed(const std::string& name);

/// The type of what belongs to no part: zeros that layers of a GGUF file are filled up with.
inline constexpr const char* kRestType = "f16";

/// A figure of checkpoints that went through such types: the size of their GGUF file.
inline constexpr const char* kFileMib = "file_mib";

}  // namespace puzzle
