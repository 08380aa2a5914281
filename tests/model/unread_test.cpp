// Tensors that are read when they are used.
#include "model/unread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "io/error.h"
#include "io/ggml_types.h"
#include "io/safetensors.h"
#include "model/families/family.h"
#include "model/files/checkpoint.h"
#include "model/files/dense.h"
#include "model/files/gguf_checkpoint.h"
#include "model/files/open_checkpoint.h"
#include "model/transformer.h"
#include "tests/io/file_size_limit.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"
#include "tests/model/watched_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;
namespace fs = std::filesystem;

/// Counts how often it is read.
class Counted final : public TensorSource {
 public:
  explicit Counted(Tensor values) : values_(std::move(values)) {}
  Tensor Read() const override {
    ++reads;
    return values_.clone();
  }
  mutable int reads = 0;

 private:
  Tensor values_;
};

TEST(UnreadTest, ATensorHasItsShapeAndKnowsWhereItsValuesAre) {
  const Tensor values = RandomTensor({3, 5}, 1);
  const auto source = std::make_shared<const Counted>(values);
  const Tensor tensor = Unread({3, 5}, source);
  EXPECT_EQ(tensor.sizes(), values.sizes());
  EXPECT_EQ(tensor.scalar_type(), at::kFloat);
  const Tensor handle = tensor;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(SourceOf(handle), source);
  EXPECT_EQ(source->reads, 0);
  EXPECT_TRUE(InMemory(handle).equal(values));
  EXPECT_EQ(source->reads, 1);
  EXPECT_EQ(SourceOf(values), nullptr);
  EXPECT_EQ(SourceOf(Tensor()), nullptr);
  EXPECT_TRUE(InMemory(values).is_same(values));
  EXPECT_FALSE(InMemory(Tensor()).defined());
}

TEST(UnreadTest, PartsAndResultsHaveNoValues) {
  const Tensor tensor = Unread({4, 4}, std::make_shared<const Counted>(RandomTensor({4, 4}, 1)));
  for (const Tensor& made : {tensor.narrow(0, 1, 2), tensor.t(), tensor + 1, tensor.select(0, 0)}) {
    EXPECT_EQ(SourceOf(made), nullptr);
    EXPECT_THROW((void)InMemory(made), BugError);
  }
}

TEST(UnreadTest, WhatIsReadHasTheShapeThatWasSaid) {
  const Tensor tensor = Unread({2, 3}, std::make_shared<const Counted>(RandomTensor({3, 2}, 1)));
  EXPECT_THROW((void)InMemory(tensor), Error);
}

/// TinyModel whose tensors are unread; where they come from, by name.
struct UnreadModel {
  explicit UnreadModel(const ModelConfig& config) : model(TinyModel(config)) {
    for (const auto& [name, slot] : Slots(model)) {
      sources[name] = std::make_shared<const Counted>(*slot);
      *slot = Unread(slot->sizes().vec(), sources[name]);
    }
  }
  [[nodiscard]] std::vector<std::string> Read() const {
    std::vector<std::string> names;
    for (const auto& [name, source] : sources)
      if (source->reads > 0) names.push_back(name);
    return names;
  }
  ModelWeights model;
  std::map<std::string, std::shared_ptr<const Counted>> sources;
};

TEST(UnreadTest, APartOfAModelIsReadAlone) {
  const UnreadModel unread(TinyConfig());
  const Transformer part(PartInMemory(unread.model, {.first = 1, .last = 2}, "cpu"));
  for (const std::string& name : unread.Read())
    EXPECT_TRUE(name.starts_with("model.layers.1.") || name == "model.norm.weight") << name;
  EXPECT_EQ(unread.Read().size(), 10U);
  EXPECT_EQ(ByteSize(unread.model), 0U);
  const Transformer whole(TinyModel());
  const Tensor x = RandomTensor({2, 6, 32}, 3);
  EXPECT_TRUE(part.Blocks(x, 1, 2).equal(whole.Blocks(x, 1, 2)));
  EXPECT_TRUE(part.FinalNorm(x).equal(whole.FinalNorm(x)));
}

TEST(UnreadTest, CopiesAreInMemory) {
  const UnreadModel unread(TinyConfig());
  const ModelWeights whole = TinyModel();
  for (const ModelWeights& made : {Clone(unread.model), ToDevice(unread.model, "cpu")}) {
    const auto a = Parameters(made), b = Parameters(whole);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
  }
}

