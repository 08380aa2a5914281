// Inputs of a step from values in memory, to call a kind's run function without a graph.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/kind/kind.h"

namespace puzzle {

class FakeInputs final : public Inputs {
 public:
  /// Connects `value` to a port; equal digests stand for equal content.
  template <ArtifactValue T>
  FakeInputs& Add(const std::string& port, const std::string& digest, T value) {
    ports_[port].push_back(
        std::make_shared<Handle>(T::kType, digest, std::make_shared<const T>(std::move(value))));
    return *this;
  }

 protected:
  std::vector<std::shared_ptr<const InputHandle>> Handles(std::string_view port) const override {
    const auto found = ports_.find(std::string(port));
    if (found == ports_.end()) return {};
    return {found->second.begin(), found->second.end()};
  }

 private:
  class Handle final : public InputHandle {
   public:
    Handle(std::string_view type, std::string digest, std::shared_ptr<const void> value)
        : type_(type), digest_(std::move(digest)), value_(std::move(value)) {}
    std::string_view type() const override { return type_; }
    const std::string& digest() const override { return digest_; }
    std::shared_ptr<const void> LoadAny(
        const std::function<SizedValue(std::shared_ptr<const ArchiveReader>)>&) const override {
      return value_;
    }

   private:
    std::string type_, digest_;
    std::shared_ptr<const void> value_;
  };

  std::map<std::string, std::vector<std::shared_ptr<Handle>>> ports_;
};

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
