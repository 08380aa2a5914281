#include "model/math/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "io/error.h"
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

GradientParts::GradientParts(const std::vector<Tensor>& parameters, int64_t piece_rows)
    : piece_rows_(piece_rows), gradients_(parameters.size()) {
  PUZZLE_CHECK(!parameters.empty() && piece_rows > 0, "gradients of nothing");
  leaves_.resize(static_cast<size_t>(RowParts(kParts, parameters.front().device())));
  for (std::vector<Tensor>& leaves : leaves_)
    for (const Tensor& parameter : parameters)
      leaves.push_back(parameter.detach().requires_grad_(true));
}

double GradientParts::Backward(const std::vector<int64_t>& rows, const Loss& loss) {
  const at::AutoGradMode with_gradients(true);
  const auto count = static_cast<int64_t>(rows.size());
  const at::Device device = leaves_.front().front().device();
  std::vector<double> losses(static_cast<size_t>(RowParts(count, device)));
  ParallelOverRows(count, device, [&](int64_t part, int64_t first, int64_t length) {
    for (int64_t done = 0; done < length; done += piece_rows_) {
      const auto begin = rows.begin() + first + done;
      const Tensor value = loss(part, {begin, begin + std::min(piece_rows_, length - done)});
      value.backward();
      losses[static_cast<size_t>(part)] += value.item<double>();
    }
  });
  const at::NoGradGuard no_grad;
  double total = 0;
  for (const double part : losses) total += part;
  for (size_t i = 0; i < gradients_.size(); ++i) {
    gradients_[i] = Tensor();
    for (size_t part = 0; part < losses.size(); ++part) {
      Tensor& own = leaves_[part][i].mutable_grad();
      if (!own.defined()) continue;
      if (gradients_[i].defined()) {
        gradients_[i].add_(own);
      } else {
        gradients_[i] = own;
      }
      own = Tensor();  // so that the next piece hands its gradient over instead of adding it
    }
  }
  return total;
}

DataParallel::DataParallel(const Transformer& model)
    : parameters_(Parameters(model.weights())),
      gradients_(parameters_, std::numeric_limits<int64_t>::max()) {
  for (int64_t part = 0; part < gradients_.parts(); ++part) {
    ModelWeights view = model.weights();
    auto leaf = gradients_.Leaves(part).begin();
    for (auto& [name, slot] : Slots(view)) *slot = *leaf++;
    replicas_.emplace_back(std::move(view));
  }
}

double DataParallel::Backward(const std::vector<int64_t>& rows, const Loss& loss) {
  const double total =
      gradients_.Backward(rows, [&](int64_t part, const std::vector<int64_t>& own) {
        const double share = static_cast<double>(own.size()) / static_cast<double>(rows.size());
        return loss(replicas_[static_cast<size_t>(part)], own) * share;
      });
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (const Tensor& sum = gradients_.Gradients()[i]; sum.defined())
      parameters_[i].mutable_grad().add_(sum);
  return total;
}

}  // namespace puzzle
