#include "nodes/train/best_state.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/pch.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

BestState::BestState(const AdamW& optimizer, std::function<double()> measure)
    : parameters_(optimizer.state().values), measure_(std::move(measure)) {}

double BestState::Consider(int64_t step) {
  const at::NoGradGuard no_grad;
  const double value = measure_();
  if (step == 0) first_ = value;
  if (!copy_.defined() || value < best_ || (std::isnan(best_) && !std::isnan(value))) {
    best_ = value;
    best_step_ = step;
    copy_ = parameters_.detach().clone();
  }
  return value;
}

void BestState::PutBack() {
  const at::NoGradGuard no_grad;
  parameters_.detach().copy_(copy_);
}

void BestState::Save(ArchiveWriter& out) const {
  out.SetAttribute("best", best_);
  out.SetAttribute("best_first", first_);
  out.SetAttribute("best_step", best_step_);
  WriteTensor(out, "best_values", copy_);
}

void BestState::Restore(const ArchiveReader& in) {
  best_ = in.Attribute("best");
  first_ = in.Attribute("best_first");
  best_step_ = in.Attribute("best_step");
  copy_ = ReadTensor(in, "best_values").to(parameters_.device());
}

}  // namespace puzzle
