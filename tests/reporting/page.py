"""What tests look at of a report's page."""

import base64
import html.parser
import io
import re
from urllib.parse import urlsplit

from PIL import Image

from softshare_jax.runs.workdir import Workdir

HEADINGS = ("h1", "h2", "h3", "h4")
VOID = {"meta", "link", "img", "source", "br", "input"}


class Page(html.parser.HTMLParser):
    """What the tests look at: the text, the headings, every reference and every image."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.headings: list[str] = []
        self.levels: list[int] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        self._is_heading = tag in HEADINGS and attributes.get("class") != "sub"
        if self._is_heading:
            self.headings.append("")
            self.levels.append(int(tag[1]))
        self.ids += [attributes["id"]] if "id" in attributes else []
        # A link to another page is no part of this one.
        link = tag == "a" and attributes["href"].startswith("https://")
        keys = ("src", "srcset") if link else ("src", "srcset", "href")
        self.references += [attributes[key] for key in keys if key in attributes]
        if tag == "svg" and attributes.get("role") == "img":
            self.images.append({"alt": attributes["aria-label"]})

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            assert not re.search(r"url\(|@import|fetch|import\(|https?:", data)
            return
        self.words += data.split()
        if self.open and self.open[-1] in HEADINGS and self._is_heading:
            self.headings[-1] += data
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)


def read_page(workdir: Workdir) -> Page:
    """Parses the report of a workdir and checks it."""
    return check(workdir.report_file.read_text())


def check(text: str) -> Page:
    """Parses a report and checks that it needs nothing else and that its images are whole."""
    page = Page(text)
    for reference in page.references:
        assert urlsplit(reference).scheme in ("", "data"), reference[:60]
        if reference.startswith("#"):
            assert reference[1:] in page.ids
        elif reference != "data:,":
            kind, encoded = reference.removeprefix("data:image/").split(";base64,")
            image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
            image.load()
            assert image.format.lower() == kind
    assert all(image["alt"] for image in page.images)
    return page
