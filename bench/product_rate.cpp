#include "bench/product_rate.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "model/math/parallel.h"
#include "model/math/product.h"
#include "model/math/runtime.h"
#include "model/pch.h"

namespace puzzle {

std::vector<ProductShape> ProductShapes(const ModelConfig& config, bool with_head) {
  constexpr int64_t kTokens = 4096, kTokensOfHead = 512;
  std::vector<ProductShape> shapes;
  const auto add = [&](int64_t tokens, int64_t in, int64_t out, double times) {
    const auto same = std::find_if(shapes.begin(), shapes.end(), [&](const ProductShape& shape) {
      return shape.tokens == tokens && shape.in == in && shape.out == out;
    });
    if (same != shapes.end()) {
      same->times += times;
    } else {
      shapes.push_back({tokens, in, out, times});
    }
  };
  const int64_t d = config.hidden_size;
  for (const BlockSpec& block : config.blocks) {
    if (block.attention.is_full()) {
      const int64_t q = QueryHeads(block.attention, config) * config.head_dim;
      add(kTokens, d, q, 1);
      add(kTokens, d, block.attention.n_kv_heads * config.head_dim, 2);
      add(kTokens, q, d, 1);
    }
    if (block.ffn.is_full()) {
      add(kTokens, d, block.ffn.size, config.arch.gated_ffn ? 2 : 1);
      add(kTokens, block.ffn.size, d, 1);
    }
  }
  if (with_head) add(kTokensOfHead, d, config.vocab_size, 1);
  return shapes;
}

Rate RateOfProducts(const std::vector<ProductShape>& shapes, at::ScalarType type, int threads) {
  constexpr double kFlop = 2e10;  // of a shape and thread
  const at::NoGradGuard no_grad;
  const ThreadsGuard all(threads);
  Rate rate;
  for (const ProductShape& shape : shapes) {
    const at::Tensor matrix = at::randn({shape.out, shape.in}).to(type).t();
    std::vector<at::Tensor> rows, results;
    for (int i = 0; i < threads; ++i) {
      rows.push_back(at::randn({shape.tokens, shape.in}).to(type));
      results.push_back(at::empty({shape.tokens, shape.out}));
    }
    const auto repeat = [&](int64_t rounds) {
      ParallelFor(threads, [&](int64_t thread) {
        const auto index = static_cast<size_t>(thread);
        for (int64_t i = 0; i < rounds; ++i) Multiply(rows[index], matrix, results[index]);
      });
    };
    const double once = shape.FlopPerToken() * static_cast<double>(shape.tokens);
    const auto rounds = static_cast<int64_t>(std::ceil(kFlop / once));
    repeat(1);
    const Spent spent = SpentOn([&] { repeat(rounds); });
    // What a model does of it for a token.
    const double tokens = static_cast<double>(shape.tokens * rounds * threads) / shape.times;
    rate += {shape.FlopPerToken() * shape.times, {spent.wall / tokens, spent.processor / tokens}};
  }
  return rate;
}

}  // namespace puzzle
