#include "apps/graphs/show.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/frame/output.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "io/file.h"
#include "io/hdf5_archive.h"

namespace puzzle {

int ShowCommand(const ShowOptions& options) {
  Store store(options.store, Hdf5Format());
  try {
    const Shown shown = FindShown(store, options.name);
    if (!options.picture.empty()) WriteWholeFile(options.picture, ShownPicture(shown, store));
    Print("{}", options.json ? ShownJson(shown) : ShownText(shown, store));
  } catch (const Error& error) {
    Say("{}\n", error.what());
    return kExitBadInput;
  }
  return kExitDone;
}

void AddShowVerb(Verbs& verbs) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App& verb = verbs.Add(
      "show", "Show a result: figures, what it was made from, how to make it again alone.",
      "  puzzle show choice\n"
      "  puzzle show 'blocks[layer=3,variant=ffn:50%]'\n"
      "  puzzle show 4f0c92 --store store --json\n"
      "  puzzle show frontier --picture frontier.svg",
      [options] { return ShowCommand(*options); });
  verb.add_option("STEP|KEY", options->name, "a step, a key, or the first six digits of a key")
      ->required();
  verb.add_option("--store", options->store, "folder of finished results")->capture_default_str();
  verb.add_option("--picture", options->picture, "write the result's picture to this file (SVG)");
  verb.add_flag("--json", options->json, "print JSON");
}

}  // namespace puzzle
