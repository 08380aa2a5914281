// What steps hand to each other: hidden states of the parent and what they say about its parts.
// Every artifact is a value with a type name, a form in an archive and a size in memory; scalar
// attributes appear in records and summaries. Immutable once made, hence shared by threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"

namespace puzzle {

/// The parent's hidden state at every layer's input and behind the last layer, read by range.
class Activations {
 public:
  static constexpr std::string_view kType = "activations";

  [[nodiscard]] int64_t n_states() const { return layout_.n_states; }  // layers + 1
  [[nodiscard]] int64_t sequences() const { return layout_.sequences; }
  [[nodiscard]] int64_t length() const { return layout_.length; }
  [[nodiscard]] int64_t hidden() const { return layout_.hidden; }
  /// Is the state at the input of block `index` (or behind the last one) in the archive? Every
  /// stride-th is, or none; `LayerInput` computes the others.
  [[nodiscard]] bool Keeps(int64_t index) const;
  /// That state: sequences [first, first + count) as fp32 [count, length, hidden].
  /// REQUIRES: Keeps(index).
  [[nodiscard]] at::Tensor Read(int64_t index, int64_t first, int64_t count) const;
  /// Token ids of the same sequences, int64 [count, length].
  [[nodiscard]] at::Tensor Ids(int64_t first, int64_t count) const;
  /// Which of all ids are in the tokens' mask, bool [sequences, length]; undefined where they have
  /// none.
  [[nodiscard]] at::Tensor Mask() const;
  /// Digest of the parent they come from: other inputs must be the same model.
  [[nodiscard]] const std::string& parent_digest() const { return parent_digest_; }

  struct Layout {
    int64_t n_states = 0, sequences = 0, length = 0, hidden = 0;
    DType dtype = DType::kF32;
    int64_t stride = 1;  // every stride-th state is kept; 0: none
  };
  /// Streaming writer: one Append per batch of sequences, or all sequences of a state after those
  /// of the last one.
  class Writer {
   public:
    /// `mask` is that of the tokens, bool [sequences, length] or undefined.
    Writer(ArchiveWriter& out, const Layout& layout, const std::string& parent_digest,
           const at::Tensor& mask = {});
    /// `states`: n_states tensors [count, length, hidden], of which those that are not kept may be
    /// undefined; ids [count, length].
    void Append(const std::vector<at::Tensor>& states, const at::Tensor& ids);
    /// The states [count, length, hidden] of the next sequences at the input of block `index`; does
    /// nothing for one that is not kept.
    void AppendState(int64_t index, const at::Tensor& states);
    /// The ids [count, length] of the next sequences.
    void AppendIds(const at::Tensor& ids);

   private:
    ArchiveWriter& out_;
    Layout layout_;
  };

  void Save(ArchiveWriter& out) const;  // only streamed; throws BugError
  static Activations Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return 4096; }

 private:
  std::shared_ptr<const ArchiveReader> reader_;
  Layout layout_;
  std::string parent_digest_;
};

/// Which channels and kv heads matter, per layer; undefined tensors where a layer has none.
struct Importance {
  static constexpr std::string_view kType = "importance";
  std::vector<at::Tensor> channel_order;  // int64 [ffn size], most important first
  std::vector<at::Tensor> head_scores;    // [kv heads]

  void Save(ArchiveWriter& out) const;
  static Importance Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const;
};

}  // namespace puzzle
