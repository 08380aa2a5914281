#include "nodes/data/story_corpus.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <initializer_list>
#include <map>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/random.h"

namespace puzzle {
namespace {

using Word = std::string_view;

struct Person {
  Word name;
  bool girl;
};

struct Spot {
  Word name;
  Word preposition;
};

constexpr Person kChildren[] = {{"Lily", true}, {"Mia", true},  {"Anna", true}, {"Sara", true},
                                {"Emma", true}, {"Rose", true}, {"Tim", false}, {"Ben", false},
                                {"Tom", false}, {"Sam", false}, {"Max", false}, {"Leo", false}};
constexpr Person kAdults[] = {{"mom", true}, {"dad", false}, {"grandma", true}, {"grandpa", false}};
constexpr Word kPetNames[] = {"Spot", "Pepper", "Biscuit", "Daisy"};
constexpr Word kPets[] = {"dog", "cat", "rabbit"};
constexpr Word kColors[] = {"red", "blue", "green", "yellow", "orange", "black", "white", "pink"};
constexpr Word kThings[] = {"ball", "key",  "hat",  "book", "cup",     "kite",
                            "bell", "drum", "doll", "boat", "umbrella"};
constexpr Word kThingPlaces[] = {"in the box",   "in the basket",  "under the bed",
                                 "on the shelf", "on the chair",   "under the rug",
                                 "in the bag",   "behind the door"};
constexpr Word kHidingPlaces[] = {"behind the tree", "under the table", "behind the wall",
                                  "in the barn",     "under the bench", "behind the gate"};
constexpr Spot kSpots[] = {{"the park", "in"},  {"the garden", "in"}, {"the forest", "in"},
                           {"the beach", "at"}, {"the market", "at"}, {"the farm", "on"},
                           {"the river", "by"}, {"the lake", "by"}};
constexpr Word kAnimals[] = {"duck", "fox", "owl", "frog", "bird", "horse", "ant"};
constexpr Word kGames[] = {"ran and jumped", "sang songs", "played with sticks"};
constexpr Word kWeather[] = {"sunny", "windy", "cold", "warm"};
constexpr Word kMoods[] = {"kind", "happy", "funny", "little"};
constexpr Word kMeals[] = {"soup", "cake", "pie"};
constexpr Word kFoods[] = {"eggs", "apples", "carrots", "nuts", "beans"};
constexpr Word kCountables[] = {"apple", "egg", "shell", "stone", "flower"};
constexpr Word kTools[] = {"glue", "tape", "string"};
constexpr Word kNumbers[] = {"zero", "one", "two",   "three", "four",
                             "five", "six", "seven", "eight", "nine"};

std::string Capitalised(std::string word) {
  word[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[0])));
  return word;
}

