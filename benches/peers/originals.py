"""Times the metric code of ALCE and HELMET themselves beside ours, on the same files, one thread each.

    python3.11 -m venv metrics && metrics/bin/pip install rouge_score==0.1.2 nltk==3.10.4 pytrec_eval-terrier numpy tqdm
    git clone https://github.com/princeton-nlp/ALCE && git clone https://github.com/princeton-nlp/HELMET
    cargo build --release -p tesseral-lm --example originals_speed
    metrics/bin/python benches/peers/originals.py PASSAGES.jsonl QUESTIONS.jsonl --alce ALCE --helmet HELMET \
        --nltk-data DIR --ours target/release/examples/originals_speed

PASSAGES.jsonl has rows with `id` and `text`, QUESTIONS.jsonl with `question`, `answers`, `passage_id`. Of these the script makes
files of results by rule: answers of three sentences with citations, lists, rankings. Which pairs entail each other is
decided by counted words once, and both sides look it up. torch and transformers are not imported: no model runs. One line of
JSON: for each job seconds of both sides (the fastest of alternating rounds), the ratio, and whether the results are equal.
DIR is a folder with tokenizers/punkt_tab/english.
"""

import argparse
import contextlib
import importlib
import io
import json
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import types

import nltk

ROUNDS_OF_OURS = {"citations": 20, "string_match": 50, "list_match": 50, "generated": 10, "rankings": 20}


def original(folder, name):
    """A module of a benchmark, with the models' packages left out."""
    for missing in ("torch", "transformers"):
        sys.modules[missing] = types.ModuleType(missing)
    # Names in signatures.
    sys.modules["torch"].float16 = None
    for name_of in ("AutoModelForSeq2SeqLM", "AutoTokenizer", "pipeline"):
        setattr(sys.modules["transformers"], name_of, None)
    sys.modules.pop("utils", None)
    sys.path.insert(0, folder)
    module = importlib.import_module(name)
    sys.path.pop(0)
    sys.modules.pop(name)
    logging.disable(logging.CRITICAL)
    return module


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def chunks(words, size):
    return [" ".join(words[at : at + size]) for at in range(0, len(words), size)]


def rows(passages, questions):
    """Results as ALCE stores them: the best of five passages of 100 words, cited in three ways."""
    draw = random.Random(0)
    texts = {row["id"]: row["text"].split() for row in passages}
    others = sorted(texts)
    for row in questions:
        mine = chunks(texts[row["passage_id"]], 100)
        while len(mine) < 5:
            mine += chunks(texts[draw.choice(others)], 100)
        docs = [{"title": f"Story {row['passage_id']}", "text": text} for text in mine[:5]]
        sentences = [sentence.rstrip(". ") for doc in docs[:3] for sentence in nltk.sent_tokenize(doc["text"])[:1]]
        marks = ["[1].", "[1][2].", "[2][3][4]."]
        listed = draw.sample(" ".join(mine[:5]).split(), 12)
        answers = row["answers"] if isinstance(row["answers"], list) else [row["answers"]]
        yield {
            "question": row["question"],
            "output": " ".join(f"{sentence} {mark}" for sentence, mark in zip(sentences, marks)),
            "docs": docs,
            "qa_pairs": [{"question": row["question"], "short_answers": answers}, {"question": "?", "short_answers": ["the"]}],
            "list": ", ".join(listed) + ".",
            "answers": [[listed[0], "none"], [listed[5]], ["neither", "nor"]],
            "generated": f"Answer: {sentences[0]}.\nQuestion: what",
            "short": answers,
            "ranking": " > ".join(f"[ID: {place}]" for place in draw.sample(range(1000), 100)),
            "relevance": {str(place): draw.randrange(4) for place in range(1000)},
        }


def entails(premise, hypothesis):
    """By counted words; the table of these verdicts is all that either side sees."""
    words = set(re.findall(r"\w+", premise.lower()))
    claim = re.findall(r"\w+", hypothesis.lower())
    return int(sum(word in words for word in claim) >= 0.8 * len(claim))


def jobs_of(alce, helmet, data, table):
    """The original's functions; each gives a number that ours must give too."""
    alce.autoais_model = alce.autoais_tokenizer = True
    alce._run_nli_autoais = lambda passage, claim: table[passage, claim]
    alce.tqdm = lambda rows: rows
    plain = [dict(row, output=alce.remove_citations(row["output"])) for row in data]
    lists = [dict(row, output=row["list"]) for row in data]

    def citations():
        with contextlib.redirect_stdout(io.StringIO()):
            found = alce.compute_autoais(data, at_most_citations=3)
        return found["citation_rec"] + found["citation_prec"]

    def list_match():
        found = alce.compute_qampari_f1(lists)
        return found["qampari_f1"] + found["qampari_f1_top5"]

    def generated():
        total = 0.0
        for row in data:
            whole = helmet.calculate_metrics(row["generated"], row["short"])
            parsed = helmet.parse_output(row["generated"])
            part = helmet.calculate_metrics(parsed, row["short"])
            total += sum(max(float(whole[name]), float(part[name])) for name in whole)
        return total

    def rankings():
        total = 0.0
        for row in data:
            ranks = {"q": helmet.parse_rankings(row["ranking"])}
            found = helmet.calculate_retrieval_metrics(ranks, {"q": row["relevance"]}, [10])
            total += found["NDCG@10"] + found["MRR"]
        return total

    return {
        "citations": citations,
        "string_match": lambda: sum(alce.compute_str_em(plain)),
        "list_match": list_match,
        "generated": generated,
        "rankings": rankings,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passages")
    parser.add_argument("questions")
    for name in ("alce", "helmet", "nltk-data", "ours"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    nltk.data.path = [arguments.nltk_data]
    alce, helmet = original(arguments.alce, "eval"), original(arguments.helmet, "utils")
    data = list(rows(read(arguments.passages), read(arguments.questions)))

    table = {}

    class Recording(dict):
        def __missing__(self, pair):
            table[pair] = entails(*pair)
            return table[pair]

    jobs_of(alce, helmet, data, Recording())["citations"]()
    jobs = jobs_of(alce, helmet, data, table)
    result = {name: {"python_s": [], "ours_s": []} for name in jobs}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "asqa.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"data": data, "verdicts": [[*pair, verdict] for pair, verdict in table.items()]}, file)
        for _ in range(arguments.rounds):
            for name, job in jobs.items():
                start = time.process_time()
                total = job()
                result[name]["python_s"].append(time.process_time() - start)
                command = [arguments.ours, path, name, str(ROUNDS_OF_OURS[name])]
                found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                result[name]["ours_s"].append(found["seconds"])
                result[name]["equal"] = bool(abs(total - found["sum"]) < 1e-9 * max(1.0, abs(total)))
    for row in result.values():
        row.update(python_s=min(row["python_s"]), ours_s=min(row["ours_s"]))
        row["ratio"] = row["python_s"] / row["ours_s"]
    print(json.dumps({"rows": len(data), "verdicts": len(table), **result}))


if __name__ == "__main__":
    main()
