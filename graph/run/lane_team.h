// Threads of several lanes at the service of one of them: its leader, number 0. Each member of the
// team says so by calling Serve; the leader calls everything else.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <vector>

namespace puzzle {

class LaneTeam {
 public:
  using Work = std::function<void(size_t number)>;

  /// REQUIRES: `size` >= 1, the leader included.
  explicit LaneTeam(size_t size) : failures_(size) {}

  /// Calls work(0) here and work(i) on the thread that serves as number i, perhaps only once it
  /// does, and returns when all have ended. Of their failures that of the least number is thrown.
  void OnEach(const Work& work);
  /// Whose failure OnEach threw last; 0 when there was none.
  [[nodiscard]] size_t failed() const { return failed_; }
  /// Lets the others go.
  void Dismiss();

  /// Does what the leader wants of number `number`, until it is dismissed.
  void Serve(size_t number);

 private:
  void Try(const Work& work, size_t number);

  std::mutex mutex_;
  std::condition_variable called_, ended_;
  const Work* work_ = nullptr;
  uint64_t rounds_ = 0;  // that began
  size_t running_ = 0;   // members that have not ended this one
  bool is_dismissed_ = false;
  std::vector<std::exception_ptr> failures_;  // of this round, by number
  size_t failed_ = 0;                         // the leader's own
};

}  // namespace puzzle
