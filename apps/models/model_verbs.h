// `puzzle eval`, `generate`, `bench` and `export`: checkpoints without a graph. The verbs are
// declared here without libtorch, so that help and errors are the same in the front program; what
// they do is given by the program that has libtorch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apps/cli.h"

namespace puzzle {

struct EvalOptions {
  std::string model;               // folder, or GGUF file
  std::string text;                // file; empty: tasks only
  std::string parent;              // likewise; empty: no KL
  std::vector<std::string> tasks;  // names of shipped tasks, task files, or "all"
  std::string task_data = "data/eval";
  int64_t limit = 0;                 // questions of each task; 0: all
  std::vector<std::string> without;  // sub-blocks and blocks to remove, "attn:5"
  std::string separator = "<|endoftext|>";
  std::string device = "cpu";
  std::string compute = "fp32";  // or "bf16": type of the products
  int64_t positions = 0;         // 0: all
  int64_t length = 0;            // 0: the model's context
  int64_t batch = 8;
  int threads = 0;  // 0: all cores
  bool json = false;
};

struct GenerateOptions {
  std::string model;
  std::vector<std::string> prompts;  // texts to continue; with `chat`, questions one after another
  bool chat = false;   // as the tokenizer's chat template says; without prompts, lines of the input
  std::string system;  // what a chat begins with; empty: as the template does
  std::string device = "cpu";
  std::string dtype = "fp32";
  int64_t tokens = 128;
  double temperature = 0;
  int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  uint64_t seed = 1;
  std::vector<std::string> stops;
  int64_t batch = 8;  // prompts at a time
  int threads = 0;    // 0: all cores
  bool json = false;
};

struct BenchVerbOptions {
  std::vector<std::string> models;
  std::string dtype = "fp32";
  int64_t batch = 1, prefill = 512, decode = 128, rounds = 5;
  int threads = 0;  // 0: all cores
  bool json = false;
};

struct ExportOptions {
  std::string model;  // a folder, a GGUF file, or GRAPH:STEP
  std::string out;    // a folder, or a file for GGUF
  std::string format = "hf";
  std::string dtype = "same";
  std::vector<std::string> types;     // PART=TYPE (nodes/precision/mixture.h); the rest in dtype
  std::string precision;              // a step of the graph that chose the types of all parts
  std::string store = "store";        // of GRAPH:STEP
  std::vector<std::string> settings;  // likewise
};

/// What the verbs run; each returns an exit code.
struct ModelCommands {
  std::function<int(const EvalOptions&)> eval;
  std::function<int(const GenerateOptions&)> generate;
  std::function<int(const BenchVerbOptions&)> bench;
  std::function<int(const ExportOptions&)> export_model;
};

void AddModelVerbs(Verbs& verbs, const ModelCommands& commands);

}  // namespace puzzle
