// What steps hand to each other: choosing one variant per sub-block. Every artifact is a value with
// a type name, a form in an archive and a size in memory; scalar attributes appear in records and
// summaries. Immutable once made, hence shared by threads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"
#include "model/shape/variant.h"

namespace puzzle {

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
  std::string status;    // "optimal", "feasible"
  double objective = 0;  // the sum of the scores
  double bound = 0;      // proven: no choice is below with what was minimised
  double gap = 0;
  std::string minimized;  // the resource that was, under `loss_max`; empty: the objective
  double loss_max = 0;
  std::string uniform;  // what all layers take, and what that costs; empty: they are free
  int64_t batch = 0;    // of the costs it was made with
  std::string timing;   // as in those costs
  std::map<std::string, double> totals;  // resource -> total, fixed part included
  std::string comparison;  // with other methods, a table without times; empty: not made
  /// Of a round of a bisection: between which sizes it was looked for.
  struct Bracket {
    std::string resource;
    double fails = 0;  // at this size too much was lost, or nobody wants to look
    double keeps = 0;  // at this one it was not
  };
  std::optional<Bracket> bracket = std::nullopt;

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

}  // namespace puzzle
