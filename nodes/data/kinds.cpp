#include "nodes/data/kinds.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "graph/kind/unkeyed_as.h"
#include "model/files/checkpoint_digest.h"
#include "nodes/data/documents.h"

namespace puzzle {

namespace {

NodeKind SyntheticTextKind() {
  return Kind<SyntheticTextParams>("synthetic_text", 1,
                                   "Small generated stories with names and facts used again later.")
      .Param("stories", &SyntheticTextParams::stories, {Between(1, 1e7)}, "how many stories")
      .Param("seed", &SyntheticTextParams::seed, {}, "other seeds give other stories")
      .Out("text");
}

NodeKind LoadModelKind() {
  return Kind<LoadModelParams>("load_model", 1,
                               "A checkpoint: a Hugging Face folder, or a GGUF file.")
      .Param("path", &LoadModelParams::path, {Required(), InputFolder(DigestCheckpoint)},
             "folder with config.json, safetensors and a tokenizer; or a .gguf")
      .Out("checkpoint");
}

NodeKind TokenizeKind() {
  return Kind<TokenizeParams>("tokenize", 3,
                              "Text as equal sequences of token ids, each document as the "
                              "tokenizer begins a text, else the separator's token or EOS between "
                              "them.")
      .InOptional("model", "checkpoint", "whose tokenizer to use")
      .InOptional("text", "text", "the text, unless it is a file")
      .Param("text", &TokenizeParams::text, {InputFolder(DigestText)},
             "a text file, JSON lines of texts or conversations (.jsonl), or a folder of both")
      .Param("texts", &TokenizeParams::texts, {InputFolder(DigestText), UnkeyedAs("")},
             "several files, or folders of .txt and .jsonl, interleaved")
      .Param("weights", &TokenizeParams::weights, {UnkeyedAs("")},
             "shares of `texts` in bytes; without them in proportion to their sizes")
      .Param("tokenizer", &TokenizeParams::tokenizer, {OneOf({"model", "byte"})},
             "the model's own, or one id per byte")
      .Param("separator", &TokenizeParams::separator, {}, "what stands between documents")
      .Param("length", &TokenizeParams::length, {Between(2, 1 << 24)}, "tokens in a sequence")
      .Param("sequences", &TokenizeParams::sequences, {Between(0, 1e9)}, "how many; 0: all")
      .Param("take", &TokenizeParams::take, {OneOf({"first", "last"})},
             "which, when there are more")
      .Check([](const TokenizeParams& params) -> std::optional<std::string> {
        if (params.weights.empty()) return std::nullopt;
        if (params.weights.size() != params.texts.size())
          return fmt::format("weights: {} for {} texts", params.weights.size(),
                             params.texts.size());
        for (size_t i = 0; i < params.weights.size(); ++i)
          if (!(params.weights[i] > 0 && std::isfinite(params.weights[i])))
            return fmt::format("weights: {} for \"{}\"; a text that shall not be read is left out",
                               params.weights[i], params.texts[i]);
        return std::nullopt;
      })
      .CheckPorts([](const TokenizeParams& params,
                     const ConnectedPorts& has) -> std::optional<std::string> {
        if (int{!params.text.empty()} + int{!params.texts.empty()} + int{has("text")} != 1)
          return "give the text one way: by the parameter `text` (a file or folder), by `texts` "
                 "(several), or by the port `text`";
        if (params.tokenizer == "model" && !has("model"))
          return "tokenizer \"model\" needs the port `model`; use \"byte\" without a model";
        return std::nullopt;
      })
      .Out("tokens");
}

NodeKind ExportKind() {
  return Kind<ExportParams>("export", 3,
                            "Writes a checkpoint as a Hugging Face folder, or as a GGUF file.")
      .In("model", "checkpoint", "what to write")
      .InOptional("precision", "precision", "gguf: a type for each part in place of `dtype`")
      .Param("folder", &ExportParams::folder, {Required(), OutputFolder()}, "where to")
      .Param(
          "format", &ExportParams::format, {OneOf(ExportFormats()), UnkeyedAs("hf")},
          "a folder; dense: with all layers alike; anymodel: with a config.json as ModelOpt writes "
          "it; gguf: model.gguf in it, for llama.cpp")
      .Param("dtype", &ExportParams::dtype, {OneOf(ExportDTypes()), UnkeyedAs("same")},
             "of the matrices; \"same\": as in the checkpoint that the model began as")
      .Check([](const ExportParams& params) { return CheckExport(params.format, params.dtype); })
      .CheckPorts(
          [](const ExportParams& params, const ConnectedPorts& has) -> std::optional<std::string> {
            if (!has("precision")) return std::nullopt;
            if (params.format != "gguf")
              return "format \"" + params.format +
                     "\" has one type for all matrices; a precision needs \"gguf\"";
            if (params.dtype == "same") return std::nullopt;
            return "dtype \"" + params.dtype + "\" and a precision: give one of them";
          })
      .Out("export");
}

std::optional<std::string> CheckCommand(const CommandParams& params) {
  if (params.arguments.empty() || params.arguments.front().empty())
    return "the list of arguments begins with the program";
  if (!params.environment.is_object()) return "environment is an object of texts";
  for (const auto& [name, value] : params.environment.items()) {
    if (name.empty() || name.find('=') != std::string::npos || !value.is_string())
      return "environment is an object of texts: \"" + name + "\" is not one";
  }
  return std::nullopt;
}

// What arguments and variables ask for and will not get.
std::optional<std::string> CheckPlaces(const CommandParams& params, const ConnectedPorts& has) {
  std::vector<std::string> texts = params.arguments;
  for (const auto& [name, value] : params.environment.items())
    if (value.is_string()) texts.push_back(value.get<std::string>());
  std::optional<std::string> complaint;
  for (const std::string& text : texts) {
    (void)FillCommandText(text, [&](const std::string& name) -> std::string {
      const bool is_there = name == "out" || name == "device" ||
                            (name == "script" ? !params.script.empty() : has(name));
      if (!is_there && !complaint)
        complaint = fmt::format("\"{}\" asks for {{{}}}, but {}", text, name,
                                name == "script" ? "there is no parameter \"script\""
                                                 : "nothing is connected to that input");
      return {};
    });
  }
  return complaint;
}

NodeKind CommandKind(const char* name, const char* doc, Needs needs) {
  return Kind<CommandParams>(name, 1, doc)
      .InOptional("model", "checkpoint", "{model} in arguments: a Hugging Face folder")
      .InOptional("parent", "checkpoint", "{parent}: another one")
      .InOptional("tokens", "tokens", "{tokens}: a .npy file, int32 [sequences, length]")
      .InOptional("text", "text", "{text}: a text file")
      .InOptional("choice", "choice", "{choice}: a JSON file")
      .InOptional("evaluation", "evaluation", "{evaluation}: a JSON file")
      .InOptional("result", "command", "{result}: a folder with what another command left")
      .Param("arguments", &CommandParams::arguments, {Required()},
             "the program and what it is called with, no shell between; {out} is a folder for what "
             "it leaves, {device} \"cpu\" or \"cuda\"")
      .Param("script", &CommandParams::script, {InputFile()},
             "{script}: a file of the user's whose content matters")
      .Param("environment", &CommandParams::environment, {},
             "variables it gets beside those of this program: {\"NAME\": \"text\"}")
      .Param("version", &CommandParams::version, {},
             "of the program, in the user's words; another one makes the result stale")
      .Param("outputs", &CommandParams::outputs, {},
             "files and folders in {out} that are the result; * stands for a part of a name")
      .Param("figures", &CommandParams::figures, {},
             "the JSON file in {out} whose scalars are the result's, or \"stdout\"")
      .Param("device", &CommandParams::device, {OneOf({"cpu", "cuda"})},
             "the kind of lane it takes")
      .Param("threads", &CommandParams::threads, {Between(0, 4096), Unkeyed()},
             "it uses at most so many; 0: all")
      .Param("memory_mib", &CommandParams::memory_mib, {Between(0, 1 << 30), Unkeyed()},
             "it needs on its device; 0: little")
      .Check(CheckCommand)
      .CheckPorts(CheckPlaces)
      .Out("command")
      .On(needs)
      .Takes([](const CommandParams& p, const InputFacts&) {
        return Resources{p.device, static_cast<uint64_t>(p.memory_mib) << 20,
                         static_cast<int>(p.threads)};
      });
}

}  // namespace

std::vector<std::string> ExportFormats() {
  return {"hf", "dense", "anymodel", "gguf"};
}

std::vector<std::string> ExportDTypes() {
  return {"same", "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"};
}

std::optional<std::string> CheckExport(const std::string& format, const std::string& dtype) {
  if (format == "gguf" || !dtype.starts_with('q')) return std::nullopt;
  return fmt::format(
      "dtype \"{}\": a Hugging Face folder holds f32, f16 or bf16; format \"gguf\" has the others",
      dtype);
}

std::string FillCommandText(const std::string& text,
                            const std::function<std::string(const std::string& name)>& place) {
  static const std::set<std::string> kNames = {"model",      "parent", "tokens", "text", "choice",
                                               "evaluation", "result", "script", "out",  "device"};
  std::string filled;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t end = text[i] == '{' ? text.find('}', i) : std::string::npos;
    const std::string name = end == std::string::npos ? "" : text.substr(i + 1, end - i - 1);
    if (!kNames.contains(name)) {
      filled += text[i];
      continue;
    }
    filled += place(name);
    i = end;
  }
  return filled;
}

std::vector<NodeKind> DataKinds() {
  return {SyntheticTextKind(),
          LoadModelKind(),
          TokenizeKind(),
          ExportKind(),
          CommandKind("command", "Runs a program and takes up what it leaves.", Needs::kDevice),
          CommandKind("timed_command",
                      "The same for a program that measures time: alone, and bound to the machine.",
                      Needs::kQuietDevice)};
}

}  // namespace puzzle
