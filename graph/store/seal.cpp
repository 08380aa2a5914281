#include "graph/store/seal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <span>

#include "graph/store/leftovers.h"
#include "graph/store/store.h"
#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"
#include "io/gguf.h"
#include "io/hex.h"

namespace puzzle {
namespace {

using nlohmann::json;

// On disk: a line of JSON with everything but the artifacts, the artifacts as they lie in memory
// (a seal of another kind of machine has another identity), and the digest of all that.
constexpr uint64_t kMaxSeal = uint64_t{1} << 30;
constexpr size_t kDigestDigits = 64;
static_assert(sizeof(SealedArtifact) == 48);

std::string SealPath(const std::string& store, const std::string& identity) {
  return fmt::format("{}/seals/{}", store, identity.substr(0, 1));
}

std::string Written(const Seal& seal) {
  json head = {{"identity", seal.identity},
               {"last", seal.last_remembered},
               {"paths", json::array()},
               {"artifacts", seal.artifacts.size()},
               {"environments", seal.environments},
               {"steps", seal.steps},
               {"saved_s", seal.saved_s},
               {"display", seal.display}};
  for (const SealedPath& path : seal.paths) {
    head["paths"].push_back({path.path, path.signature});
  }
  std::string text = head.dump(-1, ' ', true, json::error_handler_t::replace) + '\n';
  text.append(reinterpret_cast<const char*>(seal.artifacts.data()),
              seal.artifacts.size() * sizeof(SealedArtifact));
  return text + FingerprintText(text);
}

/// Nothing for what is no whole seal.
std::optional<Seal> Parsed(std::string_view text) {
  if (text.size() < kDigestDigits) return std::nullopt;
  const std::string_view digest = text.substr(text.size() - kDigestDigits);
  text.remove_suffix(kDigestDigits);
  const size_t end = text.find('\n');
  if (end == std::string_view::npos || FingerprintText(text) != digest) return std::nullopt;
  const std::string_view entries = text.substr(end + 1);
  try {
    const json head = json::parse(text.substr(0, end));
    Seal seal;
    head.at("identity").get_to(seal.identity);
    head.at("last").get_to(seal.last_remembered);
    for (const json& path : head.at("paths")) {
      seal.paths.push_back({path.at(0), path.at(1)});
    }
    head.at("environments").get_to(seal.environments);
    head.at("steps").get_to(seal.steps);
    head.at("saved_s").get_to(seal.saved_s);
    head.at("display").get_to(seal.display);
    if (head.at("artifacts") != entries.size() / sizeof(SealedArtifact) ||
        entries.size() % sizeof(SealedArtifact) != 0) {
      return std::nullopt;
    }
    seal.artifacts.resize(entries.size() / sizeof(SealedArtifact));
    std::memcpy(seal.artifacts.data(), entries.data(), entries.size());
    return seal;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

bool IsAsSealed(const SealedPath& path) {
  try {
    return SignatureOf(path.path, /*is_folder=*/false).text == path.signature;
  } catch (const Error&) {
    return false;
  }
}

/// The path, and of a checkpoint all that is in it, behind links as well; folders too: their times
/// tell what comes or goes.
std::vector<std::string> AllOf(const std::string& path, bool is_folder) {
  if (!is_folder) return {path};
  std::error_code failure;
  if (!std::filesystem::is_directory(path, failure)) return GgufParts(path);
  std::vector<std::string> all = {path};
  ForEachBelow(path, [&](const std::string& one, bool) {
    all.push_back(one);
    return true;
  });
  return all;
}

/// Artifacts whose keys begin alike lie in one folder, which is opened once and never through a
/// link: then a look at one of them is the search for one name.
bool AreThere(const std::string& store, std::span<const SealedArtifact> alike,
              int64_t used_since_ns) {
  char name[] = "0000000000000000000000000000000000000000000000000000000000000000.h5";
  WriteHex(alike.front().key, name);
  const std::string path = fmt::format("{}/{:.2}", store, name);
  const Descriptor folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (folder.get() < 0) return false;
  return std::all_of(alike.begin(), alike.end(), [&](const SealedArtifact& artifact) {
    WriteHex(artifact.key, name);
    const auto facts = FactsOf(name, folder.get());
    return facts && facts->bytes == artifact.bytes && facts->mtime_ns == artifact.mtime_ns &&
           facts->used_ns >= used_since_ns;
  });
}

bool AreThere(const std::string& store, const std::vector<SealedArtifact>& artifacts,
              int64_t used_since_ns) {
  std::vector<std::span<const SealedArtifact>> folders;
  for (auto begin = artifacts.begin(); begin != artifacts.end();) {
    const auto end = std::find_if(begin, artifacts.end(), [&](const SealedArtifact& artifact) {
      return artifact.key[0] != begin->key[0];
    });
    folders.emplace_back(begin, end);
    begin = end;
  }
  std::atomic<size_t> next{0};
  const auto look = [&] {
    for (size_t i; (i = next.fetch_add(1)) < folders.size();) {
      if (AreThere(store, folders[i], used_since_ns)) continue;
      next = folders.size();
      return false;
    }
    return true;
  };
  constexpr size_t kWorthThread = 512;
  std::future<bool> other;
  if (artifacts.size() >= kWorthThread) other = std::async(std::launch::async, look);
  const bool mine = look();
  return (!other.valid() || other.get()) && mine;
}

}  // namespace

std::array<uint8_t, 32> KeyBytes(std::string_view key) {
  std::array<uint8_t, 32> bytes;
  PUZZLE_CHECK(ReadHex(key, bytes), "a key that is no 64 hex digits");
  return bytes;
}

bool AddPath(const std::string& path, bool is_folder, int64_t begin_ns, Seal& seal) {
  for (std::string& one : AllOf(path, is_folder)) {
    InputSignature signature = SignatureOf(one, /*is_folder=*/false);
    if (!signature.IsOlderThan(begin_ns)) return false;
    seal.paths.push_back({std::move(one), std::move(signature.text)});
  }
  return true;
}

void LeaveSeal(const Store& store, const Seal& seal) {
  std::string temporary;
  try {
    MakeStoreFolder(store.folder() + "/seals");
    temporary = NewTemporaryPath(store.folder());
    const std::string text = Written(seal);
    OutputFile file(CreateNewFile(temporary), temporary);
    file.WriteAt(0, text.data(), text.size());
    file.Close();
    if (::rename(temporary.c_str(), SealPath(store.folder(), seal.identity).c_str()) == 0) return;
  } catch (const Error&) {  // a shortcut that cannot be written costs time only
  }
  if (!temporary.empty()) ::unlink(temporary.c_str());
}

std::optional<Seal> FindSeal(Store& store, const std::string& identity) {
  if (!IsPlainFolder(store.folder() + "/seals")) return std::nullopt;
  const auto text = ReadPlainFile(SealPath(store.folder(), identity), kMaxSeal);
  if (!text) return std::nullopt;
  std::optional<Seal> seal = Parsed(*text);
  if (!seal || seal->identity != identity) return std::nullopt;
  store.AnnounceRun();
  if (store.LastRemembered() != seal->last_remembered ||
      !std::all_of(seal->paths.begin(), seal->paths.end(), IsAsSealed) ||
      !AreThere(store.folder(), seal->artifacts, store.locks().needed_since_ns())) {
    return std::nullopt;
  }
  return seal;
}

}  // namespace puzzle
