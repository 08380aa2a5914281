#include "graph/store/draft_writer.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "io/references.h"

namespace puzzle {
namespace {

constexpr size_t kMaxScalarText = 4096;  // records are for reading, not for data
constexpr size_t kMaxDisplay = 1 << 18;

}  // namespace

DraftWriter::DraftWriter(const ArchiveFormat& format, std::string path)
    : format_(format),
      path_(std::move(path)),
      scalars_(std::make_unique<nlohmann::json>(nlohmann::json::object())) {}

DraftWriter::~DraftWriter() {
  inner_.reset();
  if (created_) ::unlink(path_.c_str());
}

DigestingWriter& DraftWriter::inner() {
  PUZZLE_CHECK(!closed_, "the archive is closed");
  if (!inner_) {
    // Made here first: what others may have put under this name is not written through.
    static_cast<void>(CreateNewFile(path_));
    created_ = true;
    inner_ = std::make_unique<DigestingWriter>(format_.create(path_));
  }
  return *inner_;
}

void DraftWriter::Close() {
  if (closed_) return;
  inner().Close();
  digest_ = inner_->digest();
  inner_.reset();
  closed_ = true;
}

const std::string& DraftWriter::digest() const {
  PUZZLE_CHECK(closed_, "the archive is not closed");
  return digest_;
}

std::string DraftWriter::scalars_json() const {
  return scalars_->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string DraftWriter::display() const {
  return display_;
}
std::string DraftWriter::files_json() const {
  return files_json_;
}

void DraftWriter::SetAttribute(std::string_view name, const nlohmann::json& value) {
  inner().SetAttribute(name, value);
  if (name == "display" && value.is_string()) {
    display_ = value.get<std::string>().substr(0, kMaxDisplay);
  } else if (name == "files" && value.is_object()) {
    files_json_ = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  } else if (name == kReferencesAttribute) {
    (*scalars_)[kReferredFiles] = FilesText(ReferencesFromJson(value));
  } else if (name == "picture_svg" && value.is_string()) {
    // Its length tells the report that there is one to fetch.
    (*scalars_)[std::string(name)] = value.get_ref<const std::string&>().size();
  } else if (value.is_primitive() && !value.is_null() && !value.is_binary() &&
             !(value.is_string() && value.get_ref<const std::string&>().size() > kMaxScalarText)) {
    (*scalars_)[std::string(name)] = value;
  }
}

void DraftWriter::Write(std::string_view name, const ArrayView& array) {
  inner().Write(name, array);
}
void DraftWriter::Create(std::string_view name, DType dtype, const Shape& shape) {
  inner().Create(name, dtype, shape);
}
void DraftWriter::Append(std::string_view name, const ArrayView& rows) {
  inner().Append(name, rows);
}

}  // namespace puzzle
