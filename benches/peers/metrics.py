"""Times the Python packages that benchmarks score with beside ours, on the same texts, one thread each.

    python3.11 -m venv metrics && metrics/bin/pip install rouge_score==0.1.2 nltk==3.10.4
    cargo build --release -p tesseral-lm --example metrics_speed
    metrics/bin/python benches/peers/metrics.py FILE.json --nltk-data DIR --ours target/release/examples/metrics_speed

FILE.json: any JSON with texts (measured with ALCE's human_eval_utility_completed.json). DIR: a folder with
tokenizers/punkt_tab/english (in the wheel llama-index-core under _static/nltk_cache). One line of JSON: for each job
seconds of both sides (the fastest round; rounds alternate), the median of the rounds' ratios, and whether the sums of
the results are equal. Seconds are those of the processor, so that other jobs of the machine count little.
"""

import argparse
import collections
import json
import re
import resource
import statistics
import string
import subprocess
import time

import nltk
from rouge_score.rouge_scorer import RougeScorer

# How often our side does a job that it ends in milliseconds.
REPEATS = {"sentences": 500, "rouge": 20, "rouge_lsum": 20, "matches": 50}
ALL = ["rouge1", "rouge2", "rougeL", "rougeLsum"]


def collect(value, texts):
    """Every text of more than 80 letters."""
    if isinstance(value, str):
        if len(value) > 80:
            texts.add(value)
    elif isinstance(value, dict):
        for item in value.values():
            collect(item, texts)
    elif isinstance(value, list):
        for item in value:
            collect(item, texts)


def normal(text):
    """A short answer as SQuAD's script normalizes it, written anew."""
    kept = "".join(letter for letter in text.lower() if letter not in PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


PUNCTUATION = set(string.punctuation)


def matches(target, text):
    """Exact match, F1 and substring match, each normalizing for itself as HELMET's functions do."""
    exact = normal(text) == normal(target)
    one, two = normal(text).split(), normal(target).split()
    common = sum((collections.Counter(one) & collections.Counter(two)).values())
    f1 = 0.0
    if common:
        precision, recall = common / len(one), common / len(two)
        f1 = 2 * precision * recall / (precision + recall)
    return exact + f1 + (normal(target) in normal(text))


def ours_cpu(binary, path, job, rounds):
    """Sum of our results, and processor seconds of the whole program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = subprocess.run([binary, path, job, str(rounds)], capture_output=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(line)["sum"], after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--nltk-data", required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    nltk.data.path = [arguments.nltk_data]
    texts = set()
    with open(arguments.file, encoding="utf-8") as file:
        collect(json.load(file), texts)
    texts = sorted(texts)
    lines = ["\n".join(nltk.sent_tokenize(text.lower())) for text in texts]
    scorers = {"rouge": RougeScorer(ALL, use_stemmer=True), "rouge_lsum": RougeScorer(["rougeLsum"], use_stemmer=True)}

    def rouge(name):
        pairs = zip(lines, lines[1:] + lines[:1])
        return sum(score.fmeasure for target, text in pairs for score in scorers[name].score(target, text).values())

    jobs = {
        "sentences": lambda: sum(len(nltk.sent_tokenize(text)) for text in texts),
        "rouge": lambda: rouge("rouge"),
        "rouge_lsum": lambda: rouge("rouge_lsum"),
        "matches": lambda: sum(matches(target, text) for target, text in zip(texts, texts[1:] + texts[:1])),
    }
    result = {"texts": len(texts)}
    for name in jobs:
        result[name] = {"python_s": [], "ours_s": [], "ratio": []}
    for _ in range(arguments.rounds):
        for name, job in jobs.items():
            start = time.process_time()
            total = job()
            seconds = time.process_time() - start
            # Reading the file and starting up are in both runs of ours.
            many = 1 + REPEATS[name]
            _, once = ours_cpu(arguments.ours, arguments.file, name, 1)
            sum_ours, often = ours_cpu(arguments.ours, arguments.file, name, many)
            ours = (often - once) / (many - 1)
            row = result[name]
            row["python_s"].append(seconds)
            row["ours_s"].append(ours)
            row["ratio"].append(seconds / ours)
            row["equal"] = abs(total - sum_ours) < 1e-9 * max(1.0, abs(total))
    for name in jobs:
        row = result[name]
        row.update(python_s=min(row["python_s"]), ours_s=min(row["ours_s"]), ratio=statistics.median(row["ratio"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
