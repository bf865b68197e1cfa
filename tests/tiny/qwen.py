"""A tiny language model in place of the one that reads `emo_text`: it says nothing, which upstream takes for calm."""

from __future__ import annotations

from pathlib import Path

TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def build(target: Path) -> None:
    """Write model and tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    letters = {letter: index for index, letter in enumerate(["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    words = Tokenizer(models.BPE(letters, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inputs = ["input_ids", "attention_mask"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", chat_template=TEMPLATE, model_input_names=inputs
    )
    tokenizer.save_pretrained(target)
    config = Qwen3Config(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        eos_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    model = Qwen3ForCausalLM(config)
    torch.nn.init.zeros_(model.lm_head.weight)  # all words are as likely, and the first of them is the end
    model.save_pretrained(target)
