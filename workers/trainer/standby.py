"""Standby: everything a run imports or sets up lazily is done before the job is known; no accelerator is touched."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from workers.trainer import engine, run  # noqa: F401 - imported to be ready


def warm_up() -> None:
    """One update of a model of a few hundred weights, with adapters, so that every lazy import has happened."""
    from peft import LoraConfig, get_peft_model

    config = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1,
    )  # fmt: skip
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=1, target_modules="all-linear"))
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimizer = engine.optimizer(weights, weight_decay=0.0)
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
    optimizer.step()
