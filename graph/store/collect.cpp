#include "graph/store/collect.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <set>
#include <system_error>
#include <tuple>

#include "io/error.h"

namespace puzzle {
namespace {

constexpr int64_t kHour_ns = int64_t{3600} * 1'000'000'000;
constexpr size_t kBatch = 64;  // results that go while the gate is closed: less than a millisecond

/// Live runs need what was used since then.
int64_t NeededSince(const std::vector<LiveRun>& runs) {
  int64_t since = std::numeric_limits<int64_t>::max();
  for (const LiveRun& run : runs) since = std::min(since, run.needs_since_ns);
  return since;
}

void Unlink(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return;
  std::error_code failure(errno, std::generic_category());
  if (errno == EISDIR) std::filesystem::remove_all(path, failure);  // of a program
  if (failure) throw Error(fmt::format("cannot remove \"{}\": {}", path, failure.message()));
}

/// The record goes first: without it the artifact is no result. What lies behind a link in place of
/// a folder is not ours.
void RemoveFiles(StoreLayer& layer, std::string_view key) {
  if (!layer.IsInside(key)) return;
  Unlink(layer.RecordPath(key));
  Unlink(layer.ArtifactPath(key));
}

/// Opens the store for removal. Throws Error where nobody would see that we remove, or what is in
/// use.
void Enter(Store& store) {
  store.AnnounceRun();
  StoreLocks& locks = store.locks();
  if (!locks.announced()) {
    throw Error(fmt::format("cannot write in the store \"{}\"", store.folder()));
  }
  if (locks.unsupported()) {
    throw Error(
        fmt::format("the file system of \"{}\" has no locks, so that runs at work there "
                    "cannot be seen: nothing is removed",
                    store.folder()));
  }
}

/// Calls `remove(i)` for 0 to n - 1, holding the gate closed for a batch at a time; `begin` is
/// called when it was closed.
template <class Begin, class Remove>
void InBatches(Store& store, size_t n, const Begin& begin, const Remove& remove) {
  for (size_t first = 0; first < n; first += kBatch) {
    const GateGuard closed(store.locks(), GateGuard::Mode::kClosed);
    begin();
    for (size_t i = first; i < std::min(first + kBatch, n); ++i) remove(i);
  }
}

class Collector {
 public:
  explicit Collector(Store& store) : store_(store) {}

  /// What is alive now: called while the gate is closed, so that nobody comes to life unseen.
  void Look() {
    if (store_.locks().HasReaders()) {
      throw Error(
          fmt::format("a running command reads \"{}\" as a shared store: nothing more is "
                      "removed before it ends",
                      store_.folder()));
    }
    needed_since_ns_ = NeededSince(store_.locks().Others());
  }

  void Remove(const StoredResult& result) {
    const std::string_view key = result.record.key;
    const auto claim = store_.locks().TryClaim(std::string(key)).claim;
    const auto facts = FactsOf(store_.own().ArtifactPath(key));
    const bool used =
        facts && (facts->used_ns > result.used_ns || facts->used_ns >= needed_since_ns_);
    if (!claim || used || IsPinned(store_, key)) {
      ++removed_.kept;
      return;
    }
    RemoveFiles(store_.own(), key);
    gone_.insert(std::string(key));
    ++removed_.results;
    removed_.bytes += result.bytes;
  }

  void Remove(const Leftover& leftover) {
    std::unique_ptr<Claim> claim;
    if (!leftover.key.empty()) {  // a run may be about to complete the pair
      claim = store_.locks().TryClaim(leftover.key).claim;
      const bool paired =
          FactsOf(store_.own().ArtifactPath(leftover.key)) &&
          FactsOf(store_.own().RecordPath(leftover.key)) &&
          (leftover.what != "damaged record" || store_.own().ReadRecord(leftover.key));
      if (!claim || paired) {
        ++removed_.kept;
        return;
      }
    }
    if (leftover.key.empty() || store_.own().IsInside(leftover.key)) Unlink(leftover.path);
    if (!leftover.key.empty()) gone_.insert(leftover.key);
    ++removed_.leftovers;
    removed_.bytes += leftover.bytes;
  }

  Removed Finish() {
    if (!gone_.empty()) {
      store_.own().Forget([&](std::string_view key) { return gone_.contains(key); });
    }
    return removed_;
  }

