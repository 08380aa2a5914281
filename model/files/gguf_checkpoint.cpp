#include "model/files/gguf_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>

#include "io/error.h"
#include "io/gguf.h"
#include "io/gguf_tokenizer.h"
#include "io/gguf_write.h"
#include "io/safetensors.h"
#include "model/files/gguf_config.h"
#include "model/files/gguf_form.h"
#include "model/files/gguf_rope.h"
#include "model/files/matrix_rows.h"
#include "model/files/open_checkpoint.h"
#include "model/files/zeros.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

namespace {

// What a file holds under one name: a tensor of ours, or several whose rows follow each other.
struct InGguf {
  std::string name;
  std::vector<std::pair<GgufPlace, Tensor*>> parts;
};

std::vector<InGguf> TensorsInGguf(ModelWeights& model) {
  std::vector<InGguf> all;
  std::map<std::string, size_t> index;
  for (const auto& [name, slot] : Slots(model)) {
    const GgufPlace place = GgufPlaceOf(model.config, name);
    const auto [found, is_new] = index.emplace(place.name, all.size());
    if (is_new) all.push_back({place.name, {}});
    InGguf& stored = all[found->second];
    PUZZLE_CHECK(stored.parts.size() == static_cast<size_t>(place.part), "parts out of order");
    stored.parts.emplace_back(place, slot);
  }
  return all;
}

Shape ShapeInGguf(const InGguf& stored) {
  Shape shape = stored.parts.front().second->sizes().vec();
  for (size_t i = 1; i < stored.parts.size(); ++i) shape[0] += stored.parts[i].second->size(0);
  return shape;
}

// llama.cpp rotates neighbours, the model halves of a head: row 2j + s of a head is s * half + j.
Tensor InHalves(const Tensor& rows, int64_t heads) {
  const int64_t half = rows.size(0) / heads / 2;
  Shape shape = {heads, half, 2};
  shape.insert(shape.end(), rows.sizes().begin() + 1, rows.sizes().end());
  return rows.view(shape).transpose(1, 2).reshape(rows.sizes());
}

// A tensor of ours, or a part of one that is stacked with others.
class GgufTensor final : public TensorSource, public TensorSource::Rows {
 public:
  struct Part {
    std::string name;              // in the file
    int64_t first = 0, count = 0;  // rows of it
    int64_t rotated = 0;           // heads whose rows are in llama.cpp's order
    bool is_plus_one = false;
  };
  GgufTensor(std::shared_ptr<const GgufReader> file, Part part, Place place)
      : file_(std::move(file)), part_(std::move(part)), place_(std::move(place)) {}

  Tensor Read() const override {
    Tensor whole = at::empty(file_->ShapeOf(part_.name), at::kFloat);
    file_->ReadF32(part_.name, {whole.data_ptr<float>(), static_cast<size_t>(whole.numel())});
    if (part_.count != whole.size(0)) whole = whole.narrow(0, part_.first, part_.count).clone();
    if (part_.rotated > 0) return InHalves(whole, part_.rotated);
    if (part_.is_plus_one) whole.sub_(1.0);
    return whole;
  }
  const TensorSource::Rows* rows() const override {
    return file_->ShapeOf(part_.name).size() == 2 && !part_.is_plus_one ? this : nullptr;
  }
  void ReadRows(int64_t first, std::span<float> out) const override {
    if (part_.rotated > 0) return ReadRotated(first, out);
    file_->ReadRowsF32(part_.name, part_.first + first, out);
  }
  const Place* place() const override { return &place_; }

 private:
  // What InHalves does, of some rows: those of whole heads are read.
  void ReadRotated(int64_t first, std::span<float> out) const {
    const auto columns = static_cast<size_t>(file_->ShapeOf(part_.name).back());
    const int64_t last = first + static_cast<int64_t>(out.size() / columns);
    const int64_t dim = part_.count / part_.rotated, half = dim / 2;
    const int64_t begin = first / dim * dim, end = (last + dim - 1) / dim * dim;
    std::vector<float> heads(static_cast<size_t>(end - begin) * columns);
    file_->ReadRowsF32(part_.name, part_.first + begin, heads);
    float* to = out.data();
    for (int64_t row = first; row < last; ++row, to += columns) {
      const int64_t head = row / dim * dim, own = row % dim;
      const auto from = static_cast<size_t>(head + own % half * 2 + own / half - begin);
      std::copy_n(heads.data() + from * columns, columns, to);
    }
  }

