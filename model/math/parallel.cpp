#include "model/math/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include <ATen/Parallel.h>

#include "io/error.h"
#include "model/math/ordered_sums.h"
#include "model/math/runtime.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {
constexpr int64_t kParts = 4;  // of a batch, whatever the number of threads

// On one thread and its helpers.
void ParallelForHere(int64_t count, const std::function<void(int64_t)>& work) {
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
  const int64_t workers = std::min<int64_t>(threads, count);
  {
    const ThreadsGuard own(workers > 1 ? 1 : threads);
    std::vector<std::jthread> helpers;  // joined even where the next cannot be started
    for (int64_t i = 1; i < workers; ++i) {
      helpers.emplace_back([&] {
        SetThreads(1);
        at::GradMode::set_enabled(with_gradients);
        serve();
      });
    }
    serve();
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

// As on a thread beside others: with one thread in operators.
void OneAfterAnother(int64_t count, const std::function<void(int64_t)>& work) {
  const ThreadsGuard one(1);
  for (int64_t i = 0; i < count; ++i) work(i);
}

}  // namespace

void ParallelFor(int64_t count, const std::function<void(int64_t)>& work, const ThreadTeam& team) {
  if (team.size == 1 || count < 2) return ParallelForHere(count, work);
  const bool with_gradients = at::GradMode::is_enabled();
  std::atomic<int64_t> next{0};
  team.on_each([&](size_t) {
    const at::AutoGradMode mode(with_gradients);
    ParallelForHere(at::get_num_threads(), [&](int64_t) {
      try {
        for (int64_t i = next++; i < count; i = next++) work(i);
      } catch (...) {
        next = count;
        throw;
      }
    });
  });
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

GradientParts::GradientParts(const std::vector<Tensor>& parameters, int64_t piece_rows,
                             ThreadTeam team, const std::vector<at::Device>& devices)
    : piece_rows_(piece_rows), team_(std::move(team)), gradients_(parameters.size()) {
  PUZZLE_CHECK(!parameters.empty() && piece_rows > 0, "gradients of nothing");
  const bool apart = devices.size() > 1;
  PUZZLE_CHECK(!apart || devices.size() == team_.size, "a thread for each device");
  if (apart) copied_ = parameters;
  leaves_.resize(apart ? devices.size()
                       : static_cast<size_t>(RowParts(kParts, parameters.front().device())));
  stand_ins_.resize(leaves_.size());
  for (size_t part = 0; part < leaves_.size(); ++part) {
    for (const Tensor& parameter : parameters) {
      const Tensor values = parameter.detach();
      const Tensor own = apart && part > 0
                             ? at::empty(values.sizes(), values.options().device(devices[part]))
                             : values;
      leaves_[part].push_back(own.requires_grad_(true));
    }
  }
}

void GradientParts::CopyParameters(int64_t part) {
  const at::NoGradGuard no_grad;
  const std::vector<Tensor>& leaves = Leaves(part);
  for (size_t i = 0; i < leaves.size(); ++i) leaves[i].detach().copy_(copied_[i]);
}

void GradientParts::ForEachPart(int64_t parts, const std::function<void(int64_t)>& work) {
  if (copied_.empty() && one_at_a_time_) return OneAfterAnother(parts, work);
  if (copied_.empty()) return ParallelFor(parts, work, team_);
  team_.on_each([&](size_t member) {
    const at::AutoGradMode with_gradients(true);
    const auto part = static_cast<int64_t>(member);
    if (part >= parts) return;
    if (part > 0) CopyParameters(part);
    work(part);
  });
}

double GradientParts::Backward(const std::vector<int64_t>& rows, const Loss& loss) {
  gradients_.assign(gradients_.size(), Tensor());
  return AddGradients(rows, loss, gradients_);
}

double GradientParts::AddGradients(const std::vector<int64_t>& rows, const Loss& loss,
                                   std::vector<Tensor>& sums) {
  const at::AutoGradMode with_gradients(true);
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t parts = copied_.empty() ? RowParts(count, leaves_.front().front().device())
                                        : std::min(count, this->parts());
  // Pieces of a part are added up before they are added to other parts.
  const bool can_add =
      (count + parts - 1) / parts <= piece_rows_ &&
      std::all_of(sums.begin(), sums.end(), [](const Tensor& sum) { return sum.defined(); });
  if (can_add && copied_.empty()) return AddInTurn(rows, parts, loss, sums);
  std::vector<double> losses(static_cast<size_t>(parts));
  std::mutex mutex;
  std::vector<bool> is_done(static_cast<size_t>(parts));
  int64_t next = 0;  // to be added
  ForEachPart(parts, [&](int64_t part) {
    const int64_t first = count * part / parts, length = count * (part + 1) / parts - first;
    const bool in_place = can_add && part == 0;  // autograd may add it where it belongs
    std::vector<Tensor>& leaves = leaves_[static_cast<size_t>(part)];
    for (size_t i = 0; i < leaves.size(); ++i)
      leaves[i].mutable_grad() = in_place ? sums[i] : Tensor();
    for (int64_t done = 0; done < length; done += piece_rows_) {
      const auto begin = rows.begin() + first + done;
      const Tensor value = loss(part, {begin, begin + std::min(piece_rows_, length - done)});
      value.backward();
      losses[static_cast<size_t>(part)] += value.item<double>();
    }
    if (in_place) {  // as it was added already, nothing is taken
      for (Tensor& leaf : leaves) leaf.mutable_grad() = Tensor();
    }
    const std::scoped_lock lock(mutex);
    is_done[static_cast<size_t>(part)] = true;
    for (; next < parts && is_done[static_cast<size_t>(next)]; ++next) Take(next, sums);
  });
  for (std::vector<Tensor>& leaves : leaves_)
    for (Tensor& leaf : leaves) leaf.mutable_grad() = Tensor();
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

double GradientParts::AddInTurn(const std::vector<int64_t>& rows, int64_t parts, const Loss& loss,
                                const std::vector<Tensor>& sums) {
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<double> losses(static_cast<size_t>(parts));
  OrderedSums ordered(sums);
  ForEachPart(parts, [&](int64_t part) {
    const auto index = static_cast<size_t>(part);
    try {
      stand_ins_[index] = ordered.StandIns(part, leaves_[index]);
      {
        const Tensor value = loss(
            part, {rows.begin() + count * part / parts, rows.begin() + count * (part + 1) / parts});
        value.backward();
        losses[index] = value.item<double>();
      }
      ordered.End(part);
    } catch (...) {
      ordered.Fail();
      stand_ins_[index].clear();
      throw;
    }
    stand_ins_[index].clear();
  });
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

void GradientParts::Take(int64_t part, std::vector<Tensor>& sums) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor>& leaves = leaves_[static_cast<size_t>(part)];
  for (size_t i = 0; i < sums.size(); ++i) {
    Tensor& own = leaves[i].mutable_grad();
    if (!own.defined()) continue;
    if (sums[i].defined()) {
      sums[i].add_(own.to(sums[i].device()));
    } else {
      sums[i] = own;
    }
    own = Tensor();
  }
}

DataParallel::DataParallel(const Transformer& model)
    : weights_(model.weights()),
      parameters_(Parameters(weights_)),
      gradients_(parameters_, std::numeric_limits<int64_t>::max()) {}

double DataParallel::Backward(const std::vector<int64_t>& rows, const Loss& loss) {
  std::vector<Tensor> sums;
  for (const Tensor& parameter : parameters_) sums.push_back(parameter.mutable_grad());
  return gradients_.AddGradients(
      rows,
      [&](int64_t part, const std::vector<int64_t>& own) {
        ModelWeights view = weights_;
        auto leaf = gradients_.Leaves(part).begin();
        for (auto& [name, slot] : Slots(view)) *slot = *leaf++;
        const double share = static_cast<double>(own.size()) / static_cast<double>(rows.size());
        return loss(Transformer(std::move(view)), own) * share;
      },
      sums);
}

}  // namespace puzzle
