// Packs the matrices of a model. Those in files (model/unread.h) are read in stretches of a
// megabyte, by all members of a team, each packing what it read: beside what is packed no more than
// that of a matrix is ever in memory, and no thread waits for another's file. Belongs to one
// thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "model/decode/packed_matrix.h"
#include "model/decode/team.h"

namespace puzzle::decode {

/// The values in fp32 on the host, read if they have to be.
[[nodiscard]] at::Tensor PlainValues(const at::Tensor& tensor);

class Packer {
 public:
  Packer(WeightType type, Team& team) : type_(type), team_(team) {}

  /// `target` becomes these matrices below each other. Each is given back when it was packed.
  void Add(PackedMatrix& target, std::vector<at::Tensor> parts) {
    waiting_.push_back({&target, std::move(parts)});
  }
  /// Packs what was added into one stretch of memory, in this order, which is to be that of a step.
  /// Throws Error as reading does; of several failures, the first matrix's.
  [[nodiscard]] Arena Finish();

 private:
  struct Pending {
    PackedMatrix* target;
    std::vector<at::Tensor> parts;

    [[nodiscard]] int64_t rows() const;
    [[nodiscard]] int64_t columns() const { return parts.front().size(1); }
  };
  struct Stretch;

  void PackWhole(PackedMatrix& target, int64_t at, at::Tensor part);
  void PackFromFiles(const std::vector<Stretch>& stretches);

  WeightType type_;
  Team& team_;
  std::vector<Pending> waiting_;
};

}  // namespace puzzle::decode
