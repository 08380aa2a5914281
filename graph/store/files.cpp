#include "graph/store/files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <unordered_map>
#include <vector>

#include "graph/store/line_file.h"
#include "io/error.h"
#include "io/fingerprint.h"
#include "io/gguf.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

/// A file written so recently may change again without its time stamp moving.
constexpr int64_t kRacyNs = 50'000'000;

int64_t Stamp_ns(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

void AddFile(const std::string& path, const std::string& name, InputSignature& signature) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    throw Error(fmt::format("cannot read \"{}\": {}", path, std::strerror(errno)));
  }
  const int64_t mtime = Stamp_ns(info.st_mtim);
  const int64_t ctime = Stamp_ns(info.st_ctim);  // which nobody can put back
  signature.newest_ns = std::max({signature.newest_ns, mtime, ctime});
  signature.bytes += static_cast<uint64_t>(info.st_size);
  signature.text += fmt::format("{}\n{} {} {} {} {}\n", name, info.st_size, mtime, ctime,
                                info.st_ino, static_cast<uint64_t>(info.st_dev));
}

/// Whether it is a link to a folder that it lies in, perhaps through other links: behind it there
/// would be no end.
bool LeadsBack(const fs::directory_entry& entry) {
  std::error_code failure;
  if (!entry.is_symlink(failure) || !entry.is_directory(failure)) return false;
  const fs::path target = fs::canonical(entry.path(), failure);
  for (fs::path around = entry.path().parent_path(); !failure && !around.empty();
       around = around.parent_path()) {
    const fs::path own = fs::canonical(around, failure);
    if (!failure &&
        std::mismatch(target.begin(), target.end(), own.begin(), own.end()).first == target.end()) {
      return true;
    }
    if (around == around.parent_path()) break;
  }
  return false;
}

InputSignature SignatureOfFile(const std::string& path) {
  InputSignature signature;
  AddFile(path, "", signature);
  return signature;
}

/// A change from now on moves the times.
bool IsSettled(const InputSignature& signature) {
  return signature.IsOlderThan(FileClock_ns());
}

InputSignature SignatureOfFolder(const std::string& path) {
  InputSignature signature;
  std::error_code unknown;
  if (!fs::is_directory(path, unknown)) {
    for (const std::string& part : GgufParts(path)) AddFile(part, part, signature);
    return signature;
  }
  std::vector<std::string> names;
  ForEachBelow(path, [&](const std::string& one, bool is_file) {
    if (is_file) names.push_back(one);
    return true;
  });
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) AddFile(name, name.substr(path.size()), signature);
  return signature;
}

InputSignature SignatureOfInput(const DigestedInput& input) {
  return SignatureOf(input.path, input.is_folder);
}

/// The first name in signatures whose file came, went or changed in between; "" for a file's own.
std::string FirstChanged(const std::string& before, const std::string& after) {
  std::istringstream was(before), is(after);
  std::string name_was, facts_was, name_is, facts_is;
  while (true) {
    const bool more_was = std::getline(was, name_was) && std::getline(was, facts_was);
    const bool more_is = std::getline(is, name_is) && std::getline(is, facts_is);
    if (!more_was && !more_is) return {};
    if (more_was && more_is && name_was == name_is && facts_was == facts_is) continue;
    return !more_was || (more_is && name_is < name_was) ? name_is : name_was;
  }
}

/// Another content, or another look, than `signature` says.
Error Changed(const DigestedInput& input, const char* when, const std::string& signature,
              const std::string& now) {
  std::string file = FirstChanged(signature, now);
  std::error_code unknown;
  if (!file.empty() && fs::is_directory(input.path, unknown)) file.insert(0, input.path);
  return Error(
      fmt::format("\"{}\" changed {}{}: what this step would leave belongs to another content. "
                  "Nothing was stored; run again",
                  input.path, when, file.empty() || file == input.path ? "" : " (" + file + ")"));
}

std::string Absolute(const std::string& path) {
  std::error_code failure;
  const fs::path absolute = fs::weakly_canonical(path, failure);
  return failure ? path : absolute.string();
}

}  // namespace

bool InputSignature::IsOlderThan(int64_t time_ns) const {
  return newest_ns + kRacyNs < time_ns;
}

void ForEachBelow(const std::string& folder,
                  const std::function<bool(const std::string& path, bool is_file)>& visit) {
  std::error_code failure;
  for (fs::recursive_directory_iterator
           it(folder, fs::directory_options::follow_directory_symlink, failure),
       end;
       !failure && it != end; it.increment(failure)) {
    std::error_code nothing;  // behind a link, such as an editor's that locks a file
    const bool goes_in = visit(it->path().string(), it->is_regular_file(nothing));
    if (!goes_in || LeadsBack(*it)) it.disable_recursion_pending();
  }
  if (failure) {
    throw Error(fmt::format("cannot list folder \"{}\": {}", folder, failure.message()));
  }
}