/// Any rows of every matrix that can be read in parts.
void ExpectRowsOfRead(ModelWeights opened, size_t wanted) {
  size_t matrices = 0;
  for (const auto& [name, slot] : Slots(opened)) {
    const auto source = SourceOf(*slot);
    ASSERT_NE(source, nullptr) << name;
    const TensorSource::Rows* const rows = source->rows();
    if (rows == nullptr) continue;
    ++matrices;
    const Tensor whole = source->Read();
    const int64_t n = whole.size(0);
    for (const auto& [first, count] :
         {std::pair<int64_t, int64_t>{0, n}, {0, 1}, {n - 1, 1}, {3, 6}, {n / 2, n - n / 2}}) {
      const Tensor part = at::empty({count, whole.size(1)});
      rows->ReadRows(first, {part.data_ptr<float>(), static_cast<size_t>(part.numel())});
      EXPECT_TRUE(part.equal(whole.narrow(0, first, count))) << name << " " << first;
    }
  }
  EXPECT_EQ(matrices, wanted);
}

TEST(UnreadTest, RowsOfAMatrixAreReadAlone) {
  const TempFolder folder;
  ModelConfig config = TinyConfig();
  SaveCheckpoint(folder / "llama", TinyModel(config));
  ExpectRowsOfRead(OpenCheckpoint(folder / "llama"), 1 + 2 * 7);
  // q and k in llama.cpp's order, so that rows of a head are read together.
  (void)SaveGguf(folder / "llama.gguf", TinyModel(config), {FindWritableGgmlType("F32")});
  ExpectRowsOfRead(OpenCheckpoint(folder / "llama.gguf"), 1 + 2 * 7);
  // Stored the other way round: as a whole, but for the embedding and the positions.
  config.family = "gpt2";
  config.arch = FamilyOf(config).arch;
  for (BlockSpec& block : config.blocks) block.attention.n_kv_heads = 4;
  SaveCheckpoint(folder / "gpt2", TinyModel(config));
  ExpectRowsOfRead(OpenCheckpoint(folder / "gpt2"), 2);
}

TEST(UnreadTest, ATwinThatDiffersIsFoundInItsRow) {
  const TempFolder folder;
  ModelWeights model = TinyModel();
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, slot] : Slots(model))
    tensors.push_back({name, slot->sizes().vec(), slot->data_ptr<float>()});
  Tensor head = model.embedding.clone();
  head[7][3].fill_(1.0);
  tensors.push_back({"lm_head.weight", head.sizes().vec(), head.data_ptr<float>()});
  SaveCheckpoint(folder / "model", model);
  WriteSafetensors(folder / "model", tensors);
  const ModelWeights opened = OpenCheckpoint(folder / "model");
  const auto source = SourceOf(opened.embedding);
  std::vector<float> row(32);
  source->rows()->ReadRows(6, row);
  EXPECT_THROW(source->rows()->ReadRows(7, row), Error);
  EXPECT_THROW((void)source->Read(), Error);
}

TEST(UnreadTest, WhatIsComputedOfATensorIsComputedWhenItIsUsed) {
  const Tensor values = RandomTensor({3, 5}, 1);
  const auto source = std::make_shared<const Counted>(values);
  const auto twice = [](const Tensor& x) { return at::cat({x, x}); };
  const Tensor made = Computed(Unread({3, 5}, source), {6, 5}, twice);
  EXPECT_EQ(made.size(0), 6);
  EXPECT_EQ(source->reads, 0);
  EXPECT_TRUE(InMemory(made).equal(twice(values)));
  EXPECT_EQ(source->reads, 1);
  EXPECT_EQ(SourceOf(made)->place(), nullptr);
  EXPECT_TRUE(Computed(values, {6, 5}, twice).equal(twice(values)));
}

/// Exports of models that are not in memory.
class StreamTest : public testing::Test {
 protected:
  /// A checkpoint whose layers differ, one of them with query heads filled up with zeros.
  std::string Source(DType dtype = DType::kBF16, int64_t vocab_size = 40) const {
    ModelConfig config = TinyConfig();
    config.stored_dtype = dtype;
    config.vocab_size = vocab_size;
    for (BlockSpec& block : config.blocks) block.ffn.size = 64;
    config.blocks[1].attention = {SubBlockForm::kFull, 1};
    config.blocks[1].attention.n_query_heads = 2;
    config.blocks[1].ffn.size = 32;
    SaveCheckpoint(folder_ / "source", TinyModel(config));
    return folder_ / "source";
  }
  [[nodiscard]] std::string Weights(const std::string& name, const ModelWeights& model) const {
    SaveCheckpoint(folder_ / name, model);
    return ReadBytes(folder_ / name + "/model.safetensors");
  }
  [[nodiscard]] std::string Gguf(const ModelWeights& model, const char* type) const {
    (void)SaveGguf(folder_ / "model.gguf", model, {FindWritableGgmlType(type)});
    return ReadBytes(folder_ / "model.gguf");
  }
  [[nodiscard]] bool NothingIsLeft() const {
    return std::distance(fs::directory_iterator(folder_.path()), {}) == 1;  // the source
  }
  const TempFolder folder_;
};

