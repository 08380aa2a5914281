#include "nodes/measure/long_context.h"

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "io/error.h"
#include "io/random.h"
#include "nodes/data/artifacts.h"

namespace puzzle {

namespace {

constexpr size_t kOffered = 4;  // choices of a question

const std::vector<std::string>& Filling() {
  static const std::vector<std::string> sentences = {
      "The grass is green.",    "The sky is blue.",
      "The sun is yellow.",     "Here we go.",
      "There and back again.",  "The day was warm and long.",
      "A bird sang in a tree.", "They went for a walk.",
      "It was a nice day.",     "The wind was soft.",
      "The water was cold.",    "A dog ran in the park."};
  return sentences;
}

const std::vector<std::string>& Places() {
  static const std::vector<std::string> places = {"house",  "garden", "river", "school",
                                                  "forest", "shop",   "farm",  "park"};
  return places;
}

const std::vector<std::string>& Words() {
  static const std::vector<std::string> words = {"apple", "ball", "bird",  "boat",  "book", "box",
                                                 "cake",  "car",  "cat",   "chair", "cup",  "dog",
                                                 "door",  "fish", "hat",   "horse", "key",  "lamp",
                                                 "moon",  "shoe", "spoon", "star",  "toy",  "tree"};
  return words;
}

size_t Pick(size_t count, Random& random) {
  return static_cast<size_t>(random.Below(count));
}

// So many different ones of `from`, in no order.
std::vector<std::string> SomeOf(std::vector<std::string> from, size_t count, Random& random) {
  random.Shuffle(from);
  from.resize(count);
  return from;
}

std::vector<std::string> FourNumbers(Random& random) {
  std::vector<std::string> numbers;
  while (numbers.size() < kOffered) {
    std::string number = std::to_string(1000 + Pick(9000, random));
    if (std::find(numbers.begin(), numbers.end(), number) == numbers.end())
      numbers.push_back(std::move(number));
  }
  return numbers;
}

std::string Joined(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += (text.empty() ? "" : " ") + sentence;
  return text;
}

// What a question is made of, whatever its length: a text around `filling` pieces of nothing.
struct Riddle {
  std::function<std::string(size_t filling)> context;
  std::vector<std::string> choices;
  size_t answer = 0;
};

// Sentences of nothing with `facts` in between, in their order, at places that do not depend on
// how many sentences there are but in proportion.
std::string Hidden(const std::vector<std::string>& facts, const std::vector<double>& places,
                   const std::vector<size_t>& sentences, size_t filling) {
  std::vector<std::string> text;
  size_t next = 0;
  for (size_t i = 0; i <= filling; ++i) {
    while (next < facts.size() &&
           places[next] * static_cast<double>(filling) <= static_cast<double>(i))
      text.push_back(facts[next++]);
    if (i < filling) text.push_back(Filling()[sentences[i % sentences.size()]]);
  }
  while (next < facts.size()) text.push_back(facts[next++]);
  return Joined(text);
}

// Facts in a text about nothing, and a question behind it.
Riddle HiddenFacts(std::vector<std::string> facts, std::string question,
                   std::vector<std::string> choices, size_t answer, Random& random) {
  std::vector<double> places;
  for (size_t i = 0; i < facts.size(); ++i) places.push_back(random.Uniform());
  std::sort(places.begin(), places.end());
  std::vector<size_t> sentences(257);  // before they repeat
  for (size_t& sentence : sentences) sentence = Pick(Filling().size(), random);
  return {[facts = std::move(facts), places = std::move(places), sentences = std::move(sentences),
           question = std::move(question)](size_t filling) {
            return Hidden(facts, places, sentences, filling) + '\n' + question;
          },
          std::move(choices), answer};
}

Riddle Needle(Random& random) {
  const std::vector<std::string> places = SomeOf(Places(), kOffered, random);
  std::vector<std::string> numbers = FourNumbers(random);
  std::vector<std::string> facts;
  for (size_t i = 0; i < kOffered; ++i)
    facts.push_back(fmt::format("The number of the {} is {}.", places[i], numbers[i]));
  const size_t answer = Pick(kOffered, random);
  random.Shuffle(facts);
  return HiddenFacts(std::move(facts), fmt::format("The number of the {} is", places[answer]),
                     std::move(numbers), answer, random);
}

Riddle Variables(Random& random) {
  constexpr size_t kHops = 2;
  std::vector<std::string> letters;
  for (char c = 'A'; c <= 'Z'; ++c) letters.emplace_back(1, c);
  const std::vector<std::string> names = SomeOf(letters, kOffered * (kHops + 1), random);
  std::vector<std::string> numbers = FourNumbers(random);
  // Chains run side by side; each assignment stands behind the one it reads.
  std::vector<std::string> facts;
  for (size_t hop = 0; hop <= kHops; ++hop) {
    std::vector<std::string> turn;
    for (size_t chain = 0; chain < kOffered; ++chain) {
      const std::string& own = names[chain * (kHops + 1) + hop];
      turn.push_back(
          hop == 0 ? fmt::format("VAR {} = {}.", own, numbers[chain])
                   : fmt::format("VAR {} = VAR {}.", own, names[chain * (kHops + 1) + hop - 1]));
    }
    random.Shuffle(turn);
    facts.insert(facts.end(), turn.begin(), turn.end());
  }
  const size_t answer = Pick(kOffered, random);
  return HiddenFacts(std::move(facts),
                     fmt::format("The number in VAR {} is", names[answer * (kHops + 1) + kHops]),
                     std::move(numbers), answer, random);
}

// The list is filled up round by round: a round tells the common word three times and each of a few
// others once.
Riddle CommonWord(Random& random) {
  constexpr size_t kTold = 7, kTimes = 3;
  const std::vector<std::string> words = SomeOf(Words(), 1 + kTold, random);
  std::vector<std::string> list;
  for (int round = 0; round < 512; ++round) {
    std::vector<std::string> turn(words.begin() + 1, words.end());
    turn.insert(turn.end(), kTimes, words[0]);
    random.Shuffle(turn);
    list.insert(list.end(), turn.begin(), turn.end());
  }
  std::vector<std::string> choices(words.begin(), words.begin() + kOffered);
  random.Shuffle(choices);
  const auto answer =
      static_cast<size_t>(std::find(choices.begin(), choices.end(), words[0]) - choices.begin());
  return {[list = std::move(list)](size_t filling) {
            std::string text = "Words:";
            for (size_t i = 0; i < kTold + kTimes + filling; ++i)
              text += " " + list[i % list.size()];
            return text + ".\nThe word that is there most often is";
          },
          std::move(choices), answer};
}

int64_t TokensOf(const Riddle& riddle, size_t filling, const Tokenizer& tokenizer) {
  const std::string context = riddle.context(filling);
  size_t most = 0;
  for (const std::string& choice : riddle.choices)
    most = std::max(most, tokenizer.Encode(context + " " + choice).size());
  return static_cast<int64_t>(most) + (tokenizer.leading_id() >= 0 ? 1 : 0);
}

// As much nothing as the length has room for.
size_t FillingFor(const Riddle& riddle, int64_t length, const std::string& form,
                  const Tokenizer& tokenizer) {
  if (const int64_t least = TokensOf(riddle, 0, tokenizer); least > length)
    throw Error(
        fmt::format("length: a question of the form {} takes {} tokens before anything is "
                    "filled in, {} are allowed",
                    form, least, length));
  size_t fits = 0, too_much = 1;
  while (TokensOf(riddle, too_much, tokenizer) <= length) {
    fits = too_much;
    too_much *= 2;
  }
  while (too_much - fits > 1) {
    const size_t middle = fits + (too_much - fits) / 2;
    (TokensOf(riddle, middle, tokenizer) <= length ? fits : too_much) = middle;
  }
  return fits;
}

Riddle RiddleOf(const std::string& form, Random& random) {
  if (form == "needle") return Needle(random);
  if (form == "variables") return Variables(random);
  PUZZLE_CHECK(form == "words", "no such form");
  return CommonWord(random);
}

}  // namespace

Task MakeLongContext(const std::string& form, int64_t length, int64_t count, uint64_t seed,
                     const Tokenizer& tokenizer) {
  Task task;
  task.name = fmt::format("{} {}", form, length);
  Random random(seed);
  for (int64_t i = 0; i < count; ++i) {
    const Riddle riddle = RiddleOf(form, random);
    TaskItem item;
    item.contexts = {riddle.context(FillingFor(riddle, length, form, tokenizer))};
    for (const std::string& choice : riddle.choices) {
      item.continuations.push_back(" " + choice);
      item.lengths.push_back(std::ssize(choice));
    }
    item.answer = riddle.answer;
    task.items.push_back(std::move(item));
  }
  return task;
}

TaskSet RunLongContext(const LongContextParams& params, const Inputs& inputs, RunContext& context) {
  const auto& files = inputs.One<Checkpoint>("model").Load()->tokenizer_files;
  if (files.empty()) throw Error("the model brought no tokenizer to count tokens with");
  const auto tokenizer = MakeTokenizer(files);
  TaskSet set;
  for (const std::string& form : params.forms) {
    for (const int64_t length : params.lengths) {
      context.Poll(0, form);
      set.tasks.push_back(MakeLongContext(form, length, params.questions,
                                          static_cast<uint64_t>(params.seed), *tokenizer));
    }
  }
  return set;
}

}  // namespace puzzle
