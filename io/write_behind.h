// Writing a file while what comes next is being made.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "io/file.h"

namespace puzzle {

/// Appends to a file on a thread of its own: reading and converting take about as long as the
/// system takes to write. Bytes are gathered in a few pieces of memory that are used over and over;
/// the thread begins when the first one is full. A value of this class belongs to one thread, like
/// the file, which nobody else appends to before Finish() or the end of this.
class WriteBehind {
 public:
  explicit WriteBehind(AtomicFile& file);
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;
  /// What was not written by then is not written.
  ~WriteBehind();

  /// Memory for the next `bytes` of the file, aligned for numbers; it is the caller's up to the
  /// next call. Waits while all pieces are to be written. Throws Error when writing failed, now or
  /// earlier; so do the other functions.
  [[nodiscard]] unsigned char* Room(size_t bytes);
  /// The first `bytes` of it are filled.
  void Took(size_t bytes);
  /// Copies.
  void Append(const void* data, size_t bytes);
  /// Waits until the file has everything.
  void Finish();

 private:
  struct Piece {
    std::unique_ptr<unsigned char[]> memory;
    size_t room = 0;
    size_t filled = 0;
  };

  void HandOver();
  void Serve();

  AtomicFile& file_;
  Piece open_;  // that is being filled

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<Piece> full_;  // in the order of the file, the first of them perhaps being written
  std::vector<Piece> empty_;
  std::exception_ptr failure_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace puzzle
