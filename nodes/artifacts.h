// What steps hand to each other. Every artifact is a value with a type name, a form in an archive
// and a size in memory; scalar attributes appear in records and summaries. Immutable once made,
// hence shared by threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"
#include "io/tokenizer.h"
#include "model/shape/metrics.h"
#include "model/weights.h"
#include "nodes/cost/serving_costs.h"
#include "nodes/measure/questions.h"

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

  [[nodiscard]] int64_t sequences() const { return static_cast<int64_t>(ids.size()) / length; }
  /// Sequences [first, first + count) as int64 [count, length].
  [[nodiscard]] at::Tensor Batch(int64_t first, int64_t count) const;
  /// The given sequences as int64 [rows, length].
  [[nodiscard]] at::Tensor Rows(const std::vector<int64_t>& rows) const;

  void Save(ArchiveWriter& out) const;
  static TokenSet Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return ids.size() * sizeof(int32_t); }
};

/// A model and the tokenizer that belongs to it.
struct Checkpoint {
  static constexpr std::string_view kType = "checkpoint";
  ModelWeights model;
  std::map<std::string, std::string> tokenizer_files;  // may be empty
  std::map<std::string, double> figures;               // how training ended

  void Save(ArchiveWriter& out) const;
  static Checkpoint Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return ByteSize(model); }
};

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
  /// Digest of the parent they come from: other inputs must be the same model.
  [[nodiscard]] const std::string& parent_digest() const { return parent_digest_; }

  struct Layout {
    int64_t n_states = 0, sequences = 0, length = 0, hidden = 0;
    DType dtype = DType::kF32;
    int64_t stride = 1;  // every stride-th state is kept; 0: none
  };
  /// Streaming writer: one Append per batch of sequences.
  class Writer {
   public:
    Writer(ArchiveWriter& out, const Layout& layout, const std::string& parent_digest);
    /// `states`: n_states tensors [count, length, hidden], of which those that are not kept may be
    /// undefined; ids [count, length].
    void Append(const std::vector<at::Tensor>& states, const at::Tensor& ids);

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

/// One trained variant of one sub-block, or of a whole block. Without tensors when it is the
/// parent's own or `none`.
/// Loading reads what it is; its weights are read when asked for.
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

  /// REQUIRES: not the parent's own.
  [[nodiscard]] SubBlockWeights Weights() const;

  void Save(ArchiveWriter& out) const;
  static Block Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(Block); }
};

/// How much a whole model suffers when one sub-block, or block, is replaced.
struct Score {
  static constexpr std::string_view kType = "score";
  int64_t layer = 0;
  std::string variant;
  VariantSpec spec;
  TokenMetrics metrics;   // of the model with the variant
  TokenMetrics increase;  // over the model without it, token by token

  void Save(ArchiveWriter& out) const;
  static Score Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(Score); }
};

/// What every variant of every sub-block costs in one scenario.
struct CostTable {
  static constexpr std::string_view kType = "costs";
  struct Row {
    int64_t layer = 0;
    std::string variant;
    VariantSpec spec;
    bool parents_own = false;
    std::vector<double> costs;  // one per resource
  };
  ModelConfig parent;
  ServingScenario scenario;
  std::string timing;  // where times come from: "" (none), "estimate for ..."
  std::vector<std::string> resources;
  std::vector<double> fixed;         // what the model costs beside its blocks
  std::vector<double> parent_total;  // fixed included
  // By layer, attention before FFN before whole blocks, the parent's own sub-blocks first.
  std::vector<Row> rows;

  void Save(ArchiveWriter& out) const;
  static CostTable Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return rows.size() * 128; }
};

/// One variant for every sub-block, or for whole blocks: the answer of a search.
struct Choice {
  static constexpr std::string_view kType = "choice";
  struct Pick {
    int64_t layer = 0;
    std::string variant;
    VariantSpec spec;
  };
  std::vector<Pick> picks;  // by layer, attention before FFN
  std::string method;
  std::string status;  // "optimal", "feasible"
  double objective = 0;
  double bound = 0;  // proven: no choice is below
  double gap = 0;
  int64_t batch = 0;                     // of the costs it was made with
  std::string timing;                    // as in those costs
  std::map<std::string, double> totals;  // resource -> total, fixed part included
  std::string comparison;  // with other methods, a table without times; empty: not made

  /// Lines "block_3:  attention kv1  ffn 256", with "coupled" behind what was trained as one.
  [[nodiscard]] std::string Listing() const;
  /// Status, totals and listing, for people.
  [[nodiscard]] std::string Report() const;

  void Save(ArchiveWriter& out) const;
  static Choice Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return picks.size() * 64; }
};

/// The best children for many budgets.
struct FrontierArtifact {
  static constexpr std::string_view kType = "frontier";
  struct Point {
    std::string budget;  // "70%"
    std::string method;
    double batch = 0;
    std::string status;
    double objective = 0;
    double bound = 0;
    bool dominated = false;
    std::map<std::string, double> totals;  // empty: the budget cannot be met
    std::vector<std::string> variants;     // "attn:kv1" by layer, attention before FFN
  };
  std::string resource;  // that was swept
  std::vector<Point> points;
  std::string table;
  std::string picture_svg;

  void Save(ArchiveWriter& out) const;
  static FrontierArtifact Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return points.size() * 4096; }
};

/// How good a model is on held-out text.
struct Evaluation {
  static constexpr std::string_view kType = "evaluation";
  std::string label;
  std::string series;        // of a report's picture; may be empty
  std::string model_digest;  // of the checkpoint that was measured
  TokenMetrics metrics;
  bool has_kl = false;
  std::optional<double> predicted;  // KL as the sum of the replacements' scores
  TaskAccuracy tasks;               // of multiple-choice questions, if any were asked
  int64_t parameters = 0;
  int64_t block_parameters = 0;
  double weights_mib = 0;  // in the checkpoint's dtype
  std::string prompt;
  std::string sample;

  void Save(ArchiveWriter& out) const;
  static Evaluation Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof(Evaluation) + sample.size(); }
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

/// Text for people; printed at the end of a run.
struct ReportText {
  static constexpr std::string_view kType = "report";
  std::string text;
  std::string picture_svg;  // empty: none

  void Save(ArchiveWriter& out) const;
  static ReportText Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return text.size() + picture_svg.size(); }
};

}  // namespace puzzle
