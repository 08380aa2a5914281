// What an earlier program stored stays valid: what enters the keys of the kinds changes on purpose
// only.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>

#include "graph/plan/key.h"
#include "nodes/catalogue.h"

namespace puzzle {
namespace {

// A step of `kind` whose inputs have these digests.
std::string Recipe(const NodeKind& kind, const std::string& keyed, const PortDigests& digests) {
  PlanNode node;
  node.kind = &kind;
  node.count = 1;
  Plan plan;
  plan.nodes = {node};
  plan.steps.resize(1);
  plan.steps[0].params.keyed = keyed;
  return RecipeText(plan, 0, digests);
}

// Raising one makes all results of the kind stale that anybody has: it is said here, too.
TEST(OldStoresTest, KindsAreOfTheVersionsThatStoresKnow) {
  const std::map<std::string, int> expected = {{"activations", 1},
                                               {"additivity", 1},
                                               {"assemble", 1},
                                               {"bench", 1},
                                               {"best", 1},
                                               {"bisect", 1},
                                               {"bld", 4},
                                               {"block_library", 1},
                                               {"command", 1},
                                               {"cost", 4},
                                               {"evaluate", 5},
                                               {"export", 3},
                                               {"gkd", 4},
                                               {"importance", 1},
                                               {"join", 1},
                                               {"latency", 2},
                                               {"load_model", 1},
                                               {"long_context", 1},
                                               {"model_latency", 2},
                                               {"precision", 1},
                                               {"precision_score", 1},
                                               {"pretrain", 1},
                                               {"quantize", 1},
                                               {"remove_blocks", 1},
                                               {"report", 3},
                                               {"score", 4},
                                               {"search", 2},
                                               {"shortlist", 1},
                                               {"speed_report", 1},
                                               {"sweep", 1},
                                               {"synthetic_text", 1},
                                               {"tasks", 1},
                                               {"teacher_logits", 1},
                                               {"timed_command", 1},
                                               {"tokenize", 3},
                                               {"verdict", 1}};
  std::map<std::string, int> found;
  for (const NodeKind& kind : PuzzleKinds()) found[kind.name] = kind.version;
  EXPECT_EQ(found, expected);
}

// The recipe as written by hand from the tables of 17efd4f, which knew neither port `precision` nor
// `teacher_logits`;
// score_key_test.cpp says that the parameters are those of a graph that gives none.
TEST(OldStoresTest, ADistillationWithoutNewPortsIsThatOfATimeThatKnewNone) {
  const std::string params =
      R"({"batch":8,"checks":5,"clip":1,"compute":"fp32","cosine_weight":1,"holdout":4,)"
      R"("kl_weight":1,"lm_weight":0,"lr":0,"patience":0,"rank":16,"seed":1,"steps":240,)"
      R"("train":"all","warmup":0.05,"weight_decay":0.1})";
  for (const NodeKind& kind : PuzzleKinds()) {
    if (kind.name != "gkd") continue;
    ASSERT_EQ(kind.ports.size(), 6u);
    EXPECT_EQ(Recipe(kind, params, {{"a"}, {"b"}, {"c"}, {}, {}, {}}),
              R"({"format":1,"inputs":{"teacher":["a"],"student":["b"],"tokens":["c"]},)"
              R"("kind":"gkd","params":)" +
                  params + R"(,"version":4})");
    EXPECT_EQ(Recipe(kind, params, {{"a"}, {"b"}, {"c"}, {"d"}, {}, {}}),
              R"({"format":1,"inputs":{"teacher":["a"],"student":["b"],"tokens":["c"],)"
              R"("activations":["d"]},"kind":"gkd","params":)" +
                  params + R"(,"version":4})");
    const std::string without = Recipe(kind, params, {{"a"}, {"b"}, {"c"}, {}, {}, {}});
    EXPECT_NE(Recipe(kind, params, {{"a"}, {"b"}, {"c"}, {}, {"d"}, {}}), without);
    EXPECT_NE(Recipe(kind, params, {{"a"}, {"b"}, {"c"}, {}, {}, {"d"}}), without);
  }
}

// Whoever adds an optional port leaves the results alone that were made without it.
TEST(OldStoresTest, AnOptionalPortThatIsNotConnectedIsInNoKey) {
  int ports = 0;
  for (const NodeKind& kind : PuzzleKinds()) {
    for (size_t p = 0; p < kind.ports.size(); ++p) {
      if (kind.ports[p].arity != PortSpec::Arity::kOptional) continue;
      ++ports;
      PortDigests digests(kind.ports.size(), {"d"});
      digests[p].clear();
      NodeKind before = kind;
      before.ports.erase(before.ports.begin() + static_cast<std::ptrdiff_t>(p));
      PortDigests fewer(before.ports.size(), {"d"});
      EXPECT_EQ(Recipe(kind, "{}", digests), Recipe(before, "{}", fewer))
          << kind.name << ' ' << kind.ports[p].name;
      digests[p] = {"d"};
      EXPECT_NE(Recipe(kind, "{}", digests), Recipe(before, "{}", fewer)) << "connected it is";
    }
  }
  EXPECT_GT(ports, 10);
}

}  // namespace
}  // namespace puzzle
