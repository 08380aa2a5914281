// What config.json says of each family, by literal documents: other programs read them, so that
// being read back by ourselves proves little. Names and defaults are those of the config classes of
// transformers 5.24.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/hf_config.h"
#include "model/files/remote_code.h"

namespace puzzle {
namespace {

using nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr const char* kSizes = R"({"hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "vocab_size": 40})";

// What all documents end in.
constexpr const char* kCommon = R"({"vocab_size": 40, "torch_dtype": "float32",
    "bos_token_id": null, "eos_token_id": null, "initializer_range": 0.02, "use_cache": true})";

// What those of models like Llama say beside it.
constexpr const char* kLikeLlama = R"({"hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 64,
    "rope_theta": 10000.0, "rope_scaling": null, "tie_word_embeddings": false})";

ModelConfig ReadFamilyConfig(const char* own, const char* sizes = kSizes) {
  OrderedJson document = OrderedJson::parse(sizes);
  document.update(OrderedJson::parse(own));
  return ModelConfigFromJson(document, "c");
}

json Merged(std::initializer_list<const char*> parts) {
  json all = json::object();
  for (const char* part : parts) all.update(json::parse(part));
  return all;
}

struct FamilyDocument {
  const char* name;
  const char* read;
  const char* base;  // of what is written
  const char* written;
};

