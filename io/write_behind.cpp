#include "io/write_behind.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace puzzle {
namespace {

// Small enough that what was read is still in a cache when it is written, large enough that handing
// it over costs nothing beside it.
constexpr size_t kWriteBytes = 512 << 10;
constexpr size_t kWrites = 4;

}  // namespace

WriteBehind::WriteBehind(AtomicFile& file) : file_(file), empty_(kWrites - 1) {}

WriteBehind::~WriteBehind() {
  {
    const std::scoped_lock lock(mutex_);
    is_over_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

unsigned char* WriteBehind::Room(size_t bytes) {
  constexpr size_t kRoomAlignment = alignof(double);
  if (open_.filled % kRoomAlignment != 0 || open_.room - open_.filled < bytes) {
    if (open_.filled > 0) HandOver();
    if (open_.room < bytes) {
      const size_t room = std::max(bytes, kWriteBytes);
      open_ = {std::make_unique_for_overwrite<unsigned char[]>(room), room};
    }
  }
  return open_.memory.get() + open_.filled;
}

void WriteBehind::Took(size_t bytes) {
  open_.filled += bytes;
}

void WriteBehind::Append(const void* data, size_t bytes) {
  const auto* from = static_cast<const unsigned char*>(data);
  while (bytes > 0) {
    if (open_.filled == open_.room) (void)Room(1);
    const size_t count = std::min(bytes, open_.room - open_.filled);
    std::memcpy(open_.memory.get() + open_.filled, from, count);
    open_.filled += count;
    from += count;
    bytes -= count;
  }
}

void WriteBehind::HandOver() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ != nullptr || !empty_.empty(); });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
  full_.push_back(std::exchange(open_, std::move(empty_.back())));
  empty_.pop_back();
  if (!thread_.joinable()) thread_ = std::thread([this] { Serve(); });
  lock.unlock();
  changed_.notify_all();
}

void WriteBehind::Finish() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failure_ != nullptr || full_.empty(); });
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }
  file_.Append(open_.memory.get(), open_.filled);
  open_.filled = 0;
}

void WriteBehind::Serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_over_ || !full_.empty(); });
    if (is_over_) return;
    Piece& piece = full_.front();  // stays there, and a deque leaves it in its place
    lock.unlock();
    std::exception_ptr failure;
    try {
      file_.Append(piece.memory.get(), piece.filled);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    piece.filled = 0;
    empty_.push_back(std::move(piece));
    full_.pop_front();
    changed_.notify_all();
    if (failure_ != nullptr) return;
  }
}

}  // namespace puzzle
