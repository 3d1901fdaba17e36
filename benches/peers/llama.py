"""A train step of a Llama of a given shape, or a real model's prompt and generation speed, in transformers and in Tesseral,
in rounds that alternate. One JSON line a case; ratios are medians of the rounds' ratios."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time


def peer_train(args):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shape = json.load(open(args.config))
    model = LlamaForCausalLM._from_config(LlamaConfig(**shape), attn_implementation="sdpa")
    if args.peer_recompute:
        model.gradient_checkpointing_enable()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    ids = torch.tensor([[k * 7919 % shape["vocab_size"] for k in range(args.tokens)]])
    times = []
    for _ in range(args.repeats + 1):
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    median = statistics.median(times[1:])
    print(json.dumps({"train_tokens_per_s": args.tokens / median, "peak_rss_mb": peak, "loss": loss.item()}))


def peer_generate(args):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(args.threads)
    gguf = next(n for n in os.listdir(args.model) if n.endswith(".gguf"))
    model = AutoModelForCausalLM.from_pretrained(args.model, gguf_file=gguf, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer(args.prompt, return_tensors="pt").input_ids
    prompt, new = [], []
    with torch.no_grad():
        for _ in range(args.repeats + 1):
            start = time.perf_counter()
            model.generate(ids, max_new_tokens=1, do_sample=False)
            first = time.perf_counter() - start
            start = time.perf_counter()
            out = model.generate(ids, max_new_tokens=args.new, min_new_tokens=args.new, do_sample=False)
            whole = time.perf_counter() - start
            prompt.append(ids.shape[1] / first)
            new.append((out.shape[1] - ids.shape[1] - 1) / (whole - first))
    median = statistics.median
    print(json.dumps({"prompt_tokens_per_s": median(prompt[1:]), "generated_tokens_per_s": median(new[1:])}))


def peer_llama_cpp(args):
    from llama_cpp import Llama

    gguf = next(n for n in os.listdir(args.model) if n.endswith(".gguf"))
    model = Llama(
        os.path.join(args.model, gguf), n_ctx=2048, n_threads=args.threads, n_threads_batch=args.threads, verbose=False
    )
    ids = model.tokenize(args.prompt.encode(), add_bos=False)
    prompt, new = [], []
    for _ in range(args.repeats + 1):
        model.reset()
        start = time.perf_counter()
        times = []
        for token, _ in zip(model.generate(ids, temp=0.0), range(args.new)):
            times.append(time.perf_counter())
        prompt.append(len(ids) / (times[0] - start))
        new.append((args.new - 1) / (times[-1] - times[0]))
    median = statistics.median
    print(json.dumps({"prompt_tokens_per_s": median(prompt[1:]), "generated_tokens_per_s": median(new[1:])}))


def run(command, threads):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    return json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def compare(args, kind):
    """Alternates both programs and prints figures and ratios."""
    own = [sys.executable if not args.peer_python else args.peer_python, os.path.abspath(__file__), "--threads", str(args.threads)]
    if kind == "train":
        flags = ["--config", args.config, "--tokens", str(args.tokens), "--repeats", str(args.repeats)]
        peer = own + ["--peer", "train"] + flags + (["--peer-recompute"] if args.peer_recompute else [])
        ours = [args.ours, "lm", "bench", args.config, "--tokens", str(args.tokens), "--repeats", str(args.repeats), "--json"]
        ours += ["--recompute", args.recompute]
        keys = ["train_tokens_per_s", "peak_rss_mb"]
    else:
        peer = own + ["--peer", "llama-cpp" if args.llama_cpp else "generate", "--model", args.model, "--prompt", args.prompt, "--new", str(args.new), "--repeats", str(args.repeats)]
        ours = [args.ours, "lm", "generate", "--model", args.model, "--prompt", args.prompt, "--max-tokens", str(args.new), "--json", "-q"]
        keys = ["prompt_tokens_per_s", "generated_tokens_per_s"]
    rounds = []
    for _ in range(args.rounds):
        theirs, mine = run(peer, args.threads), run(ours, args.threads)
        rounds.append({k: (mine[k], theirs[k]) for k in keys})
    result = {"case": kind, "tokens": args.tokens if kind == "train" else None, "threads": args.threads, "load_1m": os.getloadavg()[0]}
    for k in keys:
        result[k] = {
            "tesseral": statistics.median(r[k][0] for r in rounds),
            "llama.cpp" if args.llama_cpp else "transformers": statistics.median(r[k][1] for r in rounds),
            "ratio": statistics.median(r[k][0] / r[k][1] for r in rounds),
        }
    print(json.dumps(result))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--peer", choices=["train", "generate", "llama-cpp"], help="run the peer alone (used by this script)")
parser.add_argument("--peer-python", help="the interpreter that has torch and transformers")
parser.add_argument("--ours", default="target/release/tesseral")
parser.add_argument("--config", default="benches/peers/llama-30m.json")
parser.add_argument("--tokens", type=int, default=1024)
parser.add_argument("--recompute", choices=["none", "feed-forward", "layers"], default="none", help="what ours makes again")
parser.add_argument("--peer-recompute", action="store_true")
parser.add_argument("--model", help="a folder with a GGUF file and tokenizer.json: compares generation")
parser.add_argument("--llama-cpp", action="store_true", help="generation beside llama.cpp (llama-cpp-python), its 4-bit kernels")
parser.add_argument("--prompt", default="The history of the city begins with a river. " * 25)
parser.add_argument("--new", type=int, default=32)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--rounds", type=int, default=3)
arguments = parser.parse_args()
if arguments.peer == "train":
    peer_train(arguments)
elif arguments.peer == "generate":
    peer_generate(arguments)
elif arguments.peer == "llama-cpp":
    peer_llama_cpp(arguments)
else:
    compare(arguments, "generate" if arguments.model else "train")
