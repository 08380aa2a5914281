#include "io/fingerprint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <vector>

#include "io/error.h"
#include "io/file.h"
#include "io/hex.h"

namespace puzzle {

namespace {

constexpr size_t kDigestBytes = 32;

/// Fetched once: OpenSSL takes longer to find the algorithm than to digest a short text.
const EVP_MD* Sha256() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  PUZZLE_CHECK(algorithm != nullptr, "OpenSSL has no SHA-256");
  return algorithm;
}

std::string HexOf(const std::array<unsigned char, kDigestBytes>& digest) {
  std::string hex(2 * kDigestBytes, '0');
  WriteHex(digest, hex.data());
  return hex;
}

}  // namespace

struct Fingerprint::Impl {
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
};

Fingerprint::Fingerprint() : impl_(std::make_unique<Impl>()) {
  const bool ok = impl_->context && EVP_DigestInit_ex2(impl_->context.get(), Sha256(), nullptr);
  PUZZLE_CHECK(ok, "SHA-256 cannot begin");
}

Fingerprint::~Fingerprint() = default;
Fingerprint::Fingerprint(Fingerprint&&) noexcept = default;
Fingerprint& Fingerprint::operator=(Fingerprint&&) noexcept = default;

Fingerprint& Fingerprint::Add(const void* data, size_t bytes) {
  PUZZLE_CHECK(impl_ != nullptr, "Add to a finished fingerprint");
  PUZZLE_CHECK(EVP_DigestUpdate(impl_->context.get(), data, bytes), "SHA-256 update failed");
  return *this;
}

Fingerprint& Fingerprint::AddField(std::string_view text) {
  std::array<unsigned char, 8> length;  // little-endian, so that digests agree between machines
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<unsigned char>(uint64_t{text.size()} >> (8 * i));
  }
  return Add(length.data(), length.size()).Add(text.data(), text.size());
}

std::string Fingerprint::Hex() {
  PUZZLE_CHECK(impl_ != nullptr, "Hex of a finished fingerprint");
  std::array<unsigned char, kDigestBytes> digest;
  PUZZLE_CHECK(EVP_DigestFinal_ex(impl_->context.get(), digest.data(), nullptr),
               "SHA-256 finish failed");
  impl_.reset();
  return HexOf(digest);
}

std::string FingerprintText(std::string_view text) {
  std::array<unsigned char, kDigestBytes> digest;
  const bool ok = EVP_Digest(text.data(), text.size(), digest.data(), nullptr, Sha256(), nullptr);
  PUZZLE_CHECK(ok, "SHA-256 failed");
  return HexOf(digest);
}

std::string FingerprintFile(const std::string& path) {
  const InputFile file(path);
  Fingerprint fingerprint;
  std::vector<char> buffer(std::min<uint64_t>(file.size(), 1 << 20));
  for (uint64_t offset = 0; offset < file.size(); offset += buffer.size()) {
    const size_t count = std::min<uint64_t>(buffer.size(), file.size() - offset);
    file.ReadAt(offset, buffer.data(), count);
    fingerprint.Add(buffer.data(), count);
  }
  return fingerprint.Hex();
}

}  // namespace puzzle
