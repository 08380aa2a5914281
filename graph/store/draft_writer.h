// An artifact on its way into the store. Belongs to one thread at a time.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "graph/store/store.h"
#include "io/archive.h"

namespace puzzle {

/// Writes into a temporary file that is created at the first write and removed unless released,
/// fingerprints the content and notes the scalar attributes.
class DraftWriter final : public ArtifactDraft, private ArchiveWriter {
 public:
  /// REQUIRES: `format` outlives the writer.
  DraftWriter(const ArchiveFormat& format, std::string path);
  ~DraftWriter() override;

  ArchiveWriter& writer() override { return *this; }
  void Close() override;
  const std::string& digest() const override;
  std::string scalars_json() const override;
  std::string display() const override;
  std::string files_json() const override;

  const std::string& path() const override { return path_; }
  void Release() override { created_ = false; }

 private:
  void SetAttribute(std::string_view name, const nlohmann::json& value) override;
  void Write(std::string_view name, const ArrayView& array) override;
  void Create(std::string_view name, DType dtype, const Shape& shape) override;
  void Append(std::string_view name, const ArrayView& rows) override;
  DigestingWriter& inner();

  const ArchiveFormat& format_;
  std::string path_;
  bool created_ = false;
  bool closed_ = false;
  std::unique_ptr<DigestingWriter> inner_;
  std::string digest_;
  std::unique_ptr<nlohmann::json> scalars_;
  std::string display_;
  std::string files_json_;
};

}  // namespace puzzle
