// Precompiled header of everything that computes with tensors; the only place that includes all of
// libtorch.
#pragma once

#include <torch/torch.h>
