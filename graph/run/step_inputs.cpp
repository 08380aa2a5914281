#include "graph/run/step_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "io/error.h"

namespace puzzle {
namespace {

/// A finished result at a port.
class Handle final : public InputHandle {
 public:
  Handle(RunScope& run, const Record& record, const std::string& step)
      : run_(run), record_(record), step_(step), digest_(record.digest) {}

  std::string_view type() const override { return record_.type; }
  const std::string& digest() const override { return digest_; }
  std::shared_ptr<const void> LoadAny(
      const std::function<SizedValue(std::shared_ptr<const ArchiveReader>)>& load) const override {
    return run_.caches.Of({}).Get(fmt::format("artifact {} {}", digest_, record_.type), [&] {
      try {
        return load(run_.store.Open(record_));
      } catch (const Cancelled&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception& error) {
        std::string context = "cannot load the result of " + step_;
        if (run_.store.RemoveIfDamaged(record_)) {
          context += " (its file is damaged; the next run makes it again)";
        }
        throw WithContext(context, error);
      }
    });
  }

 private:
  RunScope& run_;
  const Record record_;
  const std::string& step_;
  const std::string digest_;
};

}  // namespace

StepInputs::StepInputs(RunScope& run, StepId id) : ports_(run.plan.kind(id).ports) {
  for (const auto& inputs : run.plan.steps[id].inputs) {
    auto& handles = handles_.emplace_back();
    for (const StepId input : inputs) {
      handles.push_back(
          std::make_shared<Handle>(run, run.results[input].record, run.plan.steps[input].name));
    }
    std::sort(handles.begin(), handles.end(),
              [](const auto& a, const auto& b) { return a->digest() < b->digest(); });
    handles.erase(
        std::unique(handles.begin(), handles.end(),
                    [](const auto& a, const auto& b) { return a->digest() == b->digest(); }),
        handles.end());
  }
}

std::vector<std::shared_ptr<const InputHandle>> StepInputs::Handles(std::string_view port) const {
  for (size_t p = 0; p < ports_.size(); ++p) {
    if (ports_[p].name == port) return handles_[p];
  }
  throw BugError(fmt::format("the kind has no port \"{}\"", port));
}

}  // namespace puzzle
