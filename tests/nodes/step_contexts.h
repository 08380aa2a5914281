// Contexts of steps that share lanes, or are stopped.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "graph/run/lane_team.h"
#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/math/runtime.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {

/// Lanes that share a step: threads of its own beside the caller's.
class TeamContext final : public FakeContext {
 public:
  explicit TeamContext(size_t lanes) : team_(lanes), devices_(lanes) {
    for (size_t number = 1; number < lanes; ++number) {
      members_.emplace_back([this, number] {
        BindThreadToDevice("cpu");  // no gradients, as on a lane
        SetThreads(1);
        team_.Serve(number);
      });
    }
  }
  ~TeamContext() override {
    team_.Dismiss();
    for (std::thread& member : members_) member.join();
  }
  std::vector<Device> devices() const override { return devices_; }
  void OnEach(const std::function<void(size_t)>& work) override { team_.OnEach(work); }
  void Poll(double, std::string_view) override { ++rounds; }
  int rounds = 0;

 private:
  LaneTeam team_;
  std::vector<Device> devices_;
  std::vector<std::thread> members_;
};

/// Stops a training at one of its rounds; keeps what was saved last, in a file.
class StoppingContext final : public FakeContext {
 public:
  explicit StoppingContext(std::string path) : path_(std::move(path)) {}
  void StopAt(int round) {
    rounds_ = 0;
    stop_at_ = round;
  }
  [[nodiscard]] int rounds() const { return rounds_; }

  void Poll(double, std::string_view) override {
    if (++rounds_ == stop_at_) throw Cancelled();
  }
  std::shared_ptr<const ArchiveReader> LastSavePoint() override {
    return std::filesystem::exists(path_) ? Hdf5Format().open(path_) : nullptr;
  }
  void KeepSavePoint(const std::function<void(ArchiveWriter&)>& save) override {
    const auto archive = Hdf5Format().create(path_);
    save(*archive);
    archive->Close();
  }

 private:
  std::string path_;
  int rounds_ = 0;
  int stop_at_ = -1;
};

}  // namespace puzzle
