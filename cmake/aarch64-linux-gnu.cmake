# Compiles on another machine for AArch64 with Debian's g++-aarch64-linux-gnu, and runs what it compiled in qemu-user.
# CONDENSED_QEMU_CPU: the processor that is emulated: "max" has dot products, "cortex-a53" none.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

set(CONDENSED_QEMU_CPU max CACHE STRING "The processor that qemu emulates")
find_program(QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${QEMU_AARCH64} -cpu ${CONDENSED_QEMU_CPU} -L /usr/aarch64-linux-gnu)
endif()

# The nvcc that may be found compiles for this machine.
set(CONDENSED_CUDA OFF CACHE STRING "AUTO, ON or OFF: the CUDA backend")
