#include "model/decode/writer.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "io/error.h"
#include "io/utf8.h"

namespace puzzle::decode {

namespace {

// Bytes of `text` up to what may become another character yet: one that is cut at its end, and
// U+FFFD there, which most tokenizers say for the bytes of one so far.
size_t WholeCharacters(std::string_view text) {
  while (text.ends_with(kReplacementCharacter)) text.remove_suffix(kReplacementCharacter.size());
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const std::string_view rest = text.substr(text.size() - back);
    if (IsUtf8Continuation(rest[0])) continue;
    const auto lead = static_cast<unsigned char>(rest[0]);
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

// A text that grows token by token.
class Text {
 public:
  Text(const Tokenizer& tokenizer, std::span<const int32_t> prompt)
      : tokenizer_(tokenizer), ids_(prompt.begin(), prompt.end()), anchor_(ids_.size()) {}

  void Add(int32_t id) {
    if (id >= tokenizer_.vocab_size()) return;  // a padded vocabulary has rows without text
    ids_.push_back(id);
    const std::span<const int32_t> all(ids_);
    tail_ = DecodeAfter(tokenizer_, all.first(anchor_), all.subspan(anchor_));
    if (ids_.size() - anchor_ < kTail || WholeCharacters(tail_) < tail_.size()) return;
    head_ += tail_;
    tail_.clear();
    anchor_ = ids_.size();
  }
  // So far; the character at its end may not be whole.
  [[nodiscard]] std::string Whole() const { return head_ + tail_; }

 private:
  static constexpr size_t kTail = 16;  // tokens that are decoded again for each one

  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  size_t anchor_;  // ids before it are in head_
  std::string head_, tail_;
};

// Bytes at the end of `text` that a stop string begins with.
size_t BegunStop(std::string_view text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops)
    for (size_t n = std::min(stop.size() - 1, text.size()); n > longest; --n)
      if (text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
  return longest;
}

// One prompt that is being continued in one of the decoder's sequences.
class Writing {
 public:
  Writing(const Decoder& decoder, const Tokenizer& tokenizer, std::span<const int32_t> prompt,
          int64_t number, const WritingOptions& options, const TextListener& listener)
      : options_(options),
        listener_(listener),
        number_(number),
        text_(tokenizer, prompt),
        sampler_(Seeded(options.sampling, number), decoder.config().vocab_size) {
    for (const int32_t id : prompt) sampler_.Saw(id);
  }

  // Takes the next token in; whether the text has ended. `room`: tokens that the sequence may have
  // beyond this one.
  bool Take(std::span<const float> logits, const ModelConfig& config, int64_t room) {
    const int32_t id = sampler_.Pick(logits);
    written_.ids.push_back(id);
    last_ = id;
    const auto& eos = config.eos_ids;
    if (id == config.bos_id || std::find(eos.begin(), eos.end(), id) != eos.end())
      return End(TextEnd::kEos);
    text_.Add(id);
    const std::string whole = text_.Whole();
    if (const auto stop = FindStop(whole)) {
      Say(std::string_view(whole).substr(0, *stop));
      written_.end = TextEnd::kStop;
      return true;
    }
    if (std::ssize(written_.ids) == options_.tokens) return End(TextEnd::kTokens);
    if (room <= 0) return End(TextEnd::kContext);
    const std::string_view sure = std::string_view(whole).substr(0, WholeCharacters(whole));
    Say(sure.substr(0, sure.size() - BegunStop(sure, options_.stops)));
    return false;
  }

  [[nodiscard]] std::span<const int32_t> last() const { return {&last_, 1}; }
  [[nodiscard]] int64_t number() const { return number_; }
  [[nodiscard]] WrittenText Finish() { return std::move(written_); }

 private:
  static SamplingOptions Seeded(SamplingOptions sampling, int64_t number) {
    sampling.seed += static_cast<uint64_t>(number);
    return sampling;
  }
  [[nodiscard]] std::optional<size_t> FindStop(std::string_view whole) const {
    std::optional<size_t> first;
    for (const std::string& stop : options_.stops)
      if (const size_t at = whole.find(stop, said_); at != std::string_view::npos)
        first = std::min(first.value_or(at), at);
    return first;
  }
  bool End(TextEnd end) {
    Say(text_.Whole());
    written_.end = end;
    return true;
  }
  // All of the text up to here; what of it is new is heard.
  void Say(std::string_view until) {
    if (until.size() <= said_) return;
    const std::string piece = RepairUtf8(until.substr(said_));
    said_ = until.size();
    written_.text += piece;
    if (listener_) listener_(number_, piece);
  }

  const WritingOptions& options_;
  const TextListener& listener_;
  int64_t number_;
  Text text_;
  Sampler sampler_;
  int32_t last_ = -1;
  size_t said_ = 0;  // bytes
  WrittenText written_;
};

void CheckWriting(const Decoder& decoder, std::span<const std::vector<int32_t>> prompts,
                  const WritingOptions& options) {
  CheckSampling(options.sampling);
  for (const std::string& stop : options.stops)
    if (stop.empty()) throw Error("an empty stop string would end every text at once");
  const int64_t room = decoder.options().positions;
  for (const std::vector<int32_t>& prompt : prompts) {
    if (prompt.empty())
      throw Error(
          "the prompt is empty, and the tokenizer puts no token before texts: say something");
    if (std::ssize(prompt) > room)
      throw Error(
          room < decoder.config().max_positions
              ? fmt::format("the prompt has {} tokens, there is room for {}", prompt.size(), room)
              : fmt::format("the prompt has {} tokens, the model {} positions", prompt.size(),
                            room));
    CheckPromptIds(prompt, decoder.config());
  }
}

// Makes the sequence a beginning of `prompt` that leaves at least one token to read; returns that.
std::span<const int32_t> Unread(Decoder& decoder, int64_t sequence,
                                std::span<const int32_t> prompt) {
  const std::span<const int32_t> known = decoder.Ids(sequence);
  const auto same =
      std::mismatch(known.begin(), known.end(), prompt.begin(), prompt.end()).first - known.begin();
  const int64_t kept = decoder.CanShorten(sequence, std::min(same, std::ssize(prompt) - 1))
                           ? std::min(same, std::ssize(prompt) - 1)
                           : 0;
  decoder.Shorten(sequence, kept);
  return prompt.subspan(static_cast<size_t>(kept));
}

}  // namespace

std::string_view TextEndName(TextEnd end) {
  switch (end) {
    case TextEnd::kTokens:
      return "tokens";
    case TextEnd::kEos:
      return "eos";
    case TextEnd::kStop:
      return "stop";
    case TextEnd::kContext:
      break;
  }
  return "context";
}

std::vector<WrittenText> WriteTexts(Decoder& decoder, const Tokenizer& tokenizer,
                                    std::span<const std::vector<int32_t>> prompts,
                                    const WritingOptions& options, const TextListener& listener,
                                    const std::function<void()>& poll) {
  CheckWriting(decoder, prompts, options);
  std::vector<WrittenText> written(prompts.size());
  const auto slots = static_cast<size_t>(decoder.options().sequences);
  std::vector<std::optional<Writing>> writings(slots);
  std::vector<NewTokens> tokens;
  int64_t next = 0;
  if (options.tokens <= 0) return written;
  for (;;) {
    tokens.clear();
    for (size_t slot = 0; slot < slots; ++slot) {
      const auto sequence = static_cast<int64_t>(slot);
      if (writings[slot]) {
        tokens.push_back({sequence, writings[slot]->last(), 1});
      } else if (next < std::ssize(prompts)) {
        const std::span<const int32_t> prompt = prompts[static_cast<size_t>(next)];
        writings[slot].emplace(decoder, tokenizer, prompt, next, options, listener);
        tokens.push_back({sequence, Unread(decoder, sequence, prompt), 1});
        ++next;
      }
    }
    if (tokens.empty()) return written;
    if (poll) poll();
    decoder.Read(tokens);
    for (int64_t i = 0; i < std::ssize(tokens); ++i) {
      const int64_t sequence = tokens[static_cast<size_t>(i)].sequence;
      std::optional<Writing>& writing = writings[static_cast<size_t>(sequence)];
      const int64_t room = decoder.options().positions - decoder.Length(sequence);
      if (!writing->Take(decoder.Logits(i), decoder.config(), room)) continue;
      written[static_cast<size_t>(writing->number())] = writing->Finish();
      writing.reset();
    }
  }
}

}  // namespace puzzle::decode
