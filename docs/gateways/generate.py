"""Write each gateway's configuration into README.md beside this file: `make docs`. The tests run the same files."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "README.md"


def page(text: str) -> str:
    """Return the page with the content of the files that its markers name."""

    def block(found: re.Match) -> str:
        kind = found["file"].rpartition(".")[2].lower()
        return f"{found[1]}\n```{kind}\n{(HERE / found['file']).read_text()}```\n\n{found[3]}"

    return re.sub(r"(<!-- file: (?P<file>[\w.]+) -->\n).*?(<!-- end -->)", block, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