TEST_F(StreamTest, BytesOfTheSameTypeAreTheSame) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const std::string source = Source(dtype);
    EXPECT_TRUE(Weights("again", OpenCheckpoint(source)) ==
                ReadBytes(source + "/model.safetensors"));
  }
}

TEST_F(StreamTest, FilesAreThoseOfTheModelInMemory) {
  ModelWeights opened = OpenCheckpoint(Source()), whole = LoadCheckpoint(folder_ / "source");
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    opened.config.stored_dtype = whole.config.stored_dtype = dtype;
    EXPECT_TRUE(Weights("a", opened) == Weights("b", whole));
    EXPECT_TRUE(Weights("a", MakeDense(opened)) == Weights("b", MakeDense(whole)));
  }
  for (const char* type : {"BF16", "F16", "F32"})
    EXPECT_TRUE(Gguf(opened, type) == Gguf(whole, type)) << type;
}

TEST_F(StreamTest, AFewRowsAreInMemoryAtATime) {
  ModelConfig config = TinyConfig();
  config.vocab_size = 50'000;  // 6 MiB
  const ModelWeights whole = TinyModel(config);
  const WatchedModel watched(whole);
  constexpr size_t kPiece = size_t{4} << 20;
  EXPECT_TRUE(Weights("a", watched.weights) == Weights("b", whole));
  EXPECT_LE(watched.most_rows(), kPiece);
  EXPECT_EQ(watched.Reads("model.embed_tokens.weight"), 0);
  EXPECT_TRUE(Gguf(watched.weights, "F16") == Gguf(whole, "F16"));
  EXPECT_LE(watched.most_rows(), kPiece);
  EXPECT_EQ(watched.Reads("model.embed_tokens.weight"), 0);
  EXPECT_LE(watched.peak(), size_t{1} << 14) << "of other tensors one at a time";
}

TEST_F(StreamTest, RowsOfHeadsAreTurnedSomeAtATime) {
  ModelConfig config = TinyConfig();
  config.hidden_size = 578;  // 453 rows at a time: an odd number, and part of a head
  config.n_heads = 8;
  config.head_dim = 64;
  config.stored_dtype = DType::kBF16;
  config.blocks = {{{SubBlockForm::kFull, 8}, {SubBlockForm::kFull, 32}}};
  SaveCheckpoint(folder_ / "source", TinyModel(config));
  const WatchedModel watched(LoadCheckpoint(folder_ / "source"));
  const ModelWeights opened = OpenCheckpoint(folder_ / "source");
  for (const char* type : {"BF16", "F32"}) {
    const std::string file = Gguf(opened, type);
    ModelWeights read = LoadCheckpoint(folder_ / "model.gguf"),
                 wanted = LoadCheckpoint(folder_ / "source");
    const auto tensors = Slots(read), wanted_tensors = Slots(wanted);
    for (size_t i = 0; i < tensors.size(); ++i)
      EXPECT_TRUE(tensors[i].second->equal(*wanted_tensors[i].second)) << tensors[i].first;
    EXPECT_TRUE(Gguf(watched.weights, type) == file) << type;
  }
  for (const char* name : {"q_proj", "k_proj"})
    EXPECT_EQ(watched.Reads(std::string("model.layers.0.self_attn.") + name + ".weight"), 0)
        << name;
}

TEST_F(StreamTest, AGgufFileIsReadByRows) {
  ModelConfig config = TinyConfig();
  config.blocks[1].ffn.size = 32;
  config.blocks[0].ffn.size = 64;
  for (const char* type : {"Q8_0", "Q4_1", "BF16"}) {
    (void)SaveGguf(folder_ / "source.gguf", TinyModel(config), {FindWritableGgmlType(type)});
    const ModelWeights opened = OpenGguf(folder_ / "source.gguf");
    const ModelWeights whole = LoadCheckpoint(folder_ / "source.gguf");
    EXPECT_TRUE(Weights("a", opened) == Weights("b", whole)) << type;
    EXPECT_TRUE(Gguf(opened, type) == Gguf(whole, type)) << type;
    EXPECT_TRUE(HasRows(opened.embedding));
    EXPECT_TRUE(RowsInMemory(opened.embedding, 7, 5).equal(whole.embedding.narrow(0, 7, 5)));
  }
}

