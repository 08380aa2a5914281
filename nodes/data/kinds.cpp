#include "nodes/data/kinds.h"

#include "model/files/checkpoint_digest.h"

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
  return Kind<TokenizeParams>("tokenize", 2,
                              "Text as equal sequences of token ids, each document as the "
                              "tokenizer begins a text, else EOS between them.")
      .InOptional("model", "checkpoint", "whose tokenizer to use")
      .InOptional("text", "text", "the text, unless it is a file")
      .Param("text", &TokenizeParams::text, {InputFile()}, "a text file, unless the port gives it")
      .Param("tokenizer", &TokenizeParams::tokenizer, {OneOf({"model", "byte"})},
             "the model's own, or one id per byte")
      .Param("separator", &TokenizeParams::separator, {}, "what stands between documents")
      .Param("length", &TokenizeParams::length, {Between(2, 1 << 24)}, "tokens in a sequence")
      .Param("sequences", &TokenizeParams::sequences, {AtLeast(0)}, "how many; 0: all")
      .Param("take", &TokenizeParams::take, {OneOf({"first", "last"})},
             "which, when there are more")
      .Out("tokens");
}

NodeKind ExportKind() {
  return Kind<ExportParams>("export", 2, "Writes a checkpoint as a Hugging Face folder.")
      .In("model", "checkpoint", "what to write")
      .Param("folder", &ExportParams::folder, {Required(), OutputFolder()}, "where to")
      .Out("export");
}

}  // namespace

std::vector<NodeKind> DataKinds() {
  return {SyntheticTextKind(), LoadModelKind(), TokenizeKind(), ExportKind()};
}

}  // namespace puzzle
