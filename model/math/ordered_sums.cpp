#include "model/math/ordered_sums.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::variable_list;

// Where the history of a stand-in begins, as AccumulateGrad is for a leaf: like that it comes
// before everything else that autograd could do, so that a gradient lives for a moment only.
class OrderedSums::Sink final : public torch::autograd::Node {
 public:
  Sink(OrderedSums& sums, int64_t part, size_t parameter)
      : Node(/*sequence_nr=*/std::numeric_limits<uint64_t>::max()),
        sums_(sums),
        part_(part),
        parameter_(parameter) {}

  variable_list apply(variable_list&& grads) override {
    if (grads[0].defined()) sums_.Add(part_, parameter_, grads[0]);
    return {};
  }

 private:
  OrderedSums& sums_;
  const int64_t part_;
  const size_t parameter_;
};

namespace {

// A node as an edge holds it: libtorch 1.13 by a std::shared_ptr, later ones by what nodes count
// themselves.
template <class T, class... Args>
auto MakeNode(Args&&... args) {
  using Held = decltype(torch::autograd::Edge::function);
  if constexpr (std::is_same_v<Held, std::shared_ptr<torch::autograd::Node>>) {
    return std::make_shared<T>(std::forward<Args>(args)...);
  } else {
    return c10::make_intrusive<T>(std::forward<Args>(args)...);
  }
}

}  // namespace

OrderedSums::OrderedSums(const std::vector<Tensor>& sums) : sums_(sums), turn_(sums.size(), 0) {}

std::vector<Tensor> OrderedSums::StandIns(int64_t part, const std::vector<Tensor>& parameters) {
  std::vector<Tensor> stand_ins;
  for (size_t i = 0; i < parameters.size(); ++i) {
    Tensor values = parameters[i].detach();
    torch::autograd::create_gradient_edge(values, MakeNode<Sink>(*this, part, i));
    stand_ins.push_back(std::move(values));
  }
  return stand_ins;
}

void OrderedSums::Await(int64_t part, size_t parameter) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ != nullptr || turn_[parameter] >= part; });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void OrderedSums::Add(int64_t part, size_t parameter, const Tensor& gradient) {
  Await(part, parameter);
  const at::NoGradGuard no_grad;
  Tensor sum = sums_[parameter];
  sum.add_(gradient);
  {
    const std::scoped_lock lock(mutex_);
    turn_[parameter] = part + 1;
  }
  changed_.notify_all();
}

void OrderedSums::End(int64_t part) {
  for (size_t i = 0; i < turn_.size(); ++i) {
    Await(part, i);
    const std::scoped_lock lock(mutex_);
    turn_[i] = std::max(turn_[i], part + 1);  // of what was added the next part may have gone on
  }
  changed_.notify_all();
}

void OrderedSums::Fail() {
  {
    const std::scoped_lock lock(mutex_);
    if (failure_ == nullptr) failure_ = std::current_exception();
  }
  changed_.notify_all();
}

}  // namespace puzzle
