#include "nodes/data/tokenize.h"

#include <fmt/format.h>

#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"

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
  const int64_t found = static_cast<int64_t>(set.ids.size()) / options.length;
  if (found == 0 || found < options.sequences)
    throw Error(fmt::format("the text has {} tokens: {} sequences of {}, {} needed", set.ids.size(),
                            found, options.length, std::max<int64_t>(1, options.sequences)));
  const size_t kept = wanted > 0 ? wanted : static_cast<size_t>(found * options.length);
  if (options.from_end)
    set.ids.erase(set.ids.begin(), set.ids.end() - static_cast<ptrdiff_t>(kept));
  set.ids.resize(kept);
  return set;
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
