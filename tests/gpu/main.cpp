// condensed-gpu-check: what must hold of a device, and what it must be able to do. Exit codes: 0 all checks
// passed, 1 one failed, 2 usage, 77 there is no such device here.

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/input_error.h"
#include "eval/host_machine.h"
#include "kernels/device_choice.h"
#include "kernels/device_error.h"
#include "kernels/make_backend.h"
#include "tests/gpu/checks.h"
#ifdef CONDENSED_EMULATED_CUDA
#include "tests/kernels/cuda_emulation/emulated_backend.h"
#endif

namespace {

namespace kernels = condensed::kernels;
using condensed::engine::InputError;
using condensed::engine::JsonObject;
using condensed::gpu_check::Report;
using condensed::gpu_check::Setting;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kSkipped = 77;  // what ctest is told to take for "skipped"

constexpr const char* kHelp =
    "condensed-gpu-check [--device cuda|cuda:N|cpu] [--only GROUP,…] [--short] [--tiny] [--golden DIR]\n"
    "                    [--limit SECONDS] [--json FILE]\n"
    "  --device   what is checked (cuda)\n"
    "  --only     groups of checks, of operations, golden, streams, speed and batch; default: all\n"
    "  --short    fewer repetitions, and none of the largest shapes\n"
    "  --tiny     tiny shapes in place of large ones; speeds are measured and not judged\n"
    "  --golden   the folder tests/golden of the source\n"
    "  --limit    seconds that one measurement of speed may take (600)\n"
    "  --json     a file for everything that was found\n"
    "Exit codes: 0 all passed, 1 a check failed, 2 usage, 77 there is no such device here.\n";

struct Group {
  const char* name;
  void (*run)(const Setting&, Report&);
};
constexpr Group kGroups[] = {{"operations", condensed::gpu_check::check_operations},
                             {"golden", condensed::gpu_check::check_golden},
                             {"streams", condensed::gpu_check::check_streams},
                             {"speed", condensed::gpu_check::measure_streams},
                             {"batch", condensed::gpu_check::measure_batches}};

struct CommandLine {
  bool help = false;
  std::string device = "cuda";
  std::set<std::string> only;
  std::string json;
  Setting setting;
};

std::set<std::string> groups_in(const std::string& text) {
  std::set<std::string> names;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    if (std::ranges::none_of(kGroups, [&](const Group& group) { return group.name == name; })) {
      throw InputError("--only: there is no group \"" + name + "\"");
    }
    names.insert(name);
    begin = end + 1;
  }
  return names;
}

CommandLine parse(const std::vector<std::string>& arguments) {
  CommandLine line;
  line.setting.golden = CONDENSED_GOLDEN_DIR;
  for (auto argument = arguments.begin(); argument != arguments.end(); ++argument) {
    const auto value = [&, name = *argument]() -> const std::string& {
      if (++argument == arguments.end()) {
        throw InputError(name + ": expected a value after it");
      }
      return *argument;
    };
    if (*argument == "--help" || *argument == "-h") {
      line.help = true;
    } else if (*argument == "--device") {
      line.device = value();
    } else if (*argument == "--only") {
      line.only = groups_in(value());
    } else if (*argument == "--short") {
      line.setting.brief = true;
    } else if (*argument == "--tiny") {
      line.setting.tiny = true;
    } else if (*argument == "--golden") {
      line.setting.golden = value();
    } else if (*argument == "--limit") {
      const std::string& text = value();
      char* end = nullptr;
      line.setting.limit_s = std::strtod(text.c_str(), &end);
      if (*end != '\0' || !(line.setting.limit_s > 0)) {
        throw InputError("--limit: expected seconds, found \"" + text + "\"");
      }
    } else if (*argument == "--json") {
      line.json = value();
    } else {
      throw InputError("unknown argument \"" + *argument + "\"; --help lists them");
    }
  }
  return line;
}

JsonObject heading(const CommandLine& line, const kernels::DeviceChoice& choice) {
  const auto machine = condensed::eval::describe_machine();
  JsonObject json{{"device", line.device},
                  {"where", choice.reason},
                  {"short", line.setting.brief},
                  {"tiny", line.setting.tiny},
                  {"judge_speed", line.setting.judge_speed},
                  {"processor", machine.processor},
                  {"processors", static_cast<std::int64_t>(machine.processors)},
                  {"memory_bytes", machine.memory_bytes}};
  if (choice.device) {
    json.set("name", choice.device->name);
    json.set("compute_capability", choice.device->compute_capability);
    json.set("device_memory_bytes", choice.device->memory_bytes);
    json.set("device_free_bytes", choice.device->free_bytes);
  }
  return json;
}

/// Runs the chosen groups on what setting.make_backend makes.
int run_groups(const CommandLine& line, const kernels::DeviceChoice& choice) {
  std::cout << "checking " << line.device << ", " << choice.reason << std::endl;
  Report report(heading(line, choice), line.json);
  for (const Group& group : kGroups) {
    if (line.only.empty() || line.only.contains(group.name)) {
      group.run(line.setting, report);
    }
  }
  report.print_summary();
  return report.n_failed() == 0 ? 0 : kFailed;
}

int check(CommandLine line) {
#ifdef CONDENSED_EMULATED_CUDA
  if (line.device == "emulated") {
    line.setting.judge_speed = false;
    line.setting.make_backend = [] { return condensed::emulation::make_emulated_backend(); };
    return run_groups(line, {.device = std::nullopt, .reason = "on emulated hardware"});
  }
#endif
  const auto device = kernels::parse_device(line.device);
  if (!device || device->may_fall_back) {
    throw InputError("--device: expected cuda, cuda:N or cpu, found \"" + line.device + "\"");
  }
  kernels::DeviceChoice choice;
  try {
    choice = kernels::choose_device(*device, kernels::survey_cuda());
  } catch (const kernels::DeviceError& error) {
    std::cout << "skipped: " << error.what() << std::endl;
    return kSkipped;
  }
  line.setting.judge_speed = choice.device.has_value() && !line.setting.tiny;
  line.setting.make_backend = [kind = choice.backend_kind("auto")] { return kernels::make_backend(kind, 0); };
  return run_groups(line, choice);
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line;
  try {
    line = parse({argv + 1, argv + argc});
    if (line.help) {
      std::cout << kHelp;
      return 0;
    }
    return check(std::move(line));
  } catch (const InputError& error) {
    std::cerr << "condensed-gpu-check: " << error.what() << std::endl;
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << "condensed-gpu-check: " << error.what() << std::endl;
    return kFailed;
  }
}
