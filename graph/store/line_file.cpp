#include "graph/store/line_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace puzzle {
namespace {

constexpr size_t kSumChars = 16;
constexpr size_t kMaxBytes = size_t{16}
                             << 30;  // more is no index of ours: a million steps need 2 GB

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

LineFile::~LineFile() = default;

void LineFile::Read(const std::function<void(std::string_view)>& visit) {
  const Descriptor fd = OpenPlainFile(path_, O_RDONLY);
  struct stat info {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) return;
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0 || size > kMaxBytes) return;
  text_ = std::make_unique_for_overwrite<char[]>(size);
  while (bytes_ < size) {
    const ssize_t n = ::read(fd.get(), text_.get() + bytes_, size - bytes_);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // somebody cuts it: what is missing stands in the records
    bytes_ += static_cast<size_t>(n);
  }
  if (bytes_ == 0) return;
  std::string_view rest(text_.get(), bytes_);
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
  const Descriptor fd = OpenPlainFile(path, O_RDONLY);
  if (fd.get() < 0) return {};
  char buffer[200];
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  const off_t begin = std::max<off_t>(size - static_cast<off_t>(sizeof buffer), 0);
  const ssize_t n = ::pread(fd.get(), buffer, sizeof buffer, begin);
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
  if (fd_.get() < 0) {
    fd_ = OpenPlainFile(path_, O_WRONLY | O_APPEND | O_CREAT);
    if (fd_.get() < 0) return;
  }
  std::string framed = Framed(line);
  if (needs_newline_) framed.insert(framed.begin(), '\n');
  needs_newline_ = !WriteAll(fd_.get(), framed);  // after a short write the rest is ignored as torn
}

void LineFile::Rewrite(const std::string& temporary,
                       const std::function<const std::string*()>& next) {
  const int fd = OpenPlainFile(temporary, O_WRONLY | O_CREAT | O_EXCL).Release();
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
  fd_ = Descriptor();
  needs_newline_ = false;
}

}  // namespace puzzle
