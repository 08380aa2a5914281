// A context to run a kind's function in without a graph: lanes of some threads. For benchmarks.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "graph/kind/context.h"
#include "graph/run/lane_team.h"
#include "model/math/runtime.h"

namespace puzzle {

/// What is said about progress is up to who derives from it. Belongs to the thread that made it,
/// which is its first lane.
class BenchContext : public RunContext {
 public:
  explicit BenchContext(size_t lanes = 1, int threads = 1, uint64_t memory = UINT64_MAX)
      : memory_(memory), team_(lanes), devices_(lanes) {
    for (size_t number = 1; number < lanes; ++number) {
      members_.emplace_back([this, number, threads] {
        BindThreadToDevice("cpu");
        SetThreads(threads);
        team_.Serve(number);
      });
    }
  }
  ~BenchContext() override {
    team_.Dismiss();
    for (std::thread& member : members_) member.join();
  }

  /// Forgets what steps share, which is kept until then.
  void Forget() { kept_.clear(); }

  const Device& device() const override { return devices_.front(); }
  std::vector<Device> devices() const override { return devices_; }
  void OnEach(const std::function<void(size_t)>& work) override { team_.OnEach(work); }
  uint64_t seed() const override { return 1; }
  void Warn(const std::string& message) override { fmt::print("{}\n", message); }
  std::shared_ptr<const ArchiveReader> LastSavePoint() override { return nullptr; }
  void KeepSavePoint(const std::function<void(ArchiveWriter&)>&) override {}
  uint64_t resident_bytes() const override { return uint64_t{1} << 30; }
  uint64_t memory_bytes() const override { return memory_; }
  std::string ScratchPath() override {
    return fmt::format("{}/bench.{}.{}", std::filesystem::temp_directory_path().string(),
                       ::getpid(), ++files_);
  }

 protected:
  std::shared_ptr<const void> ResidentAny(const std::string& key,
                                          const std::function<SizedValue()>& make) override {
    const auto found = kept_.find(key);
    if (found != kept_.end()) return found->second;
    const auto made = make().value;  // which may ask for others
    return kept_[key] = made;
  }

 private:
  const uint64_t memory_;
  std::map<std::string, std::shared_ptr<const void>> kept_;
  int files_ = 0;
  LaneTeam team_;
  std::vector<Device> devices_;
  std::vector<std::thread> members_;
};

}  // namespace puzzle
