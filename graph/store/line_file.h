// Append-only files of checksummed lines: the form of everything in the store that is a shortcut
// and never the truth (index, last recipes, remembered digests). A torn or damaged line is ignored,
// several processes may append at once, and a file that cannot be written is no failure. Files are
// read into memory rather than mapped, since others may cut or replace them at any moment, and
// never through a symbolic link.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "io/file.h"

namespace puzzle {

/// A checksum against accidents (not against intent): 16 hex digits.
[[nodiscard]] std::string Checksum(std::string_view text);

/// Reader and appender of one such file. Thread-compatible.
class LineFile {
 public:
  explicit LineFile(std::string path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  /// Calls `visit` with every whole line that was in the file at this moment, in order, without
  /// checksum and line end. The views live as long as this object. REQUIRES: called once.
  void Read(const std::function<void(std::string_view)>& visit);
  /// Appends lines in one write. REQUIRES: no line contains '\n'.
  void Append(const std::string& line);
  /// Replaces the whole file atomically by the lines that `next` returns until it gives nullptr.
  /// They are written to `temporary` first, which must not exist.
  void Rewrite(const std::string& temporary, const std::function<const std::string*()>& next);

  /// Size of the file when Read began.
  [[nodiscard]] size_t bytes() const { return bytes_; }
  /// The content of the last line, if it is whole; else "". Reads no more than the file's end, and
  /// nothing of lines longer than 200 bytes.
  [[nodiscard]] static std::string LastLine(const std::string& path);

  /// Lines that Read saw, damaged ones included, or Rewrite wrote.
  [[nodiscard]] size_t lines() const { return lines_; }

 private:
  std::string path_;
  std::unique_ptr<char[]> text_;
  size_t bytes_ = 0;
  size_t lines_ = 0;
  Descriptor fd_;  // for appending
  bool needs_newline_ = false;
};

}  // namespace puzzle
