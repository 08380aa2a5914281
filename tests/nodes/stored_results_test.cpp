// Results that an earlier program stored (tests/nodes/stored: 5af6dfe, before there were rooms; the
// bench 44d905b, before attention had a rate of its own) are read as they were written. The
// expected values were read from the files by h5py; the digests are those of the records that were
// written beside them.
#include <gtest/gtest.h>

#include <numeric>

#include "io/hdf5_archive.h"
#include "nodes/cost/bench.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/train/artifacts.h"

namespace puzzle {
namespace {

std::shared_ptr<const ArchiveReader> Stored(const std::string& name) {
  return Hdf5Format().open(std::string(PUZZLE_SOURCE_DIR) + "/tests/nodes/stored/" + name);
}

TEST(StoredResultsTest, DigestsAreThoseOfTheirRecords) {
  EXPECT_EQ(DigestArchive(*Stored("tokens.h5")),
            "a5dfe679807ff5e656929ae06f1e4d79b08c425b51a4285f6dadea28d7533e47");
  EXPECT_EQ(DigestArchive(*Stored("block.h5")),
            "43bddbb0573047b8040029bfa64fe5fcbfb1019344a14b297963be55e554dda2");
  EXPECT_EQ(DigestArchive(*Stored("evaluation.h5")),
            "f38f1aaa8287a1c16a23fe40f99733839bc994c097486d107fa6b784587d87b5");
  EXPECT_EQ(DigestArchive(*Stored("bench.h5")),
            "ae2531cac5bc74cd1c22809894f90d7810eded135a1c5427ca0bbd1c4b9a992f");
}

TEST(StoredResultsTest, TokensAreTheSame) {
  const TokenSet tokens = TokenSet::Load(Stored("tokens.h5"));
  EXPECT_EQ(tokens.sequences(), 8);
  EXPECT_EQ(tokens.length, 256);
  EXPECT_EQ(tokens.vocab_size, 258);
  EXPECT_EQ(std::vector<int32_t>(tokens.ids.begin(), tokens.ids.begin() + 6),
            (std::vector<int32_t>{112, 32, 98, 101, 104, 105}));
  EXPECT_EQ(std::accumulate(tokens.ids.begin(), tokens.ids.end(), int64_t{0}), 177250);
  EXPECT_EQ(tokens.tokenizer_files.count("byte_tokenizer.json"), 1u);
}

TEST(StoredResultsTest, ABlockIsTheSame) {
  const Block block = Block::Load(Stored("block.h5"));
  EXPECT_EQ(block.layer, 1);
  EXPECT_EQ(block.variant, "attn:none");
  EXPECT_EQ(VariantName(block.spec), "attn:none");
  EXPECT_FALSE(block.parents_own);
  EXPECT_EQ(block.loss, 1.0);
}

// Its prediction stays the one it was made with.
TEST(StoredResultsTest, ABenchIsTheSameToTheLastBit) {
  const Bench bench = Bench::Load(Stored("bench.h5"));
  EXPECT_EQ(bench.options.batch, 32);
  EXPECT_EQ(bench.options.prefill, 1024);
  ASSERT_EQ(bench.results.size(), 2u);
  const BenchResult& child = bench.results[1];
  EXPECT_EQ(child.model, "round 1");
  EXPECT_EQ(child.decode_tok_s.median, 574.4976786016997);
  EXPECT_EQ(child.decode_tok_s.high, 604.12913343124);
  EXPECT_EQ(child.ratio, 1.2392326181442879);
  EXPECT_EQ(child.predicted_ratio, 1.2846824494025935);
  EXPECT_EQ(child.memory_mib, 770.203125);
  EXPECT_EQ(child.cache_gb_s, 0);
}

TEST(StoredResultsTest, AnEvaluationIsTheSameToTheLastBit) {
  const Evaluation evaluation = Evaluation::Load(Stored("evaluation.h5"));
  EXPECT_EQ(evaluation.label, "child");
  EXPECT_TRUE(evaluation.has_kl);
  EXPECT_EQ(evaluation.parameters, 419200);
  EXPECT_EQ(evaluation.block_parameters, 386048);
  EXPECT_EQ(evaluation.weights_mib, 1.59912109375);
  EXPECT_EQ(evaluation.products, "fp32");
  EXPECT_EQ(evaluation.metrics.tokens, 2040);
  EXPECT_EQ(evaluation.metrics.Mean(Metric::kNll), 3.2262357509603685);
  EXPECT_EQ(evaluation.metrics.Error(Metric::kKl), 2.4207765697090456e-09);
  EXPECT_EQ(evaluation.prompt,
            "Once upon a time, there was a kind boy named Sam. He had a red ball");
}

}  // namespace
}  // namespace puzzle