  std::shared_ptr<const GgufReader> file_;
  Part part_;
  Place place_;
};

Tensor Interleaved(const Tensor& rows, int64_t heads) {
  const int64_t half = rows.size(0) / heads / 2;
  Shape shape = {heads, 2, half};
  shape.insert(shape.end(), rows.sizes().begin() + 1, rows.sizes().end());
  return rows.reshape(shape).transpose(1, 2).reshape(rows.sizes());
}

// As the file holds it.
Tensor RowsFor(const InGguf& stored) {
  std::vector<Tensor> parts;
  for (const auto& [place, slot] : stored.parts) {
    const Tensor rows = InMemory(*slot).detach().to(at::kCPU, at::kFloat);
    parts.push_back(place.rotated > 0   ? Interleaved(rows, place.rotated)
                    : place.is_plus_one ? rows + 1.0
                                        : rows);
  }
  return (parts.size() == 1 ? parts.front() : at::cat(parts)).contiguous();
}

// A tensor on its way into a file: by rows where it is there as we have it, but for the order of
// rows in a head, else as a whole.
class RowsInGguf final : public RowsToWrite {
 public:
  // Refers to the model's slots.
  explicit RowsInGguf(const InGguf& stored)
      : stored_(stored),
        is_by_rows_(stored.parts.size() == 1 && !place().is_plus_one && HasRows(slot())) {}

  bool ReadStored(int64_t first, int64_t count, DType type, void* out) override {
    if (!is_by_rows_) return false;
    const size_t row_bytes = static_cast<size_t>(slot().size(1)) * ElementSize(type);
    return Gather(first, count, row_bytes, out, [&](int64_t own, int64_t rows, void* to) {
      return CopyStoredRows(slot(), own, rows, type, to);
    });
  }
  void ReadValues(int64_t first, int64_t count, float* out) override {
    if (!is_by_rows_) return ReadWhole(first, count, out);
    const size_t row_bytes = static_cast<size_t>(slot().size(1)) * sizeof(float);
    (void)Gather(first, count, row_bytes, out, [&](int64_t own, int64_t rows, void* to) {
      CopyRows(slot(), own, rows, static_cast<float*>(to));
      return true;
    });
  }

 private:
  [[nodiscard]] const GgufPlace& place() const { return stored_.parts.front().first; }
  [[nodiscard]] const Tensor& slot() const { return *stored_.parts.front().second; }
  void ReadWhole(int64_t first, int64_t count, float* out) {
    if (!whole_.defined()) whole_ = RowsFor(stored_);
    const Tensor rows = whole_.narrow(0, first, count);
    std::copy_n(rows.data_ptr<float>(), rows.numel(), out);
    if (first + count == whole_.size(0)) whole_ = Tensor();  // the last ones
  }
  // Puts rows [first, first + count) of the file to `out`; `copy` puts rows of ours that follow
  // each other. What Interleaved does: row 2j + side of a head is our row side * half + j, so that
  // every other row of a head is one run of ours.
  template <typename Copy>
  bool Gather(int64_t first, int64_t count, size_t row_bytes, void* out, Copy copy) {
    if (place().rotated == 0) return copy(first, count, out);
    const int64_t dim = slot().size(0) / place().rotated, half = dim / 2, last = first + count;
    for (int64_t row = first; row < last;) {
      const int64_t head = row / dim * dim, end = std::min(head + dim, last);
      for (int64_t side = 0; side < 2; ++side) {
        const int64_t begin_j = (row - head - side + 1) / 2, end_j = (end - head - side + 1) / 2;
        if (begin_j == end_j) continue;
        run_.resize(static_cast<size_t>(end_j - begin_j) * row_bytes);
        if (!copy(head + side * half + begin_j, end_j - begin_j, run_.data())) return false;
        const unsigned char* from = run_.data();
        for (int64_t j = begin_j; j < end_j; ++j, from += row_bytes) {
          const auto to = static_cast<size_t>(head + 2 * j + side - first);
          std::memcpy(static_cast<unsigned char*>(out) + to * row_bytes, from, row_bytes);
        }
      }
      row = end;
    }
    return true;
  }

