#include "tests/gpu/report.h"

#include <cstdio>
#include <exception>
#include <fstream>

#include "engine/input_error.h"

namespace condensed::gpu_check {

namespace {

const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed:
      return "passed";
    case Outcome::failed:
      return "FAILED";
    case Outcome::skipped:
      return "skipped";
  }
  return "?";
}

}  // namespace

void Report::run(const std::string& name, const std::function<Finding()>& check) {
  const auto start = std::chrono::steady_clock::now();
  Finding finding;
  try {
    finding = check();
  } catch (const std::exception& error) {
    finding = {.outcome = Outcome::failed, .detail = error.what()};
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  (finding.outcome == Outcome::passed   ? n_passed_
   : finding.outcome == Outcome::failed ? n_failed_
                                        : n_skipped_)++;
  std::printf("%-7s  %-34s  %s (%.1f s)\n", name_of(finding.outcome), name.c_str(), finding.detail.c_str(),
              seconds);
  std::fflush(stdout);
  checks_.emplace_back(engine::JsonObject{{"name", name},
                                          {"outcome", name_of(finding.outcome)},
                                          {"detail", finding.detail},
                                          {"seconds", seconds},
                                          {"figures", std::move(finding.figures)}});
  if (!file_.empty()) {
    write();
  }
}

void Report::print_summary() const {
  std::printf("%d passed, %d failed, %d skipped\n", n_passed_, n_failed_, n_skipped_);
}

void Report::write() const {
  engine::JsonObject json = json_;
  json.set("checks", checks_);
  json.set("passed", n_passed_);
  json.set("failed", n_failed_);
  json.set("skipped", n_skipped_);
  std::ofstream out(file_, std::ios::trunc);
  out << engine::JsonValue(json).text() << "\n";
  out.close();
  if (!out) {
    throw engine::InputError(file_.string() + ": cannot be written");
  }
}

}  // namespace condensed::gpu_check