const FamilyDocument kDocuments[] = {
    {"llama", R"({"model_type": "llama", "attention_bias": true, "mlp_bias": true})", kLikeLlama,
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": true,
         "mlp_bias": true})"},
    {"mistral", R"({"model_type": "mistral", "sliding_window": 5})", kLikeLlama,
     R"({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 5})"},
    {"mistral without windows", R"({"model_type": "mistral", "sliding_window": null})", kLikeLlama,
     R"({"architectures": ["MistralForCausalLM"], "model_type": "mistral",
         "sliding_window": null})"},
    {"qwen2", R"({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 4,
                  "max_window_layers": 1})",
     kLikeLlama,
     R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "use_sliding_window": true,
         "sliding_window": 4, "max_window_layers": 1})"},
    {"qwen2 without windows", R"({"model_type": "qwen2"})", kLikeLlama,
     R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "use_sliding_window": false,
         "sliding_window": null, "max_window_layers": 3})"},
    {"qwen3", R"({"model_type": "qwen3", "head_dim": 16})", kLikeLlama,
     R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 16,
         "attention_bias": false, "use_sliding_window": false, "sliding_window": null,
         "max_window_layers": 3})"},
    {"phi3", R"({"model_type": "phi3", "partial_rotary_factor": 0.5, "sliding_window": 6})",
     kLikeLlama,
     R"({"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "rms_norm_eps": 1e-5,
         "partial_rotary_factor": 0.5, "sliding_window": 6})"},
    {"phi3 of a long context",
     R"({"model_type": "phi3", "original_max_position_embeddings": 32, "rope_scaling": {
         "type": "longrope", "short_factor": [1, 1.5, 2, 3], "long_factor": [1, 2, 4, 8],
         "attention_factor": 1.25}})",
     kLikeLlama,
     R"({"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "rms_norm_eps": 1e-5,
         "sliding_window": null, "original_max_position_embeddings": 32, "rope_scaling": {
         "rope_type": "longrope", "type": "longrope", "short_factor": [1, 1.5, 2, 3],
         "long_factor": [1, 2, 4, 8], "original_max_position_embeddings": 32,
         "attention_factor": 1.25}})"},
    {"gpt2", R"({"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4,
                 "n_positions": 64})",
     "{}",
     R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 32, "n_layer": 3,
         "n_head": 4, "n_inner": 128, "n_positions": 64, "activation_function": "gelu_new",
         "layer_norm_epsilon": 1e-5, "scale_attn_weights": true, "tie_word_embeddings": true})"},
    {"gpt_neo", R"({"model_type": "gpt_neo", "num_layers": 3, "num_heads": 4, "window_size": 5,
                    "intermediate_size": null,
                    "attention_types": [[["global", "local"], 1], [["global"], 1]]})",
     "{}",
     R"({"architectures": ["GPTNeoForCausalLM"], "model_type": "gpt_neo", "hidden_size": 32,
         "num_layers": 3, "num_heads": 4, "intermediate_size": 128, "max_position_embeddings": 64,
         "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "window_size": 5,
         "attention_types": [[["global", "local", "global"], 1]],
         "attention_layers": ["global", "local", "global"], "tie_word_embeddings": true})"},
    {"gpt_neo without windows", R"({"model_type": "gpt_neo", "num_layers": 3, "num_heads": 4,
                                    "attention_types": [[["global"], 3]]})",
     "{}",
     R"({"architectures": ["GPTNeoForCausalLM"], "model_type": "gpt_neo", "hidden_size": 32,
         "num_layers": 3, "num_heads": 4, "intermediate_size": 48, "max_position_embeddings": 64,
         "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "window_size": 256,
         "attention_types": [[["global", "global", "global"], 1]],
         "attention_layers": ["global", "global", "global"], "tie_word_embeddings": true})"},
    {"opt", R"({"model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32})", "{}",
     R"({"architectures": ["OPTForCausalLM"], "model_type": "opt", "hidden_size": 32,
         "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 48,
         "max_position_embeddings": 64, "activation_function": "relu", "enable_bias": true,
         "do_layer_norm_before": true, "word_embed_proj_dim": 32, "tie_word_embeddings": true})"},
    {"gemma2", R"({"model_type": "gemma2", "head_dim": 16, "sliding_window": 5,
                   "query_pre_attn_scalar": 12, "attn_logit_softcapping": 2.0,
                   "final_logit_softcapping": null})",
     kLikeLlama,
     R"({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "head_dim": 16,
         "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
         "attention_bias": false, "query_pre_attn_scalar": 12, "attn_logit_softcapping": 2.0,
         "final_logit_softcapping": null, "sliding_window": 5, "layer_types": [
         "sliding_attention", "full_attention", "sliding_attention"],
         "tie_word_embeddings": true})"},
    {"gemma2 without windows", R"({"model_type": "gemma2", "head_dim": 16,
                   "final_logit_softcapping": null, "attn_logit_softcapping": null,
                   "layer_types": ["full_attention", "full_attention", "full_attention"]})",
     kLikeLlama,
     R"({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "head_dim": 16,
         "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
         "attention_bias": false, "query_pre_attn_scalar": 256, "attn_logit_softcapping": null,
         "final_logit_softcapping": null, "sliding_window": 4096, "layer_types": [
         "full_attention", "full_attention", "full_attention"], "tie_word_embeddings": true})"},
    {"gemma3", R"({"model_type": "gemma3_text", "head_dim": 16, "sliding_window": 5,
                   "sliding_window_pattern": 2, "query_pre_attn_scalar": 12})",
     kLikeLlama,
     R"({"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "head_dim": 16,
         "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
         "attention_bias": false, "query_pre_attn_scalar": 12, "attn_logit_softcapping": null,
         "final_logit_softcapping": null, "sliding_window": 5, "layer_types": [
         "sliding_attention", "full_attention", "sliding_attention"], "rope_theta": 1000000.0,
         "rope_local_base_freq": 10000.0, "tie_word_embeddings": true})"},
};

TEST(FamilyConfigTest, DocumentsAreThoseThatTheClassOfTheFamilyReads) {
  for (const FamilyDocument& document : kDocuments) {
    const ModelConfig config = ReadFamilyConfig(document.read);
    const OrderedJson written = ToHfJson(config);
    EXPECT_EQ(json::parse(written.dump()), Merged({kCommon, document.base, document.written}))
        << document.name;
    EXPECT_EQ(ModelConfigFromJson(OrderedJson::parse(written.dump()), "c"), config)
        << document.name;
  }
}

TEST(FamilyConfigTest, IdsAndTypesAreWrittenWhereThereAreSome) {
  ModelConfig config = ReadFamilyConfig(R"({"model_type": "llama"})");
  config.bos_id = 1;
  config.eos_ids = {2};
  config.pad_id = 0;
  config.stored_dtype = DType::kBF16;
  OrderedJson written = ToHfJson(config);
  EXPECT_EQ(written["bos_token_id"], 1);
  EXPECT_EQ(written["eos_token_id"], 2) << "one id is no list";
  EXPECT_EQ(written["pad_token_id"], 0);
  EXPECT_EQ(written["torch_dtype"], "bfloat16");
  config.eos_ids = {2, 3};
  config.stored_dtype = DType::kF16;
  written = ToHfJson(config);
  EXPECT_EQ(written["eos_token_id"], OrderedJson({2, 3}));
  EXPECT_EQ(written["torch_dtype"], "float16");
}