TEST_F(StreamTest, ATiedHeadThatDiffersIsFoundOnTheWay) {
  ModelWeights model = TinyModel();
  SaveCheckpoint(folder_ / "source", model);
  const Tensor twin = model.embedding.clone();
  std::vector<TensorToWrite> tensors = {
      {"lm_head.weight", {40, 32}, twin.data_ptr<float>(), DType::kF32}};
  for (const auto& [name, slot] : Slots(model))
    tensors.push_back({name, slot->sizes().vec(), slot->data_ptr<float>(), DType::kF32});
  WriteSafetensors(folder_ / "source", tensors);
  const std::string expected = Weights("b", model);
  EXPECT_TRUE(Weights("a", OpenCheckpoint(folder_ / "source")) == expected);
  twin.select(0, 39).select(0, 31).add_(1);
  WriteSafetensors(folder_ / "source", tensors);
  EXPECT_THAT(ErrorOf([&] { SaveCheckpoint(folder_ / "c", OpenCheckpoint(folder_ / "source")); }),
              HasSubstr("lm_head.weight differs from the embedding"));
}

TEST_F(StreamTest, WhatIsNotFiniteIsRefusedThoughItIsNotConverted) {
  ModelConfig config = TinyConfig();
  config.stored_dtype = DType::kBF16;
  ModelWeights broken = TinyModel(config);
  broken.blocks[1].ffn.up[3][4] = NAN;
  SaveCheckpoint(folder_ / "source", broken);
  const ModelWeights opened = OpenCheckpoint(folder_ / "source");
  const auto is_named = HasSubstr("model.layers.1.mlp.up_proj.weight");
  EXPECT_THAT(ErrorOf([&] { SaveCheckpoint(folder_ / "out", opened); }), is_named);
  EXPECT_TRUE(NothingIsLeft());
  EXPECT_THAT(ErrorOf([&] {
                (void)SaveGguf(folder_ / "out.gguf", opened, {FindWritableGgmlType("BF16")});
              }),
              is_named);
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(StreamTest, AFileThatIsCutUnderItIsNamedAndNothingIsLeft) {
  // Several pieces of it are written by then.
  const std::string source = Source(DType::kBF16, 100'000), file = source + "/model.safetensors";
  const ModelWeights opened = OpenCheckpoint(source);
  fs::resize_file(file, fs::file_size(file) / 2);
  EXPECT_THAT(ErrorOf([&] { SaveCheckpoint(folder_ / "out", opened); }), HasSubstr(file));
  EXPECT_TRUE(NothingIsLeft());
  EXPECT_THAT(ErrorOf([&] {
                (void)SaveGguf(folder_ / "out.gguf", opened, {FindWritableGgmlType("BF16")});
              }),
              HasSubstr(file));
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(StreamTest, ADiskThatFillsUpLeavesNothing) {
  const ModelWeights opened = OpenCheckpoint(Source(DType::kBF16, 100'000));  // 6.4 MB
  ModelWeights converted = opened;
  converted.config.stored_dtype = DType::kF16;
  for (const rlim_t bytes : {rlim_t{8192}, rlim_t{3'000'000}, rlim_t{6'200'000}}) {
    const FileSizeLimit limit(bytes);
    for (const ModelWeights& model : {opened, converted}) {
      EXPECT_THAT(ErrorOf([&] { SaveCheckpoint(folder_ / "out", model); }),
                  HasSubstr("cannot write"));
      EXPECT_TRUE(NothingIsLeft());
    }
    EXPECT_THAT(ErrorOf([&] {
                  (void)SaveGguf(folder_ / "out.gguf", opened, {FindWritableGgmlType("BF16")});
                }),
                HasSubstr("cannot write"));
    EXPECT_TRUE(NothingIsLeft());
  }
}

TEST(UnreadTest, ACheckpointIsWrittenFromItsFiles) {
  const TempFolder folder;
  ModelConfig config = TinyConfig();
  config.stored_dtype = DType::kBF16;
  SaveCheckpoint(folder / "a", TinyModel(config));
  ModelWeights opened = OpenCheckpoint(folder / "a");
  for (const auto& [name, slot] : Slots(opened)) {
    const auto source = SourceOf(*slot);
    ASSERT_NE(source, nullptr) << name;
    ASSERT_NE(source->place(), nullptr) << name;
    EXPECT_EQ(source->place()->checkpoint, folder / "a");
    EXPECT_EQ(source->place()->name, name);
  }
  SaveCheckpoint(folder / "b", opened);
  ModelWeights again = LoadCheckpoint(folder / "b"), first = LoadCheckpoint(folder / "a");
  const auto a = Parameters(first), b = Parameters(again);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
}

}  // namespace
}  // namespace puzzle
