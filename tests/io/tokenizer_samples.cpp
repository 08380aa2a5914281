#include "tests/io/tokenizer_samples.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <tuple>
#include <utility>

#include "io/sentencepiece_model.h"
#include "io/split_patterns.h"
#include "io/utf8.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

void AppendUtf8(uint32_t code, std::string& out) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xE0 | code >> 12);
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
    }
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

std::string InAlphabet(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    uint32_t code = byte;
    const auto itself = [](uint32_t b) {
      return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    };
    if (!itself(byte)) {
      code = 0x100;
      for (uint32_t b = 0; b < byte; ++b) code += itself(b) ? 0 : 1;
    }
    AppendUtf8(code, text);
  }
  return text;
}

Json Added(int32_t id, const std::string& text, bool special = true, bool normalized = false) {
  return {{"id", id},        {"content", text},          {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", normalized}, {"special", special}};
}

Json ByteLevel(bool prefix, bool regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix},
          {"trim_offsets", true},
          {"use_regex", regex}};
}

/// `inverts`: as converters from tiktoken write it.
Json SplitBy(std::string_view pattern, bool inverts = false) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", inverts ? "Removed" : "Isolated"},
          {"invert", inverts}};
}

Json Sequence(const std::vector<Json>& parts) {
  return {{"type", "Sequence"}, {"pretokenizers", parts}};
}

Json TokenizerJson(Json added, Json normalizer, Json pre_tokenizer, Json decoder, Json model) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", std::move(pre_tokenizer)},
          {"post_processor", nullptr},
          {"decoder", std::move(decoder)},
          {"model", std::move(model)}};
}

Json BpeJson(Json vocab, Json merges, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", ignore_merges},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

Json Gpt2Model() {
  Json merges = Json::array();
  std::istringstream lines(ReadBytes(DataPath("tokenizers/gpt2/merges.txt")));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) merges.push_back(line);
  }
  return BpeJson(Json::parse(ReadBytes(DataPath("tokenizers/gpt2/vocab.json"))), std::move(merges),
                 false);
}

std::string FromBase64(const std::string& text) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(alphabet.find(c));
    if ((n_bits += 6) < 8) continue;
    n_bits -= 8;
    bytes += static_cast<char>(bits >> n_bits & 0xFF);
  }
  return bytes;
}

/// Every way to make a token out of two, ordered by the token made, then by its parts.
template <typename Rank>
Json MergesOf(const std::map<std::string, Rank>& ranks, size_t step_at_least) {
  std::vector<std::tuple<Rank, Rank, Rank, std::string, std::string>> all;
  for (const auto& [token, rank] : ranks) {
    for (size_t cut = 1; cut < token.size(); ++cut) {
      if (step_at_least > 1 && Utf8Length(std::string_view(token).substr(cut)) == 0) continue;
      const auto left = ranks.find(token.substr(0, cut));
      const auto right = ranks.find(token.substr(cut));
      if (left == ranks.end() || right == ranks.end()) continue;
      all.emplace_back(rank, left->second, right->second, left->first, right->first);
    }
  }
  std::sort(all.begin(), all.end());
  Json merges = Json::array();
  for (const auto& [rank, left_rank, right_rank, left, right] : all) {
    merges.push_back(step_at_least > 1 ? Json::array({left, right})
                                       : Json::array({InAlphabet(left), InAlphabet(right)}));
  }
  return merges;
}

Json Llama3() {
  std::map<std::string, int32_t> ranks;
  std::istringstream lines(ReadBytes(DataPath("tokenizers/llama3/tokenizer.model")));
  std::string base64;
  for (int32_t rank = 0; lines >> base64 >> rank;) ranks.emplace(FromBase64(base64), rank);
  std::vector<std::string> by_rank(ranks.size());
  for (const auto& [token, rank] : ranks) by_rank[static_cast<size_t>(rank)] = token;
  Json vocab = Json::object();
  auto& members = vocab.get_ref<Json::object_t&>();  // no search for an earlier one of that name
  for (size_t i = 0; i < by_rank.size(); ++i) members.emplace_back(InAlphabet(by_rank[i]), i);
  Json added = Json::array({Added(128000, "<|begin_of_text|>"), Added(128001, "<|end_of_text|>"),
                            Added(128002, "<|eot_id|>")});
  return TokenizerJson(
      std::move(added), nullptr, Sequence({SplitBy(kLlama3Pattern), ByteLevel(false, false)}),
      ByteLevel(true, true), BpeJson(std::move(vocab), MergesOf(ranks, 1), /*ignore_merges=*/true));
}

