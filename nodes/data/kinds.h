// Parameters of the kinds about text, tokens, checkpoints, with their defaults: what a user can
// write under "params". kinds.cpp says what each means. Plain values, no libtorch.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "graph/kind/kind.h"

namespace puzzle {

struct SyntheticTextParams {
  int64_t stories = 2000;
  int64_t seed = 1;
};

struct LoadModelParams {
  std::string path;
};

struct TokenizeParams {
  std::string text;                 // a file; empty: `texts`, or the `text` port
  std::vector<std::string> texts;   // files and folders
  std::vector<double> weights;      // of `texts`; empty: their sizes
  std::string tokenizer = "model";  // or "byte"
  std::string separator = "<|endoftext|>";
  int64_t length = 512;
  int64_t sequences = 0;  // 0: all
  std::string take = "first";
};

struct ExportParams {
  std::string folder;
  std::string format = "hf";   // "dense", "anymodel", "gguf"
  std::string dtype = "same";  // as the checkpoint's, or what the format can hold
};

struct CommandParams {
  std::vector<std::string> arguments;
  std::string script;                                     // a file; empty: none
  nlohmann::json environment = nlohmann::json::object();  // name -> text
  std::string version;
  std::vector<std::string> outputs;
  std::string figures;
  std::string device = "cpu";
  int64_t threads = 0;     // 0: as many as there are
  int64_t memory_mib = 0;  // 0: little
};

/// What an export's `format` and `dtype` can be.
[[nodiscard]] std::vector<std::string> ExportFormats();
[[nodiscard]] std::vector<std::string> ExportDTypes();
/// The complaint when the format does not hold that type.
[[nodiscard]] std::optional<std::string> CheckExport(const std::string& format,
                                                     const std::string& dtype);

/// A text of a command with place(name) in the place of each "{name}" that it can ask for: a port,
/// script, out or device. Other braces mean themselves.
[[nodiscard]] std::string FillCommandText(
    const std::string& text, const std::function<std::string(const std::string& name)>& place);

/// The tables of this room's kinds.
[[nodiscard]] std::vector<NodeKind> DataKinds();
/// The functions behind them; needs libtorch (bodies.cpp).
[[nodiscard]] std::map<std::string, Body> DataBodies();

}  // namespace puzzle
