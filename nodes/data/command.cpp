#include "nodes/data/command.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "io/error.h"
#include "io/file.h"
#include "io/json_text.h"
#include "io/process.h"
#include "io/utf8.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/export_model.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kLargestFigures = 16 << 20;  // bytes of their JSON
constexpr size_t kMostFigures = 1000;
constexpr int kDeepestFigures = 200;
constexpr size_t kKeptText =
    1 << 10;                        // bytes of each stream: a record holds 4 KiB of repaired ones
constexpr size_t kShownLines = 20;  // of standard error, in a failure's message
constexpr size_t kPiece = 4 << 20;  // of a file, in memory at a time
constexpr std::string_view kFile = "file/";
constexpr const char* kStdout = "stdout";

// Text of a program for records and terminals: well-formed, without control characters.
std::string Readable(const std::string& text) {
  std::string readable = RepairUtf8(text);
  std::erase_if(readable, [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
  });
  return readable;
}

std::string LastLines(const std::string& text, size_t count) {
  const size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "";
  size_t begin = end;
  for (size_t lines = 0; begin != std::string::npos && lines < count; ++lines)
    begin = begin == 0 ? std::string::npos : text.rfind('\n', begin - 1);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     begin == std::string::npos ? end + 1 : end - begin);
}

// A folder that goes with this object.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& path) : path_(fs::absolute(path)) {
    fs::create_directories(path_ / "out");
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] std::string operator/(const char* name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

// Keeps the attributes of an artifact and none of its arrays: its form as JSON.
class AttributesOnly final : public ArchiveWriter {
 public:
  void SetAttribute(std::string_view name, const json& value) override {
    if (name != "display" && name != "picture_svg") attributes[std::string(name)] = value;
  }
  void Write(std::string_view /*name*/, const ArrayView& /*array*/) override {}
  void Create(std::string_view /*name*/, DType /*dtype*/, const Shape& /*shape*/) override {}
  void Append(std::string_view /*name*/, const ArrayView& /*rows*/) override {}
  void Close() override {}

  json attributes = json::object();
};

template <ArtifactValue T>
void WriteJson(const std::string& path, const T& value) {
  AttributesOnly collected;
  value.Save(collected);
  WriteWholeFile(path, collected.attributes.dump(2) + '\n');
}

// int32 [sequences, length] as numpy reads it.
void WriteNpy(const std::string& path, const TokenSet& tokens) {
  std::string header =
      fmt::format("{{'descr': '<i4', 'fortran_order': False, 'shape': ({}, {}), }}",
                  tokens.sequences(), tokens.length);
  header.append(63 - (10 + header.size()) % 64, ' ').push_back('\n');
  AtomicFile file(path);
  const auto size = static_cast<uint16_t>(header.size());
  file.Append("\x93NUMPY\x01\x00", 8);
  file.Append(&size, sizeof size);
  file.Append(header.data(), header.size());
  file.Append(tokens.ids.data(), tokens.ids.size() * sizeof(int32_t));
  file.Commit();
}

// Lays the connected inputs out in the scratch folder; what may stand in braces in an argument, and
// the path it stands for.
std::map<std::string, std::string> LayOutInputs(const CommandParams& params, const Inputs& inputs,
                                                const ScratchFolder& scratch) {
  std::map<std::string, std::string> places = {{"out", scratch / "out"}};
  const auto add = [&](const char* port, const char* name, const auto& write) {
    if (!inputs.Has(port)) return;
    write(places[port] = scratch / name);
  };
  for (const char* port : {"model", "parent"}) {
    add(port, port, [&](const std::string& path) {
      (void)ExportFolder(*inputs.Get<Checkpoint>(port), path, "same");
    });
  }
  add("tokens", "tokens.npy",
      [&](const std::string& path) { WriteNpy(path, *inputs.Get<TokenSet>("tokens")); });
  add("text", "text.txt", [&](const std::string& path) {
    WriteWholeFile(path, inputs.Get<TextArtifact>("text")->text);
  });
  add("choice", "choice.json",
      [&](const std::string& path) { WriteJson(path, *inputs.Get<Choice>("choice")); });
  add("evaluation", "evaluation.json",
      [&](const std::string& path) { WriteJson(path, *inputs.Get<Evaluation>("evaluation")); });
  add("result", "result", [&](const std::string& path) {
    fs::create_directories(path);
    inputs.Get<CommandResult>("result")->WriteTo(path);
  });
  if (!params.script.empty()) places["script"] = fs::absolute(params.script).string();
  return places;
}

// The n-th of the cards that this process may use, as the program will count them.
std::string VisibleCard(int index) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible == nullptr) return std::to_string(index);
  std::string_view rest = visible;
  for (int i = 0; i < index && rest.find(',') != std::string_view::npos; ++i)
    rest.remove_prefix(rest.find(',') + 1);
  return std::string(rest.substr(0, rest.find(',')));
}

