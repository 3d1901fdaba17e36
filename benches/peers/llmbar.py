#!/usr/bin/env python3
"""LLMBar's stored results computed again, the straightforward way, with the standard library alone: the same files, the
same patterns, the same statistics as `tesseral lm eval llmbar replay DIR`.

    python3 benches/peers/llmbar.py DIR [--repeat N]

prints one JSON line: files, completions, how many winners and statistics are as stored, the seconds of the fastest
of N replays in one process (imports and the start of the interpreter not counted; time the whole command for these), and of
these the seconds of reading files and of the metric code alone: winners of completions that are read already, and statistics.
Our side of the last is `metrics_speed DIR winners` (an example of tesseral-lm).
"""

import argparse
import json
import math
import re
import time
from pathlib import Path

ORDERS = ("swap = False", "swap = True")
REVERSED = {"1": "2", "2": "1", None: None}


def winner(completion, patterns):
    completion = completion.strip()
    for name in ("1", "2"):
        if re.search(patterns[name], completion):
            return name
    return None


def kappa(first, second):
    classes = sorted(set(first) | set(second))
    counts = [[0] * len(classes) for _ in classes]
    for a, b in zip(first, second):
        counts[classes.index(a)][classes.index(b)] += 1
    rows = [sum(row) for row in counts]
    columns = [sum(row[j] for row in counts) for j in range(len(classes))]
    total = len(first)
    pairs = [(i, j) for i in range(len(classes)) for j in range(len(classes)) if i != j]
    expected = sum(columns[i] * rows[j] / total for i, j in pairs)
    return 1 - sum(counts[i][j] for i, j in pairs) / expected if expected else math.nan


def statistics(judged):
    total = len(judged)
    right = [sum(winners[order] == str(label) for winners, label in judged) for order in (0, 1)]
    both = sum(w[0] == w[1] == str(label) for w, label in judged)
    equal = sum(w[0] == w[1] for w, _ in judged)
    labels = [label for _, label in judged]
    mapped = [[int(w[order]) if w[order] in ("0", "1") else 0 for w, _ in judged] for order in (0, 1)]
    kappas = [kappa(mapped[order], labels) for order in (0, 1)]
    found = {
        "correct_False": f"{right[0]} / {total} = {right[0] / total * 100}%",
        "correct_True": f"{right[1]} / {total} = {right[1] / total * 100}%",
        "correct_average": f"{(right[0] + right[1]) / 2 / total * 100}%",
        "correct_both": f"{both} / {total} = {both / total * 100}%",
        "equal": f"{equal} / {total} = {equal / total * 100}%",
    }
    numbers = {
        "kappa_False": kappas[0],
        "kappa_True": kappas[1],
        "kappa_average": (kappas[0] + kappas[1]) / 2,
        "kappa_agreement": kappa(*mapped),
    }
    return found, numbers


def winners_of(result, patterns):
    """Winners of the last module, how many completions were read, and how many winners are as stored."""
    read = equal = 0
    last = [None, None]
    texts = [p for p in patterns if p is not None]
    place = 0
    for outcome in result:
        if isinstance(outcome, list):
            continue
        if "score_1" in outcome:
            try:
                one, two = int(outcome["score_1"][0]), int(outcome["score_2"][0])
                last = ["1" if one > two else "2", "2" if two > one else "1"]
            except ValueError:
                last = ["1", "2"]
        else:
            found = [winner(outcome[order]["completion"][0], texts[place]) for order in ORDERS]
            last = [found[0], REVERSED[found[1]]]
            place += 1
        read += 2
        equal += sum(outcome[order]["winner"] == w for order, w in zip(ORDERS, last))
    return last, read, equal


def read(folder):
    """Of each result: the patterns of its modules, its examples, its stored statistics."""
    found = []
    for path in sorted(folder.rglob("result.json")):
        llm, strategy = path.parts[-3], path.parts[-2]
        settings = folder / "LLMEvaluator" / "evaluators" / "config" / llm / f"{strategy}.json"
        patterns = [module["parsing"] for module in json.loads(settings.read_text())]
        stored = json.loads((path.parent / "statistics.json").read_text())
        found.append((patterns, json.loads(path.read_text()), stored))
    return found


def replay(results):
    completions = equal = same = 0
    for patterns, examples, stored in results:
        judged = []
        for example in examples:
            last, count, as_stored = winners_of(example["results"], patterns)
            judged.append((last, example["label"]))
            completions += count
            equal += as_stored
        texts, numbers = statistics(judged)
        close = all(abs(stored[key] - value) < 1e-12 for key, value in numbers.items())
        same += close and all(stored[key] == value for key, value in texts.items())
    return {"files": len(results), "completions": completions, "winners_equal": equal, "statistics_equal": same}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    reading, scoring = [], []
    for _ in range(arguments.repeat):
        start = time.perf_counter()
        results = read(arguments.folder)
        middle = time.perf_counter()
        found = replay(results)
        reading.append(middle - start)
        scoring.append(time.perf_counter() - middle)
    total = min(a + b for a, b in zip(reading, scoring))
    print(json.dumps({**found, "seconds": total, "reading_s": min(reading), "metric_s": min(scoring)}))


if __name__ == "__main__":
    main()
