#include "tests/kernels/cuda_emulation/fiber.h"

#include <cstdint>
#include <utility>

#if defined(__x86_64__)
// Saves what a called function must preserve, and changes stacks. The library's way asks the kernel for the
// signal mask at every switch, which is twenty times slower.
extern "C" void condensed_switch_stack(void** save, void* load);
asm(R"(
.text
.globl condensed_switch_stack
.hidden condensed_switch_stack
.type condensed_switch_stack, @function
condensed_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size condensed_switch_stack, .-condensed_switch_stack
)");
#endif

namespace condensed::emulation {

namespace {
Fiber* entering = nullptr;
}

Fiber::Fiber(std::size_t number)
    : stack_(new std::byte[kStackBytes]), usable_bytes_(kStackBytes - number % 256 * 192) {}

void Fiber::enter() {
  Fiber& self = *entering;
  self.run_();
  self.pause();  // for ever
}

void Fiber::start(std::function<void()> run) {
  run_ = std::move(run);
#if defined(__x86_64__)
  auto top = reinterpret_cast<std::uintptr_t>(stack_.get() + usable_bytes_) / 16 * 16;
  auto** stack = reinterpret_cast<void**>(top);
  // A function starts with the stack 8 bytes off: where its return address was pushed.
  *--stack = nullptr;
  *--stack = reinterpret_cast<void*>(&Fiber::enter);
  for (int i = 0; i < 6; ++i) {
    *--stack = nullptr;
  }
  own_ = stack;
#else
  ::getcontext(&own_);
  own_.uc_stack.ss_sp = stack_.get();
  own_.uc_stack.ss_size = usable_bytes_;
  own_.uc_link = nullptr;
  ::makecontext(&own_, &Fiber::enter, 0);
#endif
}

void Fiber::resume() {
  entering = this;
#if defined(__x86_64__)
  condensed_switch_stack(&caller_, own_);
#else
  ::swapcontext(&caller_, &own_);
#endif
}

void Fiber::pause() {
#if defined(__x86_64__)
  condensed_switch_stack(&own_, caller_);
#else
  ::swapcontext(&own_, &caller_);
#endif
}

}  // namespace condensed::emulation