  const InGguf& stored_;
  bool is_by_rows_;
  Tensor whole_;
  std::vector<unsigned char> run_;
};

// llama.cpp adds nothing behind a linear sub-block.
void RefuseLinearBias(const Tensor& bias, size_t layer, const char* what) {
  if (bias.defined() && InMemory(bias).count_nonzero().item<int64_t>() > 0)
    throw Error(
        fmt::format("cannot be written as GGUF: layer {}: the linear {} has a bias, which "
                    "llama.cpp does not add",
                    layer, what));
}

AttentionWeights AttentionFor(const ModelWeights& model, const GgufLayer& layer) {
  AttentionWeights made;
  if (layer.attention) {
    made = model.blocks[*layer.attention].attention;
    RefuseLinearBias(made.linear_bias, *layer.attention, "attention");
  } else if (layer.linear_ffn) {
    const FfnWeights& ffn = model.blocks[*layer.linear_ffn].ffn;
    RefuseLinearBias(ffn.linear_bias, *layer.linear_ffn, "FFN");
    made.norm = ffn.norm;
    made.linear = ffn.linear;
  }
  return made;
}

// Shares storage with `model`.
ModelWeights InForm(const ModelWeights& model, const GgufForm& form) {
  ModelWeights made = model;
  made.config = form.config;
  made.blocks.clear();
  for (size_t i = 0; i < form.layers.size(); ++i) {
    const GgufLayer& layer = form.layers[i];
    const BlockSpec& spec = form.config.blocks[i];
    SubBlockWeights attention = AttentionFor(model, layer);
    SubBlockWeights ffn = layer.ffn ? model.blocks[*layer.ffn].ffn : FfnWeights();
    FillWithZeros(attention, Outline(VariantSpec(spec.attention), form.config));
    FillWithZeros(ffn, Outline(VariantSpec(spec.ffn), form.config));
    made.blocks.push_back({std::get<AttentionWeights>(attention), std::get<FfnWeights>(ffn)});
  }
  return made;
}

// general.file_type of llama.cpp; nothing for types that it has no number for.
std::optional<int64_t> FileTypeOf(const GgmlType& type) {
  for (const auto& [name, number] : {std::pair<std::string_view, int64_t>{"F32", 0},
                                     {"F16", 1},
                                     {"Q4_0", 2},
                                     {"Q4_1", 3},
                                     {"Q8_0", 7},
                                     {"Q5_0", 8},
                                     {"Q5_1", 9},
                                     {"BF16", 32}})
    if (name == type.name) return number;
  return std::nullopt;
}

// Takes a key out; -1 when it is not there.
int64_t TakeId(GgufMetadata& metadata, std::string_view key) {
  const auto found = std::find_if(metadata.begin(), metadata.end(),
                                  [&](const auto& entry) { return entry.first == key; });
  if (found == metadata.end()) return -1;
  const int64_t id = std::get<int64_t>(found->second);
  metadata.erase(found);
  return id;
}

// Where texts end: as the model's config says, the tokenizer's own token first.
void AddTokenIds(const ModelConfig& config, GgufMetadata& metadata) {
  const int64_t tokenizers_bos = TakeId(metadata, "tokenizer.ggml.bos_token_id");
  const int64_t tokenizers_eos = TakeId(metadata, "tokenizer.ggml.eos_token_id");
  const int64_t bos = config.bos_id >= 0 ? config.bos_id : tokenizers_bos;
  if (bos >= 0) metadata.emplace_back("tokenizer.ggml.bos_token_id", bos);
  std::vector<int64_t> ends(config.eos_ids.begin(), config.eos_ids.end());
  if (tokenizers_eos >= 0) {
    std::erase(ends, tokenizers_eos);
    ends.insert(ends.begin(), tokenizers_eos);
  }
  constexpr const char* kEndKeys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                      "tokenizer.ggml.eom_token_id"};
  if (ends.size() > std::size(kEndKeys))
    throw Error(fmt::format("cannot be written as GGUF: {} ids end a text, it has keys for {}",
                            ends.size(), std::size(kEndKeys)));
  for (size_t i = 0; i < ends.size(); ++i) metadata.emplace_back(kEndKeys[i], ends[i]);
  if (config.pad_id >= 0)
    metadata.emplace_back("tokenizer.ggml.padding_token_id", int64_t{config.pad_id});
}

