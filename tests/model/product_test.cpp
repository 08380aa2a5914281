#include "model/math/product.h"

#include <gtest/gtest.h>

#include "model/math/runtime.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

// Every way a matrix may lie: row-major, transposed, a part of a larger one, repeated rows.
std::vector<Tensor> Layouts(int64_t rows, int64_t columns, uint64_t seed) {
  return {
      RandomTensor({rows, columns}, seed), RandomTensor({columns, rows}, seed + 1).t(),
      RandomTensor({rows + 3, columns + 5}, seed + 2).narrow(0, 1, rows).narrow(1, 2, columns),
      RandomTensor({columns + 3, rows + 5}, seed + 3).narrow(0, 1, columns).narrow(1, 2, rows).t(),
      RandomTensor({1, columns}, seed + 4).expand({rows, columns})};
}

Tensor Exact(const Tensor& a, const Tensor& b) {
  return at::mm(a.to(at::kDouble), b.to(at::kDouble)).to(at::kFloat);
}

TEST(ProductTest, AgreesWithDoublePrecisionForEveryLayout) {
  struct Shape {
    int64_t m, k, n;
  };
  for (const Shape& s : {Shape{1, 1, 1}, Shape{1, 7, 5}, Shape{6, 1, 4}, Shape{5, 3, 1},
                         Shape{17, 33, 65}, Shape{1, 64, 130}}) {
    for (const Tensor& a : Layouts(s.m, s.k, 1)) {
      for (const Tensor& b : Layouts(s.k, s.n, 11)) {
        EXPECT_TENSORS_NEAR(Product(a, b), Exact(a, b), 1e-4);
        const Tensor into = RandomTensor({s.m, s.n}, 21), before = into.clone();
        Multiply(a, b, into, Into::kAdd);
        EXPECT_TENSORS_NEAR(into, before + Exact(a, b), 1e-4);
      }
    }
  }
}

TEST(ProductTest, LeavesWhatLiesBesideTheResultAlone) {
  const Tensor all = at::zeros({6, 9});
  const Tensor a = RandomTensor({4, 3}, 1), b = RandomTensor({3, 5}, 2);
  Multiply(a, b, all.narrow(0, 1, 4).narrow(1, 2, 5));
  EXPECT_TENSORS_NEAR(all.narrow(0, 1, 4).narrow(1, 2, 5), Exact(a, b), 1e-5);
  EXPECT_EQ(all.ne(0).sum().item<int64_t>(), 20);
}

// Nothing is lost but what rounding the operands loses.
TEST(ProductTest, SumsBf16OperandsInFp32) {
  const Tensor a = RandomTensor({40, 300}, 1).to(at::kBFloat16);
  const Tensor b = RandomTensor({70, 300}, 2).to(at::kBFloat16).t();
  EXPECT_TENSORS_NEAR(Product(a, b), Exact(a, b), 1e-4);
}

// More rows, columns and terms than libtorch's products widen at a time.
TEST(ProductTest, SumsLargeBf16OperandsInFp32) {
  const Tensor a = RandomTensor({300, 1100}, 1).to(at::kBFloat16);
  const Tensor b = RandomTensor({270, 1100}, 2).to(at::kBFloat16).t(), exact = Exact(a, b);
  EXPECT_TENSORS_NEAR(Product(a, b), exact, 1e-3);
  const Tensor sum = RandomTensor({300, 270}, 3), before = sum.clone();
  Multiply(a, b, sum, Into::kAdd);
  EXPECT_TENSORS_NEAR(sum, before + exact, 1e-3);
  const Tensor all = at::zeros({302, 275}, at::kBFloat16);
  Multiply(a, b, all.narrow(0, 1, 300).narrow(1, 2, 270));
  const Tensor rounded = all.narrow(0, 1, 300).narrow(1, 2, 270).to(at::kFloat);
  EXPECT_TRUE((rounded - exact).abs().le(exact.abs() / 256 + 1e-3).all().item<bool>());
  EXPECT_EQ(all.ne(0).sum().item<int64_t>(), rounded.ne(0).sum().item<int64_t>());
}

TEST(ProductTest, OfNothingIsZeroOrNothing) {
  EXPECT_EQ(Product(at::empty({0, 3}), at::empty({3, 2})).numel(), 0);
  EXPECT_TRUE(Product(at::empty({2, 0}), at::empty({0, 3})).equal(at::zeros({2, 3})));
}

TEST(ProductTest, DoesNotDependOnTheNumberOfThreads) {
  const Tensor a = RandomTensor({300, 576}, 1), b = RandomTensor({1000, 576}, 2).t();
  const ThreadsGuard one(1);
  const Tensor alone = Product(a, b),
               alone_bf16 = Product(a.to(at::kBFloat16), b.to(at::kBFloat16));
  const ThreadsGuard two(2);
  EXPECT_TRUE(Product(a, b).equal(alone));
  EXPECT_TRUE(Product(a.to(at::kBFloat16), b.to(at::kBFloat16)).equal(alone_bf16));
}

}  // namespace
}  // namespace puzzle
