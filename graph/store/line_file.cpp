#include "graph/store/line_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace puzzle {
namespace {

constexpr size_t kSumChars = 16;

/// Mixes eight bytes at a time; as fast as memory for the few megabytes of an index.
uint64_t Sum(std::string_view text) {
  constexpr uint64_t kPrime = 0x9E3779B97F4A7C15ull;
  uint64_t sum = text.size() * kPrime;
  const char* at = text.data();
  size_t left = text.size();
  for (; left >= 8; left -= 8, at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    sum = (sum ^ word) * kPrime;
    sum ^= sum >> 29;
  }
  uint64_t word = 0;
  std::memcpy(&word, at, left);
  sum = (sum ^ word) * kPrime;
  return sum ^ (sum >> 32);
}

void PutHex(uint64_t value, char* out) {
  for (size_t i = kSumChars; i-- > 0; value >>= 4) out[i] = "0123456789abcdef"[value & 15];
}

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::string Framed(const std::string& line) {
  return Checksum(line) + ' ' + line + '\n';
}

}  // namespace

std::string Checksum(std::string_view text) {
  std::string hex(kSumChars, '0');
  PutHex(Sum(text), hex.data());
  return hex;
}

LineFile::LineFile(std::string path) : path_(std::move(path)) {}

LineFile::~LineFile() {
  if (map_ != nullptr) ::munmap(map_, map_bytes_);
  if (fd_ >= 0) ::close(fd_);
}

void LineFile::Read(const std::function<void(std::string_view)>& visit) {
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && info.st_size > 0) {
    map_bytes_ = static_cast<size_t>(info.st_size);
    // The file only grows, or is replaced as a whole, so that the mapping stays valid.
    map_ = ::mmap(nullptr, map_bytes_, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (map_ == MAP_FAILED) map_ = nullptr;
  }
  ::close(fd);
  if (map_ == nullptr) return;
  std::string_view rest(static_cast<const char*>(map_), map_bytes_);
  needs_newline_ = rest.back() != '\n';
  char sum[kSumChars];
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;  // torn by a crash
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    ++lines_;
    if (line.size() < kSumChars + 1) continue;
    const std::string_view content = line.substr(kSumChars + 1);
    PutHex(Sum(content), sum);
    if (std::memcmp(sum, line.data(), kSumChars) == 0) visit(content);
  }
}

std::string LineFile::LastLine(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char buffer[200];
  const off_t size = ::lseek(fd, 0, SEEK_END);
  const off_t begin = std::max<off_t>(size - static_cast<off_t>(sizeof buffer), 0);
  const ssize_t n = ::pread(fd, buffer, sizeof buffer, begin);
  ::close(fd);
  std::string_view text(buffer, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (text.empty() || text.back() != '\n') return {};
  text.remove_suffix(1);
  const size_t before = text.rfind('\n');
  if (before == std::string_view::npos && begin > 0) return {};
  text.remove_prefix(before + 1);  // npos + 1 is 0
  if (text.size() < kSumChars + 1) return {};
  const std::string_view content = text.substr(kSumChars + 1);
  return text.starts_with(Checksum(content)) ? std::string(content) : std::string();
}

void LineFile::Append(const std::string& line) {
  if (fd_ < 0) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) return;
  }
  std::string framed = Framed(line);
  if (needs_newline_) framed.insert(framed.begin(), '\n');
  needs_newline_ = !WriteAll(fd_, framed);  // after a short write the rest is ignored as torn
}

void LineFile::Rewrite(const std::function<const std::string*()>& next) {
  const std::string temporary = path_ + ".tmp" + std::to_string(::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return;
  bool whole = true;
  std::string buffer;
  size_t lines = 0;
  while (const std::string* line = next()) {
    ++lines;
    buffer += Framed(*line);
    if (buffer.size() > (1u << 20)) {
      whole = whole && WriteAll(fd, buffer);
      buffer.clear();
    }
  }
  whole = WriteAll(fd, buffer) && whole;
  whole = ::close(fd) == 0 && whole;
  if (whole && ::rename(temporary.c_str(), path_.c_str()) == 0) {
    lines_ = lines;
  } else {
    ::unlink(temporary.c_str());
  }
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  needs_newline_ = false;
}

}  // namespace puzzle
