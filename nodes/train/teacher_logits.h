// `teacher_logits`: a parent's answers on a training text, the likeliest words of each prediction,
// kept for all distillations of its children (`gkd`).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "graph/kind/kind.h"
#include "model/math/top_words.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// What a parent answers to every prediction of some sequences, read by sequence. Log-probabilities
/// are stored in 11 bits (f16), ids in 16 where the vocabulary allows it: 4 k + 4 bytes a token
/// then, else 6 k + 4. Thread-safe.
class TeacherLogits {
 public:
  static constexpr std::string_view kType = "teacher_logits";

  struct Layout {
    int64_t sequences = 0, length = 0;
    int64_t vocab_size = 0;
    int64_t k = 0;  // words of a prediction

    [[nodiscard]] int64_t predictions() const { return length - 1; }  // of a sequence
    [[nodiscard]] bool has_short_ids() const { return vocab_size <= kMostShortIds; }
  };
  /// Which model they are of, and on which tokens: other inputs must be the same.
  struct Origin {
    std::string parent_digest, tokens_digest;
  };
  /// Streaming writer. Belongs to one thread.
  class Writer {
   public:
    Writer(ArchiveWriter& out, const Layout& layout, const Origin& origin);
    /// Of the next sequences, as many words as the layout has. REQUIRES: finite log-probabilities.
    void Append(const TopWords& words);
    /// Once, behind the last sequence.
    void Finish();

   private:
    ArchiveWriter& out_;
    Layout layout_;
    double rest_ = 0;  // probability, summed over all predictions
  };

  [[nodiscard]] int64_t k() const { return layout_.k; }
  /// Throws Error unless they are of this model and these tokens.
  void Check(const std::string& parent_digest, const std::string& tokens_digest) const;
  /// Of the sequences `rows`, one prediction after another. What rounding has added to the
  /// probabilities of a token or taken away is shared among all of them.
  [[nodiscard]] TopWords Read(const std::vector<int64_t>& rows) const;

  void Save(ArchiveWriter& out) const;  // only streamed; throws BugError
  static TeacherLogits Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return 4096; }

 private:
  std::shared_ptr<const ArchiveReader> reader_;
  std::shared_ptr<std::mutex> mutex_;  // a reader serves one thread at a time
  Layout layout_;
  Origin origin_;
};

/// Runs the parent once, layer by layer (nodes/states/walk.h), and its head in tiles. Throws Error
/// when the tokens do not fit it, and when an answer is not finite.
void RunTeacherLogits(const TeacherLogitsParams& params, const Inputs& inputs, RunContext& context,
                      ArchiveWriter& out);

}  // namespace puzzle
