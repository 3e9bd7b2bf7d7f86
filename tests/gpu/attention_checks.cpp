// Attention and the caches it reads, against the plain reference.

#include <algorithm>
#include <memory>
#include <tuple>

#include "tests/gpu/device_array.h"
#include "tests/gpu/operation_checks.h"

namespace condensed::gpu_check {

using kernels::AttentionShape;
using kernels::DType;
using kernels::KvRun;

namespace {

/// Caches of one row in blocks of their own, some of them empty, in both frames.
struct Attention {
  Attention(Trial& trial, const AttentionShape& shape_in, int n_rows, int most_tokens) : shape(shape_in) {
    const std::int64_t row = std::int64_t{shape.n_heads} * shape.head_dim;
    queries_stream = trial.floats(n_rows * row);
    queries_sink = trial.floats(n_rows * row);
    for (int r = 0; r < n_rows; ++r) {
      for (int n = trial.draw(0, 5); n > 0; --n) {
        add_run(trial, trial.draw(0, 4) == 0 ? 0 : trial.draw(1, most_tokens));
      }
      run_begin.push_back(static_cast<std::int32_t>(host_runs.size()));
    }
  }

  void add_run(Trial& trial, int n_tokens) {
    const DType dtype = kCacheTypes[trial.draw(0, 3)];
    const auto width = static_cast<std::int32_t>(kernels::row_bytes(dtype, shape.head_dim));
    const bool heads_first = trial.draw(0, 1) == 1;
    KvRun run{.n_tokens = n_tokens,
              .token_stride_bytes = heads_first ? width : width * shape.n_kv_heads,
              .head_stride_bytes = heads_first ? width * n_tokens : width,
              .dtype = dtype,
              .frame = trial.draw(0, 1) == 1 ? kernels::Frame::sink : kernels::Frame::stream};
    const auto bytes = [&] {
      std::vector<std::byte>& out =
          stored.emplace_back(static_cast<std::size_t>(width) * n_tokens * shape.n_kv_heads);
      for (std::size_t at = 0; at < out.size(); at += static_cast<std::size_t>(width)) {
        kernels::store_row(dtype, trial.floats(shape.head_dim), out.data() + at);
      }
      DeviceArray<std::byte>& copy =
          *on_device.emplace_back(std::make_unique<DeviceArray<std::byte>>(trial.backend, out));
      return std::pair<const std::byte*, const std::byte*>(out.data(), copy.span().data());
    };
    KvRun device_run = run;
    std::tie(run.keys, device_run.keys) = bytes();
    std::tie(run.values, device_run.values) = bytes();
    host_runs.push_back(run);
    device_runs.push_back(device_run);
    most_seen = std::max<std::int64_t>(most_seen, n_tokens);
  }

