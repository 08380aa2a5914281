#!/usr/bin/env python3
"""The shipped tasks in lm-evaluation-harness and in `puzzle eval`, question for question.

usage: lm_eval_reference.py PUZZLE MODEL DATA [--limit 40] [--tasks arc_easy,...]

MODEL is a Hugging Face folder, DATA holds DIR/TASK/*.jsonl. Needs the PyPI packages lm-eval, torch
and transformers; not run by ./check, because they take two gigabytes. The harness gets its own task
definitions (its Jinja patterns, on the local rows), not ours. Exit status 1 when an accuracy
differs by a question or a perplexity by a thousandth.
"""
import argparse
import glob
import json
import math
import os
import subprocess
import sys

import lm_eval
from lm_eval.models.huggingface import HFLM

ANSWER = "Question: {{question}}\nAnswer:"
TASKS = {
    "lambada": dict(output_type="loglikelihood",
                    doc_to_text="{{text.split(' ')[:-1]|join(' ')}}",
                    doc_to_target="{{' '+text.split(' ')[-1]}}",
                    metric_list=[{"metric": "perplexity"}, {"metric": "acc"}]),
    "hellaswag": dict(doc_to_text="{{question}}"),
    "piqa": dict(doc_to_text=ANSWER),
    "arc_easy": dict(doc_to_text=ANSWER),
    "arc_challenge": dict(doc_to_text=ANSWER),
    "openbookqa": dict(doc_to_text="{{question}}"),
    "boolq": dict(doc_to_text="{{passage}}\nQuestion: {{question}}\nAnswer:"),
    "commonsenseqa": dict(doc_to_text=ANSWER),
    "sciq": dict(doc_to_text="{{support.lstrip()}}\nQuestion: {{question}}\nAnswer:"),
    "copa": dict(
        doc_to_text="{{question.strip()[:-1] + ' ' + {'cause': 'because', 'effect': 'therefore'}"
                    "[asks]}}",
        doc_to_choice=lambda doc: [c[0].lower() + c[1:] for c in doc["choices"]]),
    "winogrande": dict(
        doc_to_text=lambda doc: doc["answer"],
        doc_to_choice=lambda doc: [doc["question"][:doc["question"].index("_")] + c
                                   for c in doc["choices"]],
        doc_to_target=lambda doc: doc["question"][doc["question"].index("_") + 1:].strip()),
    "blimp": dict(doc_to_text="", doc_to_target=0,
                  doc_to_choice="{{[sentence_good, sentence_bad]}}"),
}


def harness_task(name, data, limit):
    rows = []
    for path in sorted(glob.glob(os.path.join(data, name, "*.jsonl"))):
        with open(path, encoding="utf-8") as file:
            rows.append(file.read().split("\n"))
    lines = [own[i] for i in range(max(map(len, rows))) for own in rows if i < len(own)]
    path = f"/tmp/lm_eval_reference.{os.getpid()}.{name}.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(line for line in lines if line)[:1 << 28])
    task = dict(task=name, dataset_path="json", dataset_kwargs={"data_files": {"test": path}},
                test_split="test", output_type="multiple_choice", doc_to_choice="{{choices}}",
                doc_to_target="{{answer}}",
                metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}])
    task.update(TASKS[name])
    if task["output_type"] != "multiple_choice":
        del task["doc_to_choice"]
    return task


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("puzzle")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--tasks", default=",".join(n for n in TASKS if n != "blimp"))
    args = parser.parse_args()
    names = args.tasks.split(",")
    ours = json.loads(subprocess.run(
        [args.puzzle, "eval", args.model, "--tasks", args.tasks, "--task-data", args.data, "--limit",
         str(args.limit), "--json"], check=True, capture_output=True, text=True).stdout)["tasks"]
    model = HFLM(pretrained=args.model, dtype="float32", device="cpu", batch_size=8, trust_remote_code=True)
    results = lm_eval.simple_evaluate(
        model=model, tasks=[harness_task(name, args.data, args.limit) for name in names],
        limit=args.limit, bootstrap_iters=0)["results"]
    failed = False
    for name in names:
        theirs = {key.split(",")[0]: value for key, value in results[name].items()
                  if key.endswith(",none")}
        for own, other, tolerance in (("acc", "acc", 1e-9), ("acc_norm", "acc_norm", 1e-9),
                                      ("ppl", "perplexity", 1e-3)):
            if own not in ours[name] or other not in theirs:
                continue
            same = math.isclose(ours[name][own], theirs[other], rel_tol=tolerance)
            failed |= not same
            print(f"{name:14} {own:9} {ours[name][own]:.6f} {theirs[other]:.6f} "
                  f"{'' if same else 'DIFFERS'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
