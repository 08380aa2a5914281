#include "nodes/precision/mixture.h"

#include <fmt/format.h>

#include "io/error.h"
#include "nodes/precision/artifacts.h"

namespace puzzle {

namespace {

// Whether `said`, the part of PART=TYPE, means a part of the model: "layer 3 attn".
bool Means(const std::string& said, const std::string& part) {
  if (said == part) return part == kEmbeddingPart || part == kHeadPart;
  const size_t colon = said.find(':');
  const std::string which = said.substr(0, colon);
  if (which != "attn" && which != "ffn") return false;
  if (colon == std::string::npos) return part.ends_with(" " + which);
  return part == fmt::format("layer {} {}", said.substr(colon + 1), which);
}

}  // namespace

StoredTypes MixtureOf(const std::vector<std::string>& said, const ModelConfig& config) {
  StoredTypes types;
  for (const std::string& own : said) {
    const size_t equals = own.find('=');
    if (equals == std::string::npos)
      throw Error(fmt::format("\"{}\": expected PART=TYPE, such as ffn=q4_0 or attn:3=q8_0", own));
    const std::string wanted = own.substr(0, equals);
    const GgmlType& type = StoredTypeNamed(own.substr(equals + 1));
    bool is_there = false;
    for (const ModelPart& part : StoredParts(config)) {
      if (!Means(wanted, part.name)) continue;
      types[part.name] = &type;
      is_there = true;
    }
    if (is_there) continue;
    if (wanted == kHeadPart && config.tied_embeddings)
      throw Error("the head is the embedding, which is stored once: give a type to embed");
    throw Error(fmt::format(
        "\"{}\": the model has no matrices in \"{}\"; parts are embed, {}attn and ffn, and attn:0 "
        "to ffn:{} where a layer has them",
        own, wanted, config.tied_embeddings ? "" : "head, ", config.n_layers() - 1));
  }
  return types;
}

}  // namespace puzzle
