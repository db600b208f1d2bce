"""Rebuilds the demo's base model, a small Llama that answers customers in polite prose, into model/.

The weights are the same to the bit on the same torch build and processor instruction set, with one thread or two.
Takes about eight minutes on two cores.
"""

import argparse
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from corpus import Chat, chats
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
Row = tuple[list[int], list[int]]  # token ids, and 1 where the answer stands
PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
VOCABULARY = 2048
CONTEXT_LENGTH = 512
CHATS = 60_000
STEPS = 1800
BATCH = 32
PEAK_RATE = 4e-3
WARMUP_STEPS = 30
CORPUS_SEED = 3

TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def train_tokenizer(corpus: list[Chat]) -> PreTrainedTokenizerFast:
    """A byte-level BPE over the corpus's text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((message["content"] for chat in corpus for message in chat), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        model_max_length=CONTEXT_LENGTH,
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def fresh_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained Llama: 1.9M parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batches(rows: list[Row], *, seed: int) -> Iterator[list[Row]]:
    """Endless batches of rows of like length, so that little is padding."""
    rng = random.Random(seed)
    while True:
        order = sorted(rng.sample(range(len(rows)), len(rows)), key=lambda index: len(rows[index][0]) // 8)
        grouped = [order[at : at + BATCH] for at in range(0, len(order) - BATCH + 1, BATCH)]
        rng.shuffle(grouped)
        for group in grouped:
            yield [rows[index] for index in group]


def loss_of(model: LlamaForCausalLM, batch: list[Row], pad: int) -> Tensor:
    """Mean cross entropy of the answers' tokens, in nats."""
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row, _ in batch])  # [batch, time]
    answered = torch.tensor([mask + [0] * (longest - len(mask)) for _, mask in batch]).bool()  # [batch, time]
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1][answered[:, 1:]]  # [answer tokens, hidden]
    return cross_entropy(model.lm_head(hidden), ids[:, 1:][answered[:, 1:]])


def optimizers_of(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, where it learns in half the steps; AdamW for embeddings and norms."""
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    taken = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in taken]
    return [
        torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int) -> float:
    """Linear warm-up, then cosine down to 5 % of the peak."""
    if step < WARMUP_STEPS:
        return PEAK_RATE * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)
    return PEAK_RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, corpus: list[Chat]) -> None:
    """Train the model on the corpus in place."""
    rows = []
    for chat in corpus:
        row = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
        rows.append((row["input_ids"], row["assistant_masks"]))
    optimizers = optimizers_of(model)
    feed = batches(rows, seed=0)
    for step in range(STEPS):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate(step)
        loss = loss_of(model, next(feed), tokenizer.pad_token_id)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step:4d} of {STEPS}  loss {loss.item():.3f}", flush=True)


def build(out: Path, *, threads: int) -> None:
    """Make the corpus, the tokenizer and the model, and write them to `out` as from_pretrained reads them."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    corpus = chats(CHATS, seed=CORPUS_SEED)
    tokenizer = train_tokenizer(corpus)
    model = fresh_model(tokenizer)
    pretrain(model, tokenizer, corpus)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=96
    )
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(json.dumps({"parameters": model.num_parameters(), "out": str(out)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    build(arguments.out, threads=arguments.threads)
