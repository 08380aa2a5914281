#include "io/archive.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/error.h"
#include "io/fingerprint.h"
#include "io/json_text.h"
#include "io/references.h"

namespace puzzle {
namespace {

/// Digests of arrays being read are taken in pieces of about this size.
constexpr int64_t kDigestPiece = 8 << 20;

/// What the digest of an archive is made of; sorted by name.
struct Contents {
  struct Array {
    DType dtype;
    Shape shape;
    std::string bytes_digest;
  };
  std::map<std::string, std::string, std::less<>> attributes;  // name -> canonical JSON
  std::map<std::string, Array, std::less<>> arrays;
};

/// Notes an attribute. What an archive refers to counts as an array that it holds.
void AddAttribute(std::string_view name, const nlohmann::json& value, Contents& contents) {
  if (name != kReferencesAttribute) {
    contents.attributes.emplace(name, CanonicalJson(value));
    return;
  }
  for (auto& [array_name, array] : ReferencesFromJson(value).arrays) {
    contents.arrays.emplace(
        array_name, Contents::Array{array.info.dtype, array.info.shape, std::move(array.digest)});
  }
}

std::string Digest(const Contents& contents) {
  Fingerprint fingerprint;
  fingerprint.AddField("puzzle archive 1");
  for (const auto& [name, json] : contents.attributes) {
    fingerprint.AddField("attribute").AddField(name).AddField(json);
  }
  for (const auto& [name, array] : contents.arrays) {
    fingerprint.AddField("array").AddField(name).AddField(DTypeName(array.dtype));
    fingerprint.AddField(ShapeString(array.shape)).AddField(array.bytes_digest);
  }
  return fingerprint.Hex();
}

/// Calls `visit` with successive pieces of an array: its rows, or the one element of a scalar. Rows
/// without bytes are one piece, however many a file says that there are.
template <class F>
void ForPieces(const ArchiveReader& reader, const std::string& name, const ArrayInfo& info,
               F&& visit) {
  if (info.shape.empty()) {
    std::vector<char> element(ElementSize(info.dtype));
    reader.Read(name, element.data());
    visit(ArrayView{info.dtype, info.shape, element.data()});
    return;
  }
  const int64_t rows = info.shape.front();
  const int64_t row_bytes = NumElements({info.shape.begin() + 1, info.shape.end()}) *
                            static_cast<int64_t>(ElementSize(info.dtype));
  const int64_t piece_rows = row_bytes == 0 ? rows : std::max<int64_t>(1, kDigestPiece / row_bytes);
  std::vector<char> bytes(static_cast<size_t>(std::min(piece_rows, rows) * row_bytes));
  Shape shape = info.shape;
  for (int64_t first = 0; first < rows; first += piece_rows) {
    shape.front() = std::min(piece_rows, rows - first);
    reader.ReadRows(name, first, shape.front(), bytes.data());
    visit(ArrayView{info.dtype, shape, bytes.data()});
  }
}

std::string DigestBytes(const ArchiveReader& reader, const std::string& name,
                        const ArrayInfo& info) {
  Fingerprint fingerprint;
  ForPieces(reader, name, info,
            [&](const ArrayView& piece) { fingerprint.Add(piece.data, piece.bytes()); });
  return fingerprint.Hex();
}

}  // namespace

struct DigestingWriter::State {
  /// An array begun with Create.
  struct Stream {
    DType dtype;
    Shape shape;
    Fingerprint bytes;
  };

  std::unique_ptr<ArchiveWriter> inner;
  Contents contents;
  std::map<std::string, Stream, std::less<>> streams;
  uint64_t bytes = 0;
  std::string digest;  // empty until Close
};

DigestingWriter::DigestingWriter(std::unique_ptr<ArchiveWriter> inner)
    : state_(std::make_unique<State>()) {
  state_->inner = std::move(inner);
}

DigestingWriter::~DigestingWriter() = default;

void DigestingWriter::SetAttribute(std::string_view name, const nlohmann::json& value) {
  state_->inner->SetAttribute(name, value);
  AddAttribute(name, value, state_->contents);
}

void DigestingWriter::Write(std::string_view name, const ArrayView& array) {
  state_->inner->Write(name, array);
  state_->bytes += array.bytes();
  std::string digest = Fingerprint().Add(array.data, array.bytes()).Hex();
  state_->contents.arrays.emplace(name,
                                  Contents::Array{array.dtype, array.shape, std::move(digest)});
}

void DigestingWriter::Create(std::string_view name, DType dtype, const Shape& shape) {
  state_->inner->Create(name, dtype, shape);
  state_->streams.emplace(name, State::Stream{dtype, shape, Fingerprint()});
}

void DigestingWriter::Append(std::string_view name, const ArrayView& rows) {
  const auto stream = state_->streams.find(name);
  PUZZLE_CHECK(stream != state_->streams.end(), "Append without Create");
  state_->inner->Append(name, rows);
  state_->bytes += rows.bytes();
  stream->second.bytes.Add(rows.data, rows.bytes());
}

void DigestingWriter::Close() {
  PUZZLE_CHECK(state_->digest.empty(), "archive closed twice");
  state_->inner->Close();
  for (auto& [name, stream] : state_->streams) {
    state_->contents.arrays.emplace(
        name, Contents::Array{stream.dtype, stream.shape, stream.bytes.Hex()});
  }
  state_->digest = Digest(state_->contents);
}

std::string DigestingWriter::digest() const {
  PUZZLE_CHECK(!state_->digest.empty(), "digest of an archive that is still open");
  return state_->digest;
}

uint64_t DigestingWriter::bytes() const {
  return state_->bytes;
}

std::string DigestArchive(const ArchiveReader& reader) {
  Contents contents;
  for (const std::string& name : reader.AttributeNames()) {
    AddAttribute(name, reader.Attribute(name), contents);
  }
  for (const std::string& name : reader.ArrayNames()) {
    const ArrayInfo info = reader.Info(name);
    contents.arrays.emplace(
        name, Contents::Array{info.dtype, info.shape, DigestBytes(reader, name, info)});
  }
  return Digest(contents);
}

void CopyArchive(const ArchiveReader& from, ArchiveWriter& to) {
  for (const std::string& name : from.AttributeNames()) {
    to.SetAttribute(name, from.Attribute(name));
  }
  for (const std::string& name : from.ArrayNames()) {
    const ArrayInfo info = from.Info(name);
    const bool scalar = info.shape.empty();
    if (!scalar) to.Create(name, info.dtype, info.shape);
    ForPieces(from, name, info, [&](const ArrayView& piece) {
      scalar ? to.Write(name, piece) : to.Append(name, piece);
    });
  }
}

}  // namespace puzzle
