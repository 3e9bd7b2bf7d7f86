#include <iostream>
#include <optional>
#include <utility>

#include "engine/model_config.h"
#include "kernels/dtype.h"
#include "train/commands.h"
#include "train/model_folder.h"
#include "train/trainer.h"

namespace condensed::train {

namespace fs = std::filesystem;

void run_export(const ExportOptions& options) {
  const fs::path config_file = options.run / "config.json";
  const engine::ModelConfig config = engine::read_model_config(config_file);
  Parameters parameters = load_run_parameters(options.run, config);
  const fs::path tokenizer = options.run / "tokenizer.model";
  write_model_folder(options.out, read_json_object(config_file), std::move(parameters),
                     *kernels::dtype_named(options.dtype), fs::exists(tokenizer) ? tokenizer : fs::path());
  std::cout << options.out.string() << ": " << fs::file_size(options.out / "model.safetensors")
            << " bytes of weights\n";
}

}  // namespace condensed::train
