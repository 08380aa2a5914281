#include "nodes/precision/quantize.h"

#include "model/files/gguf_checkpoint.h"
#include "model/pch.h"
#include "nodes/precision/artifacts.h"
#include "nodes/precision/mixture.h"

namespace puzzle {

Checkpoint RunQuantize(const QuantizeParams& params, const Inputs& inputs, RunContext&) {
  Checkpoint made = *inputs.Get<Checkpoint>("model");
  GgufOptions options{&StoredTypeNamed(kRestType), {}, made.tokenizer_files, {}};
  StoredTypes types;
  if (params.type.empty()) {
    types = options.types = inputs.Get<Precision>("precision")->TypesFor(made.model.config);
  } else {
    options.type = &StoredTypeNamed(params.type);
    options.types = MixtureOf(params.parts, made.model.config);
    types = options.types;
    for (const ModelPart& part : StoredParts(made.model.config))
      types.emplace(part.name, options.type);
  }
  made.figures = {
      {kFileMib, static_cast<double>(SizesInGguf(made.model, options).file) / (1 << 20)}};
  made.model = StoredAs(made.model, types);
  return made;
}

}  // namespace puzzle
