// Artifacts that refer to the user's checkpoint instead of holding a copy.
#include "nodes/data/file_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/ggml_types.h"
#include "io/hdf5_archive.h"
#include "model/files/checkpoint.h"
#include "model/files/gguf_checkpoint.h"
#include "model/surgery.h"
#include "model/unread.h"
#include "nodes/data/export_model.h"
#include "nodes/data/load_model.h"
#include "nodes/search/artifacts.h"
#include "nodes/train/artifacts.h"
#include "nodes/train/assemble.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;
namespace fs = std::filesystem;

class FileWeightsTest : public testing::Test {
 protected:
  FileWeightsTest() {
    ModelConfig config = TinyConfig();
    config.stored_dtype = DType::kBF16;
    SaveCheckpoint(model_, TinyModel(config));
  }

  Checkpoint Loaded(const std::string& path) const {
    FakeContext context;
    return RunLoadModel({path}, FakeInputs(), context);
  }
  /// Writes an artifact; returns its digest.
  std::string Write(const Checkpoint& checkpoint, const std::string& name) const {
    DigestingWriter writer(Hdf5Format().create(folder_ / name));
    checkpoint.Save(writer);
    writer.Close();
    EXPECT_EQ(DigestArchive(*Hdf5Format().open(folder_ / name)), writer.digest());
    return writer.digest();
  }
  Checkpoint Read(const std::string& name) const {
    return Checkpoint::Load(Hdf5Format().open(folder_ / name));
  }
  std::vector<std::string> Held(const std::string& name) const {
    return Hdf5Format().open(folder_ / name)->ArrayNames();
  }
  std::string ErrorOfReading(const std::string& name) const {
    try {
      (void)ToDevice(Read(name).model, "cpu");
    } catch (const Error& error) {
      return error.what();
    }
    return "read";
  }
  static void ExpectSame(const ModelWeights& a, const ModelWeights& b) {
    EXPECT_EQ(a.config.blocks, b.config.blocks);
    const auto left = Parameters(ToDevice(a, "cpu")), right = Parameters(ToDevice(b, "cpu"));
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) EXPECT_TRUE(left[i].equal(right[i])) << i;
  }

  const TempFolder folder_;
  const std::string model_ = folder_ / "model";
};

// One that is told how far it is.
class ReadingContext final : public FakeContext {
 public:
  void Poll(double fraction, std::string_view) override { fractions.push_back(fraction); }
  std::vector<double> fractions;
};

TEST_F(FileWeightsTest, LoadingTellsHowFarItIsAndWhatIsMissing) {
  ReadingContext context;
  Checkpoint loaded = RunLoadModel({model_}, FakeInputs(), context);
  EXPECT_EQ(context.fractions.size(), Slots(loaded.model).size()) << "after every tensor";
  EXPECT_TRUE(std::is_sorted(context.fractions.begin(), context.fractions.end()));
  EXPECT_EQ(context.fractions.back(), 1);
  EXPECT_THAT(context.warnings, testing::ElementsAre(HasSubstr(
                                    "no tokenizer; only token files can be used with this model")));
}

TEST_F(FileWeightsTest, TheArtifactRefersAndHasTheDigestOfACopy) {
  const Checkpoint loaded = Loaded(model_);
  Checkpoint copy = loaded;
  copy.model = LoadCheckpoint(model_);
  EXPECT_EQ(Write(loaded, "refers.h5"), Write(copy, "copy.h5"));
  EXPECT_EQ(Held("refers.h5"), std::vector<std::string>());
  EXPECT_EQ(Held("copy.h5").size(), Parameters(copy.model).size());
  EXPECT_EQ(Read("refers.h5").ResidentBytes(), 0U);
  ExpectSame(Read("refers.h5").model, copy.model);
  ExpectSame(Read("copy.h5").model, copy.model);  // as artifacts of before are
}

TEST_F(FileWeightsTest, QuantisedFilesAreReferredToAsWell) {
  ModelConfig config = TinyConfig();
  for (BlockSpec& block : config.blocks) block.ffn.size = 64;  // whole blocks of 32
  const std::string path = folder_ / "model.gguf";
  (void)SaveGguf(path, TinyModel(config), {FindWritableGgmlType("Q8_0")});
  const Checkpoint loaded = Loaded(path);
  Checkpoint copy = loaded;
  copy.model = LoadCheckpoint(path);
  EXPECT_EQ(Write(loaded, "refers.h5"), Write(copy, "copy.h5"));
  EXPECT_EQ(Held("refers.h5"), std::vector<std::string>());
  ExpectSame(Read("refers.h5").model, copy.model);
}

