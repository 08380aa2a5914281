#include "model/files/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/staged_folder.h"
#include "io/tokenizer.h"
#include "model/families/family.h"
#include "model/files/checkpoint_config.h"
#include "model/files/fp8.h"
#include "model/files/head_padding.h"
#include "model/files/hf_config.h"
#include "model/files/matrix_rows.h"
#include "model/files/open_checkpoint.h"
#include "model/files/remote_code.h"
#include "model/files/stored_heads.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;
namespace fs = std::filesystem;

namespace {

// What a file holds under one name: a tensor of ours, or several that are stacked there.
struct Stored {
  std::vector<NamedSlot> parts;
  bool transposed = false;
};

// By name in the files of `family`. Where a family does not stack tensors, the order is that of the
// slots.
std::vector<std::pair<std::string, Stored>> StoredTensors(ModelWeights& model,
                                                          const Family& family) {
  std::vector<std::pair<std::string, Stored>> all;
  std::map<std::string, size_t> index;
  for (NamedSlot& slot : Slots(model)) {
    const StoredTensor place = StoredAs(family, slot.first);
    const auto [found, is_new] = index.emplace(place.name, all.size());
    if (is_new) all.push_back({place.name, {{}, place.transposed}});
    Stored& stored = all[found->second].second;
    PUZZLE_CHECK(stored.parts.size() == static_cast<size_t>(place.part), "parts out of order");
    stored.parts.push_back(std::move(slot));
  }
  return all;
}

Shape ShapeOf(const Stored& stored) {
  Shape shape = stored.parts.front().second->sizes().vec();
  for (size_t i = 1; i < stored.parts.size(); ++i) shape[0] += stored.parts[i].second->size(0);
  if (stored.transposed) std::reverse(shape.begin(), shape.end());
  return shape;
}

// A tensor's name in these files, which may leave out the prefix of the base model.
std::string NameInFile(const SafetensorsReader& reader, const std::string& name,
                       std::string_view base_prefix) {
  if (reader.Has(name)) return name;
  if (name.starts_with(base_prefix)) {
    const std::string bare = name.substr(base_prefix.size());
    if (reader.Has(bare)) return bare;
  }
  return {};
}

Tensor ReadWhole(const SafetensorsReader& reader, const std::string& name,
                 const ScaleBlock& block) {
  const std::vector<float> values = ReadScaledF32(reader, name, block);
  Tensor tensor = at::empty(reader.ShapeOf(name), at::kFloat);
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

// The files of a folder, for the tensors in them.
struct OpenFolder {
  SafetensorsReader reader;
  ScaleBlock block;
  std::string path;  // absolute
};

// A tensor of ours, or a part of one that is stacked with others.
class FolderTensor final : public TensorSource, public TensorSource::Rows {
 public:
  struct Part {
    std::string name;  // in the files
    bool transposed = false;
    int64_t first = 0, count = 0;  // rows of what the files hold, as we have it
    std::string twin;              // another name of the same values; "": there is none
  };
  FolderTensor(std::shared_ptr<const OpenFolder> folder, Part part, std::string name)
      : folder_(std::move(folder)),
        part_(std::move(part)),
        place_{folder_->path, std::move(name)},
        has_rows_(!part_.transposed && folder_->reader.ShapeOf(part_.name).size() == 2 &&
                  !IsFp8(folder_->reader, part_.name) && !IsFp8(folder_->reader, part_.twin)) {}

  Tensor Read() const override {
    const SafetensorsReader& reader = folder_->reader;
    if (has_rows_) {
      Tensor own = at::empty({part_.count, reader.ShapeOf(part_.name)[1]}, at::kFloat);
      ReadRows(0, {own.data_ptr<float>(), static_cast<size_t>(own.numel())});
      return own;
    }
    Tensor whole = ReadWhole(reader, part_.name, folder_->block);
    if (!part_.twin.empty() && !ReadWhole(reader, part_.twin, folder_->block).equal(whole))
      ThrowTwinDiffers();
    if (part_.transposed) whole = whole.t().contiguous();
    if (part_.count == whole.size(0)) return whole;
    return whole.narrow(0, part_.first, part_.count).clone();
  }
  const TensorSource::Rows* rows() const override { return has_rows_ ? this : nullptr; }
  void ReadRows(int64_t first, std::span<float> out) const override {
    const SafetensorsReader& reader = folder_->reader;
    reader.ReadRowsF32(part_.name, part_.first + first, out);
    if (part_.twin.empty()) return;
    std::vector<float> twins(out.size());
    reader.ReadRowsF32(part_.twin, part_.first + first, twins);
    if (!std::equal(twins.begin(), twins.end(), out.begin())) ThrowTwinDiffers();
  }
  // Twins are compared as values.
  bool ReadStored(int64_t first, int64_t count, DType type, void* out) const override {
    const SafetensorsReader& reader = folder_->reader;
    if (!part_.twin.empty() || reader.Info(part_.name).dtype != type) return false;
    reader.ReadStoredRows(part_.name, part_.first + first, count, out);
    return true;
  }
  const Place* place() const override { return &place_; }

 private:
  [[noreturn]] void ThrowTwinDiffers() const {
    throw Error(
        fmt::format("{}: {} differs from the embedding although tie_word_embeddings is true",
                    folder_->reader.FileOf(part_.twin), part_.twin));
  }

  std::shared_ptr<const OpenFolder> folder_;
  Part part_;
  Place place_;
  bool has_rows_;
};

void CheckShape(const SafetensorsReader& reader, const std::string& name, const Shape& shape) {
  const Shape& found = reader.ShapeOf(name);
  if (found != shape)
    throw Error(fmt::format("{}: tensor {} has shape {}, config.json implies {}",
                            reader.FileOf(name), name, ShapeString(found), ShapeString(shape)));
}

// `name` is that in the files.
void LeaveUnread(const Stored& stored, const std::shared_ptr<const OpenFolder>& folder,
                 const std::string& name, const std::string& twin) {
  int64_t first = 0;
  for (const auto& [own_name, slot] : stored.parts) {
    const Shape shape = slot->sizes().vec();
    *slot = Unread(
        shape,
        std::make_shared<FolderTensor>(
            folder, FolderTensor::Part{name, stored.transposed, first, shape[0], twin}, own_name));
    first += shape[0];
  }
}

Tensor ForFile(const Stored& stored) {
  std::vector<Tensor> parts;
  for (const auto& [name, slot] : stored.parts)
    parts.push_back(InMemory(*slot).detach().to(at::kCPU, at::kFloat));
  const Tensor whole = parts.size() == 1 ? parts.front() : at::cat(parts);
  return (stored.transposed ? whole.t() : whole).contiguous();
}

// A quantised matrix comes with scales or in another shape and type: name it as what it is.
void RefuseQuantised(const SafetensorsReader& reader, const std::string& name) {
  if (IsFp8Scale(reader, name)) return;
  for (const char* suffix : {".qweight", ".qzeros", ".scales", ".weight_scale", ".weight_scale_inv",
                             ".SCB", ".absmax", ".weight_packed"})
    if (name.ends_with(suffix))
      throw Error(fmt::format("{}: tensor {}: quantised checkpoints are not supported",
                              reader.FileOf(name), name));
}

constexpr const char* kConfigName = "config.json";
constexpr const char* kHeadName = "lm_head.weight";

[[noreturn]] void ThrowMissing(const SafetensorsReader& reader, const std::string& folder,
                               const std::string& name, std::string_view base_prefix) {
  std::string hint;
  if (const std::string shard = reader.Promised(name); !shard.empty())
    hint = fmt::format("; the index promises it in {}", shard);
  // What programs wrap models in stays in front of the names when they save the wrapper.
  const std::string bare = name.starts_with(base_prefix) ? name.substr(base_prefix.size()) : name;
  for (const std::string& found : reader.Names()) {
    if (!found.ends_with("." + bare)) continue;
    const std::string wanted = found.ends_with("." + name) ? name : bare;
    hint = fmt::format(
        "; there is {}: the model was saved from inside a wrapper, which leaves \"{}\" in front of "
        "the names. Save the model without it (merge_and_unload() for PEFT, .module for "
        "DataParallel, ._orig_mod for torch.compile)",
        found, found.substr(0, found.size() - wanted.size()));
    break;
  }
  throw Error(fmt::format("{}: tensor {} is missing{}", folder, name, hint));
}

// A tensor on its way into a file: by rows where the file has it as we do, else as a whole.
class StoredRows final : public RowsToWrite {
 public:
  // Refers to the model's slots.
  explicit StoredRows(Stored stored)
      : stored_(std::move(stored)),
        is_by_rows_(stored_.parts.size() == 1 && !stored_.transposed && HasRows(slot())) {}

  bool ReadStored(int64_t first, int64_t count, DType type, void* out) override {
    return is_by_rows_ && CopyStoredRows(slot(), first, count, type, out);
  }
  void ReadValues(int64_t first, int64_t count, float* out) override {
    if (is_by_rows_) return CopyRows(slot(), first, count, out);
    if (!whole_.defined()) whole_ = ForFile(stored_);
    const Tensor rows = whole_.narrow(0, first, count);
    std::copy_n(rows.data_ptr<float>(), rows.numel(), out);
    if (first + count == whole_.size(0)) whole_ = Tensor();  // the last ones
  }

 private:
  [[nodiscard]] const Tensor& slot() const { return *stored_.parts.front().second; }

  Stored stored_;
  bool is_by_rows_;
  Tensor whole_;
};

void WriteTensors(const std::string& folder, const ModelWeights& model, const Family& naming) {
  std::vector<TensorToWrite> tensors;
  ModelWeights handles = PadHeads(model);
  for (const auto& [name, stored] : StoredTensors(handles, naming))
    tensors.push_back({name, ShapeOf(stored), nullptr, model.config.stored_dtype,
                       std::make_shared<StoredRows>(stored)});
  WriteSafetensors(folder, tensors);
}

// What another model left in a folder, and readers would take for a part of the new one.
bool IsOfACheckpoint(const std::string& name) {
  const auto& tokenizer = TokenizerFileNames();
  return name == kConfigName || name == kGenerationConfigName || RemoteCode().contains(name) ||
         name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
         std::find(tokenizer.begin(), tokenizer.end(), name) != tokenizer.end();
}

}  // namespace

ModelWeights LoadCheckpoint(const std::string& path) {
  return ToDevice(OpenCheckpoint(path), "cpu");
}

std::vector<std::string> WeightFilesOf(const std::string& path) {
  if (IsGgufPath(path)) return GgufParts(path);
  const SafetensorsReader reader = SafetensorsReader::Open(path);
  std::set<std::string> files;
  for (const std::string& name : reader.Names()) files.insert(reader.FileOf(name));
  return {files.begin(), files.end()};
}

ModelWeights OpenCheckpoint(const std::string& folder) {
  if (IsGgufPath(folder)) return OpenGguf(folder);
  const ModelConfig config = ReadCheckpointConfig(folder);
  const JsonText json = ParseHfJson((fs::path(folder) / kConfigName).string());
  const ScaleBlock block = ReadScaleBlock(HfFields(json.value(), json.source()));
  const Family& family = NamingOf(json.value());
  ModelWeights model = Outline(StoredShape(config));
  const auto opened = std::make_shared<const OpenFolder>(OpenFolder{
      SafetensorsReader::Open(folder), block, fs::absolute(folder).lexically_normal().string()});
  const SafetensorsReader& reader = opened->reader;
  for (const std::string& name : reader.Names()) RefuseQuantised(reader, name);

  // Names first, so that a wrong folder is refused before anything large is read.
  std::vector<std::pair<std::string, Stored>> found = StoredTensors(model, family);
  std::set<std::string> used;
  for (auto& [name, stored] : found) {
    std::string in_file = NameInFile(reader, name, family.base_prefix);
    // Of two tensors that share their memory some programs keep the head.
    const bool is_embedding = stored.parts.front().second == &model.embedding;
    if (in_file.empty() && is_embedding && config.tied_embeddings && reader.Has(kHeadName))
      in_file = kHeadName;
    if (in_file.empty()) ThrowMissing(reader, folder, name, family.base_prefix);
    name = in_file;
    used.insert(name);
  }
  for (const std::string& name : reader.Names()) {
    const bool ignorable = IsIgnored(family, name) || IsFp8Scale(reader, name) ||
                           (name == kHeadName && config.tied_embeddings);
    if (!ignorable && !used.contains(name))
      throw Error(
          fmt::format("{}: tensor {} does not belong to the model that config.json describes",
                      reader.FileOf(name), name));
  }
  const bool has_twin =
      config.tied_embeddings && reader.Has(kHeadName) && !used.contains(kHeadName);
  if (has_twin) CheckShape(reader, kHeadName, {config.vocab_size, config.hidden_size});
  for (const auto& [name, stored] : found) {
    CheckShape(reader, name, ShapeOf(stored));
    const bool is_embedding = stored.parts.front().second == &model.embedding;
    LeaveUnread(stored, opened, name, has_twin && is_embedding ? kHeadName : "");
  }
  return CutPadding(model, config, folder);
}

std::map<std::string, uint64_t> SaveCheckpoint(
    const std::string& folder, const ModelWeights& model,
    const std::map<std::string, std::string>& extra_files) {
  return SaveCheckpoint(folder, model, extra_files, FolderJson(model.config));
}

std::map<std::string, uint64_t> SaveCheckpoint(
    const std::string& folder, const ModelWeights& model,
    const std::map<std::string, std::string>& extra_files, const nlohmann::ordered_json& config) {
  for (const auto& [name, unused] : extra_files) {
    if (!IsPlainFileName(name))
      throw Error(fmt::format("{}: \"{}\" is no name for a file in it", folder, name));
  }
  StagedFolder staged(folder);
  WriteTensors(staged.path(), model, NamingOf(config));
  std::map<std::string, std::string> texts = extra_files;
  texts[kConfigName] = config.dump(2) + "\n";
  if (config.contains("auto_map"))
    for (const auto& [name, text] : RemoteCode()) texts[name] = text;
  for (const auto& [name, bytes] : texts) {
    AtomicFile file((fs::path(staged.path()) / name).string());
    file.Append(bytes.data(), bytes.size());
    file.Commit();
  }
  std::map<std::string, uint64_t> written;
  for (const auto& entry : fs::directory_iterator(staged.path()))
    written[entry.path().filename().string()] = entry.file_size();
  staged.Commit(IsOfACheckpoint, kConfigName);
  return written;
}

}  // namespace puzzle