// Sizes alone: the rest is what the class takes for granted.
TEST(FamilyConfigTest, WhatAFileLeavesOutIsWhatItsClassTakes) {
  constexpr const char* kBare = R"({"hidden_size": 512, "intermediate_size": 48, "vocab_size": 40,
      "num_hidden_layers": 7, "num_attention_heads": 4})";
  const auto read = [&](const char* own) { return ReadFamilyConfig(own, kBare); };
  const auto windows = [](const ModelConfig& config) {
    std::vector<int64_t> all;
    for (const BlockSpec& block : config.blocks) all.push_back(block.attention.window);
    return all;
  };
  using testing::Each;
  using testing::ElementsAre;

  const ModelConfig llama = read(R"({"model_type": "llama"})");
  EXPECT_EQ(llama.norm_eps, 1e-6);
  EXPECT_EQ(llama.max_positions, 2048);
  EXPECT_EQ(llama.head_dim, 128);
  EXPECT_EQ(llama.blocks[0].attention.n_kv_heads, 4);
  EXPECT_EQ(llama.rope.theta, 10000);
  EXPECT_FALSE(llama.tied_embeddings || llama.arch.qkv_bias || llama.arch.ffn_bias);
  EXPECT_THAT(windows(llama), Each(0));
  EXPECT_THAT(windows(read(R"({"model_type": "mistral"})")), Each(4096));

  const ModelConfig qwen2 = read(R"({"model_type": "qwen2", "sliding_window": 9})");
  EXPECT_TRUE(qwen2.arch.qkv_bias);
  EXPECT_FALSE(qwen2.arch.o_bias || qwen2.arch.qk_norm);
  EXPECT_THAT(windows(qwen2), Each(0)) << "use_sliding_window is not said";
  const ModelConfig qwen3 = read(R"({"model_type": "qwen3"})");
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_TRUE(qwen3.arch.qk_norm);
  EXPECT_FALSE(qwen3.arch.qkv_bias);

  const ModelConfig phi3 = read(R"({"model_type": "phi3"})");
  EXPECT_EQ(phi3.norm_eps, 1e-5);
  EXPECT_EQ(phi3.max_positions, 4096);
  EXPECT_EQ(phi3.rope.dims, 0) << "all";
  EXPECT_THAT(windows(phi3), Each(0));

  const ModelConfig gpt2 =
      read(R"({"model_type": "gpt2", "n_embd": 512, "n_layer": 7, "n_head": 4})");
  EXPECT_EQ(gpt2.norm_eps, 1e-5);
  EXPECT_EQ(gpt2.max_positions, 1024);
  EXPECT_EQ(gpt2.blocks[6].ffn.size, 2048) << "four times the width";
  EXPECT_EQ(gpt2.arch.activation, Architecture::Activation::kGeluTanh);
  EXPECT_TRUE(gpt2.tied_embeddings && gpt2.arch.scaled_attention);

  const ModelConfig neo = read(R"({"model_type": "gpt_neo", "num_layers": 7, "num_heads": 4})");
  EXPECT_EQ(neo.norm_eps, 1e-5);
  EXPECT_EQ(neo.max_positions, 2048);
  EXPECT_THAT(windows(neo), ElementsAre(0, 256, 0, 256, 0, 256, 0));
  EXPECT_TRUE(neo.tied_embeddings && neo.arch.o_bias && neo.arch.ffn_bias);
  EXPECT_FALSE(neo.arch.qkv_bias || neo.arch.scaled_attention);

  const ModelConfig opt = read(R"({"model_type": "opt", "ffn_dim": 48})");
  EXPECT_EQ(opt.norm_eps, 1e-5);
  EXPECT_EQ(opt.max_positions, 2048);
  EXPECT_EQ(opt.arch.position_offset, 2);
  EXPECT_EQ(opt.arch.activation, Architecture::Activation::kRelu);
  EXPECT_TRUE(opt.tied_embeddings && opt.arch.qkv_bias && opt.arch.o_bias && opt.arch.ffn_bias);

  const ModelConfig gemma2 = read(R"({"model_type": "gemma2", "final_logit_softcapping": null})");
  EXPECT_EQ(gemma2.head_dim, 256);
  EXPECT_EQ(gemma2.max_positions, 8192);
  EXPECT_EQ(gemma2.arch.attention_cap, 50);
  EXPECT_EQ(gemma2.arch.query_scalar, 256);
  EXPECT_EQ(gemma2.arch.embedding_scale, std::sqrt(512.0));
  EXPECT_TRUE(gemma2.tied_embeddings && gemma2.arch.norms_add_one && gemma2.arch.post_norms);
  EXPECT_THAT(windows(gemma2), ElementsAre(4096, 0, 4096, 0, 4096, 0, 4096));

  const ModelConfig gemma3 = read(R"({"model_type": "gemma3_text"})");
  EXPECT_EQ(gemma3.max_positions, 131072);
  EXPECT_EQ(gemma3.arch.attention_cap, 0);
  EXPECT_TRUE(gemma3.arch.qk_norm);
  EXPECT_EQ(gemma3.rope.theta, 1e6);
  EXPECT_EQ(gemma3.window_rope->theta, 1e4);
  EXPECT_THAT(windows(gemma3), ElementsAre(4096, 4096, 4096, 4096, 4096, 0, 4096));
}

