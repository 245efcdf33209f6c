"""What tests look at of a report's page."""

import base64
import html.parser
import io
from urllib.parse import urlsplit

from PIL import Image

from softshare_jax.runs.workdir import Workdir

VOID = {"meta", "link", "img", "source", "br"}


class Page(html.parser.HTMLParser):
    """What the tests look at: the text, the headings, every reference and every image."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.headings: list[str] = []
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
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.references += [attributes[key] for key in ("src", "href", "srcset") if key in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            assert "url(" not in data
            assert "@import" not in data
            return
        self.words += data.split()
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)


def read_page(workdir: Workdir) -> Page:
    """Parses a report and checks that it needs nothing else and that its images are whole."""
    page = Page(workdir.report_file.read_text())
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
