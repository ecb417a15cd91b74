"""What mkdocs.yml cannot say: pages beside docs/, links to files beside docs/, the list of decisions, and mermaid from here."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils.templates import TemplateContext

sys.path.insert(0, str(Path(__file__).parents[1]))  # mkdocs loads this file by its path
from docs.vendored import IFRAME_WORKER, MERMAID, SCRIPTS, Script

ROOT = Path(__file__).parents[1]
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "license.md",
}
"""Pages that lie beside docs/, and where they stand in the site."""
MARK = ROOT / "services/console/static/mark.svg"
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)")
_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> None:
    """The decisions by number; what the theme's search would take from a server of others, from here."""
    config.extra["polyfills"] = [_asset(IFRAME_WORKER)]
    folder = Path(config.docs_dir) / "decisions"
    decisions = ["decisions/README.md", *(f"decisions/{path.name}" for path in sorted(folder.glob("[0-9]*.md")))]
    config.nav = [{"Decisions": decisions} if it == {"Decisions": "decisions"} else it for it in config.nav or []]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """The pages beside docs/, the files that pages link to, the mark, mermaid."""
    for name, uri in BESIDE.items():
        files.append(File.generated(config, uri, content=_text(ROOT / name)))
    files.append(File.generated(config, "mark.svg", abs_src_path=str(MARK)))
    for script in SCRIPTS:
        files.append(File.generated(config, _asset(script), abs_src_path=str(_fetched(script, config))))
    for uri in sorted({uri for file in files.documentation_pages() for uri in _attached(file)}):
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri.removeprefix("files/"))))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links of the repository become links of the site; the note above a generated page goes, so that its heading comes first."""
    return _outside_fences(
        re.sub(r"\A<!--.*?-->\s*", "", markdown),
        lambda text: _LINK.sub(lambda link: _relative(page.file, link.group()), text),
    )


def on_page_context(context: TemplateContext, page: Page, **_: Any) -> TemplateContext:
    """The first page needs the width for its code."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    return context


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """The theme takes mermaid from a server of others, unless it is there before."""
    source = os.path.relpath(_asset(MERMAID), PurePosixPath(page.file.dest_uri).parent)
    drawn = f'<script src="{source}"></script></head>'
    return output.replace("</head>", drawn, 1) if 'class="mermaid"' in output else output


def _asset(script: Script) -> str:
    return f"assets/{script.name}"


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".md" else f"# {path.name.capitalize()}\n\n```text\n{text.strip(chr(10))}\n```\n"


def _fetched(script: Script, config: MkDocsConfig) -> Path:
    path = ROOT / config.extra["vendored"] / script.name
    if not path.exists():
        raise PluginError(f"{path} is not there: make site fetches it")
    return path


def _attached(file: File) -> list[str]:
    uris: list[str] = []
    _outside_fences(
        file.content_string, lambda text: uris.extend(_site_uri(file, it) for it in _LINK.findall(text)) or ""
    )
    return [uri for uri in uris if uri.startswith("files/")]


def _relative(file: File, link: str) -> str:
    uri = _site_uri(file, link)
    return os.path.relpath(uri, PurePosixPath(file.src_uri).parent) if uri else link


def _site_uri(file: File, link: str) -> str:
    """Where in the site a link of the repository leads; nothing for one to the outside or to nowhere."""
    if ":" in link:
        return ""
    beside = {uri: name for name, uri in BESIDE.items()}
    source = PurePosixPath(beside.get(file.src_uri) or f"docs/{file.src_uri}")
    target = os.path.normpath(source.parent / link)
    if target in BESIDE:
        return BESIDE[target]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"files/{target}" if (ROOT / target).is_file() else ""


def _outside_fences(text: str, change: Any) -> str:
    """The text, changed but for its code blocks."""
    parts, at = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[at : fence.start()]), fence.group()]
        at = fence.end()
    return "".join([*parts, change(text[at:])])
