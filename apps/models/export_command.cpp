// `puzzle export`.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "apps/frame/output.h"
#include "apps/models/model_commands.h"
#include "apps/models/model_source.h"
#include "io/error.h"
#include "io/gguf_tokenizer.h"
#include "model/files/dense.h"
#include "model/files/readers.h"
#include "nodes/data/export_model.h"
#include "nodes/precision/artifacts.h"
#include "nodes/precision/mixture.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;

// "child" of "out/child/" and "out/child.gguf", the step of GRAPH:STEP.
std::string NameOfModel(const std::string& model) {
  if (const auto step = StepOfGraph(model)) return *step;
  const fs::path whole = fs::absolute(model).lexically_normal();
  const fs::path last = whole.has_filename() ? whole : whole.parent_path();
  return (last.extension() == ".gguf" ? last.stem() : last.filename()).string();
}

void PrintReaders(const std::vector<ReaderVerdict>& readers) {
  Print("\n{:<14} {:<6} {}\n", "program", "loads", "with, or why not");
  for (const auto& [reader, loads, note] : readers)
    Print("{:<14} {:<6} {}\n", reader, loads ? "yes" : "no", note);
}

void CheckOptions(const ExportOptions& options) {
  if (const auto complaint = CheckExport(options.format, options.dtype)) throw Error(*complaint);
  const bool has_precision = !options.precision.empty();
  if (options.format != "gguf" && (has_precision || !options.types.empty()))
    throw Error(fmt::format("format \"{}\" has one type for all matrices; {} needs --format gguf",
                            options.format, has_precision ? "--precision" : "--type"));
  if (has_precision && (options.dtype != "same" || !options.types.empty()))
    throw Error("--precision gives a type to every part: leave --dtype and --type out");
}

// Returns the bytes of the file. One whose types a graph chose is the graph's own, to the byte:
// with a name inside it would be larger than was chosen.
uint64_t WriteGguf(const ExportOptions& options, const ModelAndTypes& model) {
  if (!options.precision.empty())
    return ExportGguf(model.checkpoint, options.out, kRestType, {}, model.types);
  return ExportGguf(model.checkpoint, options.out, options.dtype, NameOfModel(options.model),
                    MixtureOf(options.types, model.checkpoint.model.config));
}

}  // namespace

int ExportCommand(const ExportOptions& options, const Registry& registry, const Hooks& hooks) {
  CheckOptions(options);
  std::error_code failure;
  if (fs::equivalent(options.model, options.out, failure))
    throw Error(options.out + ": is the model itself; give another place");
  CheckDestination(options.format, options.out);
  ModelAndTypes model = ReadModel({options.model, options.store, options.settings},
                                  options.precision, registry, hooks);
  Checkpoint& checkpoint = model.checkpoint;
  if (options.format == "dense") checkpoint.model = MakeDense(checkpoint.model);
  if (options.format == "gguf") {
    Print("{} {} bytes\n", options.out, WriteGguf(options, model));
    if (const std::string loss = WhatGgufTokenizerLoses(checkpoint.tokenizer_files); !loss.empty())
      spdlog::warn("{}: {}", options.out, loss);
    PrintReaders(ReadersOfGguf(checkpoint.model.config));
    return kExitDone;
  }
  for (const auto& [name, bytes] :
       ExportFolder(checkpoint, options.out, options.dtype, options.format))
    Print("{} {} bytes\n", (fs::path(options.out) / name).string(), bytes);
  PrintReaders(options.format == "anymodel" ? ReadersOfAnyModel()
                                            : ReadersOfFolder(checkpoint.model.config));
  return kExitDone;
}

}  // namespace puzzle
