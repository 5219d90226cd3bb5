"""The demo's tokenizer: a Unigram model with a fixed vocabulary.

Owns the vocabulary. Knows nothing of documents. English words and the names are one token each, the
numbers 0 to 39 as well; Telugu is split into code points and Swahili into letters (the past prefix
"ali" stays whole), so that what a word means must be worked out by the layers, not looked up in the
embeddings. A word's first piece carries the mark of the space before it.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from demo.tongues import ENGLISH, SWAHILI, TELUGU, TONGUES, Tongue

UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
BOS_ID, EOS_ID = 1, 2
SPACE = "\u2581"
WHOLE, PIECE = -1.0, -10.0
"""Log-probabilities: any one whole word beats any way to spell it."""


def _words(tongue: Tongue) -> list[str]:
    """Every word of a tongue, without numbers and punctuation, in the order of the table."""
    forms = [
        value.replace("{", " {").replace("}", "} ")
        for name, value in vars(tongue).items()
        if isinstance(value, str) and name not in ("code", "name")
    ]
    words = [*tongue.people, *tongue.items, *tongue.verbs, *" ".join(forms).split()]
    bare = (word.strip(string.punctuation.replace("{", "").replace("}", "")) for word in words)
    return list(dict.fromkeys(word for word in bare if word and "{" not in word))


def vocabulary() -> list[tuple[str, float]]:
    """Pieces with their log-probabilities; the first three are special."""
    whole = [SPACE + str(n) for n in range(40)]
    whole += [SPACE + sign for sign in "+-="]
    whole += [SPACE + word for word in _words(ENGLISH)]
    whole += [SPACE + word for word in ("Q", "A", "Reply", "In", "in")]
    whole += [SPACE + tongue.name for tongue in TONGUES.values()] + [SPACE + "ali"]
    pieces = [SPACE, *".,:?+-=", *string.digits, *string.ascii_letters]
    for tongue in (TELUGU, SWAHILI):
        words = _words(tongue)
        pieces += sorted({SPACE + word[0] for word in words})
        pieces += sorted({char for word in words for char in word[1:]} - set(pieces))
    scored = [(UNKNOWN, 0.0), (BOS, 0.0), (EOS, 0.0)]
    scored += [(piece, WHOLE) for piece in whole]
    taken = set(whole)
    scored += [(p, PIECE) for p in dict.fromkeys(pieces) if p not in taken]
    return scored


def build() -> Tokenizer:
    """The tokenizer; encoding puts the beginning-of-text token in front."""
    tokenizer = Tokenizer(models.Unigram(vocabulary(), unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.add_special_tokens([UNKNOWN, BOS, EOS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)]
    )
    return tokenizer


def save(folder: Path) -> None:
    """Writes the tokenizer's files, as Hugging Face's AutoTokenizer reads them."""
    build().save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": BOS,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "model_max_length": 512,
        "pad_token": EOS,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNKNOWN,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