TEST(FamilyConfigTest, WhatAFamilyCannotMeanIsRefusedByField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4, "attention_types": "global")",
       "attention_types: expected"},
      {R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4,
          "attention_types": [[["global"], 0], [["global"], 3]])",
       "attention_types: expected"},
      {R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4,
          "attention_types": [[["global"], 4097]])",
       "attention_types: expected"},
      {R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4,
          "attention_types": [[["global"], 1.5]])",
       "attention_types: expected"},
      {R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4,
          "attention_types": [[["global"], 3, 1]])",
       "attention_types: expected"},
      {R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4,
          "attention_types": [["global", 3]])",
       "attention_types: expected"},
      {R"("model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4,
          "add_cross_attention": true)",
       "add_cross_attention: true"},
      {R"("model_type": "opt", "ffn_dim": 48, "layer_norm_elementwise_affine": false)",
       "layer_norm_elementwise_affine: false"},
      {R"("model_type": "opt", "ffn_dim": 48, "_remove_final_layer_norm": true)",
       "_remove_final_layer_norm: true"},
      {R"("model_type": "phi3", "partial_rotary_factor": 0)", "partial_rotary_factor is 0"},
      {R"("model_type": "phi3", "partial_rotary_factor": 1.5)", "partial_rotary_factor is 1.5"},
      {R"("model_type": "gemma2", "head_dim": 16)", "final_logit_softcapping: 30 is not supported"},
      {R"("model_type": "gemma3_text", "use_bidirectional_attention": true)",
       "use_bidirectional_attention: true"},
      {R"("model_type": "gemma3_text", "sliding_window_pattern": 0)",
       "sliding_window_pattern: expected a positive number"},
      {R"("model_type": "gemma3_text", "rope_parameters": {"sliding_attention": {
          "rope_type": "linear", "factor": 2.0}})",
       "a scaling of sliding_attention is not supported"},
      {R"("model_type": "mistral", "sliding_window": 4, "layer_types": [
          "full_attention", "sliding_attention", "round_attention"])",
       "layer_types: expected full_attention or sliding_attention"},
      {R"("block_configs": [
          {"attention": {"n_heads_in_group": 3}, "ffn": {"intermediate_size": 48}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}}])",
       "block_configs[0]: attention: n_heads_in_group 3 does not divide 4"},
      {R"("block_configs": [
          {"attention": {"no_op": true}, "ffn": {"no_op": true}},
          {"attention": {"n_heads_in_group": 0}, "ffn": {"intermediate_size": 48}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}}])",
       "block_configs[1]: attention: n_heads_in_group 0 does not divide 4"},
      {R"("block_configs": [
          {"attention": {"no_op": true, "replace_with_linear": true}, "ffn": {"no_op": true}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}}])",
       "no_op and replace_with_linear exclude each other"},
      {R"("block_configs": [
          {"attention": {"no_op": true}, "ffn": {"no_op": true}},
          {"attention": {"no_op": true}, "ffn": {"ffn_mult": 0}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}}])",
       "block_configs[1]: ffn: needs intermediate_size or a positive ffn_mult"},
      {R"("block_configs": [
          {"attention": {"no_op": true}, "ffn": {"no_op": true}},
          {"attention": {"no_op": true}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}}])",
       "block_configs[1]: needs attention and ffn"},
      {R"("block_configs": [
          {"attention": {"num_sink_tokens": 4}, "ffn": {"no_op": true}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}},
          {"attention": {"no_op": true}, "ffn": {"no_op": true}}])",
       "num_sink_tokens is not supported"},
      {R"("block_configs": [{"attention": {"no_op": true}, "ffn": {"no_op": true}}])",
       "block_configs: expected a list of num_hidden_layers = 3 blocks"}};
  for (const auto& [own, message] : cases) {
    try {
      (void)ReadFamilyConfig((std::string("{") + own + "}").c_str());
      ADD_FAILURE() << own << " was accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(message)) << own;
      EXPECT_THAT(error.what(), testing::StartsWith("c: ")) << own;
    }
  }
}

