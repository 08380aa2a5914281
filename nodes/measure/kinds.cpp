#include "nodes/measure/kinds.h"

#include "graph/kind/unkeyed_as.h"
#include "io/error.h"
#include "io/percentage.h"
#include "nodes/measure/claims.h"
#include "nodes/measure/context_ports.h"
#include "nodes/measure/measured_loss.h"
#include "nodes/measure/task_rows.h"

namespace puzzle {

namespace {

NodeKind ScoreKind() {
  Kind<ScoreParams> kind(
      "score", 4,
      "Damage to a whole model when a sub-block or block is replaced: KL from the "
      "parent, NLL, accuracies, cosine and normalised MSE of the final states; in tasks too.");
  kind.In("parent", "checkpoint", "whose distribution is the measure")
      .In("activations", "activations", "its hidden states on validation tokens, best in fp32")
      .In("block", "block", "the replacement");
  AddContext(kind, "the model to replace it in; else the parent itself")
      .InOptional("tasks", "tasks",
                  "questions to ask as well, for the objectives task_accuracy and task_kl; with "
                  "`part` apart from those that judge the child")
      .Param("compute", &ScoreParams::compute, {OneOf({"fp32", "bf16"}), UnkeyedAs("fp32")},
             "type of the products, the head's too; bf16 only where the device is faster at it")
      .Param("batch", &ScoreParams::batch, {Between(1, 1 << 20), Unkeyed()}, "sequences at a time")
      .Out("score")
      .On(Needs::kDevice);
  return AddLossOn(kind);
}

NodeKind RemoveBlocksKind() {
  return Kind<RemoveBlocksParams>(
             "remove_blocks", 1,
             "Depth pruning by iterative removal with re-scoring (SLEB, arXiv 2402.09025), a "
             "baseline: the block whose removal hurts least goes, the others are scored again "
             "without it, and so on.")
      .In("parent", "checkpoint", "the model")
      .In("tokens", "tokens", "what removals are scored on")
      .Param("block_parameters", &RemoveBlocksParams::block_parameters, {Required()},
             "how much of the blocks' parameters may stay: \"80%\"")
      .Param("unit", &RemoveBlocksParams::unit, {OneOf({"block", "sub_block"})},
             "what goes at a time: a whole block, or an attention or FFN alone")
      .Param("objective", &RemoveBlocksParams::objective, {OneOf({"lm_loss", "kl"})},
             "what says how much it hurts: the loss on the text, or the KL from the parent")
      .Param("compute", &RemoveBlocksParams::compute, {OneOf({"fp32", "bf16"})},
             "type of the products, the head's too; bf16 only where the device is faster at it")
      .Param("batch", &RemoveBlocksParams::batch, {Between(1, 1 << 20), Unkeyed()},
             "sequences at a time")
      .Check([](const RemoveBlocksParams& p) -> std::optional<std::string> {
        const auto part = ParsePercentage(p.block_parameters);
        if (part && *part <= 1) return std::nullopt;
        return "block_parameters is \"" + p.block_parameters +
               "\", expected a percentage up to 100 such as \"80%\"";
      })
      .Out("checkpoint")
      .On(Needs::kDevice);
}

NodeKind BestKind() {
  return Kind<BestParams>("best", 1,
                          "The model that was measured to be closest to its parent, or the "
                          "smallest that was measured to lose little enough.")
      .InList("models", "checkpoint", "the candidates")
      .InList("evaluations", "evaluation",
              "how good they are: one for each, with a parent; `within` takes the parent's own too")
      .Param(
          "within", &BestParams::within, {UnkeyedAs("")},
          "{\"kl\": 0.05} or {\"task_accuracy\": \"1.6%\"}: the smallest that loses at most this")
      .Check([](const BestParams& p) -> std::optional<std::string> {
        if (p.within.empty()) return std::nullopt;
        try {
          (void)ReadMeasuredLimit(p.within);
        } catch (const Error& error) {
          return std::string("within: ") + error.what();
        }
        return std::nullopt;
      })
      .Out("checkpoint");
}

NodeKind AdditivityKind() {
  return Kind<AdditivityParams>("additivity", 1,
                                "What whole blocks and children lose, beside the sums of their "
                                "parts' scores.")
      .In("parent", "checkpoint", "whose own sub-blocks add nothing")
      .InList("scores", "score", "of sub-blocks and of whole blocks")
      .InList("children", "evaluation", "with a parent and a choice: measured KL and sum of scores")
      .Out("report");
}

NodeKind TasksKind() {
  return Kind<TasksParams>(
             "tasks", 1,
             "Questions with known answers, for `evaluate`: what task files (JSON) make "
             "of rows of data.")
      .Param("folder", &TasksParams::folder, {Required(), InputFolder(DigestTaskRows)},
             "task files, NAME.json, as in configs/tasks")
      .Param("data", &TasksParams::data, {Required(), InputFolder(DigestTaskRows)},
             "rows: a folder NAME for each task")
      .Param("tasks", &TasksParams::tasks, {Required()}, "names of tasks")
      .Param("limit", &TasksParams::limit, {Between(0, 1e9)},
             "questions of each task (of a text: windows); 0: all")
      .Param("part", &TasksParams::part, {OneOf({"all", "even", "odd"})},
             "every other question, so that what a search looks at is not what judges it")
      .Out("tasks");
}

NodeKind LongContextKind() {
  return Kind<LongContextParams>("long_context", 1,
                                 "Questions about long texts in the manner of RULER, made up: a "
                                 "needle, chains of variables, the commonest word.")
      .In("model", "checkpoint", "whose tokenizer counts the lengths")
      .Param("forms", &LongContextParams::forms, {OneOf({"needle", "variables", "words"})},
             "of the questions")
      .Param("lengths", &LongContextParams::lengths, {Between(64, 1 << 24)},
             "tokens of a question: each is a task of its own")
      .Param("questions", &LongContextParams::questions, {Between(1, 1e6)},
             "of each form and length")
      .Param("seed", &LongContextParams::seed, {Between(0, 1 << 30)}, "of everything that is drawn")
      .Out("tasks");
}

NodeKind VerdictKind() {
  return Kind<VerdictParams>("verdict", 1,
                             "Which of a paper's findings were found here too: confirmed, refuted, "
                             "or too close to call.")
      .InList("rows", "evaluation", "the models that are compared, on the same text")
      .Param("finding", &VerdictParams::finding, {Required()}, "what was found, and where")
      .Param("better", &VerdictParams::better, {Required()},
             "pairs of labels, the better one first: [[\"with distillation\", \"without\"], ...]")
      .Param("metric", &VerdictParams::metric, {}, "in what: " + NamesOfMeasures())
      .Check([](const VerdictParams& p) -> std::optional<std::string> {
        if (!IsMeasure(p.metric))
          return "metric: unknown \"" + p.metric + "\"; there are " + NamesOfMeasures();
        try {
          (void)ReadClaims(p.better);
        } catch (const Error& error) {
          return std::string("better: ") + error.what();
        }
        return std::nullopt;
      })
      .Out("report");
}

NodeKind EvaluateKind() {
  Kind<EvaluateParams> kind("evaluate", 5, "Quality of a model on held-out text.");
  kind.In("model", "checkpoint", "what to measure")
      .InOptional("parent", "checkpoint", "to compare with: KL, cosine and normalised MSE")
      .In("tokens", "tokens", "held-out text")
      .InOptional("choice", "choice",
                  "the search it came from: its sum of KL scores is shown beside the measured KL")
      .InOptional("tasks", "tasks", "what to ask it: accuracies and perplexities")
      .Param("label", &EvaluateParams::label, {}, "its name in tables")
      .Param("series", &EvaluateParams::series, {}, "the curve it belongs to in a report's picture")
      .Param(
          "compute", &EvaluateParams::compute, {OneOf({"fp32", "bf16"}), UnkeyedAs("fp32")},
          "type of the products, the parent's and those of tasks too; bf16 only where the device "
          "is faster at it. A sample is always written in fp32")
      .Param("positions", &EvaluateParams::positions, {Between(0, 1e12)}, "predictions; 0: all")
      .Param("batch", &EvaluateParams::batch, {Between(1, 1 << 20), Unkeyed()},
             "sequences at a time")
      .Param("questions", &EvaluateParams::questions, {InputFile()},
             "multiple-choice questions to answer: JSON lines (BLiMP pairs too) or CSV")
      .Param("max_questions", &EvaluateParams::max_questions, {Between(0, 1e9)},
             "the first ones; 0: all")
      .Param("prompt", &EvaluateParams::prompt, {}, "start of a sample")
      .Param("sample_tokens", &EvaluateParams::sample_tokens, {Between(0, 1 << 24)},
             "tokens to continue it by")
      .Out("evaluation")
      .On(Needs::kDevice);
  return AddLossOn(kind);
}

NodeKind ReportKind() {
  return Kind<ReportParams>(
             "report", 3,
             "A table of evaluations, the architecture, samples; a picture of KL against size, if "
             "evaluations name their series.")
      .InList("rows", "evaluation", "the models to compare")
      .InOptional("choice", "choice", "the child's architecture")
      .InOptional("exported", "export", "where the files are")
      .Param("order", &ReportParams::order, {}, "labels, top to bottom")
      .Param("main", &ReportParams::main, {},
             "series that the picture is about; the others are baselines")
      .Param("loose", &ReportParams::loose, {}, "series whose points are not joined")
      .Out("report");
}

}  // namespace

std::vector<NodeKind> MeasureKinds() {
  return {ScoreKind(),       RemoveBlocksKind(), BestKind(),    AdditivityKind(), TasksKind(),
          LongContextKind(), EvaluateKind(),     VerdictKind(), ReportKind()};
}

}  // namespace puzzle