InputSignature SignatureOf(const std::string& path, bool is_folder) {
  return is_folder ? SignatureOfFolder(path) : SignatureOfFile(path);
}

int64_t FileClock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct FileDigester::State {
  std::string memo_path;
  uint64_t most_bytes = 0;
  std::vector<UnreadInput> unread;
  std::unique_ptr<LineFile> memo;
  std::vector<std::string> unsaved;
  std::unordered_map<std::string, std::string> known;  // memo identity -> digest
  std::unordered_map<std::string, std::shared_ptr<const DigestedInput>>
      seen;  // path + id -> what is known, within this run

  void Load() {
    if (memo || memo_path.empty()) return;
    memo = std::make_unique<LineFile>(memo_path);
    memo->Read([&](std::string_view line) {  // identity (64 hex) ' ' digest ' ' path
      const size_t end = line.find(' ', 65);
      if (end != std::string_view::npos) {
        known[std::string(line.substr(0, 64))] = std::string(line.substr(65, end - 65));
      }
    });
  }

  std::shared_ptr<const DigestedInput> Lookup(DigestedInput input, const std::string& id) {
    const std::string here = id + '\n' + input.path;
    if (const auto it = seen.find(here); it != seen.end()) return it->second;
    Load();
    const InputSignature before = SignatureOfInput(input);
    input.signature = before.text;
    const std::string absolute = Absolute(input.path);
    const std::string identity = FingerprintText(id + '\n' + absolute + '\n' + before.text);
    if (const auto it = known.find(identity); it != known.end()) {
      input.digest = it->second;
      input.settled = true;
    } else if (before.bytes > most_bytes) {
      input.digest = "unread " + identity;
      unread.push_back({input.path, before.bytes});
    } else {
      input.settled = IsSettled(before);
      input.digest = input.digest_again();
      Learn(input, identity, absolute);
    }
    return seen[here] = std::make_shared<const DigestedInput>(std::move(input));
  }

  void Learn(const DigestedInput& input, const std::string& identity, std::string absolute) {
    if (!memo || !input.settled || SignatureOfInput(input).text != input.signature ||
        input.digest.find_first_of(" \n") != std::string::npos) {
      return;
    }
    std::replace(absolute.begin(), absolute.end(), '\n', '?');
    unsaved.push_back(identity + ' ' + input.digest + ' ' + absolute);
    known[identity] = input.digest;
  }

  void Append() {
    for (const std::string& line : unsaved) memo->Append(line);
    unsaved.clear();
  }
};

FileDigester::FileDigester(std::string memo_path, uint64_t most_bytes)
    : state_(std::make_unique<State>()) {
  state_->memo_path = std::move(memo_path);
  state_->most_bytes = most_bytes;
}

const std::vector<FileDigester::UnreadInput>& FileDigester::unread() const {
  return state_->unread;
}

FileDigester::~FileDigester() {
  state_->Append();
}

void FileDigester::Save() {
  if (state_->unsaved.empty()) return;
  std::error_code ignored;  // a memo that cannot be written costs time only
  fs::create_directories(fs::path(state_->memo_path).parent_path(), ignored);
  state_->Append();
}

std::shared_ptr<const DigestedInput> FileDigester::KnowFile(const std::string& path) {
  std::error_code failure;
  if (fs::is_directory(path, failure)) {
    throw Error(fmt::format("\"{}\" is a folder; a file is expected", path));
  }
  DigestedInput input;
  input.path = path;
  input.digest_again = [path] { return FingerprintFile(path); };
  return state_->Lookup(std::move(input), "file");
}

std::shared_ptr<const DigestedInput> FileDigester::KnowFolder(
    const std::string& path, const std::string& id,
    const std::function<std::string(const std::string&)>& digest) {
  DigestedInput input;
  input.path = path;
  input.is_folder = true;
  input.digest_again = [path, digest] { return digest(path); };
  return state_->Lookup(std::move(input), "folder " + id);
}

InputWatch::InputWatch(const std::vector<std::shared_ptr<const DigestedInput>>& inputs) {
  for (const auto& input : inputs) {
    const InputSignature now = SignatureOfInput(*input);
    if ((now.text != input->signature || !input->settled) &&
        input->digest_again() != input->digest) {
      throw Changed(*input, "after the run was planned", input->signature, now.text);
    }
    seen_.push_back({input, now.text, IsSettled(now)});
  }
}

void InputWatch::Check() const {
  for (const Seen& seen : seen_) {
    const std::string now = SignatureOfInput(*seen.input).text;
    if (now != seen.signature ||
        (!seen.settled && seen.input->digest_again() != seen.input->digest)) {
      throw Changed(*seen.input, "while the step read it", seen.signature, now);
    }
  }
}

}  // namespace puzzle