TEST_F(FileWeightsTest, WhereTheModelLiesDoesNotMatter) {
  const std::string digest = Write(Loaded(model_), "a.h5");
  fs::rename(model_, folder_ / "elsewhere");
  EXPECT_THAT(ErrorOfReading("a.h5"), HasSubstr("model/model.safetensors is gone"));
  EXPECT_EQ(Write(Loaded(folder_ / "elsewhere"), "b.h5"), digest);
  EXPECT_EQ(ErrorOfReading("b.h5"), "read");
}

TEST_F(FileWeightsTest, AFileThatWasTouchedCountsByItsValues) {
  (void)Write(Loaded(model_), "a.h5");
  const std::string file = model_ + "/model.safetensors";
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::hours(1));
  EXPECT_EQ(ErrorOfReading("a.h5"), "read");
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(-2, std::ios::end);
  stream.put('\1');  // the last bit of a value
  stream.close();
  EXPECT_THAT(ErrorOfReading("a.h5"), HasSubstr("has other values"));
  fs::resize_file(file, fs::file_size(file) + 1);
  EXPECT_THAT(ErrorOfReading("a.h5"), HasSubstr("model.safetensors changed"));
}

TEST_F(FileWeightsTest, AnExportIsOfTheValuesThatWereThere) {
  (void)Write(Loaded(model_), "a.h5");
  const std::string file = model_ + "/model.safetensors", out = folder_ / "out";
  const auto exported = [&] {
    SaveCheckpoint(out, Read("a.h5").model);
    return ReadBytes(out + "/model.safetensors");
  };
  const std::string bytes = ReadBytes(file);
  EXPECT_TRUE(exported() == bytes);
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::hours(1));
  EXPECT_TRUE(exported() == bytes);
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(bytes.size() / 2));
  stream.write("\1\2", 2);
  stream.close();
  EXPECT_THAT(ErrorOf([&] { (void)exported(); }), HasSubstr("has other values"));
  EXPECT_TRUE(ReadBytes(out + "/model.safetensors") == bytes) << "the export of before";
}

TEST_F(FileWeightsTest, AnExportDoesNotTakeThePlaceOfWhatItsModelRefersTo) {
  const std::string file = model_ + "/model.safetensors", bytes = ReadBytes(file);
  EXPECT_THAT(ErrorOf([&] { (void)ExportFolder(Loaded(model_), model_ + "/", "f32"); }),
              HasSubstr("model/: holds weights that this very model refers to"));
  EXPECT_TRUE(ReadBytes(file) == bytes);
  const std::string gguf = folder_ / "model.gguf";
  (void)SaveGguf(gguf, TinyModel(TinyConfig()), {FindWritableGgmlType("F32")});
  EXPECT_THAT(ErrorOf([&] { (void)ExportGguf(Loaded(gguf), gguf, "f16"); }),
              HasSubstr("model.gguf: holds weights that this very model refers to"));
  EXPECT_FALSE(ExportFolder(Loaded(model_), folder_ / "out", "f32").empty());
}

TEST_F(FileWeightsTest, RowsOfAFileThatChangesMeanwhileAreNotTaken) {
  (void)Write(Loaded(model_), "a.h5");
  const Checkpoint checkpoint = Read("a.h5");
  const auto source = SourceOf(checkpoint.model.embedding);
  const TensorSource::Rows* const rows = source->rows();
  ASSERT_NE(rows, nullptr);
  std::vector<float> row(32);
  EXPECT_NO_THROW(rows->ReadRows(3, row));
  const std::string file = model_ + "/model.safetensors";
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::hours(1));
  EXPECT_EQ(source->rows(), nullptr) << "only the whole tells whether it is the same";
  EXPECT_THAT(ErrorOf([&] { rows->ReadRows(3, row); }), HasSubstr("changed while it was read"));
  EXPECT_TRUE(RowsInMemory(checkpoint.model.embedding, 3, 2)
                  .equal(LoadCheckpoint(model_).embedding.narrow(0, 3, 2)));
}

