// A model whose tensors are read when they are used, and that counts: how often each is, and how
// much of what was read is still there.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "model/pch.h"
#include "model/unread.h"
#include "model/weights.h"

namespace puzzle {

class WatchedModel {
 public:
  /// Shares storage with `whole`.
  explicit WatchedModel(const ModelWeights& whole) : weights(whole) {
    for (const auto& [name, slot] : Slots(weights))
      *slot = Unread(slot->sizes().vec(), std::make_shared<const Source>(name, *slot, log_));
  }

  ModelWeights weights;

  /// How often a tensor was read as a whole.
  [[nodiscard]] int Reads(const std::string& name) const { return log_->reads[name]; }
  [[nodiscard]] int ReadsOfBlock(int64_t layer) const {
    int most = 0;
    for (const auto& [name, count] : log_->reads)
      if (name.starts_with("model.layers." + std::to_string(layer) + "."))
        most = std::max(most, count);
    return most;
  }
  /// Bytes of whole tensors that are in memory, as they were read.
  [[nodiscard]] size_t live() const {
    const std::scoped_lock lock(log_->mutex);
    return log_->live;
  }
  /// Bytes of whole tensors that were in memory together, at most, as they were read.
  [[nodiscard]] size_t peak() const { return log_->peak; }
  /// Bytes of the rows that were asked for together, at most.
  [[nodiscard]] size_t most_rows() const { return log_->most_rows; }

 private:
  struct Log {
    std::mutex mutex;
    std::map<std::string, int> reads;
    size_t live = 0, peak = 0, most_rows = 0;
  };

  class Source final : public TensorSource, public TensorSource::Rows {
   public:
    Source(std::string name, at::Tensor values, std::shared_ptr<Log> log)
        : name_(std::move(name)), values_(std::move(values)), log_(std::move(log)) {}
    at::Tensor Read() const override {
      {
        const std::scoped_lock lock(log_->mutex);
        ++log_->reads[name_];
      }
      return Lend(values_);
    }
    const TensorSource::Rows* rows() const override { return values_.dim() == 2 ? this : nullptr; }
    void ReadRows(int64_t first, std::span<float> out) const override {
      const auto count = static_cast<int64_t>(out.size()) / values_.size(1);
      const at::Tensor rows = values_.narrow(0, first, count).contiguous();
      std::copy_n(rows.data_ptr<float>(), rows.numel(), out.data());
      const std::scoped_lock lock(log_->mutex);
      log_->most_rows = std::max(log_->most_rows, out.size_bytes());
    }

   private:
    at::Tensor Lend(const at::Tensor& part) const {
      const at::Tensor copy = part.clone();
      const std::scoped_lock lock(log_->mutex);
      log_->live += copy.nbytes();
      log_->peak = std::max(log_->peak, log_->live);
      const auto give_back = [copy, log = log_](void*) {
        const std::scoped_lock lock(log->mutex);
        log->live -= copy.nbytes();
      };
      return at::from_blob(copy.data_ptr(), copy.sizes(), give_back, at::kFloat);
    }

    std::string name_;
    at::Tensor values_;
    std::shared_ptr<Log> log_;
  };

  std::shared_ptr<Log> log_ = std::make_shared<Log>();
};

}  // namespace puzzle
