#include "nodes/train/best_state.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/pch.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

namespace {

// JSON has no word for what is no finite number: null, and one is as bad as the other.
nlohmann::json AttributeOf(double figure) {
  return std::isfinite(figure) ? nlohmann::json(figure) : nlohmann::json();
}

double FigureOf(const nlohmann::json& attribute) {
  return attribute.is_null() ? std::numeric_limits<double>::quiet_NaN() : attribute.get<double>();
}

}  // namespace

BestState::BestState(const AdamW& optimizer, std::function<double()> measure, MakeFlat room)
    : parameters_(optimizer.state().values), measure_(std::move(measure)), room_(std::move(room)) {}

void BestState::MakeRoom() {
  if (copy_.defined()) return;
  copy_ = room_ ? room_(parameters_.numel()) : at::empty_like(parameters_);
}

double BestState::Consider(int64_t step) {
  const at::NoGradGuard no_grad;
  const double value = measure_();
  if (step == 0) first_ = value;
  if (!copy_.defined() || value < best_ || (std::isnan(best_) && !std::isnan(value))) {
    best_ = value;
    best_step_ = step;
    MakeRoom();
    copy_.copy_(parameters_.detach());
  }
  return value;
}

void BestState::PutBack() {
  const at::NoGradGuard no_grad;
  parameters_.detach().copy_(copy_);
}

void BestState::Save(ArchiveWriter& out) const {
  out.SetAttribute("best", AttributeOf(best_));
  out.SetAttribute("best_first", AttributeOf(first_));
  out.SetAttribute("best_step", best_step_);
  WriteTensor(out, "best_values", copy_);
}

void BestState::Restore(const ArchiveReader& in) {
  best_ = FigureOf(in.Attribute("best"));
  first_ = FigureOf(in.Attribute("best_first"));
  best_step_ = in.Attribute("best_step");
  const at::NoGradGuard no_grad;
  MakeRoom();
  copy_.copy_(ReadTensorInto(copy_, in, "best_values"));
}

}  // namespace puzzle
