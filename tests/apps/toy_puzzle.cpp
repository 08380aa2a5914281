// The command line over the toy kinds of tests/graph: a whole program without tensors.
#include "apps/cli.h"
#include "tests/graph/toy_kinds.h"

int main(int argc, char** argv) {
  puzzle::testing::Playground playground;
  const puzzle::Registry registry = puzzle::testing::MakeToyRegistry(playground);
  return puzzle::PuzzleMain(argc, argv, registry, {});
}
