// A model's states in a file, as the kind `activations` leaves them, for benchmarks.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/hdf5_archive.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "nodes/states/artifacts.h"

namespace puzzle {

/// What `write` puts into a file that has no name any more.
inline Activations ReadBack(const std::function<void(ArchiveWriter&)>& write) {
  std::string name = (std::filesystem::temp_directory_path() / "capture_XXXXXX").string();
  const std::string folder = mkdtemp(name.data()), path = folder + "/states.h5";
  auto archive = Hdf5Format().create(path);
  write(*archive);
  archive->Close();
  Activations states = Activations::Load(Hdf5Format().open(path));
  std::filesystem::remove_all(folder);
  return states;
}

/// Runs `model` on ids [sequences, length], one sequence at a time, and reads its states back, kept
/// in `dtype`.
inline Activations Capture(const Transformer& model, const at::Tensor& ids, DType dtype) {
  const at::NoGradGuard no_grad;
  return ReadBack([&](ArchiveWriter& archive) {
    const int64_t layers = model.config().n_layers();
    Activations::Writer writer(
        archive, {layers + 1, ids.size(0), ids.size(1), model.config().hidden_size, dtype},
        "parent");
    for (int64_t row = 0; row < ids.size(0); ++row) {
      std::vector<at::Tensor> states = {model.Embed(ids.narrow(0, row, 1))};
      for (int64_t layer = 0; layer < layers; ++layer)
        states.push_back(model.Blocks(states.back(), layer, layer + 1));
      writer.Append(states, ids.narrow(0, row, 1));
    }
  });
}

}  // namespace puzzle
