// What steps hand to each other: text, tokens, checkpoints. Every artifact is a value with a type
// name, a form in an archive and a size in memory; scalar attributes appear in records and
// summaries. Immutable once made, hence shared by threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"
#include "model/weights.h"

namespace puzzle {

/// Plain text.
struct TextArtifact {
  static constexpr std::string_view kType = "text";
  std::string text;

  void Save(ArchiveWriter& out) const;
  static TextArtifact Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return text.size(); }
};

/// Token ids packed into equal sequences.
struct TokenSet {
  static constexpr std::string_view kType = "tokens";
  std::vector<int32_t> ids;  // [sequences, length]
  int64_t length = 0;
  int64_t vocab_size = 0;
  std::map<std::string, std::string> tokenizer_files;
  /// [sequences, length]: whether a loss may be taken on predicting the id; of conversations only
  /// the answers. Empty: on all.
  std::vector<uint8_t> mask;

  [[nodiscard]] int64_t sequences() const { return static_cast<int64_t>(ids.size()) / length; }
  /// Sequences [first, first + count) as int64 [count, length].
  [[nodiscard]] at::Tensor Batch(int64_t first, int64_t count) const;
  /// The given sequences as int64 [rows, length].
  [[nodiscard]] at::Tensor Rows(const std::vector<int64_t>& rows) const;
  /// `mask` as bool [sequences, length]; undefined without one.
  [[nodiscard]] at::Tensor Mask() const;

  void Save(ArchiveWriter& out) const;
  static TokenSet Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return ids.size() * sizeof(int32_t) + mask.size(); }
};

/// A model and the tokenizer that belongs to it.
struct Checkpoint {
  static constexpr std::string_view kType = "checkpoint";
  ModelWeights model;
  std::map<std::string, std::string> tokenizer_files;  // may be empty
  std::string generation_config;                       // the text of such a file; may be empty
  std::map<std::string, double> figures;               // how training ended

  void Save(ArchiveWriter& out) const;
  static Checkpoint Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return ByteSize(model); }
};

/// A checkpoint folder that was written.
struct ExportManifest {
  static constexpr std::string_view kType = "export";
  std::string folder;
  std::map<std::string, uint64_t> files;  // relative name -> bytes

  void Save(ArchiveWriter& out) const;
  static ExportManifest Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return files.size() * 64; }
};

}  // namespace puzzle
