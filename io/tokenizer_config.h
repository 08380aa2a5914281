// What the files beside a tokenizer say: special tokens, added tokens, BOS. Part of the tokenizers;
// thread-safe. Files are given as name -> bytes; one that is absent says nothing, one that is
// malformed is an Error that names it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/added_tokens.h"
#include "io/json_text.h"

namespace puzzle {

using TokenizerFiles = std::map<std::string, std::string>;

inline constexpr const char* kTokenizerConfigFile = "tokenizer_config.json";

/// One of the files, an object; {} when it is absent.
[[nodiscard]] JsonText ParseTokenizerFile(const TokenizerFiles& files, const char* name);

/// A member of an object; nullptr when it is absent or null, or `object` is none.
[[nodiscard]] const nlohmann::ordered_json* FindMember(const nlohmann::ordered_json& object,
                                                       const char* name);

/// The texts that tokenizer_config.json, else special_tokens_map.json, gives bos_token and
/// eos_token; what neither names stays as it is.
void ReadSpecialTokens(const TokenizerFiles& files, std::string& bos, std::string& eos);

/// `add_bos_token` of tokenizer_config.json; nullopt where it says nothing.
[[nodiscard]] std::optional<bool> ReadAddBosToken(const TokenizerFiles& files);
/// Another flag of tokenizer_config.json.
[[nodiscard]] std::optional<bool> ReadConfigFlag(const TokenizerFiles& files, const char* name);
/// A text of tokenizer_config.json; empty where it says nothing.
[[nodiscard]] std::string ReadConfigText(const TokenizerFiles& files, const char* name);

/// The tokens of `added_tokens_decoder` in tokenizer_config.json, and of added_tokens.json.
[[nodiscard]] std::vector<AddedToken> ReadTokensBeside(const TokenizerFiles& files);
/// The texts that tokenizer_config.json and special_tokens_map.json give a special role.
[[nodiscard]] std::vector<std::string> ReadSpecialTexts(const TokenizerFiles& files);

}  // namespace puzzle
