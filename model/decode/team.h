// A few threads that work on one thing in step, for pieces of work of microseconds: each member
// runs the same function on its own share, and waits for the others at barriers. Members spin for a
// moment before they sleep, so that a step of a model costs no system calls. An object belongs to
// one thread, its member 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace puzzle::decode {

class Team {
 public:
  /// `members` threads, the caller among them. REQUIRES: at least 1.
  explicit Team(int members);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  [[nodiscard]] int size() const { return size_; }
  /// Calls work(0) ... work(size - 1) at once, and returns when all have. REQUIRES: `work` throws
  /// nothing.
  void Run(const std::function<void(int member)>& work);
  /// Waits, within Run, until every member has come here.
  void Barrier();

 private:
  void Serve(int member);
  // Until `turn` is not `before`.
  static void Await(const std::atomic<uint32_t>& turn, uint32_t before);

  int size_;
  const std::function<void(int)>* work_ = nullptr;  // null: the members go home
  std::atomic<uint32_t> start_{0};                  // counts calls of Run
  std::atomic<uint32_t> turn_{0};                   // counts barriers
  std::atomic<int> arrived_{0};
  std::vector<std::thread> others_;
};

/// The part [first, last) of `count` things that belongs to `member` of `members`: as equal as can
/// be, and the same each time.
[[nodiscard]] inline std::pair<int64_t, int64_t> ShareOf(int64_t count, int member, int members) {
  return {count * member / members, count * (member + 1) / members};
}

}  // namespace puzzle::decode
