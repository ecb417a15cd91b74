"""Document: the base of whole documents that users write, and of their parts. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from sluicegate.registry.words.digest import digest_of


class Document(BaseModel):
    """Base class: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class WholeDocument(Document):
    """Base class of what can be applied and withdrawn."""

    def document(self) -> dict[str, object]:
        """The document as JSON values."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """SHA-256 of the document's canonical JSON."""
        return digest_of(self.document())