/// Letters with case, as DeepSeek-LLM's file lists them.
constexpr const char* kDeepSeekLetters =
    "\\s?["
    "A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293"
    "\u0295-\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C"
    "\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5"
    "\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77"
    "\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59"
    "\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC"
    "\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107"
    "\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139"
    "\u213C-\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE"
    "\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E"
    "\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A"
    "\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-\U000104FB\U00010C80-\U00010CB2"
    "\U00010CC0-\U00010CF2\U000118A0-\U000118DF\U0001E900-\U0001E943"
    "]+";

/// The vocabulary of Llama 2; `like_gemma`: with the rules of Gemma.
Json Llama2(bool like_gemma = false) {
  const SentencePieceModel model =
      ParseSentencePieceModel(ReadBytes(DataPath("tokenizers/llama2/tokenizer.model")));
  std::map<std::string, int32_t> ranks;
  Json vocab = Json::object();
  auto& members = vocab.get_ref<Json::object_t&>();
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    members.emplace_back(model.pieces[i].text, i);
    if (model.pieces[i].type == PieceType::kNormal) {
      ranks.emplace(model.pieces[i].text, static_cast<int32_t>(-model.pieces[i].score));
    }
  }
  Json bpe = BpeJson(std::move(vocab), MergesOf(ranks, 2), /*ignore_merges=*/false);
  bpe["unk_token"] = "<unk>";
  bpe["fuse_unk"] = true;
  bpe["byte_fallback"] = true;
  const Json normalizer = {
      {"type", "Sequence"},
      {"normalizers",
       Json::array(
           {{{"type", "Prepend"}, {"prepend", "\u2581"}},
            {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}})}};
  const Json decoder = {
      {"type", "Sequence"},
      {"decoders",
       Json::array({{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                    {{"type", "ByteFallback"}},
                    {{"type", "Fuse"}},
                    {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}})}};
  const Json added = Json::array({Added(0, "<unk>"), Added(1, "<s>"), Added(2, "</s>")});
  if (!like_gemma) return TokenizerJson(added, normalizer, nullptr, decoder, std::move(bpe));
  Json plain_decoder = decoder;
  plain_decoder["decoders"].erase(3);
  const Json split = {{"type", "Split"},
                      {"pattern", {{"String", " "}}},
                      {"behavior", "MergedWithPrevious"},
                      {"invert", false}};
  return TokenizerJson(added, normalizer["normalizers"][1], split, plain_decoder, std::move(bpe));
}

/// Numbers that are the same everywhere (Knuth's linear congruence).
class RandomTexts {
 public:
  uint32_t Below(uint32_t limit) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>((state_ >> 33) % limit);
  }

 private:
  uint64_t state_ = 20261122;
};

/// Ranges of code points, with no letter younger than Unicode 12: what is a letter depends on the
/// engine's age.
constexpr std::pair<uint32_t, uint32_t> kRanges[] = {
    {0x21, 0x7E},     {0xA0, 0x24F},    {0x250, 0x36F},     {0x370, 0x52F},     {0x590, 0x6FF},
    {0x900, 0x97F},   {0xE00, 0xE7F},   {0x1100, 0x11FF},   {0x1E00, 0x1FFE},   {0x2000, 0x206F},
    {0x2070, 0x218B}, {0x2190, 0x23FF}, {0x2460, 0x24FF},   {0x2C60, 0x2DFF},   {0x3000, 0x30FF},
    {0x3130, 0x318F}, {0x4E00, 0x9FFC}, {0xA640, 0xA6EF},   {0xAC00, 0xD7A3},   {0xE000, 0xE0FF},
    {0xFB00, 0xFDCF}, {0xFE00, 0xFEFF}, {0x10000, 0x100FA}, {0x1D400, 0x1D7FF}, {0x1F000, 0x1F9FF},
};

constexpr const char* kScraps[] = {
    "the",
    "The",
    "THE",
    "of",
    "and",
    "isn't",
    "I'll",
    "we've",
    "You'RE",
    "o'clock",
    "unbelievable",
    "tokenization",
    "Straße",
    "naïve",
    "cafe\u0301",
    "résumé",
    "Übermut",
    "здравствуйте",
    "Привет",
    "γειά",
    "こんにちは",
    "世界",
    "漢字",
    "안녕하세요",
    "مرحبا",
    "שלום",
    "नमस्ते",
    "สวัสดี",
    "def f(x):\n    return x ** 2\n",
    "int main() { return 0; }",
    "x += y[i++];",
    "</div>",
    "<a href=\"http://example.org/?q=1&r=2\">",
    "{\"key\": [1, 2.5e-3, null]}",
    "#include <map>",
    "\\n\\t",
    "--",
    "...",
    "?!",
    "(((",
    "====",
    "'s",
    "'S",
    "'lL",
    "3.14159",
    "1,000,000",
    "2026-11-22",
    "²³¼Ⅷ",
    "👩‍👩‍👧‍👦",
    "🇺🇳",
    "❤️",
    "A\u030A",
    "\u1112\u1161\u11AB",
    "q\u0307\u0323",
    "\u0340",
    "�",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
    "<unk>",
    "<0x0A>",
};

