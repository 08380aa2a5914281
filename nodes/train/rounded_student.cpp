#include "nodes/train/rounded_student.h"

#include "model/pch.h"

namespace puzzle {

RoundedBlocks RoundedStudent::Blocks(const Transformer& model) {
  if (blocks_ != at::kBFloat16) return nullptr;
  if (room_ && !place_of_blocks_.defined()) place_of_blocks_ = room_(RoundedElements(model));
  return Rounded(model, place_of_blocks_);
}

at::Tensor RoundedStudent::Head(const Transformer& model) {
  const at::NoGradGuard no_grad;
  const at::Tensor& matrix = model.weights().HeadMatrix();
  if (head_ != at::kBFloat16 || !matrix.is_cpu()) return {};
  if (!room_) return matrix.to(at::kBFloat16);
  if (!place_of_head_.defined()) place_of_head_ = room_(matrix.numel()).view(matrix.sizes());
  return place_of_head_.copy_(matrix);
}

}  // namespace puzzle
