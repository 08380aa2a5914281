#include "model/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {
constexpr int64_t kParts = 4;  // of a batch, whatever the number of threads
}  // namespace

void ParallelFor(int64_t count, const std::function<void(int64_t)>& work) {
  const int threads = at::get_num_threads();
  const bool with_gradients = at::GradMode::is_enabled();
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  auto serve = [&] {
    try {
      for (int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::scoped_lock lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < std::min<int64_t>(threads, count); ++i) {
    helpers.emplace_back([&] {
      at::set_num_threads(1);
      at::GradMode::set_enabled(with_gradients);
      serve();
    });
  }
  if (threads > 1 && count > 1) at::set_num_threads(1);
  serve();
  for (std::thread& helper : helpers) helper.join();
  at::set_num_threads(threads);
  if (failure != nullptr) std::rethrow_exception(failure);
}

int64_t RowParts(int64_t rows, const at::Device& device) {
  return device.is_cpu() ? std::min(rows, kParts) : 1;
}

void ParallelOverRows(int64_t rows, const at::Device& device,
                      const std::function<void(int64_t, int64_t, int64_t)>& work) {
  const int64_t parts = RowParts(rows, device);
  ParallelFor(parts, [&](int64_t part) {
    const int64_t first = rows * part / parts;
    work(part, first, rows * (part + 1) / parts - first);
  });
}

DataParallel::DataParallel(const Transformer& model) : parameters_(Parameters(model.weights())) {
  const int64_t parts = RowParts(kParts, model.weights().embedding.device());
  for (int64_t part = 0; part < parts; ++part) {
    ModelWeights view = model.weights();
    for (auto& [name, slot] : Slots(view)) {
      *slot = slot->detach().requires_grad_(true);
      slot->mutable_grad() = at::zeros_like(*slot);
    }
    std::vector<Tensor> parameters = Parameters(view);
    replicas_.push_back({Transformer(std::move(view)), std::move(parameters)});
  }
}

double DataParallel::Backward(const std::vector<int64_t>& rows, const Loss& loss) {
  const auto count = static_cast<int64_t>(rows.size());
  const at::Device device = parameters_.front().device();
  std::vector<double> losses(static_cast<size_t>(RowParts(count, device)));
  ParallelOverRows(count, device, [&](int64_t part, int64_t first, int64_t length) {
    const std::vector<int64_t> own(rows.begin() + first, rows.begin() + first + length);
    const auto index = static_cast<size_t>(part);
    const double share = static_cast<double>(own.size()) / static_cast<double>(count);
    const Tensor value = loss(replicas_[index].model, own) * share;
    value.backward();
    losses[index] = value.item<double>();
  });
  const at::NoGradGuard no_grad;
  double total = 0;
  for (size_t part = 0; part < losses.size(); ++part) {
    total += losses[part];
    for (size_t i = 0; i < parameters_.size(); ++i) {
      Tensor& own = replicas_[part].parameters[i].mutable_grad();
      parameters_[i].mutable_grad().add_(own);
      own.zero_();
    }
  }
  return total;
}

}  // namespace puzzle
