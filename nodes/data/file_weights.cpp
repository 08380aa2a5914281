#include "nodes/data/file_weights.h"

#include <filesystem>
#include <span>

#include <fmt/format.h>

#include "io/error.h"
#include "io/fingerprint.h"
#include "model/files/open_checkpoint.h"
#include "model/pch.h"
#include "model/unread.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;

namespace {

std::string DigestOfValues(const Tensor& tensor) {
  Fingerprint fingerprint;
  ForEachRows(tensor, [&](int64_t, const Tensor& rows) {
    const Tensor host = rows.contiguous();
    fingerprint.Add(host.data_ptr(), host.nbytes());
  });
  return fingerprint.Hex();
}

using Files = std::map<std::string, FileStamp>;

// A tensor of the user's whose digest is known, and what its file was like then.
class DigestedTensor final : public TensorSource, public TensorSource::Rows {
 public:
  DigestedTensor(std::shared_ptr<const TensorSource> file, std::string digest,
                 std::shared_ptr<const Files> stamps)
      : file_(std::move(file)),
        place_(*file_->place()),
        digest_(std::move(digest)),
        stamps_(std::move(stamps)) {}

  Tensor Read() const override {
    Tensor values = file_->Read();
    // Looked at behind the reading: it may have been written to at any time.
    if (!AreUntouched(*stamps_) && DigestOfValues(values) != digest_)
      throw Error(fmt::format(
          "{}: {} has other values than when this result was made, which only refers to it: put "
          "the file back, or run the step that loads it again (--force)",
          place_.checkpoint, place_.name));
    return values;
  }
  // Of a file that was touched only the whole tells whether it is the same.
  const TensorSource::Rows* rows() const override {
    return file_->rows() != nullptr && AreUntouched(*stamps_) ? this : nullptr;
  }
  void ReadRows(int64_t first, std::span<float> out) const override {
    file_->rows()->ReadRows(first, out);
    CheckUntouched();
  }
  bool ReadStored(int64_t first, int64_t count, DType type, void* out) const override {
    if (!file_->rows()->ReadStored(first, count, type, out)) return false;
    CheckUntouched();
    return true;
  }
  const Place* place() const override { return &place_; }
  [[nodiscard]] const std::string& digest() const { return digest_; }
  [[nodiscard]] const Files& stamps() const { return *stamps_; }

 private:
  // Rows have no digest of their own.
  void CheckUntouched() const {
    if (!AreUntouched(*stamps_)) throw Error(place_.checkpoint + ": changed while it was read");
  }

  std::shared_ptr<const TensorSource> file_;
  Place place_;
  std::string digest_;
  std::shared_ptr<const Files> stamps_;
};

class ArchivedTensor final : public TensorSource, public TensorSource::Rows {
 public:
  ArchivedTensor(std::shared_ptr<const ArchiveReader> in, std::string name, Shape shape)
      : in_(std::move(in)), name_(std::move(name)), shape_(std::move(shape)) {}
  Tensor Read() const override { return ReadTensor(*in_, name_); }
  const TensorSource::Rows* rows() const override {
    return shape_.size() == 2 && shape_[1] > 0 ? this : nullptr;
  }
  void ReadRows(int64_t first, std::span<float> out) const override {
    in_->ReadRows(name_, first, std::ssize(out) / shape_[1], out.data());
  }

 private:
  std::shared_ptr<const ArchiveReader> in_;
  std::string name_;
  Shape shape_;
};

}  // namespace

ModelWeights Digested(ModelWeights model, const std::string& checkpoint,
                      const std::function<void(double)>& poll) {
  const auto stamps = std::make_shared<Files>();
  for (const std::string& file : WeightFilesOf(checkpoint)) {
    const auto stamp = StampOf(file);
    if (!stamp) throw Error(file + ": is gone");
    stamps->emplace(std::filesystem::absolute(file).lexically_normal().string(), *stamp);
  }
  const std::vector<NamedSlot> slots = Slots(model);
  for (size_t i = 0; i < slots.size(); ++i) {
    Tensor& tensor = *slots[i].second;
    if (const auto source = SourceOf(tensor); source != nullptr && source->place() != nullptr)
      tensor = Unread(tensor.sizes().vec(),
                      std::make_shared<DigestedTensor>(source, DigestOfValues(tensor), stamps));
    poll(static_cast<double>(i + 1) / static_cast<double>(slots.size()));
  }
  return model;
}

bool Refer(const std::string& name, const Tensor& tensor, References& references) {
  const auto source = std::dynamic_pointer_cast<const DigestedTensor>(SourceOf(tensor));
  if (source == nullptr) return false;
  ArrayReference& reference = references.arrays[name];
  reference.info = ArrayInfo{DType::kF32, tensor.sizes().vec()};
  reference.digest = source->digest();
  reference.checkpoint = source->place()->checkpoint;
  reference.name = source->place()->name;
  references.files.insert(source->stamps().begin(), source->stamps().end());
  return true;
}

ArchivedWeights::ArchivedWeights(std::shared_ptr<const ArchiveReader> in)
    : in_(std::move(in)), references_(ReadReferences(*in_)) {
  if (const std::string lost = references_.Lost(); !lost.empty())
    throw Error(lost +
                ", and weights of this result lie there: put it back, or run the graph again with "
                "the path of the checkpoint as it is now");
  stamps_ = std::make_shared<const std::map<std::string, FileStamp>>(references_.files);
  for (const auto& [name, array] : references_.arrays) {
    auto& tensors = checkpoints_[array.checkpoint];
    if (!tensors.empty()) continue;
    ModelWeights model = OpenCheckpoint(array.checkpoint);
    for (const auto& [own_name, slot] : Slots(model)) tensors[own_name] = *slot;
  }
}

Tensor ArchivedWeights::Find(const std::string& name) const {
  const auto reference = references_.arrays.find(name);
  if (reference == references_.arrays.end()) {
    const ArrayInfo info = in_->Info(name);
    if (info.dtype != DType::kF32) return ReadTensor(*in_, name);
    return Unread(info.shape, std::make_shared<ArchivedTensor>(in_, name, info.shape));
  }
  const ArrayReference& array = reference->second;
  const auto& tensors = checkpoints_.at(array.checkpoint);
  const auto found = tensors.find(array.name);
  const auto source = found != tensors.end() ? SourceOf(found->second) : nullptr;
  if (source == nullptr || source->place() == nullptr ||
      found->second.sizes() != at::IntArrayRef(array.info.shape))
    throw Error(fmt::format("{}: has no {} of shape {} any more", array.checkpoint, array.name,
                            ShapeString(array.info.shape)));
  return Unread(array.info.shape, std::make_shared<DigestedTensor>(source, array.digest, stamps_));
}

}  // namespace puzzle
