// Precompiled header of everything that computes with tensors: tensors, their operations and
// autograd. The whole of libtorch (torch/torch.h) would cost every source seconds more; what else
// is needed of it is included where it is used.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
