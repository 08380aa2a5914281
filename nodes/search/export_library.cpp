#include "nodes/search/export_library.h"

#include <filesystem>

#include "io/file.h"
#include "nodes/cost/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/block_library.h"
#include "nodes/search/cost_tables.h"

namespace puzzle {

ExportManifest RunBlockLibrary(const BlockLibraryParams& params, const Inputs& inputs,
                               RunContext&) {
  std::vector<Score> scores;
  for (const auto& input : inputs.List<Score>("scores")) scores.push_back(*input.Load());
  const auto files = WriteBlockLibrary(BlockTableOf(*inputs.Get<CostTable>("costs"), scores));
  std::filesystem::create_directories(params.folder);
  ExportManifest manifest{params.folder, {}};
  for (const auto& [name, text] : files) {
    AtomicFile file((std::filesystem::path(params.folder) / name).string());
    file.Append(text.data(), text.size());
    file.Commit();
    manifest.files[name] = text.size();
  }
  return manifest;
}

}  // namespace puzzle
