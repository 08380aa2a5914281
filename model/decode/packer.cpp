#include "model/decode/packer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <utility>

#include "model/pch.h"
#include "model/unread.h"

namespace puzzle::decode {

using at::Tensor;

namespace {

// A megabyte: it stays in a core's own cache until it is packed.
constexpr int64_t kStretchNumbers = 1 << 18;

int64_t StretchRows(int64_t columns) {
  const int64_t rows = kStretchNumbers / columns;
  return std::max<int64_t>(rows / kPanelRows * kPanelRows, kPanelRows);
}

}  // namespace

// Rows of a matrix in a file, and where they go.
struct Packer::Stretch {
  PackedMatrix* target;
  int64_t at;  // their place in it
  const TensorSource::Rows* file;
  int64_t first, count;  // rows of the file's matrix
};

Tensor PlainValues(const Tensor& tensor) {
  return InMemory(tensor).detach().to(at::kCPU, at::kFloat).contiguous();
}

int64_t Packer::Pending::rows() const {
  int64_t sum = 0;
  for (const Tensor& part : parts) sum += part.size(0);
  return sum;
}

void Packer::PackWhole(PackedMatrix& target, int64_t at, Tensor part) {
  const Tensor plain = PlainValues(part);
  part.reset();  // the values may be another tensor's now
  const int64_t rows = plain.size(0);
  const float* const data = plain.data_ptr<float>();
  team_.Run([&](int member) {
    const auto [first, last] = ShareOf(rows, member, team_.size());
    target.PackRows(at + first, last - first, data + first * target.columns());
  });
}

void Packer::PackFromFiles(const std::vector<Stretch>& stretches) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;  // of what follows
  std::exception_ptr failure;
  size_t failed = stretches.size();
  team_.Run([&](int) {
    std::vector<float> rows;
    for (size_t i = next++; i < stretches.size(); i = next++) {
      const Stretch& own = stretches[i];
      try {
        rows.resize(static_cast<size_t>(own.count * own.target->columns()));
        own.file->ReadRows(own.first, rows);
        own.target->PackRows(own.at, own.count, rows.data());
      } catch (...) {
        next = stretches.size();
        const std::lock_guard lock(mutex);
        if (i < failed) failure = std::current_exception();
        failed = std::min(failed, i);
      }
    }
  });
  if (failure != nullptr) std::rethrow_exception(failure);
}

Arena Packer::Finish() {
  size_t bytes = 0;
  for (const Pending& matrix : waiting_)
    bytes += PackedMatrix::Bytes(matrix.rows(), matrix.columns(), type_);
  Arena arena(bytes);
  for (const Pending& matrix : waiting_)
    *matrix.target = PackedMatrix(matrix.rows(), matrix.columns(), type_, arena);
  std::vector<Stretch> stretches;
  for (Pending& matrix : waiting_) {
    int64_t at = 0;
    for (Tensor& part : matrix.parts) {
      const int64_t rows = part.size(0), most = StretchRows(part.size(1));
      const auto source = SourceOf(part);
      if (source == nullptr || source->rows() == nullptr) {
        PackWhole(*matrix.target, at, std::move(part));
      } else {
        for (int64_t first = 0; first < rows; first += most)
          stretches.push_back(
              {matrix.target, at + first, source->rows(), first, std::min(most, rows - first)});
      }
      at += rows;
    }
  }
  PackFromFiles(stretches);
  waiting_.clear();
  return arena;
}

}  // namespace puzzle::decode
