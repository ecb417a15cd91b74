"""docs/glossary.md: each word of ours, from the module that the console's tooltips read too."""

from __future__ import annotations

from docs.pages.tables import NOTICE, table
from sluicegate.registry.words.glossary import GLOSSARY, anchor


def page() -> str:
    """The whole page."""
    groups = (
        f"## {group}\n\n{table(('word', 'means'), map(_row, words.items()))}" for group, words in GLOSSARY.items()
    )
    return f"""{NOTICE}
# Glossary

One word, one meaning, in code, documents, command line and console. `registry/words/glossary.py` holds the words.

{chr(10).join(groups)}"""


def _row(entry: tuple[str, str]) -> tuple[str, str]:
    word, meaning = entry
    return f'<a id="{anchor(word)}"></a>**{word}**', meaning
