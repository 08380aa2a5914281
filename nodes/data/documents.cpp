#include "nodes/data/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"
#include "io/json_text.h"
#include "io/lfs_pointer.h"
#include "io/utf8.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kPieceBytes = 1 << 20;
constexpr std::string_view kJsonLines = ".jsonl";

std::string_view Strip(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// The same in place, so that a long document is not held twice.
void StripInPlace(std::string& text) {
  const std::string_view kept = Strip(text);
  const size_t first = static_cast<size_t>(kept.data() - text.data()), count = kept.size();
  text.resize(kept.empty() ? 0 : first + count);
  if (!kept.empty()) text.erase(0, first);
}

class TextReader final : public DocumentReader {
 public:
  TextReader(std::string_view text, std::string separator)
      : rest_(text), bytes_(text.size()), separator_(std::move(separator)) {}

  std::optional<Document> Next() override {
    while (!rest_.empty()) {
      const size_t end = separator_.empty() ? std::string_view::npos : rest_.find(separator_);
      const std::string_view document = Strip(rest_.substr(0, end));
      const size_t taken = end == std::string_view::npos ? rest_.size() : end + separator_.size();
      rest_.remove_prefix(taken);
      if (!document.empty()) return Document{std::string(document), {}, "", taken};
    }
    return std::nullopt;
  }
  [[nodiscard]] uint64_t bytes() const override { return bytes_; }

 private:
  std::string_view rest_;
  uint64_t bytes_;
  std::string separator_;
};

/// A file in parts that end with a separator, which is left out.
class FileParts {
 public:
  FileParts(const std::string& path, std::string separator)
      : file_(path), separator_(std::move(separator)) {}

  struct Part {
    std::string text;
    int64_t line;  // it begins in
    uint64_t bytes;
  };

  std::optional<Part> Next() {
    if (done_ == file_.size() && begin_ == buffer_.size()) return std::nullopt;
    size_t searched = begin_;
    for (;;) {
      const size_t end =
          separator_.empty() ? std::string::npos : buffer_.find(separator_, searched);
      if (end != std::string::npos) return Take(end, end + separator_.size());
      if (done_ == file_.size()) return Take(buffer_.size(), buffer_.size());
      searched = Fill();
    }
  }
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] uint64_t bytes() const { return file_.size(); }

 private:
  /// Reads on, and returns where a separator may begin that was not there before.
  size_t Fill() {
    buffer_.erase(0, begin_);
    begin_ = 0;
    const size_t old = buffer_.size();
    const size_t count = std::min<uint64_t>(kPieceBytes, file_.size() - done_);
    buffer_.resize(old + count);
    file_.ReadAt(done_, buffer_.data() + old, count);
    if (done_ == 0) {
      RefuseLfsPointer(buffer_, path());
      if (buffer_.starts_with("\xFF\xFE") || buffer_.starts_with("\xFE\xFF"))
        throw Error(path() + ": is UTF-16 text; convert it to UTF-8");
      if (buffer_.starts_with("\xEF\xBB\xBF")) buffer_.erase(0, 3);
    }
    done_ += count;
    return old - std::min(old, separator_.size());
  }

  Part Take(size_t end, size_t next) {
    Part part{{}, line_, next - begin_};
    line_ += std::count(buffer_.begin() + static_cast<ptrdiff_t>(begin_),
                        buffer_.begin() + static_cast<ptrdiff_t>(next), '\n');
    if (begin_ == 0 && next == buffer_.size()) {  // perhaps all of a large file: not twice
      part.text.swap(buffer_);
      part.text.resize(end);
    } else {
      part.text = buffer_.substr(begin_, end - begin_);
      begin_ = next;
    }
    int64_t line = part.line;
    for (std::string_view rest = part.text; !rest.empty();) {
      const size_t length = Utf8Length(rest);
      if (length == 0)
        throw Error(fmt::format("{}:{}: is not UTF-8 text: byte 0x{:02X}", path(), line,
                                static_cast<unsigned char>(rest.front())));
      if (rest.front() == '\n') ++line;
      rest.remove_prefix(length);
    }
    return part;
  }

  InputFile file_;
  std::string separator_;
  std::string buffer_;
  size_t begin_ = 0;   // of what is not given yet, in the buffer
  uint64_t done_ = 0;  // of the file, in the buffer or given
  int64_t line_ = 1;
};

class TextFileReader final : public DocumentReader {
 public:
  TextFileReader(const std::string& path, std::string separator)
      : parts_(path, std::move(separator)) {}

  std::optional<Document> Next() override {
    uint64_t bytes = 0;
    while (auto part = parts_.Next()) {
      bytes += part->bytes;
      StripInPlace(part->text);
      if (!part->text.empty())
        return Document{
            std::move(part->text), {}, fmt::format("{}:{}", parts_.path(), part->line), bytes};
    }
    return std::nullopt;
  }
  [[nodiscard]] uint64_t bytes() const override { return parts_.bytes(); }

 private:
  FileParts parts_;
};

/// A line is {"text": "..."} or {"messages": [{"role": "user", "content": "..."}, ...]}.
class JsonLinesReader final : public DocumentReader {
 public:
  explicit JsonLinesReader(const std::string& path) : parts_(path, "\n") {}

