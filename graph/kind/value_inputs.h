// Inputs of a step from values in memory, to call a kind's function without a graph: for tests and
// benchmarks. Thread-safe once everything is connected.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/kind/context.h"

namespace puzzle {

class ValueInputs final : public Inputs {
 public:
  /// Connects `value` to a port; equal digests stand for equal content.
  template <ArtifactValue T>
  ValueInputs& Add(const std::string& port, const std::string& digest, T value) {
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

}  // namespace puzzle
