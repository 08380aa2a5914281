// What a running step sees: its device, its inputs, and the run around it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/kind/artifact.h"

namespace puzzle {

/// Where a step computes: "cpu" or "cuda:1".
struct Device {
  std::string type = "cpu";
  int index = 0;

  [[nodiscard]] std::string name() const;
  bool operator==(const Device&) const = default;
};

/// One finished upstream result. Bytes are read when Load is called, not before.
class InputHandle {
 public:
  virtual ~InputHandle() = default;
  /// Type name of the artifact.
  [[nodiscard]] virtual std::string_view type() const = 0;
  /// Content digest: equal digests mean equal content.
  [[nodiscard]] virtual const std::string& digest() const = 0;
  /// Loads through `load`, or returns the value that is already in memory.
  [[nodiscard]] virtual std::shared_ptr<const void> LoadAny(
      const std::function<SizedValue(std::shared_ptr<const ArchiveReader>)>& load) const = 0;
};

/// A typed view of an InputHandle.
template <ArtifactValue T>
class Input {
 public:
  explicit Input(std::shared_ptr<const InputHandle> handle) : handle_(std::move(handle)) {}

  [[nodiscard]] std::shared_ptr<const T> Load() const {
    return std::static_pointer_cast<const T>(
        handle_->LoadAny([](std::shared_ptr<const ArchiveReader> reader) {
          auto value = std::make_shared<const T>(T::Load(std::move(reader)));
          return SizedValue{value, value->ResidentBytes()};
        }));
  }
  [[nodiscard]] const std::string& digest() const { return handle_->digest(); }

 private:
  std::shared_ptr<const InputHandle> handle_;
};

/// The results connected to a step's ports. Thread-safe.
class Inputs {
 public:
  virtual ~Inputs() = default;

  /// True when an optional port is connected.
  [[nodiscard]] bool Has(std::string_view port) const { return !Handles(port).empty(); }
  /// The artifact at a single port. REQUIRES: the port exists, has this type and is connected.
  template <ArtifactValue T>
  [[nodiscard]] std::shared_ptr<const T> Get(std::string_view port) const {
    return One<T>(port).Load();
  }
  /// The same, not loaded yet.
  template <ArtifactValue T>
  [[nodiscard]] Input<T> One(std::string_view port) const {
    return Input<T>(Single(port, T::kType));
  }
  /// The artifacts at a list port: a set, in order of content digest, not loaded yet. Artifacts
  /// say themselves what they are; step names and positions are not visible, since they do not
  /// enter keys.
  template <ArtifactValue T>
  [[nodiscard]] std::vector<Input<T>> List(std::string_view port) const {
    std::vector<Input<T>> result;
    for (auto& handle : Checked(port, T::kType)) result.emplace_back(handle);
    return result;
  }

 protected:
  /// Handles at a port; empty for an unconnected optional port.
  [[nodiscard]] virtual std::vector<std::shared_ptr<const InputHandle>> Handles(
      std::string_view port) const = 0;

 private:
  [[nodiscard]] std::vector<std::shared_ptr<const InputHandle>> Checked(
      std::string_view port, std::string_view type) const;
  [[nodiscard]] std::shared_ptr<const InputHandle> Single(std::string_view port,
                                                          std::string_view type) const;
};

/// What a step may ask of the run around it. Used by the thread that runs the step.
class RunContext {
 public:
  virtual ~RunContext() = default;

  [[nodiscard]] virtual const Device& device() const = 0;
  /// The devices of a step that asked for several lanes (Resources::lanes), one for each: device()
  /// first, all of its type. Cpu lanes share one memory; other devices are different ones.
  [[nodiscard]] virtual std::vector<Device> devices() const { return {device()}; }
  /// Calls work(i) on the thread that is bound to devices()[i], this one for the first, and returns
  /// when all have ended; throws the failure of the first that failed. What else the context
  /// offers stays with the thread that runs the step.
  virtual void OnEach(const std::function<void(size_t)>& work) { work(0); }
  /// The only source of randomness: depends on kind and parameters, on nothing else.
  [[nodiscard]] virtual uint64_t seed() const = 0;
  /// Call once per batch of a long loop. Reports progress (`fraction` in [0, 1], `note` such as
  /// "loss .0132"), adapts the thread count to the cores that are free, and throws Cancelled when
  /// the user asked to stop.
  virtual void Poll(double fraction, std::string_view note = {}) = 0;
  /// A warning for the report and the record of this step.
  virtual void Warn(const std::string& message) = 0;

  /// For loops of minutes and more: what this very step (its key) had reached when it was stopped,
  /// failed or was killed; null when it begins anew. What it goes on to compute has to be, bit for
  /// bit, what it would have been without the stop.
  [[nodiscard]] virtual std::shared_ptr<const ArchiveReader> LastSavePoint() = 0;
  /// Call once per round of such a loop: once a minute, less often where that takes long, it lets
  /// `save` write what LastSavePoint will give. Dropped when the step has a result. Never fails.
  virtual void KeepSavePoint(const std::function<void(ArchiveWriter&)>& save) = 0;

  /// Something derived from inputs that neighbours on the same device share (targets of a
  /// teacher, say): made once, kept while memory allows. `key` names its content completely.
  template <class T>
  [[nodiscard]] std::shared_ptr<const T> Resident(const std::string& key,
                                                  const std::function<SizedValue()>& make) {
    return std::static_pointer_cast<const T>(ResidentAny(key, make));
  }
  /// What Resident keeps at most, in bytes; a value above is made anew whenever it is asked for.
  [[nodiscard]] virtual uint64_t resident_bytes() const = 0;
  /// What steps on this device, and what they share, may occupy together, in bytes: a step that can
  /// do with less time or with less memory chooses by it, to the same result. UINT64_MAX: no limit
  /// is known.
  [[nodiscard]] virtual uint64_t memory_bytes() const { return UINT64_MAX; }
  /// The name of a new file on the store's disk, for what is too large for the memory. Whoever
  /// creates it removes it; what a killed run leaves goes with the next one. Throws Error.
  [[nodiscard]] virtual std::string ScratchPath() = 0;

 protected:
  [[nodiscard]] virtual std::shared_ptr<const void> ResidentAny(
      const std::string& key, const std::function<SizedValue()>& make) = 0;
};

}  // namespace puzzle
