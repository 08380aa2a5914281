// `puzzle generate`.
#include <algorithm>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "apps/frame/output.h"
#include "apps/models/model_commands.h"
#include "apps/models/model_session.h"
#include "io/chat_template.h"
#include "io/error.h"
#include "io/tokenizer.h"
#include "model/decode/decoder.h"
#include "model/decode/writer.h"
#include "model/files/checkpoint_config.h"
#include "model/files/open_checkpoint.h"
#include "model/transformer.h"
#include "nodes/measure/evaluate.h"

namespace puzzle {

namespace {

using decode::Decoder;
using decode::WrittenText;
using Prompts = std::vector<std::vector<int32_t>>;

decode::WritingOptions WritingOf(const GenerateOptions& options) {
  decode::WritingOptions writing;
  writing.tokens = options.tokens;
  writing.sampling = {.repetition_penalty = options.repetition_penalty,
                      .temperature = options.temperature,
                      .top_k = options.top_k,
                      .top_p = options.top_p,
                      .min_p = options.min_p,
                      .seed = options.seed};
  writing.stops = options.stops;
  CheckSampling(writing.sampling);
  return writing;
}

Decoder MakeDecoder(const GenerateOptions& options, ModelWeights weights, int threads,
                    int64_t sequences, int64_t positions) {
  decode::DecoderOptions how;
  how.type = decode::WeightTypeNamed(options.dtype);
  how.bf16_cache = how.type != decode::WeightType::kFp32;
  how.threads = threads;
  how.sequences = sequences;
  how.positions = std::min(positions, weights.config.max_positions);
  ReturnFreedMemory();  // reading a tokenizer takes a multiple of what it is
  return {std::move(weights), how};
}

// A line of what is known of a text. A prompt that is not UTF-8 is repaired: JSON has no bytes.
std::string TextJson(const std::string& prompt, const WrittenText& written) {
  const nlohmann::ordered_json json = {{"prompt", prompt},
                                       {"text", written.text},
                                       {"tokens", written.ids.size()},
                                       {"end", decode::TextEndName(written.end)}};
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

void PrintNow(std::string_view text) {
  PrintText(text);
}

// Texts side by side; one alone appears as it is written.
int Continue(const GenerateOptions& options, const Tokenizer& tokenizer, ModelWeights weights,
             int threads) {
  const decode::WritingOptions writing = WritingOf(options);
  std::vector<std::string> texts = options.prompts;
  if (texts.empty()) texts.emplace_back();
  Prompts prompts;
  int64_t longest = 0;
  for (const std::string& text : texts) {
    std::vector<int32_t> ids = tokenizer.Encode(text);
    if (tokenizer.leading_id() >= 0) ids.insert(ids.begin(), tokenizer.leading_id());
    longest = std::max(longest, std::ssize(ids));
    prompts.push_back(std::move(ids));
  }
  const int64_t context = weights.config.max_positions;
  if (longest > context)
    throw Error(fmt::format("the prompt has {} tokens, the model {} positions", longest, context));
  Decoder decoder = MakeDecoder(options, std::move(weights), threads,
                                std::min(options.batch, std::ssize(prompts)),
                                longest + std::min(options.tokens, context - longest));
  const bool streams = texts.size() == 1 && !options.json;
  decode::TextListener listener;
  if (streams) {
    listener = [&, begun = false](int64_t, std::string_view piece) mutable {
      if (!begun) PrintNow(texts[0]);
      begun = true;
      PrintNow(piece);
    };
  }
  const std::vector<WrittenText> written =
      WriteTexts(decoder, tokenizer, prompts, writing, listener);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (options.json) {
      PrintNow(TextJson(texts[i], written[i]));
    } else if (streams) {
      if (written[i].text.empty()) PrintNow(texts[i]);
      PrintNow("\n");
    } else {
      Print("{}{}{}\n", i > 0 ? "\n" : "", texts[i], written[i].text);
    }
  }
  return 0;
}

// A conversation that goes on with every question.
class Chat {
 public:
  Chat(const GenerateOptions& options, const Tokenizer& tokenizer, ChatTemplate format,
       ModelWeights weights, int threads)
      : options_(options),
        writing_(WritingOf(options)),
        tokenizer_(tokenizer),
        format_(std::move(format)),
        decoder_(MakeDecoder(options, std::move(weights), threads, 1,
                             std::numeric_limits<int64_t>::max())) {
    if (!options.system.empty()) messages_.push_back({"system", options.system});
  }

