#include "io/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "io/bpe_tokenizer.h"
#include "io/error.h"
#include "io/file.h"
#include "io/gguf_tokenizer.h"
#include "io/json_text.h"
#include "io/lfs_pointer.h"
#include "io/utf8.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSentencePieceFile = "tokenizer.model";
constexpr const char* kJsonFile = "tokenizer.json";
constexpr const char* kVocabFile = "vocab.json";
constexpr const char* kMergesFile = "merges.txt";
constexpr const char* kByteFile = "byte_tokenizer.json";
/// Those that make a tokenizer, then those that go with them.
constexpr const char* kFileNames[] = {kSentencePieceFile,
                                      kJsonFile,
                                      kVocabFile,
                                      kMergesFile,
                                      kByteFile,
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "chat_template.jinja"};
constexpr uint64_t kMaxFileBytes = 256 << 20;

constexpr int32_t kByteCount = 256;
constexpr const char* kByteFileText = "{\"kind\": \"byte\", \"version\": 1}\n";

class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<int32_t> Encode(std::string_view text) const override {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    return {bytes, bytes + text.size()};
  }

  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocab_size()) {
        throw Error(fmt::format("byte tokenizer: id {} is not in [0, {})", id, vocab_size()));
      }
      if (id < kByteCount) text += static_cast<char>(id);
    }
    return text;
  }

  int32_t vocab_size() const override { return kByteCount + 2; }
  int32_t bos_id() const override { return kByteCount; }
  int32_t eos_id() const override { return kByteCount + 1; }
  int32_t leading_id() const override { return bos_id(); }
  std::string_view kind() const override { return "byte"; }
  const std::map<std::string, std::string>& files() const override { return files_; }

 private:
  const std::map<std::string, std::string> files_ = {{kByteFile, kByteFileText}};
};

/// Checks that the file describes the one byte tokenizer there is.
std::shared_ptr<const Tokenizer> ByteTokenizerFromFile(const std::string& text) {
  const auto expected = JsonText::Parse(kByteFileText, kByteFile);
  if (JsonText::Parse(text, kByteFile).value() != expected.value()) {
    throw Error(fmt::format("{}: expected {}", kByteFile, expected.value().dump()));
  }
  return MakeByteTokenizer();
}

bool MakesTokenizer(const std::map<std::string, std::string>& files) {
  return files.contains(kSentencePieceFile) || files.contains(kJsonFile) ||
         files.contains(kByteFile) || (files.contains(kVocabFile) && files.contains(kMergesFile));
}

std::map<std::string, std::string> FilesIn(const std::string& folder) {
  std::map<std::string, std::string> files;
  std::error_code ignored;  // what cannot be looked at is reported as absent
  for (const char* name : kFileNames) {
    const fs::path path = fs::path(folder) / name;
    if (!fs::exists(path, ignored)) continue;
    std::string bytes = ReadWholeFile(path.string(), kMaxFileBytes);
    RefuseLfsPointer(bytes, path.string());
    files.emplace(name, std::move(bytes));
  }
  return files;
}

Error NothingThere() {
  return Error(fmt::format("no tokenizer: none of {}, {}, {} with {}, {} is there",
                           kSentencePieceFile, kJsonFile, kVocabFile, kMergesFile, kByteFile));
}

}  // namespace

std::shared_ptr<const Tokenizer> MakeByteTokenizer() {
  return std::make_shared<ByteTokenizer>();
}

std::string DecodeAfter(const Tokenizer& tokenizer, std::span<const int32_t> before,
                        std::span<const int32_t> ids) {
  // A few ids of context are enough, and what they say is the same in both texts, unless a
  // character goes across.
  constexpr size_t kContext = 8;
  auto context = before.last(std::min(before.size(), kContext));
  std::string known = tokenizer.Decode(context);
  // Nor do they begin within a character: of bytes in a row, some tokenizers say none as soon as
  // one belongs to nothing.
  const size_t least = std::max<size_t>(context.size(), 4) - 3;
  while (context.size() > least && known.starts_with(kReplacementCharacter)) {
    context = context.subspan(1);
    known = tokenizer.Decode(context);
  }
  std::vector<int32_t> all(context.begin(), context.end());
  all.insert(all.end(), ids.begin(), ids.end());
  const std::string whole = tokenizer.Decode(all);
  return whole.starts_with(known) ? whole.substr(known.size()) : tokenizer.Decode(ids);
}

std::span<const char* const> TokenizerFileNames() {
  return kFileNames;
}

std::shared_ptr<const Tokenizer> FindTokenizer(const std::string& folder) {
  const std::map<std::string, std::string> files =
      IsGgufPath(folder) ? TokenizerFilesFromGguf(GgufReader::Open(folder)) : FilesIn(folder);
  if (!MakesTokenizer(files)) return nullptr;
  try {
    return MakeTokenizer(files);
  } catch (const Error& e) {
    throw WithContext(folder, e);
  }
}

std::shared_ptr<const Tokenizer> LoadTokenizer(const std::string& folder) {
  if (auto tokenizer = FindTokenizer(folder)) return tokenizer;
  throw WithContext(folder, NothingThere());
}

std::shared_ptr<const Tokenizer> MakeTokenizer(const std::map<std::string, std::string>& files) {
  if (!MakesTokenizer(files)) throw NothingThere();
  // Only our own exports have it, with a tokenizer.json for others (io/byte_tokenizer_json.h).
  if (files.contains(kByteFile)) return ByteTokenizerFromFile(files.at(kByteFile));
  // The others' own order: a tokenizer.json knows the tokens that were added to a tokenizer.model.
  if (files.contains(kJsonFile)) return TokenizerFromJson(files);
  if (files.contains(kSentencePieceFile)) {
    return MakeSentencePieceTokenizer(files.at(kSentencePieceFile), files);
  }
  return TokenizerFromVocabAndMerges(files);
}

}  // namespace puzzle