TEST_F(FileWeightsTest, WhatWasTrainedIsReadByRowsFromTheStore) {
  Checkpoint trained = Loaded(model_);
  trained.model = Clone(trained.model);
  (void)Write(trained, "a.h5");
  const Checkpoint read = Read("a.h5");
  ASSERT_TRUE(HasRows(read.model.embedding));
  EXPECT_TRUE(
      RowsInMemory(read.model.embedding, 5, 7).equal(trained.model.embedding.narrow(0, 5, 7)));
}

TEST_F(FileWeightsTest, AChildHoldsOnlyWhatIsNew) {
  (void)Write(Loaded(model_), "parent.h5");
  const Checkpoint parent = Read("parent.h5");
  const ModelWeights in_memory = LoadCheckpoint(model_);
  Block block;
  block.layer = 1;
  block.variant = "ffn:50%";
  block.spec = ResolveVariant(block.variant, parent.model.config, 1);
  block.trained = InitVariant(in_memory, 1, block.spec);
  Choice choice;
  choice.picks = {{1, block.variant, block.spec}};
  FakeInputs inputs;
  inputs.Add("parent", "p", parent).Add("choice", "c", choice).Add("blocks", "b", block);
  FakeContext context;
  const Checkpoint child = RunAssemble({}, inputs, context);
  Checkpoint copy = child;
  copy.model = ToDevice(child.model, "cpu");
  EXPECT_EQ(Write(child, "child.h5"), Write(copy, "copy.h5"));
  for (const std::string& name : Held("child.h5"))
    EXPECT_THAT(name, HasSubstr("layers.1.")) << name;
  EXPECT_EQ(Held("child.h5").size(), 4U);  // norm, gate, up, down
  ModelWeights expected = in_memory;
  Replace(expected, 1, block.spec, block.trained);
  ExpectSame(Read("child.h5").model, expected);
}

// Of a child one new tensor after another is in memory while it is written.
TEST_F(FileWeightsTest, AChildLeavesNewBlocksInTheStoreUntilItIsWritten) {
  (void)Write(Loaded(model_), "parent.h5");
  const Checkpoint parent = Read("parent.h5");
  Block made;
  made.layer = 1;
  made.variant = "attn:kv1+ffn:50%";
  made.spec = ResolveVariant(made.variant, parent.model.config, 1);
  made.trained = InitVariant(LoadCheckpoint(model_), 1, made.spec);
  const auto archive = Hdf5Format().create(folder_ / "block.h5");
  made.Save(*archive);
  archive->Close();
  const Block stored = Block::Load(Hdf5Format().open(folder_ / "block.h5"));
  const auto child_of = [&](const Block& block) {
    Choice choice;
    choice.picks = {{1, block.variant, block.spec}};
    FakeInputs inputs;
    inputs.Add("parent", "p", parent).Add("choice", "c", choice).Add("blocks", "b", block);
    FakeContext context;
    return RunAssemble({}, inputs, context);
  };
  const Checkpoint child = child_of(stored);
  for (const Tensor& tensor : Parameters(child.model)) EXPECT_TRUE(tensor.is_meta());
  EXPECT_EQ(Write(child, "child.h5"), Write(child_of(made), "other.h5"));
}

TEST_F(FileWeightsTest, WhatIsTrainedIsHeld) {
  Checkpoint trained = Loaded(model_);
  trained.model = Clone(trained.model);
  (void)Write(trained, "a.h5");
  EXPECT_EQ(Held("a.h5").size(), Parameters(trained.model).size());
  fs::remove_all(model_);
  EXPECT_EQ(ErrorOfReading("a.h5"), "read");
}

TEST_F(FileWeightsTest, WhatCannotBeUsedIsSaidWhenItIsLoaded) {
  ModelWeights broken = TinyModel();
  broken.blocks[1].ffn.up[3][4] = NAN;
  SaveCheckpoint(model_, broken);
  FakeContext context;
  try {
    (void)RunLoadModel({model_}, FakeInputs(), context);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.layers.1.mlp.up_proj.weight"));
  }
}

}  // namespace
}  // namespace puzzle
