"""Tiny random entailment models and what transformers makes of them: the vectors of `tests/golden/entailment`.

    python benches/peers/entailment.py tests/golden/entailment

Needs torch, transformers and tokenizers (written with 2.15.0, 5.24.0 and 0.23.3). The weights are large enough that the
attentions are far from even.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

PAIRS = [
    ["The moose is the largest deer.", "Moose are deer."],
    ["Rain falls in the town each year, and most of it in July.", "It rains in July."],
    ["", "a"],
    ["The record holds. The record of rain in a month is held by a town that is far from here and small, as all "
     "towns on that hill are.", "A town holds the record of rain."],
    ["The moose is the largest deer.", "The town is small."],
]
# A vocabulary of single letters and a few pieces: what is not in it is spelled out.
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("TMAIRJ.,:01")
WORDS = ["premise", "hypothesis", "the", "moose", "deer", "rain", "town", "record", "is", "in", "of", "1", "0"]


def unigram(special, template, **names):
    """A SentencePiece-like tokenizer: blanks become "▁", the most probable pieces win."""
    pieces = [(s, 0.0) for s in special] + [("▁" + w, -2.0) for w in WORDS] + [("▁", -3.0)]
    pieces += [(c, -5.0) for c in LETTERS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=special.index(names["unk_token"]), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    from tokenizers import decoders

    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        special_tokens=[(s, special.index(s)) for s in special], **template
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def stir(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.dim() > 1 else 0.1
            noise = torch.randn(parameter.shape, generator=generator) * scale
            parameter.copy_(noise + (1.0 if parameter.dim() == 1 and parameter.mean() > 0.5 else 0.0))
    return model.eval()


def t5(folder):
    tokenizer = unigram(
        ["<pad>", "</s>", "<unk>"],
        dict(single="$A </s>", pair="$A </s> $B </s>"),
        unk_token="<unk>", pad_token="<pad>", eos_token="</s>",
    )
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_decoder_layers=2, num_heads=2,
        relative_attention_num_buckets=8, relative_attention_max_distance=20, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, decoder_start_token_id=0,
    )
    model = stir(T5ForConditionalGeneration(config), 1)
    # The embedding (which is also the last layer) learns: "1" for every other pair, "0" for the rest, so that both answers occur.
    optimizer = torch.optim.Adam(model.shared.parameters(), lr=0.02)
    for _ in range(150):
        for place, (premise, hypothesis) in enumerate(PAIRS):
            ids = tokenizer(f"premise: {premise} hypothesis: {hypothesis}", return_tensors="pt").input_ids
            answer = torch.tensor([[tokenizer.convert_tokens_to_ids("▁1" if place % 2 == 0 else "▁0"), 1]])
            model(input_ids=ids, labels=answer).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    cases = []
    for premise, hypothesis in PAIRS:
        ids = tokenizer(f"premise: {premise} hypothesis: {hypothesis}", return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, -1]
            answer = model.generate(ids, max_new_tokens=10, do_sample=False, num_beams=1)[0]
        cases.append(dict(premise=premise, hypothesis=hypothesis, ids=ids[0].tolist(), logits=logits.tolist(),
                          generated=answer.tolist(), text=tokenizer.decode(answer, skip_special_tokens=True)))
    return cases


def deberta(folder):
    tokenizer = unigram(
        ["[PAD]", "[CLS]", "[SEP]", "[UNK]"],
        dict(single="[CLS] $A [SEP]", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
    )
    config = DebertaV2Config(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=64, type_vocab_size=0, relative_attention=True, position_buckets=8,
        norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type="p2c|c2p", position_biased_input=False,
        layer_norm_eps=1e-7, pad_token_id=0,
        id2label={0: "entailment", 1: "neutral", 2: "contradiction"},
        label2id={"entailment": 0, "neutral": 1, "contradiction": 2},
    )
    model = stir(DebertaV2ForSequenceClassification(config), 2)
    model.save_pretrained(folder)
    # As many models are published; the tests read both.
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    tokenizer.save_pretrained(folder)
    cases = []
    for premise, hypothesis in PAIRS:
        inputs = tokenizer(premise, hypothesis, return_tensors="pt", truncation="only_first", max_length=64)
        with torch.no_grad():
            logits = model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).logits[0]
        cases.append(dict(premise=premise, hypothesis=hypothesis, ids=inputs.input_ids[0].tolist(),
                          logits=logits.tolist()))
    return cases


def main():
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    golden = {"t5": t5(root / "t5"), "deberta": deberta(root / "deberta")}
    for keep in root.glob("*/*"):
        if keep.name not in ("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json"):
            keep.unlink()
    (root / "logits.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    print({k: [(len(c["ids"]), c.get("text"), [round(x, 3) for x in c["logits"][:4]]) for c in v]
           for k, v in golden.items()})


main()
