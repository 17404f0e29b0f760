# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What is left of an answer without its names, numbers and quoted words, and which answers only hold a place.

Words with a capital letter, a digit or an underscore count as names; it knows scripts, no languages.
"""

import re

# Answers whose first so many characters have one skeleton are of one mould, whatever follows.
SKELETON_CHARS = 512
MAX_PLACEHOLDER_CHARS = 60

_QUOTES = re.compile(
    '"[^"\n]{1,200}"|`[^`\n]{1,200}`|“[^”\n]{1,200}”|«[^»\n]{1,200}»|「[^」\n]{1,200}」|《[^》\n]{1,200}》'
)
_MARK = "0"
_MARKED = "0-9A-Z_À-ÖØ-ÞΑ-ΩЀ-Я"
_WIDE = "\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"  # Scripts without spaces between words.
_WORD_WITH_MARK = re.compile(rf"(?<![^\s{_WIDE}])[^\s{_WIDE}{_MARKED}]*[{_MARKED}][^\s{_WIDE}]*")
_ASCII_MARKS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", _MARK.encode() * 37)
_LOWER = bytes(range(256)).lower()
_ASCII_NO_LETTER = bytes(code for code in range(128) if not chr(code).isalpha())
_ASCII_NO_WORD = bytes(code for code in range(128) if not chr(code).isalnum())
_NO_WORD = re.compile(r"[\W_]+")

_PLACEHOLDERS = frozenset(
    [
        *("todo", "tbd", "tba", "n/a", "nan", "null", "undefined", "placeholder", "xxx", "...", "…", "-", "--"),
        *("?", "???", "answer", "output", "response", "待补充", "待定", "略", "暂无", "同上"),
    ]
)
_PLACEHOLDER_PHRASE = re.compile(
    r"(?:your|the|insert|enter|add|write|fill in|put)\b[\w ]{0,20}\b(?:answer|response|output|text|content)(?: goes)?"
    r"(?: here)?|(?:answer|response|output|text|content) (?:goes )?here"
)
_UNFILLED = re.compile(
    r"\{\{ ?[a-z]\w{0,40} ?\}\}|lorem ipsum|\[(?:insert|fill in|todo|placeholder)\b[^\]\n]{0,60}\]", re.IGNORECASE
)
_REFUSAL = re.compile(
    r"\W*(?:(?:i['’]?m|i am|we['’]?re|we are) (?:very |really |so |truly )?(?:sorry|afraid|unable|not able)\b"
    r"|sorry\b|(?:my )?apologies\b|i apologi[sz]e\b|unfortunately,? (?:i|we)\b"
    r"|(?:i|we) (?:can['’]?t|cannot|can not|won['’]?t|will not|do not have|don['’]?t have|must decline)\b"
    r"|as an ai\b|as a language model\b|抱歉|很抱歉|对不起|非常抱歉|作为一个?(?:ai|人工智能)|我(?:无法|不能|没有办法))",
    re.IGNORECASE,
)


def skeleton_of(text: str) -> str:
    """Give the words that are no names, numbers or quotations."""
    start = text[:SKELETON_CHARS]
    if '"' in start or "`" in start or not start.isascii():
        start = _QUOTES.sub(_MARK, start)
    if start.isascii():  # The same result as below, at a fifth of the time.
        words = start.encode().translate(_ASCII_MARKS).split()
        return b" ".join([word for word in words if b"0" not in word]).decode()
    return " ".join(_WORD_WITH_MARK.sub(" ", start).split())


def num_letters(text: str) -> int:
    """Count the bytes of letters: a letter of Latin script is one, a Chinese sign three."""
    return len(text.encode("utf-8", "surrogatepass").translate(None, _ASCII_NO_LETTER))


def is_placeholder(text: str) -> bool:
    """Say whether an answer, without white space around it, stands for one that was never written."""
    if len(text) > MAX_PLACEHOLDER_CHARS:
        return False
    word = text.strip("<>[](){}*_\"'。. ").casefold() or text
    return word in _PLACEHOLDERS or _PLACEHOLDER_PHRASE.fullmatch(word) is not None


def has_unfilled(text: str) -> bool:
    """Say whether a text holds a slot that was never filled in, such as `{{name}}` or lorem ipsum; code may."""
    return "```" not in text and ("{{" in text or "[" in text or "orem " in text) and _UNFILLED.search(text) is not None


def is_refusal(text: str) -> bool:
    """Say whether an answer opens by declining, in English or Chinese."""
    return _REFUSAL.match(text) is not None


def substance_of(text: str) -> str:
    """Give the letters and digits of a text in lower case."""
    if text.isascii():
        return text.encode().translate(_LOWER, _ASCII_NO_WORD).decode()
    return _NO_WORD.sub("", text.casefold())
