#pragma once

#include <optional>
#include <string>

#include <boost/json.hpp>

#include "clients/bench/recorder.h"
#include "clients/condensectl/output_file.h"

namespace condensed::bench {

/// The files asked for. They are begun before the run, so that a place where none can be written is known
/// then and not hours later.
class Outputs {
 public:
  /// Empty paths: not asked for. Throws std::runtime_error with the path.
  Outputs(const std::string& json_path, const std::string& csv_path, std::string hgrm_prefix,
          const std::string& html_path);

  /// Throws as the constructor does.
  void write(const boost::json::object& report, const Recorder& recorder);

 private:
  std::string hgrm_path(const std::string& figure) const { return hgrm_prefix_ + "." + figure + ".hgrm"; }

  std::string hgrm_prefix_;
  std::optional<ctl::OutputFile> json_;
  std::optional<ctl::OutputFile> csv_;
  std::optional<ctl::OutputFile> itl_;
  std::optional<ctl::OutputFile> html_;
};

}  // namespace condensed::bench
