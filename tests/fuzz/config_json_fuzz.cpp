// Any text as a config.json: refused with an Error, or a model that is written so that it is read
// back as the same one.
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/json_text.h"
#include "model/files/hf_config.h"
#include "model/shape/variant.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace puzzle;
  const std::string input(reinterpret_cast<const char*>(data), size);
  try {
    const ModelConfig config = ModelConfigFromJson(JsonText::Parse(input, "fuzz").value(), "fuzz");
    PUZZLE_CHECK(CountBlockParameters(config) >= 0 && CountNonBlockParameters(config) > 0,
                 "a count that overflowed");
    try {
      PUZZLE_CHECK(ModelConfigFromJson(ToHfJson(config), "written") == config,
                   "another config came back");
    } catch (const Error& e) {
      // What no reader could be told is refused, by layer.
      PUZZLE_CHECK(std::string(e.what()).find("layer ") != std::string::npos, e.what());
    }
  } catch (const Error&) {  // refused
  }
  return 0;
}

namespace puzzle::fuzz {

std::vector<std::string> Seeds() {
  const std::string sizes =
      R"("vocab_size":40,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,)"
      R"("num_key_value_heads":2,"intermediate_size":48,"max_position_embeddings":64,)"
      R"("rms_norm_eps":1e-05,"eos_token_id":[1,2],"bos_token_id":1,"torch_dtype":"bfloat16")";
  return {
      R"({"model_type":"llama","rope_scaling":{"rope_type":"llama3","factor":8.0,)"
      R"("low_freq_factor":1.0,"high_freq_factor":4.0,)"
      R"("original_max_position_embeddings":8192},)" +
          sizes + "}",
      R"({"model_type":"qwen3","head_dim":16,"layer_types":["full_attention","sliding_attention"],)"
      R"("sliding_window":8,)" +
          sizes + "}",
      R"({"model_type":"nemotron-nas","block_configs":[{"attention":{"no_op":true},)"
      R"("ffn":{"ffn_mult":4.5}},{"attention":{"n_heads_in_group":2},)"
      R"("ffn":{"replace_with_linear":true}}],)" +
          sizes + "}",
      R"({"model_type":"gpt2","vocab_size":40,"n_embd":32,"n_layer":1,"n_head":4,"n_positions":16})",
      R"({"model_type":"gpt_neo","vocab_size":40,"hidden_size":32,"num_layers":2,"num_heads":4,)"
      R"("attention_types":[[["global","local"],1]],"window_size":8})",
      R"({"model_type":"opt","vocab_size":40,"hidden_size":32,"num_hidden_layers":1,)"
      R"("num_attention_heads":4,"ffn_dim":64,"enable_bias":false})"};
}

std::vector<std::string> Words() {
  return {"\"num_hidden_layers\"",
          "\"num_key_value_heads\"",
          "\"unpadded_heads\"",
          "\"block_configs\"",
          "\"window_length\"",
          "\"head_dim\"",
          "\"mistral\"",
          "\"qwen2\"",
          "\"tie_word_embeddings\"",
          "\"rope_parameters\"",
          "\"linear\"",
          "\"no_op\"",
          "null",
          "true",
          "0",
          "-1",
          "1e308",
          "9223372036854775807",
          "4294967296",
          "4096",
          "{",
          "}",
          "[",
          "]",
          ",",
          ":"};
}

}  // namespace puzzle::fuzz
