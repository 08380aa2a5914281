#include "nodes/data/artifacts.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "model/files/hf_config.h"
#include "model/pch.h"
#include "nodes/data/file_weights.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

namespace {

constexpr std::string_view kFilePrefix = "tokenizer/";
constexpr const char* kGenerationConfig = "generation_config";

// The names come from an artifact, perhaps somebody else's, and become files of an export: what
// leaves the folder, replaces weights or is a program does not pass.
bool IsTokenizerFile(const std::string& name) {
  constexpr std::string_view kEndings[] = {".json", ".model", ".txt", ".jinja", ".tiktoken"};
  return IsPlainFileName(name) && name != "config.json" && !name.ends_with(".index.json") &&
         std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

void WriteTokenizer(ArchiveWriter& out, const std::map<std::string, std::string>& files) {
  for (const auto& [name, bytes] : files) WriteText(out, std::string(kFilePrefix) + name, bytes);
}

std::map<std::string, std::string> ReadTokenizer(const ArchiveReader& in) {
  std::map<std::string, std::string> files;
  for (const std::string& name : in.ArrayNames()) {
    if (!name.starts_with(kFilePrefix)) continue;
    const std::string file = name.substr(kFilePrefix.size());
    if (!IsTokenizerFile(file))
      throw Error(fmt::format("\"{}\" is no name for a file of a tokenizer", file));
    files[file] = ReadText(in, name);
  }
  return files;
}

}  // namespace

void TextArtifact::Save(ArchiveWriter& out) const {
  out.SetAttribute("characters", text.size());
  WriteText(out, "text", text);
}

TextArtifact TextArtifact::Load(std::shared_ptr<const ArchiveReader> in) {
  return {ReadText(*in, "text")};
}

Tensor TokenSet::Batch(int64_t first, int64_t count) const {
  PUZZLE_CHECK(first >= 0 && first + count <= sequences(), "sequences out of range");
  return at::from_blob(const_cast<int32_t*>(ids.data()) + first * length, {count, length}, at::kInt)
      .to(at::kLong);
}

Tensor TokenSet::Rows(const std::vector<int64_t>& rows) const {
  std::vector<Tensor> batch;
  for (int64_t row : rows) batch.push_back(Batch(row, 1));
  return at::cat(batch);
}

Tensor TokenSet::Mask() const {
  if (mask.empty()) return {};
  return at::from_blob(const_cast<uint8_t*>(mask.data()), {sequences(), length}, at::kByte)
      .to(at::kBool);
}

void TokenSet::Save(ArchiveWriter& out) const {
  out.SetAttribute("sequences", sequences());
  out.SetAttribute("length", length);
  out.SetAttribute("vocab_size", vocab_size);
  out.Write("ids", {DType::kI32, {sequences(), length}, ids.data()});
  if (!mask.empty()) out.Write("mask", {DType::kU8, {sequences(), length}, mask.data()});
  WriteTokenizer(out, tokenizer_files);
}

TokenSet TokenSet::Load(std::shared_ptr<const ArchiveReader> in) {
  TokenSet tokens;
  tokens.length = in->Attribute("length");
  tokens.vocab_size = in->Attribute("vocab_size");
  const Shape stored = in->Info("ids").shape;
  if (tokens.length < 1 || stored.empty())
    throw Error(fmt::format("tokens: sequences of {} in ids of shape {}", tokens.length,
                            ShapeString(stored)));
  const Shape shape = {stored.front(), tokens.length};
  CheckArray(*in, "ids", DType::kI32, shape);
  tokens.ids.resize(static_cast<size_t>(NumElements(shape)));
  in->Read("ids", tokens.ids.data());
  if (in->HasArray("mask")) {  // absent in sets without conversations, and of earlier versions
    CheckArray(*in, "mask", DType::kU8, shape);
    tokens.mask.resize(tokens.ids.size());
    in->Read("mask", tokens.mask.data());
  }
  tokens.tokenizer_files = ReadTokenizer(*in);
  return tokens;
}

void Checkpoint::Save(ArchiveWriter& out) const {
  out.SetAttribute("config", json(ToHfJson(model.config)));
  out.SetAttribute("parameters",
                   CountBlockParameters(model.config) + CountNonBlockParameters(model.config));
  for (const auto& [name, value] : figures) out.SetAttribute("figure/" + name, value);
  ModelWeights handles = model;
  References references;
  for (const auto& [name, slot] : Slots(handles))
    if (!Refer(name, *slot, references)) WriteTensor(out, name, *slot);
  WriteReferences(references, out);
  WriteTokenizer(out, tokenizer_files);
  if (!generation_config.empty()) WriteText(out, kGenerationConfig, generation_config);
}

Checkpoint Checkpoint::Load(std::shared_ptr<const ArchiveReader> in) {
  Checkpoint checkpoint;
  checkpoint.model = Outline(ModelConfigFromJson(
      nlohmann::ordered_json::parse(in->Attribute("config").dump()), "checkpoint"));
  const ArchivedWeights weights(in);
  for (const auto& [name, slot] : Slots(checkpoint.model)) {
    Tensor found = weights.Find(name);
    if (found.sizes() != slot->sizes())
      throw Error(fmt::format("{} has shape {}, the config implies {}", name,
                              ShapeString(found.sizes().vec()), ShapeString(slot->sizes().vec())));
    *slot = std::move(found);
  }
  checkpoint.tokenizer_files = ReadTokenizer(*in);
  if (const auto names = in->ArrayNames();
      std::find(names.begin(), names.end(), kGenerationConfig) != names.end())
    checkpoint.generation_config = ReadText(*in, kGenerationConfig);
  constexpr std::string_view kFigure = "figure/";
  for (const std::string& name : in->AttributeNames())
    if (name.starts_with(kFigure))
      checkpoint.figures[name.substr(kFigure.size())] = in->Attribute(name);
  return checkpoint;
}

void ExportManifest::Save(ArchiveWriter& out) const {
  out.SetAttribute("folder", folder);
  out.SetAttribute("files", files);
}

ExportManifest ExportManifest::Load(std::shared_ptr<const ArchiveReader> in) {
  return {in->Attribute("folder"), in->Attribute("files").get<std::map<std::string, uint64_t>>()};
}

}  // namespace puzzle
