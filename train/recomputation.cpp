#include "train/recomputation.h"

#include <utility>

namespace condensed::train {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

using Function = std::function<variable_list(const variable_list&)>;

/// What autograd carries from the forward to the backward pass beside tensors.
struct HeldFunction : torch::CustomClassHolder {
  explicit HeldFunction(Function held) : function(std::move(held)) {}
  Function function;
};

class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  static variable_list forward(AutogradContext* context, const c10::intrusive_ptr<HeldFunction>& held,
                               at::TensorList inputs) {
    context->saved_data["function"] = c10::IValue::make_capsule(held);
    context->save_for_backward(inputs.vec());
    const torch::NoGradGuard no_gradient;
    return held->function(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    const auto capsule = context->saved_data["function"].toCapsule();
    const auto held = c10::static_intrusive_pointer_cast<HeldFunction>(capsule);
    variable_list inputs;
    for (const torch::Tensor& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    }
    const torch::AutoGradMode with_gradient(true);
    variable_list outputs;
    variable_list gradients;
    const variable_list all = held->function(inputs);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].requires_grad() && output_gradients[i].defined()) {
        outputs.push_back(all[i]);
        gradients.push_back(output_gradients[i]);
      }
    }
    torch::autograd::backward(outputs, gradients);
    variable_list result{torch::Tensor()};  // for the function
    for (const torch::Tensor& input : inputs) {
      result.push_back(input.grad());
    }
    return result;
  }
};

}  // namespace

variable_list recomputed(Function function, const variable_list& inputs) {
  // A TensorList, and no vector: of that autograd would not see that tensors are in it.
  return Recomputed::apply(c10::make_intrusive<HeldFunction>(std::move(function)), at::TensorList(inputs));
}

}  // namespace condensed::train
