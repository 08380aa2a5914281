#include "nodes/train/trained_share.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "model/block/counts.h"
#include "model/shape/variant.h"

namespace puzzle {
namespace {

using Matrix = std::pair<int64_t, int64_t>;  // into, out of

std::vector<Matrix> MatricesOf(const AttentionSpec& spec, const ModelConfig& config) {
  const int64_t d = config.hidden_size;
  if (spec.is_none()) return {};
  if (spec.is_linear()) return {{d, d}};
  const int64_t queries = QueryHeads(spec, config) * config.head_dim;
  const int64_t keys = spec.n_kv_heads * config.head_dim;
  return {{d, queries}, {d, keys}, {d, keys}, {queries, d}};
}

std::vector<Matrix> MatricesOf(const FfnSpec& spec, const ModelConfig& config) {
  const int64_t d = config.hidden_size;
  if (spec.is_none()) return {};
  if (spec.is_linear()) return {{d, d}};
  std::vector<Matrix> matrices(config.arch.gated_ffn ? 2 : 1, {d, spec.size});
  matrices.emplace_back(spec.size, d);
  return matrices;
}

double Elements(const Matrix& matrix) {
  return static_cast<double>(matrix.first * matrix.second);
}

// What one sub-block has of it.
template <class Spec>
TrainedShare OfSubBlock(const GkdParams& params, const Spec& spec, const ModelConfig& config) {
  const auto whole = static_cast<double>(block::CountParameters(spec, config));
  const std::vector<Matrix> matrices = MatricesOf(spec, config);
  TrainedShare share;
  if (params.train == "adapters") {
    for (const Matrix& matrix : matrices) {
      const int64_t rank = std::min({params.rank, matrix.first, matrix.second});
      share.parameters += static_cast<double>(rank * (matrix.first + matrix.second));
      share.matrices += Elements(matrix);  // through which those of the adapters go
    }
  } else if (params.train == "norms") {
    if (matrices.empty()) return share;
    share.matrices = Elements(matrices.back());
    share.parameters = share.matrices + static_cast<double>(block::CountNorm(config));
  } else {
    share.parameters = share.matrices = whole;
  }
  return share;
}

// Whether a sub-block of a layer is known to be another than the teacher's.
struct Changes {
  const ModelConfig &teacher, &student;

  template <class Spec>
  [[nodiscard]] bool Has(Spec BlockSpec::*which, size_t layer) const {
    return !(student.blocks[layer].*which == teacher.blocks[layer].*which);
  }
  [[nodiscard]] bool Any() const {
    for (size_t layer = 0; layer < student.blocks.size(); ++layer)
      if (Has(&BlockSpec::attention, layer) || Has(&BlockSpec::ffn, layer)) return true;
    return false;
  }
};

}  // namespace

TrainedShare ShareOf(const GkdParams& params, const ModelConfig& teacher,
                     const ModelConfig& student) {
  const Changes changes{teacher, student};
  const bool are_known =
      params.train == "changed" && teacher.blocks.size() == student.blocks.size() && changes.Any();
  TrainedShare sum;
  sum.head = params.train == "all";
  if (sum.head) sum.parameters = static_cast<double>(CountNonBlockParameters(student));
  sum.first_layer = are_known ? student.n_layers() : 0;
  for (size_t layer = 0; layer < student.blocks.size(); ++layer) {
    const auto add = [&](auto which) {
      if (are_known && !changes.Has(which, layer)) return;
      const TrainedShare share = OfSubBlock(params, student.blocks[layer].*which, student);
      sum.parameters += share.parameters;
      sum.matrices += share.matrices;
      sum.first_layer = std::min(sum.first_layer, static_cast<int64_t>(layer));
    };
    add(&BlockSpec::attention);
    add(&BlockSpec::ffn);
  }
  return sum;
}

}  // namespace puzzle