constexpr const char* kBlanks[] = {" ",      " ",       " ",      " ",      "  ",     "    ",
                                   "\n",     "\n\n",    "\t",     "\r\n",   "\r",     " \n ",
                                   "\n  ",   "\t\t \n", "\u00A0", "\u3000", "\u2003", "\u0085",
                                   "\u2028", "\u200B",  "\v\f"};

}  // namespace

std::string MixedText(size_t bytes) {
  RandomTexts random;
  std::string text;
  while (text.size() < bytes) {
    const uint32_t choice = random.Below(100);
    if (choice < 55) {
      text += kScraps[random.Below(std::size(kScraps))];
    } else if (choice < 70) {
      for (uint32_t n = 1 + random.Below(9); n > 0; --n) {
        text += static_cast<char>('a' + random.Below(26));
      }
    } else if (choice < 77) {
      for (uint32_t n = 1 + random.Below(9); n > 0; --n) {
        text += static_cast<char>('0' + random.Below(10));
      }
    } else if (choice < 97) {
      const auto [first, last] = kRanges[random.Below(std::size(kRanges))];
      for (uint32_t n = 1 + random.Below(6); n > 0; --n) {
        AppendUtf8(first + random.Below(last - first + 1), text);
      }
    } else {  // one character many times
      const std::string once = kBlanks[random.Below(std::size(kBlanks))];
      const char letter = static_cast<char>('!' + random.Below(94));
      for (uint32_t n = random.Below(200); n > 0; --n) {
        if (choice == 97) {
          text += once;
        } else {
          text += letter;
        }
      }
    }
    if (random.Below(4) > 0) text += kBlanks[random.Below(std::size(kBlanks))];
  }
  return text;
}

std::vector<TokenizerSample> TokenizerSamples() {
  const Json gpt2 = Gpt2Model();
  const Json end_of_text = Json::array({Added(50256, "<|endoftext|>", true, true)});
  const Json nfc = {{"type", "NFC"}};
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  Json smollm_added = end_of_text;
  smollm_added.push_back(Added(50257, "</div>", /*special=*/false));
  smollm_added.back()["lstrip"] = true;
  smollm_added.push_back(Added(1169, "the", /*special=*/false));
  smollm_added.back()["single_word"] = true;
  smollm_added.back()["rstrip"] = true;
  const auto by_gpt2 = [&](const std::vector<Json>& pre_tokenizers) {
    return TokenizerJson(end_of_text, nullptr, Sequence(pre_tokenizers), ByteLevel(true, true),
                         gpt2)
        .dump();
  };
  return {
      {"gpt2",
       TokenizerJson(end_of_text, nullptr, ByteLevel(false, true), ByteLevel(true, true), gpt2)
           .dump()},
      {"llama3", Llama3().dump()},
      {"qwen2",
       TokenizerJson(end_of_text, nfc, Sequence({SplitBy(kQwen2Pattern), ByteLevel(false, false)}),
                     ByteLevel(true, true), gpt2)
           .dump()},
      {"llama2", Llama2().dump()},
      {"smollm", TokenizerJson(smollm_added, nullptr, Sequence({digits, ByteLevel(false, true)}),
                               ByteLevel(true, true), gpt2)
                     .dump()},
      {"tekken", by_gpt2({SplitBy(kTekkenPattern), ByteLevel(false, false)})},
      {"o200k", by_gpt2({SplitBy(kO200kPattern, /*inverts=*/true), ByteLevel(false, false)})},
      {"deepseek_v3", by_gpt2({SplitBy("\\p{N}{1,3}"), SplitBy(kCjkPattern),
                               SplitBy(kDeepSeekV3Pattern), ByteLevel(false, false)})},
      {"deepseek_llm",
       by_gpt2({SplitBy("[\r\n]"), SplitBy(kDeepSeekLetters),
                SplitBy("\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+"),
                SplitBy("\\s+$"), SplitBy("[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"), digits,
                ByteLevel(false, false)})},
      {"deepseek_coder", by_gpt2({SplitBy("[\r\n]"), SplitBy("\\s?\\p{L}+"), SplitBy("\\s?\\p{P}+"),
                                  SplitBy("[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"), digits,
                                  ByteLevel(false, false)})},
      {"falcon", by_gpt2({{{"type", "Punctuation"}, {"behavior", "Contiguous"}},
                          ByteLevel(false, true),
                          {{"type", "Digits"}, {"individual_digits", false}},
                          SplitBy("[0-9][0-9][0-9]")})},
      {"gemma", Llama2(/*like_gemma=*/true).dump()},
  };
}

}  // namespace puzzle