  AttentionShape shape;
  std::vector<float> queries_stream;
  std::vector<float> queries_sink;
  std::vector<std::vector<std::byte>> stored;
  std::vector<std::unique_ptr<DeviceArray<std::byte>>> on_device;
  std::vector<KvRun> host_runs;
  std::vector<KvRun> device_runs;
  std::vector<std::int32_t> run_begin{0};
  std::int64_t most_seen = 0;
};

}  // namespace

Finding check_attend(Trial& trial, int n_cases, int most_tokens) {
  for (int i = 0; i < n_cases; ++i) {
    const int n_kv_heads = trial.draw(1, 4);
    const AttentionShape shape{trial.draw(1, 8) * n_kv_heads, n_kv_heads,
                               i % 2 == 0 ? 64 * trial.draw(1, 2) : 2 * trial.draw(1, 64)};
    const Attention attention(trial, shape, i % 6 == 0 ? 33 : trial.draw(1, 6), most_tokens);
    std::vector<float> expected(attention.queries_stream.size());
    trial.reference.attend(shape, attention.queries_stream, attention.queries_sink, attention.host_runs,
                           attention.run_begin, expected);
    DeviceArray<float> stream(trial.backend, attention.queries_stream);
    DeviceArray<float> sink(trial.backend, attention.queries_sink);
    DeviceArray<float> out(trial.backend, expected.size());
    trial.backend.attend(shape, stream.span(), sink.span(), attention.device_runs, attention.run_begin,
                         out.span());
    const auto actual = out.host();
    // A score's rounding is its weight's relative error; values are at most 1.
    const double score = (shape.head_dim + 8.0) * kRounding * std::sqrt(shape.head_dim);
    const double allowed = 2 * score + (16 + 5.0 * static_cast<double>(attention.most_seen)) * kRounding;
    for (std::size_t j = 0; j < expected.size(); ++j) {
      trial.compare(actual[j], expected[j], allowed);
    }
  }
  return trial.finding(n_cases);
}

Finding check_store_kv(Trial& trial, int n_cases) {
  for (int i = 0; i < n_cases; ++i) {
    const DType dtype = kCacheTypes[i % 4];
    const int n_slots = trial.draw(1, 20);
    const int heads = trial.draw(1, 6);
    const int head_dim = 2 * trial.draw(1, 64);
    const std::int64_t width = kernels::row_bytes(dtype, head_dim);
    const auto keys = trial.floats(std::int64_t{n_slots} * heads * head_dim);
    const auto values = trial.floats(std::int64_t{n_slots} * heads * head_dim);
    const auto plane = static_cast<std::size_t>(width * heads * n_slots);
    DeviceArray<float> device_keys(trial.backend, keys);
    DeviceArray<float> device_values(trial.backend, values);
    DeviceArray<std::byte> cache(trial.backend, 2 * plane);
    std::vector<kernels::KvSlot> slots;
    for (int s = 0; s < n_slots; ++s) {
      std::byte* at = cache.span().data() + s * width;
      slots.push_back({.keys = at,
                       .values = at + plane,
                       .head_stride_bytes = static_cast<std::int32_t>(width * n_slots),
                       .row = s});
    }
    std::ranges::reverse(slots);  // they need not stand in the order of rows
    trial.backend.store_kv(device_keys.span(), device_values.span(), heads, head_dim, dtype, slots);
    const auto stored = cache.host();
    const auto compare = [&](const std::vector<float>& numbers, std::size_t base) {
      std::vector<float> back(static_cast<std::size_t>(head_dim));
      std::vector<std::byte> row(static_cast<std::size_t>(width));
      std::vector<float> expected(back.size());
      for (int s = 0; s < n_slots; ++s) {
        for (int h = 0; h < heads; ++h) {
          const auto from = std::span(numbers).subspan((s * heads + h) * head_dim, head_dim);
          kernels::store_row(dtype, from, row.data());
          kernels::load_row(dtype, row.data(), expected);
          kernels::load_row(dtype, stored.data() + base + static_cast<std::size_t>((h * n_slots + s) * width),
                            back);
          for (std::size_t d = 0; d < back.size(); ++d) {
            // 8 bits: another rounding of the scale, or of a number half way between two.
            const double allowed = dtype == DType::q8 ? 1.02 / 127 : 1e-30;
            trial.compare(back[d], expected[d], allowed);
          }
        }
      }
    };
    compare(keys, 0);
    compare(values, plane);
  }
  return trial.finding(n_cases);
}

Finding check_project(Trial& trial, int n_cases) {
  for (int i = 0; i < n_cases; ++i) {
    const int rows = trial.draw(1, 11);
    const int cols = trial.draw(1, 500);
    const int head_dim = 2 * trial.draw(1, 64);
    const int outputs = head_dim * trial.draw(1, 6);
    const auto n = static_cast<std::size_t>(rows * outputs);
    const StoredMatrix query(kWeightTypes[i % 5], trial.floats(std::int64_t{outputs} * cols), cols);
    const StoredMatrix value(kWeightTypes[i % 5], trial.floats(std::int64_t{outputs} * cols), cols);
    const auto query_matrix = trial.backend.load_matrix(query.view());
    const auto value_matrix = trial.backend.load_matrix(value.view());
    DeviceArray<float> x(trial.backend, trial.floats(std::int64_t{rows} * cols));
    DeviceArray<float> stream(trial.backend, trial.floats(std::int64_t{rows} * head_dim));
    DeviceArray<float> sink(trial.backend, trial.floats(std::int64_t{rows} * head_dim));
    DeviceArray<float> in_stream(trial.backend, n), in_sink(trial.backend, n), values(trial.backend, n);
    const std::vector<kernels::Projection> projections = {
        {.weight = query_matrix.get(), .out = in_stream.span(), .out_sink = in_sink.span(), .rotated = true},
        {.weight = value_matrix.get(), .out = values.span()}};
    trial.backend.project(projections, x.span(),
                          {.stream = stream.span(), .sink = sink.span(), .head_dim = head_dim});
    DeviceArray<float> product(trial.backend, n), rotated(trial.backend, n);
    const auto compare = [&](const DeviceArray<float>& actual, const DeviceArray<float>& expected) {
      const auto of = actual.host();
      const auto with = expected.host();
      for (std::size_t j = 0; j < n; ++j) {
        trial.compare(of[j], with[j], 1e-30);
      }
    };
    trial.backend.matmul(*value_matrix, x.span(), product.span());
    compare(values, product);
    trial.backend.matmul(*query_matrix, x.span(), product.span());
    trial.backend.rotate(product.span(), stream.span(), head_dim, rotated.span());
    compare(in_stream, rotated);
    trial.backend.rotate(product.span(), sink.span(), head_dim, rotated.span());
    compare(in_sink, rotated);
  }
  return trial.finding(n_cases);
}

}  // namespace condensed::gpu_check
