// Text <-> token ids. Tokenizers are immutable after loading and may be shared by threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace puzzle {

/// A tokenizer; ids are in [0, vocab_size()).
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text`, without BOS or EOS.
  [[nodiscard]] virtual std::vector<int32_t> Encode(std::string_view text) const = 0;
  /// Text of `ids`; control ids (BOS, EOS, padding) are dropped.
  [[nodiscard]] virtual std::string Decode(std::span<const int32_t> ids) const = 0;
  [[nodiscard]] virtual int32_t vocab_size() const = 0;
  /// -1 when there is none.
  [[nodiscard]] virtual int32_t bos_id() const = 0;
  [[nodiscard]] virtual int32_t eos_id() const = 0;
  /// The id that the tokenizer's own configuration puts before every text, its BOS as a rule; -1
  /// when it puts nothing there, whether it has a BOS or not.
  [[nodiscard]] virtual int32_t leading_id() const = 0;
  /// "byte", "sentencepiece" or "bpe".
  [[nodiscard]] virtual std::string_view kind() const = 0;
  /// The files that a checkpoint folder must hold for this tokenizer to be found again:
  /// file name -> bytes (e.g. {"tokenizer.model", ...}).
  [[nodiscard]] virtual const std::map<std::string, std::string>& files() const = 0;
};

/// 256 byte values plus BOS (256) and EOS (257): vocab_size 258. Decode replaces nothing: bytes in,
/// bytes out. Its one file is "byte_tokenizer.json".
[[nodiscard]] std::shared_ptr<const Tokenizer> MakeByteTokenizer();
/// A SentencePiece model from the bytes of a `tokenizer.model`, with the added and special tokens
/// that `others` name; they are kept beside it. Throws Error when they are not one.
[[nodiscard]] std::shared_ptr<const Tokenizer> MakeSentencePieceTokenizer(
    std::string model_bytes, std::map<std::string, std::string> others = {});

/// The text of `ids` as it goes on behind `before`: the spaces that a text does not begin with
/// stay.
[[nodiscard]] std::string DecodeAfter(const Tokenizer& tokenizer, std::span<const int32_t> before,
                                      std::span<const int32_t> ids);

/// The files of a checkpoint folder that belong to its tokenizer, those that others read too.
[[nodiscard]] std::span<const char* const> TokenizerFileNames();

/// The tokenizer of a checkpoint: of a folder, `byte_tokenizer.json`, else `tokenizer.json` (BPE),
/// else `tokenizer.model` (SentencePiece), else `vocab.json` with `merges.txt` (BPE on bytes); of a
/// GGUF file, the one inside. Throws Error naming the file and what in
/// it is malformed or not supported, and listing what was looked for when there is none.
[[nodiscard]] std::shared_ptr<const Tokenizer> LoadTokenizer(const std::string& folder);
/// The same, but nullptr when the folder has none of these files.
[[nodiscard]] std::shared_ptr<const Tokenizer> FindTokenizer(const std::string& folder);
/// The same from files in memory (as returned by Tokenizer::files()).
[[nodiscard]] std::shared_ptr<const Tokenizer> MakeTokenizer(
    const std::map<std::string, std::string>& files);

}  // namespace puzzle
