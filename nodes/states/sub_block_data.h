// What a sub-block, or a whole block, of the parent sees and answers on the calibration tokens: the
// training data of blockwise distillation. Shared by all its variants. Immutable.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "model/transformer.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/file_tensor.h"

namespace puzzle {

/// Throws Error unless the activations came from this parent.
void CheckActivations(const Activations& activations, const std::string& parent_digest,
                      const ModelConfig& config);

/// bf16 on the host, to hold twice as many; in memory or in files without names, see DataRoom.
struct SubBlockData {
  at::Tensor input;   // [sequences, length, hidden], InputOf the state before it
  at::Tensor target;  // [sequences, length, hidden], the parent's output without residual
  at::Tensor power;   // [sequences, length], fp32: |target|^2 of every token
  /// [sequences, length], fp32: 1 where the next token is in the tokens' mask, else 0; undefined
  /// where they have none.
  at::Tensor predicts_answer;

  [[nodiscard]] int64_t sequences() const;
  [[nodiscard]] int64_t length() const;
  [[nodiscard]] size_t bytes() const;
  /// Input, as bf16 or in fp32, and fp32 target of some sequences on `device`.
  struct Batch {
    at::Tensor input;
    at::Tensor target;
  };
  [[nodiscard]] Batch Rows(const std::vector<int64_t>& rows, const std::string& device,
                           bool as_bf16 = false) const;
  /// These rows are wanted soon: what of them is on the disk is read while something else goes on.
  void Expect(const std::vector<int64_t>& rows) const;
};

/// Runs the parent's sub-block over all activations, its products computed in `products` (fp32 or
/// bf16). An FFN is behind the layer's attention, whose data, made alike, is `attention`; nullptr
/// where the layer has none, and for anything but an FFN. `poll` is called once per batch. Throws
/// Error when the disk has no room.
[[nodiscard]] SubBlockData MakeSubBlockData(const Transformer& parent,
                                            const Activations& activations, int64_t layer,
                                            SubBlock which, const SubBlockData* attention,
                                            at::ScalarType products,
                                            const std::function<void()>& poll,
                                            const DataRoom& room = {});

}  // namespace puzzle
