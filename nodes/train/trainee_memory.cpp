#include "nodes/train/trainee_memory.h"

#include <algorithm>

namespace puzzle {

namespace {

// Of one part: matrices in the type of the products and their gradients, which become fp32.
double BytesOfPart(const TrainingShape& shape) {
  constexpr double kFp32Gradients = 4, kBf16Matrices = 2 + 2;
  return (kFp32Gradients + (shape.in_bf16 ? kBf16Matrices : 0)) * shape.parameters + shape.between;
}

}  // namespace

TrainingShape TrainingShapeOf(const VariantSpec& variant, const ModelConfig& parent,
                              const BldParams& params, bool in_bf16, int64_t length,
                              int64_t threads) {
  constexpr int64_t kParts = 4;               // of a batch, see RowParts
  constexpr int64_t kPieceTokens = 1024;      // see Trainee
  constexpr int64_t kStates = 6, kInner = 5;  // tensors as wide as the state, and as the sub-block
  TrainingShape shape;
  shape.parameters = static_cast<double>(CountParameters(variant, parent));
  shape.in_bf16 = in_bf16;
  shape.parts = std::min(params.batch, kParts);
  shape.threads = threads;
  int64_t widest = parent.hidden_size;
  for (const VariantSpec& part : PartsOf(variant))
    if (const auto* ffn = std::get_if<FfnSpec>(&part)) widest = std::max(widest, ffn->size);
  const int64_t rows = std::min((params.batch + shape.parts - 1) / shape.parts,
                                std::max<int64_t>(1, kPieceTokens / length));
  shape.between = (in_bf16 ? 2.0 : 4.0) * static_cast<double>(rows * length) *
                  static_cast<double>(kStates * parent.hidden_size + kInner * widest);
  return shape;
}

double TrainingBytes(const TrainingShape& shape, const TrainingWay& way) {
  constexpr double kFp32 = 4;
  constexpr double kState = 4;    // parameters, two moments, the best state
  constexpr double kOfAStep = 3;  // gradients; matrices with their norms, and their gradients
  const double copies = kOfAStep + (way.in_files ? 0 : kState);
  const auto at_once =
      static_cast<double>(way.one_at_a_time ? 1 : std::min(shape.parts, shape.threads));
  return kFp32 * copies * shape.parameters + at_once * BytesOfPart(shape);
}

TrainingWay ChooseTrainingWay(const TrainingShape& shape, double limit) {
  TrainingWay way;
  for (const TrainingWay& next : {TrainingWay{false, false}, {true, false}, {true, true}}) {
    way = next;
    if (TrainingBytes(shape, way) <= limit) break;
  }
  return way;
}

}  // namespace puzzle
