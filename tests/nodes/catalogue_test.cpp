// What holds for the tables of all kinds.
#include "nodes/catalogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <variant>

namespace puzzle {
namespace {

// Sizes are multiplied with each other: a batch of 2^62 gave negative costs once, and exit status
// 0.
TEST(CatalogueTest, EveryWholeNumberHasAnUpperBound) {
  const std::set<std::string> free = {"seed"};  // any value is as good as another
  for (const NodeKind& kind : PuzzleKinds()) {
    const std::shared_ptr<void> params = kind.make_params();
    for (const ParamSpec& param : kind.params) {
      if (!std::holds_alternative<int64_t*>(param.member(params.get()))) continue;
      const bool bounded =
          std::any_of(param.rules.begin(), param.rules.end(), [](const ParamRule& rule) {
            return rule.type == ParamRule::Type::kBetween && rule.high <= 1e12;
          });
      EXPECT_TRUE(bounded || free.contains(param.name)) << kind.name << "." << param.name;
    }
  }
}

}  // namespace
}  // namespace puzzle
