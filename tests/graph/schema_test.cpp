// Texts about kinds.
#include "graph/kind/schema.h"

#include <nlohmann/json.hpp>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;

class SchemaTest : public GraphTest {};

TEST_F(SchemaTest, TheSchemaDescribesEveryKind) {
  const Registry registry = MakeToyRegistry(playground_);
  const auto schema = nlohmann::json::parse(GraphSchema(registry));
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  const auto& node = schema["$defs"]["node"];
  EXPECT_EQ(node["properties"]["kind"]["enum"].size(), registry.kinds().size());
  EXPECT_EQ(node["properties"]["kind"]["enumDescriptions"][0], registry.kinds()[0].doc);
  EXPECT_EQ(node["allOf"].size(), registry.kinds().size());
  for (const auto& branch : node["allOf"]) {
    if (branch["if"]["properties"]["kind"]["const"] != "every") continue;
    const auto& params = branch["then"]["properties"]["params"];
    EXPECT_EQ(params["additionalProperties"], false);
    EXPECT_EQ(params["properties"]["integer"]["default"], 1);
    EXPECT_EQ(params["properties"]["integer"]["anyOf"][0],
              nlohmann::json::parse(R"({"type":"integer","minimum":0,"maximum":10})"));
    EXPECT_FALSE(params["properties"]["required"].contains("default"));
    EXPECT_EQ(params["properties"]["text"]["anyOf"][0]["enum"],
              nlohmann::json::parse(R"(["alpha","beta","a"])"));
    EXPECT_EQ(branch["then"]["then"]["properties"]["params"]["required"],
              nlohmann::json::parse(R"(["required"])"));
  }
}

TEST_F(SchemaTest, EveryKeyOfANodeIsDescribed) {
  const Registry registry = MakeToyRegistry(playground_);
  const auto schema = nlohmann::json::parse(GraphSchema(registry));
  std::set<std::string> described, mentioned;
  const auto collect = [&](const nlohmann::json& properties) {
    for (const auto& [name, property] : properties.items()) {
      mentioned.insert(name);
      if (property.contains("description")) described.insert(name);
    }
  };
  collect(schema["properties"]);
  collect(schema["$defs"]["node"]["properties"]);
  EXPECT_EQ(described, mentioned);
  EXPECT_TRUE(described.contains("retries"));
}

TEST_F(SchemaTest, KindsAreListedAndExplained) {
  const Registry registry = MakeToyRegistry(playground_);
  EXPECT_THAT(KindList(registry), HasSubstr("Joins texts.\n"));
  const std::string table = KindTable(*registry.Find("concat"));
  EXPECT_THAT(table, HasSubstr("parts      text (list): sorted"));
  EXPECT_THAT(table, HasSubstr("separator  text: between [default \",\"]"));
  EXPECT_THAT(KindTable(*registry.Find("every")),
              HasSubstr("integer:  [default 1; between 0 and 10]"));
  EXPECT_EQ(nlohmann::json::parse(KindsJson(registry)).size(), registry.kinds().size());
}

}  // namespace
}  // namespace puzzle::testing