GgufMetadata MetadataOf(const GgufForm& form, const GgufOptions& options) {
  GgufMetadata metadata = GgufKeysOf(form);
  if (!options.name.empty()) metadata.emplace_back("general.name", options.name);
  if (const auto type = FileTypeOf(*options.type))
    metadata.emplace_back("general.file_type", *type);
  constexpr int64_t kQuantisation = 2;
  if (options.type->block_elements > 1 || !options.types.empty())
    metadata.emplace_back("general.quantization_version", kQuantisation);
  GgufMetadata tokenizer = TokenizerToGguf(options.tokenizer_files, form.config.vocab_size);
  AddTokenIds(form.config, tokenizer);
  std::move(tokenizer.begin(), tokenizer.end(), std::back_inserter(metadata));
  return metadata;
}

// The part of the model that a tensor of the file belongs to; "" for what is nobody's: the final
// norm, zeros that a layer is filled up with.
std::string PartInGguf(const std::string& name, const GgufForm& form) {
  if (name == "token_embd.weight") return kEmbeddingPart;
  if (name == "output.weight") return kHeadPart;
  constexpr std::string_view kBlocks = "blk.";
  if (!name.starts_with(kBlocks)) return "";
  const size_t index = std::stoull(name.substr(kBlocks.size()));
  const GgufLayer& layer = form.layers.at(index);
  const bool is_ffn = name.find(".ffn_") != std::string::npos;
  const std::optional<size_t>& own = is_ffn ? layer.ffn : layer.attention;
  if (own)
    return SubBlockPart(static_cast<int64_t>(*own), is_ffn ? SubBlock::kFfn : SubBlock::kAttention);
  if (!is_ffn && layer.linear_ffn)
    return SubBlockPart(static_cast<int64_t>(*layer.linear_ffn), SubBlock::kFfn);
  return "";
}

// What a file consists of. Refers to `model`, whose tensors `stored` points to.
struct GgufContents {
  ModelWeights model;  // in the form of the file
  GgufMetadata metadata;
  std::vector<InGguf> stored;
  std::vector<std::string> parts;  // one for each of `stored`
  std::vector<GgufRopeFactors> rope_factors;
  std::vector<GgufTensorToWrite> tensors;  // those factors, if any, and then `stored`
};

void CheckTypes(const ModelConfig& config, const StoredTypes& types) {
  std::set<std::string> parts;
  for (const ModelPart& part : StoredParts(config)) parts.insert(part.name);
  for (const auto& [name, type] : types)
    if (!parts.contains(name))
      throw Error(fmt::format("a type for \"{}\", where the model has no matrices", name));
}

