#include <csignal>
#include <cstdio>
#include <dlfcn.h>
#include <malloc.h>
#include <memory>
#include <string>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <torch/torch.h>

#include "engine/input_error.h"
#include "train/commands.h"
#include "train/trainer.h"

namespace condensed::train {

namespace {

/// SIGINT and SIGTERM, asked for between steps. Asio's handler, and no mask: libraries start threads before
/// main().
class EndSignals {
 public:
  EndSignals() {
    signals_.async_wait([this](const boost::system::error_code& error, int) { arrived_ = !error; });
  }

  bool arrived() {
    context_.poll();
    return arrived_;
  }

 private:
  boost::asio::io_context context_;
  boost::asio::signal_set signals_{context_, SIGINT, SIGTERM};
  bool arrived_ = false;
};

torch::Device device_named(const std::string& name) {
  try {
    torch::Device device(name);
    if (device.is_cuda() && !torch::cuda::is_available()) {
      throw engine::InputError(
          "--device " + name +
          ": this libtorch finds no CUDA device; use cpu, or build with the libtorch of a "
          "PyTorch that has CUDA (docs/training.md)");
    }
    if (device.is_cuda() || device.is_cpu()) {
      return device;
    }
  } catch (const c10::Error&) {
    // Falls through to the error that says what was expected.
  }
  throw engine::InputError("--device " + name + ": expected cpu, cuda or cuda:N");
}

void use_threads(int n_threads) {
  // Activations of a step come and go in the same sizes: memory given back to the system each time would be
  // zeroed and mapped anew each time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  if (n_threads == 0) {
    return;
  }
  torch::set_num_threads(n_threads);
  // libtorch does not tell OpenBLAS, which has threads of its own unless it was built for OpenMP.
  using SetThreads = void (*)(int);
  if (void* const set_threads = dlsym(RTLD_DEFAULT, "openblas_set_num_threads"); set_threads != nullptr) {
    reinterpret_cast<SetThreads>(set_threads)(n_threads);
  }
}

std::string progress_of(const StepRecord& record, const Trainer& trainer) {
  char text[200];
  std::snprintf(text, sizeof(text), "step %lld of %lld, %.2f million tokens, loss %.4f, %.0f tokens/s",
                static_cast<long long>(record.step), static_cast<long long>(trainer.recipe().steps),
                static_cast<double>(record.tokens) / 1e6, record.loss, record.tokens_per_s);
  std::string line = text;
  if (record.validation) {
    std::snprintf(text, sizeof(text), "; validation perplexity %.3f by passes, %.3f exact",
                  record.validation->iterated, record.validation->exact);
    line += text;
  }
  return line;
}

}  // namespace

void run_run(const RunOptions& options) {
  RunRecipe recipe = options.resume.empty() ? options.recipe : read_recipe(options.resume);
  recipe.device = options.device.value_or(recipe.device);
  recipe.threads = options.threads.value_or(recipe.threads);
  const torch::Device device = device_named(recipe.device);
  use_threads(recipe.threads);
  EndSignals end;
  const auto trainer = options.resume.empty() ? Trainer::begin(options.out, recipe, device)
                                              : Trainer::resume(options.resume, device);
  const bool terminal = isatty(STDERR_FILENO) == 1;
  bool ended = false;
  trainer->run([&](const StepRecord& record) {
    const bool lasting =
        record.validation || record.step == trainer->recipe().steps || record.step % 100 == 0;
    if (terminal) {
      std::fprintf(stderr, "\r\033[K%s%s", progress_of(record, *trainer).c_str(), lasting ? "\n" : "");
    } else if (lasting) {
      std::fprintf(stderr, "%s\n", progress_of(record, *trainer).c_str());
    }
    ended = end.arrived();
    return !ended;
  });
  if (ended) {
    const auto& folder = options.resume.empty() ? options.out : options.resume;
    std::fprintf(stderr, "\nsaved after step %lld; go on with: condensed-train run --resume %s\n",
                 static_cast<long long>(trainer->steps_done()), folder.c_str());
  }
}

}  // namespace condensed::train
