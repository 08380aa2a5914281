#include "graph/store/inventory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <unordered_map>

#include "graph/language/pattern.h"
#include "graph/store/leftovers.h"
#include "graph/store/save_points.h"
#include "io/error.h"
#include "io/file.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr size_t kKeyDigits = 64;
constexpr size_t kFewestDigits = 6;  // of a key that is given by its beginning

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string PinPath(Store& store, std::string_view key) {
  return fmt::format("{}/pins/{}", store.folder(), key);
}

/// All of them: of a part nobody could tell what a pin needs.
std::vector<fs::path> PathsIn(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code failure;
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end;
       it.increment(failure)) {
    paths.push_back(it->path());
  }
  if (failure) {
    throw Error(
        fmt::format("cannot list the store \"{}\": {}", folder.string(), failure.message()));
  }
  return paths;
}

/// Keys of which there is an artifact, a record or both, by the files in the folders "00" to "ff".
std::set<std::string> StoredKeys(const std::string& folder) {
  std::set<std::string> keys;
  for (const fs::path& shard : PathsIn(folder)) {
    const std::string name = shard.filename().string();
    if (name.size() != 2 || !IsHex(name) || !IsPlainFolder(shard.string())) continue;
    for (const fs::path& file : PathsIn(shard)) {
      const std::string stem = file.stem().string();
      const std::string extension = file.extension().string();
      if (stem.size() == kKeyDigits && IsHex(stem) && stem.starts_with(name) &&
          (extension == ".h5" || extension == ".json")) {
        keys.insert(stem);
      }
    }
  }
  return keys;
}

/// What a key has on the disk, into one of the two lists.
void AddKey(Store& store, const std::string& key, Inventory& inventory) {
  StoreLayer& layer = store.own();
  const auto artifact = FactsOf(layer.ArtifactPath(key));
  const auto record_file = FactsOf(layer.RecordPath(key));
  const auto record = record_file ? layer.FindRecord(key) : std::nullopt;
  if (artifact && record) {
    StoredResult result;
    result.record = *record;
    result.bytes = artifact->bytes + record_file->bytes;
    result.made_ns = artifact->mtime_ns;
    result.used_ns = artifact->used_ns;
    inventory.bytes += result.bytes;
    inventory.results.push_back(std::move(result));
    return;
  }
  const auto add = [&](const std::string& path, const char* what, const FileFacts& facts) {
    inventory.leftovers.push_back({path, what, facts.bytes, key});
    inventory.bytes += facts.bytes;
  };
  if (artifact) add(layer.ArtifactPath(key), "artifact without record", *artifact);
  if (record_file) {
    add(layer.RecordPath(key), record ? "record without artifact" : "damaged record", *record_file);
  }
}

/// Of save points those are left over whose step has its result, and those that nobody came back
/// to.
void AddSavePoints(Store& store, Inventory& inventory) {
  constexpr int64_t kForgotten_ns = int64_t{30} * 24 * 3600 * 1'000'000'000;
  const int64_t now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                             std::chrono::system_clock::now().time_since_epoch())
                             .count();
  for (const SavePoints::File& file : store.save_points().List()) {
    inventory.bytes += file.bytes;
    if (FactsOf(store.own().RecordPath(file.key)) || now_ns - file.mtime_ns > kForgotten_ns)
      inventory.leftovers.push_back({file.path, "save point of no use any more", file.bytes, {}});
  }
}

/// Marks pins and everything that they were made from. A result's inputs are known by content, so
/// every result with that content counts.
void MarkPins(Store& store, Inventory& inventory) {
  std::unordered_multimap<std::string_view, StoredResult*> by_digest;
  std::vector<StoredResult*> todo;
  for (StoredResult& result : inventory.results) {
    by_digest.emplace(result.record.digest, &result);
    result.pinned = IsPinned(store, result.record.key);
    if (result.pinned) todo.push_back(&result);
  }
  while (!todo.empty()) {
    StoredResult& result = *todo.back();
    todo.pop_back();
    if (std::exchange(result.needed_by_pin, true)) continue;
    const nlohmann::json recipe = RecordJson(result.record).at("recipe");
    for (const auto& digests : recipe.value("inputs", nlohmann::json::object())) {
      for (const auto& digest : digests) {
        const auto [first, last] = by_digest.equal_range(digest.get_ref<const std::string&>());
        for (auto it = first; it != last; ++it) todo.push_back(it->second);
      }
    }
  }
}

}  // namespace

std::string_view NodeOfStep(std::string_view step) {
  return step.substr(0, step.find('['));
}

Inventory TakeInventory(Store& store) {
  Inventory inventory;
  if (!fs::is_directory(store.folder())) {
    throw Error(fmt::format("there is no store \"{}\"", store.folder()));
  }
  for (const std::string& key : StoredKeys(store.folder())) AddKey(store, key, inventory);
  for (const std::string& path : FindLeftovers(store.folder() + "/tmp", store.locks())) {
    const auto facts = FactsOf(path);
    const uint64_t bytes = facts ? facts->bytes : 0;  // the folder of a program
    inventory.leftovers.push_back({path, "half-written by a run that died", bytes, {}});
    inventory.bytes += bytes;
  }
  AddSavePoints(store, inventory);
  const auto last = store.own().LastKeys();
  for (StoredResult& result : inventory.results) result.current = last.contains(result.record.key);
  MarkPins(store, inventory);
  std::sort(inventory.results.begin(), inventory.results.end(),
            [](const StoredResult& a, const StoredResult& b) {
              return std::tie(a.record.step, b.made_ns, a.record.key) <
                     std::tie(b.record.step, a.made_ns, b.record.key);
            });
  return inventory;
}

bool Means(const std::string& name, const StoredResult& result) {
  const Record& record = result.record;
  return MatchesStep(name, record.step) ||
         (name.size() >= kFewestDigits && IsHex(name) && record.key.starts_with(name));
}

std::vector<const StoredResult*> FindResults(const Inventory& inventory, const std::string& name) {
  std::vector<const StoredResult*> found;
  for (const StoredResult& result : inventory.results) {
    if (!Means(name, result)) continue;
    const bool by_key = !MatchesStep(name, result.record.step);
    // Results are sorted: of one step the newest comes first.
    const bool same = !by_key && !found.empty() && found.back()->record.step == result.record.step;
    if (!same) {
      found.push_back(&result);
    } else if (result.current) {
      found.back() = &result;
    }
  }
  if (found.empty()) {
    throw Error(fmt::format(
        "the store has no result of a step, and none with a key, that \"{}\" stands for", name));
  }
  return found;
}

bool IsPinned(Store& store, std::string_view key) {
  return FactsOf(PinPath(store, key)).has_value();
}

void Pin(Store& store, const StoredResult& result) {
  MakeStoreFolder(store.folder() + "/pins");
  if (IsPinned(store, result.record.key)) return;
  const std::string path = PinPath(store, result.record.key);
  OutputFile file(CreateNewFile(path), path);
  const std::string text = std::string(result.record.step) + '\n';
  file.WriteAt(0, text.data(), text.size());
  file.Close();
}

void Unpin(Store& store, const StoredResult& result) {
  const std::string path = PinPath(store, result.record.key);
  if (::unlink(path.c_str()) == 0) return;
  if (errno == ENOENT) throw Error(fmt::format("{} is not pinned", result.record.step));
  throw Error(fmt::format("cannot remove \"{}\": {}", path, std::strerror(errno)));
}

}  // namespace puzzle