 private:
  Store& store_;
  int64_t needed_since_ns_ = 0;
  std::set<std::string, std::less<>> gone_;
  Removed removed_;
};

/// The order in which results go.
bool GoesBefore(const StoredResult* a, const StoredResult* b) {
  const auto rank = [](const StoredResult& r) {
    const double seconds_per_byte = r.record.wall_s / static_cast<double>(r.bytes + 1);
    return std::tuple(r.used_ns / kHour_ns, seconds_per_byte, r.record.key);
  };
  return rank(*a) < rank(*b);
}

}  // namespace

CollectPlan PlanCollection(Store& store, const Inventory& inventory, const CollectOptions& options,
                           int64_t now_ns) {
  CollectPlan plan;
  plan.runs = store.locks().Others();
  plan.left = inventory.bytes;
  const int64_t needed_since_ns =
      store.locks().HasReaders() ? std::numeric_limits<int64_t>::min() : NeededSince(plan.runs);
  for (const Leftover& leftover : inventory.leftovers) {
    plan.leftovers.push_back(&leftover);
    plan.freed += leftover.bytes;
    plan.left -= leftover.bytes;
  }
  std::vector<const StoredResult*> results;
  for (const StoredResult& result : inventory.results) results.push_back(&result);
  std::sort(results.begin(), results.end(), GoesBefore);
  for (const StoredResult* result : results) {
    const double idle_s = static_cast<double>(now_ns - result->used_ns) * 1e-9;
    const bool old = options.older_s && idle_s > *options.older_s;
    const bool too_much = options.max_bytes && plan.left > *options.max_bytes;
    if (!old && !too_much) continue;
    if (result->needed_by_pin) {
      ++plan.kept_by_pins;
    } else if (result->used_ns >= needed_since_ns) {
      ++plan.kept_by_runs;
    } else {
      plan.results.push_back(result);
      plan.freed += result->bytes;
      plan.left -= result->bytes;
    }
  }
  plan.within_budget = !options.max_bytes || plan.left <= *options.max_bytes;
  return plan;
}

Removed Collect(Store& store, const CollectPlan& plan) {
  Enter(store);
  Collector collector(store);
  const auto look = [&] { collector.Look(); };
  InBatches(store, plan.leftovers.size(), look,
            [&](size_t i) { collector.Remove(*plan.leftovers[i]); });
  InBatches(store, plan.results.size(), look,
            [&](size_t i) { collector.Remove(*plan.results[i]); });
  return collector.Finish();
}

namespace {

/// What is wrong with the files of a key at this moment, whatever an inventory says; nullopt when
/// nothing is, or nothing is there.
std::optional<Damage> Inspect(StoreLayer& layer, const std::string& key) {
  const std::string path = layer.ArtifactPath(key);
  const auto artifact = FactsOf(path);
  const bool has_record = FactsOf(layer.RecordPath(key)).has_value();
  const std::optional<std::string> line = has_record ? layer.ReadRecord(key) : std::nullopt;
  if (has_record && !line) return Damage{"", key, layer.RecordPath(key), "damaged record"};
  if (!artifact && !line) return std::nullopt;
  if (!line) return Damage{"", key, path, "artifact without record"};
  const Record record = *ParseIndexLine(*line);
  const std::string step(record.step);
  if (!artifact) return Damage{step, key, layer.RecordPath(key), "record without artifact"};
  if (artifact->bytes != record.bytes) {
    return Damage{step, key, path, PresenceText(Presence::kShort)};
  }
  if (layer.IsWhole(record)) return std::nullopt;
  return Damage{step, key, path, PresenceText(Presence::kDamaged)};
}

}  // namespace

std::vector<Damage> VerifyStore(Store& store, const Inventory& inventory,
                                const std::function<void(size_t, size_t)>& progress) {
  std::vector<Damage> damage;
  // First whether somebody is at work on it, then another look: whoever finished in between has
  // left a whole result.
  const auto look_again = [&](const std::string& key) {
    if (store.locks().IsClaimed(key)) return;
    if (auto found = Inspect(store.own(), key)) damage.push_back(std::move(*found));
  };
  for (const Leftover& leftover : inventory.leftovers) {
    if (!leftover.key.empty()) look_again(leftover.key);
  }
  size_t done = 0;
  for (const StoredResult& result : inventory.results) {
    if (progress) progress(done++, inventory.results.size());
    const std::string path = store.own().ArtifactPath(result.record.key);
    const auto facts = FactsOf(path);
    if (!facts) continue;  // removed meanwhile
    if (facts->bytes == result.record.bytes && store.own().IsWhole(result.record)) continue;
    look_again(std::string(result.record.key));
  }
  return damage;
}

size_t RemoveDamaged(Store& store, const std::vector<Damage>& damage) {
  Enter(store);
  std::set<std::string, std::less<>> gone;
  InBatches(
      store, damage.size(), [] {},
      [&](size_t i) {
        const auto claim = store.locks().TryClaim(damage[i].key).claim;
        if (!claim) return;                                // somebody makes it again this moment
        if (!Inspect(store.own(), damage[i].key)) return;  // or has done so
        RemoveFiles(store.own(), damage[i].key);
        gone.insert(damage[i].key);
      });
  if (!gone.empty()) {
    store.own().Forget([&](std::string_view key) { return gone.contains(key); });
  }
  return gone.size();
}

}  // namespace puzzle
