// The command line of `puzzle`, its planner, store and HDF5 files, over one kind that does next to
// nothing: what peers.py measures against other programs.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/cli.h"

namespace {

struct LinkParams {
  int64_t index = 0;
  int64_t x = 1;
};

struct Link {
  static constexpr std::string_view kType = "link";
  std::string text;

  void Save(puzzle::ArchiveWriter& writer) const { writer.SetAttribute("text", text); }
  static Link Load(const std::shared_ptr<const puzzle::ArchiveReader>& reader) {
    return {reader->Attribute("text").get<std::string>()};
  }
  [[nodiscard]] size_t ResidentBytes() const { return text.size(); }
};

/// Like `: > output` of the others, it does not read its input.
Link MakeLink(const LinkParams& p, const puzzle::Inputs&, puzzle::RunContext&) {
  return {std::to_string(p.index) + '/' + std::to_string(p.x)};
}

}  // namespace

int main(int argc, char** argv) {
  const puzzle::Registry registry({puzzle::Kind<LinkParams>("link", 1, "One link of a chain.")
                                       .InOptional("in", "link", "the link before")
                                       .Param("index", &LinkParams::index, {}, "which chain")
                                       .Param("x", &LinkParams::x, {}, "changes everything")
                                       .Out("link")},
                                  {{"link", puzzle::MakeBody(MakeLink)}});
  return puzzle::PuzzleMain(argc, argv, registry, {});
}
