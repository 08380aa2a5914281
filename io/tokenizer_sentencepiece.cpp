#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <utility>

#include "io/error.h"
#include "io/sentencepiece_charsmap.h"
#include "io/tokenizer.h"

namespace puzzle {
namespace {

constexpr size_t kMaxModelBytes = 256 << 20;
constexpr int32_t kMaxVocabSize = 1 << 21;

void Check(const sentencepiece::util::Status& status) {
  if (!status.ok()) throw Error(fmt::format("tokenizer.model: {}", status.ToString()));
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(std::string model_bytes) {
    if (model_bytes.empty() || model_bytes.size() > kMaxModelBytes) {
      throw Error(fmt::format("tokenizer.model: has {} bytes, expected 1 to {}", model_bytes.size(),
                              kMaxModelBytes));
    }
    CheckCharacterMaps(model_bytes);
    Check(processor_.LoadFromSerializedProto(model_bytes));
    if (vocab_size() < 1 || vocab_size() > kMaxVocabSize) {
      throw Error(fmt::format("tokenizer.model: has {} pieces, expected 1 to {}", vocab_size(),
                              kMaxVocabSize));
    }
    files_.emplace("tokenizer.model", std::move(model_bytes));
  }

  std::vector<int32_t> Encode(std::string_view text) const override {
    std::vector<int> ids;
    Check(processor_.Encode({text.data(), text.size()}, &ids));
    return ids;
  }

  std::string Decode(std::span<const int32_t> ids) const override {
    std::vector<int> kept;
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocab_size()) {
        throw Error(fmt::format("tokenizer.model: id {} is not in [0, {})", id, vocab_size()));
      }
      if (!processor_.IsControl(id)) kept.push_back(id);
    }
    std::string text;
    Check(processor_.Decode(kept, &text));
    return text;
  }

  int32_t vocab_size() const override { return processor_.GetPieceSize(); }
  int32_t bos_id() const override { return processor_.bos_id(); }
  int32_t eos_id() const override { return processor_.eos_id(); }
  std::string_view kind() const override { return "sentencepiece"; }
  const std::map<std::string, std::string>& files() const override { return files_; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  std::map<std::string, std::string> files_;
};

}  // namespace

std::shared_ptr<const Tokenizer> MakeSentencePieceTokenizer(std::string model_bytes) {
  return std::make_shared<SentencePieceTokenizer>(std::move(model_bytes));
}

}  // namespace puzzle
