// SHA-256 fingerprints (OpenSSL). A Fingerprint object belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace puzzle {

/// Incremental SHA-256.
class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(Fingerprint&&) noexcept;
  Fingerprint& operator=(Fingerprint&&) noexcept;

  Fingerprint& Add(const void* data, size_t bytes);
  /// Adds the length and then the bytes, so that ("ab","c") and ("a","bc") differ.
  Fingerprint& AddField(std::string_view text);
  /// 64 hex digits; the object is finished afterwards.
  [[nodiscard]] std::string Hex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// SHA-256 of `text`, 64 hex digits.
[[nodiscard]] std::string FingerprintText(std::string_view text);
/// SHA-256 of the file's bytes. Throws Error naming the file.
[[nodiscard]] std::string FingerprintFile(const std::string& path);

}  // namespace puzzle
