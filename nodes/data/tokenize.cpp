#include "nodes/data/tokenize.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "io/chat_template.h"
#include "io/error.h"
#include "io/tokenizer.h"
#include "io/utf8.h"
#include "model/unread.h"

namespace puzzle {

namespace {

constexpr uint64_t kBatchBytes = 1 << 20;  // of documents that are encoded at a time
constexpr size_t kMaxThreads = 8;

std::shared_ptr<const Tokenizer> ChooseTokenizer(const TokenizeParams& params,
                                                 const Inputs& inputs) {
  if (params.tokenizer == "byte") return MakeByteTokenizer();
  const auto model = inputs.Get<Checkpoint>("model");
  if (model->tokenizer_files.empty()) throw Error("the model brought no tokenizer");
  return MakeTokenizer(model->tokenizer_files);
}

/// The user's checkpoint whose embedding a model has, and with it most likely the tokenizer; ""
/// when there is none.
std::string CheckpointOf(const Checkpoint& model) {
  const auto source = SourceOf(model.model.embedding);
  return source != nullptr && source->place() != nullptr ? source->place()->checkpoint : "";
}

/// Calls `work(i)` for every i below `count` on several threads; throws the failure of the smallest
/// i, so that the same input always gets the same complaint.
void InParallel(size_t count, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  size_t failed = count;
  std::mutex mutex;
  const auto run = [&] {
    for (size_t i; (i = next++) < count;) {
      try {
        work(i);
      } catch (...) {
        const std::scoped_lock lock(mutex);
        if (i < failed) {
          failed = i;
          failure = std::current_exception();
        }
        next = count;  // every smaller one has begun
      }
    }
  };
  const size_t threads =
      std::min({count, kMaxThreads, std::max<size_t>(1, std::thread::hardware_concurrency())});
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < threads; ++i) others.emplace_back(run);
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

/// Documents as ids.
class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, const std::string& checkpoint)
      : tokenizer_(tokenizer), checkpoint_(checkpoint) {}

  /// What the conversations among `documents` need is made before threads use it.
  void Prepare(const std::vector<Document>& documents) {
    for (const Document& document : documents) {
      if (document.messages.empty() || chat_) continue;
      try {
        chat_ = FindChatTemplate(tokenizer_.files(), checkpoint_);
        if (!chat_) throw Error("a conversation, but the tokenizer has no chat template");
      } catch (const Error& e) {
        throw WithContext(document.where, e);
      }
    }
  }

  [[nodiscard]] ChatIds Encode(const Document& document) const {
    if (document.messages.empty()) return {tokenizer_.Encode(document.text), {}};
    try {
      return EncodeChat(tokenizer_, chat_->Render(document.messages, /*asks=*/false));
    } catch (const Error& e) {
      throw WithContext(document.where, e);
    }
  }

 private:
  const Tokenizer& tokenizer_;
  const std::string& checkpoint_;
  std::optional<ChatTemplate> chat_;
};

std::vector<Document> TakeBatch(DocumentReader& documents) {
  std::vector<Document> batch;
  for (uint64_t bytes = 0; bytes < kBatchBytes; bytes += batch.back().bytes) {
    auto document = documents.Next();
    if (!document) break;
    batch.push_back(std::move(*document));
  }
  return batch;
}

/// Ids with answers marked make a mask; of plain text, before them or behind, all is learned from.
void Append(const ChatIds& encoded, TokenSet& set) {
  if (!encoded.is_answer.empty()) {
    set.mask.resize(set.ids.size(), 1);
    set.mask.insert(set.mask.end(), encoded.is_answer.begin(), encoded.is_answer.end());
  }
  set.ids.insert(set.ids.end(), encoded.ids.begin(), encoded.ids.end());
  if (!set.mask.empty()) set.mask.resize(set.ids.size(), 1);
}

/// Leaves whole sequences, those that are wanted.
void Cut(const PackOptions& options, TokenSet& set) {
  if (options.short_is_whole && set.ids.size() > 1)
    set.length = std::min(set.length, static_cast<int64_t>(set.ids.size()));
  const int64_t found = static_cast<int64_t>(set.ids.size()) / set.length;
  if (found == 0 || found < options.sequences)
    throw Error(fmt::format("the text has {} tokens: {} sequences of {}, {} needed", set.ids.size(),
                            found, set.length, std::max<int64_t>(1, options.sequences)));
  const int64_t sequences = options.sequences > 0 ? options.sequences : found;
  const auto kept = static_cast<size_t>(sequences * set.length);
  const auto keep = [&](auto& values) {
    if (values.empty()) return;
    if (options.from_end) values.erase(values.begin(), values.end() - static_cast<ptrdiff_t>(kept));
    values.resize(kept);
  };
  keep(set.ids);
  keep(set.mask);
}

