#include "nodes/precision/quantize.h"

#include "io/error.h"
#include "model/files/gguf_checkpoint.h"
#include "model/pch.h"
#include "nodes/precision/artifacts.h"

namespace puzzle {

Checkpoint RunQuantize(const QuantizeParams& params, const Inputs& inputs, RunContext&) {
  if (inputs.Has("precision") != params.type.empty())
    throw Error("give one of the port `precision` and the parameter `type`");
  Checkpoint made = *inputs.Get<Checkpoint>("model");
  GgufOptions options{&StoredTypeNamed(kRestType), {}, made.tokenizer_files, {}};
  StoredTypes types;
  if (params.type.empty()) {
    const auto precision = inputs.Get<Precision>("precision");
    precision->CheckModel(made.model.config);
    types = options.types = precision->Types();
  } else {
    options.type = &StoredTypeNamed(params.type);
    for (const ModelPart& part : StoredParts(made.model.config)) types[part.name] = options.type;
  }
  made.figures = {
      {kFileMib, static_cast<double>(SizesInGguf(made.model, options).file) / (1 << 20)}};
  made.model = StoredAs(made.model, types);
  return made;
}

}  // namespace puzzle