  std::optional<Document> Next() override {
    uint64_t bytes = 0;
    while (auto part = parts_.Next()) {
      bytes += part->bytes;
      if (Strip(part->text).empty()) continue;
      Document document;
      document.where = fmt::format("{}:{}", parts_.path(), part->line);
      document.bytes = bytes;
      const JsonText line = JsonText::Parse(part->text, document.where, {.allow_comments = false});
      Read(line.value(), document);
      if (!document.text.empty() || !document.messages.empty()) return document;
    }
    return std::nullopt;
  }
  [[nodiscard]] uint64_t bytes() const override { return parts_.bytes(); }

 private:
  static std::string Text(const Json& object, const char* name, const std::string& where) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_string())
      throw Error(fmt::format("{}: expected \"{}\" to be a text", where, name));
    return *found;
  }

  static void Read(const Json& line, Document& document) {
    const std::string& where = document.where;
    if (!line.is_object()) throw Error(where + ": expected an object");
    if (!line.contains("messages")) {
      if (!line.contains("text"))
        throw Error(where + ": expected \"text\" or \"messages\" in the object");
      document.text = Strip(Text(line, "text", where));
      return;
    }
    const Json& messages = line["messages"];
    if (!messages.is_array() || messages.empty())
      throw Error(where + ": expected \"messages\" to be a list that is not empty");
    bool answers = false;
    for (const Json& message : messages) {
      if (!message.is_object()) throw Error(where + ": expected each message to be an object");
      document.messages.push_back({Text(message, "role", where), Text(message, "content", where)});
      const auto& [role, content] = document.messages.back();
      if (role != "assistant") continue;
      answers = true;
      if (Strip(content).empty())
        throw Error(
            fmt::format("{}: message {} is an answer, but empty", where, document.messages.size()));
    }
    if (!answers) throw Error(where + ": a conversation without an answer");
  }

  FileParts parts_;
};

class Mixture final : public DocumentReader {
 public:
  void Add(std::unique_ptr<DocumentReader> reader, double weight) {
    bytes_ += reader->bytes();
    sources_.push_back({std::move(reader), weight, 0, false});
  }

  std::optional<Document> Next() override {
    for (;;) {
      Source* next = nullptr;
      for (Source& source : sources_)
        if (!source.ended && (next == nullptr || source.Progress() < next->Progress()))
          next = &source;
      if (next == nullptr) return std::nullopt;
      if (auto document = next->reader->Next()) {
        next->given += document->bytes;
        return document;
      }
      next->ended = true;
    }
  }
  [[nodiscard]] uint64_t bytes() const override { return bytes_; }

 private:
  struct Source {
    std::unique_ptr<DocumentReader> reader;
    double weight;
    uint64_t given;
    bool ended;

    [[nodiscard]] double Progress() const { return static_cast<double>(given) / weight; }
  };

  std::vector<Source> sources_;
  uint64_t bytes_ = 0;
};

/// The files of a text that lie in a folder, by name; not the hidden ones, which other programs
/// leave there.
std::vector<std::string> FilesOf(const std::string& path) {
  std::error_code failure;
  if (!fs::is_directory(path, failure)) return {path};
  std::vector<std::string> files;
  for (fs::directory_iterator it(path, failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string extension = it->path().extension().string();
    const bool is_hidden = it->path().filename().string().starts_with('.');
    if (!is_hidden && it->is_regular_file(failure) &&
        (extension == ".txt" || extension == kJsonLines))
      files.push_back(it->path().string());
  }
  if (failure) throw Error(fmt::format("{}: cannot list the folder: {}", path, failure.message()));
  if (files.empty()) throw Error(path + ": holds no .txt or .jsonl files");
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::unique_ptr<DocumentReader> ReadDocuments(std::string_view text, std::string separator) {
  return std::make_unique<TextReader>(text, std::move(separator));
}

std::unique_ptr<DocumentReader> ReadDocumentFile(const std::string& path, std::string separator) {
  if (path.ends_with(kJsonLines)) return std::make_unique<JsonLinesReader>(path);
  return std::make_unique<TextFileReader>(path, std::move(separator));
}

std::unique_ptr<DocumentReader> MixDocuments(const std::vector<std::string>& paths,
                                             const std::vector<double>& weights,
                                             const std::string& separator) {
  auto mixture = std::make_unique<Mixture>();
  for (size_t i = 0; i < paths.size(); ++i) {
    std::vector<std::unique_ptr<DocumentReader>> readers;
    double bytes = 0;
    for (const std::string& file : FilesOf(paths[i])) {
      readers.push_back(ReadDocumentFile(file, separator));
      bytes += static_cast<double>(readers.back()->bytes());
    }
    for (auto& reader : readers) {
      const auto own = std::max(1.0, static_cast<double>(reader->bytes()));
      const double weight = weights.empty() ? own : weights[i] * own / std::max(1.0, bytes);
      mixture->Add(std::move(reader), weight);
    }
  }
  return mixture;
}

std::string DigestText(const std::string& path) {
  const std::vector<std::string> files = FilesOf(path);
  // A plain text is its bytes, as it was when there were no others.
  if (files == std::vector{path} && !path.ends_with(kJsonLines)) return FingerprintFile(path);
  Fingerprint fingerprint;
  fingerprint.AddField("puzzle text 1");
  for (const std::string& file : files)
    fingerprint.AddField(file.ends_with(kJsonLines) ? "jsonl" : "txt")
        .AddField(FingerprintFile(file));
  return fingerprint.Hex();
}

}  // namespace puzzle
