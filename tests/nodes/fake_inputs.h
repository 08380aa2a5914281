// What a kind's run function takes, without a graph: inputs from values in memory, and a context.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/kind/value_inputs.h"

namespace puzzle {

using FakeInputs = ValueInputs;

/// A context that nobody watches; keeps nothing resident.
class FakeContext : public RunContext {
 public:
  explicit FakeContext(Device device = {}) : device_(std::move(device)) {}

  const Device& device() const override { return device_; }
  uint64_t seed() const override { return 1; }
  void Poll(double, std::string_view) override {}
  void Warn(const std::string& message) override { warnings.push_back(message); }
  std::shared_ptr<const ArchiveReader> LastSavePoint() override { return nullptr; }
  void KeepSavePoint(const std::function<void(ArchiveWriter&)>&) override {}
  uint64_t resident_bytes() const override { return resident; }
  uint64_t memory_bytes() const override { return memory; }
  std::string ScratchPath() override {
    return fmt::format("{}/scratch.{}.{}", std::filesystem::temp_directory_path().string(),
                       ::getpid(), ++files);
  }

  std::vector<std::string> warnings;
  uint64_t resident = uint64_t{1} << 30;
  uint64_t memory = UINT64_MAX;
  int files = 0;  // how many names for scratch files were asked for

 protected:
  std::shared_ptr<const void> ResidentAny(const std::string&,
                                          const std::function<SizedValue()>& make) override {
    return make().value;
  }

 private:
  Device device_;
};

}  // namespace puzzle
