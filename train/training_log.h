#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

namespace condensed::train {

/// Perplexities of the validation text.
struct Validation {
  double iterated = 0;  // by m + b passes
  double exact = 0;     // by decoding token after token
};

/// One step of a run, after it.
struct StepRecord {
  std::int64_t step = 0;    // steps done
  std::int64_t tokens = 0;  // read so far
  std::int64_t sequence = 0;
  std::int64_t passes_without_gradient = 0;
  std::int64_t passes_with_gradient = 0;
  double learning_rate = 0;
  double loss = 0;  // nats a token, of the step's batch
  double kv_change = 0;
  double gradient_norm = 0;
  double tokens_per_s = 0;
  std::optional<Validation> validation;
};

/// A run's log.csv, a row a step, and log.html, a page with the curves of loss and perplexity.
class TrainingLog {
 public:
  /// Keeps the rows of the first `steps_done` steps that `folder` has a log of: those after them will be run
  /// anew. Throws InputError.
  TrainingLog(const std::filesystem::path& folder, std::int64_t steps_done);

  /// Throws InputError when it cannot be written.
  void add(const StepRecord& record);
  void write_page(const boost::json::object& recipe) const;

  const std::vector<StepRecord>& records() const { return records_; }

 private:
  void read(std::int64_t steps_done);

  std::filesystem::path folder_;
  std::vector<StepRecord> records_;
  std::ofstream csv_;
};

}  // namespace condensed::train