std::unique_ptr<GgufContents> ContentsOf(const ModelWeights& model, const GgufOptions& options) {
  PUZZLE_CHECK(options.type != nullptr, "a type for the matrices");
  CheckTypes(model.config, options.types);
  const GgufForm form = GgufFormOf(model.config);
  auto contents = std::make_unique<GgufContents>();
  contents->model = InForm(model, form);
  contents->metadata = MetadataOf(form, options);
  contents->stored = TensorsInGguf(contents->model);
  const GgmlType* const f32 = FindWritableGgmlType("F32");
  contents->rope_factors = RopeFactorsForGguf(form.config.rope, form.config.head_dim);
  for (const auto& [name, factors] : contents->rope_factors)
    contents->tensors.push_back({name, {static_cast<int64_t>(factors.size())}, f32});
  for (const InGguf& tensor : contents->stored) {
    const Shape shape = ShapeInGguf(tensor);
    const std::string part = PartInGguf(tensor.name, form);
    const auto own = options.types.find(part);
    const bool is_matrix = shape.size() > 1 && !tensor.name.starts_with("position_embd");
    const GgmlType* const type = own == options.types.end() ? options.type : own->second;
    contents->tensors.push_back({tensor.name, shape, is_matrix ? type : f32});
    contents->parts.push_back(part);
  }
  return contents;
}

}  // namespace

ModelWeights OpenGguf(const std::string& path) {
  const auto file = std::make_shared<const GgufReader>(GgufReader::Open(path));
  const GgufReader& reader = *file;
  const ModelConfig config = ReadGgufConfig(reader);
  ModelWeights model = Outline(config);

  // Names and shapes first, so that a wrong file is refused before anything large is read.
  const std::vector<InGguf> stored = TensorsInGguf(model);
  std::set<std::string> used;
  for (const InGguf& tensor : stored) {
    if (!reader.Has(tensor.name))
      throw Error(fmt::format("{}: tensor {} is missing", path, tensor.name));
    const Shape shape = ShapeInGguf(tensor);
    if (reader.ShapeOf(tensor.name) != shape)
      throw Error(fmt::format("{}: tensor {} has shape {}, the metadata implies {}",
                              reader.FileOf(tensor.name), tensor.name,
                              ShapeString(reader.ShapeOf(tensor.name)), ShapeString(shape)));
    used.insert(tensor.name);
  }
  for (const std::string& name : reader.Names()) {
    const bool is_copy = name == "output.weight" && config.tied_embeddings;
    if (!used.contains(name) && !IsGgufRopeFactors(name) && !is_copy)
      throw Error(
          fmt::format("{}: tensor {} does not belong to the model that the metadata describes",
                      reader.FileOf(name), name));
  }
  const std::string place = std::filesystem::absolute(path).lexically_normal().string();
  std::map<const Tensor*, std::string> names;
  for (const auto& [name, slot] : Slots(model)) names.emplace(slot, name);
  for (const InGguf& tensor : stored) {
    int64_t first = 0;
    for (const auto& [part, slot] : tensor.parts) {
      const Shape shape = slot->sizes().vec();
      *slot = Unread(
          shape,
          std::make_shared<GgufTensor>(
              file, GgufTensor::Part{tensor.name, first, shape[0], part.rotated, part.is_plus_one},
              TensorSource::Place{place, names.at(slot)}));
      first += shape[0];
    }
  }
  return model;
}

GgufSizes SizesInGguf(const ModelWeights& model, const GgufOptions& options) {
  const auto contents = ContentsOf(model, options);
  GgufSizes sizes;
  sizes.file = GgufWriter::FileBytes(contents->metadata, contents->tensors);
  const size_t before = contents->tensors.size() - contents->stored.size();
  for (size_t i = 0; i < contents->stored.size(); ++i)
    if (!contents->parts[i].empty())
      sizes.parts[contents->parts[i]] += GgufWriter::TensorBytes(contents->tensors[before + i]);
  return sizes;
}

uint64_t SaveGguf(const std::string& path, const ModelWeights& model, const GgufOptions& options) {
  const at::NoGradGuard no_grad;
  const auto contents = ContentsOf(model, options);
  GgufWriter writer(path, contents->metadata, contents->tensors);
  for (const GgufRopeFactors& factors : contents->rope_factors) writer.Append(factors.factors);
  for (const InGguf& stored : contents->stored) {
    RowsInGguf rows(stored);
    writer.AppendRows(rows);
  }
  return writer.Commit();
}

}  // namespace puzzle
