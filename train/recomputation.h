#pragma once

#include <functional>

#include <torch/torch.h>

namespace condensed::train {

/// function(inputs), of which no activation is kept: the backward pass runs it again ("Training Deep Nets
/// with Sublinear Memory Cost", arXiv 1604.06174). Parameters that `function` uses get their gradients then.
/// Some input must require a gradient. `function` must give the same result each time and outlive the graph's
/// use of it.
torch::autograd::variable_list recomputed(
    std::function<torch::autograd::variable_list(const torch::autograd::variable_list&)> function,
    const torch::autograd::variable_list& inputs);

}  // namespace condensed::train