  void Ask(const std::string& question) {
    messages_.push_back({"user", question});
    const ChatIds asked = EncodeChat(tokenizer_, format_.Render(messages_, /*asks=*/true));
    const int64_t context = decoder_.config().max_positions;
    if (std::ssize(asked.ids) > context)
      throw Error(fmt::format("the conversation has {} tokens by now, the model {} positions",
                              asked.ids.size(), context));
    decode::TextListener listener;
    if (!options_.json) listener = [](int64_t, std::string_view piece) { PrintNow(piece); };
    const Prompts prompts = {asked.ids};
    const WrittenText answer =
        decode::WriteTexts(decoder_, tokenizer_, prompts, writing_, listener).front();
    messages_.push_back({"assistant", answer.text});
    PrintNow(options_.json ? TextJson(question, answer) : "\n");
  }

 private:
  const GenerateOptions& options_;
  decode::WritingOptions writing_;
  const Tokenizer& tokenizer_;
  ChatTemplate format_;
  Decoder decoder_;
  std::vector<ChatMessage> messages_;
};

int Talk(const GenerateOptions& options, const Tokenizer& tokenizer, ModelWeights weights,
         int threads) {
  std::optional<ChatTemplate> format = FindChatTemplate(tokenizer.files(), options.model);
  if (!format) throw Error(options.model + ": --chat: the tokenizer has no chat template");
  Chat chat(options, tokenizer, std::move(*format), std::move(weights), threads);
  for (const std::string& question : options.prompts) chat.Ask(question);
  if (!options.prompts.empty()) return 0;
  const bool terminal = isatty(STDIN_FILENO) != 0;
  const auto show_prompt = [&] {
    if (terminal) SayText("> ");
  };
  show_prompt();
  for (std::string line; std::getline(std::cin, line); show_prompt())
    if (!line.empty()) chat.Ask(line);
  return 0;
}

// Where the decoder does not go: the forward pass of the measurements.
int ContinueOnDevice(const GenerateOptions& options, const Tokenizer& tokenizer,
                     ModelWeights weights) {
  if (options.chat || options.prompts.size() > 1 || !options.stops.empty() || options.top_p != 1 ||
      options.min_p != 0 || options.repetition_penalty != 1 || options.dtype != "fp32" ||
      options.json)
    throw Error(fmt::format(
        "on {} only one --prompt, --tokens, --temperature, --top-k and --seed are known; the rest "
        "is computed on the CPU (--device cpu)",
        options.device));
  const std::string prompt = options.prompts.empty() ? "" : options.prompts.front();
  const Transformer model(ToDevice(weights, options.device));
  const std::string text = SampleText(model, tokenizer, prompt, options.tokens,
                                      {options.temperature, options.top_k, options.seed});
  Print("{}{}\n", prompt, text);
  return 0;
}

}  // namespace

int GenerateCommand(const GenerateOptions& options) {
  (void)WritingOf(options);  // complains before anything is loaded
  if (!options.chat && !options.system.empty())
    throw Error("--system belongs to a chat; add --chat");
  (void)ReadCheckpointConfig(options.model);  // what is no checkpoint has no tokenizer either
  const int threads = PrepareThread(options.device, options.threads);
  const auto tokenizer = LoadTokenizer(options.model);
  ModelWeights weights = OpenCheckpoint(options.model);
  if (options.device != "cpu") return ContinueOnDevice(options, *tokenizer, std::move(weights));
  if (options.chat) return Talk(options, *tokenizer, std::move(weights), threads);
  return Continue(options, *tokenizer, std::move(weights), threads);
}

}  // namespace puzzle
