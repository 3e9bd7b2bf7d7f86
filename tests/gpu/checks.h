#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "kernels/backend.h"
#include "tests/gpu/report.h"

namespace condensed::gpu_check {

/// What every group of checks works with.
struct Setting {
  std::function<std::unique_ptr<kernels::Backend>()> make_backend;  // of the device that is checked
  std::filesystem::path golden;                                     // tests/golden
  bool brief = false;       // fewer repetitions, and none of the largest shapes
  bool tiny = false;        // tiny shapes instead of large ones: for a processor, where nothing is fast
  bool judge_speed = true;  // whether speeds must reach what they are to
  double limit_s = 600;     // of one measurement
  std::int64_t seed = 1;    // of random sizes and numbers
};

/// Each operation of the backend against the reference, over random sizes.
void check_operations(const Setting& setting, Report& report);
/// The whole model against the reference vectors of tests/golden.
void check_golden(const Setting& setting, Report& report);
/// Sessions that move between the processor and the device, and streams alone against a batch.
void check_streams(const Setting& setting, Report& report);
/// One stream against the memory's speed, and the evenness of its steps.
void measure_streams(const Setting& setting, Report& report);
/// The largest batch in a given memory and its speed, plain against condensed.
void measure_batches(const Setting& setting, Report& report);

}  // namespace condensed::gpu_check
