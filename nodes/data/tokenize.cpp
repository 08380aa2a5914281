#include "nodes/data/tokenize.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "io/utf8.h"

namespace puzzle {

namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{4} << 30;

std::string_view Strip(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::shared_ptr<const Tokenizer> ChooseTokenizer(const TokenizeParams& params,
                                                 const Inputs& inputs) {
  if (params.tokenizer == "byte") return MakeByteTokenizer();
  if (!inputs.Has("model"))
    throw Error("tokenizer \"model\" needs the port `model`; use \"byte\" without a model");
  const auto model = inputs.Get<Checkpoint>("model");
  if (model->tokenizer_files.empty()) throw Error("the model brought no tokenizer");
  return MakeTokenizer(model->tokenizer_files);
}

}  // namespace

TokenSet PackTokens(std::string_view text, const Tokenizer& tokenizer, const PackOptions& options) {
  TokenSet set;
  set.length = options.length;
  set.vocab_size = tokenizer.vocab_size();
  set.tokenizer_files = tokenizer.files();
  const auto wanted = static_cast<size_t>(options.sequences * options.length);
  while (!text.empty()) {
    const size_t end =
        options.separator.empty() ? std::string_view::npos : text.find(options.separator);
    const std::string_view document = Strip(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{}
                                         : text.substr(end + options.separator.size());
    if (document.empty()) continue;
    const bool is_first = set.ids.empty();
    if (tokenizer.leading_id() >= 0) {
      set.ids.push_back(tokenizer.leading_id());
    } else if (!is_first && tokenizer.eos_id() >= 0) {
      set.ids.push_back(tokenizer.eos_id());
    }
    const std::vector<int32_t> ids = tokenizer.Encode(document);
    set.ids.insert(set.ids.end(), ids.begin(), ids.end());
    if (wanted > 0 && !options.from_end && set.ids.size() >= wanted) break;
  }
  if (options.short_is_whole && set.ids.size() > 1)
    set.length = std::min(set.length, static_cast<int64_t>(set.ids.size()));
  const int64_t found = static_cast<int64_t>(set.ids.size()) / set.length;
  if (found == 0 || found < options.sequences)
    throw Error(fmt::format("the text has {} tokens: {} sequences of {}, {} needed", set.ids.size(),
                            found, set.length, std::max<int64_t>(1, options.sequences)));
  const size_t kept = wanted > 0 ? wanted : static_cast<size_t>(found * set.length);
  if (options.from_end)
    set.ids.erase(set.ids.begin(), set.ids.end() - static_cast<ptrdiff_t>(kept));
  set.ids.resize(kept);
  return set;
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

TokenSet RunTokenize(const TokenizeParams& params, const Inputs& inputs, RunContext&) {
  if (params.text.empty() != inputs.Has("text"))
    throw Error("give either the parameter `text` (a file) or the port `text`, not both or none");
  const auto tokenizer = ChooseTokenizer(params, inputs);
  const PackOptions options{params.separator, params.length, params.sequences,
                            params.take == "last"};
  if (!params.text.empty())
    return PackTokens(ReadTextFile(params.text, kMaxTextBytes), *tokenizer, options);
  return PackTokens(inputs.Get<TextArtifact>("text")->text, *tokenizer, options);
}

}  // namespace puzzle