std::string WithArticle(const std::string& phrase) {
  const bool vowel = std::string_view("aeiou").find(phrase[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + phrase;
}

std::string Counted(uint64_t count, Word noun) {
  return fmt::format("{} {}{}", kNumbers[count], noun, count == 1 ? "" : "s");
}

// One story being told. A role ("hero") is given words once; sentences are templates that name
// roles in braces: {hero.his} is the hero's "his" or "her", {Hero.he} begins a sentence.
class Story {
 public:
  explicit Story(uint64_t seed) : random_(seed) {}

  // -- Roles

  void Set(const std::string& role, std::string words) { words_[role] = std::move(words); }
  void SetPerson(const std::string& role, const Person& person) {
    Set(role, std::string(person.name));
    Set(role + ".he", person.girl ? "she" : "he");
    Set(role + ".him", person.girl ? "her" : "him");
    Set(role + ".his", person.girl ? "her" : "his");
    Set(role + ".kind", person.girl ? "girl" : "boy");
  }
  // Two different children and a grown-up.
  void SetPeople() {
    const std::vector<Person> children = Distinct(kChildren, 2);
    SetPerson("hero", children[0]);
    SetPerson("friend", children[1]);
    SetPerson("adult", random_.Pick(kAdults));
  }
  void SetThing(const std::string& role, Word color, Word noun) {
    const std::string phrase = fmt::format("{} {}", color, noun);
    Set(role, phrase);
    Set("a." + role, WithArticle(phrase));
    Set(role + ".noun", std::string(noun));
    Set(role + ".color", std::string(color));
  }
  // Things that differ in both colour and noun.
  void SetThings(const std::vector<std::string>& roles) {
    const std::vector<Word> colors = Distinct(kColors, roles.size());
    const std::vector<Word> nouns = Distinct(kThings, roles.size());
    for (size_t i = 0; i < roles.size(); ++i) SetThing(roles[i], colors[i], nouns[i]);
  }
  // Different words of one list.
  void SetEach(const std::vector<std::string>& roles, std::span<const Word> list) {
    const std::vector<Word> words = Distinct(list, roles.size());
    for (size_t i = 0; i < roles.size(); ++i) {
      Set(roles[i], std::string(words[i]));
      Set("a." + roles[i], WithArticle(std::string(words[i])));
    }
  }
  // Different places to go: {spot} is "the lake", {at.spot} "by the lake".
  void SetSpots(const std::vector<std::string>& roles) {
    const std::vector<Spot> spots = Distinct(kSpots, roles.size());
    for (size_t i = 0; i < roles.size(); ++i) {
      Set(roles[i], std::string(spots[i].name));
      Set("at." + roles[i], fmt::format("{} {}", spots[i].preposition, spots[i].name));
    }
  }

  // -- Telling

  // One of the alternatives.
  void Say(std::initializer_list<std::string_view> alternatives) {
    if (!text_.empty() && text_.back() != '\n') text_ += ' ';
    text_ += Expand(std::data(alternatives)[random_.Below(alternatives.size())]);
  }
  void Maybe(std::initializer_list<std::string_view> alternatives) {
    if (random_.Chance(1, 2)) Say(alternatives);
  }
  void NewParagraph() { text_ += '\n'; }
  // Something that the end may ask about.
  void Remember(std::string_view question_and_answer) {
    facts_.push_back(Expand(question_and_answer));
  }
  // The story with questions about two of its facts.
  std::string End() {
    NewParagraph();
    const std::vector<std::string> asked = Distinct(facts_, 2);
    return fmt::format("{}{} {}", text_, asked[0], asked[1]);
  }

  Random& random() { return random_; }

  // `count` different elements of a list, in random order.
  template <class List>
  std::vector<std::ranges::range_value_t<List>> Distinct(const List& list, size_t count) {
    std::vector<std::ranges::range_value_t<List>> shuffled(std::begin(list), std::end(list));
    PUZZLE_CHECK(count <= shuffled.size(), "list too short");
    random_.Shuffle(shuffled);
    shuffled.resize(count);
    return shuffled;
  }

 private:
  std::string Expand(std::string_view pattern) const {
    std::string text;
    while (!pattern.empty()) {
      const size_t open = pattern.find('{');
      text += pattern.substr(0, open);
      if (open == std::string_view::npos) break;
      const size_t close = pattern.find('}', open);
      PUZZLE_CHECK(close != std::string_view::npos, std::string(pattern));
      std::string role(pattern.substr(open + 1, close - open - 1));
      const bool capital = std::isupper(static_cast<unsigned char>(role[0])) != 0;
      role[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(role[0])));
      const auto words = words_.find(role);
      PUZZLE_CHECK(words != words_.end(), role);
      text += capital ? Capitalised(words->second) : words->second;
      pattern.remove_prefix(close + 1);
    }
    return text;
  }

  Random random_;
  std::map<std::string, std::string> words_;
  std::vector<std::string> facts_;
  std::string text_;
};

void Open(Story& story) {
  story.SetPeople();
  story.SetEach({"weather"}, kWeather);
  story.SetEach({"mood"}, kMoods);
  story.Say(
      {"Once upon a time, there was a {mood} {hero.kind} named {hero}. {Hero.he} had a good "
       "friend named {friend}.",
       "{Hero} was a {mood} {hero.kind}. {Hero.his} best friend was {friend}, a little "
       "{friend.kind}.",
       "One {weather} day, {hero} and {friend} met in the street. They were good friends."});
}

void LostThing(Story& story) {
  Open(story);
  story.SetThings({"thing", "other"});
  story.SetEach({"place", "place2", "wrong"}, kThingPlaces);
  story.SetSpots({"spot"});
  story.SetEach({"game"}, kGames);
  story.Say({"{Hero} had {a.thing} and {friend} had {a.other}."});
  story.Say(
      {"{Hero} put {hero.his} {thing.noun} {place}. {Friend} put {friend.his} {other.noun} "
       "{place2}.",
       "{Friend} left {friend.his} {other.noun} {place2}, and {hero} left {hero.his} "
       "{thing.noun} {place}."});
  story.NewParagraph();
  story.Say({"Then they went to {spot} and {game}.", "Then they {game} {at.spot}."});
  story.Maybe({"It was a {weather} day."});
  story.Say({"When they came home, {hero} could not find {hero.his} {thing}.",
             "At home, {hero} looked for {hero.his} {thing}, but it was not there."});
  story.Say({"\"Where is my {thing.noun}?\" asked {hero}.",
             "\"Oh no, I lost my {thing.noun}!\" cried {hero}."});
  story.Say({"{Hero.he} looked {wrong}, but it was not there.",
             "{Hero.he} looked {place2}, but there was only {friend}'s {other}."});
  story.Say(
      {"\"I know,\" said {friend}. \"You put it {place}.\"", "{Friend} said, \"Look {place}!\""});
  story.Say({"{Hero} looked {place}, and there was the {thing}."});
  story.Maybe({"\"Thank you, {friend}!\" said {hero}.", "{Hero} was happy again."});
  story.Remember("Where was {hero}'s {thing.noun}? It was {place}.");
  story.Remember("Where was {friend}'s {other.noun}? It was {place2}.");
  story.Remember("What color was {hero}'s {thing.noun}? It was {thing.color}.");
  story.Remember("Where did they go? They went to {spot}.");
}

void Gift(Story& story) {
  Open(story);
  story.SetThings({"thing", "other"});
  story.SetEach({"game"}, kGames);
  story.Say({"It was {friend}'s birthday, and {hero} wanted to give {friend.him} a gift.",
             "Soon it was {friend}'s birthday. {Hero} wanted to find a gift for {friend.him}."});
  story.Say({"{Friend} liked {thing.color} best of all colors.",
             "{Friend}'s favorite color was {thing.color}."});
  story.NewParagraph();
  story.Say({"{Hero} went to the market with {hero.his} {adult}. They saw {a.other} and {a.thing}.",
             "At the market, {hero} and {hero.his} {adult} saw {a.thing} and {a.other}."});
  story.Say({"\"Do you want the {other.noun}?\" asked {hero.his} {adult}.",
             "{Hero.his} {adult} asked, \"Which one will {friend} like?\""});
  story.Say({"\"No, {friend} likes {thing.color},\" said {hero}. \"I will take the {thing.noun}.\"",
             "\"The {thing.noun},\" said {hero}, \"because it is {thing.color}.\""});
  story.Say({"{Hero.he} put the {thing.noun} in a box and ran to {friend}."});
  story.Say({"\"Happy birthday, {friend}!\" said {hero}.", "\"This is for you!\" said {hero}."});
  story.Say({"{Friend} looked in the box. \"{A.thing}! Thank you, {hero}!\" {friend.he} said.",
             "{Friend} looked in the box and saw {a.thing}. {Friend.he} was so happy!"});
  story.Maybe({"They ate cake and {game}."});
  story.Remember("What was in the box? It was {a.thing}.");
  story.Remember("Who gave {friend} the {thing.noun}? {Hero} did.");
  story.Remember("What color did {friend} like? {Friend.he} liked {thing.color}.");
  story.Remember("Who went to the market with {hero}? {Hero.his} {adult} did.");
}

void Journey(Story& story) {
  story.SetPeople();
  story.SetEach({"pet"}, kPetNames);
  story.SetEach({"pet.kind"}, kPets);
  story.SetEach({"mood"}, kMoods);
  story.SetSpots({"spot1", "spot2", "spot3"});
  story.SetEach({"animal1", "animal2", "animal3"}, kAnimals);
  story.SetEach({"weather"}, kWeather);
  story.Say({"{Hero} was a {mood} {hero.kind}. {Hero.he} had a {pet.kind} named {pet}.",
             "Once there was a {hero.kind} named {hero} who had a {mood} {pet.kind} named {pet}."});
  story.Say({"One {weather} day, {hero} and {pet} went for a long walk."});
  story.NewParagraph();
  story.Say({"First they came to {spot1} and saw {a.animal1}.",
             "First they went to {spot1}. There they saw {a.animal1}."});
  story.Say({"Then they went to {spot2}, where they saw {a.animal2}.",
             "Next they came to {spot2} and met {a.animal2}."});
  story.Say({"At last they found {a.animal3} {at.spot3}.",
             "Last of all they came to {spot3}. {A.animal3} was there."});
  story.Maybe({"{Pet} wanted to play with the {animal3}.", "The {animal3} looked at {pet}."});
  story.Say({"\"It is late, {pet},\" said {hero}. \"Let us go home.\"",
             "{Hero} was tired. \"Come, {pet}, we must go home,\" {hero.he} said."});
  story.Say({"On the way back they saw {spot2} and then {spot1} again.",
             "They went back past {spot2} and {spot1}."});
  story.Say(
      {"At home, {hero} told {hero.his} {adult}, \"We saw {a.animal1}, {a.animal2} and "
       "{a.animal3}!\"",
       "\"We saw {a.animal1} {at.spot1} and {a.animal2} {at.spot2},\" {hero} told {hero.his} "
       "{adult}."});
  story.Remember("What did they see {at.spot1}? They saw {a.animal1}.");
  story.Remember("What did they see {at.spot2}? They saw {a.animal2}.");
  story.Remember("Where was the {animal3}? It was {at.spot3}.");
  story.Remember("Who went with {hero}? {Pet} the {pet.kind} did.");
}

void Dispute(Story& story) {
  Open(story);
  story.SetThings({"thing"});
  story.SetEach({"place"}, kHidingPlaces);
  story.SetSpots({"spot"});
  story.Say({"They went to {spot}. They found {a.thing} {place}.",
             "{At.spot}, they saw {a.thing} {place}."});
  story.NewParagraph();
  story.Say({"\"I saw it first!\" said {hero}. \"No, it is mine!\" said {friend}.",
             "\"The {thing.noun} is mine!\" cried {hero}. \"No, I want it!\" cried {friend}."});
  story.Say({"{Hero} took the {thing.noun}, and {friend} was angry.",
             "{Friend} ran after {hero}, and the {thing.noun} fell down."});
  story.Say(
      {"{Hero}'s {adult} saw them. \"Do not fight,\" {adult.he} said. \"Today {friend} can have "
       "it, and {hero} can have it tomorrow.\"",
       "Then {hero}'s {adult} came and said, \"Do not fight! {Friend} can play with it today. "
       "Tomorrow {hero} can have it.\""});
  story.Say({"\"I am sorry, {friend},\" said {hero}.",
             "{Hero} told {friend} that {hero.he} was "
             "sorry."});
  story.Say({"So {friend} took the {thing} home that day, and {hero} had it the next day.",
             "So that day {friend} played with the {thing}. The next day it was {hero}'s turn."});
  story.Maybe({"They did not fight again.", "Then they were friends again."});
  story.Remember("Where did they find the {thing.noun}? It was {place}.");
  story.Remember("Who had the {thing.noun} first? {Friend} did.");
  story.Remember("Who had the {thing.noun} the next day? {Hero} did.");
  story.Remember("What color was the {thing.noun}? It was {thing.color}.");
}

void Counting(Story& story) {
  Open(story);
  const Word noun = story.random().Pick(kCountables);
  const uint64_t had = 3 + story.random().Below(5);          // 3 .. 7
  const uint64_t given = 1 + story.random().Below(had - 2);  // leaves at least 2
  const uint64_t more = 1 + story.random().Below(2);         // at most 8 in the end
  story.Set("nouns", fmt::format("{}s", noun));
  story.Set("had", Counted(had, noun));
  story.Set("given", Counted(given, noun));
  story.Set("given.number", std::string(kNumbers[given]));
  story.Set("left", Counted(had - given, noun));
  story.Set("more", std::string(kNumbers[more]));
  story.Set("total", Counted(had - given + more, noun));
  story.Set("total.number", std::string(kNumbers[had - given + more]));
  story.SetEach({"color"}, kColors);
  story.SetSpots({"spot"});
  story.Say({"{Hero}'s {adult} gave {hero.him} {had}.", "{At.spot}, {hero} found {had}."});
  story.Say({"{Hero.he} put the {nouns} in a big bag.", "{Hero.he} liked them very much."});
  story.NewParagraph();
  story.Say({"{Friend} had no {nouns} and was sad.", "But {friend} did not have any {nouns}."});
  story.Say({"\"May I have some {nouns}?\" asked {friend}.",
             "\"I want some {nouns} too,\" said {friend}."});
  story.Say({"\"Yes, {friend},\" said {hero}, and gave {friend.him} {given}.",
             "{Hero} was kind and gave {friend} {given}."});
  story.Say(
      {"Now {hero} had {left} and {friend} had {given.number}.", "Then {hero} had only {left}."});
  story.Maybe({"\"Thank you, {hero}!\" said {friend}."});
  story.Say({"On the way home, {hero} found {more} more. Now {hero.he} had {total}.",
             "Then {hero}'s {adult} came and gave {hero.him} {more} more. So {hero} had {total}."});
  story.Maybe({"It was a good day for {hero} and {friend}."});
  story.Remember("How many {nouns} did {hero} have at first? {Hero.he} had {had}.");
  story.Remember("How many {nouns} did {friend} have? {Friend.he} had {given.number}.");
  story.Remember("How many {nouns} did {hero} have in the end? {Hero.he} had {total.number}.");
}

void BrokenThing(Story& story) {
  Open(story);
  story.SetThings({"thing"});
  story.SetEach({"tool", "tool2"}, kTools);
  story.SetEach({"place"}, kThingPlaces);
  story.Say({"{Friend} had {a.thing}. It was a gift from {friend.his} {adult}.",
             "{Friend}'s {adult} gave {friend.him} {a.thing}."});
  story.Say({"{Friend.he} took the {thing.noun} with {friend.him} every day.",
             "{Friend.he} liked the {thing.noun} very much."});
  story.NewParagraph();
  story.Say({"One day the {thing.noun} fell down and broke.",
             "One morning {friend} fell, and the {thing.noun} broke."});
  story.Say({"\"My {thing.noun} is broken,\" cried {friend}. \"What will my {adult} say?\"",
             "{Friend} was sad. \"My {adult} gave it to me, and now it is broken,\" {friend.he} "
             "said."});
  story.Say({"\"Do not be sad, {friend},\" said {hero}. \"I can fix it.\"",
             "\"I can fix it,\" said {hero}."});
  story.Say(
      {"{Hero} had {tool2} and {tool}. {Hero.he} tried the {tool2}, but only the {tool} was "
       "good.",
       "{Hero.he} found some {tool} {place}."});
  story.Say({"With the {tool}, {hero.he} fixed the {thing.noun}.",
             "{Hero.he} used the {tool} for a long time."});
  story.Say({"\"Look, your {thing} is like new!\" said {hero}.",
             "Soon {friend}'s {thing} was as good as new."});
  story.Maybe({"{Friend} was happy again.", "\"Thank you, {hero}!\" said {friend}."});
  story.Remember("Who fixed the {thing.noun}? {Hero} did.");
  story.Remember("What did {hero} use? {Hero.he} used the {tool}.");
  story.Remember("Who gave {friend} the {thing.noun}? {Friend.his} {adult} did.");
  story.Remember("What color was {friend}'s {thing.noun}? It was {thing.color}.");
}

void Cooking(Story& story) {
  Open(story);
  story.SetEach({"meal"}, kMeals);
  story.SetEach({"food1", "food2", "food3"}, kFoods);
  story.Say({"{Hero} and {hero.his} {adult} wanted to make a {meal}.",
             "{Hero.his} {adult} said, \"Let us make a {meal} today!\""});
  story.Say({"They needed {food1}, {food2} and {food3}."});
  story.NewParagraph();
  story.Say({"{Hero} got the {food1} from the garden.", "{Hero} ran home and got the {food1}."});
  story.Say({"{Hero.his} {adult} got the {food2} from the box.",
             "{Hero.his} {adult} got the {food2} at the market."});
  story.Say({"\"But we have no {food3},\" {adult.he} said.",
             "\"Who has some {food3}?\" asked {hero.his} {adult}."});
  story.Say(
      {"Then {friend} came. \"I have {food3} at home,\" {friend.he} said, and ran to get them.",
       "\"I have some {food3}!\" said {friend}."});
  story.Say({"They put the {food1}, the {food2} and the {food3} in a big bowl.",
             "{Hero} cut the {food1} and {friend} cut the {food3}."});
  story.Say({"Soon the {meal} was ready, and it was very good.",
             "They all ate the {meal}. \"This {meal} is so good!\" said {friend}."});
  story.Maybe({"{Hero} was happy.", "They wanted to make a {meal} again."});
  story.Remember("Who had the {food3}? {Friend} did.");
  story.Remember("Who got the {food1}? {Hero} did.");
  story.Remember("What did they make? They made a {meal}.");
  story.Remember("Who got the {food2}? {Hero.his} {adult} did.");
}

void HideAndSeek(Story& story) {
  Open(story);
  story.SetEach({"place", "wrong", "wrong2", "place2"}, kHidingPlaces);
  story.SetSpots({"spot"});
  story.Say({"They played hide and seek {at.spot}.",
             "\"Let us play hide and seek {at.spot}!\" said {friend}."});
  story.NewParagraph();
  story.Say({"{Hero} closed {hero.his} eyes and counted to ten. {Friend} hid {place}.",
             "{Friend} hid {place}, and {hero} counted to ten."});
  story.Say({"{Hero} looked {wrong}, but {friend} was not there.",
             "\"Are you {wrong}?\" asked {hero}. But {friend} was not there."});
  story.Maybe({"{Hero.he} looked {wrong2}, but {friend} was not there."});
  story.Say({"Then {hero} heard {friend} laugh.", "Then {friend} had to laugh."});
  story.Say({"\"You are {place}!\" said {hero}.", "{Hero} looked {place} and found {friend.him}."});
  story.Say({"Now {friend} counted, and {hero} hid {place2}.",
             "Then it was {hero}'s turn to hide. {Hero.he} hid {place2}."});
  story.Say(
      {"{Friend} looked {place} and {wrong}. Then {friend.he} looked {place2} and found "
       "{hero}.",
       "{Friend} could not find {hero.him}. At last {hero} said, \"I was "
       "{place2}!\""});
  story.Maybe({"They went home when it was dark.", "{Hero} and {friend} laughed."});
  story.Remember("Where did {friend} hide? {Friend.he} was {place}.");
  story.Remember("Where did {hero} hide? {Hero.he} was {place2}.");
  story.Remember("Who counted first? {Hero} did.");
  story.Remember("Where did they play? They played {at.spot}.");
}

void Trade(Story& story) {
  Open(story);
  story.SetThings({"thing", "other"});
  story.SetSpots({"spot"});
  story.Say({"{Hero} had {a.thing} and {friend} had {a.other}.",
             "{Friend} had {a.other}, and {hero} had {a.thing}."});
  story.Say({"They played with them {at.spot}.", "They took them to {spot}."});
  story.NewParagraph();
  story.Say(
      {"{Hero} liked the {other.noun}. \"Will you trade it for my {thing.noun}?\" {hero.he} "
       "asked.",
       "\"I like your {other.noun},\" said {hero}. \"Do you want my {thing.noun}?\""});
  story.Say({"\"Yes, I like the {thing.noun} very much,\" said {friend}.",
             "\"Yes, let us trade!\" said {friend}."});
  story.Say({"So {hero} gave {friend} the {thing}, and {friend} gave {hero} the {other}.",
             "So {friend} took the {thing} and {hero} took the {other}."});
  story.Say(
      {"At home, {hero}'s {adult} asked, \"Where is your {thing.noun}?\"",
       "When {hero} came home, {hero.his} {adult} said, \"I do not see your {thing.noun}.\""});
  story.Say({"\"{Friend} has it now,\" said {hero}. \"And I have {a.other}!\"",
             "\"I gave it to {friend},\" said {hero}, \"and now I have {a.other}.\""});
  story.Maybe({"\"What a good trade,\" said {hero.his} {adult}."});
  story.Remember("Who had the {thing.noun} in the end? {Friend} did.");
  story.Remember("Who had the {other.noun} in the end? {Hero} did.");
  story.Remember("What color was the {other.noun}? It was {other.color}.");
  story.Remember("What color was the {thing.noun}? It was {thing.color}.");
}

constexpr std::array kPlots = {LostThing,   Gift,    Journey,     Dispute, Counting,
                               BrokenThing, Cooking, HideAndSeek, Trade};

}  // namespace

std::string GenerateStories(const StoryOptions& options) {
  if (options.stories < 0) throw Error(fmt::format("stories: {} is negative", options.stories));
  std::string corpus;
  Random seeds(options.seed);
  for (int64_t i = 0; i < options.stories; ++i) {
    Story story(seeds.Next());
    story.random().Pick(kPlots)(story);
    corpus += story.End();
    corpus += kStorySeparator;
  }
  return corpus;
}

}  // namespace puzzle
