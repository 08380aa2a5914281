// The functions behind the tables of kinds.cpp: a line per kind.
#include "nodes/train/assemble.h"
#include "nodes/train/bld.h"
#include "nodes/train/gkd.h"
#include "nodes/train/join.h"
#include "nodes/train/kinds.h"
#include "nodes/train/pretrain.h"
#include "nodes/train/teacher_logits.h"

namespace puzzle {

std::map<std::string, Body> TrainBodies() {
  return {{"assemble", MakeBody(RunAssemble)},
          {"bld", MakeBody(RunBld)},
          {"gkd", MakeBody(RunGkd)},
          {"join", MakeBody(RunJoin)},
          {"pretrain", MakeBody(RunPretrain)},
          {"shortlist", MakeBody(RunShortlist)},
          {"teacher_logits", MakeStreamingBody<TeacherLogits>(RunTeacherLogits)}};
}

}  // namespace puzzle