ProcessSpec SpecOf(const CommandParams& params, const std::map<std::string, std::string>& places,
                   const Device& device, const ScratchFolder& scratch) {
  ProcessSpec spec;
  const auto filled = [&](const std::string& text) {
    return FillCommandText(text, [&](const std::string& name) { return places.at(name); });
  };
  for (const std::string& argument : params.arguments) spec.arguments.push_back(filled(argument));
  spec.folder = scratch.path();
  if (device.type == "cuda") spec.environment["CUDA_VISIBLE_DEVICES"] = VisibleCard(device.index);
  for (const auto& [name, value] : params.environment.items())
    spec.environment[name] = filled(value.get<std::string>());
  if (params.figures == kStdout) spec.keep_out = kLargestFigures;
  return spec;
}

// "42%" in a line of progress, as a fraction; else `otherwise`.
double FractionIn(const std::string& line, double otherwise) {
  const size_t sign = line.rfind('%');
  if (sign == std::string::npos) return otherwise;
  size_t begin = sign;
  while (begin > 0 &&
         (std::isdigit(static_cast<unsigned char>(line[begin - 1])) != 0 || line[begin - 1] == '.'))
    --begin;
  const double percent = std::atof(line.substr(begin, sign - begin).c_str());
  return begin < sign && percent <= 100 ? percent / 100 : otherwise;
}

std::string Ending(const ProcessResult& result) {
  if (result.signal == 0) return fmt::format("ended with exit status {}", result.exit_status);
  return fmt::format("was ended by signal {} ({})", result.signal, ::strsignal(result.signal));
}

void CheckSucceeded(const CommandParams& params, const ProcessResult& result) {
  if (result.exit_status == 0) return;
  const bool silent = result.err.total() == 0;
  const std::string text = Readable((silent ? result.out : result.err).Text());
  std::string message = fmt::format("\"{}\" {}", params.arguments.front(), Ending(result));
  if (const std::string lines = LastLines(text, kShownLines); !lines.empty())
    message += fmt::format("; the end of its standard {}:\n{}", silent ? "output" : "error", lines);
  throw Error(message);
}

// The files below `folder`, by relative name.
std::vector<std::string> FilesBelow(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.symlink_status().type() == fs::file_type::directory) continue;
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Matches(const std::string& pattern, const std::string& name) {
  return ::fnmatch(pattern.c_str(), name.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0 ||
         ::fnmatch((pattern + "/*").c_str(), name.c_str(), 0) == 0;  // below a folder
}

std::vector<std::string> Declared(const std::vector<std::string>& files, const std::string& pattern,
                                  const std::string& folder) {
  std::vector<std::string> found;
  std::copy_if(files.begin(), files.end(), std::back_inserter(found),
               [&](const std::string& name) { return Matches(pattern, name); });
  if (found.empty())
    throw Error(fmt::format("the program left no \"{}\" in {{out}}; it left {}", pattern,
                            files.empty() ? "nothing"
                                          : fmt::format("\"{}\"{}", files.front(),
                                                        files.size() > 1 ? " and more" : "")));
  for (const std::string& name : found) {
    if (fs::symlink_status(fs::path(folder) / name).type() != fs::file_type::regular)
      throw Error(fmt::format("\"{}\", which the program left in {{out}}, is no plain file", name));
  }
  return found;
}

void SaveFile(const std::string& path, const std::string& name, ArchiveWriter& out) {
  const class InputFile file(path);  // not the rule of that name
  const std::string array = std::string(kFile) + name;
  const auto size = static_cast<int64_t>(file.size());
  out.Create(array, DType::kU8, {size});
  std::string piece;
  for (int64_t begin = 0; begin < size; begin += static_cast<int64_t>(piece.size())) {
    piece.resize(static_cast<size_t>(std::min<int64_t>(kPiece, size - begin)));
    file.ReadAt(static_cast<uint64_t>(begin), piece.data(), piece.size());
    out.Append(array, {DType::kU8, {static_cast<int64_t>(piece.size())}, piece.data()});
  }
}

json TakeFigures(const CommandParams& params, const std::vector<std::string>& files,
                 const ProcessResult& result, const std::string& folder) {
  if (params.figures.empty()) return json::object();
  if (params.figures == kStdout) {
    if (!result.out.complete())
      throw Error(
          fmt::format("standard output should be figures, but it has {} bytes, more than {}",
                      result.out.total(), kLargestFigures));
    return FiguresIn(result.out.Text(), "standard output");
  }
  const std::vector<std::string> found = Declared(files, params.figures, folder);
  if (found.size() > 1)
    throw Error(fmt::format("\"{}\" stands for {} files, \"{}\" and others; figures are one",
                            params.figures, found.size(), found.front()));
  return FiguresIn(ReadWholeFile((fs::path(folder) / found.front()).string(), kLargestFigures),
                   found.front());
}

std::string Display(const json& figures, const ProcessResult& result) {
  if (figures.empty()) return LastLines(Readable(result.out.Text()), kShownLines);
  constexpr size_t kShownFigures = 40;
  std::string text;
  size_t shown = 0;
  for (const auto& [name, value] : figures.items()) {
    if (++shown > kShownFigures)
      return text + fmt::format("... and {} more\n", figures.size() - kShownFigures);
    text += fmt::format("{:<40} {}\n", Readable(name),
                        value.is_string() ? Readable(value.get<std::string>()) : value.dump());
  }
  return text;
}

void Flatten(const json& value, const std::string& name, const std::string& source, json& figures) {
  if (value.is_structured()) {
    for (const auto& [key, item] : value.items())
      Flatten(item, name.empty() ? key : name + '.' + key, source, figures);
    return;
  }
  if (value.is_null()) return;
  if (figures.size() >= kMostFigures)
    throw Error(fmt::format("{} holds more than {} figures; write those that matter", source,
                            kMostFigures));
  figures[name] = value;
}

}  // namespace