// ---- folders that no stock class takes

ModelConfig ChildOf(const char* parent) {
  ModelConfig config = ReadFamilyConfig(parent);
  config.blocks[1].ffn = {SubBlockForm::kNone, 0};
  return config;
}

TEST(FolderJsonTest, SizesHaveTheNamesThatTransformersLooksFor) {
  const OrderedJson folder = FolderJson(
      ChildOf(R"({"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 48,
                  "n_positions": 64})"));
  EXPECT_EQ(folder["model_type"], "puzzle");
  EXPECT_EQ(folder["base_model_type"], "gpt2");
  EXPECT_EQ(folder["architectures"], OrderedJson({"PuzzleForCausalLM"}));
  EXPECT_EQ(folder["hidden_size"], 32);
  EXPECT_EQ(folder["num_hidden_layers"], 3);
  EXPECT_EQ(folder["num_attention_heads"], 4);
  EXPECT_EQ(folder["head_dim"], 8);
  EXPECT_EQ(folder["hidden_act"], "gelu_new");
  EXPECT_EQ(folder["max_position_embeddings"], 64);
  EXPECT_EQ(json::parse(folder["auto_map"].dump()), json::parse(R"({
      "AutoConfig": "configuration_decilm.PuzzleConfig",
      "AutoModelForCausalLM": "modeling_decilm.PuzzleForCausalLM"})"));
  EXPECT_FALSE(folder.contains("rotary")) << "positions are learned";
}

TEST(FolderJsonTest, TheArchitectureSaysWhatSubBlocksAreMadeOf) {
  const auto architecture = [](const char* parent) {
    return json::parse(FolderJson(ChildOf(parent))["architecture"].dump());
  };
  json expected = json::parse(R"({"norm": "layer", "norm_eps": 1e-5, "norms_add_one": false,
      "post_norms": false, "positions": "learned", "position_offset": 2, "gated_ffn": false,
      "qkv_bias": true, "o_bias": true, "ffn_bias": true, "qk_norm": false, "attention_cap": 0,
      "logit_cap": 0, "embedding_scale": 1})");
  expected["score_scale"] = 1 / std::sqrt(8.0);
  EXPECT_EQ(architecture(R"({"model_type": "opt", "ffn_dim": 48})"), expected);
  EXPECT_EQ(architecture(R"({"model_type": "gpt_neo", "num_layers": 3,
                             "num_heads": 4})")["score_scale"],
            1);
  expected = json::parse(R"({"norm": "rms", "norm_eps": 1e-6, "norms_add_one": true,
      "post_norms": true, "positions": "rotary", "position_offset": 0, "gated_ffn": true,
      "qkv_bias": false, "o_bias": false, "ffn_bias": false, "qk_norm": true, "attention_cap": 0,
      "logit_cap": 0})");
  expected["score_scale"] = 1 / std::sqrt(12.0);
  expected["embedding_scale"] = std::sqrt(32.0);
  EXPECT_EQ(architecture(R"({"model_type": "gemma3_text", "query_pre_attn_scalar": 12})"),
            expected);
}

