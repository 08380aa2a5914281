// The rows of the families, one per file of this folder. Used by family.cpp only.
#pragma once

#include "model/families/family.h"

namespace puzzle {

extern const Family kLlama;
extern const Family kMistral;
extern const Family kQwen2;
extern const Family kQwen3;
extern const Family kGpt2;
extern const Family kGptNeo;
extern const Family kOpt;
extern const Family kPhi3;
extern const Family kGemma2;
extern const Family kGemma3;

}  // namespace puzzle