json FiguresIn(const std::string& text, const std::string& source) {
  if (!IsNestedWithin(text, kDeepestFigures))
    throw Error(fmt::format("{} is nested more than {} levels deep; figures are not", source,
                            kDeepestFigures));
  json document;
  try {
    document = json::parse(text);
  } catch (const json::exception&) {
    const bool not_finite =
        text.find("NaN") != std::string::npos || text.find("Infinity") != std::string::npos;
    throw Error(fmt::format("{} is no JSON{}", source,
                            not_finite ? ": it has NaN or Infinity, which JSON has not" : ""));
  }
  if (!document.is_structured())
    throw Error(fmt::format("{} is a single value; figures are an object", source));
  json figures = json::object();
  Flatten(document, "", source, figures);
  static const std::set<std::string> kTaken = {"display", "picture_svg", "files",
                                               "stdout",  "stderr",      "figures"};
  for (const auto& [name, value] : figures.items()) {
    if (kTaken.contains(name))
      throw Error(fmt::format("{}: a figure cannot be called \"{}\"", source, name));
  }
  return figures;
}

void CommandResult::WriteTo(const std::string& folder) const {
  std::string piece;
  for (const std::string& name : files_) {
    const fs::path path = fs::path(folder) / name;
    fs::create_directories(path.parent_path());
    OutputFile file(path.string());
    const std::string array = std::string(kFile) + name;
    const int64_t size = NumElements(reader_->Info(array).shape);
    CheckArray(*reader_, array, DType::kU8, {size});
    for (int64_t begin = 0; begin < size; begin += static_cast<int64_t>(piece.size())) {
      piece.resize(static_cast<size_t>(std::min<int64_t>(kPiece, size - begin)));
      reader_->ReadRows(array, begin, static_cast<int64_t>(piece.size()), piece.data());
      file.WriteAt(static_cast<uint64_t>(begin), piece.data(), piece.size());
    }
    file.Close();
  }
  const std::string figures = (fs::path(folder) / "figures.json").string();
  if (!fs::exists(figures)) WriteWholeFile(figures, figures_.dump(2) + '\n');
}

void CommandResult::Save(ArchiveWriter& /*out*/) const {
  throw BugError("what a program left is saved while it is taken up");
}

CommandResult CommandResult::Load(std::shared_ptr<const ArchiveReader> in) {
  CommandResult result;
  result.figures_ = in->Attribute("figures");
  for (const std::string& name : in->ArrayNames()) {
    if (!name.starts_with(kFile)) continue;
    const fs::path file = fs::path(name.substr(kFile.size())).lexically_normal();
    if (file.empty() || file.is_absolute() || *file.begin() == "..")
      throw Error(fmt::format("the result of a program names a file outside of it, \"{}\"", name));
    result.files_.push_back(file.string());
  }
  result.reader_ = std::move(in);
  return result;
}

void RunCommand(const CommandParams& params, const Inputs& inputs, RunContext& context,
                ArchiveWriter& out) {
  const ScratchFolder scratch(context.ScratchPath());
  std::map<std::string, std::string> places = LayOutInputs(params, inputs, scratch);
  places["device"] = context.device().type;
  double fraction = 0;
  const ProcessResult result =
      RunProcess(SpecOf(params, places, context.device(), scratch), [&](const std::string& line) {
        fraction = FractionIn(line, fraction);
        context.Poll(fraction, Readable(line));
      });
  CheckSucceeded(params, result);

  const std::string folder = scratch / "out";
  const std::vector<std::string> files = FilesBelow(folder);
  const json figures = TakeFigures(params, files, result, folder);
  std::set<std::string> taken;
  for (const std::string& pattern : params.outputs) {
    const std::vector<std::string> found = Declared(files, pattern, folder);
    taken.insert(found.begin(), found.end());
  }
  for (const std::string& name : taken) SaveFile((fs::path(folder) / name).string(), name, out);
  out.SetAttribute("figures", figures);
  for (const auto& [name, value] : figures.items()) out.SetAttribute(name, value);
  out.SetAttribute("stdout", Readable(result.out.Text(kKeptText)));
  out.SetAttribute("stderr", Readable(result.err.Text(kKeptText)));
  if (const std::string display = Display(figures, result); !display.empty())
    out.SetAttribute("display", display);
}

}  // namespace puzzle