TEST(FolderJsonTest, WindowsAreSaidByTheBlocksAndRotationsByTheirFrequencies) {
  const OrderedJson qwen = FolderJson(ChildOf(
      R"({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 4,
          "max_window_layers": 1})"));
  for (const char* field : {"sliding_window", "use_sliding_window", "max_window_layers"})
    EXPECT_FALSE(qwen.contains(field)) << field;
  EXPECT_TRUE(qwen["block_configs"][0]["attention"]["window_length"].is_null());
  EXPECT_EQ(qwen["block_configs"][2]["attention"]["window_length"], 4);
  // 10000^(-k/4), k = 0 to 3.
  const auto frequencies = qwen["rotary"]["inverse_frequencies"].get<std::vector<double>>();
  EXPECT_THAT(frequencies, testing::Pointwise(testing::DoubleNear(1e-12), {1.0, 0.1, 0.01, 0.001}));
  EXPECT_EQ(qwen["rotary"]["attention_factor"], 1);
  EXPECT_FALSE(qwen["rotary"].contains("long_from"));

  const OrderedJson phi3 = FolderJson(ChildOf(
      R"({"model_type": "phi3", "original_max_position_embeddings": 32, "rope_scaling": {
          "type": "longrope", "short_factor": [1, 2, 4, 8], "long_factor": [1, 10, 10, 10],
          "attention_factor": 1.25}})"));
  EXPECT_EQ(phi3["rotary"]["long_from"], 32);
  EXPECT_EQ(phi3["rotary"]["attention_factor"], 1.25);
  EXPECT_THAT(phi3["rotary"]["inverse_frequencies"].get<std::vector<double>>(),
              testing::Pointwise(testing::DoubleNear(1e-12), {1.0, 0.05, 0.0025, 0.000125}));
  EXPECT_THAT(phi3["rotary"]["long_inverse_frequencies"].get<std::vector<double>>(),
              testing::Pointwise(testing::DoubleNear(1e-12), {1.0, 0.01, 0.001, 0.0001}));

  const OrderedJson gemma = FolderJson(ChildOf(R"({"model_type": "gemma3_text", "head_dim": 8})"));
  EXPECT_FALSE(gemma.contains("layer_types"));
  EXPECT_NEAR(gemma["rotary"]["inverse_frequencies"][1].get<double>(), std::pow(1e6, -0.25), 1e-12);
  EXPECT_NEAR(gemma["rotary"]["window_inverse_frequencies"][1].get<double>(), 0.1, 1e-12);
}

TEST(FolderJsonTest, ChildrenOfLlamaStayWhatOtherReadersKnow) {
  const OrderedJson llama = FolderJson(ChildOf(R"({"model_type": "llama"})"));
  EXPECT_EQ(llama["model_type"], "nemotron-nas");
  EXPECT_EQ(llama["architectures"], OrderedJson({"DeciLMForCausalLM"}));
  EXPECT_EQ(json::parse(llama["auto_map"].dump()), json::parse(R"({
      "AutoConfig": "configuration_decilm.DeciLMConfig",
      "AutoModelForCausalLM": "modeling_decilm.DeciLMForCausalLM"})"));
  EXPECT_EQ(llama["rotary"]["inverse_frequencies"].size(), 4u);
  EXPECT_FALSE(llama.contains("architecture"));
  const OrderedJson plain = FolderJson(ReadFamilyConfig(R"({"model_type": "llama"})"));
  EXPECT_FALSE(plain.contains("auto_map") || plain.contains("rotary")) << "a stock class runs it";
  EXPECT_EQ(NamingOf(llama).model_type, "llama");
  EXPECT_EQ(NamingOf(OrderedJson::parse(R"({"model_type": "puzzle"})")).model_type, "llama");
  EXPECT_EQ(NamingOf(OrderedJson::parse(R"({"model_type": "gpt2"})")).model_type, "gpt2");
}

}  // namespace
}  // namespace puzzle
