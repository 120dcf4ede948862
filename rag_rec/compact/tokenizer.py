"""A tokenizer with one token per name, so that the folder loads in transformers and vLLM like any other model."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rag_rec.compact.vocabulary import BOS, PAD, SPECIALS, UNKNOWN, Vocabulary


def write_tokenizer(vocabulary: Vocabulary, context: int, folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``: names separated by spaces become token ids.

    Args:
        vocabulary: the tokens.
        context: the longest sequence in tokens.
        folder: where to write.
    """
    names = {name: token for token, name in enumerate(vocabulary.names())}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token=SPECIALS[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=SPECIALS[BOS],
        pad_token=SPECIALS[PAD],
        eos_token=SPECIALS[PAD],
        unk_token=SPECIALS[UNKNOWN],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    wrapped.save_pretrained(folder)
