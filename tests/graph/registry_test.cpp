#include "graph/kind/registry.h"

#include <gtest/gtest.h>

#include "io/error.h"
#include "tests/graph/toy_kinds.h"

namespace puzzle {
namespace {

using testing::Number;
using testing::Text;

struct Small {
  bool flag = false;
};
struct Large {
  std::vector<double> values;
};
/// Another type that goes by the name of Text.
struct Impostor {
  static constexpr std::string_view kType = "text";
  void Save(ArchiveWriter& /*writer*/) const {}
  static Impostor Load(const std::shared_ptr<const ArchiveReader>& /*reader*/) { return {}; }
  [[nodiscard]] size_t ResidentBytes() const { return 0; }
};

Text FromSmall(const Small& /*params*/, const Inputs& /*inputs*/, RunContext& /*context*/) {
  return {};
}
Text FromLarge(const Large& /*params*/, const Inputs& /*inputs*/, RunContext& /*context*/) {
  return {};
}
Number NumberFromSmall(const Small& /*params*/, const Inputs& /*inputs*/, RunContext& /*context*/) {
  return {};
}
Impostor Pretend(const Small& /*params*/, const Inputs& /*inputs*/, RunContext& /*context*/) {
  return {};
}
void StreamFromLarge(const Large& /*params*/, const Inputs& /*inputs*/, RunContext& /*context*/,
                     ArchiveWriter& /*out*/) {}

NodeKind Table(const std::string& name = "small", const std::string& output = "text") {
  return Kind<Small>(name, 1, "A kind.").Param("flag", &Small::flag, {}, "a flag").Out(output);
}

void ExpectRefused(std::vector<NodeKind> kinds, std::map<std::string, Body> bodies,
                   const std::string& message) {
  try {
    const Registry registry(std::move(kinds), std::move(bodies));
    ADD_FAILURE() << "accepted; expected: " << message;
  } catch (const BugError& error) {
    EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
  }
}

TEST(RegistryTest, JoinsTableAndBodyOfOneName) {
  const Registry registry({Table()}, {{"small", MakeBody(FromSmall)}});
  ASSERT_NE(registry.Find("small"), nullptr);
  EXPECT_TRUE(registry.Find("small")->body.run);
  EXPECT_FALSE(Registry({Table()}).Find("small")->body.run);
  EXPECT_EQ(registry.Find("smal"), nullptr);
}

TEST(RegistryTest, RefusesABodyOfOtherParameters) {
  ExpectRefused({Table()}, {{"small", MakeBody(FromLarge)}}, "different parameter structs");
  ExpectRefused({Table()}, {{"small", MakeStreamingBody<Text>(StreamFromLarge)}},
                "different parameter structs");
}

TEST(RegistryTest, RefusesABodyThatMakesAnotherArtifact) {
  ExpectRefused({Table()}, {{"small", MakeBody(NumberFromSmall)}},
                R"(the table of "small" promises "text", its body makes "number")");
}

TEST(RegistryTest, RefusesTwoTypesUnderOneArtifactName) {
  ExpectRefused({Table("one"), Table("two")},
                {{"one", MakeBody(FromSmall)}, {"two", MakeBody(Pretend)}},
                R"("one" and "two" mean different artifacts by "text")");
}

TEST(RegistryTest, RefusesWhatIsIncomplete) {
  ExpectRefused({Table(), Table()}, {}, "registered twice");
  ExpectRefused({Table("small", "")}, {}, "has no output");
  ExpectRefused({}, {{"small", MakeBody(FromSmall)}}, "has no table");
}

}  // namespace
}  // namespace puzzle