/// What parts two texts where the tokenizer begins none itself: the separator, when it is one of
/// the tokenizer's special tokens (what models without BOS were trained with; the EOS of a tuned
/// one ends turns, not documents), else EOS, else a blank line.
std::vector<int32_t> IdsBetweenTexts(const Tokenizer& tokenizer, const std::string& separator) {
  std::vector<int32_t> ids = tokenizer.Encode(separator);
  if (ids.size() == 1 && tokenizer.Decode(ids).empty()) return ids;
  if (tokenizer.eos_id() >= 0) return {tokenizer.eos_id()};
  return tokenizer.Encode("\n\n");
}

}  // namespace

TokenSet PackDocuments(DocumentReader& documents, const Tokenizer& tokenizer,
                       const PackOptions& options, const std::function<void(double)>& poll) {
  TokenSet set;
  set.length = options.length;
  set.vocab_size = tokenizer.vocab_size();
  set.tokenizer_files = tokenizer.files();
  const auto wanted =
      options.from_end ? 0 : static_cast<size_t>(options.sequences * options.length);
  const auto enough = [&] { return wanted > 0 && set.ids.size() >= wanted; };
  Encoder encoder(tokenizer, options.checkpoint);
  const bool begins = tokenizer.leading_id() >= 0;
  const std::vector<int32_t> before =
      begins ? std::vector{tokenizer.leading_id()} : IdsBetweenTexts(tokenizer, options.separator);
  bool is_text_before = false;
  uint64_t done = 0;
  while (!enough()) {
    std::vector<Document> batch = TakeBatch(documents);
    if (batch.empty()) break;
    encoder.Prepare(batch);
    std::vector<ChatIds> encoded(batch.size());
    InParallel(batch.size(), [&](size_t i) {
      encoded[i] = encoder.Encode(batch[i]);
      batch[i].text = {};  // it may be all of a large file
    });
    for (size_t i = 0; i < batch.size() && !enough(); ++i) {
      const bool is_text = batch[i].messages.empty();  // a template begins and ends by itself
      if (is_text && (begins || (is_text_before && !set.ids.empty())))
        set.ids.insert(set.ids.end(), before.begin(), before.end());
      Append(std::exchange(encoded[i], {}), set);
      is_text_before = is_text;
      done += batch[i].bytes;
    }
    const double by_text =
        static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(1, documents.bytes()));
    const double by_ids =
        wanted > 0 ? static_cast<double>(set.ids.size()) / static_cast<double>(wanted) : 0.0;
    poll(std::min(1.0, std::max(by_text, by_ids)));
  }
  Cut(options, set);
  return set;
}

TokenSet PackTokens(std::string_view text, const Tokenizer& tokenizer, const PackOptions& options) {
  return PackDocuments(*ReadDocuments(text, options.separator), tokenizer, options, [](double) {});
}

void CheckSameLanguage(const std::map<std::string, std::string>& model,
                       const std::map<std::string, std::string>& parent) {
  if (model.empty() || parent.empty() || model == parent) return;
  // Files may differ in what does not matter here, so what counts is what ids mean.
  const auto a = MakeTokenizer(model), b = MakeTokenizer(parent);
  const auto common = static_cast<int32_t>(std::min(a->vocab_size(), b->vocab_size()));
  constexpr int32_t kLooks = 4096;
  int32_t looks = 0, differences = 0;
  std::string example;
  for (int32_t id = 0; id < common; id += std::max(1, common / kLooks)) {
    const int32_t one[] = {id};
    const std::string left = a->Decode(one), right = b->Decode(one);
    ++looks;
    if (left.empty() || right.empty() || left == right) continue;  // some show special tokens
    ++differences;
    if (example.empty())
      example = fmt::format("id {} is \"{}\" and \"{}\"", id, RepairUtf8(left), RepairUtf8(right));
  }
  if (differences * 50 > looks)
    throw Error("the model and its parent have different tokenizers: " + example);
}

TokenSet RunTokenize(const TokenizeParams& params, const Inputs& inputs, RunContext& context) {
  const auto tokenizer = ChooseTokenizer(params, inputs);
  PackOptions options{params.separator, params.length, params.sequences, params.take == "last"};
  if (params.tokenizer != "byte")
    options.checkpoint = CheckpointOf(*inputs.Get<Checkpoint>("model"));
  const auto poll = [&](double fraction) { context.Poll(fraction); };
  if (inputs.Has("text")) {
    const auto text = inputs.Get<TextArtifact>("text");
    return PackDocuments(*ReadDocuments(text->text, params.separator), *tokenizer, options, poll);
  }
  const auto paths = params.texts.empty() ? std::vector{params.text} : params.texts;
  return PackDocuments(*MixDocuments(paths, params.weights, params.separator), *tokenizer, options,
                       poll);
}

}  // namespace puzzle
