// Every operation against the plain reference, with random sizes, formats and numbers. What may differ is
// what rounding explains in any order of summation.

#include "tests/gpu/operation_checks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "tests/gpu/checks.h"
#include "tests/gpu/device_array.h"

namespace condensed::gpu_check {

using kernels::Backend;
using kernels::DType;

namespace {

/// What rounding may do to a dot product: n terms in any order; and activations, which are stored as the
/// weights are where those have 16 bits, and in 16 bits where they have fewer.
double dot_allowance(std::span<const float> x, const std::vector<float>& weights, DType dtype) {
  double magnitude = 0;
  double largest = 0;
  double weight_sum = 0;
  for (std::size_t c = 0; c < x.size(); ++c) {
    magnitude += std::abs(double{x[c]} * weights[c]);
    largest = std::max(largest, std::abs(double{x[c]}));
    weight_sum += std::abs(double{weights[c]});
  }
  double allowed = (static_cast<double>(x.size()) + 8) * kRounding * (magnitude + 1e-3);
  if (dtype == DType::bf16) {
    allowed += magnitude * 0x1p-8;
  } else if (dtype != DType::f32) {
    allowed += magnitude * 0x1p-11 + 0.51 * weight_sum * largest / 32767;
  }
  return allowed;
}

Finding check_matmul(Trial& trial, int n_cases, int most_cols) {
  for (int i = 0; i < n_cases; ++i) {
    const DType dtype = kWeightTypes[i % 5];
    const int rows = i % 7 == 0 ? trial.draw(30, 80) : trial.draw(1, 17);
    const int cols = trial.draw(1, most_cols);
    const int outputs = trial.draw(1, 200);
    const auto x = trial.floats(std::int64_t{rows} * cols);
    const auto initial = trial.doubles(std::int64_t{rows} * outputs);
    const StoredMatrix weight(dtype, trial.floats(std::int64_t{outputs} * cols), cols);
    std::vector<float> expected(x.empty() ? 0 : static_cast<std::size_t>(rows * outputs));
    trial.reference.matmul(*trial.reference.load_matrix(weight.view()), x, expected);
    DeviceArray<float> device_x(trial.backend, x);
    DeviceArray<float> out(trial.backend, expected.size());
    DeviceArray<double> sum(trial.backend, initial);
    const auto matrix = trial.backend.load_matrix(weight.view());
    trial.backend.matmul(*matrix, device_x.span(), out.span());
    trial.backend.matmul_add(*matrix, device_x.span(), sum.span());
    const auto actual = out.host();
    const auto actual_sum = sum.host();
    for (int o = 0; o < outputs; ++o) {
      const std::vector<float> weights = weight.row(o);
      for (int r = 0; r < rows; ++r) {
        const auto at = static_cast<std::size_t>(r * outputs + o);
        const double allowed = dot_allowance(std::span(x).subspan(r * cols, cols), weights, dtype);
        trial.compare(actual[at], expected[at], allowed);
        trial.compare(actual_sum[at], initial[at] + expected[at], allowed + 2 * kRounding);
      }
    }
  }
  return trial.finding(n_cases);
}

Finding check_swiglu(Trial& trial, int n_cases) {
  for (int i = 0; i < n_cases; ++i) {
    const DType dtype = kWeightTypes[i % 5];
    const int rows = i % 7 == 0 ? 40 : trial.draw(1, 9);
    const int cols = trial.draw(1, 400);
    const int outputs = trial.draw(1, 150);
    const auto x = trial.floats(std::int64_t{rows} * cols);
    const StoredMatrix gate(dtype, trial.floats(std::int64_t{outputs} * cols), cols);
    const StoredMatrix up(dtype, trial.floats(std::int64_t{outputs} * cols), cols);
    const auto n = static_cast<std::size_t>(rows * outputs);
    std::vector<double> gates(n);
    std::vector<double> ups(n);
    std::vector<float> expected(n);
    Backend& reference = trial.reference;
    reference.matmul_add(*reference.load_matrix(gate.view()), x, gates);
    reference.matmul_add(*reference.load_matrix(up.view()), x, ups);
    reference.swiglu(*reference.load_matrix(gate.view()), *reference.load_matrix(up.view()), x, expected);
    DeviceArray<float> device_x(trial.backend, x);
    DeviceArray<float> out(trial.backend, n);
    const auto gate_matrix = trial.backend.load_matrix(gate.view());
    const auto up_matrix = trial.backend.load_matrix(up.view());
    trial.backend.swiglu(*gate_matrix, *up_matrix, device_x.span(), out.span());
    const auto actual = out.host();
    for (int o = 0; o < outputs; ++o) {
      const std::vector<float> gate_row = gate.row(o);
      const std::vector<float> up_row = up.row(o);
      for (int r = 0; r < rows; ++r) {
        const auto at = static_cast<std::size_t>(r * outputs + o);
        const auto row = std::span(x).subspan(r * cols, cols);
        // The slope of silu is at most 1.1.
        const double allowed = 1.1 * (std::abs(ups[at]) + 1e-3) * dot_allowance(row, gate_row, dtype) +
                               (std::abs(gates[at]) + 1e-3) * dot_allowance(row, up_row, dtype) +
                               16 * kRounding * (std::abs(double{expected[at]}) + 1e-6);
        trial.compare(actual[at], expected[at], allowed);
      }
    }
  }
  return trial.finding(n_cases);
}

Finding check_embed(Trial& trial, int n_cases) {
  for (int i = 0; i < n_cases; ++i) {
    const int vocab = trial.draw(1, 300);
    const int cols = trial.draw(1, 400);
    const StoredMatrix table(kWeightTypes[i % 5], trial.floats(std::int64_t{vocab} * cols), cols);
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(trial.draw(1, 40)));
    std::ranges::generate(tokens, [&] { return trial.draw(0, vocab - 1); });
    std::vector<double> expected(tokens.size() * static_cast<std::size_t>(cols));
    trial.reference.embed(*trial.reference.load_matrix(table.view()), tokens, expected);
    DeviceArray<double> out(trial.backend, expected.size());
    const auto matrix = trial.backend.load_matrix(table.view());
    trial.backend.embed(*matrix, tokens, out.span());
    const auto actual = out.host();
    for (std::size_t j = 0; j < expected.size(); ++j) {
      trial.compare(actual[j], expected[j], kRounding * std::abs(expected[j]) + 1e-30);
    }
  }
  return trial.finding(n_cases);
}

Finding check_rows(Trial& trial, int n_cases) {
  for (int i = 0; i < n_cases; ++i) {
    const int rows = trial.draw(1, 40);
    const int cols = trial.draw(1, 3000);
    const auto x = trial.doubles(std::int64_t{rows} * cols);
    const auto weight = trial.floats(cols);
    std::vector<float> expected(x.size());
    trial.reference.rms_norm(x, weight, 1e-5F, expected);
    DeviceArray<double> device_x(trial.backend, x);
    DeviceArray<float> device_weight(trial.backend, weight);
    DeviceArray<float> out(trial.backend, x.size());
    trial.backend.rms_norm(device_x.span(), device_weight.span(), 1e-5F, out.span());
    const auto actual = out.host();
    for (std::size_t j = 0; j < x.size(); ++j) {
      trial.compare(actual[j], expected[j],
                    (cols + 12.0) * kRounding * std::abs(double{expected[j]}) + 1e-30);
    }
  }
  for (int i = 0; i < n_cases; ++i) {
    const int rows = trial.draw(1, 40);
    const int heads = trial.draw(1, 16);
    const int head_dim = 2 * trial.draw(1, 64);
    const auto x = trial.floats(std::int64_t{rows} * heads * head_dim);
    const auto angles = trial.floats(std::int64_t{rows} * head_dim);
    std::vector<float> expected(x.size());
    trial.reference.rotate(x, angles, head_dim, expected);
    DeviceArray<float> in_place(trial.backend, x);
    DeviceArray<float> device_angles(trial.backend, angles);
    trial.backend.rotate(in_place.span(), device_angles.span(), head_dim, in_place.span());
    const auto actual = in_place.host();
    for (std::size_t j = 0; j < x.size(); ++j) {
      trial.compare(actual[j], expected[j], 4 * kRounding);
    }
  }
  return trial.finding(2 * n_cases);
}

Finding check_memory(Trial& trial, int n_cases) {
  for (int i = 0; i < n_cases; ++i) {
    const auto x = trial.floats(trial.draw(1, 100'000));
    auto y = x;
    const auto at = static_cast<std::size_t>(trial.draw(0, static_cast<int>(y.size()) - 1));
    y[at] += 0.25F;
    DeviceArray<float> device_x(trial.backend, x);
    DeviceArray<float> device_y(trial.backend, y);
    const double difference = trial.backend.max_abs_difference(device_x.span(), device_y.span());
    trial.compare(difference, std::abs(double{y[at]} - x[at]), 1e-30);
    trial.backend.copy(std::span<const float>(device_x.span()), device_y.span());
    trial.compare(trial.backend.max_abs_difference(device_x.span(), device_y.span()), 0, 1e-30);
    trial.backend.fill_zero(device_y.span());
    const auto zeros = device_y.host();
    trial.compare(static_cast<double>(std::ranges::count(zeros, 0.0F)), static_cast<double>(zeros.size()),
                  0.5);
  }
  return trial.finding(n_cases);
}

/// Results of rows together against each row alone: bit for bit with float32 weights; with others a device
/// may sum larger batches in another way.
Finding check_invariance(Trial& trial, int n_cases) {
  std::int64_t n_different = 0;
  for (int i = 0; i < n_cases; ++i) {
    const DType dtype = kWeightTypes[i % 5];
    constexpr int kRows = 33;
    const int cols = 32 * trial.draw(1, 40);
    const int outputs = trial.draw(1, 300);
    const auto x = trial.floats(std::int64_t{kRows} * cols);
    const StoredMatrix weight(dtype, trial.floats(std::int64_t{outputs} * cols), cols);
    const auto matrix = trial.backend.load_matrix(weight.view());
    DeviceArray<float> device_x(trial.backend, x);
    DeviceArray<float> together(trial.backend, static_cast<std::size_t>(kRows * outputs));
    DeviceArray<float> alone(trial.backend, static_cast<std::size_t>(kRows * outputs));
    trial.backend.matmul(*matrix, device_x.span(), together.span());
    for (int r = 0; r < kRows; ++r) {
      trial.backend.matmul(*matrix, device_x.span().subspan(r * cols, cols),
                           alone.span().subspan(r * outputs, outputs));
    }
    const auto a = together.host();
    const auto b = alone.host();
    for (int o = 0; o < outputs; ++o) {
      const std::vector<float> weights = weight.row(o);
      for (int r = 0; r < kRows; ++r) {
        const auto j = static_cast<std::size_t>(r * outputs + o);
        n_different += std::bit_cast<std::uint32_t>(a[j]) != std::bit_cast<std::uint32_t>(b[j]) ? 1 : 0;
        const auto row = std::span(x).subspan(r * cols, cols);
        trial.compare(a[j], b[j], dtype == DType::f32 ? 1e-30 : dot_allowance(row, weights, dtype));
      }
    }
  }
  Finding finding = trial.finding(n_cases);
  finding.detail = std::to_string(n_cases) + " cases; " + std::to_string(n_different) +
                   " numbers differ between a row alone and in a batch of 33";
  finding.figures.set("numbers_that_differ", n_different);
  return finding;
}

}  // namespace

void check_operations(const Setting& setting, Report& report) {
  const auto backend = setting.make_backend();
  std::int64_t seed = setting.seed;
  const int n = setting.brief ? 10 : 60;
  const auto run = [&](const std::string& name, const std::function<Finding(Trial&)>& check) {
    report.run("operations." + name, [&] {
      Trial trial(*backend, seed++);
      return check(trial);
    });
  };
  run("matmul", [&](Trial& trial) { return check_matmul(trial, n, setting.brief ? 500 : 3000); });
  run("swiglu", [&](Trial& trial) { return check_swiglu(trial, n); });
  run("embed", [&](Trial& trial) { return check_embed(trial, n); });
  run("norm_and_rotation", [&](Trial& trial) { return check_rows(trial, n); });
  run("project", [&](Trial& trial) { return check_project(trial, n); });
  run("attend", [&](Trial& trial) { return check_attend(trial, n, setting.brief ? 100 : 400); });
  run("choose_tokens", [&](Trial& trial) { return check_choose_tokens(trial, n); });
  run("store_kv", [&](Trial& trial) { return check_store_kv(trial, n); });
  run("memory", [&](Trial& trial) { return check_memory(trial, n); });
  run("rows_alone_and_together", [&](Trial& trial) { return check_invariance(trial, n); });
}

}  // namespace condensed::gpu_check
