#pragma once

#include "tests/gpu/report.h"
#include "tests/gpu/trial.h"

namespace condensed::gpu_check {

/// Attention of random rows over up to five runs each, of at most so many tokens.
Finding check_attend(Trial& trial, int n_cases, int most_tokens);
/// Tokens chosen from random rows of logits in random ways, in a batch and alone.
Finding check_choose_tokens(Trial& trial, int n_cases);
/// Random rows written into a cache, in each of its formats.
Finding check_store_kv(Trial& trial, int n_cases);
/// Queries and values at once against a product and rotations of the same device, to the bit.
Finding check_project(Trial& trial, int n_cases);

}  // namespace condensed::gpu_check
